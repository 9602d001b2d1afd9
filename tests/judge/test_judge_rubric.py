"""Rubric files, prices and endpoints as users give them: right ones work, wrong ones are explained."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import curate.judge
from curate.corpus import UserError
from curate.judge import (
    DEMO_MODEL,
    FREE,
    Endpoint,
    Price,
    load_prices,
    load_rubrics,
    parse_price,
    price_of,
    resolve_endpoint,
)
from curate.judge.price import image_tokens, text_tokens
from curate.judge.reply import Reply
from curate.judge.verdict import derive

BUILT_IN = Path(curate.judge.__file__).parent / "rubrics"


def content(kind: str = "query") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((BUILT_IN / f"{kind}.yaml").read_text())
    return loaded


def test_built_in_rubrics_cover_all_kinds_with_the_defects_of_the_table() -> None:
    rubrics = load_rubrics()
    assert sorted(rubrics) == ["conversation", "image_caption", "interleaved", "query"]
    everywhere = {"non_medical_image", "modality_mismatch", "anatomy_mismatch", "missing_image", "low_value"}
    for rubric in rubrics.values():
        assert everywhere <= rubric.critical
        assert rubric.critical < {defect.id for defect in rubric.defects}
    assert {"invalid_answer_space", "insufficient_conditions", "wrong_answer"} <= rubrics["query"].critical
    assert "image_independent_question" not in rubrics["query"].critical


def test_a_file_or_a_folder_takes_the_place_of_its_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content() | {"title": "Mine"}))
    (tmp_path / "b.yml").write_text(yaml.safe_dump(content("interleaved") | {"title": "Mine too"}))
    (tmp_path / "notes.txt").write_text("not a rubric")
    built_in = load_rubrics()
    for paths in ([tmp_path], [tmp_path / "a.yaml", tmp_path / "b.yml"]):
        rubrics = load_rubrics(paths)
        assert (rubrics["query"].title, rubrics["interleaved"].title) == ("Mine", "Mine too")
        assert rubrics["conversation"] == built_in["conversation"]
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content()))
    with pytest.raises(UserError, match=r"both rubrics for query"):
        load_rubrics([tmp_path])


def test_layout_does_not_change_the_hash(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content(), sort_keys=True, width=40))
    assert load_rubrics([tmp_path / "a.yaml"])["query"].hash == load_rubrics()["query"].hash


def without(path: str, value: Any = None) -> dict[str, Any]:
    whole = content()
    *parents, last = path.split(".")
    place = whole
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    if value is None:
        del place[int(last) if last.isdigit() else last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return whole


@pytest.mark.parametrize(
    ("rubric", "words"),
    [
        (without("dimensions.fluency.anchors.3"), "dimensions.fluency.anchors: needs a text for each"),
        (without("dimensions.fluency.anchors.6", "More"), "dimensions.fluency.anchors: needs a text for each"),
        (without("dimensions.relevance"), "dimensions.relevance"),
        (without("dimensions.fluency.question", "  "), "dimensions.fluency.question"),
        (without("dimensions.fluency.anchors.2", False), "dimensions.fluency.anchors.2"),
        (without("kind", "poem"), "kind"),
        (without("defects", []), "defects"),
        (without("defects.1.severity", "medium"), "defects.1.severity"),
        (without("defects.1.id", "Bad Name"), "defects.1.id"),
        (without("defects.1.id", "non_medical_image"), "defects: defined twice: non_medical_image"),
        (without("decision.accept.mean_at_least", 6), "decision.accept.mean_at_least"),
        (without("decision.reject.mean_below", 4.0), "decision: accept and reject overlap"),
        (without("extra", "field"), "extra"),
        ("just a text", "the file"),
        ([], "the file"),
    ],
)
def test_a_wrong_rubric_is_explained_by_file_and_field(tmp_path: Path, rubric: object, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(rubric))
    with pytest.raises(UserError) as caught:
        load_rubrics([path])
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"kind: query\nkind: query\n", "kind is written twice"),
        (b"title: a: b\n", "quotes"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"{unclosed", "not valid YAML"),
        (b"!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_yaml_is_explained(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=words):
        load_rubrics([path])


def test_missing_and_empty_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_rubrics([tmp_path / "none.yaml"])
    with pytest.raises(UserError, match=r"no \.yaml file"):
        load_rubrics([tmp_path])


@pytest.mark.parametrize(
    ("scores", "defects", "decided"),
    [
        ((5, 5, 5, 5, 5), [], "accept"),
        ((4, 4, 3, 4, 3), [], "accept"),
        ((4, 4, 3, 3, 3), [], "review"),
        ((5, 5, 5, 5, 2), [], "review"),
        ((5, 5, 5, 5, 0), [], "reject"),
        ((2, 2, 2, 2, 1), [], "reject"),
        ((2, 2, 2, 2, 2), [], "review"),
        ((5, 5, 5, 5, 5), ["wrong_answer"], "reject"),
        ((5, 5, 5, 5, 5), ["missing_scale"], "accept"),
        ((4, 4, None, 3, 3), [], "accept"),
        ((4, 3, None, 3, 3), [], "review"),
    ],
)
def test_the_decision_follows_from_scores_and_defects(
    scores: tuple[int | None, ...], defects: list[str], decided: str
) -> None:
    names = ("medical_correctness", "fluency", "relevance", "completeness", "practicality")
    fields: dict[str, Any] = dict(zip(names, scores, strict=True))
    verdict = derive(Reply(rationale="x", defects=defects, sample="s", **fields), load_rubrics()["query"])
    given = [score for score in scores if score is not None]
    assert (verdict.decided, verdict.score) == (decided, sum(given) / len(given))


def test_prices_by_name_provider_and_date(tmp_path: Path) -> None:
    prices = load_prices()
    hosted = "https://api.example.com/v1"
    expected = prices["gpt-4.1-mini"]
    for name in ("gpt-4.1-mini", "openai/gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", "x/gpt-4.1-mini-20250414"):
        assert price_of(Endpoint(hosted, name), prices) == expected
    assert price_of(Endpoint(hosted, "gpt-4.1-mini-turbo"), prices) is None
    assert price_of(Endpoint("http://localhost:8000/v1", "my-model"), prices) == FREE
    assert price_of(Endpoint("demo", DEMO_MODEL), prices) == FREE
    mine = tmp_path / "prices.yaml"
    mine.write_text("gpt-4.1-mini: {input: 9, output: 9.5}\nmy-model: {input: 0, output: 1}\n")
    over = load_prices(mine)
    assert over["gpt-4.1-mini"] == Price(input=9, output=9.5)
    assert over["gpt-4.1"] == prices["gpt-4.1"]


@pytest.mark.parametrize("text", ["1", "1,2,3", "a,b", "-1,2", "nan,1", "", "1,inf"])
def test_a_price_that_is_none_is_explained(text: str) -> None:
    with pytest.raises(UserError, match="--price"):
        parse_price(text)


@pytest.mark.parametrize(
    "text", ["gpt: 3", "gpt: {input: -1, output: 2}", "- x", "gpt: {input: 1}", "{", "a: {input: 1, output: x}"]
)
def test_a_price_table_that_is_none_is_explained(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="price table"):
        load_prices(path)


def test_tokens_are_estimated_rather_high() -> None:
    assert text_tokens(["word " * 300]) == 500
    assert text_tokens(["胸部正位片"]) == 5
    assert image_tokens(1024, 1024) == 37 * 37
    assert image_tokens(1, 1) == 1


def test_endpoint_from_options_and_environment() -> None:
    key = {"OPENAI_API_KEY": "sk-1"}
    assert resolve_endpoint(None, "m", key) == Endpoint("https://api.openai.com/v1", "m", "sk-1")
    assert resolve_endpoint("http://localhost:8000/v1/", "m", {}) == Endpoint("http://localhost:8000/v1", "m")
    everything = {"OPENAI_BASE_URL": "https://a.example/v1", "CURATE_JUDGE_MODEL": "n", **key}
    assert resolve_endpoint(None, None, everything) == Endpoint("https://a.example/v1", "n", "sk-1")
    assert resolve_endpoint("demo", "ignored", everything) == Endpoint("demo", DEMO_MODEL)
    assert "sk-1" not in repr(resolve_endpoint(None, None, everything))
    assert resolve_endpoint("http://gpu-box:8000/v1", "m", key).key == "sk-1"
    assert resolve_endpoint("http://10.0.0.5:8000/v1", "m", key).host == "10.0.0.5:8000"


@pytest.mark.parametrize(
    ("url", "model", "environment", "words"),
    [
        (None, None, {}, "vllm serve"),
        (None, "m", {}, "--judge-url demo"),
        ("http://localhost:8000/v1", None, {}, "--judge-model"),
        ("https://api.openai.com/v1", "m", {}, "OPENAI_API_KEY"),
        ("ftp://x/v1", "m", {}, "http://"),
        ("localhost:8000", "m", {}, "http://"),
        ("https://user:secret@x.example/v1", "m", {}, "plain address"),
        ("https://x.example/v1?key=secret", "m", {}, "plain address"),
        ("http://x.example/v1", "m", {"OPENAI_API_KEY": "sk-1"}, "https://"),
        ("https://x.example/v1", "m", {"OPENAI_API_KEY": "sk 1\n2"}, "OPENAI_API_KEY"),
    ],
)
def test_an_endpoint_that_cannot_be_is_explained(
    url: str | None, model: str | None, environment: dict[str, str], words: str
) -> None:
    with pytest.raises(UserError) as caught:
        resolve_endpoint(url, model, environment)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
