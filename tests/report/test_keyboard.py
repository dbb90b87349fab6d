"""The report without a mouse, and on paper."""

from pathlib import Path
from typing import Any

from tests.report.browser import browser, opened, page_file

__all__ = ["browser", "page_file"]  # fixtures


def test_the_arrow_keys_go_from_point_to_point_and_enter_shows_the_trial(page_file: Path, browser: Any) -> None:
    page, complaints = opened(browser, page_file.as_uri())
    chart = page.locator("#s1-front .plot")
    page.locator("#s1-front .views button").last.focus()
    page.keyboard.press("Tab")
    assert chart.evaluate("plot => document.activeElement === plot")
    assert chart.evaluate("plot => getComputedStyle(plot).outlineStyle") == "solid"  # the focus ring
    told = page.locator("#s1-front .told-point")
    page.keyboard.press("ArrowRight")
    first = told.inner_text()
    assert first.startswith("1 of ")
    assert "validation accuracy, %" in first
    assert "latency, ms" in first
    page.keyboard.press("ArrowRight")
    second = told.inner_text()
    assert second.startswith("2 of ")
    page.keyboard.press("ArrowLeft")
    assert told.inner_text() == first
    page.keyboard.press("End")
    last = told.inner_text()
    assert last.split(" of ")[0] == last.split(" of ")[1].split(":")[0]
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    number = first.split("trial ")[1].split(",")[0]
    assert page.locator(".trial dd").first.inner_text().startswith(f"{number}, ")
    assert complaints == []


def test_on_another_axis_the_keyboard_goes_on_from_the_same_trial(page_file: Path, browser: Any) -> None:
    page, complaints = opened(browser, page_file.as_uri())
    chart, told = page.locator("#s1-front .plot"), page.locator("#s1-front .told-point")
    chart.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    before = told.inner_text()
    point = before.split(": ")[1].split(", latency")[0]
    assert "trial " in point
    page.locator("#s1-front .views button", has_text="parameters").click()
    there = told.inner_text()
    assert there.split(": ")[1].startswith(f"{point}, parameters ")
    chart.focus()
    page.keyboard.press("ArrowRight")
    assert int(told.inner_text().split(" of ")[0]) == int(there.split(" of ")[0]) + 1
    assert complaints == []


def test_the_questions_are_links_in_their_order(page_file: Path, browser: Any) -> None:
    page, _ = opened(browser, page_file.as_uri(), 390)
    links = page.locator(".questions a").all()
    tops = [page.locator(link.get_attribute("href")).bounding_box()["y"] for link in links]
    assert len(tops) == 6
    assert tops == sorted(tops)


def test_on_paper_the_page_is_light_and_nothing_is_cut_off(page_file: Path, browser: Any) -> None:
    page, complaints = opened(browser, page_file.as_uri(), 760, "dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(252, 252, 251)"
    for hidden in ("#theme", ".views", ".copy", ".questions"):
        assert not page.locator(hidden).first.is_visible()
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every((e) => getComputedStyle(e).overflowX === 'visible')"
    )
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert complaints == []
