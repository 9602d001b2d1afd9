"""Signals of text.

Looked at are the turns of documents, users and assistants; system prompts are the same for a whole subset and left out.
A turn's text is its text parts, one a line. **Target turns** are what a model learns to say or has to answer: the
document, every assistant turn, the last user turn of a query (and of a conversation without an assistant).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import polars as pl
import pyarrow as pa

from curate.signals.endings import cut_off
from curate.signals.furniture import boilerplate
from curate.signals.mentions import missing_images

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}][^\s{_IDEOGRAPHS}]*")
_SYLLABLE = re.compile(f"[{_IDEOGRAPHS}\uac00-\ud7a3]")

_LANGUAGE_CHARS, _LANGUAGE_LETTERS = 1000, 15
_REPETITION_CHARS = 100_000


def read_turns(table: pa.Table) -> pl.DataFrame:
    """The turns of a samples table, system prompts left out.

    Columns: row (position of the sample in the table), role, text, images (positions shown), before_image (an image is
    the last part), target.
    """
    samples = pl.DataFrame(pl.from_arrow(table.select(["kind", "turns"]))).with_row_index("row")
    turns = (
        samples.explode("turns")
        .drop_nulls("turns")
        .unnest("turns")
        .filter(pl.col("role") != "system")
        .with_row_index("turn")
    )
    texts = pl.col("parts").list.eval(pl.element().struct.field("text"))
    images = pl.col("parts").list.eval(pl.element().struct.field("image"))
    role, turn = pl.col("role"), pl.col("turn")
    learned = (role == "document") | ((role == "assistant") & (pl.col("kind") != "query"))
    asked = turn == pl.when(role == "user").then(turn).max().over("row")
    return turns.select(
        "row",
        "role",
        text=texts.list.drop_nulls().list.join("\n"),
        images=images.list.drop_nulls(),
        before_image=images.list.last().is_not_null(),
        target=learned | (asked.fill_null(value=False) & ~learned.any().over("row")),
    )


def measure_text(turns: pl.DataFrame, images: Sequence[int]) -> pl.DataFrame:
    """The ``text_*`` columns for samples with that many ``images`` each; ``turns`` is of :func:`read_turns`."""
    by_turn = turns.select(
        "row",
        "text",
        text_words=pl.col("text").str.count_matches(_WORD.pattern),
        text_repetition=pl.Series([repetition(text) for text in turns["text"]], dtype=pl.Float64),
        text_cut_off=pl.Series(
            [
                target and cut_off(text, before_image=before_image)
                for text, before_image, target in turns.select("text", "before_image", "target").iter_rows()
            ],
            dtype=pl.Boolean,
        ),
        text_boilerplate=pl.col("target") & boilerplate(pl.col("text"), caption=pl.col("role") == "document"),
    )
    by_sample = by_turn.group_by("row").agg(
        pl.col("text").str.join("\n"),
        pl.col("text_words").sum(),
        pl.col("text_repetition").max(),
        pl.col("text_cut_off", "text_boilerplate").any(),
    )
    rows = pl.DataFrame({"row": pl.int_range(len(images), dtype=pl.UInt32, eager=True)})
    whole = rows.join(by_sample, on="row", how="left", maintain_order="left").with_columns(
        pl.col("text").fill_null(""), pl.col("text_words", "text_repetition").fill_null(0)
    )
    languages = [language(text) for text in whole["text"]]
    return whole.select(
        text_chars=pl.col("text").str.strip_chars().str.len_chars().cast(pl.Int32),
        text_words=pl.col("text_words").cast(pl.Int32),
        text_language=pl.Series([code for code, _ in languages], dtype=pl.String),
        text_language_confidence=pl.Series([confidence for _, confidence in languages], dtype=pl.Float64),
        text_repetition="text_repetition",
        text_letters=_share_of_letters(pl.col("text")),
        text_cut_off=pl.col("text_cut_off").fill_null(value=False),
        text_boilerplate=pl.col("text_boilerplate").fill_null(value=False),
        text_missing_images=pl.Series(
            [missing_images(text, count) for text, count in zip(whole["text"], images, strict=True)], dtype=pl.Int32
        ),
    )


def _share_of_letters(text: pl.Expr) -> pl.Expr:
    letters, visible = text.str.count_matches(r"\p{L}"), text.str.count_matches(r"\S")
    return pl.when(visible > 0).then((letters / visible).round(4)).otherwise(0.0)


def repetition(text: str) -> float:
    """Share (0-1) of word 5-grams that repeat an earlier one; of 2-grams where there are fewer than 10 words."""
    words = _WORD.findall(text[:_REPETITION_CHARS].lower())
    size = 5 if len(words) >= 10 else 2
    grams = list(zip(*(words[start:] for start in range(size)), strict=False))
    return round(1 - len(set(grams)) / len(grams), 4) if grams else 0.0


def language(text: str) -> tuple[str | None, float | None]:
    """ISO 639 code and probability of a text's language; None for both when there are too few letters to tell."""
    head = " ".join(text[:_LANGUAGE_CHARS].split())
    letters = sum(map(str.isalpha, head)) + 2 * len(_SYLLABLE.findall(head))
    return _classified(head) if letters >= _LANGUAGE_LETTERS else (None, None)


@lru_cache(maxsize=8192)
def _classified(text: str) -> tuple[str, float]:
    """Cached, because the same few questions are asked about thousands of images."""
    code, probability = _identifier().classify(text)
    return str(code), round(float(probability), 4)


@cache
def _identifier() -> Any:
    """py3langid's model, read (half a second) when the first text comes."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
