"""Duplicates and contamination as the decisions and the table of hits have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from curate.accounts.report.selection import Selection
from curate.accounts.report.tally import draw
from curate.corpus import Corpus, UserError

_CLUSTERS: Final = 8
_MEMBERS: Final = 4
_HITS: Final = 8


@dataclass
class Clusters:
    """Samples that were dropped for another that is kept."""

    number: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    """Clusters by how many samples they have, the kept one counted."""
    shown: list[tuple[str, list[str], int]] = field(default_factory=list)
    """The kept sample, some of those that it stands for, and how many those are."""
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the stage says of a member: ``similarity`` or ``distance``, and ``how``."""

    @property
    def ids(self) -> set[str]:
        """Samples that are shown."""
        return {name for kept, members, _ in self.shown for name in (kept, *members)}


def find_clusters(selection: Selection | None, seed: int) -> Clusters:
    """The clusters of duplicates: half of those shown are the largest, the others drawn at random."""
    clusters = Clusters()
    if selection is None or "related" not in pl.read_parquet_schema(selection.path):
        return clusters
    rows = pl.scan_parquet(selection.path).filter(
        pl.col("rule").str.starts_with("duplicate") & pl.col("related").is_not_null()
    )
    sizes = rows.group_by("related").len("others").collect()
    clusters.number = len(sizes)
    clusters.sizes = Counter({others + 1: n for others, n in sizes["others"].value_counts().iter_rows()})
    ordered = sizes.with_columns(key=pl.Series(draw(sizes["related"], seed), dtype=pl.UInt64))
    largest = ordered.sort("others", "related", descending=[True, False]).head(_CLUSTERS // 2)
    drawn = ordered.filter(~pl.col("related").is_in(largest["related"].implode())).sort("key", "related")
    chosen = pl.concat([largest, drawn.head(_CLUSTERS - len(largest))])
    members = rows.filter(pl.col("related").is_in(chosen["related"].implode())).select("id", "related").collect()
    for kept, others in chosen.select("related", "others").iter_rows():
        its = members.filter(pl.col("related") == kept)["id"].sort().head(_MEMBERS).to_list()
        clusters.shown.append((kept, its, others))
    clusters.told = _told(selection.stage("duplicates"))
    return clusters


def _told(stage: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found = {}
    clusters = stage.get("clusters")
    for cluster in clusters if isinstance(clusters, list) else []:
        members = cluster.get("members") if isinstance(cluster, dict) else None
        for member in members if isinstance(members, list) else []:
            if isinstance(member, dict) and isinstance(member.get("id"), str):
                found[member["id"]] = member
    return found


@dataclass
class Hits:
    """Samples that show a benchmark's picture or ask its question."""

    counts: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Benchmark, kind of hit, hits and the samples that they are about."""
    shown: list[dict[str, Any]] = field(default_factory=list)
    """Some of them, with every column of the table."""
    there: bool = False
    """Whether this selection compared its samples with benchmarks."""
    known: int = 0
    """Hits that the corpus knows, with the benchmarks of any policy."""

    @property
    def ids(self) -> set[str]:
        """Samples that are shown."""
        return {hit["id"] for hit in self.shown}


def find_hits(corpus: Corpus, selection: Selection | None, seed: int) -> Hits:
    """The hits with the benchmarks of the selection's policy, some of each kind and benchmark drawn at random.

    The table of the corpus has hits of all samples with all benchmarks that any policy compared them with: of a
    selection that compared nothing only their number is told.
    """
    path = corpus.path / "contamination" / "hits.parquet"
    compared = _compared(selection)
    if not path.exists():
        return Hits(there=compared is not None)
    try:
        schema = pl.read_parquet_schema(path)
        if schema.get("id") != pl.String:
            raise UserError(f"{path} holds no hits: it has no column id; run curate select again")
        rows = pl.scan_parquet(path)
        for name in ("benchmark", "kind"):
            text = pl.col(name).cast(pl.String).fill_null("unknown") if name in schema else pl.lit("unknown")
            rows = rows.with_columns(text.alias(name))
        known = int(rows.select(pl.len()).collect().item())
        if compared is None:
            return Hits(known=known)
        rows = rows.filter(pl.col("benchmark").is_in(pl.Series(sorted(compared), dtype=pl.String).implode()))
        grouped = rows.group_by("benchmark", "kind").agg(pl.len(), pl.col("id").n_unique().alias("samples"))
        counts = grouped.sort("benchmark", "kind").collect()
        keys = rows.select("id", "benchmark", "kind").with_row_index("row").collect()
        keys = keys.with_columns(key=pl.Series(draw(keys["id"], seed), dtype=pl.UInt64)).sort("key", "row")
        # One of each benchmark and kind first, then the second of each.
        turn = keys.with_columns(turn=pl.col("row").cum_count().over("benchmark", "kind")).sort("turn", "key", "row")
        chosen = turn["row"].head(_HITS).to_list()
        shown = rows.with_row_index("row").filter(pl.col("row").is_in(chosen)).drop("row").collect().to_dicts()
    except (OSError, pl.exceptions.PolarsError) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be read ({cause}); run curate select again") from None
    return Hits([(b, k, n, s) for b, k, n, s in counts.iter_rows()], shown, there=True, known=known)


def _compared(selection: Selection | None) -> set[str] | None:
    """The benchmarks that a selection compared its samples with; None when its policy asks for no comparison."""
    if selection is None or not selection.stage("contamination"):
        return None
    policy = selection.account.get("policy")
    gate = policy.get("contamination") if isinstance(policy, dict) else None
    stage = selection.stage("contamination")
    for value in (gate.get("benchmarks") if isinstance(gate, dict) else None, stage.get("benchmarks")):
        named = [part.get("name") for part in value if isinstance(part, dict)] if isinstance(value, list) else []
        if named:
            return {name for name in named if isinstance(name, str)}
    return set()


@dataclass(frozen=True)
class Rollouts:
    """Queries of a rollout run by right answers."""

    run: str
    k: int
    """Answers of most queries."""
    before: Counter[int]
    """Queries by how many of ``k`` answers are right; of queries with another number of answers, in proportion."""
    after: Counter[int]
    """Those of them that are kept."""
    unscored: int
    """Queries without a usable answer, and those that were not sent."""


def find_rollouts(corpus: Corpus, selection: Selection | None) -> list[Rollouts]:
    """Every rollout run of a corpus, counted."""
    found = []
    for folder in sorted((corpus.path / "rollouts").glob("*/")):
        counts: Counter[tuple[int, int, bool]] = Counter()
        unscored = 0
        for number, shard in enumerate(corpus.shards()):
            part = folder / shard.name
            if not part.exists():
                continue
            try:
                rows = pl.read_parquet(part, columns=["id", "rollout_k", "rollout_correct", "rollout_status"])
            except (OSError, pl.exceptions.PolarsError) as error:
                cause = (str(error).splitlines() or [type(error).__name__])[0]
                raise UserError(f"{part} cannot be read ({cause}); run curate rollout again") from None
            kept = selection.rows(number).select("id", "kept") if selection else rows.select("id", kept=pl.lit(True))
            rows = rows.unique("id").join(kept, on="id", how="inner")
            scored = rows.filter(pl.col("rollout_k") > 0)
            unscored += len(rows.filter(pl.col("rollout_status").is_in(["failed", "refused"])))
            for k, correct, held, n in scored.group_by("rollout_k", "rollout_correct", "kept").len().iter_rows():
                counts[(k, correct or 0, held)] += n
        if counts:
            found.append(_rollouts(folder.name, counts, unscored))
    return found


def _rollouts(run: str, counts: Counter[tuple[int, int, bool]], unscored: int) -> Rollouts:
    sizes: Counter[int] = Counter()
    for (k, _, _), number in counts.items():
        sizes[k] += number
    most = max(sizes, key=lambda k: (sizes[k], k))
    before, after = Counter[int](), Counter[int]()
    for (k, correct, held), number in counts.items():
        place = min(most, round(correct * most / k))
        before[place] += number
        if held:
            after[place] += number
    return Rollouts(run, most, before, after, unscored)
