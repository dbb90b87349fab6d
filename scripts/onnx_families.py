"""Torchvision's and timm's families by both exporters of torch: is each file read, with the MACs of an independent count?

    python scripts/onnx_families.py torchvision [NAME ...]
    python scripts/onnx_families.py timm [NAME ...]          # needs timm, in an environment of its own

The independent count runs the file in ONNX Runtime (see scripts/onnx_files.py). One JSON line per network and exporter.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from onnx_files import counted

from edgenas.architectures.from_onnx import read_onnx
from edgenas.errors import EdgenasError

TORCHVISION = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t",
    "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "regnet_x_400mf", "resnet18", "resnext50_32x4d",
    "shufflenet_v2_x1_0", "squeezenet1_1", "swin_t", "vgg11_bn", "vit_b_32", "wide_resnet50_2",
)  # fmt: skip
TIMM = (
    "resnet18", "resnet50d", "mobilenetv3_small_100", "mobilenetv4_conv_small", "efficientnet_lite0", "tf_efficientnetv2_b0",
    "mixnet_s", "ghostnet_100", "regnety_002", "repvgg_a0", "mobileone_s0", "fastvit_t8", "convnext_atto", "convnextv2_atto",
    "edgenext_xx_small", "mobilevit_xxs", "mobilevitv2_050", "efficientformer_l1", "efficientvit_b0", "levit_128s",
    "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "poolformer_s12", "hardcorenas_a", "lcnet_050", "dla34",
    "hrnet_w18_small", "vovnet39a", "cspresnet50", "densenet121", "inception_next_atto", "starnet_s1", "rexnet_100",
)  # fmt: skip
PLAIN = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}


def built(library: str, name: str) -> tuple[torch.nn.Module, tuple[int, int]]:
    if library == "torchvision":
        from torchvision import models

        side = 299 if name == "inception_v3" else 224
        return models.get_model(name, weights=None, **PLAIN.get(name, {})).eval(), (side, side)
    import timm

    network = timm.create_model(name, pretrained=False, exportable=True).eval()
    _, height, width = network.default_cfg["input_size"]
    return network, (height, width)


def exported(network: torch.nn.Module, size: tuple[int, int], dynamo: bool, path: Path) -> None:
    image = (torch.zeros(1, 3, *size),)
    more: dict[str, Any] = {"external_data": False} if dynamo else {"opset_version": 17}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, image, str(path), dynamo=dynamo, verbose=False, input_names=["image"], **more)


def judged(library: str, name: str, dynamo: bool, folder: Path) -> dict[str, Any]:
    path = folder / f"{name}.onnx"
    entry: dict[str, Any] = {"network": f"{library}:{name}", "exporter": "dynamo" if dynamo else "torchscript"}
    try:
        exported(*built(library, name), dynamo, path)
    except Exception as error:  # noqa: BLE001 (what torch's exporter says of a network of others is shown, whatever it is)
        return entry | {"read": None, "why": f"not exported: {' '.join(str(error).split())[:120]}"}
    try:
        macs = read_onnx(path).workload.macs
    except EdgenasError as error:
        return entry | {"read": False, "why": str(error).replace(f"{folder}/", "")[:200]}
    return entry | {"read": True, "macs": macs, "counted": counted(path, {}, 1)}


def main(library: str, names: list[str]) -> None:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names or (TORCHVISION if library == "torchvision" else TIMM):
            for dynamo in (True, False):
                found.append(judged(library, name, dynamo, Path(folder)))
                print(json.dumps(found[-1]), flush=True)
    for exporter in ("dynamo", "torchscript"):
        there = [entry for entry in found if entry["exporter"] == exporter and entry["read"] is not None]
        read = [entry for entry in there if entry["read"]]
        equal = sum(entry["macs"] == entry["counted"] for entry in read)
        print(f"{library}, {exporter}: {len(read)} of {len(there)} read, MACs of {equal} equal the independent count")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
