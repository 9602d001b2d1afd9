"""A rollout when things go wrong: budgets, outages, bad data, damaged files, and options that cannot be."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from judge.endpoint import Connection, Endpoint, Request, always, completion
from rollouts.playing import (
    KEY,
    SCRIPT,
    facts,
    journal_lines,
    organ,
    playing,
    responses,
    roll,
    rollout,
    said,
    scripted,
)
from support.corpora import picture, store
from support.inside import curate
from support.measured import caption, make_corpus, query, stored

from curate.corpus import Corpus, UserError


def test_a_budget_ends_the_run_and_the_next_goes_on(corpus: Corpus) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        ran = rollout(corpus, endpoint.url, "--k", "4", "--price", "100,1000", "--budget", "2.5", "--concurrency", "1")
        assert ran.status == 3
        assert "exceed the budget of 2.5 USD" in ran.err
        asked = len(endpoint.requests)
        assert 0 < asked < 20
        assert ran.json()["cost_usd"] <= 2.5
        assert rollout(corpus, endpoint.url, "--k", "4").status == 0
        assert len(endpoint.requests) == 20
    assert facts(corpus)["rollout_k"].drop_nulls().to_list() == [4] * 5


def test_an_endpoint_that_is_down_ends_the_run_with_status_3(corpus: Corpus) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        roll(corpus, endpoint.url, k=1, model="m", max_tokens=2048)
        endpoint.behaviour = always(503, {"error": {"message": "overloaded"}})
        ran = rollout(corpus, endpoint.url, "--k", "4", "--patience", "0.5")
        assert ran.status == 3
        assert "the endpoint is down" in ran.err
        # What was there before stays: one answer each, and no score that rests on fewer than asked for.
        assert set(facts(corpus)["rollout_status"].to_list()) == {"not_asked"}
        endpoint.behaviour = scripted(SCRIPT)
        before = len(endpoint.requests)
        assert rollout(corpus, endpoint.url, "--k", "4").status == 0
        assert len(endpoint.requests) - before == 15


def test_nothing_listens_there(corpus: Corpus) -> None:
    with Endpoint() as endpoint:
        url = endpoint.url
    ran = rollout(corpus, url, "--k", "1", "--patience", "0.5")
    assert ran.status == 3
    assert KEY not in ran.err


def test_identified_dicom_never_leaves(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, 0, privacy="identified", source="pacs"), organ(path, 1), organ(path, 2)])
    with Endpoint(scripted(SCRIPT)) as endpoint:
        ran = rollout(corpus, endpoint.url, "--k", "2")
        assert ran.status == 1
        assert ran.json()["refused"] == {"not_deidentified": 1}
        assert "--declare-deidentified" in ran.err
        assert not any(said(request).startswith("<image>Organ 0") for request in endpoint.requests)
        unknown = rollout(corpus, endpoint.url, "--k", "2", "--declare-deidentified", "pax")
        assert unknown.status == 2
        assert "no such source; there are: organs, pacs" in unknown.err
        assert rollout(corpus, endpoint.url, "--k", "2", "--declare-deidentified", "pacs").status == 0
        assert any(said(request).startswith("<image>Organ 0") for request in endpoint.requests)


def test_what_training_cannot_use_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "c"
    image = stored(path, picture(1))
    samples = [
        query("Which?", "E", images=[image], query_type="choice", choices=(("A", "x"), ("B", "y"))),
        query("How large?", "some", query_type="numeric"),
        query("Fine?", "yes", query_type="yes_no"),
        query("New?", "yes", query_type="of_a_team"),
        query(" \n", "yes", images=[image], query_type="yes_no"),
    ]
    corpus = make_corpus(path, samples)
    with Endpoint(scripted({"Fine?": ["yes"]})) as endpoint:
        summary = roll(corpus, endpoint.url, k=1)
        assert len(endpoint.requests) == 1
    assert summary.refused == {"unanswerable": 2, "no_reward": 1, "untrainable": 1}
    assert "'E' is no choice answer" in str(facts(corpus)["rollout_reason"][0])


@pytest.mark.parametrize("given", [None, "", "<answer></answer>", "<answer>B</answer><answer>B</answer>", "B" * 9999])
def test_whatever_a_model_says_is_an_answer(tmp_path: Path, given: str | None) -> None:
    corpus = make_corpus(tmp_path / "c", [organ(tmp_path / "c", 0)])
    with Endpoint(playing(lambda request, number: given)) as endpoint:
        summary = roll(corpus, endpoint.url, k=2)
        assert (summary.scored, summary.unparsed, summary.correct) == (1, 2, {0: 1})
        assert roll(corpus, endpoint.url, k=2).requests == 0


def test_refusals_and_cut_off_answers_count_as_wrong(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", [organ(tmp_path / "c", 0)])
    message = {"role": "assistant", "content": None, "refusal": "I cannot."}
    with Endpoint(always(200, completion(None, choices=[{"message": message, "finish_reason": "length"}]))) as endpoint:
        summary = roll(corpus, endpoint.url, k=2)
    assert (summary.scored, summary.cut_off, summary.unparsed) == (1, 2, 2)
    assert responses(corpus)["response"].to_list() == ["I cannot."] * 2


def test_one_bad_query_fails_alone_and_is_asked_again(corpus: Corpus) -> None:
    good = scripted(SCRIPT)

    async def behave(request: Request, connection: Connection) -> None:
        if "Organ 1" in said(request):
            await connection.answer(400, {"error": {"message": "this picture is not to my taste"}})
        else:
            await good(request, connection)

    with Endpoint(behave) as endpoint:
        summary = roll(corpus, endpoint.url, k=4, concurrency=1)
        assert (summary.status, summary.scored, summary.failed) == (1, 4, {"bad_request": 1})
        assert "not to my taste" in str(facts(corpus)["rollout_reason"][2])
        endpoint.behaviour = good
        assert roll(corpus, endpoint.url, k=4).requests == 4


def test_a_picture_that_has_changed_is_told(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    image = store(raw, "a.png", picture(1))
    path = tmp_path / "c"
    sample = query("Organ 0?", "B", images=[image], query_type="choice", choices=(("A", "x"), ("B", "y")))
    corpus = make_corpus(path, [sample, organ(path, 2)])
    corpus.info.roots = [str(raw)]
    corpus.save()
    (raw / "a.png").write_bytes(picture(2))
    with Endpoint(scripted(SCRIPT)) as endpoint:
        summary = roll(corpus, endpoint.url, k=1)
        assert (summary.scored, summary.refused) == (1, {"image_unavailable": 1})
        (raw / "a.png").write_bytes(picture(1))
        assert roll(corpus, endpoint.url, k=1).scored == 2


@pytest.mark.parametrize("damage", ["facts", "inside", "ids", "responses", "gone", "settings"])
def test_damaged_tables_are_made_again_from_the_journal(corpus: Corpus, damage: str) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        roll(corpus, endpoint.url, k=2)
        before = facts(corpus), responses(corpus)
        folder = corpus.path / "rollouts" / "rollout"
        if damage == "facts":
            (folder / "part-00000.parquet").write_bytes(b"PAR1 and no more")
        elif damage == "inside":
            content = (folder / "part-00000.parquet").read_bytes()
            (folder / "part-00000.parquet").write_bytes(content[:60] + b"\xff" * 120 + content[180:])
        elif damage == "ids":
            table = pq.read_table(folder / "part-00000.parquet")
            wrong = table.set_column(0, "id", pa.array(["0" * 64] * len(table)))
            pq.write_table(wrong.replace_schema_metadata(table.schema.metadata), folder / "part-00000.parquet")
        elif damage == "responses":
            (folder / "responses-00001.parquet").unlink()
        elif damage == "gone":
            for file in folder.iterdir():
                file.unlink()
        else:
            (folder / "run.json").write_text("{}")
            with pytest.raises(UserError, match=r"run\.json does not describe a rollout run"):
                roll(corpus, endpoint.url, k=2)
            (folder / "run.json").unlink()
        assert roll(corpus, endpoint.url, k=2).requests == 0
    assert facts(corpus).equals(before[0])
    assert responses(corpus).equals(before[1])


def test_the_key_is_nowhere(corpus: Corpus) -> None:
    with Endpoint(playing(lambda request, number: f"your key is {KEY}")) as endpoint:
        ran = rollout(corpus, endpoint.url, "--k", "1")
        assert endpoint.requests[0].headers["authorization"] == f"Bearer {KEY}"
    files = [file.read_bytes() for file in corpus.path.rglob("*") if file.is_file()]
    assert not any(KEY.encode() in content for content in files)
    assert KEY not in ran.out + ran.err
    assert all("data:image" not in json.dumps(lines) for lines in journal_lines(corpus).values())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--k", "0"], "--k is 0; it must be from 1 to 1024"),
        (["--temperature", "0"], "at --temperature 0 all 8 answers are the same"),
        (["--temperature", "nan"], "--temperature is nan"),
        (["--name", "../up"], "--name '../up': use letters"),
        (["--shuffle-options"], "--shuffle-options belongs to --text-only"),
        (["--system-prompt", "<image> first"], "--system-prompt must not contain <image>"),
        (["--budget", "-1"], "--budget must be greater than 0"),
        (["--concurrency", "0"], "--concurrency must be at least 1"),
        (["--price", "cheap"], "--price 'cheap'"),
        (["--sample", "0"], "--sample must be at least 1"),
        (["--max-tokens", "0"], "--max-tokens must be at least 1"),
        (["--selection", "none"], "there is none yet"),
    ],
)
def test_options_that_cannot_be(corpus: Corpus, arguments: list[str], sentence: str) -> None:
    ran = rollout(corpus, "http://127.0.0.1:9/v1", *arguments)
    assert ran.status == 2
    assert sentence in ran.err
    assert not (corpus.path / "rollouts").exists()


def test_without_an_endpoint_the_ways_to_get_one_are_said(corpus: Corpus) -> None:
    ran = curate("rollout", corpus.path)
    assert ran.status == 2
    assert "vllm serve NAME" in ran.err
    assert "--url demo" in ran.err


def test_a_corpus_without_queries(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", [caption("A frontal radiograph.", stored(tmp_path / "c", picture(1)))])
    ran = rollout(corpus, "http://127.0.0.1:9/v1")
    assert ran.status == 2
    assert "holds no queries among its 1 samples" in ran.err


def test_a_damaged_line_of_the_journal_is_asked_for_again(corpus: Corpus) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        roll(corpus, endpoint.url, k=2)
        before = facts(corpus)
        segment = corpus.path / "journal" / "rollouts" / "segment-00000.jsonl"
        lines = segment.read_bytes().splitlines(keepends=True)
        lines[3] = lines[3].replace(b'"response":', b'"respo\xff\xfe":')
        lines[5] = lines[5].replace(b'"response":', b'"other":')
        segment.write_bytes(b"".join(lines))
        (corpus.path / "rollouts" / "rollout" / "part-00000.parquet").unlink()
        (corpus.path / "rollouts" / "rollout" / "part-00001.parquet").unlink()
        assert roll(corpus, endpoint.url, k=2).requests == 2
    assert facts(corpus)["rollout_status"].equals(before["rollout_status"])


def test_all_answers_of_one_query_refused_are_no_fault_of_the_endpoint(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", [organ(tmp_path / "c", 0)])
    with Endpoint(always(400, {"error": {"message": "no such pictures"}})) as endpoint:
        summary = roll(corpus, endpoint.url, k=8)
    assert (summary.status, summary.failed) == (1, {"bad_request": 1})


def test_an_endpoint_that_refuses_everything_ends_the_run(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, number) for number in range(9)])
    with Endpoint(always(400, {"error": {"message": "no such field"}})) as endpoint:
        ran = rollout(corpus, endpoint.url, "--k", "2")
    assert ran.status == 2
    assert "refuses the requests (400): no such field" in ran.err
