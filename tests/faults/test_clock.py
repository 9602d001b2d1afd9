"""A wall clock that leaps by years at every look at it changes nothing but the times that are written down."""

from __future__ import annotations

import os
from email.utils import formatdate
from pathlib import Path

from faults.commands import contents, journal, run, write_raw
from judge.endpoint import Connection, Endpoint, Request, first, well

from curate.judge.client import parse_retry_after

DISTURBING = Path(__file__).parent / "disturbing"


async def busy(request: Request, connection: Connection) -> None:
    """Too many requests, again from the next second on; both times by the server's clock."""
    now = 1_700_000_000
    headers = {"Date": formatdate(now, usegmt=True), "Retry-After": formatdate(now + 1, usegmt=True)}
    await connection.answer(429, {"error": {"message": "busy"}}, headers)


def test_everything_under_a_leaping_clock(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", 8)
    path = os.pathsep.join(filter(None, (str(DISTURBING), os.environ.get("PYTHONPATH", ""))))
    leaping = {"PYTHONPATH": path, "FAULT_CLOCK": "1"}
    with Endpoint() as endpoint:
        judge = ("--judge", "--judge-url", endpoint.url, "--judge-model", "m", "--concurrency", "4")
        for name, env in (("steady", {}), ("leaping", leaping)):
            corpus = tmp_path / name / "curated"
            endpoint.behaviour = first(busy, then=well)
            assert run("score", raw, "-o", corpus, *judge, env=env).status == 0
            assert set(endpoint.answered.values()) == {2 * (1 + (name == "leaping"))}, "once busy, once answered"
            assert run("export", corpus, "--format", "jsonl", "-o", corpus.parent / "export", env=env).status == 0
        for part in ("curated", "export"):
            assert contents(tmp_path / "steady" / part) == contents(tmp_path / "leaping" / part)
        asked = len(endpoint.requests)
        assert run("score", raw, "-o", corpus, *judge, env=leaping).status == 0
        assert len(endpoint.requests) == asked, "a rerun asks nothing"
    years = {entry["at"][:4] for entry in journal(tmp_path / "leaping" / "curated")}
    assert len(years) > 5, "the clock did leap"


def test_a_wait_until_a_time_of_day_is_taken_from_the_servers_clock() -> None:
    """A server whose clock, or ours, is hours off must not make the judge wait for hours."""
    sent, until = formatdate(1_700_000_000, usegmt=True), formatdate(1_700_000_007, usegmt=True)
    assert parse_retry_after({"date": sent, "retry-after": until}) == 7
    assert parse_retry_after({"date": until, "retry-after": sent}) == 0
    assert parse_retry_after({"date": "yesterday", "retry-after": until}) is None
