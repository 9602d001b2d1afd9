"""``curate rollout``: k answers a query from a model, and how many of them are right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.asking import asking_options, declaring_option

if TYPE_CHECKING:
    from curate.corpus import Corpus
    from curate.rollouts import Admit, RolloutOptions


@click.command()
@click.argument("path", metavar="[CORPUS]", default="curated", type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME", help="Model that answers.  [default: $CURATE_ROLLOUT_MODEL]")
@click.option(
    "--url",
    metavar="URL|demo",
    help="OpenAI-compatible endpoint, or the embedded demo model.  [default: $OPENAI_BASE_URL]",
)
@click.option(
    "--k", default=8, show_default=True, help="Answers a query. Raised later, only the new ones are asked for."
)
@click.option("--name", "run", metavar="RUN", help="Name of the run.  [default: rollout, or text-only]")
@click.option("--text-only", is_flag=True, help="Leave the pictures out: which questions are answered without them?")
@click.option("--shuffle-options", is_flag=True, help="With --text-only: other order of the options for each answer.")
@click.option("--temperature", default=1.0, show_default=True, help="Of sampling.")
@click.option("--max-tokens", default=2048, show_default=True, help="Most tokens of an answer, thinking included.")
@click.option(
    "--system-prompt", metavar="TEXT", help="In place of the system message that verl exports get; '' for none."
)
@click.option("--sample", type=int, metavar="N", help="Answer only N queries of each source.")
@click.option("--selection", metavar="NAME", help="Answer only queries that this selection keeps (curate select).")
@asking_options
@declaring_option
def command(path: Path, selection: str | None, dry_run: bool, as_json: bool, **asking: Any) -> int:
    """Have a model answer every query K times, and count the right answers by the reward that training uses.

    The questions are put exactly as `curate export --format verl` writes them. Every answer is kept: run the same
    command again after an interruption or a change, and only what is missing is asked for.
    """
    from curate.cli.asking import check_declared
    from curate.cli.console import print_json
    from curate.corpus import Corpus

    options = _options(asking)
    corpus = Corpus.open(path)
    with corpus.lock():
        corpus.check_complete()
        check_declared(options.declared_deidentified, corpus)
        admit = _kept_by(corpus, selection)
        status, counts = (_estimate if dry_run else _rollout)(corpus, options, admit)
    if as_json:
        print_json(counts)
    return status


def _options(asking: dict[str, Any]) -> RolloutOptions:
    """The options, checked before any work is done."""
    from curate.cli.asking import limits
    from curate.judge.endpoint import resolve_endpoint
    from curate.rollouts import ROLLOUT, RolloutOptions

    endpoint = resolve_endpoint(asking["url"], asking["model"], os.environ, ROLLOUT)
    given = {name: asking[name] for name in ("system_prompt",) if asking[name] is not None}
    options = RolloutOptions(
        endpoint=endpoint,
        run=asking["run"] or ("text-only" if asking["text_only"] else "rollout"),
        k=asking["k"],
        text_only=asking["text_only"],
        shuffle_options=asking["shuffle_options"],
        temperature=asking["temperature"],
        max_tokens=asking["max_tokens"],
        sample=asking["sample"],
        **given,
        **limits(asking, endpoint),
    )
    options.check()
    return options


def _kept_by(corpus: Corpus, selection: str | None) -> Admit | None:
    """The ids that a selection keeps, shard by shard."""
    if selection is None:
        return None
    import pyarrow.parquet as pq

    from curate.select import Decisions

    decisions = Decisions.open(corpus, selection)
    numbers = {shard: number for number, shard in enumerate(corpus.shards())}

    def admit(shard: Path) -> frozenset[str]:
        ids = pq.read_table(shard, columns=["id"]).column("id").combine_chunks()
        return frozenset(ids.filter(decisions.kept_rows(numbers[shard])).to_pylist())

    return admit


def _estimate(corpus: Corpus, options: RolloutOptions, admit: Admit | None) -> tuple[int, dict[str, Any]]:
    from dataclasses import asdict

    from curate.cli.console import say
    from curate.rollouts import estimate_rollouts

    estimate = estimate_rollouts(corpus, options, admit=admit)
    cost = "unknown price; give --price IN,OUT" if estimate.cost is None else f"about ${estimate.cost:,.2f}"
    say(
        f"Dry run: {estimate.requests:,} requests to {options.endpoint.model} at {options.endpoint.host}, "
        f"about {estimate.tokens_in:,} tokens in and {estimate.tokens_out:,} out, {cost}"
    )
    say(
        f"{estimate.queries:,} queries, {options.k} answers each: {estimate.requests:,} to ask for + "
        f"{estimate.reused:,} there already; {estimate.refused:,} queries refused, {estimate.not_asked:,} left out"
    )
    counts = asdict(estimate)
    return 0, counts | {"cost_usd": counts.pop("cost")}


def _rollout(corpus: Corpus, options: RolloutOptions, admit: Admit | None) -> tuple[int, dict[str, Any]]:
    from curate.cli.asking import DEMO_WARNING, shown
    from curate.cli.console import console
    from curate.cli.rolling import progress_line, tell
    from curate.judge import stop_on_signals
    from curate.rollouts import rollout_corpus

    if options.endpoint.demo:
        console.print(DEMO_WARNING, style="bold yellow")
    with stop_on_signals() as stop, shown(progress_line) as show:
        summary = rollout_corpus(corpus, options, admit=admit, progress=show, stop=stop)
    tell(summary, options)
    lineage = summary.lineage(options)
    corpus.record("rollout", **lineage)
    return summary.status, lineage["counts"]
