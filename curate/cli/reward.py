"""``curate reward``: saved responses, scored by the reward that training uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.rewarding import reward_options

if TYPE_CHECKING:
    from curate.rewards.groups import GroupSummary
    from curate.rewards.offline import OfflineScores
    from curate.rewards.rollout import Prompts

_PROBLEMS_SHOWN = 10


@click.command()
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--prompts",
    "prompt_files",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The verl file that was trained on: gives the lines of rollout dumps their query type, options and source. "
    "Repeatable.",
)
@click.option("--query-type", metavar="TYPE", help="For rows that name none.")
@click.option("--group", "group_field", metavar="FIELD", help="The field that responses to one query share.")
@click.option("--format-weight", type=float, default=0.1, show_default=True, help="Weight of the format.")
@click.option("--accuracy-weight", type=float, default=0.9, show_default=True, help="Weight of the accuracy.")
@reward_options
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write each response's scores as JSON lines.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def command(
    files: tuple[Path, ...],
    prompt_files: tuple[Path, ...],
    query_type: str | None,
    group_field: str | None,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Score saved responses: JSON lines or Parquet with responses and references, or verl's rollout dumps.

    Shows the scores by query type and source, and what GRPO could learn from the groups of responses to one query.
    """
    from curate.cli.console import print_json, say
    from curate.corpus.files import UserError
    from curate.rewards import RewardError
    from curate.rewards.offline import OfflineScores

    if output is not None and output.exists() and any(output.samefile(file) for file in (*files, *prompt_files)):
        raise UserError(f"{output} is read as well; name another file for the scores")
    prompts, problems = _prompts(prompt_files)
    try:
        scores = OfflineScores(query_type=query_type, group_field=group_field, prompts=prompts, **options)
    except RewardError as error:
        raise UserError(str(error)) from error
    tally = _score(files, scores)
    problems += tally.problems
    groups = scores.groups()
    say(f"{tally.rows:,} rows = {tally.scored:,} scored + {tally.rows - tally.scored:,} not scored")
    if scores:
        _show(scores, groups)
    if scores.differing:
        say(
            f"{scores.differing:,} of {scores.recorded:,} responses got another score than the one recorded there. "
            "A dump has no options, tolerances or further references: --prompts gives them; or the weights differ."
        )
    if problems:
        say(f"{len(problems):,} row(s) with a problem:")
        for problem in problems[:_PROBLEMS_SHOWN]:
            say(f"  {problem}")
    if as_json:
        print_json(
            {
                "rows": {"read": tally.rows, "scored": tally.scored, "not_scored": tally.rows - tally.scored},
                "responses": len(scores),
                "options": options,
                "slices": [part._asdict() for part in scores.slices()],
                "histogram": [{"from": low, "to": high, "responses": n} for low, high, n in scores.histogram()],
                "groups": groups.to_json(),
                "recorded": {"responses": scores.recorded, "differing": scores.differing},
                "problems": problems,
            }
        )
    if output is not None:
        _write(output, scores.rows())
        say(f"Scores of {len(scores):,} responses: {output}")
    return 1 if problems or not scores else 0


def _prompts(files: tuple[Path, ...]) -> tuple[Prompts | None, list[str]]:
    """The rows of verl files, without their pictures (None without files), and what was wrong with some."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.corpus.files import UserError
    from curate.rewards.rollout import Prompts
    from curate.sources.readers import BadRow, read_rows

    if not files:
        return None, []
    prompts, wanted = Prompts(), ["data_source", "prompt", "reward_model", "extra_info"]
    problems = []
    for file in files:
        try:
            if file.suffix == ".parquet":
                with pq.ParquetFile(file) as table:
                    for batch in table.iter_batches(columns=wanted):
                        for fields in batch.to_pylist():
                            prompts.add(fields)
            else:
                for row in read_rows(file):
                    if isinstance(row, BadRow):
                        problems.append(_problem(file, row.number, row.message))
                    else:
                        prompts.add(row.fields)
        except pa.ArrowException as error:
            raise UserError(f"{file} is no readable Parquet file: {error}") from error
    return prompts, problems


def _problem(file: Path, row: int, message: str) -> str:
    return f"{file}:{row}: {message}" if row else f"{file}: {message}"


@dataclass
class _Tally:
    """What became of the rows."""

    rows: int = 0
    scored: int = 0
    """Rows with at least one response that was scored."""
    problems: list[str] = field(default_factory=list)
    """What was wrong with some, as file:row: sentence; a row with a useless reference is scored all the same."""


def _score(files: tuple[Path, ...], scores: OfflineScores) -> _Tally:
    from curate.cli.console import console
    from curate.sources.readers import BadRow, read_rows

    tally = _Tally()
    with console.status("scoring …") as status:
        for file in files:
            for row in read_rows(file):
                before = len(scores)
                if isinstance(row, BadRow):
                    problem: str | None = row.message
                else:
                    problem = scores.add(str(file), row.number, row.fields)
                tally.rows += 1
                tally.scored += len(scores) > before
                if problem:
                    tally.problems.append(_problem(file, row.number, problem))
                if row.number % 1000 == 0:
                    status.update(f"scoring … {len(scores):,} responses")
    return tally


def _show(scores: OfflineScores, groups: GroupSummary) -> None:
    from curate.cli.console import say, table

    table(
        "Responses by query type and source",
        ("query type", "source", "responses", "score", "format", "accuracy", "not read"),
        (
            (*part[:3], f"{part.score:.3f}", f"{part.format:.1%}", f"{part.accuracy:.1%}", f"{part.unread:.1%}")
            for part in scores.slices()
        ),
        numbers=(2, 3, 4, 5, 6),
    )
    histogram = scores.histogram()
    most = max(count for _, _, count in histogram)
    table(
        "Scores",
        ("from", "to", "responses", ""),
        ((f"{low:.1f}", f"{high:.1f}", n, "█" * -(-40 * n // most)) for low, high, n in histogram),
        numbers=(0, 1, 2),
    )
    if not groups.groups:
        say("No two responses share a query, so there are no groups; --group names the field that tells.")
        return
    table(
        "Groups of responses to one query, and their advantages (r - mean) / std",
        ("accuracy", "groups", "share", "mean score", "highest", "lowest"),
        (
            (
                kind,
                tally.groups,
                f"{tally.groups / groups.groups:.1%}",
                f"{tally.mean_score:.3f}",
                f"{tally.advantage_highest:+.2f}",
                f"{tally.advantage_lowest:+.2f}",
            )
            for kind, tally in groups.kinds.items()
            if tally.groups
        ),
        numbers=(1, 2, 3, 4, 5),
    )
    say(
        f"{groups.share_without_spread:.1%} of {groups.groups:,} groups have no spread in accuracy: GRPO learns "
        f"nothing about being right from them. {groups.no_spread_in_score:,} have none in the score either."
    )
    sizes = ", ".join(f"{count:,} with {size}" for size, count in groups.sizes.items())
    say(f"Groups by number of responses: {sizes}. Responses without a group: {groups.single_responses:,}.")


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    import orjson

    from curate.corpus.files import atomic_file

    with atomic_file(path) as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
