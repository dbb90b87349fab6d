"""How EdgeNAS is installed stands in the README and on a page of the site: in the same words."""

import tomli

from tests.docs.blocks import ROOT


def test_the_table_of_machines_in_the_readme_is_the_pages() -> None:
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8").splitlines()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## Installation") :].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(rows) > 3
    assert [row for row in rows if row not in page] == []


def test_the_page_names_every_extra() -> None:
    extras = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    assert [
        extra
        for extra in extras
        if extra not in ("dev", "docs") and f"`{extra}`" not in page and f"[{extra}," not in page
    ] == []
