"""Known data sets: generated files of the published layouts, the real ones where they are here, and damaged ones."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from edgenas.errors import DataError
from edgenas.tasks import Loading, TaskSettings, load_task, searched
from edgenas.tasks.datasets import folder_of_data, load_dataset, read_idx
from tests.image_folders import fill
from tests.shared_data import shared_data


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx_set(raw: Path, train: str, test: str, classes: int, zipped: bool = False) -> np.ndarray:
    """40 training and 10 test images; returns the training images."""
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    first = np.empty(0, dtype=np.uint8)
    for prefix, each in ((train, 4), (test, 1)):
        images = rng.integers(0, 256, (each * classes, 28, 28), dtype=np.uint8)
        labels = np.tile(np.arange(classes, dtype=np.uint8), each)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx(array)
            path = raw / f"{prefix}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content) if zipped else content)
        first = images if prefix == train else first
    return first


def test_mean_and_deviation_are_those_of_the_training_images_alone(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    write_idx_set(raw, "train", "t10k", 10)
    (raw / "t10k-images-idx3-ubyte").write_bytes(idx(np.full((10, 28, 28), 255, np.uint8)))  # white: not to be seen
    task = load_task(TaskSettings("mnist", data_dir=str(tmp_path)))
    pixels = task.train.images[:, 2:-2, 2:-2] / 255  # without the black frame
    assert task.preprocessing.mean == pytest.approx((pixels.mean(),), abs=1e-6)
    assert task.preprocessing.std == pytest.approx((pixels.std(),), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "folder", "train", "test", "classes"),
    [
        ("fashion-mnist", "FashionMNIST", "train", "t10k", 10),
        ("mnist", "MNIST", "train", "t10k", 10),
        ("kmnist", "KMNIST", "train", "t10k", 10),
        ("emnist", "EMNIST", "emnist-balanced-train", "emnist-balanced-test", 47),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_sets_are_padded_to_32_and_split(
    tmp_path: Path, name: str, folder: str, train: str, test: str, classes: int, zipped: bool
) -> None:
    write_idx_set(tmp_path / folder / "raw", train, test, classes, zipped)
    task = load_task(TaskSettings(name, data_dir=str(tmp_path)))
    assert (len(task.train), len(task.val), len(task.test)) == (3 * classes, classes, classes)
    assert task.train.images.shape[1:] == (32, 32, 1)
    assert not task.train.images[:, :2].any()  # black frame
    assert (task.preprocessing.size, task.preprocessing.padding) == (28, 2)
    assert task.flip == (name == "fashion-mnist")


def test_emnist_is_turned_upright(tmp_path: Path) -> None:
    stored = write_idx_set(tmp_path / "EMNIST" / "raw", "emnist-balanced-train", "emnist-balanced-test", 47)
    dataset = load_dataset("emnist", str(tmp_path))
    assert np.array_equal(dataset.train.images[0, ..., 0], stored[0].T)


def test_cifar_batches_are_read_channel_after_channel(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (300, 3072), dtype=np.uint8)
    batch = {"data": data, "fine_labels": [i % 100 for i in range(300)]}
    for file in ("train", "test"):
        (folder / file).write_bytes(pickle.dumps(batch, protocol=2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"c{i}" for i in range(100)]}, protocol=2))
    dataset = load_dataset("cifar100", str(tmp_path))
    # red, green and blue planes of 1024 bytes each, rows of 32
    assert dataset.train.images[7, 3, 5].tolist() == [data[7, c * 1024 + 3 * 32 + 5] for c in range(3)]
    assert dataset.classes[99] == "c99"
    assert dataset.flip


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch owned",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    (folder / "train").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset("cifar100", str(tmp_path))
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is no idx file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "is no idx file"),
        (idx(np.zeros((2, 2), dtype=np.uint8))[:-1], "promises"),
        (b"\0\0\x08\x03\0\0", "ends inside its header"),
    ],
)
def test_damaged_idx_files_are_one_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        read_idx(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_gzip_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((64, 64), dtype=np.uint8)))[:-9])
    with pytest.raises(DataError, match="fetch it again"):
        read_idx(path)


def test_images_and_labels_of_different_number_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    write_idx_set(raw, "train", "t10k", 10)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(3, dtype=np.uint8)))
    with pytest.raises(DataError, match=r"need \(N, H, W\) and \(N,\)"):
        load_dataset("mnist", str(tmp_path))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        DataError, match=r"'cifar' is unknown: digits, fashion-mnist, mnist, kmnist, emnist, cifar10, cifar100"
    ):
        load_task(TaskSettings("cifar"))


def test_digits_are_embedded_and_keep_their_size() -> None:
    task = load_task(TaskSettings("digits"))
    assert (len(task.train), len(task.val), len(task.test)) == (1295, 143, 359)
    assert task.train.images.shape[1:] == (8, 8, 1)
    assert task.train.images.max() == 255


def test_another_image_size_scales_the_images() -> None:
    task = load_task(TaskSettings("digits", image_size=16))
    assert task.train.images.shape[1:] == (16, 16, 1)
    with pytest.raises(DataError, match="sides of 8 to 2048 px and as many pixels as 512x512"):
        load_task(TaskSettings("digits", image_size=4))


def test_the_seed_moves_validation_but_never_the_test_set() -> None:
    one, other = (load_task(TaskSettings("digits", seed=seed)) for seed in (1, 2))
    assert np.array_equal(one.test.images, other.test.images)
    assert not np.array_equal(one.val.images, other.val.images)


def test_a_subsample_keeps_the_proportions_and_the_validation_set() -> None:
    whole, part = load_task(TaskSettings("digits")), load_task(TaskSettings("digits", search_images=200))
    assert abs(len(part.train) - 200) <= 5
    assert np.bincount(part.train.labels).min() >= 18
    assert np.array_equal(part.val.images, whole.val.images)
    assert part.preprocessing == whole.preprocessing
    assert np.array_equal(part.train.images, searched(whole.train, TaskSettings("digits", search_images=200)).images)
    with pytest.raises(DataError, match="ask for at least 20"):
        load_task(TaskSettings("digits", search_images=5))


def test_real_fashion_mnist_has_its_published_mean_and_deviation(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.parent.mkdir()
    raw.symlink_to(shared_data("fashion-mnist"))
    task = load_task(TaskSettings("fashion-mnist", data_dir=str(tmp_path)))
    assert (len(task.train), len(task.val), len(task.test)) == (54_000, 6_000, 10_000)
    assert np.bincount(task.val.labels).tolist() == [600] * 10
    assert task.preprocessing.mean == pytest.approx((0.2860,), abs=5e-4)
    assert task.preprocessing.std == pytest.approx((0.3530,), abs=5e-4)


def write_cifar100(root: Path, **spoiled: object) -> Path:
    """Three images a class; `spoiled` replaces what its batches or its meta file hold."""
    folder = root / "cifar-100-python"
    folder.mkdir()
    batch = {"data": np.zeros((300, 3072), np.uint8), "fine_labels": [i % 100 for i in range(300)]}
    meta = {"fine_label_names": [f"c{i}" for i in range(100)]}
    for file in ("train", "test", "meta"):
        whole = {**(meta if file == "meta" else batch), **spoiled}
        (folder / file).write_bytes(pickle.dumps(whole, protocol=4))
    return root


@pytest.mark.parametrize(
    ("spoiled", "complaint"),
    [
        ({"fine_labels": ["a"] * 300}, "has the label 'a': class numbers are needed"),
        ({"fine_labels": [10**30] * 300}, "has the label 10{30}: class numbers"),
        ({"fine_labels": [-1] * 300}, "has the label -1: class numbers"),
        ({"fine_labels": [1.5] * 300}, "has the label 1.5: class numbers"),
        ({"fine_labels": [[0]] * 300}, "has the label of type list: class numbers"),
        ({"fine_labels": [100] * 300}, r"has labels 100\.\.100 but 100 classes"),
        ({"fine_labels": [], "data": np.zeros((0, 3072), np.uint8)}, "has no 'fine_labels' for its 0 images"),
        ({"fine_label_names": 7}, "meta has no list of names 'fine_label_names'"),
        ({"fine_label_names": [b"c"] * 100}, "meta has no list of names 'fine_label_names'"),
    ],
)
def test_cifar_files_with_impossible_labels_are_one_line(
    tmp_path: Path, spoiled: dict[str, object], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        load_task(TaskSettings("cifar100", data_dir=str(write_cifar100(tmp_path, **spoiled))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        b"\0\0\x08\x04" + b"\x80\0\0\0" * 4,  # 2^124 bytes, in which 64 bits come out as 0
        b"\0\0\x08\x02" + b"\xff\xff\xff\xff" * 2,
        b"\0\0\x08\xff" + b"\0\0\0\1" * 255,  # 255 dimensions of one
        b"\0\0\x08\0",
    ],
)
def test_idx_headers_that_promise_the_impossible_are_one_line(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "images"
    path.write_bytes(header + b"\0" * (len(header) == 4 + 4 * 255))
    with pytest.raises(DataError, match="fetch it again") as caught:
        read_idx(path)
    assert "\n" not in str(caught.value)


def test_an_idx_set_without_images_is_refused(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    write_idx_set(raw, "train", "t10k", 10)
    (raw / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((0, 28, 28), dtype=np.uint8)))
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(0, dtype=np.uint8)))
    with pytest.raises(DataError, match=r"need \(N, H, W\) and \(N,\)"):
        load_dataset("mnist", str(tmp_path))


@pytest.mark.parametrize(("name", "task"), [("digits", "classification"), ("synthetic", "faces")])
def test_a_data_set_goes_before_a_folder_that_is_called_like_it_and_that_is_said(
    name: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    settings = TaskSettings(name, task, settings={"people": 4, "each": 2} if task == "faces" else {}, image_size=28)
    alone = load_task(settings, Loading(tell=said.append))
    assert said == []
    fill(tmp_path / name)
    beside = load_task(settings, Loading(tell=said.append))
    assert np.array_equal(beside.train.images, alone.train.images)
    assert said == [f"data {name}: the data set of this name; the folder that is called so here is ./{name}"]
    assert folder_of_data(name, task) is None
    assert folder_of_data(f"./{name}", task) == Path(name)
    assert folder_of_data(name, "of another package") == Path(name)
    load_task(settings)  # as a worker process does, which has nobody to tell
    assert len(said) == 1


def test_a_folder_that_is_called_like_a_data_set_is_read_as_it_is_written_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "digits")
    said: list[str] = []
    task = load_task(TaskSettings("./digits"), Loading(tell=said.append))
    assert len(task.classes) < 10
    assert not any("data set" in line for line in said)


def test_the_folder_of_a_data_sets_own_files_is_no_other_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's MNIST lies in MNIST/raw; somebody keeps a converted copy beside it, in mnist, or works in the data root."""
    write_idx_set(tmp_path / "MNIST/raw", "train", "t10k", 10)
    (tmp_path / "mnist").mkdir()
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    load_task(TaskSettings("mnist", data_dir="."), Loading(tell=said.append))
    assert said == []


def test_a_file_that_is_called_like_a_data_set_hides_it_as_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits").write_bytes(b"")
    assert len(load_task(TaskSettings("digits")).train)
    with pytest.raises(DataError, match="is a file: unpack it"):
        load_task(TaskSettings("./digits"))
