"""Well-known networks in ONNX Runtime on this machine, one thread: what x86 profiles start from, and how well they rank.

    python -m benchmarks.x86 [--rounds 8]    measures (minutes), then judges; benchmarks/results/x86.json
    python -m benchmarks.x86 --judge         judges again, from what was measured
    python -m benchmarks.x86 --write         fits profiles/x86-avx512.toml on the seeds

Judged on 16 torchvision networks at 224 px: by a profile fitted on *other* networks (the seeds: timm's, at other sizes too), by
MACs alone, and by 20 random splits, eight calibrating and eight judging. Networks are measured in turns, several runs each; the
least CPU time counts, which other programs on the machine lengthen least. Needs timm.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import msgspec
import numpy as np
from scipy.stats import spearmanr

from benchmarks.board_rows import CACHE, workload_of
from edgenas.hardware.calibrate import calibrate, fitted_models, profile_to_calibrate
from edgenas.hardware.predictor import Models, Row, latencies
from edgenas.hardware.profile import profile_from_name, profiles_folder, write_profile
from edgenas.records import Calibration, HardwareProfile

RESULTS = Path(__file__).parent / "results" / "x86.json"
JUDGE = (
    "alexnet", "vgg11", "squeezenet1_0", "squeezenet1_1", "resnet18", "resnet50", "resnext50_32x4d", "densenet121", "googlenet",
    "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet1_0", "shufflenet_v2_x1_0", "efficientnet_b0",
    "regnet_y_400mf",
)  # fmt: skip
SEEDS = (
    "resnet34 160", "resnet26 192", "repvgg_a0 192", "mobilenetv2_050 160", "mobilenetv2_110d 192", "mobilenetv3_small_075 192",
    "semnasnet_100 160", "efficientnet_lite0 192", "efficientnet_b1 160", "mixnet_s 160", "ghostnet_100 192", "dla34 128",
    "selecsls42 160", "hardcorenas_a 192", "regnetx_002 192", "regnety_004 160", "convnext_atto 128", "resnext26ts 128",
    "cspresnet50 128", "darknet53 96", "vovnet39a 128", "mobilevit_xxs 128", "vit_tiny_patch16_224 224", "edgenext_xx_small 192",
    "lcnet_050 224", "tinynet_c 184", "fbnetc_100 160", "res2net50_14w_8s 96", "inception_v3 112", "resnet10t 176",
    "mobilenetv2_140 224", "semnasnet_075 224", "efficientnet_lite1 224", "regnetx_004 224", "regnety_006 224", "dla60 224",
    "hrnet_w18_small 224", "repvgg_b0 224", "resnet14t 224", "resnet34 224", "ghostnet_100 224", "lcnet_100 224",
    "selecsls42 224", "cspdarknet53 224", "hardcorenas_c 224", "mobilenetv3_small_100 320", "vovnet39a 224", "mixnet_m 224",
)  # fmt: skip
NETWORKS = (
    *((f"torchvision.models.{name}", "224") for name in JUDGE),
    *((f"timm:{seed.split()[0]}", seed.split()[1]) for seed in SEEDS),
)
PROFILE = HardwareProfile(
    "x86-avx512", "AMD EPYC with AVX-512, one thread", "onnxruntime", "1.31 (x86-64)", "fp32", "estimate", vendor="AMD",
    soc="Zen, one core", threads=1, peaks={"fp32": 0.25}, bandwidth_gb_s=30.0, launch_overhead_us=1.0, onnx_opset=20,
    instruction_set="x86-64",
    sources={
        "peaks.fp32": "derived: one core, 64 FLOP per cycle, 3.9 GHz; .24 was reached",
        "bandwidth_gb_s": "derived: fully connected layers of VGG, one thread",
        "launch_overhead_us": "derived: the fitted price",
    },
    notes="Measured by benchmarks/x86.py in CPU time. A core of a server: other x86 profiles start from its efficiencies.",
)  # fmt: skip


def measured(rounds: int) -> dict[str, float]:
    """The least CPU time of each network, ms."""
    import onnxruntime
    import torch

    from benchmarks.board_rows import module_of, sides

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    sessions = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place, (name, side) in enumerate(NETWORKS):
            path = Path(folder) / f"{place}.onnx"
            image = torch.zeros(1, 3, *sides(side))
            torch.onnx.export(module_of(name).eval(), image, str(path), dynamo=False, opset_version=17)
            sessions[name, side] = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    least = dict.fromkeys(sessions, np.inf)
    for _ in range(rounds):
        for (name, side), session in sessions.items():
            image = {session.get_inputs()[0].name: np.random.default_rng(0).random((1, 3, *sides(side)), np.float32)}
            for _ in range(8):
                started = time.process_time()
                session.run(None, image)
                least[name, side] = min(least[name, side], 1e3 * (time.process_time() - started))
    return {f"{name} {side}": ms for (name, side), ms in least.items()}


def rows_of(known: dict[str, float], cache: Path) -> tuple[list[Row], list[Row]]:
    """(networks that judge, seeds), in the order of the file."""
    judge, seeds = [], []
    for key, ms in known.items():
        name, side = key.rsplit(" ", 1)
        workload = workload_of(name, side, cache)
        assert workload is not None
        (seeds if name.startswith("timm:") else judge).append(Row(key, workload, ms))
    return judge, seeds


def judged(known: dict[str, float], cache: Path) -> dict[str, float]:
    """Spearman's correlations with what was measured."""
    judge, seeds = rows_of(known, cache)
    bare = profile_to_calibrate(None, "x86", "onnxruntime", "fp32")
    ms, macs = np.array([row.ms for row in judge]), np.array([row.workload.macs for row in judge])
    few, few_macs = [], []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(judge))
        own, rest = [judge[place] for place in order[:8]], order[8:]
        few.append(rank(bare, fitted_models(bare, own, 0), [judge[place] for place in rest]))
        few_macs.append(float(spearmanr(macs[rest], ms[rest]).statistic))
    return {
        "fitted on other networks": rank(PROFILE, fitted_models(PROFILE, seeds, 0), judge),
        "intel-n100, uncalibrated": float(
            spearmanr([one.ms for one in latencies(profile_from_name("intel-n100"), judge)], ms).statistic
        ),
        "MACs": float(spearmanr(macs, ms).statistic),
        "eight calibrate, eight judge": float(np.mean(few)),
        "MACs on those eight": float(np.mean(few_macs)),
    }


