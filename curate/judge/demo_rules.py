"""The rules of the demo judge: simple, written down, and blind to medicine.

What it is sent is all it looks at. Each rule names a flaw that can be seen without medical knowledge, the defect it
stands for, and what it takes off the scores, which all start at 4.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

DISCLAIMER = "Demo judge by fixed rules, no medical judgement."
START = 4
_GREY_WORDS = r"radiograph|x-?ray|\bCT\b|computed tomograph|\bMRI?\b|magnetic resonance|mammogra"
_COLOURED = r"colou?r|doppler|overlay|fusion|fused|\bPET\b|perfusion"
"""Words that explain colour in a picture of a grey modality."""
_DRAINED = r"channel|red-free|gr[ae]y|black.and.white|angiogra|autofluor|infrared|phase.contrast|\bOCT\b"
"""Words that explain a grey picture of a coloured modality."""
_COLOUR_WORDS = (
    r"h&e|h & e|haematoxylin|hematoxylin|immunohistochem|\bIHC\b|fundus|retina|dermoscop|endoscop|colonoscop"
)
_BOILERPLATE = r"^\s*(fig(ure)?\.?\s*\d+[a-z]?\.?|see (text|figure|legend).*|image|untitled|n/?a|https?://\S+)\s*$"
_MENTIONS = r"\b(image|picture|figure|scan|radiograph|photograph)\b"


@dataclass
class Submission:
    """A sample as the judge was sent it."""

    code: str = ""
    kind: str = ""
    texts: list[tuple[str, str]] = field(default_factory=list)
    """(role, text)"""
    choices: list[dict[str, str]] = field(default_factory=list)
    answers: list[str] | None = None
    """The reference answer of a query; None for other kinds."""
    images: list[bytes] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What is scored: the assistant's turns of a conversation, else everything."""
        roles = ("assistant",) if self.kind == "conversation" else ("document", "user", "system", "assistant")
        return "\n".join(text for role, text in self.texts if role in roles)


