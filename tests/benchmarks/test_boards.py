"""The boards' report cards: reproduced from the shared table, intervals on both sides of their bar, what is left out."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.board_families import FAMILIES
from benchmarks.board_fit import weights
from benchmarks.board_profiles import cards_of, source_of
from benchmarks.board_rows import CACHE, TABLE, Published, is_left_out, published, sides, workload_of
from benchmarks.boards import _covered_in_all, covered, figures, judge
from edgenas.hardware.profile import profile_from_name
from tests.architectures.graphs import conv, graph, pooled, value
from tests.shared_data import shared_data


def row(network: str, ms: float, side: str = "224", device: str = "board", **more: object) -> Published:
    values = {
        "runtime": "tensorrt",
        "precision": "fp16",
        "batch": 1,
        "source": "a/b:c@d",
        "group": "g",
        "what": "device time",
    }
    return Published(device=device, network=network, side=side, ms=ms, **(values | more))  # type: ignore[arg-type]


def test_a_network_is_kept_by_the_content_of_its_file_and_nothing_is_kept_of_none(tmp_path: Path) -> None:
    name, files, cache = "MadeBy-Its-Authors (their package)", tmp_path / "files", tmp_path / "cache"
    files.mkdir()
    assert [workload_of(name, "16", cache, given) for given in (None, files)] == [None, None]
    for channels in (8, 4):  # the file that is there now, also where one was missing or another before
        inputs = [value("images", ("N", 3, "H", "W"))]
        made = graph([conv("images"), pooled()], {"w": (channels, 3, 3, 3)}, inputs=inputs)
        onnx.save(made, str(files / "MadeBy-Its-Authors__their_package_.onnx"))
        for _ in range(2):
            found = workload_of(name, "16", cache, files)
            assert found is not None
            assert found.macs == channels * 3 * 9 * 16 * 16
    assert len(list(cache.iterdir())) == 2
    assert workload_of(name, "16", cache, None) is None


def test_figures_count_every_network_once() -> None:
    rows = [row("a", 1.0), row("a", 2.0, side="448"), row("b", 4.0)]
    found = figures(np.array([1.0, 2.0, 8.0]), rows)
    assert (found["networks"], found["rows"], found["within_1.5"], found["worst"]) == (2, 3, 0.5, 2.0)
    assert found["error"] == pytest.approx(np.sqrt(2) - 1)


def test_an_interval_is_made_of_other_designs_than_the_one_that_it_judges() -> None:
    designs = ["resnet", "vgg", "densenet", "shufflenet", "mnasnet", "squeezenet"]
    rows = [row(f"torchvision.models.{name}", 1.0) for name in designs]
    off = np.array([1.1, 1.1, 1.1, 1.1, 1.1, 3.0])
    assert covered(off, rows) == [True] * 5 + [False]
    assert covered(np.array([1.1, 1.1, 1.1, 1.1, 1.1, 1.2]), rows) == [True] * 6


def test_sizes_of_one_network_share_a_weight() -> None:
    rows = [row("yolov8n", 1.0, side="160"), row("yolov8n", 2.0, side="320"), row("yolov8s", 1.0), row("resnet18", 1.0)]
    found = weights(rows)
    assert found[0] == found[1] == pytest.approx(found[2] / np.sqrt(2))
    assert found[3] > found[2]  # classifiers are few


def test_sources_of_one_commit_are_one_line() -> None:
    rows = [row("a", 1.0, source="o/r:x/y/a.json@12"), row("b", 1.0, source="o/r:x/y/b.json@12")]
    assert source_of(rows) == "o/r:x/y/*@12"
    assert source_of(rows[:1]) == "o/r:x/y/a.json@12"


@pytest.mark.parametrize(
    ("field", "value", "out"),
    [
        ("confidence", "medium: MaxQ clocks not stated", True),
        ("confidence", "low: whole FPS only", True),
        ("confidence", "low: same board as the COCO128 series", False),
        ("confidence", "high: raw JSON", False),
        ("runtime", "tensorrt via DeepStream", True),
        ("board_detail", "AGX Orin, CUDA graph", True),
    ],
)
def test_rows_that_the_table_itself_doubts_are_left_out(field: str, value: str, out: bool) -> None:
    fields = ("confidence", "runtime", "board_detail", "runtime_version", "network", "what", "source", "device")
    assert is_left_out({**dict.fromkeys(fields, "x"), field: value}) is out


def test_input_sizes_read_as_the_table_writes_them() -> None:
    assert (sides("224"), sides("480x640")) == ((224, 224), (480, 640))


def test_public_fp32_of_an_orin_is_tf32() -> None:
    shared_data("latency/measured.csv.gz")
    found = {(one.device, one.precision) for one, _ in published(TABLE) if "tensorrt" in one.runtime}
    assert ("jetson-orin-nano-8gb-super", "tf32") in found
    assert ("jetson-orin-nano-8gb-super", "fp32") not in found
    assert ("jetson-agx-xavier", "fp32") in found  # Volta has no TF32


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_profile_s_report_card_is_what_the_shared_rows_say(name: str) -> None:
    """Fitted on all designs but one, judged on that one: the cards in the profiles, within rounding of the solver."""
    shared_data("latency/measured.csv.gz")
    pytest.importorskip("timm", reason="the table names networks of timm")
    one = judge(FAMILIES[name], Path(CACHE), None, ("design",))
    for profile in one.boards.profiles:
        card = profile_from_name(profile).calibration
        assert card is not None
        for key, held in cards_of(one).items():
            kept = card.judged[key]
            assert (kept.networks, kept.rows) == (held.networks, held.rows)
            assert kept.factor == pytest.approx(held.factor, rel=0.02)
            assert kept.error == pytest.approx(held.error, abs=0.01)
    share = np.mean(_covered_in_all(one))
    assert share > 0.84
    if name not in ("T4", "Thor"):  # nearly all of Paddle; one design in two versions
        whole = figures(one.held_out["design"], one.rows)
        assert whole["within_1.5"] >= 0.9
        assert whole["error"] <= 0.25
