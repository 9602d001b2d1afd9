"""The ``curate`` command: a group whose verbs are imported only when they are called."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, TextIO

import click

from curate import __version__
from curate.cli.visible import visible, without_key

_VERBS = {
    "ingest": "Read raw images, records and DICOM into a corpus.",
    "score": "Ingest, measure and (with --judge) judge every sample.",
    "select": "Decide by a policy what is kept, how often, and why.",
    "convert": "Derive conversations and queries from samples.",
    "rollout": "Sample k answers a query and count the right ones.",
    "respond": "Write responses for SFT from rollouts, by how often the model was right.",
    "export": "Render the selected samples for a trainer.",
    "validate": "Check records or an export; a gate for CI.",
    "explain": "Tell a sample's whole story: origin, signals, verdicts, decisions, exports.",
    "diff": "Compare two selections or two corpora.",
    "report": "Write one HTML page about a selection: funnel, scores, pictures, duplicates, cost.",
    "train": "Run a training stage of a recipe with LLaMA-Factory or verl.",
    "reward": "Score saved responses by the reward that training uses.",
    "bench": "Compare models on held-out queries.",
    "schema": "Print the JSON Schema of a record format.",
}


class _ReaderLeftError(Exception):
    """Nobody reads our output any more (``curate ... | head``). A BrokenPipeError would make click exit with 1."""


class _LazyGroup(click.Group):
    """Loads ``curate.cli.<verb>`` on demand: ``curate --help`` must not pay for polars or openai."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(f"curate.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderLeftError from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: curate score raw/ --judge, then curate export --format verl",
)
@click.version_option(__version__, "-V", "--version", prog_name="curate")
def cli() -> None:
    """Turn raw medical images and text into judged, selected datasets that LLaMA-Factory and verl train on."""


def main() -> None:
    """Run the command and turn every expected failure into a sentence and an exit status.

    0 done; 1 the data has problems; 2 the command could not run; 3 stopped early, run it again to go on.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(standalone_mode=False)
        _flush(sys.stdout)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        _tell(shown.getvalue().rstrip())
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one while threads come to an end: without a traceback
        _tell("Interrupted. What was finished is kept; the same command goes on from there.")
        status = 3
    except (BrokenPipeError, _ReaderLeftError):
        status = 128 + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001 - what cannot be explained is told in full
        status = _explain(error)
    for stream in (sys.stdout, sys.stderr):
        try:
            _flush(stream)
        except OSError:  # Python would try again when it ends, and exit with 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(status or 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM, and SIGHUP of a terminal that was closed, end a command as Ctrl-C does."""
    raise KeyboardInterrupt


def _flush(stream: TextIO | None) -> None:
    """Write out what is buffered; a stream is None when the command was started with it closed."""
    if stream is not None:
        stream.flush()


def _tell(message: str) -> None:
    """A last word to the user, who may be gone."""
    with suppress(OSError):
        click.echo(visible(without_key(message)), err=True)


def _explain(error: Exception) -> int:
    import traceback

    from curate.corpus.files import UserError

    if isinstance(error, UserError):
        _tell(f"Error: {error}")
        return error.status
    damaged = isinstance(error, OSError) and error.errno is None  # as pyarrow says that a file is broken
    if damaged or type(error).__module__.split(".")[0] in ("pyarrow", "polars", "orjson"):
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        _tell(
            f"Error: a file of the corpus cannot be read: {cause}. If it was damaged, remove the samples/, signals/ "
            "and rejects/ folders of the corpus (never journal/: it holds the judge's answers) and run curate score "
            "again."
        )
        return 2
    if isinstance(error, OSError) and error.errno is not None:
        place = f" ({error.filename})" if error.filename else ""
        _tell(f"Error: {error.strerror}{place}. What was finished is kept.")
        return 2
    _tell(
        "".join(traceback.format_exception(error))
        + f"This is a fault in curate {__version__}, not in your data: please report it with the lines above. What was "
        "finished is kept."
    )
    return 2
