"""The list of mutants (scripts/mutants.toml) fits the code as it is now; `make mutants` tries them."""

import functools
import re

import pytest

from scripts.mutants import ROOT, Mutant, chosen, fails, mutants, tried

MUTANTS = mutants()
FILES = sorted({mutant.file for mutant in MUTANTS})
read = functools.cache(lambda path: (ROOT / path).read_text())


@pytest.mark.parametrize("file", FILES)
def test_the_mutants_of_a_file_change_a_line_that_stands_there_once_and_name_tests_that_exist(file: str) -> None:
    for mutant in MUTANTS:
        if mutant.file == file:
            assert mutant.applied(read(file)) != read(file), mutant.promise
            for test in mutant.tests:
                path, _, name = test.partition("::")
                assert (ROOT / path).exists(), mutant.promise
                assert not name or name.split("[")[0] in functions_of(path), (mutant.promise, test)


@functools.cache
def functions_of(path: str) -> set[str]:
    return set(re.findall(r"^\s*def (\w+)\(", read(path), re.M))


def test_there_are_sixty_or_more_and_no_promise_twice() -> None:
    promises = [mutant.promise for mutant in MUTANTS]
    assert len(promises) >= 60
    assert len(set(promises)) == len(promises)


def test_text_that_is_not_there_or_stands_twice_is_an_error() -> None:
    mutant = Mutant("p", "f.py", "x", "y", ("tests",))
    assert mutant.applied("a x b") == "a y b"
    for text in ("a b", "x x"):
        with pytest.raises(ValueError, match="times, not once"):
            mutant.applied(text)


def test_words_choose_mutants() -> None:
    assert chosen(["no such word"]) == []
    assert {mutant.file for mutant in chosen(["edgenas/store.py"])} == {"edgenas/store.py"}


def test_a_change_is_noticed_exactly_where_a_test_fails_and_is_undone(tmp_path) -> None:
    (tmp_path / "code.py").write_text("LIMIT = 3\n")
    (tmp_path / "test_code.py").write_text("from code import LIMIT\n\ndef test_it():\n    assert LIMIT < 5\n")
    assert not fails(tmp_path, ["test_code.py"])[0]
    within, over = (Mutant("p", "code.py", "3", new, ("test_code.py",)) for new in ("4", "5"))
    assert not tried(tmp_path, within)[0]
    assert tried(tmp_path, over)[0]
    assert (tmp_path / "code.py").read_text() == "LIMIT = 3\n"


def test_a_slow_test_is_run_where_it_is_named(tmp_path) -> None:
    """Or nothing would be run, and pytest ends with 5."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -m 'not slow'\nmarkers = slow: minutes\n")
    (tmp_path / "test_code.py").write_text(
        "import pytest\n\n@pytest.mark.slow\ndef test_it():\n    assert False\n\ndef test_other():\n    pass\n"
    )
    assert fails(tmp_path, ["test_code.py::test_it"])[0]
    assert not fails(tmp_path, ["test_code.py"])[0]
