"""Ways to run a shard function over many shards, and a function over a stream."""

from curate.engine.in_order import map_in_order
from curate.engine.local import map_shards
from curate.engine.processes import usable_cores, worker_processes

__all__ = ["map_in_order", "map_shards", "usable_cores", "worker_processes"]
