"""Finding a trainer's environment, and what is said when there is none that will do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from adapters_support import fake_environment

from curate import __version__
from curate.adapters.environments import find_environment
from curate.corpus import UserError

MAKE_ENV = Path(__file__).parents[2] / "curate" / "adapters" / "make_env.sh"


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CURATE_VERL_ENV", "CURATE_LLAMAFACTORY_ENV"):
        monkeypatch.delenv(variable, raising=False)


def test_an_environment_is_taken_by_name_by_variable_and_by_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fake_environment(tmp_path / "a" / ".venv-verl", verl="0.9.1", medcurate=__version__)
    (tmp_path / "a" / "b").mkdir()
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert find_environment("verl").python == made / "bin" / "python"
    assert find_environment("verl", made).packages["verl"] == "0.9.1"
    assert find_environment("verl", made / "bin" / "python", "==0.9.1").packages["medcurate"] == __version__
    monkeypatch.setenv("CURATE_VERL_ENV", str(made))
    monkeypatch.chdir(tmp_path)
    assert find_environment("verl").python == made / "bin" / "python"


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ({}, "verl is not installed in"),
        ({"verl": "0.8.0", "medcurate": __version__}, "has verl 0.8.0, and this adapter was proven with ==0.9.1"),
        ({"verl": "0.9.1"}, "has verl but no medcurate"),
        ({"verl": "0.9.1", "medcurate": "0.0.1"}, "has verl but medcurate 0.0.1"),
    ],
)
def test_what_is_wrong_with_an_environment_and_how_to_make_one(
    tmp_path: Path, packages: dict[str, str], said: str
) -> None:
    made = fake_environment(tmp_path / "env", **packages)
    with pytest.raises(UserError) as caught:
        find_environment("verl", made, "==0.9.1")
    assert said in str(caught.value)
    assert f"bash {MAKE_ENV} verl" in str(caught.value) or "bash curate/adapters/make_env.sh verl" in str(caught.value)


def test_a_place_without_a_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="which has no Python"):
        find_environment("llamafactory", tmp_path / "nowhere")
    broken = tmp_path / "broken" / "bin" / "python"
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CURATE_LLAMAFACTORY_ENV", str(tmp_path / "broken"))
    with pytest.raises(UserError, match="does not start as a Python"):
        find_environment("llamafactory")


def test_make_env_says_what_it_can_make_and_touches_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(["bash", MAKE_ENV], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "llamafactory|verl|smoke" in done.stderr
    (tmp_path / "mine.txt").write_text("keep")
    done = subprocess.run(["bash", MAKE_ENV, "verl", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is no virtual environment" in done.stderr
    assert (tmp_path / "mine.txt").exists()
