"""Responses for SFT: by how often the model was right, and with accounts that add up."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from judge.endpoint import Behaviour, Connection, Endpoint, Request, always, completion
from rollouts.playing import (
    ENVIRONMENT,
    KEY,
    effusion,
    journal_lines,
    organ,
    playing,
    responses,
    roll,
    said,
    shows,
    thinking,
)
from support.cli import Ran
from support.inside import curate
from support.measured import make_corpus, query, write_signals

from curate.corpus import Corpus

WRONG = thinking("A", "It is dense.")


def thought(number: int) -> str:
    return f"Reading {number}: air all around, so option B."


def often(right: dict[str, int]) -> Behaviour:
    """A model that gives B so many times of eight for the questions with these first words, then A."""

    def play(request: Request, number: int) -> str:
        for begin, times in right.items():
            if begin in said(request):
                return thinking("B", thought(number)) if number < times else WRONG
        return WRONG

    return playing(play)


def with_probabilities(answer: str, share: float) -> dict[str, Any]:
    """A completion whose answer was given with this probability, and another with the rest."""
    top = [{"token": "B", "logprob": math.log(share)}, {"token": "A", "logprob": math.log(1 - share)}]
    tokens = [{"token": t, "logprob": -0.0, "top_logprobs": []} for t in ("<answer>", "</answer>")]
    middle = {"token": answer, "logprob": math.log(share), "top_logprobs": top}
    message = {"role": "assistant", "content": f"<answer>{answer}</answer>"}
    logprobs = {"content": [tokens[0], middle, tokens[1]]}
    return completion(None, choices=[{"message": message, "finish_reason": "stop", "logprobs": logprobs}])


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of questions that were answered rightly 8, 6, 4, 3, 2 and 0 times of 8; tests get copies of it."""
    path = tmp_path_factory.mktemp("rolled") / "c"
    meta = {"patient_id": "p1", "modality": "CT", "image": "not ours"}
    corpus = make_corpus(path, [organ(path, number, meta=meta) for number in range(6)], per_shard=4)
    right = {f"Organ {number}": times for number, times in enumerate((8, 6, 4, 3, 2, 0))}
    with Endpoint(often(right)) as endpoint:
        assert roll(corpus, endpoint.url).correct == {8: 1, 6: 1, 4: 1, 3: 1, 2: 1, 0: 1}
    return path


@pytest.fixture
def corpus(rolled: Path, tmp_path: Path) -> Corpus:
    """A copy of that corpus."""
    return Corpus.open(shutil.copytree(rolled, tmp_path / "c"))


def respond(corpus: Corpus, out: Path, rebuild: str, stronger: str | None = None, *arguments: str) -> Ran:
    models = ["--rebuild-model", "small", "--rebuild-url", rebuild, "--patience", "2", "--timeout", "5"]
    models += ["--stronger-model", "large", "--stronger-url", stronger] if stronger else []
    return curate("respond", corpus.path, *models, "-o", out, "--json", *arguments, env=ENVIRONMENT)


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "responses.jsonl").read_text().splitlines()]


def check(counts: dict[str, Any]) -> None:
    """The funnel adds up."""
    assert sum(counts["outcomes"].values()) == counts["questions"] == sum(counts["routes"].values())
    stage = counts["rebuild"]
    tested = stage["rebuilt"] + stage["not_rebuilt"]
    assert stage["explanations"] == stage["unexplained"] + stage["still_named"] + tested + stage["open"]
    assert counts["kept"] == counts["outcomes"].get("rebuilt", 0) + counts["outcomes"].get("rewritten", 0)
    assert sum(stage["chosen_by"].values()) == counts["outcomes"].get("rebuilt", 0)


