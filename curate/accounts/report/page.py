"""The page: its sections in order, in one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Final

from curate import __version__
from curate.accounts.report import distributions, overview, provenance, samples, stages
from curate.accounts.report.markup import Html, count, escaped, moment, shortened, tag
from curate.accounts.report.material import Material
from curate.accounts.report.section import Section

MARK: Final = "<!doctype html>\n<!-- curate report -->\n"
"""How a report begins: what else lies at the output's path is not overwritten."""

_NOTHING_FROM_OUTSIDE: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)

_SECTIONS: Final[tuple[Callable[[Material], Section | None], ...]] = (
    overview.funnel,
    overview.rules,
    distributions.scores,
    distributions.signals,
    distributions.names,
    samples.dropped_examples,
    samples.kept_examples,
    stages.subset_gates,
    samples.duplicates,
    samples.contamination,
    stages.mixture,
    stages.difficulty,
    provenance.judge,
    provenance.provenance,
)
_ONLY_DECIDED: Final = frozenset({overview.rules, stages.subset_gates, stages.mixture})


def render(material: Material) -> str:
    """The whole file."""
    title = f"{_name(material)}: curate report"
    sections = [
        made for make in _SECTIONS if (material.decided or make not in _ONLY_DECIDED) and (made := make(material))
    ]
    style = files("curate.accounts.report").joinpath("report.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_NOTHING_FROM_OUTSIDE),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", shortened(title, 120)),
        tag("style", Html(style)),
    )
    links = [tag("li", tag("a", made.title, href=f"#{made.anchor}")) for made in sections]
    body = tag(
        "body",
        tag("a", "To the content", href="#content", class_="skip"),
        tag(
            "div",
            _header(material),
            tag("nav", tag("ul", links), aria_label="Sections"),
            tag("main", overview.headline(material), [made.html for made in sections], id="content"),
            _footer(material),
            class_="page",
        ),
    )
    return f"{MARK}{tag('html', head, body, lang='en')}\n"


def _name(material: Material) -> str:
    return material.selection.name if material.selection else material.corpus.path.resolve().name


def _header(material: Material) -> Html:
    corpus = material.corpus.path.resolve().name
    selection = material.selection
    if selection is None:
        about: list[object] = ["Corpus, nothing selected yet: curate select or curate export decides."]
    else:
        about = ["Selection from corpus ", tag("bdi", shortened(corpus, 80))]
        if isinstance(at := selection.account.get("at"), str):
            about.append(f", made {moment(at)} UTC")
        policy = selection.account.get("policy")
        if isinstance(policy, dict) and isinstance(words := policy.get("description"), str) and words:
            about += [". ", tag("bdi", shortened(material.names.cleaned(words), 300))]
    return tag("header", tag("h1", tag("bdi", shortened(_name(material), 80))), tag("p", about))


def _footer(material: Material) -> Html:
    notes = [f"Written by curate {__version__}. Nothing on this page is loaded from elsewhere."]
    if material.withheld:
        notes.append(
            f"{count(material.withheld)} of the samples chosen for this page are shown without text and pictures: they "
            "come from DICOM files that are not marked as de-identified. All numbers count them."
        )
    if material.pictures_left_out:
        notes.append(f"{count(material.pictures_left_out)} picture(s) are left out, which keeps the page small.")
    return tag("footer", [tag("p", escaped(note)) for note in notes])
