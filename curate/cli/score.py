"""``curate score``: ingest, measure and judge in one command that can be run again at any time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.ingesting import ingest_options, input_options

if TYPE_CHECKING:
    from curate.corpus import Corpus
    from curate.judge import JudgeOptions
    from curate.sources.ingest import IngestOptions


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", default="curated", show_default=True, type=click.Path(path_type=Path), help="Corpus.")
@input_options
@click.option("--workers", type=click.IntRange(1), help="Processes that measure; by default one for each core.")
@click.option("--judge", is_flag=True, help="Ask an LLM judge for scores; needs an endpoint, see --judge-url.")
@click.option("--judge-model", metavar="NAME", help="Model to ask.  [default: $CURATE_JUDGE_MODEL]")
@click.option(
    "--judge-url",
    metavar="URL|demo",
    help="OpenAI-compatible endpoint, or the embedded demo judge.  [default: $OPENAI_BASE_URL]",
)
@click.option(
    "--rubric",
    "rubrics",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Rubric file, or a folder of them, in the place of the built-in one for its kind. Repeatable.",
)
@click.option("--concurrency", default=64, show_default=True, help="Most requests in flight; fewer if need be.")
@click.option("--requests-per-minute", type=float, help="Send no more than so many requests a minute.")
@click.option("--tokens-per-minute", type=float, help="Send no more than about so many tokens a minute.")
@click.option(
    "--timeout", type=float, metavar="SECONDS", help="Longest wait for one whole answer of the judge.  [default: 180]"
)
@click.option(
    "--patience",
    type=float,
    metavar="SECONDS",
    help="Stop when requests have only failed for so long.  [default: 60]",
)
@click.option("--sample", type=int, metavar="N", help="Judge only N samples of each source.")
@click.option("--budget", type=float, metavar="USD", help="Stop before spending more than this.")
@click.option("--price", metavar="IN,OUT", help="US dollars per million input and output tokens of the model.")
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML table of prices by model, over the built-in one.",
)
@click.option(
    "--dry-run", is_flag=True, help="Say how many requests, tokens and dollars --judge would take; send none."
)
@click.option(
    "--declare-deidentified",
    "declared",
    multiple=True,
    metavar="SOURCE",
    help="You declare that SOURCE's DICOM files identify nobody, so that the judge may see them. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all counts as one JSON object on stdout.")
def command(
    source: Path,
    output: Path,
    columns: dict[str, str],
    allow_roots: tuple[Path, ...],
    licenses: tuple[str, ...],
    workers: int | None,
    judge: bool,
    as_json: bool,
    **judging: Any,
) -> int:
    """Ingest INPUT, measure every sample and, with --judge, have it scored.

    INPUT is raw data (folders of images and records, DICOM) or a corpus that exists already. Run the same command again
    after an interruption or a change: finished work is kept, and only what is new is measured or asked.
    """
    from curate.cli.console import print_json, say
    from curate.corpus import Corpus

    given = [name for name in _JUDGE_ONLY if judging[name]]
    if given and not judge:
        raise click.UsageError(f"{_JUDGE_ONLY[given[0]]} is about the judge: add --judge")
    options = _judge_options(judging) if judge else None
    counts: dict[str, Any] = {}
    is_corpus = (source / "corpus.json").is_file()
    if is_corpus and (columns or allow_roots or licenses):
        raise click.UsageError(
            f"{source} is a corpus already: --map, --allow-root and --allow-license are for raw data"
        )
    corpus = Corpus.open(source) if is_corpus else Corpus.create(output)
    with corpus.lock():
        if is_corpus:
            corpus.check_complete()
        else:
            counts["ingest"] = _ingest(source, corpus, ingest_options(columns, allow_roots, licenses))
            if not counts["ingest"]["samples"]:
                say("Nothing could be read as a sample.")
                return 1
        counts["signals"] = _measure(corpus, workers)
        status = 0
        if options is not None:
            _check_declared(options, corpus)
            status, counts["judge"] = _estimate(corpus, options) if judging["dry_run"] else _judge(corpus, options)
    say(f"Corpus: {corpus.path}")
    if as_json:
        print_json(counts)
    return status


_JUDGE_ONLY = {
    "judge_model": "--judge-model",
    "judge_url": "--judge-url",
    "rubrics": "--rubric",
    "requests_per_minute": "--requests-per-minute",
    "tokens_per_minute": "--tokens-per-minute",
    "timeout": "--timeout",
    "patience": "--patience",
    "sample": "--sample",
    "budget": "--budget",
    "price": "--price",
    "prices": "--prices",
    "dry_run": "--dry-run",
    "declared": "--declare-deidentified",
}


def _judge_options(judging: dict[str, Any]) -> JudgeOptions:
    """The judge's options, checked before any work is done."""
    from curate.judge import JudgeOptions, load_prices, load_rubrics, parse_price, price_of, resolve_endpoint

    endpoint = resolve_endpoint(judging["judge_url"], judging["judge_model"], os.environ)
    prices = load_prices(judging["prices"])
    options = JudgeOptions(
        endpoint=endpoint,
        rubrics=load_rubrics(judging["rubrics"]),
        price=parse_price(judging["price"]) if judging["price"] else price_of(endpoint, prices),
        budget=judging["budget"],
        concurrency=judging["concurrency"],
        requests_per_minute=judging["requests_per_minute"],
        tokens_per_minute=judging["tokens_per_minute"],
        sample=judging["sample"],
        declared_deidentified=frozenset(judging["declared"]),
        **{name: judging[name] for name in ("timeout", "patience") if judging[name] is not None},
    )
    options.check()
    return options


