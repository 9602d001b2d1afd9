"""Mixtures of real corpora: shares by tokens, balance, temperature, copies, and what decides who is drawn."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from support.measured import conversation
from support.mixing import Mixed, picture, sized, tokens

from curate.corpus import Sample

DECAY = {"books": 40.0, "literature": 20.0, "general": 15.84, "web": 3.76, "exercises": 20.40}
"""InfiMed2's learning-rate decay stage, shares of tokens in percent (arXiv 2609.34798)."""
SFT = {"general": 10.76, "medical_vqa": 21.77, "reasoning": 22.69, "stability_aware": 44.79}
"""InfiMed2's SFT mixture; its shares add up to 100.01."""


def parts(weights: dict[str, float]) -> list[dict[str, object]]:
    return [{"name": name, "sources": [name], "weight": weight} for name, weight in weights.items()]


def assert_shares(mixed: Mixed, weights: dict[str, float], whole: float) -> None:
    """Every part has its share of the whole, to within one of its own samples."""
    taken = mixed.taken()
    for name, weight in weights.items():
        largest = max(tokens(sample) for sample in mixed.samples if sample.source == name)
        assert abs(taken[name] - whole * weight / sum(weights.values())) <= largest / 2 + 1, name


@pytest.fixture(scope="module")
def decay_samples() -> list[Sample]:
    return [sample for name in DECAY for sample in sized(name, 260)]


@pytest.mark.parametrize("budget", [None, 60_000])
def test_the_decay_mixture_of_infimed2(tmp_path: Path, decay_samples: list[Sample], budget: int | None) -> None:
    mixed = Mixed(tmp_path / "c", decay_samples, {"parts": parts(DECAY), "budget": budget})
    have = Counter({name: sum(tokens(s) for s in decay_samples if s.source == name) for name in DECAY})
    largest = min(have[name] / weight for name, weight in DECAY.items()) * sum(DECAY.values())
    assert_shares(mixed, DECAY, budget or largest)
    assert mixed.copies.max() == 1
    assert mixed.stage.account["planned"] == pytest.approx(budget or largest, abs=1)
    if budget is None:
        limiting = min(DECAY, key=lambda name: have[name] / DECAY[name])
        assert mixed.stage.account["limited_by"] == limiting
        assert mixed.part(limiting)["taken"] == 260


def test_the_sft_mixture_of_infimed2_is_balanced_over_its_27_visual_categories(tmp_path: Path) -> None:
    draw = random.Random(0)
    samples = []
    for name in SFT:
        for number in range(900):
            # Skewed: a few categories hold most samples.
            category = number if number < 27 else min(int(draw.paretovariate(0.6)) - 1, 26)
            shown = [picture(draw.randint(60, 500), draw.randint(60, 500))]
            said = conversation(f"{name} {number}?", "It is. " * draw.randint(1, 30), images=shown, source=name)
            samples.append(replace(said, meta={"visual": {"category": f"c{category:02}"}}))
    budget = 200_000
    mixture = {"parts": parts(SFT), "budget": budget, "balance": "meta.visual.category", "max_copies": 3.0}
    mixed = Mixed(tmp_path / "c", samples, mixture)
    assert_shares(mixed, SFT, budget)
    for name in SFT:
        have: Counter[str] = Counter()
        for sample in samples:
            if sample.source == name:
                have[sample.meta["visual"]["category"]] += tokens(sample)
        assert len(have) == 27
        taken = mixed.taken(lambda s, name=name: s.meta["visual"]["category"] if s.source == name else "other")
        largest = max(tokens(sample) for sample in samples if sample.source == name)
        assert max(have.values()) > 10 * min(have.values())
        exhausted = {value for value in have if taken[value] >= 3 * have[value] - largest}
        free = [taken[value] for value in have if value not in exhausted]
        assert max(free) - min(free) <= 2 * largest
        assert all(taken[value] <= max(free) + largest for value in exhausted)
        listed = {row["value"]: row["tokens_taken"] for row in mixed.part(name)["values"]}
        assert listed == {value: taken[value] for value in have}


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("unit", ["samples", "tokens"])
def test_temperature_gives_shares_by_a_root_of_the_size(tmp_path: Path, temperature: float, unit: str) -> None:
    sizes = {"xray": 1200, "ct": 300, "us": 60}
    samples = [s for name, count in sizes.items() for s in sized(name, count, pictured=False, longest=60)]
    size = tokens if unit == "tokens" else lambda _: 1
    have = Counter[str]()
    for sample in samples:
        have[sample.source] += size(sample)
    budget = have["us"] * 2
    mixture = {"by": "source", "temperature": temperature, "unit": unit, "budget": budget, "max_copies": 2.0}
    mixed = Mixed(tmp_path / "c", samples, mixture)
    roots = {name: n ** (1 / temperature) for name, n in have.items()}
    taken = mixed.taken(size=size)
    largest = max(size(sample) for sample in samples)
    for name, root in roots.items():
        assert abs(taken[name] - budget * root / sum(roots.values())) <= largest
    assert abs(taken.total() - budget) <= largest / 2


