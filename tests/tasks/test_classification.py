"""A loaded classification task, beyond its pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenas.tasks import TaskSettings, load_task


@pytest.mark.parametrize(("counts", "chance"), [((100, 50, 50), 50.0), ((80, 80, 80), 100 / 3)])
def test_chance_is_what_always_answering_the_most_frequent_class_scores(
    tmp_path: Path, counts: tuple[int, ...], chance: float
) -> None:
    rng = np.random.default_rng(0)
    for label, count in enumerate(counts):
        (tmp_path / f"class{label}").mkdir()
        for index in range(count):
            image = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
            image.save(tmp_path / f"class{label}" / f"{index}.png")
    task = load_task(TaskSettings(str(tmp_path)))
    labels = task.val.labels  # stratified: the shares of the whole
    assert task.chance == pytest.approx(100 * max((labels == label).mean() for label in range(3)))
    assert task.chance == pytest.approx(chance, abs=0.01)
