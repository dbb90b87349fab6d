"""The detectors that are written down here are the published ones: parameters and FLOPs at 640 px (YOLOX-nano: 416)."""

import pytest

from benchmarks.detectors import cost, detector

PUBLISHED = {  # millions of parameters, GFLOPs (twice the MACs), as their authors' tables say
    "yolov8n": (3.2, 8.7), "yolov10n": (2.3, 6.7), "yolo11n": (2.6, 6.5), "yolo26n": (2.4, 5.4),
    "yolov7-tiny": (6.2, 13.8), "yolox-nano": (0.91, 1.08),
}  # fmt: skip
LARGE = {
    "yolov8m": (25.9, 78.9), "yolov9t": (2.0, 7.7), "yolov9m": (20.1, 76.8), "yolov10m": (15.4, 59.1), "yolo11x": (56.9, 194.9),
    "yolo26x": (55.7, 193.9), "yolov7": (36.9, 104.7), "yolox-l": (54.2, 155.6), "yolox-s": (9.0, 26.8),
}  # fmt: skip


def check(name: str, millions: float, gflops: float) -> None:
    network = detector(name)
    assert network is not None
    params, macs = cost(network, 416 if name == "yolox-nano" else 640)
    assert params / 1e6 == pytest.approx(millions, rel=0.06)
    assert 2 * macs / 1e9 == pytest.approx(gflops, rel=0.07)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_small_detector_is_the_published_one(name: str) -> None:
    check(name, *PUBLISHED[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_large_detector_is_the_published_one(name: str) -> None:
    check(name, *LARGE[name])


def test_another_name_is_no_detector() -> None:
    assert detector("yolov8q") is None
    assert detector("resnet50") is None
