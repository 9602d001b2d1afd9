"""NeMo Data Designer: one LLM text column over a seed data set."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import data_designer.config as dd
import pandas as pd
import requests_file
from data_designer.interface import DataDesigner


def main() -> None:
    """Judge; prints how many samples have a score, and the seconds of the call."""
    url, folder, concurrency = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    rows = requests_file.read(folder)
    started = time.perf_counter()
    provider = dd.ModelProvider(name="bench", endpoint=url, provider_type="openai", api_key="unused")
    parameters = dd.ChatCompletionInferenceParams(temperature=0.0, max_tokens=4096, max_parallel_requests=concurrency)
    model = dd.ModelConfig(
        alias="judge",
        model="benchmark-model",
        provider="bench",
        inference_parameters=parameters,
        skip_health_check=True,
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    frame = pd.DataFrame([{"id": row["id"], "text": row["text"]} for row in rows])
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=frame))
    builder.add_column(
        dd.LLMTextColumnConfig(
            name="verdict", model_alias="judge", system_prompt=rows[0]["system"], prompt="{{ text }}"
        )
    )
    with tempfile.TemporaryDirectory() as artifacts:
        designer = DataDesigner(artifact_path=artifacts, model_providers=[provider])
        made = designer.create(builder, num_records=len(rows)).load_dataset()
    scored = sum(map(requests_file.is_score, made["verdict"], made["text"]))
    print(json.dumps({"scored": scored, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
