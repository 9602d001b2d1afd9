"""The samples that a report shows in full, and which of them it must not show."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.accounts.report.selection import Selection
from curate.corpus import Corpus, Image, Sample, from_table
from curate.select.facts import read_facts

_VERDICT: Final = ("judge_score", "judge_verdict", "judge_rationale", "judge_defects")


@dataclass(frozen=True)
class Shown:
    """A sample with what is known about it."""

    sample: Sample
    withheld: bool
    """Whether it may identify someone: neither its text, nor its pictures, nor where it came from are shown."""
    verdict: dict[str, Any]
    kept: bool
    rule: str | None
    reason: str | None
    related: str | None
    copies: int

    @property
    def images(self) -> tuple[Image, ...]:
        """Pictures that may be shown."""
        return () if self.withheld else self.sample.images


def load_shown(
    corpus: Corpus, selection: Selection | None, ids: Iterable[str], declared: Collection[str]
) -> dict[str, Shown]:
    """The samples with these ids, by id; ids that the corpus does not hold are left out.

    Samples from DICOM files without a mark of de-identification are withheld, unless their subset is in ``declared``.
    """
    wanted = pl.Series(sorted(set(ids)), dtype=pl.String).implode()
    found: dict[str, Shown] = {}
    for number, shard in enumerate(corpus.shards()):
        names = pl.read_parquet(shard, columns=["id"])
        rows = names.select(pl.col("id").is_in(wanted).arg_true()).to_series().to_list()
        if not rows:
            continue
        with pq.ParquetFile(shard) as file:
            table = pa.concat_tables(
                batch for part in file.iter_batches(batch_size=4096) if (batch := _matching(part, wanted)).num_rows
            )
        verdicts: list[dict[str, Any]] = [{}] * len(rows)
        if corpus.facts_shard("signals", shard).exists():
            verdicts = read_facts(corpus, shard, _VERDICT)[rows].to_dicts()
        decisions: list[dict[str, Any]] = [{}] * len(rows)
        if selection is not None:
            decisions = selection.rows(number)[rows].to_dicts()
        for sample, verdict, decision in zip(from_table(table), verdicts, decisions, strict=True):
            found[sample.id] = Shown(
                sample=sample,
                withheld=sample.privacy == "identified" and sample.source not in declared,
                verdict={key: value for key, value in verdict.items() if value is not None and key != "id"},
                kept=decision.get("kept", True),
                rule=decision.get("rule"),
                reason=decision.get("reason"),
                related=decision.get("related"),
                copies=decision.get("copies", 1),
            )
    return found


def declared_sources(corpus: Corpus, selection: Selection | None) -> frozenset[str]:
    """Subsets whose DICOM files the user has declared to identify nobody: in the policy, to a judge or to an export."""
    declared = {source for step in corpus.info.steps for source in step.parameters.get("declared_deidentified") or ()}
    policy = selection.account.get("policy") if selection else None
    named = policy.get("declare_deidentified") if isinstance(policy, dict) else None
    return frozenset(declared | {source for source in named or () if isinstance(source, str)})


def _matching(part: pa.RecordBatch, wanted: pl.Series) -> pa.Table:
    ids = pl.Series(part.column("id").to_pylist(), dtype=pl.String)
    flags = pl.DataFrame({"id": ids}).select(pl.col("id").is_in(wanted)).to_series()
    return pa.Table.from_batches([part]).filter(flags.to_arrow())
