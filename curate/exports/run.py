"""Export a selection: decide, plan the split, write shard by shard, put the directory in place."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from curate import __version__
from curate.corpus import Corpus, UserError
from curate.exports.background import ahead
from curate.exports.card import write_card
from curate.exports.contamination import stop_at_test_pictures
from curate.exports.directory import check_target, fresh_directory, replaced_export, write_marker
from curate.exports.job import ExportedFile, Job, RowWriter, Split
from curate.exports.jsonl import RECORD_FORMATS, JsonlWriter
from curate.exports.llamafactory import CptWriter, SftWriter
from curate.exports.options import ExportOptions
from curate.exports.pictures import Pictures
from curate.exports.plan import Plan, make_plan
from curate.exports.verl import VerlWriter
from curate.select import Decisions, Policy, declared_sources, select_samples

Progress = Callable[[int, int], None]
"""Called with the samples written so far and in all."""


@dataclass(frozen=True)
class ExportSummary:
    """What an export did: total = kept + dropped, and kept = written + other kinds + skipped."""

    format: str
    directory: Path
    total: int
    """Samples in the corpus."""
    kept: int
    """Samples that passed the selection."""
    dropped: dict[str, int]
    """Samples the selection dropped, by rule."""
    first_dropped: dict[str, str]
    """For each rule the first sample it dropped, as ``file:row: reason``."""
    judged: bool
    unjudged: dict[str, int]
    """Kept samples that have no score, by judge status; empty for a corpus that was never judged."""
    other_kinds: dict[str, int]
    """Kept samples of kinds that the format does not hold."""
    skipped: dict[str, int]
    """Samples that were to be written and could not, by reason; each has its sentence in skipped.jsonl."""
    skipped_examples: list[str]
    files: list[ExportedFile]
    images: int
    """Distinct pictures copied into the export."""
    defused: int
    """Samples in whose text markers such as ``<image>`` were written as ``< image>``."""
    notes: list[str] = field(default_factory=list)

    @property
    def written(self) -> int:
        """Samples in the files, counted as they were written."""
        return sum(file.sample_count for file in self.files)

    @property
    def status(self) -> int:
        """Exit status: 1 when samples had to be skipped, else 0."""
        return 1 if self.skipped else 0

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON values."""
        return asdict(self) | {"directory": str(self.directory), "written": self.written}


def export(
    corpus: Corpus,
    format_name: str,
    directory: Path,
    options: ExportOptions | None = None,
    *,
    progress: Progress | None = None,
) -> ExportSummary:
    """Render the selected samples of a corpus in a format of :data:`curate.exports.FORMATS`.

    ``directory`` must be missing, empty or an earlier export; it is replaced only when everything is written. A sample
    whose picture is missing or has changed since ingest is skipped and counted. Raises UserError for options that do
    not fit, samples that are not measured, or when there is nothing to export.
    """
    corpus.check_complete()
    resolved = (options or ExportOptions()).resolved(format_name)
    destination = directory.resolve()
    if destination.is_relative_to(corpus.path.resolve()):
        raise UserError(f"{directory} is inside the corpus {corpus.path}; choose an -o directory outside of it")
    check_target(destination)
    replaced = replaced_export(destination, corpus.path, format_name)
    with corpus.lock():
        decisions = _decisions(corpus, format_name, resolved)
        resolved, together = _split(resolved, options, decisions)
        plan = make_plan(corpus, decisions, format_name, resolved, together)
        uncompared = stop_at_test_pictures(corpus, plan)
        with (
            fresh_directory(destination) as partial,
            Pictures(corpus, partial) as pictures,
        ):
            with Job(partial, destination, resolved, pictures) as job:
                _write(corpus, plan, job, _writer(format_name, job), progress)
            if not job.files:
                raise UserError(f"none of the {plan.samples:,} selected sample(s) could be written: {_reasons(job)}")
            if resolved.val_fraction and not any(file.split == "val" for file in job.files):
                job.notes.append("no validation file: all samples are linked by shared pictures, patients or studies")
            if plan.unlinked:
                job.notes.append(
                    "no patient or study is known of these samples; only shared pictures keep rows together"
                )
            job.notes += [note for note in (replaced, uncompared) if note is not None]
            if plan.repeats:
                job.notes.append(f"{plan.repeats:,} row(s) repeat a sample, as the selection's mixture asks")
            summary = _summary(corpus, format_name, destination, decisions, plan, job)
            description = _description(corpus, resolved, summary)
            write_card(partial, corpus, decisions, plan.sides, description)
            write_marker(partial, description)
        if resolved.selection is None:
            decisions.published()
        corpus.record(
            "export",
            parameters={"format": format_name, "directory": str(destination), **asdict(resolved)},
            counts={
                "samples": summary.total,
                "dropped": summary.dropped,
                "kept": summary.kept,
                "written": summary.written,
                "other_kinds": summary.other_kinds,
                "skipped": summary.skipped,
                "rows": sum(file.rows for file in summary.files),
            },
            hashes={file.path: file.samples for file in summary.files},
        )
    return summary


