"""``curate bench``: models on held-out queries, one results table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.rewarding import reward_options

if TYPE_CHECKING:
    from curate.evals.report import Share
    from curate.evals.run import Bench

_PROBLEMS_SHOWN = 10


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Held-out queries: a verl export, or one of its Parquet files.",
)
@click.option(
    "--environment",
    type=click.Path(path_type=Path),
    help="The environment of a trainer, a directory or its Python; by default it is looked for.",
)
@click.option("-o", "--output", default="bench", show_default=True, type=click.Path(path_type=Path))
@click.option("--batch-size", default=8, show_default=True, type=click.IntRange(1), help="Rows answered at a time.")
@click.option(
    "--max-new-tokens",
    default=1024,
    show_default=True,
    type=click.IntRange(1),
    help="Tokens of an answer; longer ones are cut off.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first rows.")
@reward_options
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON on stdout.")
def command(
    models: tuple[str, ...],
    data: Path,
    environment: Path | None,
    output: Path,
    batch_size: int,
    max_new_tokens: int,
    limit: int | None,
    as_json: bool,
    **reward: Any,
) -> int:
    """Let models answer the same held-out queries, score them by the reward that training uses, and compare them.

    MODEL is a directory in Hugging Face format, a hub id, or NAME=DIR. The first model is the one that the others are
    compared with.
    """
    from curate.cli.console import console, print_json
    from curate.corpus import UserError
    from curate.evals.protocol import name_models, open_data
    from curate.evals.run import BenchOptions, bench
    from curate.rewards import RewardError

    options = BenchOptions(max_new_tokens, batch_size, limit, reward)
    try:
        with console.status("starting …") as status:
            done = bench(
                name_models(models),
                open_data(data),
                output,
                options,
                environment=environment,
                progress=lambda model, rows, total: status.update(f"{model}: answered {rows:,} of {total:,} rows"),
            )
    except RewardError as error:
        raise UserError(str(error)) from error
    _show(done, output)
    if as_json:
        print_json(done.as_dict())
    return 1 if done.failed else 0


def _show(done: Bench, output: Path) -> None:
    from curate.cli.console import say, table

    columns = ("rows", "accuracy", "95 % interval", "format", "unread", "cut off", "failed")
    totals = [(result.model, *_cells(result.total())) for result in done.results]
    table("Held-out queries", ("model", *columns), totals, numbers=(1, 2, 4, 5, 6, 7))
    by_part = [result.by(lambda row: (row.query_type, row.source)) for result in done.results]
    if len(by_part[0]) > 1:
        parts = [
            (*name, result.model, *_cells(found[name]))
            for name in by_part[0]
            for result, found in zip(done.results, by_part, strict=True)
        ]
        named = ("query type", "source", "model", *columns)
        table("By query type and source", named, parts, numbers=(3, 4, 6, 7, 8, 9))
    table(
        f"Row by row against {done.results[0].model}",
        ("model", "better", "worse", "difference", "p"),
        (
            (found.model, found.better, found.worse, f"{found.difference:+.3f}", f"{found.p:.2g}")
            for found in done.comparisons
        ),
        numbers=(1, 2, 3, 4),
    )
    for result in done.results:
        if result.problems:
            say(f"{result.model}: {len(result.problems):,} row(s) with a problem:")
            for problem in result.problems[:_PROBLEMS_SHOWN]:
                say(f"  {problem}")
    if done.failed:
        say("Failed rows count as wrong. The same command asks them again.")
    say(f"Results and protocol: {output / 'bench.json'}")


def _cells(share: Share) -> tuple[object, ...]:
    interval = f"{share.low:.3f} to {share.high:.3f}"
    shares = (f"{share.accuracy:.3f}", interval, f"{share.format:.1%}")
    return share.rows, *shares, share.unread, share.cut_off, share.failed
