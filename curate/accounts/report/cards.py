"""A sample as a card: pictures, text, verdict, and why it was kept or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from curate.accounts.report.markup import Html, count, shortened, tag
from curate.accounts.report.shown import Shown
from curate.accounts.report.subsets import SubsetNames
from curate.accounts.report.thumbnails import Thumbnail
from curate.corpus import Turn

PICTURES: Final = 2
"""Pictures of a card; how many more there are is said."""
_TEXT: Final = 420
_WITHHELD: Final = (
    "Not shown: it comes from DICOM files that are not marked as de-identified. If you know that they identify nobody, "
    "declare the subset (declare_deidentified in the policy)."
)

Pictures = Mapping[str, Thumbnail]


def card(
    shown: Shown, pictures: Pictures, names: SubsetNames, *, note: object = None, hide_reason: bool = False
) -> Html:
    """A sample. ``note`` stands in place of the decision's reason, which ``hide_reason`` keeps back."""
    sample, subset = shown.sample, shortened(names(shown.sample.source), 60)
    if shown.withheld:
        place = tag("p", f"{sample.kind} of ", tag("bdi", subset), class_="place")
        body: list[Html | None] = [tag("p", _WITHHELD, class_="withheld")]
    else:
        place = tag(
            "p",
            tag("bdi", subset),
            " · ",
            tag("bdi", shortened(names.cleaned(_place(shown)), 90)),
            class_="place",
        )
        body = [_pictures(shown, pictures), *_texts(shown), _verdict(shown)]
    if note is None and shown.reason:
        words = "the reason is not shown" if hide_reason else shortened(names.cleaned(shown.reason), 300)
        note = tag("p", tag("b", f"{shown.rule}: "), words, class_="reason")
    identity = tag("p", tag("code", sample.id[:12]), class_="identity", title=sample.id)
    return tag("article", body, place, note, identity, class_="card kept" if shown.kept else "card dropped")


def missing_card(identity: str) -> Html:
    """Stands for a sample that the corpus does not hold any more."""
    words = tag("p", "The corpus does not hold this sample any more.", class_="withheld")
    return tag("article", words, tag("p", tag("code", shortened(identity, 24)), class_="identity"), class_="card")


def _place(shown: Shown) -> str:
    origin = shown.sample.origin
    file = PurePosixPath(origin.file)
    shortest = file.name if len(origin.file) > 70 else origin.file
    return f"{shortest}:{origin.row}" if origin.row else shortest


def _pictures(shown: Shown, pictures: Pictures) -> Html | None:
    images = shown.images
    if not images:
        return None
    drawn = []
    for number, image in enumerate(images[:PICTURES], 1):
        thumbnail = pictures.get(image.sha256)
        of = f"Picture {number} of {len(images)}" if len(images) > 1 else "The picture"
        if thumbnail is None or thumbnail.uri is None:
            problem = thumbnail.problem if thumbnail else "not made"
            drawn.append(tag("p", f"{of} is not shown: {problem}.", class_="no-picture"))
        else:
            size = f"{count(image.width)} × {count(image.height)} pixels"
            words = f"{of} of sample {shown.sample.id[:8]}, {size}"
            drawn.append(
                tag("img", src=thumbnail.uri, alt=words, width=thumbnail.width, height=thumbnail.height, title=size)
            )
    more = len(images) - PICTURES
    after = tag("p", f"and {count(more)} more picture(s)", class_="more") if more > 0 else None
    return tag("div", tag("div", drawn, class_="pictures"), after)


def _texts(shown: Shown) -> list[Html]:
    sample, lines = shown.sample, []
    room = _TEXT
    for turn in sample.turns:
        if turn.role == "system":  # the same for a whole subset
            continue
        text = shortened(" ".join(part for part in turn.parts if isinstance(part, str)), room)
        if not text or room <= 0:
            continue
        room -= len(text)
        lines.append(tag("p", _role(turn), tag("bdi", text), class_="text", dir="auto"))
    if sample.answer:
        answer = shortened(" | ".join(sample.answer), 160)
        lines.append(tag("p", tag("b", "Answer: "), tag("bdi", answer), class_="text", dir="auto"))
    return lines


def _role(turn: Turn) -> Html | None:
    return None if turn.role == "document" else tag("b", f"{turn.role.capitalize()}: ")


def _verdict(shown: Shown) -> Html | None:
    verdict = shown.verdict
    if "judge_score" not in verdict:
        return None
    head = f"Judge: {verdict['judge_score']:.2f} of 5, {verdict.get('judge_verdict', 'no verdict')}"
    defects = verdict.get("judge_defects") or []
    if defects:
        head += f" ({shortened(', '.join(map(str, defects)), 120)})"
    rationale = shortened(str(verdict.get("judge_rationale") or ""), 260)
    return tag("p", tag("b", head + ("." if not rationale else ". ")), tag("bdi", rationale), class_="verdict")
