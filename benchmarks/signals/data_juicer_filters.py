"""Run by Data-Juicer's environment: the filters that measure what curate's signals do, over pairs in JSON lines."""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

FILTERS: dict[str, dict[str, object]] = {
    "image_shape_filter": {},
    "image_aspect_ratio_filter": {},
    "image_size_filter": {},
    "text_length_filter": {"min_len": 1},
    "words_num_filter": {"min_num": 1},
    "character_repetition_filter": {"min_ratio": 0, "max_ratio": 1},
    "special_characters_filter": {"min_ratio": 0, "max_ratio": 1},
}
"""With bounds that keep every row, so that each filter measures all of them."""


def main() -> None:
    from data_juicer.config import init_configs
    from data_juicer.core import DefaultExecutor

    data, rows, fused = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "fused"
    work = Path(data).parent / f"data-juicer-{sys.argv[3]}"
    work.mkdir(exist_ok=True)
    config = {
        "project_name": "filters",
        "dataset_path": data,
        "export_path": str(work / "kept.jsonl"),
        "work_dir": str(work),
        "np": os.cpu_count(),
        "op_fusion": fused,
        "use_cache": False,
        "process": [{name: bounds} for name, bounds in FILTERS.items()],
    }
    path = work / "config.yaml"
    path.write_text(json.dumps(config))
    executor = DefaultExecutor(init_configs(["--config", str(path)]))
    before, start = os.times(), time.perf_counter()
    executor.run()
    wall, after = time.perf_counter() - start, os.times()
    measured = sum(1 for _ in (work / "kept.jsonl").open())
    if measured != rows:
        sys.exit(f"{measured} rows came out of {rows}")
    # Data-Juicer has put its log in the place of sys.stdout.
    print(json.dumps({"wall": wall, "cpu": sum(after[:4]) - sum(before[:4])}), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
