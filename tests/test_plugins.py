"""What installed packages add: found by name, imported when asked for, and every mistake one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgenas.errors import EdgenasError
from edgenas.plugins import chosen_plugin, plugged_names

GROUP = "edgenas.tests"


def install(folder: Path, package: str, entries: str, code: str) -> None:
    """A package as pip leaves it: its module, and the metadata of its distribution."""
    (folder / f"{package}.py").write_text(code)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def chosen(name: str) -> int:
    return chosen_plugin(GROUP, name, {"one": 1}, int, "number")


def test_names_are_known_without_an_import_and_the_object_with_one(site: Path) -> None:
    install(site, "plugin_two", "two = plugin_two:VALUE", "VALUE = 2")
    assert plugged_names(GROUP) == ("two",)
    assert "plugin_two" not in sys.modules
    assert (chosen("one"), chosen("two")) == (1, 2)


@pytest.mark.parametrize(
    ("entries", "code", "complaint"),
    [
        ("two = plugin_bad:VALUE", "VALUE = 2", "number 'three' is unknown: possible are one, two"),
        ("three = plugin_bad:VALUE", "VALUE = 'three'", "is a str, it must be a int: mend the package"),
        ("three = plugin_bad:VALUE", "import no_such_module", "cannot be imported: No module named 'no_such_module'"),
        ("three = plugin_bad:OTHER", "VALUE = 3", "cannot be imported"),
    ],
)
def test_what_is_no_plugin_is_one_line(site: Path, entries: str, code: str, complaint: str) -> None:
    sys.modules.pop("plugin_bad", None)
    install(site, "plugin_bad", entries, code)
    with pytest.raises(EdgenasError) as caught:
        chosen("three")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    sys.modules.pop("plugin_bad", None)


def test_two_packages_with_one_name_are_refused(site: Path) -> None:
    install(site, "plugin_a", "three = plugin_a:VALUE", "VALUE = 3")
    install(site, "plugin_b", "three = plugin_b:VALUE", "VALUE = 3")
    with pytest.raises(EdgenasError, match="there twice .*plugin_a.*plugin_b"):
        chosen("three")


def test_a_name_that_comes_along_cannot_be_taken(site: Path) -> None:
    install(site, "plugin_c", "one = plugin_c:VALUE", "VALUE = 1")
    with pytest.raises(EdgenasError, match="comes with edgenas, and plugin_c:VALUE of plugin_c has the same name"):
        chosen("one")
