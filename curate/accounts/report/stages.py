"""Sections on what the stages of a policy decided: subset gates, mixture, difficulty."""

from __future__ import annotations

from typing import Any, Final

from curate.accounts.report.charts import bar, interval, table
from curate.accounts.report.markup import Html, count, percent, shortened, tag
from curate.accounts.report.material import Material
from curate.accounts.report.section import Section, absent, number_of, rows_of, section, text_of

_MOST: Final = 60


def subset_gates(material: Material) -> Section:
    """For every subset the interval that its share of passing samples lies in, and what it would take."""
    title, selection = "Subset gates", material.selection
    rows = rows_of(selection.stage("subsets"), "subsets") if selection else []
    policy = selection.policy if selection else None
    gate = policy.subsets if policy else None
    if not rows:
        why = "No subset was looked at." if gate else "Not part of this policy: no subset is removed whole."
        return absent("subsets", title, why)
    lines = []
    for row in sorted(rows, key=lambda row: (text_of(row, "decision") != "drop", text_of(row, "source")))[:_MOST]:
        judged, passed = number_of(row, "judged") or 0, number_of(row, "passed") or 0
        low, high = number_of(row, "low") or 0.0, number_of(row, "high")
        needed = number_of(row, "needed")
        needed = gate.min_pass_share if needed is None and gate is not None else needed
        dropped = text_of(row, "decision") == "drop"
        share = passed / judged if judged else 0.0
        drawing = interval(low, 1.0 if high is None else high, share, needed, dropped=dropped)
        decision = text_of(row, "decision") + ("" if row.get("decided", True) is not False else ", undecided")
        lines.append(
            (
                tag("bdi", shortened(material.names(text_of(row, "source")), 60)),
                tag("span", decision, class_="dropped-text" if dropped else None),
                drawing,
                f"{count(passed)} of {count(judged)}",
                shortened(material.names.cleaned(text_of(row, "sentence", "reason")), 260),
            )
        )
    intro = "A subset is removed whole only when the upper end of its interval lies below the share that is asked for."
    if gate is not None:
        asked, sure = (f"{share * 100:g}\u00a0%" for share in (gate.min_pass_share, gate.confidence))
        passes = shortened(material.names.cleaned(gate.passes), 120)
        intro = (
            f"Judged samples pass by: {passes}. The policy asks for {asked} of a subset at {sure} "
            f"confidence (Wilson score interval). {intro}"
        )
    head = ("subset", "decision", "share that passes, 0 to 1", "passed", "evidence, and what it would take")
    left = len(rows) - len(lines)
    after = tag("p", f"{count(left)} more subsets are left out of this table.", class_="note") if left else None
    return section("subsets", title, intro, table(head, lines, numbers=(3,), label=title, class_="gates stack"), after)


def mixture(material: Material) -> Section:
    """What the mixture planned, and what it came to."""
    title, selection = "Mixture", material.selection
    stage = selection.stage("mixture") if selection else {}
    rows = rows_of(stage, "parts")
    policy = selection.policy if selection else None
    if not rows:
        return absent("mixture", title, "Not part of this policy: every kept sample goes in once.")
    unit = text_of(stage, "unit") or (policy.mixture.unit if policy and policy.mixture else "samples")
    longest = max([_share(row, "asked") or 0 for row in rows] + [_share(row, "realised") or 0 for row in rows] + [1e-9])
    lines = []
    for row in rows[:_MOST]:
        asked, realised = _share(row, "asked"), _share(row, "realised")
        lengths = tag("div", bar([("neutral", asked or 0)], longest), bar([("kept", realised or 0)], longest))
        lines.append(
            (
                tag("bdi", shortened(material.names.cleaned(text_of(row, "name", "part", "group")), 60)),
                percent(asked, 1) if asked is not None else "–",
                percent(realised, 1) if realised is not None else "–",
                lengths,
                _whole(row, "samples", "samples_available"),
                _whole(row, "taken", "samples_taken"),
                _whole(row, "tokens_available"),
                _whole(row, "tokens_taken"),
            )
        )
    head = ("part", "asked", "realised", "", "samples", "taken", "tokens", "tokens taken")
    told = [f"Shares are of {unit}."]
    if model := text_of(stage, "model"):
        told.append(f"Picture tokens are counted as {shortened(model, 60)} does.")
    planned, realised_whole = number_of(stage, "planned"), number_of(stage, "realised")
    if planned is not None and realised_whole is not None:
        told.append(f"Planned were {count(planned)} {unit}, realised {count(realised_whole)}.")
    if limited := text_of(stage, "limited_by"):
        told.append(f"The part that limits the whole is {shortened(material.names.cleaned(limited), 60)}.")
    if more := number_of(stage, "parts_not_listed"):
        told.append(f"{count(more)} smaller parts are left out.")
    notes = stage.get("notes")
    told += (
        [_sentence(material.names.cleaned(note)) for note in notes if isinstance(note, str)][:5]
        if isinstance(notes, list)
        else []
    )
    shares = table(head, lines, label="Parts of the mixture", secondary=(4, 5, 6, 7))
    asked_key = tag("span", tag("i", class_="neutral"), "asked")
    key = tag("p", asked_key, tag("span", tag("i", class_="kept"), "realised"), class_="key")
    return section("mixture", title, " ".join(told), key, shares, _copies(material))


def _sentence(note: str) -> str:
    note = shortened(note, 200)
    return f"{note[:1].upper()}{note[1:].rstrip('.')}."


def _share(row: dict[str, Any], which: str) -> float | None:
    return number_of(row, f"share_{which}", f"{which}_share", which)


def _whole(row: dict[str, Any], *names: str) -> str:
    value = number_of(row, *names)
    return "–" if value is None else count(value)


def _copies(material: Material) -> Html | None:
    repeated = material.tally.repeated
    if set(repeated) <= {0, 1}:
        return None
    rows = [(f"{count(copies)}\u00a0×", number) for copies, number in sorted(repeated.items())][:20]
    return table(("exported", "kept samples"), rows, label="Kept samples by repeats", narrow=True)


def difficulty(material: Material) -> Section:
    """Queries by right answers, before the selection and after it."""
    title = "Difficulty"
    if not material.rollouts:
        why = "No rollouts: curate rollout CORPUS samples answers of a model to every query."
        return absent("difficulty", title, why)
    policy = material.selection.policy if material.selection else None
    parts: list[object] = []
    if policy is not None and policy.difficulty is not None:
        bands = [
            f"{band.correct[0]} to {band.correct[1]} ({band.keep * 100:g}\u00a0%)" for band in policy.difficulty.bands
        ]
        parts.append(f"The policy keeps queries with so many right answers: {', '.join(bands)}.")
    else:
        parts.append("The policy does not choose by difficulty.")
    for run in material.rollouts:
        longest = max(run.before.values())
        rows = []
        for correct in range(run.k + 1):
            before, after = run.before[correct], run.after[correct]
            lengths = bar([("kept" if material.decided else "all", after), ("dropped", before - after)], longest)
            rows.append((f"{correct} of {run.k}", lengths, before, after))
        head = ("right answers", "", "queries", "kept" if material.decided else "in")
        parts.append(tag("h3", tag("bdi", shortened(run.run, 60))))
        parts.append(table(head, rows, numbers=(2, 3), label=f"Queries of {run.run} by right answers", class_="bars"))
        if run.unscored:
            parts.append(f"{count(run.unscored)} queries have no usable answer.")
    return section("difficulty", title, *parts)
