"""Which directory a conversion may write to, and how it is marked as its own before there is anything in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from curate import __version__
from curate.corpus import Corpus, Step, UserError
from curate.sources.derive.options import ConvertOptions

_MAKERS = ("convert", "ingest")
"""Steps that say whose samples a corpus holds."""


def check_output(parent: Corpus, output: Path) -> None:
    """Raise UserError when ``output`` and the corpus lie in one another."""
    ours, theirs = output.resolve(), parent.path.resolve()
    if ours == theirs:
        raise UserError(f"{output} is the corpus that is converted; nothing is rewritten in place: choose another -o")
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise UserError(f"{output} and the corpus {parent.path} lie inside one another: choose another -o directory")


def claim(parent: Corpus, output: Path, options: ConvertOptions) -> Corpus:
    """The corpus at ``output``, made if it is not there, with this conversion as its last step.

    UserError when it holds anything but the result of the same conversion of the same corpus.
    """
    corpus = Corpus.create(output)
    parameters = {"corpus": str(parent.path.resolve()), **options.parameters()}
    last = next((step for step in reversed(corpus.info.steps) if step.name in _MAKERS), None)
    if last is None:
        if corpus.shards() or (output / "ingest.partial.json").exists():
            raise UserError(f"{output} is a corpus already, or an ingest into it was interrupted: choose another -o")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        corpus.info.steps.append(Step(name="convert", at=now, version=__version__, parameters=parameters))
        corpus.save()
        return corpus
    if last.name != "convert":
        raise UserError(f"{output} is a corpus that was ingested: choose another -o directory")
    if last.parameters != parameters:
        differing = sorted(
            name for name in {*last.parameters, *parameters} if last.parameters.get(name) != parameters.get(name)
        )
        raise UserError(
            f"{output} holds the samples of another conversion (it differs in: {', '.join(differing)}): choose another "
            "-o directory, or remove that one"
        )
    return corpus
