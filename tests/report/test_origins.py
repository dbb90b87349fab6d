"""Where the numbers of a report come from, and what it says of predictions that were measured, too."""

import msgspec
import pytest

from edgenas.binomial import Validation
from edgenas.records import TAR
from edgenas.report.facts import Compared
from edgenas.report.html import html_from_studies
from edgenas.report.origins import scatter_words
from tests.report.answers.cases import study, trial


@pytest.mark.parametrize(
    ("measured", "median"), [((1.0,), "10.0"), ((1.0, 2.2), "30.0"), ((1.0, 2.2, 1.1), "10.0")]
)  # 10 % too much, 50 % too little, right
def test_the_median_difference_of_an_even_number_is_the_mean_of_the_middle_two(
    measured: tuple[float, ...], median: str
) -> None:
    pairs = [Compared(1, "jetson", "fp16", 1.1, "predicted", ms, "a board", "TensorRT 10.3") for ms in measured]
    assert scatter_words(pairs) == f"Median difference {median} % (predicted against TensorRT 10.3, fp16 on a board)."


def test_validation_of_faces_is_counted_in_images_of_people_and_that_of_classes_in_images() -> None:
    """The split knows its images, not how many people are on them."""
    one = trial(1, 80.0)
    scores = {"val_tar": 80.0, "val_tar_low": 70.0, "val_tar_high": 90.0, "val_far": 0.01}
    faces = study(
        msgspec.structs.replace(one, scores=scores),
        chosen=1,
        record={"task": "faces", "metric": TAR},
        planned={"validation": Validation(200, 0.01, TAR)},
    )
    assert "on 200 validation images of people that no candidate was trained on;" in html_from_studies([faces])
    assert "on 1000 validation images that no candidate was trained on;" in html_from_studies([study(one, chosen=1)])
