"""Apply a policy to a corpus, stage by stage, and write one decision a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow.parquet as pq

from curate import __version__
from curate.corpus import Corpus, UserError, atomic_file
from curate.select.decisions import SCHEMA, Decisions, account_path, decisions_path, draft_path, samples_hash
from curate.select.facts import check_columns, fact_columns
from curate.select.first_pass import FirstPass
from curate.select.policy import EXPORT_SELECTIONS, Policy
from curate.select.policy_rules import policy_rules
from curate.select.policy_sections import JudgeGate
from curate.select.pool import Pool, Stage
from curate.select.rules import Rule, condition
from curate.select.subsets import decide_subsets, subsets_stage

Progress = Callable[[str], None]
"""Called with the name of each stage as it begins."""

PictureHash = Callable[[bytes], int | None]
"""The perceptual hash of a picture file, as the signals measure it; None when it cannot be decoded."""

_STORED: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["rule", "reason", "copies"],
    "write_statistics": False,
}
"""How decisions are written: no two ids are the same, and nobody looks for ranges of them."""


def select_samples(
    corpus: Corpus,
    *,
    min_score: float = 3.0,
    where: str | None = None,
    require_verdict: bool = False,
    ignore: Sequence[str] = (),
    declared: Collection[str] = (),
    name: str = "default",
    draft: bool = False,
) -> Decisions:
    """The selection of an export without a policy: built-in rules, the judge's scores, and a condition.

    A ``draft`` takes the place of an earlier selection of this name only when it is published: an export that comes to
    nothing leaves that as it was.

    A sample that was never judged, or could not be, is kept and counted in ``Decisions.unjudged``, unless
    ``require_verdict``; rules named in ``ignore`` do not apply, and DICOM files of the sources in ``declared`` count as
    de-identified. ``where`` is a condition in SQL over the fact columns, and only samples it holds for (not null) are
    kept. Raises UserError when ``min_score`` is out of range, ``where`` or ``ignore`` cannot be used, ``where`` fails
    on some sample, or the samples are not measured.
    """
    if not 0 <= min_score <= 5:
        raise UserError(f"the minimum score is {min_score}; scores go from 0 to 5")
    policy = Policy(
        name=name,
        ignore_rules=list(ignore),
        declare_deidentified=sorted(declared),
        judge=JudgeGate(require=require_verdict, min_score=float(min_score)),
    )
    return _Selection(corpus, policy, name, where=where, draft=draft).run()


def select_by_policy(
    corpus: Corpus,
    policy: Policy,
    *,
    name: str | None = None,
    picture_hash: PictureHash,
    progress: Progress | None = None,
) -> Decisions:
    """Decide by a policy about every sample, and write ``decisions/<name>.parquet`` with its account beside it.

    The caller holds ``corpus.lock()``. ``name`` is the policy's own unless given. Raises UserError, with nothing
    written, for columns that do not exist, a mixture that cannot be, a benchmark that is not what it says, and when
    nothing would be kept.
    """
    name = name or policy.name
    if name in EXPORT_SELECTIONS:
        raise UserError(
            f"{name!r} is what curate export calls a selection that it makes by itself; give the policy another name, "
            "or use --name"
        )
    declared = declared_sources(corpus, policy.declare_deidentified)
    policy = policy.model_copy(update={"declare_deidentified": declared})
    selection = _Selection(corpus, policy, name, picture_hash=picture_hash, progress=progress)
    decisions = selection.run(may_be_empty=False)
    corpus.record(
        "select",
        parameters={
            "selection": decisions.path.stem,
            "policy": policy.name,
            "policy_sha256": policy.sha256,
            "declared_deidentified": declared,
        },
        counts=decisions.account["counts"],
    )
    return decisions


def declared_sources(corpus: Corpus, more: Collection[str] = ()) -> list[str]:
    """Sources declared de-identified to the judge or a selection before, and ``more``: an export leaves the machine no
    more than a request to a judge does."""
    declared = set(more)
    for step in corpus.info.steps:
        declared.update(step.parameters.get("declared_deidentified", ()))
    return sorted(declared)


@dataclass
class _Selection:
    """One run of a policy."""

    corpus: Corpus
    policy: Policy
    name: str
    where: str | None = None
    picture_hash: PictureHash | None = None
    progress: Progress | None = None
    draft: bool = False
    _stages: dict[str, Any] = field(default_factory=dict)
    """What each stage tells, by its name."""
    _funnel: list[dict[str, Any]] = field(default_factory=list)
    _keep: list[Callable[[], None]] = field(default_factory=list)
    """What stages write beside the decisions."""
    _dropped: list[pl.DataFrame] = field(default_factory=list)
    """Columns of :data:`DROPPED`, stage by stage."""

    def run(self, *, may_be_empty: bool = True) -> Decisions:
        columns = fact_columns(self.corpus)
        rules = policy_rules(self.policy, columns, self.where)
        gate = self.policy.subsets
        passes = None if gate is None else condition(gate.passes, columns, "subsets.passes")
        _check_together(self.policy, columns)
        pool = Pool.of(self.corpus)
        first = FirstPass(self.corpus, rules, passes, self.where)
        self._begin("rules")
        self._apply("rules", pool, first.stage(pool))
        if gate is not None:
            self._apply("subsets", pool, subsets_stage(pool, decide_subsets(first.tally, gate)))
        copies = self._later_stages(pool)
        if not pool.count and not may_be_empty:
            raise UserError(f"the policy {self.policy.name} keeps nothing: {self._where_it_went(pool)}")
        return self._write(pool, copies, first, rules.all)

    def _later_stages(self, pool: Pool) -> npt.NDArray[np.int32]:
        """Stages that look at samples together; how often each sample is exported."""
        policy = self.policy
        if policy.contamination is not None:
            from curate.select.contamination import contamination_stage

            assert self.picture_hash is not None
            self._begin("contamination")
            self._apply("contamination", pool, contamination_stage(pool, policy.contamination, self.picture_hash))
        if policy.difficulty is not None:
            from curate.select.difficulty import difficulty_stage

            self._begin("difficulty")
            self._apply("difficulty", pool, difficulty_stage(pool, policy.difficulty, policy.seed))
        if policy.duplicates is not None:
            from curate.select.duplicates.stage import duplicates_stage

            self._begin("duplicates")
            self._apply("duplicates", pool, duplicates_stage(pool, policy.duplicates))
        if policy.mixture is None or not pool.count:
            once: npt.NDArray[np.int32] = pool.alive.astype(np.int32)
            return once
        from curate.select.mixture import mixture_stage

        self._begin("mixture")
        stage, copies = mixture_stage(pool, policy.mixture, policy.seed)
        self._apply("mixture", pool, stage)
        return copies

    def _begin(self, stage: str) -> None:
        if self.progress is not None:
            self.progress(stage)

    def _apply(self, name: str, pool: Pool, stage: Stage) -> None:
        before = pool.count
        pool.drop(stage)
        self._dropped.append(stage.dropped)
        if stage.keep is not None:
            self._keep.append(stage.keep)
        self._stages[name] = stage.account
        self._funnel.append({"stage": name, "samples": before, "dropped": before - pool.count, "kept": pool.count})

    def _where_it_went(self, pool: Pool) -> str:
        counts = pl.concat(self._dropped)["rule"].value_counts(sort=True)
        rules = ", ".join(f"{rule} {count:,}" for rule, count in counts.iter_rows())
        return f"of {len(pool.alive):,} sample(s) all were dropped ({rules})"

    def _write(self, pool: Pool, copies: npt.NDArray[np.int32], first: FirstPass, rules: Sequence[Rule]) -> Decisions:
        for keep in self._keep:
            keep()
        path = (draft_path if self.draft else decisions_path)(self.corpus, self.name)
        dropped = pl.concat(self._dropped).sort("row")
        rows = dropped["row"].to_numpy()
        by_source: dict[str, dict[str, Any]] = {}
        # One row group a shard, whatever its length: Decisions.kept_rows counts on it.
        with atomic_file(path) as file, pq.ParquetWriter(file, SCHEMA, **_STORED) as writer:
            for number, shard in enumerate(pool.shards):
                start, end = pool.starts[number : number + 2]
                here = dropped[int(np.searchsorted(rows, start)) : int(np.searchsorted(rows, end))]
                frame = pl.from_arrow(pq.read_table(shard, columns=["id", "source"]))
                assert isinstance(frame, pl.DataFrame)
                frame = (
                    frame.with_columns(
                        row=pl.int_range(start, end),
                        kept=pl.Series(pool.alive[start:end]),
                        copies=pl.Series(copies[start:end]),
                    )
                    .join(here, on="row", how="left", maintain_order="left")
                    .drop("row")
                )
                writer.write_table(
                    frame.select(SCHEMA.names).to_arrow().cast(SCHEMA), row_group_size=max(1, end - start)
                )
                _count_sources(frame, by_source)
            account = self._account(pool, copies, first, rules, dict(sorted(by_source.items())))
        with atomic_file(account_path(path)) as file:
            file.write(orjson.dumps(account, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
        counts = account["counts"]
        return Decisions(
            path=path,
            total=counts["samples"],
            kept=counts["kept"],
            dropped=counts["dropped"],
            judged=counts["judged"],
            unjudged=counts["unjudged"],
            rows=counts["rows"],
            account=account,
        )

    def _account(
        self,
        pool: Pool,
        copies: npt.NDArray[np.int32],
        first: FirstPass,
        rules: Sequence[Rule],
        by_source: Mapping[str, dict[str, Any]],
    ) -> dict[str, Any]:
        found: Counter[str] = Counter()
        for source in by_source.values():
            found.update(source["dropped"])
        order = dict.fromkeys([*(rule.name for rule in rules), *found])
        return {
            "name": self.name,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": __version__,
            "policy": self.policy.model_dump(),
            "policy_sha256": self.policy.sha256,
            "where": self.where,
            "corpus": {"samples": samples_hash(self.corpus), "input_hash": self.corpus.info.input_hash},
            "counts": {
                "samples": len(pool.alive),
                "kept": pool.count,
                "dropped": {rule: found[rule] for rule in order if found[rule]},
                "judged": first.judged,
                "unjudged": first.unjudged(pool.alive),
                "rows": int(copies[pool.alive].sum()),
            },
            "by_source": by_source,
            "notes": first.notes(self.policy),
            "funnel": self._funnel,
            "stages": self._stages,
        }


def _check_together(policy: Policy, columns: Mapping[str, pl.DataType]) -> None:
    try:
        check_columns(policy.split.together, columns)
    except UserError as error:
        raise UserError(f"split.together: {error}") from None


def _count_sources(frame: pl.DataFrame, by_source: dict[str, dict[str, Any]]) -> None:
    """Enter a shard's decisions, with their sources, into the counts by source."""
    copies = pl.col("copies").filter("kept").sum()
    for source, samples, kept, rows in (
        frame.group_by("source").agg(samples=pl.len(), kept=pl.col("kept").sum(), rows=copies).iter_rows()
    ):
        entry = by_source.setdefault(source, {"samples": 0, "kept": 0, "rows": 0, "dropped": {}})
        entry["samples"] += samples
        entry["kept"] += kept
        entry["rows"] += rows
    for source, rule, count in (
        frame.filter(~pl.col("kept")).group_by("source", "rule").len().sort("source", "rule").iter_rows()
    ):
        dropped = by_source[source]["dropped"]
        dropped[rule] = dropped.get(rule, 0) + count
