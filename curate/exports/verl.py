"""Rows for verl's ``RLHFDataset``: prompt, pictures, and what the reward needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.exports.job import IDENTITY, Job, ParquetFile, Split, batches_by_picture_size
from curate.exports.markers import defuse
from curate.exports.pictures import Contents, relative_paths
from curate.exports.turns import (
    USER,
    Turns,
    alternates,
    flat_images,
    flatten_turns,
    lengths,
    list_array,
    speaks,
    system_shows_image,
    take,
)
from curate.rewards import reference_problem
from curate.rewards.prompt import lists_options
from curate.select.tokens import IMAGE_MAX_PIXELS

_CHOICES: Final = pa.list_(pa.struct([("label", pa.string()), ("text", pa.string())]))
_EMBEDDED: Final = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string()), ("max_pixels", pa.int64())]))
_FILES: Final = pa.list_(pa.struct([("image", pa.string()), ("max_pixels", pa.int64())]))
_REWARD_SETTINGS: Final = [
    ("unit", pa.string()),
    ("absolute_tolerance", pa.float64()),
    ("relative_tolerance", pa.float64()),
]
"""What a record may say about how a number is compared, by the names of the numeric reward."""
_LEADING: Final = [
    ("data_source", pa.string()),
    ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
]
_TRAILING: Final = [
    ("ability", pa.string()),
    ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
    (
        "extra_info",
        pa.struct(
            [
                ("split", pa.string()),
                ("index", pa.int64()),
                ("id", pa.string()),
                ("query_type", pa.string()),
                ("answers", pa.list_(pa.string())),
                ("choices", _CHOICES),
                *_REWARD_SETTINGS,
            ]
        ),
    ),
]
EMBED_SCHEMA: Final = pa.schema([*_LEADING, ("images", _EMBEDDED), *_TRAILING])
PATH_SCHEMA: Final = pa.schema([*_LEADING, ("images", _FILES), *_TRAILING])
"""One schema for all rows and files: verl concatenates files, and their types must agree. No other columns at the top:
verl hands those to the agent loop as arguments."""

# As scalars, made once; see curate.exports.turns.
_ANSWER_SEPARATOR: Final = pa.scalar(", ")
_NOTHING, _SYSTEM, _USER, _RULE, _TOGETHER = (
    pa.scalar(text) for text in ("", "system", "user", "rule", "multi_choice")
)
_WITH_PICTURES, _WITHOUT = pa.scalar("medical_vqa"), pa.scalar("medical_qa")


class VerlWriter:
    """``train.parquet`` and ``val.parquet``."""

    columns: ClassVar[Sequence[str]] = (*IDENTITY, "source", "turns", "answer", "query_type", "choices", "meta")

    def __init__(self, job: Job) -> None:
        self._job = job
        self._embed = job.options.images == "embed"
        self._files: dict[Split, ParquetFile] = {}
        self._own_system = 0

    def add(self, table: pa.Table, split: Split) -> None:
        """Write the queries of ``table``."""
        turns = flatten_turns(table)
        problems = {
            "turns out of order": ~(alternates(turns) & (turns.role[turns.last] == USER)),
            "no question": ~speaks(turns, USER),
            "picture in the system message, which trainers leave out": system_shows_image(turns),
            "no answer": lengths(table.column("answer").combine_chunks()) == 0,
        }
        table = self._job.without(table, problems)
        why = _unanswerable(table)
        hopeless = np.array([bool(sentence) for sentence in why], dtype=bool)
        self._job.skip(table, hopeless, "no response could match its answer", why)
        table = table.filter(pa.array(~hopeless))
        if self._embed:
            for batch, data, failed in self._job.pictures.read_ahead(batches_by_picture_size(table)):
                self._write(self._job.without_failed(batch, failed), split, data)
        else:
            self._write(self._job.without_failed(table, self._job.pictures.copy(flat_images(table))), split)

    def finish(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        if self._own_system and self._job.options.system_prompt:
            self._job.notes.append(
                f"{self._own_system:,} sample(s) have a system message of their own, so ours was not added; "
                "the reward counts an answer only between <answer> and </answer>"
            )

    def _write(self, table: pa.Table, split: Split, data: Contents | None = None) -> None:
        if not table.num_rows:
            return
        if split not in self._files:
            self._files[split] = self._new_file(split)
        file = self._files[split]
        turns = flatten_turns(table)
        prompt, defused = _prompt(table, turns, self._job.options.system_prompt or "")
        self._job.defused += int(defused.sum())
        self._own_system += int(turns.has_system.sum())
        answers = table.column("answer").combine_chunks()
        index = np.arange(file.description.rows, file.description.rows + table.num_rows)
        extra = [
            pa.repeat(split, table.num_rows),
            pa.array(index),
            table.column("id").combine_chunks(),
            table.column("query_type").combine_chunks(),
            answers,
            table.column("choices").combine_chunks(),
            *_reward_settings(table),
        ]
        schema = EMBED_SCHEMA if self._embed else PATH_SCHEMA
        rows = [
            table.column("source").combine_chunks(),
            prompt,
            list_array(turns.images_per_row, self._image_cells(turns.images, data)),
            pc.if_else(pa.array(turns.images_per_row > 0), _WITH_PICTURES, _WITHOUT),
            _struct(schema, "reward_model", [pa.repeat(_RULE, table.num_rows), _ground_truth(table, answers)]),
            _struct(schema, "extra_info", extra),
        ]
        file.write(pa.table(rows, schema=schema), table.column("id"))

    def _new_file(self, split: Split) -> ParquetFile:
        if not self._embed:
            return ParquetFile(self._job, split, f"{split}.parquet", PATH_SCHEMA)
        # Pictures are compressed already: no dictionary, no statistics and no second compression for their bytes.
        pictures = "images.list.element.bytes"
        others = [name for name in _leaves(EMBED_SCHEMA) if name != pictures]
        return ParquetFile(
            self._job,
            split,
            f"{split}.parquet",
            EMBED_SCHEMA,
            compression={**dict.fromkeys(others, "zstd"), pictures: "none"},
            use_dictionary=others,
            write_statistics=others,
        )

    def _image_cells(self, images: pa.StructArray, data: Contents | None) -> pa.Array:
        # verl has no bound of its own: it takes a large picture for an overlong prompt and leaves the row out silently.
        bound = pa.repeat(pa.scalar(IMAGE_MAX_PIXELS, pa.int64()), len(images))
        if data is None:
            paths = pc.binary_join_element_wise(f"{self._job.destination}/", relative_paths(images), "")
            return pa.StructArray.from_arrays([paths, bound], fields=list(_FILES.value_type))
        content = data.column(images.field("sha256").to_pylist())
        return pa.StructArray.from_arrays(
            [content, pa.nulls(len(images), pa.string()), bound], fields=list(_EMBEDDED.value_type)
        )


def _prompt(table: pa.Table, turns: Turns, system_prompt: str) -> tuple[pa.ListArray, npt.NDArray[np.bool_]]:
    """The messages of each sample, and whether a marker in them was defused.

    A sample without a system message gets ours; options that the question does not list are added to it.
    """
    additions, defused = _option_lists(table, turns)
    questions = pc.binary_join_element_wise(take(turns.content, turns.last), additions, _NOTHING)
    # Messages are taken from three runs of texts: the turns, our system message, the questions with their options.
    pool = pa.concat_arrays([turns.content, pa.array([system_prompt], pa.string()), questions])
    roles = pa.concat_arrays([turns.roles(), pa.repeat(_SYSTEM, 1), pa.repeat(_USER, turns.rows)])
    order = np.arange(len(turns.row))
    order[turns.last] = len(turns.row) + 1 + np.arange(turns.rows)
    per_row = np.bincount(turns.row, minlength=turns.rows)
    if system_prompt:
        order = np.insert(order, turns.first[~turns.has_system], len(turns.row))
        per_row += ~turns.has_system
    messages = pa.StructArray.from_arrays([take(roles, order), take(pool, order)], ["role", "content"])
    return list_array(per_row, messages), turns.defused | defused


def _option_lists(table: pa.Table, turns: Turns) -> tuple[pa.StringArray, npt.NDArray[np.bool_]]:
    """For each sample the lines to add to its question: its options, unless it lists all of them already."""
    choices = table.column("choices").combine_chunks()
    texts, defused = [""] * turns.rows, np.zeros(turns.rows, dtype=bool)
    asked = np.flatnonzero(lengths(choices) > 0)
    questions = take(turns.content, turns.last[asked]).to_pylist()
    for row, question, options in zip(asked, questions, take(choices, asked).to_pylist(), strict=True):
        if not lists_options(question, [(option["label"], option["text"]) for option in options]):
            texts[row] = "".join(f"\n{option['label']}. {option['text']}" for option in options)
    harmless, marked = defuse(pa.array(texts, pa.string()))
    defused |= marked.to_numpy(zero_copy_only=False)
    return harmless, defused


def _ground_truth(table: pa.Table, answers: pa.ListArray) -> pa.StringArray:
    """The reference as one string: the first of several that are equally right, all of several that belong together."""
    together = pc.equal(table.column("query_type").combine_chunks(), _TOGETHER)
    return pc.if_else(together, pc.binary_join(answers, _ANSWER_SEPARATOR), pc.list_element(answers, 0))


def _reward_settings(table: pa.Table) -> list[pa.Array]:
    """The columns of :data:`_REWARD_SETTINGS`, from the fields that the records had beside those of their format."""
    meta = pl.Series(table.column("meta").combine_chunks())
    columns = []
    for name, kind in _REWARD_SETTINGS:
        found = meta.str.json_path_match(f"$.{name}")
        found = found.fill_null(meta.str.json_path_match(f"$.extra_info.{name}"))
        columns.append(found.cast(pl.String if kind == pa.string() else pl.Float64, strict=False).to_arrow().cast(kind))
    return columns


def _unanswerable(table: pa.Table) -> list[str]:
    """For each sample why no response could ever match its reference, or "": every reward would be the same."""
    settings = [column.to_pylist() for column in _reward_settings(table)]
    names = [name for name, _ in _REWARD_SETTINGS]
    types, answers, choices = (table.column(name).to_pylist() for name in ("query_type", "answer", "choices"))
    why = []
    found: dict[str, str] = {}  # the same answer is often that of many samples
    for row, values in enumerate(zip(*settings, strict=True)):
        asked = repr((types[row], answers[row], choices[row], values))
        if asked not in found:
            extra = {"query_type": types[row], "choices": choices[row], **dict(zip(names, values, strict=True))}
            found[asked] = reference_problem(answers[row], extra) or ""
        why.append(found[asked])
    return why


def _struct(schema: pa.Schema, name: str, columns: list[pa.Array]) -> pa.StructArray:
    fields = list(schema.field(name).type)
    arrays = [column.cast(field.type) for column, field in zip(columns, fields, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=fields)


def _leaves(schema: pa.Schema) -> list[str]:
    """The paths of a schema's Parquet columns."""
    found: list[str] = []

    def walk(kind: pa.DataType, path: str) -> None:
        if pa.types.is_struct(kind):
            for field in kind:
                walk(field.type, f"{path}.{field.name}")
        elif pa.types.is_list(kind):
            walk(kind.value_type, f"{path}.list.element")
        else:
            found.append(path)

    for field in schema:
        walk(field.type, field.name)
    return found