def test_the_funnel_from_questions_to_responses(corpus: Corpus, tmp_path: Path) -> None:
    def rebuild(request: Request, number: int) -> str:
        # From the even readings the answer is rebuilt.
        return (
            "<answer>B</answer>"
            if any(f"Reading {n}:" in said(request) for n in (0, 2, 4, 6))
            else "<answer>A</answer>"
        )

    def explain(request: Request, number: int) -> str:
        return thinking("B", "A pleural line is seen.") if "Organ 2" in said(request) else WRONG

    with Endpoint(playing(rebuild)) as small, Endpoint(playing(explain)) as large:
        ran = respond(corpus, tmp_path / "out", small.url, large.url)
        assert ran.status == 0, ran.err
        assert (len(small.requests), len(large.requests)) == (8 + 6, 2)
        for request in small.requests:
            assert not shows(request)
            assert "option B" not in said(request)
            assert "so option [MASK]." in said(request)
            assert request.body["temperature"] == 0
            assert request.body["top_logprobs"] == 10
        for request in large.requests:
            assert shows(request) == 1
            assert "The right answer is: B. Lung" in said(request)
            assert "logprobs" not in request.body
        again = respond(corpus, tmp_path / "out", small.url, large.url)
        assert (len(small.requests), len(large.requests)) == (14, 2)
    counts = ran.json()
    check(counts)
    assert (counts["questions"], counts["candidates"], counts["right"]) == (6, 48, 23)
    assert counts["routes"] == {"rebuild": 2, "rewrite": 2, "drop": 2}
    assert counts["rebuild"]["rebuilt"] == 4 + 3
    assert counts["outcomes"] == {"rebuilt": 2, "rewritten": 1, "rewritten_wrong": 1, "mostly_wrong": 2}
    assert again.json()["outcomes"] == counts["outcomes"]
    assert again.json()["reused"] == 16
    found = records(tmp_path / "out")
    samples = [sample for shard in corpus.shards() for sample in corpus.samples(shard)]
    assert [record["parent"] for record in found] == [sample.id for sample in samples[:3]]
    first = found[0]
    assert [turn["from"] for turn in first["conversations"]] == ["system", "human", "gpt"]
    assert first["conversations"][1]["value"].startswith("<image>Organ 0")
    # The shortest of those that lead to the answer; they are equally long.
    assert first["conversations"][2]["value"] in [thinking("B", thought(number)) for number in (0, 2, 4, 6)]
    assert first["derived"]["route"] == "rebuilt"
    assert (first["derived"]["correct"], first["derived"]["rebuilt"]) == (8, 4)
    origin = {"by": "respond", "run": "rollout", "source": "organs"}
    assert found[2]["derived"] == {**origin, "route": "rewritten", "correct": 4, "of": 8, "model": "served-model"}
    assert (tmp_path / "out" / first["image"][0]).read_bytes() == corpus.image_bytes(samples[0].images[0])
    step = Corpus.open(corpus.path).info.steps[-1]
    assert (step.name, step.counts["kept"]) == ("respond", 3)
    assert {len(lines) for lines in journal_lines(corpus).values()} == {1}


def test_the_responses_become_an_sft_export(corpus: Corpus, tmp_path: Path) -> None:
    with Endpoint(playing(lambda request, number: "<answer>B</answer>")) as small:
        assert respond(corpus, tmp_path / "out", small.url).status == 0
    assert curate("ingest", tmp_path / "out", "-o", tmp_path / "sft").status == 0
    ingested = Corpus.open(tmp_path / "sft")
    (shard,) = ingested.shards()
    samples = list(ingested.samples(shard))
    assert {sample.kind for sample in samples} == {"conversation"}
    assert {sample.source for sample in samples} == {"stability_aware"}
    assert all(len(sample.meta["parent"]) == 64 for sample in samples)
    assert {(sample.meta["patient_id"], sample.meta["modality"]) for sample in samples} == {("p1", "CT")}
    write_signals(ingested)
    ran = curate("export", tmp_path / "sft", "--format", "llamafactory-sft", "-o", tmp_path / "export", "--json")
    assert ran.status == 0, ran.err


def test_the_surest_explanation_is_chosen(corpus: Corpus, tmp_path: Path) -> None:
    sure = {0: 0.6, 3: 0.97, 5: 0.8}

    async def behave(request: Request, connection: Connection) -> None:
        reading = next((n for n in range(8) if f"Reading {n}:" in said(request)), 0)
        await connection.answer(200, with_probabilities("B" if reading in sure else "A", sure.get(reading, 0.99)))

    with Endpoint(behave) as small:
        ran = respond(corpus, tmp_path / "out", small.url)
    counts = ran.json()
    check(counts)
    assert counts["rebuild"]["chosen_by"] == {"entropy": 2}
    assert counts["outcomes"]["no_stronger_model"] == 2
    for record in records(tmp_path / "out"):
        assert record["conversations"][-1]["value"] == thinking("B", thought(3))
        entropy = -0.97 * math.log(0.97) - 0.03 * math.log(0.03)
        assert record["derived"]["uncertainty"] == pytest.approx(entropy)


