"""What a person sees: narrow terminals, no colours, no terminal at all. Nothing is cut off, nothing leaks into logs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections import Counter
from pathlib import Path

import pytest
from faults.commands import COMMAND, environment, finish, run, start, write_raw

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")
PROGRESS = re.compile("[\u2800-\u28ff][^\r]*\r?")
TIMES = re.compile(r"[\d.]+ s$", re.MULTILINE)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def on_terminal(
    *arguments: str | Path, columns: int = 40, kind: str = "xterm-256color", **variables: str
) -> tuple[int, str]:
    """Exit status and everything that a command wrote to a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**env, "TERM": kind, **variables},
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the last writer has closed it
            break
        if not data:
            break
        shown += data
    os.close(master)
    return process.wait(60), shown.decode()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("terminals") / "raw-with-a-name-of-some-length", 300)


def characters(shown: str) -> Counter[str]:
    """What stands on the screen in the end, in whatever place: no progress, no blanks, no control sequences."""
    return Counter(re.sub(r"\s+", "", CONTROL.sub("", PROGRESS.sub("", shown))))


def commands(raw: Path, folder: Path) -> dict[str, tuple[str | Path, ...]]:
    corpus = folder / "curated"
    return {
        "ingest": ("ingest", raw, "-o", corpus),
        "score": ("score", raw, "-o", corpus, "--judge", "--judge-url", "demo", "--workers", "1"),
        "export": ("export", corpus, "--format", "image-caption", "-o", folder / "export"),
        "validate": ("validate", raw),
    }


def test_forty_columns_cut_nothing_off(raw: Path, tmp_path: Path) -> None:
    """Every character that a wide log, without a terminal, has is there, if in another place."""
    for name in ("narrow", "widely"):
        (tmp_path / name).mkdir()
    narrow, widely = commands(raw, tmp_path / "narrow"), commands(raw, tmp_path / "widely")
    for name, arguments in narrow.items():
        wide = start(*widely[name], env={"TERM": "xterm-256color"})
        status, shown = on_terminal(*arguments)
        assert status == (1 if name == "validate" else 0), shown
        ran = finish(wide)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", ran.out + ran.err), "a log holds text only"
        wanted = characters(TIMES.sub("", ran.out + ran.err).replace("widely", "narrow"))
        assert not wanted - characters(TIMES.sub("", shown)), f"{name}: something is cut off: {shown}"


def test_tables_stay_within_forty_columns(raw: Path, tmp_path: Path) -> None:
    _, shown = on_terminal("ingest", raw, "-o", tmp_path / "curated")
    table = CONTROL.sub("", shown).partition("Rejects by reason")[2].partition("Each reject")[0]
    assert "empty" in table
    assert all(len(line.rstrip()) <= 40 for line in table.split("\n")), table


def test_colours_unless_no_color_is_set(raw: Path, tmp_path: Path) -> None:
    demo = ("score", raw, "-o", tmp_path / "curated", "--judge", "--judge-url", "demo", "--workers", "1")
    status, shown = on_terminal(*demo, columns=100)
    assert status == 0
    assert COLOUR.search(shown), "on a terminal there are colours"
    status, shown = on_terminal(*demo, columns=100, NO_COLOR="1")
    assert status == 0
    assert not COLOUR.search(shown)
    status, shown = on_terminal(*demo, columns=100, kind="dumb")
    assert status == 0
    assert "\x1b" not in shown, "a terminal that understands nothing gets nothing"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_terminals_that_know_few_characters(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "r.jsonl").write_text('{"query": "Wo? Größe → 5 µm", "answer": "Ω肺", "query_type": "höhe"}\n')
    env = {"PYTHONIOENCODING": encoding}
    ran = run("validate", tmp_path / "raw", env=env, encoding="latin-1")
    assert ran.status == 0
    assert "unknown_query_type" in ran.out
    ran = run("ingest", tmp_path / "raw", "-o", tmp_path / "curated", "--json", env=env, encoding="utf-8")
    assert ran.json()["samples"] == 1
    ran = run("validate", tmp_path / "raw", "--report", "json", env=env, encoding="utf-8")
    assert "höhe" in ran.json()["problems"][0]["message"]
