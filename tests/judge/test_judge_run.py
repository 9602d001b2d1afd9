"""What is asked, what is kept and what is written, through judge_corpus and a real server."""

import threading
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from judge.asking import KEY, ask_again, options, statuses, verdicts
from judge.endpoint import Endpoint, always, reply, replying
from support.corpora import caption, captions, make_corpus, picture, store, texts

import curate.judge
from curate.corpus import Sample, Turn, UserError
from curate.judge import FREE, JudgeSummary, Price, estimate_corpus, judge_corpus, load_rubrics

BUILT_IN = Path(curate.judge.__file__).parent / "rubrics"


def test_scores_every_sample_and_derives_the_verdict(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples, per_shard=5)
    with Endpoint() as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url))
    table = verdicts(corpus)
    assert table.schema["judge_relevance"] == pl.Int8
    assert table.schema["judge_defects"] == pl.List(pl.String)
    with_images = table.head(12)
    assert with_images["judge_score"].to_list() == [4.0] * 12
    assert with_images["judge_verdict"].to_list() == ["accept"] * 12
    text_only = table.tail(4)
    assert text_only["judge_relevance"].to_list() == [None] * 4
    assert text_only["judge_score"].to_list() == [4.0] * 4
    assert set(table["judge_rationale"]) == {"Shows and says the same."}
    rubrics = load_rubrics()
    assert set(with_images["judge_rubric"]) == {rubrics["image_caption"].hash}
    assert set(text_only["judge_rubric"]) == {rubrics["conversation"].hash}
    assert (summary.status, summary.scored, summary.requests, summary.reused) == (0, 16, 16, 0)
    assert (summary.tokens_in, summary.tokens_out) == (16_000, 1_600)
    assert summary.cost == pytest.approx(16 * (1000 * 1.0 + 100 * 10.0) / 1e6)
    assert summary.decided == {"accept": 16}
    assert summary.mode == "json_schema"


def test_every_kind_is_asked_by_its_own_rubric(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    (one,) = captions(root, 1)
    turns = {
        "image_caption": one.turns,
        "interleaved": (Turn("document", ("Before it.", 0, "After it.")),),
        "conversation": (Turn("user", (0, "What is it?")), Turn("assistant", ("A chest radiograph.",))),
        "query": (Turn("user", (0, "Is there an effusion?")),),
    }
    samples = [
        replace(one, kind=kind, turns=turn, id="", answer=("no",) if kind == "query" else (), query_type="yes_no")
        for kind, turn in turns.items()
    ]
    corpus = make_corpus(tmp_path / "c", samples)
    rubrics = load_rubrics()
    with Endpoint() as endpoint:
        assert judge_corpus(corpus, options(endpoint.url)).status == 0
        for request in endpoint.requests:
            kind = next(kind for kind in turns if f"begins: {kind} ===" in request.user[0]["text"])
            assert rubrics[kind].title in request.body["messages"][0]["content"]  # type: ignore[index]
    assert verdicts(corpus)["judge_rubric"].to_list() == [rubrics[sample.kind].hash for sample in samples]


def test_critical_defects_reject_and_minor_ones_do_not(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 2))
    found = iter([["missing_scale"], ["modality_mismatch", "missing_scale", "modality_mismatch"]])
    lock = threading.Lock()

    def judge(request: object) -> object:
        with lock:
            return reply(request, defects=next(found))  # type: ignore[arg-type]

    with Endpoint(replying(judge)) as endpoint:  # type: ignore[arg-type]
        judge_corpus(corpus, options(endpoint.url, concurrency=1))
    table = verdicts(corpus)
    by_verdict = dict(zip(table["judge_verdict"], table["judge_defects"].to_list(), strict=True))
    assert by_verdict == {"accept": ["missing_scale"], "reject": ["modality_mismatch", "missing_scale"]}


def test_the_same_content_twice_is_asked_once(tmp_path: Path) -> None:
    (one,) = captions(tmp_path / "raw", 1)
    again = [replace(one, source=f"other{number}", id=f"{number:064x}") for number in range(20)]
    corpus = make_corpus(tmp_path / "c", [one, *again])
    with Endpoint(latency=0.2) as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url))
        assert len(endpoint.requests) == 1
    assert (summary.requests, summary.scored) == (1, 21)
    assert verdicts(corpus)["judge_key"].n_unique() == 1


def test_identified_samples_stay_unless_their_source_is_declared_safe(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    patients = [replace(sample, privacy="identified") for sample in captions(root, 3, source="pacs")]
    others = [replace(sample, privacy="deidentified") for sample in captions(root, 2, source="trial", first=50)]
    corpus = make_corpus(tmp_path / "c", patients + others)
    with Endpoint() as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url))
        assert len(endpoint.requests) == 2
        assert summary.refused == {"not_deidentified": 3}
        assert summary.status == 1
        table = verdicts(corpus)
        assert table["judge_status"].to_list() == ["refused"] * 3 + ["scored"] * 2
        assert table["judge_score"].to_list()[:3] == [None] * 3
        declared = options(endpoint.url, declared_deidentified=frozenset({"pacs"}))
        summary = judge_corpus(corpus, declared)
        assert (summary.status, summary.requests, summary.scored) == (0, 3, 5)


