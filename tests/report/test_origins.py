"""What the report says of predictions that were measured, too."""

import pytest

from edgenas.report.facts import Compared
from edgenas.report.origins import scatter_words


@pytest.mark.parametrize(
    ("measured", "median"), [((1.0,), "10.0"), ((1.0, 2.2), "30.0"), ((1.0, 2.2, 1.1), "10.0")]
)  # 10 % too much, 50 % too little, right
def test_the_median_difference_of_an_even_number_is_the_mean_of_the_middle_two(
    measured: tuple[float, ...], median: str
) -> None:
    pairs = [Compared(1, "jetson", "fp16", 1.1, "predicted", ms, "a board", "TensorRT 10.3") for ms in measured]
    assert scatter_words(pairs) == f"Median difference {median} % (predicted against TensorRT 10.3, fp16 on a board)."
