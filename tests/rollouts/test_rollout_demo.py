"""The whole flow without a model."""

from pathlib import Path

from rollouts.playing import effusion, facts, organ, responses
from support import cli
from support.inside import curate
from support.measured import make_corpus


def test_the_demo_model_says_that_it_is_none_and_answers_the_same_each_time(tmp_path: Path) -> None:
    found = []
    for name, run in (("a", curate), ("b", cli.curate)):
        path = tmp_path / name
        corpus = make_corpus(path, [organ(path, n) for n in range(15)] + [effusion(path, n) for n in range(15)])
        assert curate("rollout", path, "--url", "demo", "--k", "3").status == 0
        ran = run("rollout", path, "--url", "demo", "--k", "6", "--json")
        assert ran.status == 0, ran.err
        assert "It is no model" in ran.err
        counts = ran.json()
        assert (counts["requests"], counts["reused"]) == (90, 90)
        assert counts["cost_usd"] == 0
        assert 5 < counts["informative"] < 30
        found.append((facts(corpus), responses(corpus)))
        assert set(facts(corpus)["rollout_model"]) == {"curate-demo-model"}
    assert found[0][0].equals(found[1][0])
    assert found[0][1].equals(found[1][1])


def test_from_rollouts_to_a_corpus_for_sft(tmp_path: Path) -> None:
    path = tmp_path / "c"
    make_corpus(path, [organ(path, n) for n in range(20)] + [effusion(path, n) for n in range(20)])
    assert curate("rollout", path, "--url", "demo").status == 0
    helpers = ("--rebuild-url", "demo", "--stronger-url", "demo", "--json")
    ran = curate("respond", path, *helpers, "-o", tmp_path / "out")
    assert ran.status == 0, ran.err
    assert "It is no model" in ran.err
    counts = ran.json()
    assert sum(counts["outcomes"].values()) == counts["questions"] == 40
    again = curate("ingest", tmp_path / "out", "-o", tmp_path / "sft", "--json")
    assert again.status == 0, again.err
    assert again.json()["samples"] == counts["kept"] > 5
