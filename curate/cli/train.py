"""``curate train``: prove a stage's data with the trainer's own loader, then train on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from curate.adapters.environments import TrainerEnvironment
    from curate.adapters.train import Training


@click.command()
@click.argument("stage_file", metavar="STAGE.yaml", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only write the trainer's configuration and the command.")
@click.option("--prove", "only_prove", is_flag=True, help="Stop when the data is proven, before the training.")
@click.option(
    "--environment", metavar="DIR", type=click.Path(path_type=Path), help="The trainer's environment; else looked for."
)
@click.option("--verbose", is_flag=True, help="Show all that the trainer prints; it is in log.txt in any case.")
@click.option("--json", "as_json", is_flag=True, help="Print the record of the run as JSON on stdout.")
def command(
    stage_file: Path,
    overrides: tuple[str, ...],
    dry_run: bool,
    only_prove: bool,
    environment: Path | None,
    verbose: bool,
    as_json: bool,
) -> int:
    """Run one training stage: continual pretraining or SFT with LLaMA-Factory, GRPO with verl.

    Validates the exports, proves them with the trainer's own loader, trains in the trainer's environment, and leaves
    a model in Hugging Face format in the folder `model` of the run directory. Run it again to go on after an
    interruption.

    KEY=VALUE replaces an entry of the stage: model=runs/sft/model, data.0.path=exports/verl, arguments.max_steps=100.
    """
    from curate.adapters.stage import load_stage
    from curate.adapters.train import open_training
    from curate.cli.console import print_json, say

    stage = load_stage(stage_file, overrides)
    with open_training(stage) as training:
        if not dry_run and training.is_finished():
            say(f"Nothing to do: {training.run.path} is finished")
            _tell_result(training)
            if as_json:
                print_json(training.run.record)
            return 0
        training.configure()
        if dry_run:
            line = training.write_command("python")
            say(f"Configuration: {training.run.path}/config")
            say("Command, in the trainer's environment:")
            click.echo(line)
            return 0
        found = training.find_environment(environment)
        line = training.write_command(found.python)
        proven = training.is_proven()
        if not proven and not _validated(training):
            return 1
        if not only_prove:
            training.check_machine(found)
        if proven:
            say("The exports are as they were proven.")
        elif not _proven(training, found):
            return 1
        if only_prove:
            return 0
        say(f"Running: {line}")
        _train(training, found, verbose)
        _tell_result(training)
        if as_json:
            print_json(training.run.record)
    return 0


def _validated(training: Training) -> bool:
    """Whether the exports have no errors; if they have, those have been told."""
    from curate.cli.console import console, say, table

    with console.status("checking the exports …"):
        report = training.validate()
    if report.errors:
        from curate.cli.problem_reports import sentence, where

        found = [(where(finding), sentence(finding)) for finding in report.findings() if finding.severity == "error"]
        table("The exports have errors", ("where", "what"), found)
        say(f"{report.errors:,} error(s); nothing was started")
    return not report.errors


def _proven(training: Training, environment: TrainerEnvironment) -> bool:
    """Whether the trainer's own loader reads all of the data; if not, what stands in the way has been told."""
    from curate.adapters.train import DataProblemsError
    from curate.cli.console import console, say, table

    with console.status(f"proving the data with {training.title}'s own loader …"):
        try:
            proof = training.prove(environment)
        except DataProblemsError as error:
            rows = [(_place(problem), problem["message"]) for problem in error.problems[:20]]
            table(f"{training.title} would stop at these, or drop them without a word", ("where", "what"), rows)
            say(f"Error: {error}; nothing was started")
            return False
    _tell_proof(training, proof)
    return True


def _place(problem: Mapping[str, Any]) -> str:
    file = problem["file"] or "the stage"
    return f"{file}:{problem['row']}" if problem.get("row") else file


def _tell_proof(training: Training, proof: Mapping[str, Any]) -> None:
    from curate.cli.console import say, table

    facts = [("rows", f"{rows:,} of {export}") for export, rows in proof["rows"].items()]
    parameters = proof["parameters"]
    facts.append(("parameters", f"{parameters['trained']:,} of {parameters['total']:,} trained"))
    facts += [
        (name, f"{value:,}" if isinstance(value, int) else value)
        for name, value in proof["facts"].items()
        if name != "rows"
    ]
    table(f"Proven with {training.title}'s own loader", ("what", "found"), facts)
    for example in proof["examples"]:
        say(f"{example['title']}: {_shortened(example['text'])}")
    say(f"All of it: {training.run.path / 'proof.json'}")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]} …"


def _train(training: Training, environment: TrainerEnvironment, verbose: bool) -> None:
    from curate.cli.console import console, say
    from curate.cli.training_progress import TrainingProgress

    with TrainingProgress(training.stage.stage, show_bar=not verbose) as progress:
        training.train(environment, progress.update, say if verbose else progress.ignore)
    with console.status("making the model …"):
        training.finish(environment)


def _tell_result(training: Training) -> None:
    """The curve, the parts that changed, and where everything lies."""
    import json

    from curate.adapters.curves import chart
    from curate.cli.console import console, say, table

    key = "reward" if training.stage.stage == "grpo" else "loss"
    lines = training.run.metrics.read_text(encoding="utf-8").splitlines()
    points = [(point["step"], point[key]) for point in map(json.loads, lines) if key in point]
    if len(points) > 1:
        say(f"{key.capitalize()} by step")
        for line in chart(points, width=min(console.width, 100), height=10).splitlines():
            say(line)
    weights = training.run.record.get("weights")
    if weights:
        rows = [
            (part["part"], part["parameters"], f"{part['changed']:,} of {part['tensors']:,}", f"{part['relative']:.2e}")
            for part in weights["parts"]
        ]
        table("What was trained", ("part", "parameters", "changed tensors", "relative change"), rows, numbers=(1, 2, 3))
    seconds = training.run.record["seconds"]
    say(" ".join(f"{name} {value:,.0f} s" for name, value in seconds.items()))
    say(f"Model: {training.run.model}  Curves: {training.run.path / 'curves.png'}  Log: {training.run.log}")
