"""Markdown of document converters, and PDF files, which are not read."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.corpora import picture
from support.ingesting import ingest, only_reason

from curate.corpus import Sample

MINERU = """# A case of pneumothorax

A man of 40 came with chest pain [1].

![](images/0a1b.png)

Figure 1: Frontal radiograph.

## Discussion

See ![Image](<images/with space.png> "a title") and <img width="3" src='images/0a1b.png'/> again.

## References

[1] Li 2001. ![](images/logo.png)

### Online

More.

## Appendix

The end.
"""


def pieces(sample: Sample) -> list[str]:
    return [f"<{sample.images[p].name}>" if isinstance(p, int) else p for p in sample.turns[0].parts]


def raw_folder(path: Path, text: str) -> Path:
    raw = path / "raw"
    (raw / "images").mkdir(parents=True)
    for number, name in enumerate(("0a1b", "with space", "logo")):
        (raw / "images" / f"{name}.png").write_bytes(picture(number))
    (raw / "paper.md").write_text(text)
    return raw


def test_texts_and_pictures_in_turn_without_references(tmp_path: Path) -> None:
    raw = raw_folder(tmp_path, MINERU)
    (raw / "paper.pdf").write_bytes(b"%PDF-1.7")
    _, (sample,), rejects = ingest(raw)
    assert sample.kind == "interleaved"
    assert pieces(sample) == [
        "# A case of pneumothorax\n\nA man of 40 came with chest pain [1].",
        "<images/0a1b.png>",
        "Figure 1: Frontal radiograph.\n\n## Discussion\n\nSee",
        "<images/with space.png>",
        "and",
        "<images/0a1b.png>",
        "again.\n\n## Appendix\n\nThe end.",
    ]
    assert {(reject["file"], reject["reason"]) for reject in rejects} == {
        ("images/logo.png", "image_without_text"),
        ("paper.pdf", "pdf"),
    }
    assert "MinerU or docling" in next(reject["message"] for reject in rejects if reject["reason"] == "pdf")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("# Only words\n", "unknown_file_type"),
        ("", "unknown_file_type"),
        ("![](../secret.png)", "outside_root"),
        ("![](https://example.org/x.png)", "remote_image"),
        ("![](images/gone.png)", "missing_image"),
        ("![]()", "text_without_image"),
    ],
)
def test_documents_that_cannot_be_read(tmp_path: Path, text: str, reason: str) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (tmp_path / "secret.png").write_bytes(picture(1))
    (raw / "x.md").write_text(text)
    _, samples, rejects = ingest(raw)
    assert (samples, only_reason(rejects)) == ([], reason)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "x.md").write_bytes(b"\xff![](x.png)")
    assert only_reason(ingest(raw)[2]) == "not_utf8"
