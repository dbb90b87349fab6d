"""Calibration: what it reads, what it refuses, what it promises on held-out rows; real tables where they are here."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgenas.architectures.chain import chain
from edgenas.errors import EdgenasError
from edgenas.hardware.calibrate import (
    calibrate,
    confidence_of,
    fitted_models,
    known_devices,
    profile_to_calibrate,
    report_card,
    split_by_network,
)
from edgenas.hardware.calibration import calibration
from edgenas.hardware.cost import CostModel
from edgenas.hardware.kernel_model import fit_kernels
from edgenas.hardware.kernels import PRICES, datasheet_prices, tiles_of
from edgenas.hardware.predictor import Models, Row, latencies, latency_from_workload, loads_of_rows, row_from_text
from edgenas.hardware.profile import profile_from_name, resolved, write_profile
from edgenas.hardware.rows import rows_from_csv
from edgenas.records import Classes, HardwareProfile, Limits
from tests.hardware.measured_files import benched
from tests.shared_data import shared_data

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|"
NEW = profile_to_calibrate(None, "bench-board", "onnxruntime", "fp32")


def cell_rows(column: str) -> list[Row]:
    data = np.load(shared_data("nas/nb201.npz"))
    names = [str(name) for name in data["op_names"]]
    place = [str(name) for name in data["latency_devices"]].index(column)
    form = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    return [
        msgspec.structs.replace(row_from_text(form.format(*[names[op] for op in ops])), ms=float(ms))
        for ops, ms in zip(data["ops"][:3000], data["latency_ms"][:3000, place], strict=True)
        if ms > 0
    ]


def fbnet_rows(column: str) -> list[Row]:
    data = np.load(shared_data("nas/fbnet_5000.npz"))
    place = [str(name) for name in data["devices"]].index(column)
    texts = ["fbnet:" + "".join(map(str, arch)) for arch in data["arch"][:800]]
    return [
        msgspec.structs.replace(row_from_text(text), ms=float(ms))
        for text, ms in zip(texts, data["latency_ms"][:800, place], strict=True)
    ]


@pytest.mark.parametrize(
    ("column", "least"),
    [
        ("help_titan_rtx_256", 0.98),
        ("latbench_embedded-gpu-jetson-nano-fp32", 0.97),
        ("oneproxy_nnmeter_cortexA76", 0.97),
    ],
)
def test_twenty_cells_rank_the_rest_of_nasbench201(column: str, least: float) -> None:
    card = calibrate(NEW, cell_rows(column), 20, 0, "table").calibration
    assert card is not None
    assert card.n == 20
    assert (card.spearman or 0) > least


def test_ten_networks_rank_the_rest_of_the_fbnet_space() -> None:
    profile = calibrate(NEW, fbnet_rows("raspi4"), 10, 0, "table")
    assert profile.calibration is not None
    assert (profile.calibration.spearman or 0) > 0.96
    assert profile.confidence == "measured"


def test_a_hundred_networks_predict_the_jetson_nano_and_the_profile_reads_back(tmp_path: Path) -> None:
    import csv
    import gzip

    with gzip.open(shared_data("nas/jetson_nano_tensorrt.csv.gz"), "rt", newline="") as file:
        lines = list(csv.DictReader(file))[::8]
    rows = [
        msgspec.structs.replace(row_from_text(line["model_name"]), ms=float(line["average_latency_ms"]))
        for line in lines
    ]
    profile = calibrate(profile_from_name("jetson-nano"), rows, 100, 0, "table")
    card = profile.calibration
    assert card is not None
    assert (card.spearman or 0) > 0.996
    assert (card.within_10 or 0) > 0.85
    write_profile(profile, tmp_path / "nano.toml")
    again = profile_from_name(str(tmp_path / "nano.toml"))
    assert [x.ms for x in latencies(again, rows[:20])] == [x.ms for x in latencies(profile, rows[:20])]


@pytest.mark.parametrize(
    ("held_out", "spearman", "confidence"),
    [(8, 0.9, "measured"), (7, 0.99, "estimate"), (80, 0.899, "estimate"), (8, None, "estimate")],
)
def test_a_fit_is_called_measured_from_eight_unseen_networks_ranked_at_nine_tenths(
    held_out: int, spearman: float | None, confidence: str
) -> None:
    assert confidence_of(held_out, spearman) == confidence


def test_a_report_card_counts_errors_of_5_and_10_percent_and_the_worst_underestimate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [msgspec.structs.replace(row_from_text(f"convnet_L3_F{8 * n}_K3x3_W32"), ms=float(n)) for n in range(1, 5)]
    predicted = np.array([1.04, 1.06, 0.91, 0.89]) * [row.ms for row in rows]
    monkeypatch.setattr("edgenas.hardware.calibrate._predicted", lambda *_: predicted)
    card = report_card(NEW, Models(), rows)
    assert (card["within_5"], card["within_10"]) == (0.25, 0.75)
    assert (card["worst_under"], card["mape"]) == pytest.approx((0.11, 0.075))
    monkeypatch.setattr("edgenas.hardware.calibrate._predicted", lambda *_: 1.2 * predicted)
    assert report_card(NEW, Models(), rows)["worst_under"] == 0  # none is


@pytest.mark.parametrize(("networks", "learned"), [(39, False), (40, True)])
def test_what_the_prices_leave_over_is_learned_from_40_rows_on(networks: int, learned: bool) -> None:
    nano = profile_from_name("jetson-nano")
    rows = [row_from_text(f"convnet_L{2 + n % 5}_F{8 + 8 * n}_K3x3_W32") for n in range(networks)]
    loads = loads_of_rows(rows, tiles_of("tensorrt", "fp32", "", fitted=False), "fp32")
    prices = datasheet_prices(nano, "fp32")
    ms = np.array([load.sum(axis=0) for load in loads]) @ [prices[name] for name in PRICES]
    ms *= np.random.default_rng(0).lognormal(0, 0.1, networks)
    assert (fit_kernels(loads, ms, prices, known_device=True, seed=0).residual is not None) is learned


def test_the_same_seed_gives_the_same_profile_and_another_seed_another() -> None:
    rows = fbnet_rows("pixel3")
    one, same, other = (calibrate(NEW, rows, 12, seed, "table") for seed in (1, 1, 2))
    assert one == same
    assert one.calibration != other.calibration


def test_rows_of_several_kinds_are_calibrated_together() -> None:
    rows = fbnet_rows("raspi4")[:100] + cell_rows("help_raspi4")[:200]
    profile = calibrate(NEW, rows, 150, 0, "tables")
    assert profile.calibration is not None
    assert profile.calibration.model == "nasbench201 16x5 3x32, fbnet 3x32"
    assert (profile.calibration.spearman or 0) > 0.9


def test_a_network_of_another_kind_is_predicted_by_its_kernels_as_extrapolation() -> None:
    profile = calibrate(NEW, fbnet_rows("raspi4"), 30, 0, "table")
    inside = latencies(profile, [row_from_text("fbnet:" + "0" * 22)])[0]
    outside = latency_from_workload(profile, chain(128, 30, (1,) * 30, (5,) * 30, Classes(10)))
    assert (inside.origin, inside.extrapolated) == ("predicted", False)
    assert (outside.origin, outside.extrapolated) == ("predicted", True)
    assert outside.ms > inside.ms


def test_another_precision_than_the_calibrated_one_is_extrapolation() -> None:
    nano = profile_from_name("jetson-nano")
    network = row_from_text("convnet_L6_F256_K3x3_W60")
    single, half = latencies(nano, [network], "fp32")[0], latencies(nano, [network], "fp16")[0]
    assert (single.extrapolated, half.extrapolated) == (False, True)
    assert half.ms < single.ms


def test_three_rows_with_other_devices_rank_better_than_three_alone() -> None:
    rows = cell_rows("help_gold_6240")[::3]
    others = known_devices()
    mine = {space: {d: m for d, m in models.items() if "6240" not in d} for space, models in others.cells.items()}
    helped, alone = [], []
    for seed in range(3):
        for results, known in ((helped, msgspec.structs.replace(others, cells=mine)), (alone, None)):
            card = calibrate(NEW, rows, 3, seed, "table", known).calibration
            assert card is not None
            results.append(card.spearman or 0.0)
    assert np.mean(helped) > np.mean(alone) + 0.02


def test_a_poor_fit_is_an_estimate_and_says_so() -> None:
    rows = fbnet_rows("raspi4")[:40]
    shuffled = [msgspec.structs.replace(row, ms=other.ms) for row, other in zip(rows, rows[::-1], strict=True)]
    assert calibrate(NEW, shuffled, 20, 0, "noise").confidence == "estimate"
    assert calibrate(NEW, rows, 35, 0, "few held out").confidence == "estimate"  # 5 rows cannot judge


def test_a_disconnected_cell_is_predicted_in_its_space_only() -> None:
    rows = cell_rows("help_raspi4")
    models = fitted_models(NEW, rows[:100], 0)
    nothing = row_from_text("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    assert models.cells["nasbench201 16x5 3x32"].predict([nothing.cell])[0] < 10
    with pytest.raises(EdgenasError, match="never connects"):
        latencies(profile_from_name("raspberry-pi-5"), [nothing])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "no column 'architecture'"),
        ("architecture\n", "no column 'latency_ms'"),
        ("architecture,latency_ms\n", "has no rows"),
        (f"architecture,latency_ms\n{CELL},nan\n", "line 2: latency_ms is 'nan'"),
        (f"architecture,latency_ms\n{CELL},-1\n", "positive number"),
        (f"architecture,latency_ms\n{CELL},0\n", "positive number"),
        (f"architecture,latency_ms\n{CELL},inf\n", "positive number"),
        (f"architecture,latency_ms\n{CELL}\n", "positive number"),
        (f"architecture,latency_ms\n{CELL},fast\n", "positive number"),
        (f"architecture,latency_ms\n{CELL},1\n{CELL},2.1\n", "lines 2 to 3 hold the same network with 1 and 2.1 ms"),
        ("architecture,latency_ms\nresnet50,1\n", "line 2: 'resnet50' is not a network: write architecture JSON"),
        ("architecture,latency_ms\nfbnet:123,1\n", "22 digits"),
        ("architecture,latency_ms\nfbnet:9999999999999999999999,1\n", "22 digits"),
        ("architecture,latency_ms\n|conv~0|,1\n", "not a NAS-Bench-201 cell"),
        (f"architecture,latency_ms\n{CELL.replace('none', 'nil')},1\n", "no operation 'nil'"),
        ("architecture,latency_ms\nconvnet_L2,1\n", "not of the form"),
        ("architecture,latency_ms\nconvnet_L5_F8_K1x1_2_K3x3_2_W16,1\n", "do not make 5 layers"),
        ('architecture,latency_ms\n"{""type"": ""chain""}",1\n', "not an architecture"),
    ],
)
def test_a_bad_table_is_one_line_that_names_the_row(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(lines)
    with pytest.raises(EdgenasError, match=message) as caught:
        rows_from_csv(path, measured=True)
    assert "\n" not in str(caught.value)


def test_too_many_or_too_few_samples_say_what_is_possible() -> None:
    rows = fbnet_rows("raspi4")[:10]
    with pytest.raises(EdgenasError, match="cannot calibrate on 2 measured networks: it takes at least 3, and 8 more"):
        calibrate(NEW, rows[:2], None, 0, "table")
    for samples in (2, 11):
        with pytest.raises(EdgenasError, match=r"choose --samples 3\.\.10"):
            calibrate(NEW, rows, samples, 0, "table")


def test_calibrate_and_predict_on_the_command_line(tmp_path: Path) -> None:
    rows = fbnet_rows("pixel3")
    table = "architecture,latency_ms\n" + "".join(f"{row.name},{row.ms}\n" for row in rows)
    (tmp_path / "t.csv").write_text(table)

    def edgenas(*arguments: str) -> object:
        command = [sys.executable, "-m", "edgenas", *arguments, "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout)

    card = edgenas("calibrate", "--new", "mine", "--runtime", "tflite", "--precision", "fp32", "--measurements", "t.csv",
                   "--samples", "20", "--seed", "3", "--out", "mine.toml")  # fmt: skip
    assert isinstance(card, dict)
    assert set(card) == {
        "n",
        "held_out",
        "spearman",
        "kendall",
        "mape",
        "within_5",
        "within_10",
        "worst_under",
        "confidence",
        "warnings",
    }
    assert (card["n"], card["held_out"], card["confidence"]) == (20, len(rows) - 20, "measured")
    predicted = edgenas("predict", "--target", "mine.toml", "t.csv")
    assert isinstance(predicted, list)
    assert len(predicted) == len(rows)
    assert set(predicted[0]) == {
            "name", "ms", "low", "high", "origin", "extrapolated", "precision", "profile", "batch", "params", "macs",
        }  # fmt: skip


def convnets(scale: dict[str, float]) -> list[Row]:
    """The same networks in several precisions, each `scale` times its latency by the datasheet of a TX2 at FP32."""
    sides = (1, 3, 5)
    names = [
        f"convnet_L{2 + i % 9}_F{32 * (1 + i % 4)}_K{sides[i % 3]}x{sides[i % 3]}_W{32 + 16 * (i % 5)}"
        for i in range(30)
    ]
    networks = [row_from_text(name) for name in names]
    bare = msgspec.structs.replace(profile_from_name("jetson-tx2"), calibration=None)
    ms = [latency.ms for latency in latencies(bare, networks, "fp32")]
    return [
        msgspec.structs.replace(row, ms=one * factor, ran_in=precision)
        for precision, factor in scale.items()
        for row, one in zip(networks, ms, strict=True)
    ]


def tx2(precision: str) -> HardwareProfile:
    return profile_to_calibrate("jetson-tx2", None, None, precision)


def test_several_precisions_of_a_board_are_fitted_together_and_each_is_predicted_as_measured() -> None:
    rows = convnets({"fp32": 2.0, "fp16": 0.5})
    profile = calibrate(tx2("fp32"), rows, 24, 0, "table")
    single, half = (latencies(profile, rows[:30], precision) for precision in ("fp32", "fp16"))
    ratio = np.median([one.ms / other.ms for one, other in zip(single, half, strict=True)])
    assert ratio == pytest.approx(4, rel=0.1)
    assert not any(latency.extrapolated for latency in half)
    only = calibrate(tx2("fp32"), rows[:30], 24, 0, "table")
    assert all(latency.extrapolated for latency in latencies(only, rows[:30], "fp16"))


def test_a_network_in_two_precisions_is_fitted_or_judges_but_not_both() -> None:
    rows = convnets({"fp32": 2.0, "fp16": 0.5})
    chosen, held_out = split_by_network(rows, 20, 3)
    assert (len(chosen), len(held_out)) == (40, 20)
    assert not {row.name for row in chosen} & {row.name for row in held_out}


def test_batches_of_a_network_are_one_network() -> None:
    rows = [
        msgspec.structs.replace(row, batch=batch, ms=row.ms * batch)
        for row in convnets({"fp32": 2.0})[:6]
        for batch in (1, 2, 4, 8)
    ]
    calibration = calibrate(tx2("fp32"), rows, None, 0, "table")
    assert calibration.calibration is not None
    assert (calibration.calibration.n, calibration.calibration.held_out) == (4, 2)
    assert calibration.confidence == "estimate"


@pytest.mark.parametrize("seed", range(5))
def test_the_only_network_of_a_precision_is_fitted_whatever_the_seed(seed: int) -> None:
    rows = convnets({"fp32": 2.0})[:10]
    half = msgspec.structs.replace(rows[3], ms=rows[3].ms / 4, ran_in="fp16")
    bare = profile_to_calibrate(None, "my-board", "tensorrt", "fp32")
    bare = msgspec.structs.replace(bare, precisions=("fp32", "fp16"))
    found = calibrate(bare, [*rows, half], None, seed, "table").calibration
    assert found is not None
    assert found.n + found.held_out == 10
    assert "fp16" in found.parameters["precisions"]


def test_a_device_without_a_datasheet_may_be_calibrated_in_tf32() -> None:
    rows = [msgspec.structs.replace(row, ran_in="tf32") for row in convnets({"fp32": 2.0})]
    profile = calibrate(profile_to_calibrate(None, "my-board", "tensorrt", "tf32"), rows, None, 0, "table")
    assert profile.precision == "tf32"
    with pytest.raises(EdgenasError, match="TF32 off: choose --precision fp32"):
        CostModel([profile], None, Limits())


def test_a_precision_that_the_board_lacks_or_that_is_not_calibrated_is_refused() -> None:
    rows = convnets({"fp16": 0.5})
    with pytest.raises(EdgenasError, match="no row ran in it: say --precision fp16 to calibrate fp16"):
        calibrate(tx2("fp32"), rows, 24, 0, "table")
    assert calibrate(tx2("fp16"), rows, 24, 0, "table").precision == "fp16"
    quick = [msgspec.structs.replace(row, ran_in="int8") for row in rows]
    with pytest.raises(EdgenasError, match="ran in int8, and jetson-tx2 has fp32 and fp16 only: leave its row out"):
        calibrate(tx2("fp16"), rows + quick, 24, 0, "table")


def test_a_profile_of_this_machine_that_was_calibrated_has_a_name_by_which_it_predicts(tmp_path: Path) -> None:
    rows = convnets({"fp32": 1.0})
    made = calibration(rows, "host-cpu").profile
    assert (made.name, made.aliases, made.notes, made.sources) == ("host-cpu-calibrated", (), "", {})
    write_profile(made, tmp_path / "mine.toml")
    again = profile_from_name(str(tmp_path / "mine.toml"))
    assert resolved("mine.toml", again).count("measured on this machine") == 0
    with pytest.raises(EdgenasError, match=r"--new host-cpu: by that name .* name it host-cpu-calibrated"):
        profile_to_calibrate(None, "host-cpu", "onnxruntime", "fp32")
    assert profile_to_calibrate(None, "host-cpu-calibrated", "onnxruntime", "fp32").name == "host-cpu-calibrated"


def test_a_new_fit_has_no_note_and_no_source_of_the_one_that_it_replaces() -> None:
    rows = convnets({"fp32": 1.0})
    assert "FP16: whole networks that others measured" in profile_from_name("jetson-tx2").notes
    assert calibration(rows, "jetson-tx2", precision="fp32").profile.notes == ""
    bare = profile_from_name("raspberry-pi-zero-2w")
    assert "error_band" in bare.sources
    made = calibrate(bare, [msgspec.structs.replace(row, ms=100 * row.ms) for row in rows], None, 0, "table")
    assert made.error_band is None
    assert made.sources == {name: source for name, source in bare.sources.items() if name != "error_band"}


def test_an_unstable_measurement_in_a_table_is_told(tmp_path: Path) -> None:
    rows = convnets({"fp32": 1.0})[:12]
    lines = [f"{row.name},{row.ms}," for row in rows[1:]]
    (tmp_path / "t.csv").write_text("\n".join(["architecture,latency_ms,log", f"{rows[0].name},,b.json", *lines]))
    told = "1 networks were measured several times and averaged, or their measurement is unstable: these spread by "
    for stable in (True, False):
        ms = rows[0].ms
        (tmp_path / "b.json").write_text(benched([0.9 * ms, ms, 1.1 * ms], stable=stable))
        found = calibration(tmp_path / "t.csv", "jetson-tx2", precision="fp32")
        assert sum(warning.startswith(told) for warning in found.warnings) == (not stable)


def test_a_noisy_row_counts_less_than_a_steady_one() -> None:
    rows = convnets({"fp32": 1.0})
    wrong = [msgspec.structs.replace(row, ms=row.ms * 1.5) for row in rows[:12]]
    noisy = [msgspec.structs.replace(row, noise=0.8) for row in wrong]
    trusting, doubting = (fitted_models(tx2("fp32"), each + rows[12:], 0).kernels for each in (wrong, noisy))
    assert trusting is not None
    assert doubting is not None
    loads = loads_of_rows(rows[12:], tiles_of("tensorrt", "fp32", "6.2", fitted=True), "fp32")
    error = [np.abs(model.predict(loads) / [row.ms for row in rows[12:]] - 1).mean() for model in (trusting, doubting)]
    assert error[1] < 0.6 * error[0]
