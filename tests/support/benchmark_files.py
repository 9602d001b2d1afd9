"""Small local copies of the seven benchmarks, with the columns, types and file names in which they are published."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Item = tuple[str, bytes]
"""A question and the file of its picture."""

_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def vqa_rad(folder: Path, items: Sequence[Item], split: str = "test") -> Path:
    """flaviagiammarino/vqa-rad: Parquet with the pictures inside."""
    rows = [{"image": {"bytes": data, "path": None}, "question": text, "answer": "yes"} for text, data in items]
    schema = pa.schema([("image", _PICTURE), ("question", pa.string()), ("answer", pa.string())])
    path = folder / "data" / f"{split}-00000-of-00001-e5bc3d208bb4deeb.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return folder


path_vqa = vqa_rad
"""flaviagiammarino/path-vqa has the same columns."""


def mmmu(folder: Path, items: Sequence[Item], subject: str = "Clinical_Medicine", split: str = "validation") -> Path:
    """MMMU/MMMU: a folder a subject, Parquet, up to seven pictures a row."""
    pictures = [f"image_{number}" for number in range(1, 8)]
    rows = [
        {
            "id": f"{split}_{subject}_{number}",
            "question": f"{text} <image 1>",
            "options": "['Mitral stenosis', 'Aortic stenosis', 'Tricuspid regurgitation', 'None']",
            "explanation": "",
            "image_1": {"bytes": data, "path": f"{split}_{subject}_{number}_1.png"},
            "img_type": "['Body Scans: MRI, CT scans, and X-rays']",
            "answer": "B",
            "topic_difficulty": "Medium",
            "question_type": "multiple-choice",
            "subfield": "Clinical Radiology",
        }
        for number, (text, data) in enumerate(items, 1)
    ]
    texts = ("img_type", "answer", "topic_difficulty", "question_type", "subfield")
    schema = pa.schema(
        [(name, pa.string()) for name in ("id", "question", "options", "explanation")]
        + [(name, _PICTURE) for name in pictures]
        + [(name, pa.string()) for name in texts]
    )
    path = folder / subject / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return folder


def slake(folder: Path, items: Sequence[Item], split: str = "test", *, zipped: bool = False) -> Path:
    """BoKelvin/SLAKE: JSON lists, pictures as imgs/xmlab<n>/source.jpg, or these in imgs.zip."""
    rows = [
        {
            "img_id": number,
            "img_name": f"xmlab{number}/source.jpg",
            "question": text,
            "answer": "Yes",
            "q_lang": "zh" if any("\u4e00" <= char <= "\u9fff" for char in text) else "en",
            "location": "Lung",
            "modality": "X-Ray",
            "answer_type": "CLOSED",
            "base_type": "vqa",
            "content_type": "Abnormality",
            "triple": ["vhead", "_", "_"],
            "qid": 9835 + number,
        }
        for number, (text, _) in enumerate(items)
    ]
    write_json(folder / f"{split}.json", rows)
    files = {f"imgs/{row['img_name']}": data for row, (_, data) in zip(rows, items, strict=True)}
    # Every picture's folder also holds its own questions, which are not a split of their own.
    files["imgs/xmlab0/question.json"] = json.dumps(rows[:1]).encode()
    _place(folder, files, "imgs.zip" if zipped else None)
    return folder


def pmc_vqa(folder: Path, items: Sequence[Item], name: str = "test_2.csv", *, archive: str | None = None) -> Path:
    """RadGenome/PMC-VQA: CSV with file names, pictures in figures/, or in an archive."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["index", "Figure_path", "Caption", "Question", *(f"Choice {letter}" for letter in "ABCD"), "Answer"]
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow([*columns, "split"])
    files = {}
    for number, (question, data) in enumerate(items):
        figure = f"PMC80{number:05}_Fig1_{number}.jpg"
        rows.writerow([number, figure, 'A caption, with a comma and "quotes".', question, *"ABCD", "A", "test"])
        files[f"figures/{figure}"] = data
    (folder / name).write_text(text.getvalue(), encoding="utf-8")
    _place(folder, files, archive)
    return folder


def omnimedvqa(folder: Path, items: Sequence[Item], *, zipped: bool = False) -> Path:
    """OmniMedVQA: a JSON file a source in QA_information/Open-access, pictures in Images/; published as one zip."""
    rows: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for number, (text, data) in enumerate(items):
        path = f"Images/ACRIMA/Im{number:03}_g_ACRIMA.png"
        rows.append(
            {
                "dataset": "ACRIMA",
                "question_id": f"ACRIMA_{number:04}",
                "question_type": "Disease Diagnosis",
                "question": text,
                "gt_answer": "Glaucoma",
                "image_path": path,
                **{f"option_{letter}": f"Option {letter}" for letter in "ABCD"},
                "modality_type": "Fundus Photography",
            }
        )
        files[f"OmniMedVQA/{path}"] = data
    files["OmniMedVQA/QA_information/Open-access/ACRIMA.json"] = json.dumps(rows).encode()
    _place(folder, files, "OmniMedVQA.zip" if zipped else None)
    return folder / "OmniMedVQA.zip" if zipped else folder


def medxpertqa(folder: Path, items: Sequence[Item], split: str = "test") -> Path:
    """TsinghuaC3I/MedXpertQA: MM/test.jsonl and Text/test.jsonl, pictures in images.zip."""
    rows, files = [], {}
    for number, (text, data) in enumerate(items):
        name = f"MM-{number}-a.jpeg"
        choices = "(A) Scaphoid fracture (B) Lunate dislocation (C) Colles fracture (D) Gout (E) None"
        rows.append(
            {
                "id": f"MM-{number}",
                "question": f"{text}\nAnswer Choices: {choices}",
                "options": {letter: f"Option {letter}" for letter in "ABCDE"},
                "label": "A",
                "images": [name],
                "medical_task": "Diagnosis",
                "body_system": "Skeletal",
                "question_type": "Reasoning",
            }
        )
        files[f"images/{name}"] = data
    write_lines(folder / "MM" / f"{split}.jsonl", rows)
    only_text = {"id": "Text-0", "question": "What is given for gout?", "options": {"A": "Colchicine"}, "label": "A"}
    write_lines(folder / "Text" / f"{split}.jsonl", [only_text])
    _place(folder, files, "images.zip")
    return folder


SEVEN = {
    "mmmu-health": mmmu,
    "vqa-rad": vqa_rad,
    "slake": slake,
    "path-vqa": path_vqa,
    "pmc-vqa": pmc_vqa,
    "omnimedvqa": omnimedvqa,
    "medxpertqa": medxpertqa,
}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _place(folder: Path, files: dict[str, bytes], archive: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if archive is not None:
        with zipfile.ZipFile(folder / archive, "w") as packed:
            for name, data in files.items():
                packed.writestr(name, data)
        return
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
