"""What is asked of which model: a score without its protocol is not a score."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curate.corpus import UserError

_HUB_ID: Final = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_NAMED: Final = re.compile(r"([\w][\w .+-]*)=(.+)")
_COLUMNS: Final = ("data_source", "prompt", "images", "reward_model", "extra_info")
_WEIGHTS: Final = (".safetensors", ".bin")


@dataclass(frozen=True)
class Model:
    """A model to evaluate."""

    name: str
    """As it is called in tables."""
    source: str
    """A directory in Hugging Face format, absolute, or a hub id."""
    sha256: str | None
    """Hash over all that decides its answers; None for a hub id, whose commit is noted with its answers."""

    @property
    def key(self) -> str:
        """Short name of exactly this model, for files."""
        return hashlib.sha256(f"{self.source if self.sha256 is None else self.sha256}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class BenchData:
    """The rows that are asked: a Parquet file of a verl export."""

    path: Path
    sha256: str
    rows: int

    def references(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The rows without their prompts and pictures: ``data_source``, ``reward_model``, ``extra_info``."""
        import pyarrow.parquet as pq

        left = self.rows if limit is None else limit
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(columns=["data_source", "reward_model", "extra_info"]):
                yield from batch.to_pylist()[:left]
                left -= min(left, batch.num_rows)


def name_models(arguments: Sequence[str]) -> list[Model]:
    """Models from arguments ``DIR``, ``HUB/ID`` or ``NAME=DIR``.

    A folder called `model`, as in a run directory, goes by the name of the run. Raises UserError for a directory that
    holds no model, and when two would have the same name.
    """
    models: list[Model] = []
    for argument in arguments:
        named = _NAMED.fullmatch(argument)
        name, source = (named[1], named[2]) if named and not Path(argument).exists() else (None, argument)
        path = Path(source).expanduser()
        if path.is_dir():
            resolved = path.resolve()
            default = resolved.parent.name if resolved.name == "model" else resolved.name
            model = Model(name or default, str(resolved), _hash_of_model(path))
        elif _HUB_ID.fullmatch(source) and not path.exists():
            model = Model(name or source.partition("/")[2], source, None)
        else:
            raise UserError(f"{source} is no model: neither a directory nor a hub id such as Qwen/Qwen3-VL-4B-Instruct")
        if any(model.name == other.name for other in models):
            raise UserError(f"two models would be called {model.name}; give names: before={source}")
        models.append(model)
    return models


def _hash_of_model(path: Path) -> str:
    """Over the weights and what turns rows into tokens, not over logs and training states beside them."""
    config = path / "config.json"
    if not config.is_file():
        runs = path / "model" / "config.json"
        hint = f"; did you mean {path / 'model'}?" if runs.is_file() else ""
        raise UserError(f"{path} holds no model in Hugging Face format: it has no config.json{hint}")
    files = [file for file in sorted(path.iterdir()) if _decides(file)]
    if not any(file.suffix in _WEIGHTS for file in files):
        raise UserError(f"{path} holds no weights: no file that ends with .safetensors or .bin")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _decides(file: Path) -> bool:
    states = ("optimizer.", "scheduler.", "training_args.", "rng_state", "trainer_state.")
    results = file.name.endswith(("_results.json", "_log.jsonl"))
    known = file.suffix in (*_WEIGHTS, ".json", ".jinja", ".txt", ".model")
    return file.is_file() and known and not results and not file.name.startswith(states)


def open_data(path: Path) -> BenchData:
    """The Parquet file of a verl export, named itself or by its directory.

    Raises UserError when it is none, and when the directory holds training and validation rows: only one of the two
    was held out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = path
    if path.is_dir():
        found = sorted(path.glob("*.parquet"))
        if not found:
            raise UserError(f"{path} holds no Parquet file; curate export --format verl --val-fraction 0 writes one")
        if len(found) > 1:
            names = " and ".join(entry.name for entry in found)
            raise UserError(f"{path} holds {names}; name the one that no model was trained on: --data {found[-1]}")
        file = found[0]
    try:
        with pq.ParquetFile(file) as opened:
            rows, columns = opened.metadata.num_rows, set(opened.schema_arrow.names)
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; --data names a verl export of held-out queries") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file} is no readable Parquet file: {error}") from None
    if missing := [column for column in _COLUMNS if column not in columns]:
        raise UserError(f"{file} is no verl file: it has no column {', '.join(missing)}; curate export --format verl")
    if not rows:
        raise UserError(f"{file} has no rows")
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return BenchData(file.resolve(), digest, rows)


def answers_file(output: Path, model: Model, data: BenchData, max_new_tokens: int) -> Path:
    """Where the answers of a model are kept: another model, file or bound on the tokens has a file of its own."""
    settings = json.dumps([model.key, data.sha256, max_new_tokens])
    plain = re.sub(r"[^\w.+-]", "_", model.name)
    return output / "answers" / f"{plain}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.jsonl"


def read_answers(path: Path) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """The header of a file of answers and its answers by row; a line that a killed process left half is no answer.

    A row that could not be answered is asked again by a later run, whose line then counts. Without a file both are
    empty. Raises UserError for a damaged line.
    """
    header: dict[str, Any] = {}
    answers: dict[int, dict[str, Any]] = {}
    if not path.exists():
        return header, answers
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
            except ValueError:
                raise UserError(f"{path}:{number} is damaged; remove that line, and its row is asked again") from None
            if "protocol" in entry:
                header = header or entry["protocol"]
            else:
                answers[entry["row"]] = entry
    return header, answers


def unanswered(answers: Mapping[int, Mapping[str, Any]], rows: int) -> list[int]:
    """Rows that no model output is known for."""
    return [row for row in range(1, rows + 1) if row not in answers or "error" in answers[row]]
