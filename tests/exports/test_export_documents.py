"""Documents in chunks: nothing lost, nothing over budget, pictures with their text."""

from __future__ import annotations

import random

import pytest

from curate.corpus import Image
from curate.exports.documents import PicturesTooLargeError, chunks
from curate.select.tokens import image_tokens, text_tokens

SENTENCES = (
    "The cardiac silhouette is enlarged. ",
    "Na 138 mmol/L, K 4.2, CRP 145.2 mg/L!\n",
    "未见气胸，心影大小正常。",
    "No pleural effusion?\n\n",
    "Herzgröße im Normbereich; kein Erguss. ",
)


def picture(width: int = 768, height: int = 768) -> Image:
    return Image("0" * 64, "png", width, height, 1, True, -1, None, 0, None)


def cost(chunk: list[str | Image]) -> int:
    return sum(text_tokens(p) if isinstance(p, str) else image_tokens(p.width, p.height) for p in chunk)


def squeezed(parts: list[str | Image]) -> str:
    """All text without white space, and a mark for each picture."""
    return "".join("".join(part.split()) if isinstance(part, str) else "#" for part in parts)


def test_a_document_that_fits_is_one_chunk_as_it_is() -> None:
    parts = [picture(), "  First.\n", "Second. ", picture()]
    assert chunks(parts, 8192) == [parts]


def test_random_documents_keep_every_character_and_picture_in_order() -> None:
    for seed in range(150):
        draw = random.Random(seed)
        parts: list[str | Image] = []
        for _ in range(draw.randint(1, 12)):
            text = "".join(draw.choices(SENTENCES, k=draw.choice([1, 5, 120]))) if draw.random() < 0.65 else None
            parts.append(text or picture(draw.randint(28, 400), draw.randint(28, 400)))
        parts.append("The end.")
        found = chunks(parts, 1500)
        assert all(cost(chunk) <= 1500 for chunk in found)
        assert squeezed([piece for chunk in found for piece in chunk]) == squeezed(parts)
        assert all(any(isinstance(piece, str) and piece.strip() for piece in chunk) for chunk in found)


def test_cuts_fall_between_the_texts_of_a_document() -> None:
    parts = [f"Segment {number} " + "word " * 300 for number in range(8)]
    found = chunks(parts, 2000)
    assert len(found) > 1
    assert [piece.strip() for chunk in found for piece in chunk] == [part.strip() for part in parts]


def test_a_picture_stays_with_the_text_after_it() -> None:
    parts: list[str | Image] = []
    for _ in range(10):
        parts += [picture(), "word " * 300]
    found = chunks(parts, 2000)
    assert len(found) > 1
    for chunk in found:
        assert isinstance(chunk[0], Image)
        assert isinstance(chunk[-1], str)


def test_pictures_at_the_end_stay_with_the_text_before_them() -> None:
    found = chunks(["word " * 600, "word " * 600, picture()], 2100)
    assert [[type(piece) for piece in chunk] for chunk in found] == [[str], [str, Image]]


def test_a_long_last_text_leaves_room_for_the_pictures_after_it() -> None:
    for words in range(400, 520, 7):  # a last paragraph that fits by itself, up to one that does not
        found = chunks(["word " * 450 + "\n\n" + "word " * words, picture(256, 256)], 1024)
        assert all(cost(chunk) <= 1024 for chunk in found)
        assert isinstance(found[-1][-1], Image)


def test_a_long_text_is_cut_between_paragraphs() -> None:
    paragraphs = [f"Paragraph {number}. " + "Findings are normal. " * 12 for number in range(40)]
    found = chunks([picture(), "\n\n".join(paragraphs)], 1500)
    assert len(found) > 1
    pieces = [piece for chunk in found for piece in chunk if isinstance(piece, str)]
    assert [paragraph.strip() for piece in pieces for paragraph in piece.split("\n\n")] == [
        p.strip() for p in paragraphs
    ]
    assert all(piece == piece.strip() for piece in pieces)
    assert [isinstance(chunk[0], Image) for chunk in found] == [True] + [False] * (len(found) - 1)


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    found = chunks(["The lungs are clear and well expanded. " * 400], 1024)
    assert len(found) > 3
    assert all(piece.endswith("expanded.") for chunk in found for piece in chunk if isinstance(piece, str))
    assert min(cost(chunk) for chunk in found[:-1]) > 900  # well filled


def test_a_text_without_borders_is_cut_all_the_same() -> None:
    text = "ATGC" * 20_000
    found = chunks([text], 1024)
    assert "".join(piece for chunk in found for piece in chunk if isinstance(piece, str)) == text
    assert all(cost(chunk) <= 1024 for chunk in found)


def test_pictures_that_leave_no_room_for_their_text() -> None:
    with pytest.raises(PicturesTooLargeError):
        chunks([*[picture()] * 15, "A caption of a series of slices."], 8192)
    assert len(chunks([*[picture()] * 14, "A caption of a series of slices."], 8192 + 14 * 2)) == 1


def test_a_document_without_text_has_no_chunks() -> None:
    assert chunks([picture(), " \n"], 8192) == []
    assert chunks([], 8192) == []


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((640, 480), 300),
        ((768, 768), 576),
        ((3000, 2000), 580),  # scaled down to 940 x 627
        ((28, 28), 64),  # scaled up to 256 x 256
        ((64, 1024), 64),
        ((2000, 40), 114),  # one row of patches would be too few pixels
    ],
)
def test_tokens_of_pictures_as_qwen3_vl_counts_them(size: tuple[int, int], tokens: int) -> None:
    """The numbers come from the image processor itself, after LLaMA-Factory's scaling (two more: start and end)."""
    assert image_tokens(*size) == tokens + 2


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (
            (
                "Frontal chest radiograph showing a right lower lobe consolidation with a small pleural effusion. "
                "There is no evidence of pneumothorax. The heart size is within normal limits."
            ),
            38,
        ),
        (
            (
                "Na 138 mmol/L, K 4.2, Cl 101, HCO3 24; Hb 13.5 g/dL; WBC 7.8x10^9/L; CRP 145.2 mg/L (ref <5.0). "
                "pH 7.32/7.41; pO2 88.5%; 12/03/2021 08:45."
            ),
            108,
        ),
        ("胸部正位片显示右下肺实变伴少量胸腔积液，未见气胸，心影大小正常。建议结合临床进一步检查。", 33),
        ("छाती के एक्स-रे में दाहिने निचले लोब में समेकन और थोड़ा फुफ्फुस बहाव दिखाई देता है।", 80),
        ("ATGCGTACGTTAGCATCGATCGGCTA", 15),
    ],
)
def test_tokens_of_texts_against_qwens_vocabulary(text: str, tokens: int) -> None:
    """True counts by Qwen's own vocabulary. The configuration's 1.5 covers what the estimate may fall short."""
    assert 0.7 * tokens <= text_tokens(text) <= 2 * tokens
    assert 1.5 * text_tokens(text) > tokens