def test_broken_missing_and_changed_images_are_refused_with_the_reason(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    broken = bytearray(picture(1, width=1500, height=1200))
    broken[len(broken) // 2 : len(broken) // 2 + 200] = bytes(200)
    samples = [*captions(root, 2), caption("A damaged file.", store(root, "damaged.png", bytes(broken)))]
    corpus = make_corpus(tmp_path / "c", samples)
    (root / "chest/00000.png").unlink()
    (root / "chest/00001.png").write_bytes(picture(77))
    with Endpoint() as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url))
        assert summary.refused == {"image_unavailable": 2, "image_unreadable": 1}
        assert (summary.status, len(endpoint.requests)) == (1, 0)
        reasons = verdicts(corpus)["judge_reason"].to_list()
        assert "No such file" in reasons[0]
        assert "has changed" in reasons[1]
        (root / "chest/00000.png").write_bytes(picture(0))
        (root / "chest/00001.png").write_bytes(picture(1))
        again = judge_corpus(corpus, options(endpoint.url))
    assert (again.requests, again.scored) == (2, 2)
    assert again.refused == {"image_unreadable": 1}


def test_a_sample_of_each_source_is_the_same_in_every_run(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    samples = captions(root, 20) + captions(root, 20, source="knee", first=100) + texts(2)
    corpus = make_corpus(tmp_path / "c", samples, per_shard=8)
    with Endpoint() as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url, sample=3))
        assert (summary.scored, summary.not_asked) == (8, {"not_in_sample": 34})
        assert summary.status == 0
        first = {row["id"] for row in verdicts(corpus).filter(pl.col("judge_status") == "scored").to_dicts()}
        sources = {sample.id: sample.source for sample in samples}
        assert sorted(sources[name] for name in first) == ["chest"] * 3 + ["knee"] * 3 + ["notes"] * 2
        assert judge_corpus(corpus, options(endpoint.url, sample=3)).requests == 0
        assert judge_corpus(corpus, options(endpoint.url, sample=5)).requests == 4
        everything = judge_corpus(corpus, options(endpoint.url))
        assert (everything.requests, everything.scored) == (42 - 12, 42)


def test_the_budget_is_never_exceeded_and_the_next_run_goes_on(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 60))
    each = Price(input=1.0, output=10.0).cost(1000, 100)
    with Endpoint(latency=0.01) as endpoint:
        scored = 0
        for _ in range(20):
            summary = judge_corpus(corpus, options(endpoint.url, budget=each * 20))
            assert (summary.cost or 0) <= each * 20 + 1e-12
            assert summary.scored > scored
            scored = summary.scored
            if summary.status == 0:
                break
            assert summary.status == 3
            assert summary.stop_kind == "budget"
            assert summary.not_asked == {"stopped": 60 - scored}
            assert statuses(corpus).count("scored") == scored
        assert scored == 60
        assert len(endpoint.requests) == 60


def test_a_budget_needs_a_price(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", texts(1))
    with pytest.raises(UserError, match="--price IN,OUT"):
        judge_corpus(corpus, options("http://127.0.0.1:1/v1", budget=1.0, price=None))


def test_an_estimate_sends_nothing_and_knows_what_is_there(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples[:10])
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url))
        corpus = make_corpus(tmp_path / "c", samples, per_shard=6)
        before = estimate_corpus(corpus, options(endpoint.url))
        assert len(endpoint.requests) == 10
        assert (before.samples, before.requests, before.reused) == (16, 6, 10)
        assert before.tokens_in > 6 * 1000
        assert before.cost == pytest.approx((before.tokens_in + 10 * before.tokens_out) / 1e6)
        assert judge_corpus(corpus, options(endpoint.url)).requests == before.requests
    assert estimate_corpus(corpus, options("http://127.0.0.1:1/v1", price=None)).cost is None


def test_missing_usage_is_estimated_and_said_so(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 3))
    with Endpoint(replying(reply, usage=None)) as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url))
    assert (summary.status, summary.scored, summary.tokens_estimated) == (0, 3, 3)
    assert summary.tokens_in > 3000
    assert summary.cost


def test_stop_lets_what_is_in_flight_finish(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 40), per_shard=10)
    stop = threading.Event()

    def look(summary: JudgeSummary) -> None:
        if summary.scored >= 5:
            stop.set()

    with Endpoint(latency=0.3) as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url, concurrency=4), progress=look, stop=stop)
        assert summary.status == 3
        assert summary.stopped
        assert summary.scored == sum(endpoint.answered.values())
        assert 5 <= summary.scored < 40
        assert statuses(corpus).count("scored") == summary.scored
        assert statuses(corpus).count("not_asked") == 40 - summary.scored
        again = judge_corpus(corpus, options(endpoint.url))
        assert again.status == 0
        assert set(endpoint.answered.values()) == {1}