def test_groups_by_a_field_of_meta_with_samples_without_it(tmp_path: Path) -> None:
    samples = sized("a", 30, modality="CT") + sized("b", 30, modality="MR") + sized("c", 30)
    mixed = Mixed(tmp_path / "c", samples, {"by": "meta.modality", "unit": "samples", "budget": 30})
    assert {part["name"]: part["taken"] for part in mixed.stage.account["parts"]} == {
        "CT": 10,
        "MR": 10,
        "(no value)": 10,
    }


@pytest.mark.parametrize(("most", "once", "twice"), [(1.0, 400, 0), (1.5, 200, 200), (2.0, 0, 400)])
def test_fractional_copies_repeat_a_part_of_the_samples(tmp_path: Path, most: float, once: int, twice: int) -> None:
    mixture = {"parts": [{"name": "all", "weight": 1.0}], "unit": "samples", "max_copies": most}
    mixed = Mixed(tmp_path / "c", sized("a", 400), mixture)
    assert Counter(mixed.copies.tolist()) == Counter({1: once, 2: twice})
    assert mixed.part("all")["copies"] == {str(n): k for n, k in ((1, once), (2, twice)) if k}


def test_a_part_has_its_own_limit_of_copies(tmp_path: Path) -> None:
    mixture = {
        "unit": "samples",
        "parts": [
            {"name": "few", "sources": ["few"], "weight": 1.0, "max_copies": 4.0},
            {"name": "many", "sources": ["many"], "weight": 1.0},
        ],
    }
    mixed = Mixed(tmp_path / "c", sized("few", 10) + sized("many", 90), mixture)
    assert mixed.taken(size=lambda _: 1) == {"few": 40, "many": 40}
    assert set(mixed.copies[:10].tolist()) == {4}


def test_the_seed_decides_and_neither_shards_nor_order_do(tmp_path: Path, decay_samples: list[Sample]) -> None:
    mixture = {"parts": parts(DECAY), "budget": 60_000, "balance": "kind"}
    first = Mixed(tmp_path / "a", decay_samples, mixture).by_id
    mixed_up = random.Random(5).sample(decay_samples, len(decay_samples))
    assert Mixed(tmp_path / "b", mixed_up, mixture, per_shard=97).by_id == first
    other = Mixed(tmp_path / "c", decay_samples, mixture, seed=1).by_id
    assert len(first.keys() & other.keys()) < 0.6 * len(first)
    assert Mixed(tmp_path / "d", decay_samples, mixture, seed=-(2**70)).by_id != first


def test_more_samples_change_few_choices(tmp_path: Path) -> None:
    mixture = {"parts": parts({"a": 1.0, "b": 1.0}), "unit": "samples", "budget": 400}
    old = sized("a", 1000) + sized("b", 1000)
    before = Mixed(tmp_path / "a", old, mixture).by_id
    after = Mixed(tmp_path / "b", sized("a", 50, seed=9, longest=3000) + old, mixture).by_id
    assert len(before.keys() - after.keys()) <= 25  # about 1 in 20 of part a, none of part b
    assert before != after


def test_what_a_mixture_draws_says_nothing_about_what_a_smaller_one_leaves(tmp_path: Path) -> None:
    samples = sized("a", 600)
    small, large = (
        Mixed(tmp_path / str(n), samples, {"by": "source", "unit": "samples", "budget": n}).by_id for n in (100, 300)
    )
    assert small.keys() < large.keys()


def test_the_first_part_that_fits_takes_a_sample(tmp_path: Path) -> None:
    samples = sized("a", 20, pictured=False) + sized("b", 30) + sized("c", 50)
    mixture = {
        "unit": "samples",
        "parts": [
            {"name": "ab", "sources": ["a", "b"], "weight": 50.0},
            {"name": "b", "where": "source = 'b' or source = 'c'", "weight": 50.0},
        ],
    }
    mixed = Mixed(tmp_path / "c", samples + sized("d", 7), mixture)
    assert mixed.part("ab")["samples"] == 50
    assert mixed.part("b")["samples"] == 50
    assert mixed.part("b")["taken_by_earlier_parts"] == 30
    assert mixed.stage.account["in_no_part"] == 7
    reasons = mixed.stage.dropped["reason"].to_list()
    assert reasons == ["no part of the mixture takes it"] * 7


def test_sources_and_condition_must_both_hold_and_the_rest_comes_last(tmp_path: Path) -> None:
    samples = sized("a", 20) + sized("b", 20)
    signals = {sample.id: {"text_words": 3} for sample in samples[10:30]}
    mixture = {
        "unit": "samples",
        "parts": [
            {"name": "short", "sources": ["a"], "where": "text_words < 5", "weight": 1.0},
            {"name": "rest", "weight": 3.0},
        ],
    }
    mixed = Mixed(tmp_path / "c", samples, mixture, signals=signals)
    assert mixed.part("short")["samples"] == 10
    assert mixed.part("rest")["samples"] == 30
    assert mixed.by_id.keys() == {sample.id for sample in samples}


