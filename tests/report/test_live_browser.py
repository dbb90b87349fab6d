"""The served page in a browser: it changes in place while the study grows, and leaves its reader where they were."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgenas.records import Choice
from edgenas.store import Store
from tests.report.browser import browser, opened
from tests.report.served import Served
from tests.report.studies import published_study

__all__ = ["browser"]  # a fixture


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[tuple[Path, Served]]:
    """A study that has not ended, and its page."""
    folder = published_study(tmp_path / "studies" / "grows", finished=False)
    with Served("grows", "--port", "0", folder=tmp_path) as server:
        yield folder, server


def grow(folder: Path, repeat: int, ms: float | None = None) -> None:
    """One more training; where `ms` is given, of a network that takes so long and is good for nothing."""
    with Store.write(folder) as store:
        trial = store.ledger()[0]
        candidate = msgspec.structs.replace(trial.candidate, repeat=repeat)
        cost, scores = trial.cost, trial.scores
        if ms is not None:
            scores = {"val_accuracy": 1.0}
            latencies = {name: msgspec.structs.replace(one, ms=ms) for name, one in cost.latencies.items()}
            cost = msgspec.structs.replace(cost, latencies=latencies)
        store.add(msgspec.structs.replace(trial, candidate=candidate, cost=cost, scores=scores))
        store.number(candidate.key)


def refreshed(page: Any, many: int) -> None:
    """Without the two seconds until the page asks by itself."""
    page.evaluate("asked()")
    page.wait_for_selector(f"h1:has-text('{many} networks so far')")


def test_the_page_changes_in_place_and_keeps_what_was_opened_chosen_and_focused(
    growing: tuple[Path, Served], browser: Any
) -> None:
    folder, server = growing
    page, complaints = opened(browser, server.document["url"])
    page.locator("summary", has_text="All settings").click()
    page.locator("#s1-front .views button", has_text="parameters").click()
    page.locator("#s1-front .plot").focus()
    page.evaluate("scrollTo(0, 900)")
    grow(folder, 7)
    page.wait_for_selector("h1:has-text('6 networks so far')")
    assert page.locator("details", has_text="All settings").first.get_attribute("open") is not None
    assert page.locator("#s1-front .views [aria-pressed=true]").inner_text() == "parameters"
    assert page.locator("#s1-front .xtitle").text_content() == "parameters"
    assert page.evaluate("document.activeElement.closest('figure').id") == "s1-front"
    assert page.evaluate("scrollY") == 900
    assert page.locator("#live").inner_text() == "live"
    assert complaints == []
    assert server.end() == (0, "")
    page.wait_for_selector("#live:has-text('not live')")


HELD = (
    "#s1-ship .scroll[role=region]",
    "#s1-next .copy",
    "#s1-progress .views button >> nth=1",
    "#s1-settings summary",
    ".questions a >> nth=3",
    "#s1-network .plot",
    "#theme",
)
IS_FOCUSED = "(element) => element === document.activeElement"


def test_the_focus_stays_on_the_element_that_had_it(growing: tuple[Path, Served], browser: Any) -> None:
    folder, server = growing
    page, complaints = opened(browser, server.document["url"])
    many = 5
    for held in HELD:
        page.locator(held).focus()
        many += 1
        grow(folder, 10 + many)
        refreshed(page, many)
        assert page.locator(held).evaluate(IS_FOCUSED), held
    page.locator("#s1 .lede").click()  # a click on a text gives main the focus, and no chart
    grow(folder, 10 + many + 1)
    refreshed(page, many + 1)
    assert page.evaluate("document.activeElement.id") == "main"
    assert complaints == []


def test_where_the_focused_element_is_gone_the_next_one_is_near(growing: tuple[Path, Served], browser: Any) -> None:
    """The search ends, so that another command is offered: "copy" is of that one now."""
    folder, server = growing
    page, complaints = opened(browser, server.document["url"])
    page.locator("#s1-next .copy").focus()
    with Store.write(folder) as store:
        store.put("choice", "choice", Choice(store.ledger()[0]))
    page.evaluate("asked()")
    page.wait_for_selector("h1:has-text('A network of')")
    assert page.evaluate("document.activeElement.id") == "s1-next"
    page.keyboard.press("Tab")
    assert page.locator("#s1-next pre").first.evaluate(IS_FOCUSED)
    assert complaints == []


def test_the_trial_shown_the_point_gone_to_and_the_place_in_a_table_stay(
    growing: tuple[Path, Served], browser: Any
) -> None:
    folder, server = growing
    page, complaints = opened(browser, server.document["url"], 390)
    page.locator("#s1-front .plot").focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    told, shown = page.locator("#s1-front .told-point"), page.locator("#s1 .trial")
    place, point = told.inner_text().split(": ", 1)
    assert place.startswith("2 of ")
    trial = shown.inner_text()
    table = page.locator("#s1-ship .scroll[role=region]")
    table.evaluate("(box) => { box.scrollLeft = 60; }")
    grow(folder, 7, ms=0.001)  # left of all others
    refreshed(page, 6)
    place, after = told.inner_text().split(": ", 1)
    assert place.startswith("3 of ")
    assert after == point
    assert shown.inner_text() == trial
    assert page.locator("#s1-front .hoverlayer .hovertext").count() > 0
    assert table.evaluate("(box) => box.scrollLeft") == 60
    page.keyboard.press("ArrowLeft")
    assert told.inner_text().startswith("2 of ")
    assert complaints == []


def test_the_state_says_what_the_server_said_last(growing: tuple[Path, Served], browser: Any) -> None:
    """A study that nothing changes: the page gets 304 alone."""
    folder, server = growing
    page, _ = opened(browser, server.document["url"])
    page.route("**/content.json", lambda route: route.abort())
    page.wait_for_selector("#live:has-text('not live: edgenas report --serve does not answer')")
    page.unroute("**/content.json")
    page.wait_for_selector("#live:text-is('live')", timeout=60_000)
    aside = folder.rename(folder.with_name("aside"))
    page.reload()
    with page.expect_response("**/content.json") as answered:
        pass
    assert answered.value.status == 304
    assert "live, but: " in page.locator("#live").inner_text()
    assert "holds no study" in page.locator("#live").inner_text()
    aside.rename(folder)
    page.wait_for_selector("#live:text-is('live')")
