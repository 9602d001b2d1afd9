"""Where the trainers live: environments of their own, found and looked into without importing anything from them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from curate import __version__
from curate.corpus import UserError

Trainer = Literal["llamafactory", "verl"]

TITLES: Final[dict[str, str]] = {"llamafactory": "LLaMA-Factory", "verl": "verl"}
"""The trainers as their authors write them."""

SHARED: Final = ".venv-train"
"""Environment with both trainers, for proofs and smoke runs on a CPU; `make_env.sh smoke` makes it."""

_MAKE_ENV: Final = Path(__file__).with_name("make_env.sh")

_LOOK_INSIDE: Final = """
import json, sys
from importlib.metadata import distributions
found = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
fits = True
if sys.argv[1] in found and sys.argv[2]:
    from packaging.specifiers import SpecifierSet
    fits = SpecifierSet(sys.argv[2]).contains(found[sys.argv[1]], prereleases=True)
print(json.dumps({"packages": found, "fits": fits, "version": sys.version.split()[0]}))
"""


@dataclass(frozen=True)
class TrainerEnvironment:
    """An environment that has a trainer and medcurate."""

    python: Path
    """Its interpreter."""
    python_version: str
    packages: dict[str, str]
    """Installed distributions and their versions."""


def find_environment(trainer: Trainer, named: Path | None = None, versions: str = "") -> TrainerEnvironment:
    """The environment to run ``trainer`` in.

    ``named`` is a virtual environment or an interpreter; without it, ``CURATE_LLAMAFACTORY_ENV`` or
    ``CURATE_VERL_ENV``, then ``.venv-llamafactory`` or ``.venv-verl`` and ``.venv-train`` in the working directory, the
    folders above it and the checkout of medcurate, then the running interpreter. ``versions`` (a PEP 440 specifier)
    are those of the trainer that will do. Raises UserError that says how to make or mend an environment.
    """
    title = TITLES[trainer]
    for origin, place in _candidates(trainer, named):
        python = place if place.is_file() else place / "bin" / "python"
        if not python.is_file():
            if origin is None:
                continue
            raise UserError(f"{origin} names {place}, which has no Python; {_how_to_make(trainer)}")
        found = _look_inside(python, trainer, versions)
        packages: dict[str, str] = found["packages"]
        if trainer not in packages:
            if origin is None:
                continue
            raise UserError(f"{title} is not installed in {place}, which {origin} names; {_how_to_make(trainer)}")
        if not found["fits"]:
            raise UserError(
                f"{place} has {title} {packages[trainer]}, and this adapter was proven with {versions}; "
                f"{_how_to_make(trainer)}"
            )
        if packages.get("medcurate") != __version__:
            had = f"medcurate {packages['medcurate']}" if "medcurate" in packages else "no medcurate"
            raise UserError(
                f"{place} has {title} but {had}; medcurate {__version__} must be there too: its rewards run "
                f"beside the trainer; {_how_to_make(trainer)}"
            )
        return TrainerEnvironment(python.absolute(), found["version"], packages)
    raise UserError(
        f"{title} is in no environment that curate knows of; {_how_to_make(trainer)}, or name one that has it: "
        "--environment DIR"
    )


def _how_to_make(trainer: Trainer) -> str:
    return f"this makes one: bash {_short(_MAKE_ENV)} {trainer}"


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _candidates(trainer: Trainer, named: Path | None) -> Iterator[tuple[str | None, Path]]:
    """Places to look in, each with what named it, or None for those that need not exist."""
    if named is not None:
        yield "environment", named.expanduser()
        return
    variable = f"CURATE_{trainer.upper()}_ENV"
    if os.environ.get(variable):
        yield variable, Path(os.environ[variable]).expanduser()
        return
    checkout = Path(__file__).parents[2]
    for folder in dict.fromkeys([Path.cwd(), *Path.cwd().parents, checkout]):
        for name in (f".venv-{trainer}", SHARED):
            yield None, folder / name
    yield None, Path(sys.executable)


def _look_inside(python: Path, trainer: Trainer, versions: str) -> dict[str, Any]:
    """Its packages; UserError when the interpreter does not start."""
    try:
        done = subprocess.run(
            [python, "-c", _LOOK_INSIDE, trainer, versions], capture_output=True, text=True, check=True, timeout=120
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, json.JSONDecodeError) as error:
        raise UserError(f"{python} does not start as a Python: {error}; {_how_to_make(trainer)}") from None
    return found
