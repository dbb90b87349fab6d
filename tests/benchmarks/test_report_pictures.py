"""Pictures of reports: a study that is there already, looked at in a browser; none may be made inside the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.report_pictures import REPOSITORY, looked_at, refuse_the_repository
from edgenas.errors import EdgenasError
from tests.report.browser import browser, page_file

__all__ = ["browser", "page_file"]  # fixtures


@pytest.mark.parametrize("folder", [REPOSITORY, REPOSITORY / "docs" / "images", REPOSITORY / "tests" / ".." / "x"])
def test_pictures_of_licensed_images_and_people_are_not_made_in_the_repository(folder: Path) -> None:
    with pytest.raises(EdgenasError, match="lies in the repository"):
        refuse_the_repository(folder)


def test_any_other_folder_is_taken(tmp_path: Path) -> None:
    refuse_the_repository(tmp_path)
    refuse_the_repository(REPOSITORY.parent / f"{REPOSITORY.name}-pictures")


@pytest.mark.slow
def test_four_whole_pages_are_taken_and_what_is_wrong_with_a_page_is_found(
    page_file: Path, browser: Any, tmp_path: Path
) -> None:
    page = tmp_path / "published.html"
    page.write_text(page_file.read_text())
    rows = list(looked_at(browser, page, None))
    names = [f"published-{width}-{scheme}.png" for width in (1280, 390) for scheme in ("light", "dark")]
    assert [row["picture"] for row in rows] == names
    for row in rows:
        with Image.open(tmp_path / row["picture"]) as picture:
            width, height = picture.size
        assert width == int(row["picture"].split("-")[1])
        assert height > 3000  # the whole page, not a screen of it
        assert (row["too_wide"], row["console"]) == (False, [])
    page.write_text(page_file.read_text().replace("<main ", "<p style='width: 2000px'>wide</p><main ", 1))
    (wide, *_) = looked_at(browser, page, None)
    assert wide["too_wide"]
