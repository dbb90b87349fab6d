"""The served page in a browser: it changes in place while the study grows, and leaves its reader where they were."""

from pathlib import Path
from typing import Any

import msgspec

from edgenas.store import Store
from tests.report.browser import browser, opened
from tests.report.served import Served
from tests.report.studies import published_study

__all__ = ["browser"]  # a fixture


def test_the_page_changes_in_place_and_keeps_what_was_opened_chosen_and_focused(tmp_path: Path, browser: Any) -> None:
    folder = published_study(tmp_path / "studies" / "grows", finished=False)
    with Served("grows", "--port", "0", folder=tmp_path) as server:
        page, complaints = opened(browser, server.document["url"])
        page.locator("summary", has_text="All settings").click()
        page.locator("#s1-front .views button", has_text="parameters").click()
        page.locator("#s1-front .plot").focus()
        page.evaluate("scrollTo(0, 900)")
        with Store.write(folder) as store:
            trial = store.ledger()[0]
            candidate = msgspec.structs.replace(trial.candidate, repeat=7)
            store.add(msgspec.structs.replace(trial, candidate=candidate))
            store.number(candidate.key)
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
