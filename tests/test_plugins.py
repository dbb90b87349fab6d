"""Things by name: those that come along, and those of packages that are installed beside this one."""

import sys
from pathlib import Path

import pytest

from edgenas.errors import EdgenasError
from edgenas.plugins import Registry
from tests.packages import install

GROUP = "edgenas.shapes"
SHAPES = Registry("shape", GROUP, {"circle": "math:pi", "broken": "edgenas.errors:Nothing"})


def test_what_comes_along_is_imported_by_its_name() -> None:
    assert SHAPES.load("circle") == pytest.approx(3.14159, abs=1e-5)
    assert SHAPES.names() == ("circle", "broken")


def test_another_package_adds_a_name_and_is_not_imported_before_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(
        install(tmp_path, "more-shapes", "cubes", "SIDES = 6", {GROUP: {"cube": "cubes:SIDES"}})
    )
    assert SHAPES.names() == ("circle", "broken", "cube")
    assert "cubes" not in sys.modules
    assert SHAPES.load("cube") == 6
    monkeypatch.delitem(sys.modules, "cubes")


def test_an_unknown_name_is_told_with_those_that_are_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(
        install(tmp_path, "more-shapes", "cubes", "SIDES = 6", {GROUP: {"cube": "cubes:SIDES"}})
    )
    with pytest.raises(
        EdgenasError, match=r"^shape 'cub' is unknown; possible: circle, broken, cube; other packages add "
    ):
        SHAPES.load("cub")


def test_one_name_of_two_packages_is_refused_with_both_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        folder = tmp_path / str(number)
        install(folder, f"shapes-{number}", f"cubes{number}", "SIDES = 6", {GROUP: {"cube": f"cubes{number}:SIDES"}})
        monkeypatch.syspath_prepend(folder)
    with pytest.raises(EdgenasError, match=r"package shapes-1 \(cubes1:SIDES\) and package shapes-2 \(cubes2:SIDES\)"):
        SHAPES.load("cube")


def test_one_package_that_lies_on_the_path_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        folder = install(tmp_path / str(number), "shapes", "cubes", "SIDES = 6", {GROUP: {"cube": "cubes:SIDES"}})
        monkeypatch.syspath_prepend(folder)
    assert SHAPES.load("cube") == 6
    monkeypatch.delitem(sys.modules, "cubes")


def test_a_name_that_comes_along_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path, "shapes", "cubes", "SIDES = 6", {GROUP: {"circle": "cubes:SIDES"}}))
    with pytest.raises(
        EdgenasError, match=r"'circle' comes with edgenas, and package shapes \(cubes:SIDES\) names another"
    ):
        SHAPES.load("circle")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("SIDE = 6", "AttributeError: module 'cubes' has no attribute 'SIDES'"),
        ("SIDES = six", "NameError: name 'six' is not defined"),
        ("SIDES = (", "SyntaxError"),
        ("SIDES = 6 / 0", "ZeroDivisionError"),
        ("raise RuntimeError('first\\nsecond')", "RuntimeError: first second"),
    ],
)
def test_a_package_that_cannot_be_imported_is_told_in_one_line(
    code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path, "more-shapes", "cubes", code, {GROUP: {"cube": "cubes:SIDES"}}))
    monkeypatch.delitem(sys.modules, "cubes", raising=False)
    with pytest.raises(EdgenasError) as caught:
        SHAPES.load("cube")
    message = str(caught.value)
    assert message.startswith("shape 'cube' of package more-shapes cannot be imported (")
    assert reason in message
    assert "\n" not in message
    sys.modules.pop("cubes", None)


def test_a_fault_in_this_package_is_a_bug_and_no_mistake_of_the_users() -> None:
    with pytest.raises(AttributeError):
        SHAPES.load("broken")