def test_dropped_samples_are_those_that_are_alive_and_not_in_with_their_numbers(tmp_path: Path) -> None:
    samples = sized("web", 40) + sized("books", 40)
    mixture = {
        "unit": "samples",
        "budget": 10,
        "parts": [
            {"name": "web", "sources": ["web"], "weight": 1.0},
            {"name": "books", "sources": ["books"], "weight": 0.0},
        ],
    }
    gone = [0, 1, 2, 45]
    mixed = Mixed(tmp_path / "c", samples, mixture, gone=gone, per_shard=16)
    dropped = mixed.stage.dropped
    assert dropped["row"].to_list() == [n for n in range(80) if n not in gone and not mixed.copies[n]]
    assert set(dropped["rule"]) == {"mixture"}
    assert dropped["related"].is_null().all()
    assert not mixed.copies[gone].any()
    assert not mixed.copies[40:].any()
    part = mixed.part("web")
    numbers = f"({part['tokens_taken']:,} tokens; there are {part['tokens_available']:,})"
    assert set(dropped["reason"]) == {
        f"the mixture takes 10 of the 37 samples of the part 'web' {numbers}: this one was not drawn (seed 0)",
        "the part 'books' has weight 0",
    }


@pytest.mark.parametrize("model", ["qwen3-vl", "qwen2.5-vl"])
def test_the_account_adds_up_and_is_json(tmp_path: Path, decay_samples: list[Sample], model: str) -> None:
    mixture = {"parts": parts(DECAY), "budget": 90_000, "max_copies": 1.5, "model": model, "balance": "image_count"}
    mixed = Mixed(tmp_path / "c", decay_samples, mixture)
    account = orjson.loads(orjson.dumps(mixed.stage.account))
    assert account["patch_rule"]["side"] == (32 if model == "qwen3-vl" else 28)
    taken = mixed.taken(size=lambda sample: tokens(sample, model))
    for part in account["parts"]:
        own = [sample for sample in decay_samples if sample.source == part["name"]]
        assert part["samples"] == len(own) == sum(part["copies"].values())
        assert part["tokens_available"] == sum(tokens(sample, model) for sample in own)
        assert part["tokens_available"] == part["text_tokens_available"] + part["image_tokens_available"]
        assert part["image_tokens_available"] > 0
        assert part["tokens_taken"] == taken[part["name"]] == part["text_tokens_taken"] + part["image_tokens_taken"]
        assert part["rows"] == sum(int(copies) * count for copies, count in part["copies"].items())
        assert part["taken"] == part["samples"] - part["copies"].get("0", 0)
        assert part["share_realised"] == pytest.approx(part["share_asked"], abs=0.005)
    total = account["total"]
    for name in ("samples", "taken", "rows", "tokens_available", "tokens_taken"):
        assert total[name] == sum(part[name] for part in account["parts"])
    assert total["tokens_taken"] == account["realised"] == taken.total()


def test_shrinking_says_so(tmp_path: Path) -> None:
    mixture = {"parts": parts({"a": 1.0, "b": 1.0}), "unit": "samples", "budget": 100, "shortfall": "shrink"}
    mixed = Mixed(tmp_path / "c", sized("a", 20) + sized("b", 90), mixture)
    assert mixed.taken(size=lambda _: 1) == {"a": 20, "b": 20}
    assert mixed.stage.account["shrunk"]
    assert mixed.stage.account["notes"] == ["the whole is 40 samples, instead of the 100 asked: part 'a' has no more"]


def test_what_cannot_be_balanced_is_noted(tmp_path: Path) -> None:
    mixture = {"parts": parts({"a": 1.0, "b": 1.0}), "unit": "samples", "balance": "meta.modality"}
    samples = sized("a", 20, modality="CT") + sized("b", 50, modality="MR") + sized("b", 30, seed=2, longest=900)
    mixed = Mixed(tmp_path / "c", samples, mixture)
    assert mixed.stage.account["notes"][-1] == (
        "the values of meta.modality keep their proportions in what is taken whole: 'a'"
    )


def test_a_smaller_image_limit_of_the_trainer_makes_smaller_pictures(tmp_path: Path) -> None:
    samples = sized("a", 20)
    mixture = {"parts": [{"name": "a", "weight": 1.0}]}
    full = Mixed(tmp_path / "a", samples, mixture).part("a")
    small = Mixed(tmp_path / "b", samples, mixture | {"image_max_pixels": 65536}).part("a")
    assert small["text_tokens_taken"] == full["text_tokens_taken"]
    assert small["image_tokens_taken"] < full["image_tokens_taken"] / 2


def test_nothing_left_to_mix_is_no_error_of_the_mixture(tmp_path: Path) -> None:
    mixed = Mixed(tmp_path / "c", sized("a", 5), {"by": "source"}, gone=range(5))
    assert mixed.stage.dropped.is_empty()
    assert not mixed.copies.any()
