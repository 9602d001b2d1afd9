"""Deriving a corpus from a corpus: what a conversion makes of its samples, with every one of them accounted for.

The result is a function of the parent corpus and the options. It is staged and published as an ingest is: an
interrupted run goes on after its last finished shard, and the derived corpus changes as a whole or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson

from curate.corpus import Corpus, shard_fingerprint
from curate.engine import map_in_order
from curate.sources.derive.account import ConvertSummary, Passed, summarise
from curate.sources.derive.balance import States, balance_yes_no
from curate.sources.derive.choosing import choose
from curate.sources.derive.claim import check_output, claim
from curate.sources.derive.context import Context
from curate.sources.derive.conversions import CONVERSIONS
from curate.sources.derive.instructions import Instructions, load_instructions
from curate.sources.derive.lineage import DERIVE_VERSION
from curate.sources.derive.options import LONGEST_REFERENCE, ConvertOptions
from curate.sources.derive.pictures import adopt_pictures, check_pictures
from curate.sources.derive.work import Deriver, Piece
from curate.sources.staging import Staging, close_staging

__all__ = ["ConvertSummary", "convert"]

PATIENCE = 2.0
"""Seconds of processor time after which the work goes on in several processes."""

Progress = Callable[[int, int], None]
"""Called with samples of the parent corpus looked at so far, and in all."""


def convert(
    parent: Corpus, output: Path, options: ConvertOptions, progress: Progress = lambda done, total: None
) -> ConvertSummary:
    """Write the corpus ``output`` with what the conversion ``options.to`` makes of the samples of ``parent``.

    ``output`` must be missing, empty, or the result of the same conversion of the same corpus, which is brought up to
    date. Raises UserError, before anything is written, when it is anything else, when the selection or the instructions
    cannot be used, when the corpus holds no sample of a kind that the conversion takes, or lacks a stored picture.
    """
    options.checked()
    parent.check_complete()
    check_output(parent, output)
    shipped = load_instructions()
    instructions = load_instructions(options.instructions) if options.instructions is not None else shipped
    with parent.lock():
        shards = parent.shards()
        states, passed = choose(parent, shards, CONVERSIONS[options.to].kinds, options)
        input_hash = _input_hash(parent, shards, options, instructions, passed)
        balance = balance_yes_no(shards, states, options) if options.to == "yes-no" else None
        check_pictures(parent, shards, states, output)
        with claim(parent, output, options).lock():
            corpus = claim(parent, output, options)  # again: another process may have written until now
            unchanged = corpus.info.complete and corpus.info.input_hash == input_hash and bool(corpus.shards())
            if not unchanged:
                corpus.info.roots = parent.info.roots
                context = _context(options, instructions, shipped)
                _fill(corpus, input_hash, shards, states, context, progress)
            adopted = adopt_pictures(parent, corpus)
            summary = summarise(corpus, passed, balance)
            if not unchanged:
                _finish(corpus, parent, options, input_hash, instructions, summary)
            close_staging(corpus)
    return replace(summary, unchanged=unchanged and not adopted)


def _context(options: ConvertOptions, instructions: Instructions, shipped: Instructions) -> Context:
    return Context(
        name=options.to,
        seed=options.seed,
        instructions=instructions,
        formats=frozenset((*instructions.all_formats(), *shipped.all_formats())),
        max_words=options.max_words or LONGEST_REFERENCE,
        rephrase=options.rephrase,
    )


def _fill(
    corpus: Corpus,
    input_hash: str,
    shards: Sequence[Path],
    states: Sequence[States],
    context: Context,
    progress: Progress,
) -> None:
    staging = Staging(corpus, input_hash)
    if not staging.finished:
        done, total = staging.rows, sum(map(len, states))
        pieces = _pieces(shards, states, staging.rows)
        with closing(
            map_in_order(partial(Deriver, context), pieces, size=lambda piece: piece.size, patience=PATIENCE)
        ) as results:
            for converted in results:
                staging.add(converted)
                done += converted.rows
                progress(done, total)
        staging.finish()
    staging.publish()


def _pieces(shards: Sequence[Path], states: Sequence[States], settled: int) -> Iterator[Piece]:
    for shard, state in zip(shards, states, strict=True):
        if settled < len(state):
            yield Piece(shard, settled, state, shard.stat().st_size)
        settled = max(0, settled - len(state))


def _finish(
    corpus: Corpus,
    parent: Corpus,
    options: ConvertOptions,
    input_hash: str,
    instructions: Instructions,
    summary: ConvertSummary,
) -> None:
    corpus.info.input_hash, corpus.info.complete = input_hash, True
    # The entry that claimed the directory has no counts; this one is of the same step, with them.
    corpus.info.steps = [step for step in corpus.info.steps if step.name != "convert" or step.counts]
    corpus.record(
        "convert",
        parameters={"corpus": str(parent.path.resolve()), **options.parameters()},
        counts=summary.counts(),
        hashes={"input": input_hash, "instructions": instructions.hash},
    )


def _input_hash(
    parent: Corpus, shards: Sequence[Path], options: ConvertOptions, instructions: Instructions, passed: Passed
) -> str:
    """Hash of all that the derived samples follow from."""
    known = [
        DERIVE_VERSION,
        str(parent.path.resolve()),
        parent.info.input_hash,
        parent.info.roots,
        [shard_fingerprint(shard) for shard in shards],
        options.parameters(),
        instructions.hash,
        passed.selection_hash,
    ]
    return hashlib.sha256(orjson.dumps(known)).hexdigest()