def rank(profile: HardwareProfile, models: Models, rows: list[Row]) -> float:
    """Spearman's correlation of a fit with measurements of networks that it never saw."""
    none = (None,) * 6
    card = Calibration("", msgspec.to_builtins(models), 0, 0, *none, source="", date="")
    said = latencies(msgspec.structs.replace(profile, calibration=card), rows)
    return float(spearmanr([one.ms for one in said], [row.ms for row in rows]).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--cache", type=Path, default=CACHE)
    for name in ("judge", "write"):
        parser.add_argument(f"--{name}", action="store_true")
    arguments = parser.parse_args()
    if not (arguments.judge or arguments.write):
        RESULTS.write_text(json.dumps({"ms": measured(arguments.rounds)}, indent=1) + "\n")
    document = json.loads(RESULTS.read_text())
    if arguments.write:
        _, seeds = rows_of(document["ms"], arguments.cache)
        written = calibrate(
            PROFILE, seeds, None, 0, "benchmarks/x86.py: timm's networks, this project's own measurements"
        )
        write_profile(written, profiles_folder() / "x86-avx512.toml")
    document["spearman"] = judged(document["ms"], arguments.cache)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    for name, value in document["spearman"].items():
        print(f"{name:32} {value:.4f}")


if __name__ == "__main__":
    main()
