"""What data looks like inside: the Sample, its Arrow columns, and the corpus directory that holds them."""

from curate.corpus.directory import (
    Corpus,
    CorpusInfo,
    Facts,
    Step,
    shard_fingerprint,
    stored_image_path,
    write_shard,
)
from curate.corpus.files import UserError, atomic_file, exclusive, sync_directory
from curate.corpus.sample import Image, Kind, Origin, Part, Privacy, Role, Sample, Turn, content_id
from curate.corpus.table import SCHEMA, from_table, to_table

__all__ = [
    "SCHEMA",
    "Corpus",
    "CorpusInfo",
    "Facts",
    "Image",
    "Kind",
    "Origin",
    "Part",
    "Privacy",
    "Role",
    "Sample",
    "Step",
    "Turn",
    "UserError",
    "atomic_file",
    "content_id",
    "exclusive",
    "from_table",
    "shard_fingerprint",
    "stored_image_path",
    "sync_directory",
    "to_table",
    "write_shard",
]
