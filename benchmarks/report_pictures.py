"""The reports of three studies as people see them: photographs, solar cells (ELPV), faces (ORL); and what axe-core finds on them.

    python -m benchmarks.report_pictures --folder DIR --axe axe.min.js              # searches and trains first: some 15 minutes
    python -m benchmarks.report_pictures --folder DIR --axe axe.min.js --study photos=studies/photos   # one that is there already

DIR gets NAME.html and NAME-WIDTH-SCHEME.png, whole pages at 1280 and 390 px, light and dark. Exit code 1 where axe-core has a
finding, a page is wider than its screen, or its console is not empty. Data come from EDGENAS_SHARED (default ../shared) and
ELPV_PACKAGE, as for benchmarks.live. DIR may not lie in the repository: ELPV's pictures are CC BY-NC-SA, and ORL's show people.
Needs Chromium, playwright, and `npm install --prefix axe axe-core`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from benchmarks.live_tasks import SHARED, TASKS, prepare_elpv, prepare_photos
from benchmarks.orl import padded
from edgenas.errors import EdgenasError

REPOSITORY = Path(__file__).parents[1]
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
HEIGHT, PATIENCE_MS, DRAWN_MS = (
    900,
    300_000,
    1500,
)  # of the screen, for a loaded machine, for charts to take their place
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
EVERY_CHART = "() => [...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('.main-svg'))"


class Case(NamedTuple):
    """How a study is made: its data once, then `edgenas search` and `edgenas train` with these."""

    prepare: Callable[[Path], None]
    search: tuple[str, ...]
    train: tuple[str, ...] = ("--seeds", "2", "--budget", "2")


def prepare_orl(data: Path) -> None:
    """ORL's 40 people as folders of 112 x 112 images, unscaled, the edges repeated."""
    folder, part = data / "orl", data / "orl.part"
    if folder.exists():
        return
    images, people = padded(SHARED / "data/faces-orl/orl_faces.npz")
    for place, (image, person) in enumerate(zip(images, people, strict=True)):
        (part / f"person-{person:02}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(part / f"person-{person:02}" / f"{place:03}.png")
    part.rename(folder)


CASES: dict[str, Case] = {
    "photos": Case(prepare_photos, ("--data", "data/photos", "--target", "jetson", "--max-latency-ms", "1", "--budget", "3")),
    "elpv": Case(
        prepare_elpv,
        ("--data", "data/elpv/split-0", "--target", "jetson", "--max-latency-ms", str(TASKS["elpv"].limit_ms), "--budget", "3"),
    ),
    "faces": Case(
        prepare_orl,
        ("--task", "faces", "--data", "data/orl", "--target", "jetson", "--max-latency-ms", "0.5", "--budget", "3"),
    ),
}  # fmt: skip


def study_of(name: str, folder: Path) -> Path:
    """The study, searched and trained where it is not there yet; an interrupted one goes on."""
    case, place = CASES[name], folder / "studies" / name
    (folder / "data").mkdir(parents=True, exist_ok=True)
    case.prepare(folder / "data")
    for command in (("search", *case.search, "--study", name), ("train", name, *case.train)):
        subprocess.run([sys.executable, "-m", "edgenas", *command], cwd=folder, check=True)
    return place


def report_of(name: str, study: Path, folder: Path) -> Path:
    """The page of a study, written by the command."""
    page = folder / f"{name}.html"
    subprocess.run([sys.executable, "-m", "edgenas", "report", str(study.resolve()), "--out", str(page)], check=True)
    return page


def looked_at(browser: Any, page_file: Path, axe: Path | None) -> Iterator[dict[str, Any]]:
    """Per width and scheme: the picture's name, and what is wrong with the page."""
    for width in WIDTHS:
        for scheme in SCHEMES:
            picture = page_file.with_name(f"{page_file.stem}-{width}-{scheme}.png")
            yield {"picture": picture.name, **_looked(browser, page_file, picture, width, scheme, axe)}


def _looked(browser: Any, page_file: Path, picture: Path, width: int, scheme: str, axe: Path | None) -> dict[str, Any]:
    screen = {"width": width, "height": HEIGHT}
    context = browser.new_context(viewport=screen, color_scheme=scheme, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(page_file.as_uri())
    page.wait_for_function(EVERY_CHART)
    page.wait_for_timeout(DRAWN_MS)
    page.screenshot(path=str(picture), full_page=True)
    for summary in page.locator("summary").all():
        summary.click()  # axe-core reads what is shown
    too_wide = page.evaluate("document.documentElement.scrollWidth") > width
    found: list[dict[str, str]] | None = None
    if axe is not None:
        page.evaluate(axe.read_text())
        violations = page.evaluate("axe.run()")["violations"]
        found = [{"impact": v["impact"], "rule": v["id"], "where": v["nodes"][0]["html"]} for v in violations]
    context.close()
    return {"too_wide": too_wide, "console": complaints, "axe": found}


def refuse_the_repository(folder: Path) -> None:
    """EdgenasError for a folder from which pictures of these data could be committed."""
    if folder.resolve().is_relative_to(REPOSITORY):
        raise EdgenasError(
            f"{folder} lies in the repository, where pictures of ELPV and ORL may not be: choose another --folder"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--axe", type=Path, help="axe.min.js; without it only pictures are made")
    parser.add_argument("--study", action="append", default=[], metavar="NAME=FOLDER", help="instead of searching")
    parser.add_argument("--only", action="append", choices=CASES, help="of the three")
    asked = parser.parse_args()
    refuse_the_repository(asked.folder)
    given = dict(one.split("=", 1) for one in asked.study)
    from playwright.sync_api import sync_playwright

    asked.folder.mkdir(parents=True, exist_ok=True)
    names = asked.only or (tuple(given) if given else tuple(CASES))
    pages = [report_of(n, Path(given[n]) if n in given else study_of(n, asked.folder), asked.folder) for n in names]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        rows = [row for page in pages for row in looked_at(browser, page, asked.axe)]
        browser.close()
    print(json.dumps(rows, indent=1))
    return int(any(row["too_wide"] or row["console"] or row["axe"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
