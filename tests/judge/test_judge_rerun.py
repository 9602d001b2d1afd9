"""What a second run asks again: what changed, and nothing else."""

from dataclasses import replace
from pathlib import Path

import yaml
from judge.asking import ask_again, options, statuses, verdicts
from judge.endpoint import Endpoint
from support.corpora import caption, make_corpus, picture, store

import curate.judge
from curate.corpus import Sample
from curate.judge import ImageBound, judge_corpus, load_rubrics

BUILT_IN = Path(curate.judge.__file__).parent / "rubrics"


def test_a_rerun_asks_nothing_even_without_the_journal(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples, per_shard=5)
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url))
        (corpus.path / "journal").rename(corpus.path / "aside")
        again = judge_corpus(corpus, options(endpoint.url))
        assert len(endpoint.requests) == 16
    assert (again.requests, again.scored, again.reused, again.decided) == (0, 16, 16, {"accept": 16})
    assert again.mean_score == 4.0
    assert not (corpus.path / "journal").exists()


def test_a_rerun_without_the_verdicts_takes_them_from_the_journal(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples)
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url))
        before = verdicts(corpus)
        for shard in corpus.shards():
            corpus.facts_shard("verdicts", shard).unlink()
        assert ask_again(corpus, endpoint) == []
    assert verdicts(corpus).equals(before)


def test_one_new_row_is_one_request(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples)
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url))
        new = caption("A new one.", store(tmp_path / "raw", "new.png", picture(999)))
        corpus = make_corpus(tmp_path / "c", [new, *samples])
        (asked,) = ask_again(corpus, endpoint)
    assert "A new one." in asked


def test_what_changed_is_asked_and_nothing_else(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples)
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url))
        changed = caption("Another caption.", *samples[0].images)
        corpus = make_corpus(tmp_path / "c", [changed, *samples[1:]])
        assert [("Another caption." in text) for text in ask_again(corpus, endpoint)] == [True]

        other_bytes = store(tmp_path / "raw", "chest/00001.png", picture(4242))
        repainted = caption(next(samples[1].texts()), other_bytes)
        corpus = make_corpus(tmp_path / "c", [changed, repainted, *samples[2:]])
        assert len(ask_again(corpus, endpoint)) == 1

        assert len(ask_again(corpus, endpoint, model="another-model")) == 16
        assert len(ask_again(corpus, endpoint, temperature=0.7)) == 16
        assert len(ask_again(corpus, endpoint, bound=ImageBound(side=512))) == 16
        assert ask_again(corpus, endpoint) == []


def test_moved_and_renamed_files_and_another_address_ask_nothing(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples)
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url))
    (tmp_path / "raw").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/chest").rename(tmp_path / "elsewhere/thorax")
    moved = [
        replace(
            sample,
            source="thorax",
            images=tuple(
                replace(image, path=str(image.path).replace("chest", "thorax"), name="x") for image in sample.images
            ),
        )
        for sample in samples
    ]
    corpus = make_corpus(tmp_path / "c", moved[::-1], root=tmp_path / "elsewhere")
    with Endpoint() as endpoint:
        assert ask_again(corpus, endpoint) == []
    assert statuses(corpus) == ["scored"] * 16


def edited(folder: Path, kind: str, **changes: object) -> Path:
    content = yaml.safe_load((BUILT_IN / f"{kind}.yaml").read_text())
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def test_a_changed_rubric_asks_its_kind_again(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples)
    rubrics = load_rubrics([edited(tmp_path, "conversation", guidance="Be strict about doses.")])
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url))
        asked = ask_again(corpus, endpoint, rubrics=rubrics)
    assert len(asked) == 4
    assert all("lowers potassium" in text for text in asked)
    assert set(verdicts(corpus)["judge_rubric"].tail(4)) == {rubrics["conversation"].hash}


def test_a_changed_decision_rule_is_applied_without_asking(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples)
    stricter = {
        "accept": {"mean_at_least": 4.5, "every_at_least": 4},
        "reject": {"mean_below": 4.1, "any_at_most": 0},
    }
    rubrics = load_rubrics([edited(tmp_path, "image_caption", decision=stricter)])
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url))
        assert ask_again(corpus, endpoint, rubrics=rubrics) == []
    assert verdicts(corpus)["judge_verdict"].to_list() == ["reject"] * 12 + ["accept"] * 4
    assert set(verdicts(corpus)["judge_rubric"].head(12)) == {rubrics["image_caption"].hash}
