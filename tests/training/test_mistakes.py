import hashlib
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from edgenas.tasks import Loading, TaskSettings, load_task
from edgenas.training.mistakes import KEPT, SIDE, file_of, worst_mistakes
from tests.trained_digits import digits


def outputs_with(wrong: dict[int, tuple[int, float]]) -> torch.Tensor:
    """Logits that are right and sure but for some test images: {index: (class, its probability)}, the rest for the true one."""
    labels = digits().test.labels
    outputs = np.full((len(labels), 10), -60.0)
    outputs[np.arange(len(labels)), labels] = 0.0
    for index, (called, share) in wrong.items():
        outputs[index, called] = math.log(share / (1 - share))
    return torch.from_numpy(outputs)


def other_than(index: int) -> int:
    return int((digits().test.labels[index] + 1) % 10)


def test_the_mistakes_kept_are_those_of_highest_confidence_and_come_surest_first(tmp_path: Path) -> None:
    shares = {index: 0.55 + 0.03 * index for index in range(12)}
    found = worst_mistakes(
        digits(), outputs_with({i: (other_than(i), p) for i, p in shares.items()}), tmp_path / "a.safetensors"
    )
    assert found is not None
    assert [mistake.index for mistake in found] == list(range(11, 11 - KEPT, -1))
    first = found[0]
    assert first.confidence == pytest.approx(100 * (0.55 + 0.33))
    assert first.of_true == pytest.approx(100 - first.confidence)
    assert (first.true, first.called) == (str(digits().test.labels[11]), str(other_than(11)))


def test_the_pictures_are_the_test_images_and_their_hashes_are_kept(tmp_path: Path) -> None:
    (mistake,) = (
        worst_mistakes(digits(), outputs_with({7: (other_than(7), 0.9)}), tmp_path / "w" / "a.safetensors") or ()
    )
    assert mistake.image == "w/a.mistakes/0.png"
    assert mistake.image_sha256 == hashlib.sha256((tmp_path / mistake.image).read_bytes()).hexdigest()
    with Image.open(tmp_path / mistake.image) as picture:
        np.testing.assert_array_equal(np.asarray(picture), digits().test.images[7][..., 0])


def test_a_network_without_a_mistake_keeps_an_empty_list_and_no_folder(tmp_path: Path) -> None:
    assert worst_mistakes(digits(), outputs_with({}), tmp_path / "a.safetensors") == ()
    assert list(tmp_path.iterdir()) == []


def test_an_image_of_a_folder_is_kept_small_and_named_by_its_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("train", "test"):
        for name, shade in (("dark", 40), ("light", 200)):
            folder = tmp_path / "data" / kind / name
            folder.mkdir(parents=True)
            for index in range(6):
                pixels = rng.integers(shade - 30, shade + 30, (160, 160, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{kind}-{index}.png")
    task = load_task(TaskSettings(str(tmp_path / "data"), image_size=160), Loading(tmp_path / "cache", lambda _: None))
    outputs = torch.zeros(len(task.test), 2)
    outputs[:, 1] = 5.0  # everything is light
    found = worst_mistakes(task, outputs, tmp_path / "weights" / "a.safetensors")
    assert found is not None
    assert sorted(mistake.file for mistake in found) == [f"test/dark/test-{index}.png" for index in range(6)]
    assert {(mistake.true, mistake.called) for mistake in found} == {("dark", "light")}
    with Image.open(tmp_path / found[0].image) as picture:
        assert picture.size == (SIDE, SIDE)
    assert file_of(np.zeros((1, 2, 2, 1), np.uint8), 0) == ""


def test_a_task_without_classes_to_confuse_keeps_none(tmp_path: Path) -> None:
    class Generic:
        kind = "generic"

    assert worst_mistakes(Generic(), torch.zeros(3, 1), tmp_path / "a.safetensors") is None  # type: ignore[arg-type]


def test_a_run_of_an_earlier_version_says_nothing_of_mistakes() -> None:
    from edgenas.records import FinalRun

    old = b'{"seed":1,"weights":"w","test":{},"val":{},"best_epoch":1,"best_val":{},"best_test":{},"seconds":1.0}'
    run = msgspec.json.decode(old, type=FinalRun)
    assert (run.mistakes, run.curve) == (None, ())
