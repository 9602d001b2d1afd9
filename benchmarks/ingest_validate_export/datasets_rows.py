"""Run by datasets' environment: write the rows of a Parquet file with ``Dataset.to_parquet``.

``held``: from a data set that is there already; ``made``: from the rows as Python values, as preparation scripts do.
"""

import json
import sys
import time

import pyarrow.parquet as pq
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar

how, source, target = sys.argv[1:]
disable_progress_bar()
table = pq.read_table(source)
rows = Dataset(table) if how == "held" else table.to_pylist()
start, cpu = time.perf_counter(), time.process_time()
(rows if how == "held" else Dataset.from_list(rows)).to_parquet(target)
print(json.dumps({"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}))