def _check_declared(options: JudgeOptions, corpus: Corpus) -> None:
    import polars as pl

    from curate.corpus import UserError

    sources = pl.scan_parquet(corpus.shards()).select("source").unique().collect()["source"].to_list()
    unknown = sorted(options.declared_deidentified - set(sources))
    if unknown:
        raise UserError(f"--declare-deidentified {unknown[0]}: no such source; there are: {', '.join(sorted(sources))}")


def _ingest(source: Path, corpus: Corpus, options: IngestOptions) -> dict[str, Any]:
    from dataclasses import asdict

    from curate.cli.ingesting import ingest_with_progress

    return asdict(ingest_with_progress([source], corpus, options))


def _measure(corpus: Corpus, workers: int | None) -> dict[str, Any]:
    from dataclasses import asdict

    from curate.cli.console import progress_bar, say
    from curate.signals import measure_corpus

    with progress_bar("measuring") as advance:
        summary = measure_corpus(corpus, workers, advance)
    unreadable = f"; {summary.unreadable:,} with an unreadable image" if summary.unreadable else ""
    say(f"Signals: {summary.measured:,} samples measured, {summary.reused:,} known already{unreadable}")
    return asdict(summary)


def _estimate(corpus: Corpus, options: JudgeOptions) -> tuple[int, dict[str, Any]]:
    from dataclasses import asdict

    from curate.cli.console import say
    from curate.judge import estimate_corpus

    estimate = estimate_corpus(corpus, options)
    cost = "unknown price; give --price IN,OUT" if estimate.cost is None else f"about ${estimate.cost:,.2f}"
    say(
        f"Dry run: {estimate.requests:,} requests to {options.endpoint.model} at {options.endpoint.host}, "
        f"about {estimate.tokens_in:,} tokens in and {estimate.tokens_out:,} out, {cost}"
    )
    say(
        f"{estimate.samples:,} samples = {estimate.requests:,} to ask + {estimate.reused:,} answered already "
        f"+ {estimate.refused:,} refused + {estimate.not_asked:,} outside --sample"
    )
    counts = asdict(estimate)
    return 0, counts | {"cost_usd": counts.pop("cost")}


def _judge(corpus: Corpus, options: JudgeOptions) -> tuple[int, dict[str, Any]]:
    from curate.cli.judging import judge_with_progress

    summary = judge_with_progress(corpus, options)
    lineage = summary.lineage(options)
    corpus.record("judge", **lineage)
    return summary.status, lineage["counts"]