def test_an_endpoint_without_probabilities(corpus: Corpus, tmp_path: Path) -> None:
    async def behave(request: Request, connection: Connection) -> None:
        if "logprobs" in request.body:
            await connection.answer(400, {"error": {"message": "logprobs are not supported"}})
        else:
            await connection.answer(200, completion("<answer>B</answer>"))

    with Endpoint(behave) as small:
        ran = respond(corpus, tmp_path / "out", small.url)
    assert ran.status == 0
    assert ran.json()["rebuild"]["chosen_by"] == {"length": 2}
    assert "no probabilities of tokens" in ran.err


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ("<answer>B</answer>", "rewritten_no_reasoning"),
        (thinking("B", "The reference answer is B, so B."), "rewritten_gives_itself_away"),
        (thinking("B", "As the answer is known to be B, air it is."), "rewritten_gives_itself_away"),
        (WRONG, "rewritten_wrong"),
        ("B", "rewritten_wrong"),
        (None, "rewritten_wrong"),
    ],
)
def test_what_is_not_taken_from_the_stronger_model(
    corpus: Corpus, tmp_path: Path, given: str | None, outcome: str
) -> None:
    with (
        Endpoint(playing(lambda request, number: "<answer>A</answer>")) as small,
        Endpoint(playing(lambda request, number: given)) as large,
    ):
        counts = respond(corpus, tmp_path / "out", small.url, large.url).json()
    check(counts)
    assert counts["outcomes"] == {"not_rebuilt": 2, outcome: 2, "mostly_wrong": 2}
    assert records(tmp_path / "out") == []


def test_right_answers_without_an_explanation(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, 0)])
    with Endpoint(playing(lambda request, number: "<answer>B</answer>")) as endpoint:
        roll(corpus, endpoint.url)
        counts = respond(corpus, tmp_path / "out", endpoint.url).json()
        assert len(endpoint.requests) == 8
    check(counts)
    assert counts["outcomes"] == {"unexplained": 1}


def test_thresholds_are_shares_of_k(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, number) for number in range(5)])
    with Endpoint(often({f"Organ {number}": number for number in range(5)})) as endpoint:
        roll(corpus, endpoint.url, k=4)
        routes = respond(corpus, tmp_path / "out", endpoint.url).json()["routes"]
        assert routes == {"rebuild": 2, "rewrite": 1, "drop": 2}  # from 3 of 4, from 1.5 of 4
        given = ("--rebuild-from", "1", "--rewrite-from", "0.25")
        routes = respond(corpus, tmp_path / "out", endpoint.url, None, *given).json()["routes"]
        assert routes == {"rebuild": 1, "rewrite": 3, "drop": 1}


def test_a_run_that_ends_early_writes_nothing_and_goes_on(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Endpoint(playing(lambda request, number: "<answer>B</answer>")) as small:
        arguments = ("--price", "100,1000", "--budget", "1.2", "--concurrency", "1")
        ran = respond(corpus, out, small.url, None, *arguments)
        assert ran.status == 3, ran.err
        assert "Nothing is written" in ran.err
        assert not out.exists()
        assert not list(tmp_path.glob(".out*"))
        asked = len(small.requests)
        assert 0 < asked < 14
        dry = respond(corpus, out, small.url, None, "--dry-run").json()
        assert (dry["rebuild_requests"], dry["reused"]) == (14 - asked, asked)
        assert respond(corpus, out, small.url).status == 0
        assert len(small.requests) == 14
        small.behaviour = always(503, {"error": {"message": "overloaded"}})
        assert respond(corpus, out, small.url).status == 0  # Everything is known.
        down = respond(corpus, tmp_path / "other", small.url, None, "--with-images", "--patience", "0.5")
        assert down.status == 3
        assert "the endpoint is down" in down.err
    assert len(records(out)) == 2


def test_identified_samples_get_no_response_whatever_was_declared(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, 0, privacy="identified", source="pacs"), organ(path, 1)])
    with Endpoint(often({"Organ": 8})) as endpoint:
        roll(corpus, endpoint.url, declared_deidentified=frozenset({"pacs"}))
        sent = len(endpoint.requests)
        assert respond(corpus, tmp_path / "out", endpoint.url, None, "--dry-run").json()["rebuild_requests"] == 8
        ran = respond(corpus, tmp_path / "out", endpoint.url)
        assert ran.status == 1
        assert ran.json()["outcomes"]["identified"] == 1
        check(ran.json())
        assert "a record outside the corpus cannot carry that mark" in ran.err
        assert not any("Organ 0" in said(request) for request in endpoint.requests[sent:])
        assert not any("Organ 0" in json.dumps(record) for record in records(tmp_path / "out"))
        declared = respond(corpus, tmp_path / "out", endpoint.url, None, "--declare-deidentified", "pacs")
        assert declared.status == 2


