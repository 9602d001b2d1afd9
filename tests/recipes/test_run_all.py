"""`recipes/run_all.sh`, as far as it goes without a trainer: what it says before it starts, and that it goes on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "recipes" / "run_all.sh"


def run_all(*arguments: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SCRIPT, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name the folder of raw data, or --smoke"),
        (("nowhere",), "nowhere does not exist"),
        (("--smoke", "raw"), "--smoke brings its own data and recipe"),
        (("--smoke", "--seed", "x"), "--seed is 'x'; it must be a whole number"),
        (("--recipe",), "--recipe needs a value"),
        (("--fast",), "there is no option --fast"),
        ((".", "--recipe", "."), "it has no exports.txt"),
    ],
)
def test_wrong_arguments_stop_before_any_work(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run_all(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not any(tmp_path.iterdir())


def test_help_is_what_the_script_begins_with(tmp_path: Path) -> None:
    done = run_all("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "recipes/run_all.sh --smoke" in done.stdout


def test_the_smoke_run_says_how_to_make_its_environment(tmp_path: Path) -> None:
    done = run_all("--smoke", "-o", "w", cwd=tmp_path, CURATE_SMOKE_ENV="/nowhere")
    assert done.returncode == 2
    assert "make_env.sh smoke" in done.stderr


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe whose only stage cannot begin: it trains on an export of another format."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "exports.txt").write_text(
        "# quoted as in a shell\ncaptions --format jsonl --where \"kind = 'image_caption'\"\nall --format jsonl\n"
    )
    (folder / "1-sft.yaml").write_text(
        "stage: sft\nmodel: nowhere\ndata: [{path: exports/all}]\noutput: runs/small/1-sft\nbatch_size: 1\n"
    )
    return folder


def test_finished_steps_are_not_done_again(tmp_path: Path, recipe: Path) -> None:
    arguments = (ROOT / "examples" / "raw", "--recipe", recipe, "-o", "w", "--", "--judge-url", "demo")
    arguments = (*arguments, "--declare-deidentified", "dicom")
    first = run_all(*arguments, cwd=tmp_path)
    assert first.returncode == 2, first.stderr
    assert "is an export for jsonl, and stage sft trains on llamafactory-sft" in first.stderr
    assert "train-1-sft ended with status 2" in first.stderr
    steps = tmp_path / "w" / "steps"
    finished = {path.name: path.stat().st_mtime_ns for path in steps.iterdir() if not path.name.startswith(".")}
    assert sorted(finished) == ["export-all", "export-captions", "score"]
    rows = (tmp_path / "w" / "exports" / "captions" / "train.jsonl").read_text().splitlines()
    assert all('"image_caption"' in row for row in rows)

    again = run_all(*arguments, cwd=tmp_path)
    assert again.returncode == 2
    assert "score: done before" in again.stderr
    assert "Judge" not in again.stderr
    assert finished == {path.name: path.stat().st_mtime_ns for path in steps.iterdir() if path.name in finished}

    other = run_all(*arguments, "--declare-deidentified", "vqa", cwd=tmp_path)
    assert other.returncode == 2
    assert "score was done" in other.stderr
    assert "with other arguments; name another -o" in other.stderr


def test_a_step_holds_for_the_files_it_names_and_the_steps_before_it(tmp_path: Path, recipe: Path) -> None:
    rubric = tmp_path / "rubric.yaml"
    rubric.write_bytes((ROOT / "curate" / "judge" / "rubrics" / "image_caption.yaml").read_bytes())
    arguments = (ROOT / "examples" / "raw" / "pathology-captions", "--recipe", recipe, "-o", "w", "--")
    arguments = (*arguments, "--judge-url", "demo", "--rubric", rubric)
    steps = tmp_path / "w" / "steps"

    def said_of_steps() -> list[str]:
        lines = run_all(*arguments, cwd=tmp_path).stderr.splitlines()
        return [line.removeprefix("== ") for line in lines if line.startswith(("== ", "run_all: "))]

    done = said_of_steps()
    assert done[:3] == ["score", "export-captions", "export-all"]
    assert said_of_steps()[:3] == [f"{name}: done before" for name in done[:3]]

    (steps / "export-captions").unlink()
    again = "again, since a step before it was done again"
    assert said_of_steps()[:3] == ["score: done before", "export-captions", f"export-all: {again}"]
    (steps / "score").unlink()
    assert said_of_steps()[:3] == ["score", f"export-captions: {again}", f"export-all: {again}"]
    assert said_of_steps()[:3] == [f"{name}: done before" for name in done[:3]]

    with rubric.open("a") as file:
        file.write("# Signed off by a second reader.\n")
    (said,) = said_of_steps()
    assert said.startswith("run_all: score was done in ")
    assert f"before a file that it names was changed; name another -o, or remove {steps / 'score'} to do it" in said
