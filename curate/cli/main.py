"""The ``curate`` command: a group whose verbs are imported only when they are called."""

from __future__ import annotations

import importlib
import os
import signal
import sys

import click

from curate import __version__

_VERBS = {
    "ingest": "Read raw images, records and DICOM into a corpus.",
    "score": "Ingest, measure and (with --judge) judge every sample.",
    "export": "Render the selected samples for a trainer.",
    "validate": "Check records or an export; a gate for CI.",
    "reward": "Score saved responses by the reward that training uses.",
    "schema": "Print the JSON Schema of a record format.",
}


class _LazyGroup(click.Group):
    """Loads ``curate.cli.<verb>`` on demand: ``curate --help`` must not pay for polars or openai."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(f"curate.cli.{cmd_name}").command
        return command

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
    try:
        status = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. What was finished is kept; the same command goes on from there.", err=True)
        status = 3
    except BrokenPipeError:
        # The reader of our output left (``curate ... | head``); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001 - what is not explained is raised again
        status = _explain(error)
    sys.exit(status or 0)


def _explain(error: Exception) -> int:
    from curate.corpus.files import UserError

    if isinstance(error, UserError):
        click.echo(f"Error: {error}", err=True)
        return error.status
    if type(error).__module__.split(".")[0] in ("pyarrow", "polars", "orjson"):
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        click.echo(
            f"Error: a file of the corpus cannot be read: {cause}. If it was damaged, remove the samples/, signals/ "
            "and rejects/ folders of the corpus (never journal/: it holds the judge's answers) and run curate score "
            "again.",
            err=True,
        )
        return 2
    if isinstance(error, OSError) and error.errno is not None:
        place = f" ({error.filename})" if error.filename else ""
        click.echo(f"Error: {error.strerror}{place}. What was finished is kept.", err=True)
        return 2
    raise error