def test_explanations_that_cannot_be_masked_are_not_tested(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, 0)])
    with Endpoint(playing(lambda request, number: thinking("B", "Aerated L_u_n_g, that is: lu\u00adng."))) as endpoint:
        roll(corpus, endpoint.url)
        sent = len(endpoint.requests)
        counts = respond(corpus, tmp_path / "out", endpoint.url).json()
        assert len(endpoint.requests) == sent
    check(counts)
    assert counts["rebuild"]["still_named"] == 8
    assert counts["outcomes"] == {"still_named": 1}


def test_the_thoughts_that_a_server_tells_apart_are_the_explanation(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, 0), organ(path, 1)])

    async def behave(request: Request, connection: Connection) -> None:
        name = "reasoning_content" if "Organ 0" in said(request) else "reasoning"
        message = {"role": "assistant", "content": "\n\n<answer>B</answer>", name: "Air all around."}
        await connection.answer(200, completion(None, choices=[{"message": message, "finish_reason": "stop"}]))

    with Endpoint(behave) as endpoint:
        roll(corpus, endpoint.url)
        assert set(responses(corpus)["response"]) == {"<think>Air all around.</think>\n<answer>B</answer>"}
        assert set(responses(corpus)["score"]) == {1.0}
        counts = respond(corpus, tmp_path / "out", endpoint.url).json()
    assert counts["outcomes"] == {"rebuilt": 2}
    assert records(tmp_path / "out")[0]["conversations"][-1]["value"].startswith("<think>Air")


@pytest.mark.parametrize("table", ["part", "responses"])
def test_damage_inside_a_table_is_named_with_what_to_do(corpus: Corpus, tmp_path: Path, table: str) -> None:
    folder = corpus.path / "rollouts" / "rollout"
    damaged = folder / f"{table}-00000.parquet"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:60] + b"\xff" * 120 + content[180:])
    ran = respond(corpus, tmp_path / "out", "http://127.0.0.1:9/v1")
    assert ran.status == 2
    assert f"remove {folder} and run the same curate rollout again" in ran.err
    shutil.rmtree(folder)
    with Endpoint() as endpoint:
        assert roll(corpus, endpoint.url).requests == 0


def test_queries_without_all_their_answers_are_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, 0), organ(path, 1), query("Which drug?", "x"), effusion(path, 1)])
    with Endpoint(often({"Organ": 8})) as endpoint:
        roll(corpus, endpoint.url, sample=1)
        counts = respond(corpus, tmp_path / "out", endpoint.url).json()
    check(counts)
    assert (counts["questions"], counts["unscored"]) == (3, 1)


def test_a_literal_marker_in_a_response_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, 0)])
    with Endpoint(playing(lambda request, number: thinking("B", "See <image> and <|im_end|> here."))) as endpoint:
        roll(corpus, endpoint.url)
        assert respond(corpus, tmp_path / "out", endpoint.url).status == 0
    (record,) = records(tmp_path / "out")
    assert "< image>" in record["conversations"][-1]["value"]
    assert curate("ingest", tmp_path / "out", "-o", tmp_path / "back").status == 0


def test_samples_that_changed_since_are_a_sentence(corpus: Corpus, tmp_path: Path) -> None:
    path = corpus.path
    make_corpus(path, [organ(path, 7), *(organ(path, number) for number in range(5))], per_shard=4)
    ran = respond(corpus, tmp_path / "out", "http://127.0.0.1:9/v1")
    assert ran.status == 2
    assert "is about other samples than" in ran.err


def test_what_is_not_ours_is_not_overwritten(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    ran = respond(corpus, out, "http://127.0.0.1:9/v1")
    assert ran.status == 2
    assert "holds something that curate respond did not write" in ran.err
    assert (out / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--run", "rolout"], "there is no rollout run 'rolout' with pictures; did you mean rollout?"),
        (["--run", "other"], "--model NAME --url URL"),
        (["--rebuild-from", "0.2"], "0 < rewrite-from <= rebuild-from <= 1"),
        (["--rewrite-from", "0"], "0 < rewrite-from <= rebuild-from <= 1"),
        (["--budget", "0"], "--budget must be greater than 0"),
        (
            ["--stronger-url", "ftp://x", "--stronger-model", "m"],
            "--stronger-url must be an http:// or https:// address",
        ),
    ],
)
def test_options_that_cannot_be(corpus: Corpus, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    ran = respond(corpus, tmp_path / "out", "http://127.0.0.1:9/v1", None, *arguments)
    assert ran.status == 2
    assert sentence in ran.err
    assert KEY not in ran.err


def test_without_a_rebuilding_model_the_ways_to_get_one_are_said(corpus: Corpus) -> None:
    ran = curate("respond", corpus.path)
    assert ran.status == 2
    assert "--rebuild-model NAME" in ran.err
