"""Small exports written by hand, in exactly the shapes that `curate export` writes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curate.adapters.tiny_qwen3_vl import END_OF_TEXT

MESSAGES = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
LLAMAFACTORY_SCHEMA = pa.schema(
    {"id": pa.string(), "messages": MESSAGES, "system": pa.string(), "images": pa.list_(pa.string())}
)
EMBEDDED_IMAGES = pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
CHOICES = pa.list_(pa.struct({"label": pa.string(), "text": pa.string()}))
ANSWER = pa.string()

# A 640 x 480 image is 20 x 15 blocks of 32 x 32 pixels, and Qwen3-VL gives each block one token.
VGA, VGA_TOKENS = (640, 480), 300


# Turns that alternate, the user's first; the images of their placeholders; the system text, or "".
Document: TypeAlias = tuple[tuple[str, ...], list[bytes], str]


def png(size: tuple[int, int] = VGA, colour: str = "red") -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def verl_row(index: int, prompt: str, images: list[Any], ground_truth: str | list[str]) -> dict[str, Any]:
    """A multiple-choice query if it has images, else an open one."""
    choices = [{"label": "A", "text": "Pneumonia"}, {"label": "B", "text": "Normal"}]
    return {
        "data_source": "medcurate/chest",
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}],
        "images": images,
        "ability": "medical-vqa",
        "reward_model": {"style": "rule", "ground_truth": ground_truth},
        "extra_info": {
            "split": "train",
            "index": index,
            "id": f"sample-{index}",
            "query_type": "choice" if images else "open",
            "choices": choices if images else None,
        },
    }


def write_verl_file(
    path: Path,
    rows: list[dict[str, Any]],
    *,
    images: pa.DataType = EMBEDDED_IMAGES,
    ground_truth: pa.DataType = ANSWER,
) -> Path:
    """Write rows of `verl_row`, with these types for the two columns that have more than one accepted form."""
    text = pa.string()
    extra_info = {"split": text, "index": pa.int64(), "id": text, "query_type": text, "choices": CHOICES}
    columns = {
        "data_source": text,
        "prompt": MESSAGES,
        "images": images,
        "ability": text,
        "reward_model": pa.struct({"style": text, "ground_truth": ground_truth}),
        "extra_info": pa.struct(extra_info),
    }
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(columns)), path)
    return path


def embedded(*images: bytes) -> list[dict[str, Any]]:
    """The cells of an `images` column that carries the pictures themselves."""
    return [{"bytes": image, "path": None} for image in images]


def write_llamafactory_export(
    directory: Path,
    documents: Sequence[Document],
    *,
    dataset: str = "medcurate_sft",
    template: str = "qwen3_vl_nothink",
    settings: str = "",
) -> Path:
    """Write the data, its images, and the two files that LLaMA-Factory reads first; `settings` is more YAML."""
    directory.mkdir()
    rows = []
    for number, (turns, images, system) in enumerate(documents):
        paths = []
        for image in images:
            digest = hashlib.sha256(image).hexdigest()
            path = Path("images", digest[:2], f"{digest}.png")
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(image)
            paths.append(str(path))
        messages = [{"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(turns)]
        rows.append({"id": f"sample-{number}", "messages": messages, "system": system, "images": paths})
    pq.write_table(pa.Table.from_pylist(rows, schema=LLAMAFACTORY_SCHEMA), directory / "data.parquet")
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    entry = {
        "file_name": "data.parquet",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "system": "system", "images": "images"},
        "tags": {**tags, "system_tag": "system"},
    }
    (directory / "dataset_info.json").write_text(json.dumps({dataset: entry}))
    (directory / "train.yaml").write_text(
        "model_name_or_path: Qwen/Qwen3-VL-4B-Instruct\nstage: sft\ndo_train: true\nfinetuning_type: full\n"
        f"dataset: {dataset}\ndataset_dir: .\nmedia_dir: .\ntemplate: {template}\ncutoff_len: 4096\n"
        f"output_dir: checkpoints\nbf16: true\nlearning_rate: 1e-5\n{settings}"
    )
    return directory


def write_cpt_export(directory: Path, *, template: str = "qwen3_vl_cpt") -> Path:
    """Write a text-only document, a caption, and a document with images in three places."""
    red, blue = png(), png(colour="blue")
    interleaved = ("", "Before. ", "<image>", " Between. ", "<image><image>", f" After.{END_OF_TEXT}")
    return write_llamafactory_export(
        directory,
        [
            (("", f"Text alone comes first.{END_OF_TEXT}"), [], ""),
            (("<image>", f"A red field.{END_OF_TEXT}"), [red], ""),
            (interleaved, [red, blue, red], ""),
        ],
        dataset="medcurate_cpt",
        template=template,
    )
