import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import torch

from edgenas.architectures.chain import chain
from edgenas.bundle import Bundle, read_bundle
from edgenas.errors import EdgenasError, ParityError
from edgenas.export.faces import (
    FILE,
    RAW,
    FaceParity,
    RawFaces,
    check_face_parity,
    face_drop_allowed,
    face_parity,
    with_face_input,
)
from edgenas.export.onnx import onnx_from_network
from edgenas.export.release import Trained, Wishes, bundle_from_trained
from edgenas.faces.images import SIDE
from edgenas.hardware.measure import SEARCH
from edgenas.hardware.profile import profile_from_name
from edgenas.records import ChainArchitecture, Embedding, Precision
from edgenas.runtimes.compare import cosines
from edgenas.runtimes.onnx_session import open_session
from edgenas.tasks import TaskSettings, load_task
from edgenas.tasks.faces import network_pixels, raw_pixels
from edgenas.training.loop import fresh_network
from tests.faces.test_verification import people


def architecture(size: int = 56, channels: int = 1, pool: str = "average") -> ChainArchitecture:
    return chain(4, 3, (0, 1, 0), (3, 3, 5), Embedding(32, pool), in_channels=channels, image_size=size)


def network_of(arch: ChainArchitecture) -> torch.nn.Module:
    """Seeded weights, batch norms with statistics of pictures like the ones judged, as training leaves them."""
    network = fresh_network(arch, 1, torch.device("cpu"))
    raw = torch.from_numpy(faces(32)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        for _ in range(20):
            RawFaces(network, arch).train()(raw)
    return network.eval()


def faces(count: int = 6) -> np.ndarray:
    """Smooth coloured pictures (N, 112, 112, 3)."""
    rng = np.random.default_rng(0)
    return np.stack([cv2.resize(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8), (SIDE, SIDE)) for _ in range(count)])


def by_torch(network: torch.nn.Module, arch: ChainArchitecture, images: np.ndarray) -> np.ndarray:
    raw = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        return RawFaces(network, arch).eval()(raw).numpy()


def by_opencv(path: Path, images: np.ndarray) -> np.ndarray:
    recogniser = cv2.FaceRecognizerSF.create(str(path), "")
    return np.concatenate([recogniser.feature(np.ascontiguousarray(image[..., ::-1])).copy() for image in images])


def by_insightface_rule(path: Path, images: np.ndarray) -> np.ndarray:
    """InsightFace 2.1, model_zoo/arcface_onnx.py: raw pixels where Sub.. and Mul.. are among the first eight nodes, else
    (x - 127.5) / 127.5; BGR images swapped to RGB by blobFromImages."""
    names = [node.name for node in onnx.load(path).graph.node[:8]]
    raw = any(n.startswith(("Sub", "_minus")) for n in names) and any(n.startswith(("Mul", "_mul")) for n in names)
    mean, std = (0.0, 1.0) if raw else (127.5, 127.5)
    bgr = [np.ascontiguousarray(image[..., ::-1]) for image in images]
    blob = cv2.dnn.blobFromImages(bgr, 1.0 / std, (SIDE, SIDE), (mean, mean, mean), swapRB=True)
    with open_session(path) as runtime:
        return runtime.run({"image": blob})["embedding"]


@pytest.mark.parametrize(
    ("size", "channels", "pool"), [(56, 1, "average"), (112, 3, "depthwise"), (28, 3, "average"), (112, 1, "average")]
)
def test_torch_onnx_runtime_opencv_and_insightface_read_one_file_alike(
    tmp_path: Path, size: int, channels: int, pool: str
) -> None:
    arch = architecture(size, channels, pool)
    network = network_of(arch)
    path = tmp_path / "model.onnx"
    onnx.save(with_face_input(onnx_from_network(network, arch), arch), path)
    images = faces()
    wanted = by_torch(network, arch, images)
    with open_session(path) as runtime:
        pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
        assert cosines(wanted, runtime.run({"image": pixels})["embedding"]).min() >= 0.999999
    assert cosines(wanted, by_opencv(path, images)).min() >= 0.9999
    assert cosines(wanted, by_insightface_rule(path, images)).min() >= 0.9999
    apart = wanted - wanted.mean(0)  # an untrained network tells pictures apart by little; that little agrees too
    assert cosines(apart, by_opencv(path, images) - wanted.mean(0)).min() >= 0.999
    assert cosines(apart, apart[::-1]).min() < 0.5


