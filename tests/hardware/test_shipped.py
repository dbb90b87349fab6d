"""What the shipped profiles say of networks that everybody knows: orders that published measurements agree on.

Each pair is (slower, faster) as measured by others (sources in the profiles' evidence); networks come from torchvision.
"""

import functools
import warnings
from pathlib import Path

import pytest

from edgenas.architectures.from_onnx import workload_from_onnx
from edgenas.hardware.carried import CARRIED
from edgenas.hardware.kernels import PRICES
from edgenas.hardware.predictor import Row, latencies, models_of
from edgenas.hardware.profile import all_profiles, profile_from_name, trust
from edgenas.records import Kernel, Workload

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
PUBLISHED = [profile for profile in all_profiles() if profile.confidence == "published"]


@functools.cache
def known(name: str, folder: Path) -> Workload:
    """A network of torchvision, read from its ONNX file."""
    path = folder / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = getattr(torchvision.models, name)().eval()
        torch.onnx.export(network, torch.zeros(1, 3, 224, 224), str(path), dynamo=False, opset_version=17)
    return workload_from_onnx(path, {})


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


def milliseconds(target: str, workload: Workload, precision: str | None = None) -> float:
    return latencies(profile_from_name(target), [Row("network", workload)], precision)[0].ms  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "precision", "name", "ms"),
    [
        ("raspberry-pi-5", "fp32", "resnet18", 50.3),  # priced at 415 before
        ("raspberry-pi-4", "fp32", "resnet18", 275.0),
        ("jetson-tx2", "fp16", "resnet18", 4.19),
        ("jetson-nano", "fp16", "resnet18", 10.9),
        ("jetson-xavier-nx", "fp16", "resnet18", 1.78),
        ("jetson-agx-orin-64gb", "fp16", "mobilenet_v3_large", 0.92),
        ("raspberry-pi-5", "fp32", "shufflenet_v2_x1_0", 9.43),
    ],
)
def test_a_known_network_takes_what_was_published_within_a_half(
    target: str, precision: str, name: str, ms: float, folder: Path
) -> None:
    (latency,) = latencies(profile_from_name(target), [Row(name, known(name, folder))], precision)  # type: ignore[arg-type]
    assert ms / 1.5 < latency.ms < ms * 1.5
    assert latency.low is not None
    assert latency.high is not None
    assert latency.low < ms < latency.high
    assert not latency.extrapolated


def test_depthwise_networks_are_as_slow_as_dense_ones_of_four_times_their_work_on_a_pi(folder: Path) -> None:
    """MobileNetV2 x1.1 (450 MMACs) takes 45 ms on a Pi 5, ResNet-18 (1,800 MMACs) 50: so does x1.0 here."""
    dense, depthwise = known("resnet18", folder), known("mobilenet_v2", folder)
    assert dense.macs > 5 * depthwise.macs
    ratio = milliseconds("raspberry-pi-5", dense) / milliseconds("raspberry-pi-5", depthwise)
    assert 1.0 < ratio < 2.5


def conv(groups: int, activation: str = "relu") -> Workload:
    kind = "depthwise" if groups > 1 else "conv"
    one = Kernel(
        kind, 64, 64, 56, 56, 56, 56, (-1,), kernel=(3, 3), padding=(1, 1), groups=groups, activation=activation
    )
    return Workload((one,))


@pytest.mark.parametrize("target", ["raspberry-pi-4", "raspberry-pi-5"])
def test_a_dense_convolution_of_64_times_the_work_takes_far_less_than_64_times_as_long(target: str) -> None:
    dense, depthwise, base = conv(1), conv(64), Workload((Kernel("add", 1, 1, 1, 1, 1, 1, (-1,)),))
    floor = milliseconds(target, base)
    ratio = (milliseconds(target, dense) - floor) / (milliseconds(target, depthwise) - floor)
    assert 1.0 < ratio < 12


