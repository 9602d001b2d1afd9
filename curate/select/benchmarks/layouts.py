"""How the benchmarks are published: which files hold their rows, and which columns the question and the pictures."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from curate.corpus import UserError
from curate.select.benchmarks.generic import generic_pictures, generic_questions
from curate.select.benchmarks.records import Record

Picture = str | bytes
"""A reference to a file of the benchmark, or the bytes of a picture that came inside the row."""

_CHOICES = re.compile(r"\s*Answer Choices:.*\Z", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """A published layout: what its files are called, and what is in a row."""

    origin: str
    """Where the benchmark is published."""
    columns: tuple[str, ...]
    """Columns that every file has."""
    files: tuple[str, ...]
    """Patterns of the data files' relative names; the first that matches any file is used."""
    questions: Callable[[Record], list[str]]
    """What a row asks; empty when it asks nothing."""
    pictures: Callable[[Record], Iterator[tuple[str, Picture]]]
    """The pictures of a row, each with the name of its column."""
    embedded: tuple[str, ...] = ()
    """Columns with the pictures themselves, which are left out where only text is wanted."""
    folders: tuple[str, ...] = ()
    """Where the pictures are, relative to the folder of the data file or one above it."""
    split_field: str | None = None
    """Column that names the split, where file names do not."""
    nearby: Collection[str] = field(default=())
    """Columns that are usually there too, for telling the layout from others."""


def _question(column: str) -> Callable[[Record], list[str]]:
    return lambda record: _filled(record.get(column))


def _filled(value: Any) -> list[str]:
    return [value] if isinstance(value, str) and value.strip() else []


def _before_choices(record: Record) -> list[str]:
    """MedXpertQA's questions end in their options, which a training set may order otherwise."""
    return [text for text in (_CHOICES.sub("", text) for text in _filled(record.get("question"))) if text]


def _cells(*columns: str) -> Callable[[Record], Iterator[tuple[str, Picture]]]:
    """Pictures in columns of Hugging Face's ``Image`` feature, ``{bytes, path}``, raw bytes, or names."""

    def pictures(record: Record) -> Iterator[tuple[str, Picture]]:
        for column in columns:
            yield from picture_cell(column, record.get(column))

    return pictures


