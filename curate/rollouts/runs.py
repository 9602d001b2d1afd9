"""Runs by name: one run holds the answers of one model that was asked in one way."""

from __future__ import annotations

import orjson

from curate.corpus import Corpus, UserError, atomic_file
from curate.rollouts.options import RolloutOptions
from curate.rollouts.tables import MARKER, RunInfo, pictured, read_run, run_folder


def info_of(options: RolloutOptions) -> RunInfo:
    """How a run with these options is made."""
    return RunInfo(
        model=options.endpoint.model,
        k=options.k,
        text_only=options.text_only,
        shuffle_options=options.shuffle_options,
        system_prompt=options.system_prompt,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
    )


def check_same_run(corpus: Corpus, options: RolloutOptions) -> None:
    """Raise UserError when the run's name belongs to a run of another model, of another kind, or asked otherwise.

    A run that ends early keeps the tables it has: with answers to two prompts in it, it would be a mixture that nobody
    could tell from either.
    """
    folder = run_folder(corpus, options.run)
    if not (folder / MARKER).exists():
        return
    before, now = read_run(corpus, options.run), info_of(options)
    if before.model != now.model:
        difference = f"answers of {before.model}, not of {now.model}"
    elif (before.text_only, before.shuffle_options) != (now.text_only, now.shuffle_options):
        difference = f"a run {_kind(before)}, and this one is {_kind(now)}"
    elif before.system_prompt != now.system_prompt:
        difference = "answers to another system prompt (--system-prompt)"
    elif before.temperature != now.temperature:
        difference = f"answers at --temperature {before.temperature:g}, not {now.temperature:g}"
    elif before.max_tokens != now.max_tokens:
        difference = f"answers of at most {before.max_tokens:,} tokens, not {now.max_tokens:,} (--max-tokens)"
    else:
        return
    raise UserError(
        f"{folder} holds {difference}: give this run a name of its own with --name, or remove that folder (its answers "
        f"stay in the journal)"
    )


def write_run_info(corpus: Corpus, options: RolloutOptions) -> None:
    """Say how the run is made, before its first shard."""
    folder = run_folder(corpus, options.run)
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    content = orjson.dumps(info_of(options).model_dump(), option=orjson.OPT_INDENT_2) + b"\n"
    path = folder / MARKER
    try:
        if path.exists() and path.read_bytes() == content:
            return
        with atomic_file(path) as file:
            file.write(content)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _kind(info: RunInfo) -> str:
    return pictured(info.text_only) + (", options shuffled" if info.shuffle_options else "")
