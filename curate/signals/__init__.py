"""What is measured about every sample, without a network: image, text, and how the two go together."""

from curate.signals.columns import COLUMNS, SCHEMA, SIGNALS_VERSION, Column
from curate.signals.image import ImageSignals, measure_image
from curate.signals.run import SignalsSummary, is_current, measure_corpus, measure_shard

__all__ = [
    "COLUMNS",
    "SCHEMA",
    "SIGNALS_VERSION",
    "Column",
    "ImageSignals",
    "SignalsSummary",
    "is_current",
    "measure_corpus",
    "measure_image",
    "measure_shard",
]
