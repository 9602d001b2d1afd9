"""Without the picture: which questions do not need it."""

from collections import defaultdict
from pathlib import Path

from judge.endpoint import Endpoint, Request
from rollouts.playing import ENVIRONMENT, effusion, facts, organ, playing, responses, roll, said, shows, thinking
from support.inside import curate
from support.measured import make_corpus, query


def lung(request: Request, number: int) -> str:
    """A model that knows the answer's text without the picture."""
    letter = next((line[0] for line in said(request).splitlines() if line.endswith("Lung")), "A")
    return thinking(letter)


def first(request: Request, number: int) -> str:
    """A model that always says A."""
    return thinking("A")


def test_no_picture_is_sent_and_options_change_their_order(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, 0), organ(path, 1), effusion(path, 0), query("Which drug?", "insulin")])
    with Endpoint(playing(lung)) as endpoint:
        given = ("--model", "m", "--url", endpoint.url, "--json")
        arguments = (*given, "--text-only", "--shuffle-options", "--k", "5")
        ran = curate("rollout", path, *arguments, env=ENVIRONMENT)
        assert ran.status == 0, ran.err
        assert len(endpoint.requests) == 15
        assert not any(shows(request) or "<image>" in said(request) for request in endpoint.requests)
        orders = defaultdict(set)
        for request in endpoint.requests:
            question, *options = said(request).splitlines()
            orders[question].add(tuple(options))
        assert {len(found) for question, found in orders.items() if question.startswith("Organ")} == {5}
        assert len(orders["Effusion 0: is there any?"]) == 1
        assert curate("rollout", path, *arguments, env=ENVIRONMENT).json()["requests"] == 0
    found = facts(corpus, "text-only")
    assert found["rollout_correct"].to_list() == [5, 5, 0, None]
    assert found["rollout_reason"].to_list() == [None, None, None, "no_image"]
    assert found["rollout_chance"].to_list() == [0.25, 0.25, 0.5, None]
    assert set(responses(corpus, "text-only").filter(accuracy=1.0)["reference"]) > {"A"}
    counts = ran.json()
    assert counts["chance"]["queries"] == 3
    assert counts["chance"]["accuracy"] == 2 / 3
    assert "Without the picture 66.7% of the answers are right; guessing would give 33.3%" in ran.err


def test_a_model_that_knows_only_a_letter_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, number) for number in range(12)])
    with Endpoint(playing(first)) as endpoint:
        summary = roll(corpus, endpoint.url, k=24, text_only=True, shuffle_options=True, run="t")
    # Of the 24 orders of four options the right one comes first in six.
    assert summary.correct == {6: 12}


def test_the_run_with_pictures_is_another_run(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, 0)])
    with Endpoint(playing(lung)) as endpoint:
        roll(corpus, endpoint.url, k=1)
        summary = roll(corpus, endpoint.url, k=1, text_only=True, run="text-only")
        assert summary.requests == 1
        assert [shows(request) for request in endpoint.requests] == [1, 0]