def test_the_real_insightface_reads_it_alike_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("insightface", reason="insightface is not installed (see docs/faces.md)")
    arch = architecture()
    network = network_of(arch)
    onnx.save(with_face_input(onnx_from_network(network, arch), arch), tmp_path / "model.onnx")
    np.save(tmp_path / "images.npy", faces())
    code = (
        "import sys, numpy as np\n"
        "from insightface.model_zoo import get_model\n"
        "model = get_model(sys.argv[1] + '/model.onnx', providers=['CPUExecutionProvider'])\n"
        "images = [np.ascontiguousarray(x[..., ::-1]) for x in np.load(sys.argv[1] + '/images.npy')]\n"
        "np.save(sys.argv[1] + '/out.npy', model.get_feat(images))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert cosines(by_torch(network, arch, faces()), np.load(tmp_path / "out.npy")).min() >= 0.9999


def test_the_opset_of_old_boards_carries_the_same_front(tmp_path: Path) -> None:
    arch = architecture()
    network = network_of(arch)
    model = with_face_input(onnx_from_network(network, arch, opset=13, ir=7), arch)
    with open_session(model.SerializeToString()) as runtime:
        pixels = faces().transpose(0, 3, 1, 2).astype(np.float32)
        assert cosines(by_torch(network, arch, faces()), runtime.run({"image": pixels})["embedding"]).min() >= 0.99999


def test_enlarged_pixels_come_back_unchanged() -> None:
    small = np.random.default_rng(0).integers(0, 256, (3, 56, 56, 1), dtype=np.uint8)
    assert np.array_equal(network_pixels(raw_pixels(small), 56, 1), small)


def test_a_size_that_does_not_divide_a_face_is_refused() -> None:
    arch = chain(4, 3, (0, 0, 0), (3, 3, 3), Embedding(32), image_size=64)
    with pytest.raises(EdgenasError, match="at 64 px with 3 channels cannot be fed from 112x112 RGB"):
        RawFaces(torch.nn.Identity(), arch)


def face_bundle(folder: Path, *precisions: Precision) -> Bundle:
    """An untrained recogniser on a small procedural task."""
    task = load_task(TaskSettings("synthetic", "faces", image_size=56, settings={"people": 30.0, "each": 4.0}))
    arch = architecture()
    trained = Trained(network_of(arch), arch, task, profile_from_name("jetson"), "synthetic")
    return bundle_from_trained(folder, trained, Wishes(precisions, max_drop=5, timing=SEARCH))


@functools.cache
def shared_face_bundle() -> Bundle:
    """One for all tests that only read it."""
    folder = Path(tempfile.mkdtemp(prefix="edgenas-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return face_bundle(folder / "door", "fp32")


def test_a_recogniser_becomes_a_bundle_that_takes_raw_pixels() -> None:
    bundle = shared_face_bundle()
    manifest = read_bundle(bundle.folder).manifest
    assert manifest.task == "faces"
    assert manifest.preprocessing == RAW
    assert manifest.models["fp32"].artifact.inputs == {"image": ("batch", 3, 112, 112)}
    (row,) = msgspec.json.decode((bundle.folder / FILE).read_bytes(), type=tuple[FaceParity, ...])
    assert row.cosine == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
def test_what_every_precision_does_to_verification_is_in_the_bundle(tmp_path: Path) -> None:
    bundle = face_bundle(tmp_path / "b", "fp32", "fp16", "int8")
    rows = msgspec.json.decode((bundle.folder / FILE).read_bytes(), type=tuple[FaceParity, ...])
    found = {row.precision: row for row in rows}
    assert set(found) == {"fp32", "fp16", "int8"}
    assert found["fp16"].cosine >= 0.999
    assert found["int8"].cosine >= 0.99
    for precision in ("fp16", "int8"):
        wanted = by_opencv(bundle.path("fp32"), faces())
        assert cosines(wanted, by_insightface_rule(bundle.path(precision), faces())).min() >= 0.98


def test_a_parity_report_of_many_images_compares_the_same_sampled_pairs() -> None:
    full, labels = people(1050, 2, 1.0)  # 2.2 million impostor pairs, of which 2 million are drawn
    report = face_parity("fp32", full, full, labels, far=0.01)
    assert (report.tar_fp32_gallery, report.far_fp32_gallery) == (report.tar, report.far_there)


def test_a_parity_report_counts_by_definition() -> None:
    full, labels = people(20, 4, 1.0)
    noisy = full + 0.3 * np.random.default_rng(1).normal(size=full.shape)
    report = face_parity("int8", full, noisy, labels, far=0.01)
    unit, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (full, noisy))
    a, b = np.triu_indices(80, 1)
    same = labels[a] == labels[b]
    mixed = (unit[a] * other[b]).sum(1)
    assert report.tar_fp32_gallery == pytest.approx(100 * (mixed[same] >= report.threshold).mean())
    assert report.far_fp32_gallery == pytest.approx((mixed[~same] >= report.threshold).mean())
    assert report.cosine == pytest.approx((unit * other).sum(1).mean(), abs=1e-5)
    assert face_parity("fp32", full, full, labels, far=0.01).threshold_shift == 0
    with pytest.raises(ParityError, match=r"int8 loses .* points of TAR at FAR 0\.01"):
        check_face_parity(msgspec.structs.replace(report, tar=report.tar_fp32 - 1), max_drop=0.5)


@pytest.mark.parametrize(
    ("precision", "asked", "allowed"),
    [("fp16", None, 0.2), ("int8", None, 0.5), ("fp16", 1.0, 1.0), ("int8", 1.0, 1.0), ("fp16", 0.0, 0.0)],
)
def test_a_recogniser_may_lose_what_was_asked_for_at_every_precision(
    precision: Precision, asked: float | None, allowed: float
) -> None:
    task = load_task(TaskSettings("synthetic", "faces", image_size=56, settings={"people": 30.0, "each": 4.0}))
    assert face_drop_allowed(task, precision, asked) == allowed
    full, labels = people(20, 4, 1.0)
    report = face_parity(precision, full, full, labels, far=0.01)
    for gallery in ("tar", "tar_fp32_gallery"):  # in this precision, and in FP32: the probes are in this one
        check_face_parity(msgspec.structs.replace(report, **{gallery: report.tar_fp32 - allowed}), allowed)
        with pytest.raises(ParityError, match=rf"--max-drop is {allowed:g}: leave it out or allow more"):
            check_face_parity(msgspec.structs.replace(report, **{gallery: report.tar_fp32 - allowed - 0.01}), allowed)
