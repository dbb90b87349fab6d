import pytest

from edgenas.engine.counts import counted


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 seeds"), (1, "1 seed"), (2, "2 seeds"), (999, "999 seeds"), (1000, "1,000 seeds")]
)
def test_one_is_singular_and_thousands_are_set_apart(number: int, words: str) -> None:
    assert counted(number, "seed") == words


def test_a_plural_of_its_own_is_used_for_all_but_one() -> None:
    assert [counted(n, "process", "processes") for n in (1, 2)] == ["1 process", "2 processes"]
