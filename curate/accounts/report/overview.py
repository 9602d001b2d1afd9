"""The first sections: headline numbers, the way from raw rows to exported samples, and the rules that dropped."""

from __future__ import annotations

from collections import Counter
from typing import Final

from curate.accounts.report.charts import bar, table
from curate.accounts.report.markup import Html, count, counted, moment, percent, shortened, tag
from curate.accounts.report.material import Material
from curate.accounts.report.rejected import UNKNOWN
from curate.accounts.report.section import Section, number_of, section
from curate.accounts.report.tally import SCORE_PARTS, most_first

_STATES: Final = {
    "there": "there",
    "gone": "not there any more",
    "overwritten": "overwritten by another export",
    "earlier": "made before the selection was changed",
    "unreadable": "its files cannot be read",
}
_MOST_SUBSETS: Final = 60
_MOST_RULES: Final = 80
_MOST_REASONS: Final = 40


def headline(material: Material) -> Html:
    """The numbers that matter, as tiles."""
    tally = material.tally
    tiles = [("samples", count(tally.samples), f"in {counted(len(tally.by_source), 'subset')}")]
    if material.decided:
        tiles.append(("kept", count(tally.kept), percent(tally.kept, tally.samples)))
        tiles.append(("dropped", count(material.dropped), f"by {counted(len(tally.by_rule), 'rule')}"))
        if tally.copies != tally.kept:
            tiles.append(("with repeats", count(tally.copies), "rows, as planned"))
    if any(export.countable for export in material.exports):
        tiles.append(("exported", count(tally.exported), percent(tally.exported, tally.samples)))
    if tally.scored:
        mean = sum(tally.score_sums.values()) / SCORE_PARTS / tally.scored
        tiles.append(("mean score", f"{mean:.2f}", f"of 5, {count(tally.scored)} judged"))
    costs = [step.counts.get("cost_usd") for step in material.steps("judge")]
    if costs:
        known = [cost for cost in costs if isinstance(cost, int | float)]
        tiles.append(("judge cost", f"${sum(known):,.2f}", "all runs" if len(known) == len(costs) else "known part"))
    drawn = [
        tag("div", tag("dt", name), tag("dd", tag("strong", value), tag("span", more)), class_="tile")
        for name, value, more in tiles
    ]
    return tag("dl", drawn, class_="tiles")


def funnel(material: Material) -> Section:
    """From raw rows to exported samples: as a whole, and by subset."""
    tally, rejected = material.tally, material.rejected
    rows = number_of(material.ingest, "rows")
    raw = int(rows) if rows is not None else tally.samples + rejected.total
    duplicates = rejected.by_reason.get("duplicate", 0)
    stages: list[tuple[str, int, str]] = [
        ("Rows read", raw, ""),
        ("Samples", tally.samples, _less({"unreadable": rejected.total - duplicates, "found twice": duplicates})),
        ("Measured", tally.measured, _less({"not measured": tally.samples - tally.measured})),
        ("Judged", tally.scored, _less({"without a score": tally.measured - tally.scored})),
    ]
    if material.decided:
        stages.append(("Kept", tally.kept, _less({"dropped by rules": material.dropped})))
        others = tally.kept - tally.exported
        if any(export.countable for export in material.exports):
            stages.append(("Exported", tally.exported, _less({"kept but in no export": others})))
        else:
            stages.append(("Exported", 0, "this selection, as it is now, was not exported yet"))
    lines = [
        tag(
            "li",
            tag("span", name, class_="stage"),
            bar([("dropped" if name == "Rows read" and not tally.samples else "kept", number)], max(raw, 1)),
            tag("strong", count(number)),
            tag("span", note, class_="note"),
        )
        for name, number, note in stages
    ]
    parts: list[object] = [tag("ol", lines, class_="funnel")]
    if tally.measured > tally.scored and material.decided and tally.scored:
        parts.append("Samples without a score stay in unless the policy requires one.")
    parts += [tag("h3", "By subset"), _subsets(material)]
    if rejected.total:
        parts += [tag("h3", "Rows that did not become samples"), _rejects(material)]
    if material.exports:
        parts += [tag("h3", "Exports of this selection"), _exports(material)]
    return section("funnel", "From raw to exported", *parts)


def _less(losses: dict[str, int]) -> str:
    return ", ".join(f"{count(number)} {name}" for name, number in losses.items() if number > 0)


