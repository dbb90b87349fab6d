"""A picture of a study's report, as docs/images has them.

    python scripts/report_picture.py STUDY OUT.png                          # the head of the page, 1280 px wide
    python scripts/report_picture.py STUDY OUT.png --width 390 --dark       # on a phone
    python scripts/report_picture.py STUDY OUT.png --from ".mistakes" --height 700

Needs Chromium and playwright. Nothing is asked of any server.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from edgenas.report.facts import read_facts
from edgenas.report.html import html_from_studies

DRAWN_MS = 2000  # for charts to take their place
COLOURS = 128  # of the picture: a third of the bytes


def picture(study: Path, out: Path, first: str, width: int, height: int, scheme: str) -> None:
    """The page from the top of the element `first` on."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "report.html"
        page_file.write_text(html_from_studies([read_facts(study)]), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        size = {"width": width, "height": height}
        page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        page.set_default_timeout(300_000)
        page.goto(page_file.as_uri())
        page.wait_for_timeout(DRAWN_MS)
        page.locator(first).first.evaluate("element => scrollTo(0, element.getBoundingClientRect().top + scrollY)")
        page.wait_for_timeout(DRAWN_MS)
        Image.open(io.BytesIO(page.screenshot())).quantize(COLOURS).save(out, optimize=True)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--from", dest="first", default="body")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1100)
    parser.add_argument("--dark", action="store_true")
    asked = parser.parse_args()
    picture(asked.study, asked.out, asked.first, asked.width, asked.height, "dark" if asked.dark else "light")


if __name__ == "__main__":
    main()
