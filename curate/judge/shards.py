"""Verdict shards: what is known about each sample of a samples shard, and whether it is up to date."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, UserError, shard_fingerprint, write_shard
from curate.judge.report import JudgeOptions, JudgeSummary
from curate.judge.rubric import DIMENSIONS
from curate.judge.verdict import Verdict

Status = Literal["scored", "failed", "refused", "not_asked"]

FORMAT = 1
UNFINISHED = ":unfinished"
"""Ends the fingerprint of a shard with samples that the next run should ask again."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("judge_status", pa.string()),
        ("judge_reason", pa.string()),
        ("judge_score", pa.float64()),
        ("judge_verdict", pa.string()),
        *((f"judge_{name}", pa.int8()) for name in DIMENSIONS),
        ("judge_defects", pa.list_(pa.string())),
        ("judge_rationale", pa.string()),
        ("judge_model", pa.string()),
        ("judge_rubric", pa.string()),
        ("judge_key", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Row:
    """What is known about one sample."""

    status: Status
    reason: str | None = None
    """A word, with more after a colon; None when scored."""
    verdict: Verdict | None = None
    key: str | None = None
    again: bool = False
    """Whether the next run should try again."""


NOT_REACHED = Row("not_asked", "stopped", again=True)
"""For samples that the run ended before."""


class Declared(Protocol):
    """What the user declares about the data."""

    @property
    def declared_deidentified(self) -> frozenset[str]:
        """Sources whose DICOM files hold no identifying data."""


def write_verdicts(
    path: Path, ids: Sequence[str], kinds: Sequence[str], rows: Sequence[Row], options: JudgeOptions, fingerprint: str
) -> None:
    """Write a verdict shard, one row a sample in the order of the samples shard.

    A sample that this run could not settle keeps the score that it had, with the model and rubric that gave it.
    """
    verdicts = [row.verdict for row in rows]
    rubric = {str(kind): rubric.hash for kind, rubric in options.rubrics.items()}
    columns = {
        "id": ids,
        "judge_status": [row.status for row in rows],
        "judge_reason": [row.reason for row in rows],
        "judge_score": [verdict and verdict.score for verdict in verdicts],
        "judge_verdict": [verdict and verdict.decided for verdict in verdicts],
        **{f"judge_{name}": [verdict and getattr(verdict, name) for verdict in verdicts] for name in DIMENSIONS},
        "judge_defects": [verdict.defects if verdict else [] for verdict in verdicts],
        "judge_rationale": [verdict and verdict.rationale for verdict in verdicts],
        "judge_model": [options.endpoint.model] * len(rows),
        "judge_rubric": [rubric[kind] for kind in kinds],
        "judge_key": [row.key for row in rows],
    }
    table = pa.table(columns, schema=SCHEMA)
    unsettled = {identity for identity, row in zip(ids, rows, strict=True) if row.again}
    if unsettled:
        table = _with_earlier_scores(table, path, unsettled)
    write_shard(path, table, fingerprint + (UNFINISHED if unsettled else ""))


def _with_earlier_scores(table: pa.Table, path: Path, unsettled: set[str]) -> pa.Table:
    try:
        earlier = pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowException):
        return table
    earlier = earlier.filter(pc.equal(earlier["judge_status"], "scored"))
    scored = {row["id"]: row for row in earlier.to_pylist() if row["id"] in unsettled}
    if not scored:
        return table
    return pa.Table.from_pylist([scored.get(row["id"], row) for row in table.to_pylist()], schema=SCHEMA)


def count_verdicts(path: Path, summary: JudgeSummary) -> None:
    """Enter a verdict shard that is up to date into the account, without reading its texts."""
    table = pq.read_table(path, columns=["judge_status", "judge_reason", "judge_verdict", "judge_score"])
    words = pc.list_element(pc.split_pattern(pc.coalesce(table["judge_reason"], ""), ":", max_splits=1), 0)
    groups = table.set_column(1, "judge_reason", words).group_by(["judge_status", "judge_reason", "judge_verdict"])
    for group in groups.aggregate([("judge_score", "sum"), ([], "count_all")]).to_pylist():
        status, reason, samples = group["judge_status"], group["judge_reason"], group["count_all"]
        summary.count(status, reason or None, group["judge_verdict"], group["judge_score_sum"], samples)
        if status == "scored":
            summary.reused += samples


def fingerprint_of(shard: Path, options: JudgeOptions, chosen: frozenset[str] | None) -> str:
    """What a verdict shard has to be made from to be up to date.

    ``chosen`` holds the ids that are to be judged; None for all.
    """
    samples = shard_fingerprint(shard)
    if samples is None:
        raise UserError(f"{shard} cannot be read as samples of this corpus: ingest again")
    rubrics = sorted((kind, rubric.hash) for kind, rubric in options.rubrics.items())
    picked = None if chosen is None else sorted(chosen)
    setup = [FORMAT, samples, rubrics, options.settings, sorted(options.declared_deidentified), picked]
    return hashlib.sha256(orjson.dumps(setup)).hexdigest()


def choose(corpus: Corpus, options: JudgeOptions) -> dict[str, frozenset[str]] | None:
    """The ids to judge, by shard name: ``options.sample`` of each source; None when all are to be judged.

    An id is a hash of the content, so the smallest ids are a random choice that stays the same from run to run.
    """
    if options.sample is None:
        return None
    smallest: dict[str, list[tuple[str, str]]] = defaultdict(list)
    names = []
    for shard in corpus.shards():
        names.append(shard.name)
        table = pq.read_table(shard, columns=["id", "source", "privacy"])
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name, source, privacy in zip(*(table[column].to_pylist() for column in table.column_names), strict=True):
            if may_be_sent(privacy, source, options):
                found[source].append((name, shard.name))
        for source, pairs in found.items():
            smallest[source] = sorted(smallest[source] + pairs)[: options.sample]
    chosen: dict[str, set[str]] = {name: set() for name in names}
    for pairs in smallest.values():
        for identity, name in pairs:
            chosen[name].add(identity)
    return {name: frozenset(ids) for name, ids in chosen.items()}


def may_be_sent(privacy: str, source: str, options: Declared) -> bool:
    """Whether a sample may leave the machine: DICOM without a mark of de-identification stays, unless declared safe."""
    return privacy != "identified" or source in options.declared_deidentified
