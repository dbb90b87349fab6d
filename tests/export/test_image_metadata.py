"""What a file says of its images in ONNX's own words: only what is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgenas.export.faces import RAW
from edgenas.export.image_metadata import describe_image, nominal_range
from edgenas.export.release import Wishes, bundle_from_trained
from edgenas.hardware.measure import SEARCH
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Preprocessing
from tests.digits_bundle import digits_bundle, trained
from tests.export.test_faces import shared_face_bundle

HALF = (0.5, 0.5, 0.5)
IMAGENET = Preprocessing(3, 8, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def metadata(path: Path) -> dict[str, str]:
    found = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map
    return {key: value for key, value in found.items() if key.startswith("Image.")}


def denotations(path: Path) -> tuple[str, list[str], list[str]]:
    """Of the input's type, of its sides, and of the output's."""
    graph = onnx.load(path).graph
    given, made = graph.input[0].type, graph.output[0].type
    sides = [[side.denotation for side in port.tensor_type.shape.dim] for port in (given, made)]
    return given.denotation, sides[0], sides[1]


@pytest.mark.parametrize(
    ("preprocessing", "name"),
    [
        (Preprocessing(3, 8, (0.0,) * 3, (1.0,) * 3), "Normalized_0_1"),
        (Preprocessing(1, 8, (0.5,), (0.5,)), "Normalized_1_1"),
        (RAW, "NominalRange_0_255"),
        (IMAGENET, None),
        (Preprocessing(3, 8, HALF, (0.5, 0.5, 0.499)), None),  # one channel is not in the range
        (Preprocessing(3, 8, (0.5, 0.5, 0.501), HALF), None),
    ],
)
def test_a_range_is_named_where_the_standard_has_it(preprocessing: Preprocessing, name: str | None) -> None:
    assert nominal_range(preprocessing, uint8=False) == name
    assert nominal_range(preprocessing, uint8=True) == "NominalRange_0_255"  # pixels as they are
    shape = (*preprocessing.input_sides, preprocessing.channels)
    ends = np.stack([np.full(shape, v, np.uint8) for v in (0, 255)])
    fed = input_from_pixels(ends, preprocessing)
    found = {"Normalized_0_1": (0, 1), "Normalized_1_1": (-1, 1), "NominalRange_0_255": (0, 255)}.get(name or "")
    if found:
        np.testing.assert_allclose([fed[0].min(), fed[1].max()], found, atol=1e-4)


def test_a_camera_file_says_all_of_its_pixels(tmp_path: Path) -> None:
    path = bundle_from_trained(tmp_path / "b", trained(), Wishes(uint8=True, timing=SEARCH)).path("fp32")
    assert metadata(path) == {
        "Image.BitmapPixelFormat": "Gray8",
        "Image.ColorSpaceGamma": "SRGB",
        "Image.NominalPixelRange": "NominalRange_0_255",
    }
    sides = ["DATA_BATCH", "DATA_FEATURE", "DATA_FEATURE", "DATA_CHANNEL"]
    assert denotations(path) == ("IMAGE", sides, ["DATA_BATCH", ""])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_input_that_was_normalised_otherwise_is_not_called_an_image(precision: str) -> None:
    path = digits_bundle().path(precision)  # type: ignore[arg-type]
    assert metadata(path) == {}
    sides = ["DATA_BATCH", "DATA_CHANNEL", "DATA_FEATURE", "DATA_FEATURE"]
    assert denotations(path) == ("", sides, ["DATA_BATCH", ""])


def test_a_recogniser_takes_rgb_of_0_to_255() -> None:
    path = shared_face_bundle().path("fp32")
    assert metadata(path)["Image.BitmapPixelFormat"] == "Rgb8"
    assert metadata(path)["Image.NominalPixelRange"] == "NominalRange_0_255"
    assert denotations(path)[0] == "IMAGE"


def test_other_metadata_stays_beside_it() -> None:
    model = onnx.load(digits_bundle().path("fp32"))
    before = {entry.key: entry.value for entry in model.metadata_props}
    describe_image(model, Preprocessing(1, 8, (0.0,), (1.0,)), uint8=False)
    after = {entry.key: entry.value for entry in model.metadata_props}
    assert before.items() <= after.items()
    assert set(after) - set(before) == {"Image.BitmapPixelFormat", "Image.ColorSpaceGamma", "Image.NominalPixelRange"}
