"""Ways to run a shard function over many shards."""

from curate.engine.local import map_shards, usable_cores

__all__ = ["map_shards", "usable_cores"]
