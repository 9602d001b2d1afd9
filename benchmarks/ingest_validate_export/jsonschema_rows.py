"""Run by jsonschema's environment: check the rows of a JSON-lines file against a JSON Schema."""

import json
import sys
import time
from pathlib import Path

import jsonschema
import orjson

schema, data = sys.argv[1:]
validator = jsonschema.Draft202012Validator(json.loads(Path(schema).read_text()))
start, cpu = time.perf_counter(), time.process_time()
with Path(data).open("rb") as file:
    wrong = sum(not validator.is_valid(orjson.loads(line)) for line in file)
if wrong:
    sys.exit(f"{wrong} rows do not fit {schema}")
print(json.dumps({"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}))
