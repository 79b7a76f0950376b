"""The page in a browser: nothing fetched, nothing complained of, usable by pointer and keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from siamplex.cli import main

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

WIDTHS = [(1280, 900), (390, 844)]


@pytest.fixture(scope="module")
def report(small_training: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("report") / "report.html"
    assert main(["report", str(small_training / "run"), "--out", str(target)]) == 0
    return target


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(params=WIDTHS, ids=lambda size: str(size[0]))
def page(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Any]:
    """The page at one width; console messages, failures and requests are kept on it."""
    found = browser.new_page(viewport={"width": request.param[0], "height": request.param[1]})
    found.said, found.asked = [], []
    found.on("console", lambda message: found.said.append(message.text))
    found.on("pageerror", lambda error: found.said.append(str(error)))
    found.on("request", lambda asked: found.asked.append(asked.url))
    found.goto(report.as_uri())
    yield found
    assert found.said == []
    assert [url for url in found.asked if not url.startswith("data:")] == [report.as_uri()]
    found.close()


def placed(page: Any) -> list[str]:
    return page.eval_on_selector_all("path.face", "nodes => nodes.map(n => n.getAttribute('transform'))")


def shown(page: Any) -> int:
    return page.eval_on_selector_all("path.face", "nodes => nodes.filter(n => n.style.display !== 'none').length")


def test_loads_without_a_word_and_fits_the_screen(page):
    assert len(placed(page)) == shown(page) == 48
    assert page.title() == "siamplex: run"
    wide = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= wide
    # nothing sticks out of the page but what scrolls in a box of its own
    outside = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(n => !n.closest('.scroll, pre, svg, .visually-hidden') && "
        "n.getBoundingClientRect().right > innerWidth + 1).map(n => n.tagName)"
    )
    assert outside == []


def test_words_are_large_enough_to_read(page):
    small = page.evaluate(
        "[...document.querySelectorAll('p, td, th, li, label, summary')].filter(n => n.textContent.trim() && "
        "parseFloat(getComputedStyle(n).fontSize) < 12).length"
    )
    assert small == 0
    for plot in ("plot", "loss-curve"):
        size = page.evaluate(
            f"(() => {{ const s = document.getElementById('{plot}'); const t = s.querySelector('text');"
            "const share = s.getBoundingClientRect().width / s.viewBox.baseVal.width;"
            "return parseFloat(getComputedStyle(t).fontSize) * share })()"
        )
        assert size >= 9.5, plot


def test_figures_and_loss_are_drawn(page):
    assert page.eval_on_selector_all("img", "nodes => nodes.every(n => n.complete && n.naturalWidth > 300)")
    assert page.locator("#loss-curve polyline").count() == 2
    box = page.locator("#loss-curve polyline").first.bounding_box()
    assert box["width"] > 50 and box["height"] > 5


def test_the_slider_goes_through_the_snapshots(page):
    slider = page.locator("#snapshot")
    assert slider.get_attribute("max") == "3" and slider.input_value() == "3"
    last = placed(page)
    name = page.locator("#snapshot-name").text_content()
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator("#snapshot-name").text_content() == "stage 1, 0 iterations" != name
    assert placed(page) != last
    assert slider.get_attribute("aria-valuetext") == "stage 1, 0 iterations"
    page.keyboard.press("End")
    assert placed(page) == last
    page.get_by_label("one scale for all snapshots").check()
    assert placed(page) != last


def test_filters(page):
    counts = page.evaluate(
        "(() => { const f = JSON.parse(document.getElementById('data').textContent).faces; return {"
        "ha: f.filter(x => x.emotion === 'HA').length, train: f.filter(x => x.split === 'train').length,"
        "actor: f[0].subject, own: f.filter(x => x.subject === f[0].subject).length} })()"
    )
    happy = page.get_by_label("happiness", exact=True)
    happy.uncheck()
    assert shown(page) == 48 - counts["ha"]
    happy.check()
    for split in ("validation", "test"):
        page.get_by_label(split, exact=True).uncheck()
    assert shown(page) == counts["train"]
    for split in ("validation", "test"):
        page.get_by_label(split, exact=True).check()
    page.get_by_label("Actor").select_option(counts["actor"])
    assert shown(page) == counts["own"]
    assert f"{counts['own']} of 48 images are shown" in page.locator("#count").text_content()


def test_pointing_shows_the_face(page):
    plot = page.locator("#plot")
    plot.scroll_into_view_if_needed()
    box = page.locator("path.face").nth(7).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    card = page.locator("#card")
    assert card.is_visible()
    words = card.inner_text()
    assert "actor" in words and "subject" in words
    thumb = page.locator("#card .thumb")
    assert thumb.bounding_box()["width"] == 64
    assert "data:image/jpeg" in thumb.evaluate("n => getComputedStyle(n).backgroundImage")
    wide, card_box = page.viewport_size["width"], card.bounding_box()
    assert card_box["x"] >= 0 and card_box["x"] + card_box["width"] <= wide
    outer = plot.bounding_box()
    page.mouse.move(outer["x"] + outer["width"] - 2, outer["y"] + 2)
    assert not card.is_visible() or card.inner_text() != words


def test_by_keyboard_alone(page):
    """Every control is reached by Tab; the plot answers to the arrow keys and is read aloud."""
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        here = page.evaluate("document.activeElement.id || document.activeElement.tagName")
        reached.append(here)
        if here == "plot":
            break
    assert {"snapshot", "actor", "same-scale", "plot"} <= set(reached)
    page.keyboard.press("ArrowRight")
    first = page.locator("#spoken").text_content()
    page.keyboard.press("ArrowRight")
    second = page.locator("#spoken").text_content()
    assert "actor" in first and "actor" in second and first != second
    page.keyboard.press("ArrowLeft")
    assert page.locator("#spoken").text_content() == first
    assert page.locator("#card").is_visible()
    page.keyboard.press("ArrowDown")
    assert page.locator("#snapshot").input_value() == "2"
    page.keyboard.press("Escape")
    assert not page.locator("#card").is_visible()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_faces_a_filter_hides_are_passed_over_by_the_keys(page):
    for name in ("surprise", "fear", "sadness", "anger", "disgust"):
        page.get_by_label(name, exact=True).uncheck()
    page.locator("#plot").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        assert page.locator("#spoken").text_content().startswith("happiness")
