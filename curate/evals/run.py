"""Ask models the same rows, each in a process of its own in a trainer's environment, and score what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from curate import __version__
from curate.adapters.environments import TrainerEnvironment, find_environment
from curate.adapters.last_error import last_error
from curate.adapters.process import run_logged
from curate.corpus import UserError, atomic_file, exclusive
from curate.evals.protocol import BenchData, Model, answers_file, read_answers, unanswered
from curate.evals.report import Comparison, ModelResult, compare, score_answers
from curate.rewards.offline import OfflineScores

_PROGRESS: Final = re.compile(r"answered (\d+) of (\d+)")

Progress = Callable[[str, int, int], None]
"""Called with the model's name, the rows answered, and the rows in all."""


@dataclass(frozen=True)
class BenchOptions:
    """How rows are asked and scored."""

    max_new_tokens: int = 1024
    batch_size: int = 8
    limit: int | None = None
    """Ask only the first rows."""
    reward: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of ``curate.rewards.compute_score``."""


@dataclass(frozen=True)
class Bench:
    """Results of all models, the first of which the others are compared with."""

    results: Sequence[ModelResult]
    comparisons: Sequence[Comparison]
    protocol: Mapping[str, Any]

    @property
    def failed(self) -> int:
        """Rows that could not be answered or scored."""
        return sum(result.total().failed for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """Content of ``bench.json``."""
        return {
            "protocol": dict(self.protocol),
            "models": [result.as_dict() for result in self.results],
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }


def bench(
    models: Sequence[Model],
    data: BenchData,
    output: Path,
    options: BenchOptions,
    *,
    environment: Path | None = None,
    progress: Progress,
) -> Bench:
    """Answer, score, compare, and write ``output/bench.json``. What was answered before is not asked again.

    Raises UserError when a model cannot be loaded, with its last error and the file of its output, and RewardError when
    the options of the reward are wrong.
    """
    OfflineScores(**options.reward)  # wrong options are told before anything is asked
    rows = data.rows if options.limit is None else min(data.rows, options.limit)
    results, protocols = [], []
    with exclusive(output):
        found: TrainerEnvironment | None = None
        for model in models:
            file = answers_file(output, model, data, options.max_new_tokens)
            if unanswered(read_answers(file)[1], rows):
                found = found or _environment(environment)
                _ask(model, data, file, options, found, progress)
            header, answers = read_answers(file)
            results.append(score_answers(model.name, data, answers, limit=options.limit, **options.reward))
            place = str(file.relative_to(output))
            protocols.append({**asdict(model), "answers": place, "asked": header})
        done = Bench(
            results,
            [compare(result, results[0]) for result in results[1:]],
            {
                "data": {"path": str(data.path), "sha256": data.sha256, "rows": data.rows, "asked": rows},
                "prompt": "the messages of the rows, rendered by the chat template of the model",
                "batch_size": options.batch_size,
                "reward": dict(options.reward),
                "interval": "Wilson, 95 %",
                "medcurate": __version__,
                "models": protocols,
            },
        )
        with atomic_file(output / "bench.json") as opened:
            opened.write(json.dumps(done.as_dict(), indent=2, ensure_ascii=False).encode() + b"\n")
    return done


def _environment(named: Path | None) -> TrainerEnvironment:
    """Either trainer's will do: what is needed is transformers and torch."""
    try:
        return find_environment("verl", named)
    except UserError as missing:
        try:
            return find_environment("llamafactory", named)
        except UserError:
            raise missing from None


def _ask(
    model: Model,
    data: BenchData,
    file: Path,
    options: BenchOptions,
    environment: TrainerEnvironment,
    progress: Progress,
) -> None:
    arguments: list[str | Path] = [environment.python, "-m", "curate.evals.answer", model.source, data.path, file]
    arguments += ["--max-new-tokens", str(options.max_new_tokens), "--batch-size", str(options.batch_size)]
    if options.limit is not None:
        arguments += ["--limit", str(options.limit)]
    file.parent.mkdir(parents=True, exist_ok=True)

    def on_line(line: str) -> None:
        if counted := _PROGRESS.fullmatch(line):
            progress(model.name, int(counted[1]), int(counted[2]))

    log = file.with_suffix(".log")
    ended = run_logged(arguments, log, variables={"TOKENIZERS_PARALLELISM": "false"}, on_line=on_line)
    if ended.status:
        raise UserError(
            f"{model.name} ({model.source}) could not be asked: {last_error(ended.lines, ended.status)}. What it "
            f"answered is kept, the same command goes on from there; everything it printed is in {log}"
        )
