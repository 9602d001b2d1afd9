"""The page in a real browser, at the width of a phone and of a desk, in light and dark. Needs Chromium."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import BINARY, Chromium, chromium
from PIL import Image
from report_corpus import HOSTILE, dress, made

from curate.accounts.report import write_report

pytestmark = pytest.mark.skipif(BINARY is None, reason="needs Chromium: apt-get install chromium")

_WIDER_THAN_THE_WINDOW = """
[...document.querySelectorAll('body *')]
  .filter(e => !e.closest('.frame > *') && !e.closest('svg > *') && !e.closest('.skip'))
  .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(e => `${e.tagName}.${e.className}`).join(' ')
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    corpus = made(folder / "curated")
    dress(corpus, hostile=HOSTILE + "long" * 60)
    write_report(corpus, folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_window(browser: Chromium, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(_WIDER_THAN_THE_WINDOW) == ""
    shown = Image.open(io.BytesIO(browser.screenshot()))
    assert shown.width == width
    corner = sum(shown.convert("RGB").getpixel((2, 2))) / 3
    assert corner < 60 if dark else corner > 200


def test_nothing_is_loaded_and_nothing_is_wrong(browser: Chromium, page: Path) -> None:
    browser.open(page, width=1280)
    assert [url for url in browser.requests() if not url.startswith("data:")] == [page.resolve().as_uri()]
    complaints = (
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Log.entryAdded",
        "Page.javascriptDialogOpening",
    )
    assert not [event for event in browser.events if event["method"] in complaints]
    assert browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_text_is_large_enough_to_read_on_a_phone(browser: Chromium, page: Path) -> None:
    browser.open(page, width=390)
    sizes = browser.evaluate(
        "[...document.querySelectorAll('p, td, th, dd, li, summary')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 11.5


def test_every_control_can_be_reached_by_keyboard(browser: Chromium, page: Path) -> None:
    browser.open(page, width=390)
    assert browser.evaluate(
        "[...document.querySelectorAll('.frame, pre')].every(e => e.tabIndex === 0)"
        " && [...document.querySelectorAll('a, summary')].every(e => e.tabIndex === 0)"
    )
    assert browser.evaluate("document.querySelector('a').textContent") == "To the content"
