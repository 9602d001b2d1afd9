"""Sections with samples: examples for each rule, clusters of duplicates, hits of benchmarks."""

from __future__ import annotations

from typing import Any, Final

from curate.accounts.report.cards import card, missing_card
from curate.accounts.report.charts import table
from curate.accounts.report.markup import Html, count, counted, figure, shortened, tag
from curate.accounts.report.material import Material
from curate.accounts.report.section import Section, absent, rows_of, section, text_of
from curate.accounts.report.tally import KEPT_EXAMPLES

_OTHER_EVIDENCE: Final = 4
"""Texts of a hit that are shown."""


def dropped_examples(material: Material) -> Section | None:
    """For each rule some of the samples that it dropped, drawn at random."""
    if not material.shown_rules:
        return None
    parts: list[object] = [f"Drawn at random with seed {material.seed}; another --seed draws others."]
    for rule in material.shown_rules:
        number, names = material.tally.by_rule[rule], material.examples(rule)
        heading = tag("h3", tag("code", rule), f" {count(len(names))} of {count(number)}", id=f"rule-{rule}")
        parts += [heading, _cards(material, names)]
    left = len(material.tally.by_rule) - len(material.shown_rules)
    if left > 0:
        parts.append(f"{count(left)} more rule(s) that dropped fewer samples are left out here.")
    return section("dropped", "Dropped, for example", *parts)


def kept_examples(material: Material) -> Section | None:
    """Some of the kept samples, drawn at random; of all samples when nothing was decided."""
    names = material.examples(KEPT_EXAMPLES)
    if not names:
        return None
    title = "Kept, for example" if material.decided else "Samples, for example"
    return section("kept", title, f"Drawn at random with seed {material.seed}.", _cards(material, names))


def _cards(material: Material, names: list[str]) -> Html:
    withheld = [name for name in names if name in material.shown and material.shown[name].withheld]
    cards = [_card(material, name) for name in names if name not in withheld[1:]]
    more = f"{counted(len(withheld) - 1, 'more sample')} of these must not be shown either."
    return tag("div", cards, tag("p", more, class_="note") if len(withheld) > 1 else None, class_="cards")


def _card(material: Material, name: str, note: object = None) -> Html:
    shown = material.shown.get(name)
    if shown is None:
        return missing_card(name)
    return card(shown, material.pictures, material.names, note=note, hide_reason=material.hides_reason(shown))


def duplicates(material: Material) -> Section:
    """Clusters of duplicates side by side: the kept sample first."""
    clusters = material.clusters
    title = "Duplicates"
    ingested = material.rejected.by_reason.get("duplicate", 0)
    same = f" The ingest had already merged {counted(ingested, 'row')} with the very same content as another."
    same = same if ingested else ""
    asked = material.selection is not None and (
        bool(material.selection.stage("duplicates"))
        or ((policy := material.selection.policy) is not None and policy.duplicates is not None)
    )
    if not clusters.number:
        found = "No near-duplicates were found." if asked else "Near-duplicates are not part of this policy."
        return absent("duplicates", title, found + same)
    dropped = sum((size - 1) * number for size, number in clusters.sizes.items())
    intro = (
        f"{counted(dropped, 'sample')} dropped as like one that is kept, in {counted(clusters.number, 'cluster')}."
        f"{same} Shown are the largest clusters, and others drawn at random with seed {material.seed}; the kept sample "
        "comes first."
    )
    sizes = table(
        ("samples of a cluster", "clusters"),
        [(count(size), number) for size, number in sorted(clusters.sizes.items())][:12],
        label="Clusters by size",
        numbers=(0, 1),
        narrow=True,
    )
    parts: list[object] = [intro, sizes]
    for kept, members, others in clusters.shown:
        more = others - len(members)
        after = tag("p", f"and {count(more)} more that are like it", class_="more") if more > 0 else None
        heading = tag("h3", counted(others + 1, "sample"), tag("span", f" kept: {kept[:12]}", class_="unit"))
        note = tag("p", tag("b", "kept"), " as the best of them", class_="reason")
        cards = [_card(material, kept, note), *(_card(material, name, _alike(material, name)) for name in members)]
        parts += [heading, tag("div", cards, class_="cards beside"), after]
    return section("duplicates", title, *parts)