@pytest.mark.parametrize(
    "target", ["raspberry-pi-4", "raspberry-pi-5", "jetson-tx2", "jetson-nano", "jetson-xavier-nx", "jetson"]
)
def test_silu_is_never_cheaper_than_relu(target: str) -> None:
    profile = profile_from_name(target)
    for precision in profile.precisions:
        assert milliseconds(target, conv(1, "sigmoid"), precision) >= milliseconds(target, conv(1), precision)


def test_two_well_known_networks_have_their_measured_order_on_the_default_target(folder: Path) -> None:
    """An Orin Nano Super: ResNet-50 1.81 ms (onnxsim), YOLOv8n at 640 px 4.43 in FP16; INT8 1.19 and 3.49, TF32 3.60 and 8.36."""
    from benchmarks.detectors import detector

    path = folder / "yolov8n.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            detector("yolov8n").eval(), torch.zeros(1, 3, 640, 640), str(path), dynamo=False, opset_version=17
        )
    yolo = workload_from_onnx(path, {})
    for precision in ("fp16", "int8", "tf32"):
        ratio = milliseconds("jetson", yolo, precision) / milliseconds("jetson", known("resnet50", folder), precision)
        assert 1.5 < ratio < 3.5, precision


def test_a_faster_power_mode_of_one_module_is_faster_by_what_was_measured(folder: Path) -> None:
    """15 W to MAXN_SUPER: 1.38 times in FP16 for YOLOv8n; the table's other networks 1.3-1.7."""
    slow, fast = (milliseconds(name, known("resnet50", folder)) for name in ("jetson-orin-nano-8gb", "jetson"))
    assert 1.25 < slow / fast < 1.8


def test_a_larger_module_is_faster(folder: Path) -> None:
    order = [
        "jetson-agx-orin-64gb",
        "jetson-agx-orin-32gb",
        "jetson-orin-nx-16gb",
        "jetson-orin-nx-8gb",
        "jetson-orin-nano-4gb",
    ]
    found = [milliseconds(name, known("resnet50", folder), "fp16") for name in order]
    assert found == sorted(found)


def test_tf32_and_strict_fp32_are_two_quantities(folder: Path) -> None:
    tf32, strict = (
        latencies(profile_from_name("jetson"), [Row("r", known("resnet50", folder))], precision)[0]  # type: ignore[arg-type]
        for precision in ("tf32", "fp32")
    )
    assert tf32.ms < strict.ms
    assert (tf32.precision, tf32.extrapolated) == ("tf32", False)
    assert (strict.precision, strict.extrapolated) == ("fp32", True)  # nobody has published it


def test_a_precision_that_nobody_measured_has_the_same_floor() -> None:
    """Launches and calls do not know what is computed."""
    tiny = Workload((Kernel("conv", 4, 8, 4, 4, 4, 4, (-1,)),))
    assert milliseconds("jetson", tiny, "fp32") == pytest.approx(milliseconds("jetson", tiny, "fp16"), rel=0.02)


def test_cells_say_nothing_of_whole_networks_on_a_tx2(folder: Path) -> None:
    """FP32 there rests on cells alone: a 224-px network is an extrapolation, with an interval to match."""
    (latency,) = latencies(profile_from_name("jetson-tx2"), [Row("r", known("resnet50", folder))], "fp32")
    assert latency.extrapolated
    assert latency.high is not None
    assert latency.high >= 3 * latency.ms


@pytest.mark.parametrize("profile", PUBLISHED, ids=lambda profile: profile.name)
def test_a_published_profile_names_its_sources_and_what_it_was_judged_on(profile) -> None:
    card = profile.calibration
    assert card is not None
    assert card.evidence
    for one in card.evidence:
        assert "/" in one.source.split(":")[0]
        assert 0 < one.networks <= one.rows
    assert any(name.endswith(" whole") for name in card.judged)
    assert all(held.factor >= 1 + held.error for held in card.judged.values())
    assert "others measured" in trust(profile)
    kernels = models_of(card).kernels
    assert kernels is not None
    assert set(kernels.prices) <= set(PRICES)
    assert all(kernels.prices[name] > 0 for name in CARRIED if name in kernels.prices)