def test_a_stop_leaves_shards_that_are_done_or_half_done_alone(tmp_path: Path) -> None:
    samples = captions(tmp_path / "raw", 9)
    corpus = make_corpus(tmp_path / "c", samples, per_shard=3)
    last = next(samples[8].texts())

    async def refuse_last(request: object, connection: object) -> None:
        behave = always(400, {"error": {"message": "no"}}) if last in str(request.user) else replying(reply)  # type: ignore[attr-defined]
        await behave(request, connection)  # type: ignore[arg-type]

    with Endpoint(refuse_last) as endpoint:
        assert judge_corpus(corpus, options(endpoint.url)).failed == {"bad_request": 1}
        stop = threading.Event()
        stop.set()
        summary = judge_corpus(corpus, options(endpoint.url), stop=stop)
    assert summary.stop_kind == "interrupted"
    assert (summary.scored, summary.failed) == (8, {"bad_request": 1})


def test_progress_is_shown_and_adds_up(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples)
    seen: list[tuple[int, int]] = []
    with Endpoint(latency=0.3) as endpoint:
        summary = judge_corpus(
            corpus, options(endpoint.url, concurrency=4), progress=lambda s: seen.append((s.settled, s.in_flight))
        )
    assert seen == sorted(seen, key=lambda pair: pair[0])
    assert seen[-1] == (16, 0)
    assert max(in_flight for _, in_flight in seen) == 4
    assert summary.settled == summary.samples == 16
    assert summary.rate > 0


def test_lineage_is_plain_json_without_secrets(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples[:2])
    with Endpoint() as endpoint:
        chosen = options(endpoint.url)
        summary = judge_corpus(corpus, chosen)
    corpus.record("judge", **summary.lineage(chosen))
    text = (corpus.path / "corpus.json").read_text()
    assert KEY not in text
    assert KEY not in repr(chosen)
    assert load_rubrics()["query"].hash in text


def test_large_images_are_scaled_down_and_small_ones_sent_as_they_are(tmp_path: Path) -> None:
    import base64
    import io

    from PIL import Image

    small, large = picture(1), picture(2, width=2600, height=1300, colour=True)
    root = tmp_path / "raw"
    sample = caption("Two pictures.", store(root, "s.png", small), store(root, "l.png", large))
    corpus = make_corpus(tmp_path / "c", [sample])
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url))
        (request,) = endpoint.requests
    urls = [part["image_url"]["url"] for part in request.user if part["type"] == "image_url"]
    assert urls[0] == "data:image/png;base64," + base64.b64encode(small).decode()
    head, _, data = urls[1].partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (1024, 512)


def test_a_foreign_or_damaged_journal_line_is_no_answer(tmp_path: Path, samples: list[Sample]) -> None:
    corpus = make_corpus(tmp_path / "c", samples)
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url))
        for shard in corpus.shards():
            corpus.facts_shard("verdicts", shard).unlink()
        (segment,) = (corpus.path / "journal").iterdir()
        lines = segment.read_bytes().splitlines(keepends=True)
        lines[3] = lines[3].replace(b'\\"fluency\\": 5', b'\\"fluency\\": 9')
        segment.write_bytes(b"not json\n" + b"".join(lines) + b'{"key":"torn')
        assert len(ask_again(corpus, endpoint)) == 1
    assert statuses(corpus) == ["scored"] * 16


def test_empty_corpus_and_empty_shard(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", [])
    assert judge_corpus(corpus, options("http://127.0.0.1:1/v1")).status == 0
    corpus = make_corpus(tmp_path / "d", texts(1))
    shard = corpus.shards()[0]
    table = pq.read_table(shard)
    pq.write_table(table.slice(0, 0), shard)
    assert judge_corpus(corpus, options("http://127.0.0.1:1/v1")).status == 0
    assert statuses(corpus) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concurrency": 0}, "--concurrency"),
        ({"sample": 0}, "--sample"),
        ({"budget": -1.0}, "--budget"),
        ({"requests_per_minute": 0.0}, "per minute"),
        ({"tokens_per_minute": float("nan")}, "per minute"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        judge_corpus(make_corpus(tmp_path / "c", []), options("http://127.0.0.1:1/v1", **change))


def test_requests_per_minute_are_kept(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", texts(12))
    with Endpoint() as endpoint:
        judge_corpus(corpus, options(endpoint.url, requests_per_minute=240, price=FREE))
        times = sorted(request.at for request in endpoint.requests)
    # Four a second after the first four, which may come at once.
    assert times[-1] - times[0] > 1.9
