"""One picture is the same pixels in training, in the exported bundle, in serving and in evaluation, whatever kind of file it is
and however it gets the size of the network's input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edgenas.architectures.chain import chain
from edgenas.cli.main import app
from edgenas.export.release import Trained, Wishes, bundle_from_trained
from edgenas.hardware.measure import SEARCH
from edgenas.hardware.profile import profile_from_name
from edgenas.image_sizes import ImageSize
from edgenas.networks import network_from_architecture
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Fit
from edgenas.tasks import TaskSettings
from edgenas.tasks.classification import load_classification
from edgenas.tasks.mapped import MappedImages
from edgenas.training.augmentation import DeviceImages
from tests.picture_kinds import kinds
from tests.serve.running import serving

SIZE = 24


@pytest.mark.parametrize(
    ("fit", "size"),
    [
        ("crop", SIZE),
        ("stretch", SIZE),
        ("pad", SIZE),
        ("crop", (16, 40)),
        pytest.param("stretch", (40, 16), marks=pytest.mark.slow),
        pytest.param("pad", (16, 40), marks=pytest.mark.slow),
    ],
)
def test_training_export_serving_and_evaluation_see_the_same_pixels_of_every_kind(
    tmp_path: Path, fit: Fit, size: ImageSize
) -> None:
    files = {label: kinds(seed) for seed, label in enumerate(("one", "two"))}
    for label, pictures in files.items():
        (tmp_path / "pics" / label).mkdir(parents=True)
        for name, data in pictures.items():
            (tmp_path / "pics" / label / name).write_bytes(data)
    task = load_classification(TaskSettings(str(tmp_path / "pics"), image_size=size, fit=fit))
    images = task.train.images
    assert isinstance(images, MappedImages)
    in_order = [(label, name) for label in sorted(files) for name in sorted(files[label])]
    learned = dict(zip(in_order, images.whole, strict=True))  # (label, name) -> (H, W, C), as training reads them

    torch.manual_seed(0)
    architecture = chain(8, 4, (1,) * 4, (3,) * 4, task.head, 3, size)
    network = network_from_architecture(architecture).eval()
    bundle = bundle_from_trained(
        tmp_path / "bundle",
        Trained(network, architecture, task, profile_from_name("host-cpu"), data="pics"),
        Wishes(timing=SEARCH),
    )
    assert bundle.manifest.preprocessing == task.preprocessing
    assert bundle.manifest.preprocessing.fit == fit
    assert np.array_equal(bundle.golden()["inputs"], input_from_pixels(task.val.images[:8], task.preprocessing)[:8])

    on_device = DeviceImages(task.train, task.preprocessing, torch.device("cpu"))
    with torch.no_grad():
        trained_on = on_device.input(torch.from_numpy(np.stack(list(learned.values()))))  # (N, C, H, W)
        wanted = dict(zip(learned, network(trained_on).softmax(1).numpy(), strict=True))
    assert (
        len({probabilities.tobytes() for probabilities in wanted.values()}) > len(wanted) / 2
    )  # they tell pixels apart

    with serving(bundle.folder) as server:
        for label, name in in_order:
            status, answer = server.json("POST", "/classify", files[label][name])
            assert status == 200, (name, answer)
            served = {one["label"]: one["probability"] for one in answer["classes"]}
            assert [served["one"], served["two"]] == pytest.approx(wanted[label, name], abs=1e-5), name

    command = ["evaluate", str(bundle.folder), "--data", str(tmp_path / "pics"), "--split", "all", "--json"]
    confusion = np.zeros((2, 2), dtype=int)
    for (label, _), probabilities in wanted.items():
        confusion[("one", "two").index(label), probabilities.argmax()] += 1
    found = json.loads(CliRunner().invoke(app, command).stdout)
    assert found["models"]["fp32"]["confusion"] == confusion.tolist()


def test_fits_differ_where_a_picture_is_no_square(tmp_path: Path) -> None:
    """What the test above would not see: that the three are three."""
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        for seed in range(5):
            name = "wide.png"
            (tmp_path / label / f"{seed}.png").write_bytes(kinds(seed + 5 * (label == "two"))[name])
    seen = {}
    for fit in ("crop", "stretch", "pad"):
        task = load_classification(TaskSettings(str(tmp_path), image_size=SIZE, fit=fit))
        assert isinstance(task.train.images, MappedImages)
        seen[fit] = task.train.images.whole[0]
    assert not any(
        np.array_equal(seen[a], seen[b]) for a, b in (("crop", "stretch"), ("crop", "pad"), ("stretch", "pad"))
    )
    assert (seen["pad"][0] == 128).all()
    assert not (seen["crop"][0] == 128).all()
