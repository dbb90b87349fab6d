"""Fits the calibrated profiles that are shipped, and the known devices, on the measured tables: fitted numbers, never rows.

`python -m benchmarks.calibrate_profiles` rewrites profiles/*.toml in place.
"""

import msgspec
import numpy as np

from benchmarks.latency_tables import BIMODAL, Table, fbnet, jetson_nano, nasbench201
from edgenas.hardware.calibrate import KnownDevices, calibrate, fitted_models, judged_by_kind
from edgenas.hardware.predictor import CELLS, Row, models_of, space_of
from edgenas.hardware.profile import profile_from_file, profiles_folder, write_profile
from edgenas.records import HardwareProfile

SAMPLES = 1000
SEED = 0


def thinned(rows: list[Row], count: int) -> list[Row]:
    chosen = np.random.default_rng(SEED).permutation(len(rows))[:count]
    return [rows[index] for index in sorted(chosen)]


def shipped(profile: HardwareProfile, rows: list[Row], source: str, samples: int = SAMPLES) -> HardwareProfile:
    result = calibrate(msgspec.structs.replace(profile, calibration=None), rows, samples, SEED, source)
    print(profile.name, result.calibration.in_words, flush=True)
    return result


def nano(cells: Table) -> None:
    """Kernels from the TensorRT table; NAS-Bench-201 cells from LatBench's FP32 column."""
    table, _ = jetson_nano()
    profile = profile_from_file(profiles_folder() / "jetson-nano-4gb.toml")
    result = shipped(profile, table.rows("jetson-nano"), "Jetson Nano TensorRT CNN measurements (8,147 networks)")
    cells_of = cells.rows("latbench_embedded-gpu-jetson-nano-fp32", connected=True)
    chosen = thinned(cells_of, SAMPLES)
    models = msgspec.structs.replace(models_of(result.calibration), cells=fitted_models(profile, chosen, SEED).cells)
    names = {row.name for row in chosen}
    cards = judged_by_kind(profile, models, [row for row in cells_of if row.name not in names])
    calibration = msgspec.structs.replace(
        result.calibration, parameters=msgspec.to_builtins(models), judged={**result.calibration.judged, **cards}
    )
    notes = "The report card is of the TensorRT table; NAS-Bench-201 cells are predicted from LatBench's FP32 column."
    write_profile(msgspec.structs.replace(result, calibration=calibration, notes=notes), path(profile))


def path(profile: HardwareProfile):
    return profiles_folder() / f"{profile.name}.toml"


def tx2(cells: Table) -> None:
    profile = profile_from_file(profiles_folder() / "jetson-tx2.toml")
    rows = cells.rows("oneproxy_hwnasbench_edgegpu_jetson_tx2", connected=True)
    notes = "Calibrated on NAS-Bench-201 cells of HW-NAS-Bench, whose runtime version is not stated; others are extrapolation."
    write_profile(
        msgspec.structs.replace(shipped(profile, rows, "HW-NAS-Bench by OneProxy"), notes=notes), path(profile)
    )


def phone_and_pi(cells: Table, blocks: Table) -> None:
    """Measured under TFLite: profiles of their own beside the ONNX Runtime ones."""
    pi = profile_from_file(profiles_folder() / "raspberry-pi-4.toml")
    lite = {"runtime": "tflite", "runtime_version": "as in HW-NAS-Bench", "carried_from": "", "error_band": None,
            "container_base": "", "aliases": ()}  # fmt: skip
    pixel = HardwareProfile(
        "pixel-3-tflite", "Google Pixel 3", "tflite", "as in HW-NAS-Bench", "fp32", "estimate", vendor="Google",
        soc="Snapdragon 845", precisions=("fp32",),
    )  # fmt: skip
    notes = (
        "Latencies are TFLite's, not ONNX Runtime's: EdgeNAS does not run on it. The card is over both spaces together."
    )
    for profile, column in (
        (msgspec.structs.replace(pi, name="raspberry-pi-4-tflite", **lite), "raspi4"),
        (pixel, "pixel3"),
    ):
        rows = thinned(cells.rows(f"help_{column}", connected=True), 5000) + blocks.rows(column)
        write_profile(
            msgspec.structs.replace(
                shipped(profile, rows, "HW-NAS-Bench by HELP: NAS-Bench-201 and FBNet"), notes=notes
            ),
            path(profile),
        )


def known(cells: Table, blocks: Table) -> None:
    """A predictor for every measured device, for those who have three rows of a new one."""
    bare = HardwareProfile("known", "", "", "", "fp32", "estimate")
    found = KnownDevices({}, {})
    for table in (cells, blocks):
        for device in table.columns:
            if device != BIMODAL:
                models = fitted_models(bare, thinned(table.rows(device), 500), SEED)
                space = space_of(table.networks[0].network)
                side = found.cells if space.startswith(CELLS) else found.blocks
                side.setdefault(space, {})[device] = (models.cells | models.blocks)[space]
    (profiles_folder() / "known-devices.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))


def main() -> None:
    cells, blocks = nasbench201(), fbnet()
    nano(cells)
    tx2(cells)
    phone_and_pi(cells, blocks)
    known(cells, blocks)


if __name__ == "__main__":
    main()