def picture_cell(column: str, value: Any) -> Iterator[tuple[str, Picture]]:
    """The pictures in one cell: a name, bytes, ``{bytes, path}``, or a list of these."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, list):
        for number, one in enumerate(value, 1):
            yield from picture_cell(f"{column}[{number}]", one)
    elif value and isinstance(value, str | bytes):
        yield column, value


_SLAKE_FILES = r"(^|/)(train|validation|validate|val|test)\.(json|jsonl)$"
_TABLES = r"\.(parquet|arrow)$"
_HEALTH = (
    "Basic_Medical_Science",
    "Clinical_Medicine",
    "Diagnostics_and_Laboratory_Medicine",
    "Pharmacy",
    "Public_Health",
)
_MMMU_PICTURES = tuple(f"image_{number}" for number in range(1, 8))

LAYOUTS: dict[str, Layout] = {
    "mmmu-health": Layout(
        origin="MMMU/MMMU on the Hugging Face Hub, the folders of its five Health & Medicine subjects",
        columns=("id", "question", "options", "image_1"),
        files=(rf"(^|/)({'|'.join(_HEALTH)})/.*{_TABLES}", _TABLES),
        questions=_question("question"),
        pictures=_cells(*_MMMU_PICTURES),
        embedded=_MMMU_PICTURES,
        nearby=("explanation", "answer", "subfield", "topic_difficulty"),
    ),
    "vqa-rad": Layout(
        origin="flaviagiammarino/vqa-rad on the Hugging Face Hub",
        columns=("image", "question", "answer"),
        files=(_TABLES,),
        questions=_question("question"),
        pictures=_cells("image"),
        embedded=("image",),
    ),
    "slake": Layout(
        origin="BoKelvin/SLAKE on the Hugging Face Hub",
        columns=("img_name", "question", "answer", "q_lang"),
        files=(_SLAKE_FILES, r"\.(json|jsonl)$"),
        questions=_question("question"),
        pictures=_cells("img_name"),
        folders=("imgs", "imgs/imgs"),
        nearby=("img_id", "qid", "answer_type", "content_type", "triple"),
    ),
    "path-vqa": Layout(
        origin="flaviagiammarino/path-vqa on the Hugging Face Hub",
        columns=("image", "question", "answer"),
        files=(_TABLES,),
        questions=_question("question"),
        pictures=_cells("image"),
        embedded=("image",),
    ),
    "pmc-vqa": Layout(
        origin="RadGenome/PMC-VQA on the Hugging Face Hub",
        columns=("Figure_path", "Question", "Choice A"),
        files=(r"\.csv$",),
        questions=_question("Question"),
        pictures=_cells("Figure_path"),
        folders=("images", "figures", "images_2", "images/images", "images_2/figures"),
        split_field="split",
        nearby=("Caption", "Choice B", "Answer", "Answer_label"),
    ),
    "omnimedvqa": Layout(
        origin="OmniMedVQA (foreverbeliever/OmniMedVQA on the Hugging Face Hub), its QA_information folder",
        columns=("question", "gt_answer", "image_path"),
        files=(r"(^|/)QA_information/.*\.json$", r"\.(json|jsonl)$"),
        questions=_question("question"),
        pictures=_cells("image_path"),
        folders=("OmniMedVQA",),
        nearby=("dataset", "question_id", "question_type", "option_A", "modality_type"),
    ),
    "medxpertqa": Layout(
        origin="TsinghuaC3I/MedXpertQA on the Hugging Face Hub, its MM folder",
        columns=("id", "question", "options", "images"),
        files=(r"(^|/)MM/[^/]*\.(jsonl|json|parquet|arrow)$", r"\.(jsonl|json|parquet|arrow)$"),
        questions=_before_choices,
        pictures=_cells("images"),
        folders=("images", "images/images"),
        nearby=("label", "medical_task", "body_system", "question_type"),
    ),
    "generic": Layout(
        origin="records in curate's own formats",
        columns=(),
        files=(r"\.(jsonl|json|parquet|arrow)$",),
        questions=generic_questions,
        pictures=generic_pictures,
    ),
}
"""Layouts by the names that policies use. Only ``generic`` is not the layout of one benchmark."""

_NO_ROWS = re.compile(r"(^|/)(dataset_infos?|state|dataset_dict|config|.*_config)\.json$")
"""JSON files beside saved datasets that hold no rows."""


def layout_named(name: str, format_name: str | None) -> tuple[str, Layout]:
    """The layout that a policy's benchmark is in. Raises UserError with the nearest name."""
    asked = format_name or name
    if asked in LAYOUTS:
        return asked, LAYOUTS[asked]
    near = difflib.get_close_matches(asked.lower().replace("_", "-"), LAYOUTS, n=1, cutoff=0.6)
    if format_name is None:
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"contamination.benchmarks: {name!r} is no benchmark that curate knows; {hint}It knows "
            f"{', '.join(known for known in LAYOUTS if known != 'generic')}; for any other give its format, such as "
            f"format: generic"
        )
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(LAYOUTS)}"
    raise UserError(f"contamination.benchmarks: {name}: there is no format {format_name!r}; {hint}")


def chosen_files(layout: Layout, names: list[str]) -> list[str]:
    """Which of the data files hold the benchmark's rows."""
    names = [name for name in names if not _NO_ROWS.search(name)]
    for pattern in layout.files:
        if found := [name for name in names if re.search(pattern, name)]:
            return found
    return []


def check_columns(name: str, layout: Layout, shown: str, columns: Collection[str]) -> None:
    """Raise UserError when a file lacks columns of the layout, naming the layout that it is in, if any."""
    missing = [column for column in layout.columns if column not in columns]
    if not missing:
        return
    fitting = [other for other, one in LAYOUTS.items() if one.columns and set(one.columns) <= set(columns)]
    best = max(fitting, key=lambda other: len(set(LAYOUTS[other].nearby) & set(columns)), default=None)
    meant = []
    for column in missing:
        near = difflib.get_close_matches(column, columns, n=1, cutoff=0.75)
        meant.append(f"{column} (it has {near[0]})" if near else column)
    there = ", ".join(list(columns)[:20]) + (", ..." if len(columns) > 20 else "")
    hint = f"These are the columns of {best}. " if best else ""
    raise UserError(
        f"{shown} is not in the layout of {name}: it lacks the column{'s' * (len(missing) > 1)} {', '.join(meant)}. "
        f"{hint}It has: {there}. {name} has {', '.join(layout.columns)} ({layout.origin})"
    )
