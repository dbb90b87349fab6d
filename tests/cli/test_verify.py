"""What `edgenas verify` prints of a measurement beside its limit."""

import pytest

from edgenas.cli.verify import _text
from edgenas.remote.verification import Times, Verified


@pytest.mark.parametrize(
    ("median", "limit", "shown"),
    [
        (2.00004, 2.0, ("2.00004", "2", "NO")),
        (1.99996, 2.0, ("1.99996", "2", "yes")),
        (2.00004, 2.00004, ("2.00004", "2.00004", "yes")),
        (2.00004, None, ("2", "-", "yes")),
    ],
)
def test_a_measured_figure_shows_its_side_of_a_limit_that_is_told_with_all_its_digits(
    median: float, limit: float | None, shown: tuple[str, str, str]
) -> None:
    times = Times(median, 2.5, None)
    holds = limit is None or median <= limit
    one = Verified(3, 1.9, "predicted", times, "onnx", "fp32", "ok", (), limit, None, holds)
    told = _text([one]).replace(";", " ")  # which wraps a row where the terminal is narrow
    row = told[told.index("\n3 ") :].split()
    assert (row[4], row[-2], row[-1]) == shown