@dataclass
class Findings:
    """What the rules found."""

    scores: dict[str, int]
    defects: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def flaw(self, note: str, defect: str | None, **lost: int) -> None:
        """Enter a flaw: points lost by dimension."""
        self.notes.append(note)
        if defect is not None and defect not in self.defects:
            self.defects.append(defect)
        for name, points in lost.items():
            if name in self.scores:
                self.scores[name] = max(0, self.scores[name] - points)


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to a chat completion request as curate sends it: rationale, scores, defects, sample code.

    Raises ValueError when the request is not of that form.
    """
    submission = read_request(request)
    names = ["medical_correctness", "fluency", "completeness", "practicality"]
    if submission.images:
        names.insert(2, "relevance")
    findings = Findings(dict.fromkeys(names, START))
    _look_at_text(submission, findings)
    _look_at_images(submission, findings)
    if submission.kind == "query":
        _look_at_query(submission, findings)
    notes = "; ".join(findings.notes) or "no rule found a flaw"
    return {
        "rationale": f"{DISCLAIMER} {notes[:1].upper()}{notes[1:]}.",
        **findings.scores,
        "defects": [defect for defect in findings.defects if defect in _offered_defects(request)],
        "sample": submission.code,
    }


def read_request(request: dict[str, Any]) -> Submission:
    """The sample between the marker lines of the user message; ValueError when there is none."""
    submission = Submission()
    try:
        for part in request["messages"][-1]["content"]:
            if part["type"] == "image_url":
                submission.images.append(_decode_url(part["image_url"]["url"]))
                continue
            for line in part["text"].split("\n"):
                _read_line(line, submission)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"messages are not as curate sends them ({type(error).__name__})") from None
    if not submission.code:
        raise ValueError("there is no sample between marker lines in the last message")
    return submission


def _read_line(line: str, submission: Submission) -> None:
    begin = re.fullmatch(r"=== sample ([0-9a-f]+) begins: (\w+) ===", line)
    if begin:
        submission.code, submission.kind = begin.groups()
    elif submission.code and line.startswith("{"):
        fields = json.loads(line)
        if "text" in fields:
            submission.texts.append((fields["role"], fields["text"]))
        submission.choices += fields.get("choices", [])
        if "reference_answer" in fields:
            submission.answers = fields["reference_answer"]


def _decode_url(url: str) -> bytes:
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise ValueError("an image is not a data URL")
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise ValueError("an image is not valid base64") from None


def _offered_defects(request: dict[str, Any]) -> set[str]:
    """The defect ids of the rubric in the system message."""
    system = str(request["messages"][0]["content"])
    return set(re.findall(r"^- ([a-z][a-z0-9_]*):", system, re.MULTILINE))


def _look_at_text(submission: Submission, findings: Findings) -> None:
    text = submission.text.strip()
    words = re.findall(r"\w+", text)
    if not words:
        findings.flaw("there is no text to score", "low_value", fluency=4, completeness=4, practicality=4)
        return
    if re.fullmatch(_BOILERPLATE, text, re.IGNORECASE):
        findings.flaw("the text is boilerplate", "low_value", relevance=3, completeness=4, practicality=4)
    elif len(words) < 4 and submission.kind in ("image_caption", "interleaved"):
        findings.flaw("the text has fewer than four words", None, completeness=3, practicality=2)
    elif len(words) < 8 and submission.kind in ("image_caption", "interleaved"):
        findings.flaw("the text is short", None, completeness=1)
    if submission.kind != "query" and _is_cut_off(text):
        findings.flaw("the text stops in the middle", "truncated_text", fluency=2, completeness=2)
    if len(words) >= 12 and len({word.lower() for word in words}) < len(words) / 3:
        findings.flaw("words are repeated over and over", "low_value", fluency=3, practicality=3)
    if not submission.images and re.search(_MENTIONS, text, re.IGNORECASE) and submission.kind == "image_caption":
        findings.flaw("the text speaks of a picture that is not there", "missing_image", completeness=2)


def _is_cut_off(text: str) -> bool:
    """Ends in a comma, a hyphen, an open bracket or a word that asks for another."""
    return re.search(r"([,\-–(:]|\b(and|or|the|a|an|of|with|in|to|from|which|is|was))$", text) is not None


def _look_at_images(submission: Submission, findings: Findings) -> None:
    words = " ".join(text for _, text in submission.texts)
    grey_expected = re.search(_GREY_WORDS, words, re.IGNORECASE)
    colour_expected = re.search(_COLOUR_WORDS, words, re.IGNORECASE)
    coloured = re.search(_COLOURED, words, re.IGNORECASE)
    drained = re.search(_DRAINED, words, re.IGNORECASE)
    for kind in _image_kinds(submission.images):
        if kind == "broken":
            findings.flaw("a picture cannot be decoded", "non_medical_image", relevance=4, practicality=3)
        elif kind == "blank":
            findings.flaw("a picture is blank", "non_medical_image", medical_correctness=2, relevance=4, practicality=3)
        elif kind == "colour" and grey_expected and not (colour_expected or coloured):
            findings.flaw(
                f"a picture is in colour where the text says {grey_expected[0]}",
                "modality_mismatch",
                medical_correctness=3,
                relevance=3,
            )
        elif kind == "grey" and colour_expected and not (grey_expected or drained):
            findings.flaw(
                f"a picture is grey where the text says {colour_expected[0]}",
                "modality_mismatch",
                medical_correctness=3,
                relevance=3,
            )


def _image_kinds(images: Iterable[bytes]) -> Iterator[str]:
    """broken, blank (hardly any contrast), colour or grey, for each image; looked at 64 pixels wide."""
    import numpy as np
    from PIL import Image

    for data in images:
        try:
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
                picture.draft("RGB", (256, 256))
                small = picture.convert("RGB").resize((64, 64), Image.Resampling.BOX)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            yield "broken"
            continue
        pixels = np.asarray(small, dtype=np.int16)
        spread = (pixels.max(axis=2) - pixels.min(axis=2)).mean()
        if pixels.std() < 2:
            yield "blank"
        else:
            yield "colour" if spread > 12 else "grey"


def _look_at_query(submission: Submission, findings: Findings) -> None:
    answers = [answer.strip() for answer in submission.answers or []]
    if not answers or not all(answers):
        findings.flaw("the reference answer is missing", "invalid_answer_space", medical_correctness=4, completeness=4)
        return
    texts = [choice["text"].strip().lower() for choice in submission.choices]
    known = {*texts, *(choice["label"].strip().lower() for choice in submission.choices)}
    if len(set(texts)) < len(texts):
        findings.flaw("choices repeat", "invalid_answer_space", completeness=2, fluency=1)
    if texts and not {answer.lower() for answer in answers} <= known:
        findings.flaw("the reference answer is not among the choices", "invalid_answer_space", medical_correctness=4)
    question = submission.text.lower()
    longest = max(answers, key=len).lower()
    if not texts and len(longest) > 3 and re.search(rf"\b{re.escape(longest)}\b", question):
        findings.flaw("the question gives the answer away", None, practicality=2)
