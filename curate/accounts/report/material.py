"""Everything that the sections of a report are written from, gathered once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Final

from curate.accounts.report.cards import PICTURES, Pictures
from curate.accounts.report.evidence import Clusters, Hits, Rollouts, find_clusters, find_hits, find_rollouts
from curate.accounts.report.exported import Exported, exports_of
from curate.accounts.report.measures import Measure, known_columns, shown_measures
from curate.accounts.report.rejected import Rejected, read_rejects
from curate.accounts.report.selection import Selection, open_selection, selection_names
from curate.accounts.report.shown import Shown, declared_sources, load_shown
from curate.accounts.report.subsets import SubsetNames
from curate.accounts.report.tally import KEPT_EXAMPLES, Counted, Progress, Tally
from curate.accounts.report.thresholds import Threshold, selection_thresholds
from curate.accounts.report.thumbnails import Thumbnails
from curate.corpus import Corpus, Image, Step

_MOST_RULES: Final = 40
"""Rules that examples are shown of; those that drop most come first."""


@dataclass(frozen=True)
class Material:
    """What a report tells of."""

    corpus: Corpus
    selection: Selection | None
    other_selections: list[str]
    measures: list[Measure]
    thresholds: list[Threshold]
    tally: Tally
    exports: list[Exported]
    rejected: Rejected
    clusters: Clusters
    hits: Hits
    rollouts: list[Rollouts]
    shown: dict[str, Shown]
    names: SubsetNames
    pictures: Pictures
    pictures_left_out: int
    seed: int
    most_examples: int = 24
    """Samples that are shown of each rule, and of the kept ones."""

    @property
    def decided(self) -> bool:
        """Whether samples are kept and dropped at all."""
        return self.selection is not None

    @property
    def dropped(self) -> int:
        """Samples that are not kept."""
        return self.tally.samples - self.tally.kept

    @property
    def withheld(self) -> int:
        """Samples among those chosen for the page whose content is not shown."""
        return sum(shown.withheld for shown in self.shown.values())

    def hides_reason(self, shown: Shown) -> bool:
        """Whether the reason given for a sample may name one that must not be named."""
        related = self.shown.get(shown.related) if shown.related else None
        return shown.withheld or (related is not None and related.withheld)

    def steps(self, name: str) -> list[Step]:
        """The steps of the lineage of one name, in order."""
        return [step for step in self.corpus.info.steps if step.name == name]

    @property
    def ingest(self) -> dict[str, Any]:
        """Counts of the last ingest."""
        steps = self.steps("ingest")
        return steps[-1].counts if steps else {}

    @property
    def shown_rules(self) -> list[str]:
        """Rules that examples are shown of."""
        return [rule for rule in self.tally.by_rule if self.examples(rule)][:_MOST_RULES]

    def examples(self, rule: str) -> list[str]:
        """Ids of the samples that are shown of a rule, or of :data:`KEPT_EXAMPLES`."""
        return self.tally.chosen.get(rule, [])[: self.most_examples]

    def with_fewer_pictures(self) -> Material | None:
        """The same with half the pictures, those that matter most; None when there are none."""
        made = [sha256 for sha256, thumbnail in self.pictures.items() if thumbnail.uri]
        if not made:
            return None
        gone = set(made[len(made) // 2 :])
        pictures = {
            sha256: thumbnail.left_out() if sha256 in gone else thumbnail for sha256, thumbnail in self.pictures.items()
        }
        return replace(self, pictures=pictures, pictures_left_out=self.pictures_left_out + len(gone))

    def with_fewer_examples(self) -> Material | None:
        """The same with half the samples of each rule; None when none is shown."""
        most = max((len(self.examples(rule)) for rule in self.tally.chosen), default=0)
        return replace(self, most_examples=most // 2) if most else None


def gather(corpus: Corpus, name: str | None, *, examples: int, seed: int, progress: Progress | None = None) -> Material:
    """Read what a report on the selection ``name`` of a corpus needs."""
    selection = open_selection(corpus, name)
    columns = known_columns(corpus)
    measures = shown_measures(corpus, columns)
    thresholds = selection_thresholds(selection, columns) if columns else []
    exports = exports_of(corpus, selection)
    rejected = read_rejects(corpus)
    countable = [export for export in exports if export.countable]
    counted = Counted(corpus, selection, measures, countable, rejected, examples, seed)
    tally = counted.run(thresholds, progress)
    clusters, hits = find_clusters(selection, seed), find_hits(corpus, selection, seed)
    rules = [rule for rule in tally.by_rule if tally.chosen.get(rule)][:_MOST_RULES]
    groups = [tally.chosen.get(KEPT_EXAMPLES, []), *(tally.chosen[rule] for rule in rules)]
    wanted = {name for group in groups for name in group} | clusters.ids | hits.ids
    declared = declared_sources(corpus, selection)
    shown = load_shown(corpus, selection, wanted, declared)
    # Reasons of duplicates name the sample that is kept: whether that may be named has to be known too.
    named = {one.related for one in shown.values() if one.related and one.related not in shown}
    shown |= load_shown(corpus, selection, named, declared) if named else {}
    in_clusters = [[kept, *members] for kept, members, _ in clusters.shown]
    thumbnails = Thumbnails(corpus)
    thumbnails.make(_pictures([*in_clusters, *([hit] for hit in sorted(hits.ids)), *groups], shown))
    return Material(
        corpus=corpus,
        selection=selection,
        other_selections=[other for other in selection_names(corpus) if selection and other != selection.name],
        measures=measures,
        thresholds=thresholds,
        tally=tally,
        exports=exports,
        rejected=rejected,
        clusters=clusters,
        hits=hits,
        rollouts=find_rollouts(corpus, selection),
        shown=shown,
        names=SubsetNames.of(tally.by_source, declared),
        pictures=thumbnails.made,
        pictures_left_out=thumbnails.left_out,
        seed=seed,
    )


def _pictures(groups: Sequence[Sequence[str]], shown: dict[str, Shown]) -> Iterator[Image]:
    """Pictures of the samples in groups: of the first of each group first, so that no group is left without."""
    for round_ in zip_longest(*groups):
        for name in round_:
            if name is not None and name in shown:
                yield from shown[name].images[:PICTURES]