def _alike(material: Material, name: str) -> Html | None:
    """How alike a member is to the kept sample, where the account says so; else the card's reason does."""
    told, shown = material.clusters.told.get(name), material.shown.get(name)
    if told is None or shown is None:
        return None
    words = []
    for field, unit in (("similarity", ""), ("distance", " of 64 bits")):
        value = told.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool):
            words.append(f"{field} {figure(float(value))}{unit}")
    how = told.get("how")
    if isinstance(how, str):
        words.append(shortened(how, 60))
    return tag("p", tag("b", f"{shown.rule}: "), ", ".join(words), class_="reason") if words else None


def contamination(material: Material) -> Section:
    """What of the benchmarks was found in the data, with the evidence."""
    hits, title = material.hits, "Contamination"
    stage = material.selection.stage("contamination") if material.selection else {}
    dropped = {rule: n for rule, n in material.tally.by_rule.items() if rule.startswith("contaminated")}
    if not hits.there and not dropped:
        why = "Not part of this policy: it compares the data with no benchmark."
        if hits.known:
            why += f" The corpus knows {counted(hits.known, 'hit')} that other policies found; none is counted here."
        else:
            why += " Nothing is known about overlap."
        return absent("contamination", title, why)
    cleaned = material.names.cleaned_values(stage)
    told = [_told(name, value) for name, value in cleaned.items() if isinstance(value, int | float | str)]
    note = tag("p", "; ".join(told), class_="note") if told else None
    if not hits.counts:
        found = "Nothing of the benchmarks was found." if not dropped else "The table of hits is not there any more."
        return section("contamination", title, found, _benchmarks(stage), note)
    counts = table(
        ("benchmark", "by", "hits", "samples"),
        [(tag("bdi", shortened(b, 60)), shortened(k, 30), n, s) for b, k, n, s in hits.counts[:40]],
        numbers=(2, 3),
        label="Hits by benchmark",
        narrow=True,
    )
    cards = [_card(material, hit["id"], _hit_note(material, hit)) for hit in hits.shown]
    number = sum(dropped.values())
    intro = f"{counted(number, 'sample')} dropped for a hit." if number else "No sample was dropped for a hit."
    return section("contamination", title, intro, _benchmarks(stage), counts, note, tag("div", cards, class_="cards"))


def _benchmarks(stage: dict[str, Any]) -> Html | None:
    """What the data was compared with."""
    names = [text_of(row, "name", "benchmark") for row in rows_of(stage, "benchmarks")]
    named = shortened(", ".join(filter(None, names)), 300)
    return tag("p", "Compared with ", tag("bdi", named), ".") if named else None


def _told(name: str, value: object) -> str:
    return f"{name.replace('_', ' ')}: {shortened(str(value), 80)}"


def _hit_note(material: Material, hit: dict[str, Any]) -> Html:
    """Which benchmark row a sample shows or asks, and what both say."""
    shown = material.shown.get(hit["id"])
    row = shortened(str(hit.get("benchmark_row") or ""), 80)
    head = tag("b", shortened(str(hit["benchmark"]), 60), f" {row}" if row else "")
    measured = [
        f"{name.replace('_', ' ')} {figure(float(value))}"
        for name in ("distance", "similarity", "share")
        if isinstance(value := hit.get(name), int | float) and not isinstance(value, bool)
    ]
    how = hit.get("how")
    by = f", by its {shortened(str(hit['kind']), 30)}" + (f" ({shortened(how, 30)})" if isinstance(how, str) else "")
    by = by.replace("_", " ") + (": " if measured else "")
    parts: list[object] = [tag("p", head, by, ", ".join(measured), class_="reason")]
    if shown is not None and not shown.withheld:
        texts = {name: value for name, value in hit.items() if name.endswith(("_text", "question")) and value}
        for name, value in list(texts.items())[:_OTHER_EVIDENCE]:
            words = tag("bdi", shortened(str(value), 200))
            parts.append(tag("p", tag("b", f"{name.replace('_', ' ')}: "), words, class_="text", dir="auto"))
    return tag("div", parts)