def _subsets(material: Material) -> Html:
    tally = material.tally
    raw = Counter({source: counts["samples"] for source, counts in tally.by_source.items()})
    raw.update(material.rejected.by_source())
    labels = [export.label for export in material.exports if export.countable][:4]
    head = ["subset", "rows", "samples", "judged", "mean score"]
    head += ["kept", "dropped", ""] if material.decided else []
    head += [f"in {label}" for label in labels]
    lines = []
    for source, _ in most_first(raw):
        counts = tally.by_source.get(source, Counter())
        dropped = counts["samples"] - counts["kept"]
        mean = f"{tally.score_sums[source] / SCORE_PARTS / counts['scored']:.2f}" if counts["scored"] else "–"
        name = tag("em", "not known") if source == UNKNOWN else tag("bdi", shortened(material.names(source), 60))
        line: list[object] = [name, raw[source], counts["samples"], counts["scored"], mean]
        if material.decided:
            lengths = bar([("kept", counts["kept"]), ("dropped", dropped)], counts["samples"])
            line += [counts["kept"], dropped, lengths]
        lines.append([*line, *(counts[f"in {label}"] for label in labels)])
    shown = lines[:_MOST_SUBSETS]
    wide = (1, 3, 4, *range(8, 8 + len(labels))) if material.decided else (1, 4)
    whole = table(head, shown, label="Samples by subset", secondary=wide, class_="subsets")
    rest = len(lines) - len(shown)
    after = tag("p", f"The {count(rest)} smaller subsets are left out of this table.", class_="note") if rest else None
    return Html(whole + (after or ""))


def _rejects(material: Material) -> Html:
    rejected = material.rejected
    lines = []
    for reason, number in most_first(rejected.by_reason)[:_MOST_REASONS]:
        told = [sentence for file, sentence in rejected.first[reason] if rejected.may_be_shown(file, sentence)][:1]
        words = (
            tag("bdi", shortened(material.names.cleaned(told[0]), 200))
            if told
            else tag("em", "not shown: such files may name patients")
        )
        lines.append((tag("code", shortened(reason, 60)), number, words))
    return table(
        ("reason", "rows", "the first of them"), lines, numbers=(1,), label="Rejected rows by reason", class_="stack"
    )


def _exports(material: Material) -> Html:
    lines = []
    for export in material.exports:
        rows = number_of(export.counts, "rows")
        skipped = export.counts.get("skipped")
        left_out = sum(n for n in skipped.values() if isinstance(n, int)) if isinstance(skipped, dict) else 0
        cells = (
            export.written,
            int(rows) if rows is not None else "–",
            left_out,
            _STATES[export.state],
            moment(export.at),
        )
        lines.append((export.label, *cells))
    head = ("export", "samples", "rows", "skipped", "its directory", "made (UTC)")
    return table(head, lines, numbers=(1, 2, 3), label="Exports", secondary=(3, 5))


def rules(material: Material) -> Section:
    """What dropped how much, where, and on what grounds."""
    tally = material.tally
    lines = []
    shown = set(material.shown_rules)
    for rule, number in most_first(tally.by_rule)[:_MOST_RULES]:
        most, most_number = most_first(tally.rule_sources[rule])[0]
        name = tag("a", rule, href=f"#rule-{rule}") if rule in shown else rule
        where = tag("span", tag("bdi", shortened(material.names(most), 40)), f" {count(most_number)}")
        lengths = bar([("dropped", number)], max(tally.by_rule.values()))
        lines.append((name, number, percent(number, tally.samples), lengths, where, _grounds(material, rule)))
    if not lines:
        return section("rules", "What dropped samples", "No rule dropped anything.")
    head = ("rule", "samples", "of all", "", "most of them in", "why")
    intro = "A sample is dropped by the first rule that it violates, so the numbers add up."
    return section(
        "rules",
        "What dropped samples",
        intro,
        table(head, lines, numbers=(1, 2), label="Dropped samples by rule", secondary=(3, 4, 5)),
    )


def _grounds(material: Material, rule: str) -> str:
    """The condition of a rule and what it rests on; of rules without one what was said of a sample."""
    policy = material.selection.policy if material.selection else None
    own = next((known for known in policy.rules if known.name == rule), None) if policy else None
    if own is not None:
        return "; ".join(shortened(material.names.cleaned(part), 160) for part in (own.when, own.basis) if part)
    drawn = [f"{t.column} {t.sign} {t.value:g}" for t in material.thresholds if t.rule == rule]
    if drawn:
        return " or ".join(drawn)
    examples = (material.shown.get(name) for name in material.tally.chosen.get(rule, ()))
    told = (one.reason for one in examples if one and one.reason and not material.hides_reason(one))
    return shortened(material.names.cleaned(next(told, "")), 160)
