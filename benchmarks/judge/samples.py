"""The samples that every contestant judges: a corpus for curate, and the very same requests as lines for the others.

Run by the interpreter that has curate: ``python samples.py FOLDER --count 1000 [--images]``.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from curate.corpus import Corpus
from curate.judge import Endpoint, JudgeOptions, load_rubrics
from curate.judge.plan import Ask, Planner
from curate.judge.prompt import sample_code, user_content

MODEL = "benchmark-model"
SIDE = 640
"""Pixels of the pictures' sides: JPEGs of about 100 kB, sent as they are."""
_FINDINGS = """\
The heart is of normal size|There is a small pleural effusion on the left|No focal consolidation is seen
The trachea is in the midline|A nodule of 7 mm lies in the right upper lobe|The costophrenic angles are clear
There is mild degenerative change of the thoracic spine|The hila are not enlarged|No pneumothorax is present
Linear atelectasis is seen at the right base|The aorta is calcified|The bones show no acute fracture""".replace(
    "\n", "|"
)


def report(seed: int) -> str:
    """A few sentences in the manner of a radiology report, different for each seed."""
    chosen = random.Random(seed).sample(_FINDINGS.split("|"), 8)
    return f"Examination {seed}. " + ". ".join(chosen) + "."


def picture(seed: int) -> bytes:
    """A grey JPEG with coarse shapes and fine grain."""
    state = np.random.default_rng(seed)
    coarse = Image.fromarray(state.integers(40, 200, (8, 8), dtype=np.uint8)).resize((SIDE, SIDE))
    grain = state.normal(0, 9, (SIDE, SIDE))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def write_raw(folder: Path, count: int, *, images: bool) -> None:
    """Records as a user has them: captions with pictures, or conversations."""
    folder.mkdir(parents=True)
    with (folder / "records.jsonl").open("w") as file:
        for seed in range(count):
            if images:
                (folder / f"{seed}.jpg").write_bytes(picture(seed))
                record: dict[str, object] = {"image": f"{seed}.jpg", "text": report(seed)}
            else:
                question = {"from": "human", "value": "Please describe the radiograph."}
                record = {"conversations": [question, {"from": "gpt", "value": report(seed)}]}
            file.write(json.dumps(record) + "\n")


def write_requests(corpus: Corpus, file: Path) -> None:
    """What curate sends for each sample, as one JSON object a line; a picture is the path of its file."""
    options = JudgeOptions(Endpoint("http://127.0.0.1/v1", MODEL), load_rubrics())
    planner = Planner(options, None)
    with file.open("w") as lines:
        for shard in corpus.shards():
            for item in planner.plan(corpus.samples(shard), None):
                if not isinstance(item, Ask):
                    raise TypeError(f"a sample of the benchmark would not be asked about: {item}")
                paths = [str(corpus.image_path(image)) for image in item.sample.images]
                content = user_content(item.sample, sample_code(item.key), paths)
                prompt = {"system": item.prompt.system, "schema": item.prompt.schema}
                lines.write(json.dumps({"id": item.sample.id, **prompt, "content": content}) + "\n")


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--images", action="store_true")
    options = parser.parse_args()
    write_raw(options.folder / "raw", options.count, images=options.images)
    curate = Path(sys.executable).with_name("curate")
    subprocess.run([curate, "score", options.folder / "raw", "-o", options.folder / "curated"], check=True)
    corpus = Corpus.open(options.folder / "curated")
    write_requests(corpus, options.folder / "requests.jsonl")


if __name__ == "__main__":
    main()
