"""Samples derived from samples: a corpus as the source of another corpus, with every parent named."""

from curate.sources.derive.conversions import CONVERSIONS, Conversion
from curate.sources.derive.options import ConvertOptions
from curate.sources.derive.run import ConvertSummary, convert

__all__ = ["CONVERSIONS", "Conversion", "ConvertOptions", "ConvertSummary", "convert"]
