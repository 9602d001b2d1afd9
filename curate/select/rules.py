"""The rules a sample is dropped by: a name, a condition over the fact columns, and a sentence with the numbers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.corpus import UserError
from curate.select.facts import check_columns, first_line, is_meta

NEAR_BLANK_BITS = 1.5
"""Entropy of the grey histogram below which a picture counts as blank. Even frames have 0, empty slide glass has
1.3 to 1.5; the emptiest diagnostic pictures among pydicom's test files (ultrasound, CT with much air) have 1.6 to 2."""

SHORTEST_SIDE = 28
"""Pixels. LLaMA-Factory stretches pictures with a shorter side out of shape (``Qwen2VLPlugin``). Lingshu asks for 64:
``--where "image_min_side >= 64"``."""

LONGEST_ASPECT = 200
"""Long side over short side at which Qwen's image processors raise an error; verl then loses the row silently."""

_ACROSS_ROWS = frozenset(
    {"Agg", "Explode", "Filter", "Gather", "Len", "Over", "Rolling", "Slice", "Sort", "SortBy", "Window"}
)
"""Nodes of a Polars expression that look at other rows than their own."""

_FUNCTIONS_ACROSS_ROWS = frozenset({"Correlation", "Quantile"})
"""SQL aggregates that Polars makes functions of, not aggregation nodes."""


@dataclass(frozen=True)
class Rule:
    """A reason to drop a sample."""

    name: str
    violated: pl.Expr
    """Boolean over the fact columns; null counts as not violated."""
    reason: pl.Expr
    """The sentence for a sample that violates it."""


def builtin_rules(declared: Collection[str] = ()) -> list[Rule]:
    """The rules that hold for every selection, in the order they are applied.

    ``declared`` names sources whose DICOM files are declared de-identified.
    """
    column = pl.col
    return [
        Rule(
            "not_deidentified",
            (column("privacy") == "identified")
            & ~column("source").is_in(pl.Series(sorted(declared), dtype=pl.String).implode()),
            pl.lit(
                "its DICOM files are not marked as de-identified (declare the source with "
                "--declare-deidentified SOURCE, or declare_deidentified in a policy)"
            ),
        ),
        Rule(
            "unreadable_image",
            ~column("image_readable"),
            pl.coalesce(column("image_problem"), pl.lit("an image cannot be decoded")),
        ),
        Rule(
            "wrong_extension",
            ~column("image_extension_ok"),
            pl.lit("the name of an image file ends differently from what the file contains"),
        ),
        Rule(
            "near_blank",
            column("image_entropy") < NEAR_BLANK_BITS,
            pl.format(
                f"an image carries {{}} bits of grey entropy; below {NEAR_BLANK_BITS} it is nearly blank",
                column("image_entropy").abs().round(2),
            ),
        ),
        Rule(
            "too_small",
            column("image_min_side") < SHORTEST_SIDE,
            pl.format(f"a side of an image has {{}} pixels; at least {SHORTEST_SIDE} are needed", "image_min_side"),
        ),
        Rule(
            "too_elongated",
            column("image_aspect") > LONGEST_ASPECT,
            pl.format(
                f"an image is {{}} times as long as it is wide; Qwen's processors take up to {LONGEST_ASPECT}",
                column("image_aspect").round(1),
            ),
        ),
        Rule("cut_off_text", column("text_cut_off"), pl.lit("the text stops in the middle of a sentence")),
        Rule("boilerplate", column("text_boilerplate"), pl.lit("the text is boilerplate and describes nothing")),
        Rule(
            "missing_images",
            column("text_missing_images") > 0,
            pl.format("the text mentions {} image(s) that the sample does not have", "text_missing_images"),
        ),
        Rule(
            "unplaced_images",
            column("pair_unplaced_images") != 0,
            pl.format("{} image(s) of the sample have no place in its text", "pair_unplaced_images"),
        ),
        Rule(
            "modality_conflict",
            column("pair_modality_conflict"),
            pl.lit("the text names another modality than the DICOM file"),
        ),
        Rule(
            "body_part_conflict",
            column("pair_body_part_conflict"),
            pl.lit("the text names another body part than the DICOM file"),
        ),
    ]


def condition(text: str, columns: Mapping[str, pl.DataType], name: str) -> pl.Expr:
    """A condition in SQL over the fact columns, tried on an empty table so that mistakes show before any work.

    ``name`` is what the user wrote it as (``--where``, ``rules.short_caption.when``). Raises UserError when it is not
    understood, names an unknown column or none, is no condition, or looks at other rows than its own.
    """
    shown = f"{name} {text!r}"
    try:
        parsed = pl.sql_expr(text)
        names = parsed.meta.root_names()
        check_columns(names, columns)
        fields: dict[str, pl.DataType] = {field: pl.String() for field in names if is_meta(field)}
        tried = pl.DataFrame(schema={**columns, **fields}).select(parsed.alias("condition"))
    except pl.exceptions.PolarsError as error:
        hint = "; the values of meta fields are strings: compare with '5', not 5" if '"meta.' in text else ""
        raise UserError(f"{shown} is not understood: {first_line(error)}{hint}") from None
    if not names:
        raise UserError(f"{shown} names no column; there are: {', '.join(sorted(columns))}")
    if tried.dtypes[0] != pl.Boolean:
        raise UserError(f"{shown} is no condition: it gives {tried.dtypes[0]}, not true or false")
    if _looks_across_rows(json.loads(parsed.meta.serialize(format="json"))):
        raise UserError(f"{shown} looks at all samples together; it is asked about each sample by itself")
    return parsed


def _looks_across_rows(node: Any) -> bool:
    """Whether a serialized expression, or any part of it, aggregates, counts, or looks at neighbouring rows."""
    if isinstance(node, list):
        return any(map(_looks_across_rows, node))
    if not isinstance(node, dict):
        return node in _ACROSS_ROWS
    for name, part in node.items():
        if name in ("Literal", "Column", "evaluation"):  # what the user wrote, or work inside the list of one row
            continue
        if name == "function":
            if (part if isinstance(part, str) else next(iter(part))) in _FUNCTIONS_ACROSS_ROWS:
                return True
        elif name in _ACROSS_ROWS or _looks_across_rows(part):
            return True
    return False
