"""Mixtures that cannot be: a sentence with the place, the numbers, and the nearest name that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.measured import caption
from support.mixing import Mixed, sized

from curate.corpus import UserError
from curate.select.policy_sections import Mixture


def refused(tmp_path: Path, mixture: dict[str, Any], **options: Any) -> str:
    samples = options.pop("samples", sized("web", 30) + sized("books", 10))
    with pytest.raises(UserError) as caught:
        Mixed(tmp_path / "c", samples, mixture, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def part(name: str, weight: float = 1.0, **fields: Any) -> dict[str, Any]:
    return {"name": name, "weight": weight, **fields}


def test_a_share_that_exceeds_what_exists(tmp_path: Path) -> None:
    mixture = {
        "unit": "samples",
        "budget": 40,
        "parts": [part("web", sources=["web"]), part("books", sources=["books"])],
    }
    assert refused(tmp_path, mixture) == (
        "the mixture cannot have its 40 samples: it asks 50 % (20 samples) of part 'books', which has 10 "
        "(x max_copies 1 = 10): 10 too few. Either lower weights (books to 0.333), or raise max_copies (books to 2), "
        "or lower the budget to 20, or say shortfall: shrink"
    )


@pytest.mark.parametrize(
    "change", [{"weights": (1.0, 0.333)}, {"copies": 2.0}, {"budget": 20}, {"shortfall": "shrink"}]
)
def test_each_way_out_of_it(tmp_path: Path, change: dict[str, Any]) -> None:
    web, books = change.get("weights", (1.0, 1.0))
    mixture = {
        "unit": "samples",
        "budget": change.get("budget", 40),
        "shortfall": change.get("shortfall", "stop"),
        "parts": [
            part("web", web, sources=["web"]),
            part("books", books, sources=["books"], max_copies=change.get("copies")),
        ],
    }
    mixed = Mixed(tmp_path / "c", sized("web", 30) + sized("books", 10), mixture)
    expected = {"weights": 40, "copies": 40, "budget": 20, "shortfall": 20}[next(iter(change))]
    assert mixed.copies.sum() == expected


@pytest.mark.parametrize(("field", "name"), [("by", "sourc"), ("balance", "image_cuont")])
def test_an_unknown_column(tmp_path: Path, field: str, name: str) -> None:
    mixture = {"by": name} if field == "by" else {"parts": [part("all")], "balance": name}
    sentence = refused(tmp_path, mixture)
    assert sentence.startswith(f"mixture.{field}: there is no column {name!r}")
    assert ("source" if field == "by" else "image_count") in sentence


@pytest.mark.parametrize("field", ["by", "balance"])
def test_a_column_of_lists(tmp_path: Path, field: str) -> None:
    mixture = {"by": "image_phashes"} if field == "by" else {"parts": [part("all")], "balance": "image_phashes"}
    assert "'image_phashes' holds lists" in refused(tmp_path, mixture)


def test_an_unknown_subset(tmp_path: Path) -> None:
    sentence = refused(tmp_path, {"parts": [part("b", sources=["web", "boks"])]})
    assert sentence == "mixture.parts.b.sources: the corpus has no subset 'boks'; did you mean 'books'?"


def test_a_subset_whose_samples_are_all_dropped_is_known_and_empty(tmp_path: Path) -> None:
    mixture = {"parts": [part("web", sources=["web"]), part("books", 2.0, sources=["books"])]}
    sentence = refused(tmp_path, mixture, gone=range(30, 40))
    assert "part 'books' has weight 2 but no sample; give such a part weight 0" in sentence


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("text_wrds > 3", "there is no column 'text_wrds' to select by; did you mean text_words"),
        ("text_words >", "mixture.parts.p.where 'text_words >' is not understood"),
        ("text_words + 1", "is no condition"),
        ("1 = 1", "names no column"),
        ("text_words > avg(text_words)", "looks at all samples together"),
    ],
)
def test_a_condition_that_cannot_be_used(tmp_path: Path, where: str, told: str) -> None:
    assert told in refused(tmp_path, {"parts": [part("p", where=where), part("rest")]})


def test_a_condition_that_fails_on_a_sample(tmp_path: Path) -> None:
    sentence = refused(tmp_path, {"parts": [part("p", where="CAST(source AS INT) > 3"), part("rest")]})
    assert sentence.startswith("mixture.parts.p.where fails on a sample: ")


def test_two_parts_of_one_name(tmp_path: Path) -> None:
    assert "two parts of the mixture are called 'a'" in refused(tmp_path, {"parts": [part("a"), part("a")]})


def test_a_part_after_one_that_takes_everything(tmp_path: Path) -> None:
    sentence = refused(tmp_path, {"parts": [part("rest"), part("books", sources=["books"])]})
    assert "part 'books' gets nothing: 'rest' before it has no condition" in sentence


def test_a_part_whose_samples_earlier_parts_take(tmp_path: Path) -> None:
    mixture = {"parts": [part("both", sources=["web", "books"]), part("books", sources=["books"])]}
    assert "part 'books' has weight 1 but no sample (10 satisfy its condition, but parts before it" in refused(
        tmp_path, mixture
    )


def test_a_budget_smaller_than_half_a_sample(tmp_path: Path) -> None:
    sentence = refused(tmp_path, {"parts": [part("all")], "budget": 1}, samples=sized("web", 5, longest=2000))
    assert "the mixture is empty: 1 tokens are less than half a sample" in sentence


def test_samples_without_tokens(tmp_path: Path) -> None:
    samples = [caption("", source="a")]
    assert "the samples have no tokens" in refused(tmp_path, {"by": "source"}, samples=samples)
    assert "part 'all' has weight 1 but no tokens" in refused(tmp_path / "b", {"parts": [part("all")]}, samples=samples)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "qwen4-vl"},
        {"max_copies": 0.5},
        {"max_copies": 1001.0},
        {"temperature": 0.0},
        {"temperature": float("inf")},
        {"budget": 0},
        {"parts": []},
        {"parts": [part("a", float("nan"))]},
        {"parts": [part("a", float("inf"))]},
        {"parts": [part("a", -1.0)]},
    ],
)
def test_values_that_mean_nothing(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Mixture.model_validate(fields)
