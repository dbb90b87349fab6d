"""The arrays of a study, kept in its folder: read by any process, and refused in one line where the file is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgenas
from edgenas.engine.arrays import FILE, keep, name_of_arrays
from edgenas.errors import StudyError
from edgenas.methods.settings import SearchSettings
from edgenas.store import Store
from tests.cli.edgenas import refusal
from tests.damaged_npz import DAMAGES, damaged_npz
from tests.plans import plan, studied

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
ARRAYS = IMAGES, np.array(["dark", "bright"] * 20)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Begun with ARRAYS; nothing is searched yet."""
    folder = tmp_path / "study"
    asked = SearchSettings(target=("jetson-nano-4gb",), data=name_of_arrays(ARRAYS))
    with Store.create(folder, studied(plan(asked=asked))):
        keep(ARRAYS, folder)
    return folder


def test_another_process_reads_the_images_of_the_study(study: Path) -> None:
    images, labels = edgenas.open_study(study, quiet=True).training_images()
    assert images.shape == (28, 8, 8, 1)  # 20 % are the test's, and of the rest 10 % for validation
    assert {image.tobytes() for image in images} <= {image.tobytes() for image in IMAGES}
    assert sorted(set(labels.tolist())) == [0, 1]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_the_images_is_one_line(study: Path, damage: str) -> None:
    (study / FILE).write_bytes(damaged_npz("images")[damage])
    words = rf"{study / FILE} cannot be read \(.*\): restore it, or search again under another name$"
    with pytest.raises(StudyError, match=words):
        edgenas.open_study(study, quiet=True).training_images()
    assert f"{study / FILE} cannot be read" in refusal("search", "--resume", str(study))