def _decisions(corpus: Corpus, format_name: str, options: ExportOptions) -> Decisions:
    """The selection that the options name, else one by the built-in rules, the judge's scores and a condition."""
    if options.selection is not None:
        return Decisions.open(corpus, options.selection)
    return select_samples(
        corpus,
        min_score=options.min_score,
        where=options.where,
        require_verdict=options.require_verdict,
        ignore=options.ignore_rules,
        declared=declared_sources(corpus, options.declared_deidentified),
        name=format_name,
        draft=True,
    )


def _split(
    resolved: ExportOptions, options: ExportOptions | None, decisions: Decisions
) -> tuple[ExportOptions, list[str]]:
    """What the policy of a selection says about the split; a share that was asked for comes before the policy's."""
    policy = Policy.model_validate(decisions.account["policy"])
    asked = options or ExportOptions()
    if policy.split.val_fraction is not None and asked.val_fraction is None:
        resolved = replace(resolved, val_fraction=policy.split.val_fraction)
    if asked.seed is None:
        resolved = replace(resolved, seed=policy.seed)
    return resolved, policy.split.together


def _writer(format_name: str, job: Job) -> RowWriter:
    if format_name in RECORD_FORMATS:
        return JsonlWriter(job, format_name)
    writers: dict[str, Callable[[Job], RowWriter]] = {
        "llamafactory-sft": SftWriter,
        "llamafactory-cpt": CptWriter,
        "verl": VerlWriter,
    }
    return writers[format_name](job)


def _write(corpus: Corpus, plan: Plan, job: Job, writer: RowWriter, progress: Progress | None) -> None:
    def read(shard: tuple[int, Path]) -> tuple[dict[Split, pa.Table], pa.Table]:
        number, path = shard
        with pq.ParquetFile(path) as file:
            table = file.read(columns=writer.columns, use_threads=False)  # this is a thread beside two others
        return {split: plan.chosen(table, number, split).combine_chunks() for split in get_args(Split)}, table

    done, total = 0, plan.samples
    shards = [(number, path) for number, path in enumerate(corpus.shards()) if plan.sides[number].any()]
    with ThreadPoolExecutor(1) as pool:
        for (number, _), (tables, whole) in zip(shards, ahead(pool, read, shards), strict=True):
            for split, table in tables.items():
                if table.num_rows:
                    writer.add(table, split)
                    done += table.num_rows
                    if progress is not None:
                        progress(done, total)
            with job.repeating():
                for table in plan.repeated(whole, number):
                    writer.add(table.combine_chunks(), "train")
    writer.finish()


def _summary(
    corpus: Corpus, format_name: str, directory: Path, decisions: Decisions, plan: Plan, job: Job
) -> ExportSummary:
    return ExportSummary(
        format=format_name,
        directory=directory,
        total=decisions.total,
        kept=decisions.kept,
        dropped=decisions.dropped,
        first_dropped=decisions.first_dropped(corpus.shards()),
        judged=decisions.judged,
        unjudged=decisions.unjudged,
        other_kinds=dict(sorted(plan.other_kinds.items())),
        skipped=dict(sorted(job.skipped.items())),
        skipped_examples=job.examples,
        files=sorted(job.files, key=lambda file: file.path),
        images=job.pictures.copied,
        defused=job.defused,
        notes=job.notes,
    )


def _description(corpus: Corpus, options: ExportOptions, summary: ExportSummary) -> dict[str, Any]:
    """Content of export.json. Every row of the data files has the id of its sample."""
    counts = summary.as_dict()
    return {
        "format": counts.pop("format"),
        "version": __version__,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "corpus": {"path": str(corpus.path.resolve()), "input_hash": corpus.info.input_hash},
        "options": asdict(options),
        "files": counts.pop("files"),
        "counts": {key: value for key, value in counts.items() if key != "directory"},
    }


def _reasons(job: Job) -> str:
    return ", ".join(f"{reason} ({count:,})" for reason, count in job.skipped.most_common())
