"""``curate respond``: responses for SFT, made from rollouts by how often the model was right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli.asking import asking_options

if TYPE_CHECKING:
    from rich.text import Text

    from curate.corpus import Corpus
    from curate.rollouts.funnel import Funnel
    from curate.rollouts.respond_options import Helper, RespondOptions


@click.command()
@click.argument("path", metavar="[CORPUS]", default="curated", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", default="responses", show_default=True, type=click.Path(path_type=Path), help="Folder for them."
)
@click.option("--run", metavar="RUN", help="Rollout run to go by.  [default: the only one with pictures]")
@click.option("--rebuild-model", metavar="NAME", help="Rebuilds masked answers.  [default: $CURATE_REBUILD_MODEL]")
@click.option("--rebuild-url", metavar="URL|demo", help="Its endpoint.  [default: $OPENAI_BASE_URL]")
@click.option("--stronger-model", metavar="NAME", help="Explains known answers.  [default: $CURATE_STRONGER_MODEL]")
@click.option("--stronger-url", metavar="URL|demo", help="Its endpoint.  [default: $OPENAI_BASE_URL]")
@click.option("--stronger-price", metavar="IN,OUT", help="Its price; --price is that of the rebuilding model.")
@click.option(
    "--rebuild-from", default=0.75, show_default=True, help="Share of right answers whose explanations are used."
)
@click.option(
    "--rewrite-from",
    default=0.375,
    show_default=True,
    help="Share from which the stronger model explains; below: drop.",
)
@click.option(
    "--source", default="stability_aware", show_default=True, help="Subset that the responses are of, for mixtures."
)
@click.option("--with-images", is_flag=True, help="Show the pictures to the rebuilding model too.")
@asking_options
def command(path: Path, output: Path, dry_run: bool, as_json: bool, **asking: Any) -> int:
    """Write responses to train on from a rollout run: one for each question that the model is not mostly wrong about.

    Mostly right: the explanation from which another model rebuilds the masked answer most surely. Sometimes right: a
    stronger model explains the answer. The rest is dropped. The output is conversations for `curate ingest`.
    """
    from curate.cli.console import print_json
    from curate.corpus import Corpus

    options = _options(asking)
    corpus = Corpus.open(path)
    with corpus.lock():
        corpus.check_complete()
        status, counts = _estimate(corpus, options) if dry_run else _respond(corpus, options, output)
    if as_json:
        print_json(counts)
    return status


def _options(asking: dict[str, Any]) -> RespondOptions:
    """The options, checked before any work is done."""
    from curate.cli.asking import price_for
    from curate.judge.endpoint import resolve_endpoint
    from curate.rollouts.respond_options import REBUILD, STRONGER, RespondOptions

    rebuild = resolve_endpoint(asking["rebuild_url"], asking["rebuild_model"], os.environ, REBUILD)
    stronger = None
    if asking["stronger_model"] or asking["stronger_url"] or os.environ.get(STRONGER.variable):
        found = resolve_endpoint(asking["stronger_url"], asking["stronger_model"], os.environ, STRONGER)
        price = price_for(asking["stronger_price"], asking["prices"], found)
        stronger = _helper(asking, found, price, temperature=1.0, max_tokens=2048)
    price = price_for(asking["price"], asking["prices"], rebuild)
    options = RespondOptions(
        rebuild=_helper(asking, rebuild, price),
        stronger=stronger,
        run=asking["run"],
        rebuild_from=asking["rebuild_from"],
        rewrite_from=asking["rewrite_from"],
        source=asking["source"],
        with_images=asking["with_images"],
    )
    options.check()
    return options


def _helper(asking: dict[str, Any], endpoint: Any, price: Any, **settings: Any) -> Helper:
    from curate.rollouts.respond_options import Helper

    names = ("budget", "concurrency", "requests_per_minute", "tokens_per_minute", "timeout", "patience")
    given = {name: asking[name] for name in names if asking[name] is not None}
    return Helper(endpoint, price, **settings, **given)


def _estimate(corpus: Corpus, options: RespondOptions) -> tuple[int, dict[str, Any]]:
    from dataclasses import asdict

    from curate.cli.console import say
    from curate.rollouts.respond_estimate import estimate_responses

    estimate = estimate_responses(corpus, options)
    cost = "unknown price" if estimate.cost is None else f"about ${estimate.cost:,.2f}"
    say(
        f"Dry run: {estimate.questions:,} questions; {estimate.rebuild_requests:,} masked explanations to rebuild, "
        f"{estimate.rewrite_requests:,} questions to explain, {estimate.reused:,} answered already; about "
        f"{estimate.tokens_in:,} tokens in and {estimate.tokens_out:,} out, {cost}"
    )
    counts = asdict(estimate)
    return 0, counts | {"cost_usd": counts.pop("cost")}


def _respond(corpus: Corpus, options: RespondOptions, output: Path) -> tuple[int, dict[str, Any]]:
    from curate.cli.asking import DEMO_WARNING, shown
    from curate.cli.console import console
    from curate.judge import stop_on_signals
    from curate.rollouts.respond import respond

    if any(helper is not None and helper.endpoint.demo for helper in (options.rebuild, options.stronger)):
        console.print(DEMO_WARNING, style="bold yellow")
    with stop_on_signals() as stop, shown(_line) as show:
        funnel = respond(corpus, options, output, progress=show, stop=stop)
    _tell(funnel, options, output)
    counts = funnel.to_json()
    corpus.record("respond", parameters=_parameters(options), counts=counts)
    return funnel.status, counts


def _parameters(options: RespondOptions) -> dict[str, Any]:
    """What the responses depend on; nothing secret."""
    helpers = {"rebuild": options.rebuild, "stronger": options.stronger}
    return {
        "run": options.run,
        **{
            name: helper and {"endpoint": helper.endpoint.host, "model": helper.endpoint.model}
            for name, helper in helpers.items()
        },
        "rebuild_from": options.rebuild_from,
        "rewrite_from": options.rewrite_from,
        "with_images": options.with_images,
    }


def _line(funnel: Funnel) -> Text:
    from curate.cli.asking import how_it_goes
    from curate.cli.console import plain

    return plain(f"responding {funnel.read:,}/{funnel.queries:,} queries, {funnel.kept:,} kept, {how_it_goes(funnel)}")


_WORDS = {
    "rebuilt": "kept: own explanation, answer rebuilt from it",
    "rewritten": "kept: explained by the stronger model",
    "mostly_wrong": "dropped: mostly answered wrongly",
    "not_rebuilt": "dropped: no explanation led to the answer",
    "unexplained": "dropped: right answers without an explanation",
    "no_stronger_model": "dropped: for a stronger model, and none was given (--stronger-model)",
    "rewritten_wrong": "dropped: the stronger model came to another answer",
    "rewritten_no_reasoning": "dropped: the stronger model gave no reasoning",
    "rewritten_gives_itself_away": "dropped: the stronger model says that it knew the answer",
    "still_named": "dropped: no explanation stands without naming the answer",
    "identified": "not sent: from DICOM that is not marked as de-identified",
    "refused": "not sent: without its picture",
    "failed": "failed: a request got no answer; run again",
    "stopped": "not reached: the run ended before",
}


def _tell(funnel: Funnel, options: RespondOptions, output: Path) -> None:
    from curate.cli.asking import tell_bill
    from curate.cli.console import say, table

    tested = funnel.explanations - funnel.unexplained - funnel.named
    stages = [
        ("questions with all their answers", funnel.questions),
        (f"candidates, {funnel.k} each", funnel.questions * funnel.k),
        ("right", funnel.right),
        ("right answers of questions that are mostly right", funnel.explanations),
        ("of these with an explanation", funnel.explanations - funnel.unexplained),
        ("of these without their answer, once it is masked", tested),
        ("of these rebuilt from it", funnel.rebuilt),
        ("questions with a response", funnel.kept),
    ]
    table("Funnel", ("stage", "count"), stages, numbers=(1,))
    outcomes = [(_WORDS.get(word, word), count) for word, count in funnel.outcomes.most_common()]
    table("Questions", ("outcome", "questions"), outcomes, numbers=(1,))
    if funnel.unscored:
        say(f"{funnel.unscored:,} queries without all their answers in the run are not among them")
    if funnel.chosen_by["length"]:
        say(
            f"Note: for {funnel.chosen_by['length']:,} questions the shortest explanation was chosen, because the "
            f"endpoint told no probabilities of tokens"
        )
    tell_bill(funnel)
    if funnel.outcomes["identified"]:
        say(
            "Samples from DICOM files that are not marked as de-identified get no response, declared or not: a record "
            "outside the corpus cannot carry that mark. De-identify the files and ingest them again."
        )
    if funnel.stopped:
        say(
            f"Stopped: {funnel.stopped}. Nothing is written to {output} yet; every answer is kept, and the same "
            f"command goes on."
        )
        return
    say(f"{funnel.kept:,} responses in {output}/responses.jsonl; read them with: curate ingest {output} -o CORPUS")
