"""The page as people see it: headless Chromium, desktop and phone, light and dark."""

from pathlib import Path
from typing import Any

import pytest

from tests.report.browser import PATIENCE_MS, browser, page_file

__all__ = ["browser", "page_file"]  # fixtures

SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
# Contrast of every element that holds text of its own, against the nearest background that is not transparent (WCAG 2.2).
CONTRAST = """
() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const worst = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("script, style, .hidden")) continue;
    let behind = element;
    while (behind && (rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
    const style = getComputedStyle(element);
    const ink = element instanceof SVGElement ? style.fill : style.color;
    const pair = [light(rgb(ink)), light(rgb(getComputedStyle(behind ?? document.body).backgroundColor))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) worst.push([element.tagName, element.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return worst;
}
"""
NAMELESS = """
() => [...document.querySelectorAll("button, [role=img], [role=region], [role=group], output, nav, summary, a")]
  .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim())).map((e) => e.outerHTML.slice(0, 80))
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_the_page_draws_reads_and_answers_clicks(page_file: Path, browser: Any, screen: str, scheme: str) -> None:
    width, height = SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_selector("#s1-network .plot .bars")
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert page.locator(".plot .main-svg").count() >= 5

    dot = page.locator("#s1-front .plot .points path").last
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector(".trial dl")
    assert "parameters" in page.locator(".trial").inner_text()

    page.locator("#s1-front .views button", has_text="parameters").click()
    assert page.locator("#s1-front .xtitle").text_content() == "parameters"
    for summary in page.locator("summary").all():
        summary.click()

    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    hidden = (
        "[...document.querySelectorAll('pre')].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent)"
    )
    assert page.evaluate(hidden) == []  # no part of a command
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") == {"light": "dark", "dark": "light"}[scheme]
    assert page.evaluate(CONTRAST) == []
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()
