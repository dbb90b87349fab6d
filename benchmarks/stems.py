"""What stands before the searched part of a network, at 64, 112 and 224 px: its share of the MACs, and milliseconds of the whole.

    python -m benchmarks.stems [--target jetson] [--json]

Chains of the tiny preset (separable 3x3, width 16, depths 4 and 10), as classifiers and as face recognisers, and NAS-Bench-101
and -201 cells of the published size, each behind the wide stem and the growing one (edgenas/architectures/stem.py); the smallest
multi-branch network, whose stem is part of its space, and a network of stages for comparison. Nothing is trained or measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from edgenas.architectures.cell_space import nasbench101, nasbench201
from edgenas.architectures.chain import chain
from edgenas.architectures.named_spaces import space_named
from edgenas.architectures.published import published_architecture
from edgenas.architectures.stem import Stem
from edgenas.architectures.workload import workload_from_architecture
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.records import Architecture, CellArchitecture, ChainArchitecture, Classes, Embedding, StagesArchitecture

SIDES = (64, 112, 224)
WIDTH, DEPTHS = 16, (4, 10)
STEMS: tuple[Stem, ...] = ("wide", "growing")
TEN = Classes(10)


def networks(side: int) -> Iterator[tuple[str, str, Architecture]]:
    """(name, stem, network) for images of this side."""
    for stem in STEMS:
        for depth in DEPTHS:
            layers = ((0,) * depth, (3,) * depth)
            yield f"chain L{depth} W{WIDTH}", stem, chain(WIDTH, depth, *layers, TEN, 3, side, stem)
            faces = Embedding(128, "depthwise")
            yield f"faces L{depth} W{WIDTH}", stem, chain(WIDTH, depth, *layers, faces, 3, side, stem)
        for space in (nasbench101(TEN, 3, side), nasbench201(TEN, 3, side)):
            if side % 32 == 0:  # cells halve their maps exactly
                yield space.name, stem, msgspec.structs.replace(space, stem=stem).reference()
    yield "multibranch", "its own", space_named("multibranch", TEN, 3, side).smallest()
    mobile = published_architecture("mobilenet-v2")
    assert isinstance(mobile, StagesArchitecture)
    yield "mobilenet-v2", "its own", msgspec.structs.replace(mobile, head=TEN, image_size=side)


def kernels_before(architecture: Architecture) -> int:
    """How many kernels run before the first one that is searched."""
    if isinstance(architecture, ChainArchitecture):
        extra = len(architecture.stem_strides)
    elif isinstance(architecture, CellArchitecture):
        extra = (architecture.image_size // 32 - 1).bit_length() + (architecture.image_size == 32)
    else:
        return 1
    return 2 * extra - 1 if architecture.stem == "growing" else extra + 1


def row(name: str, stem: str, architecture: Architecture, target: str) -> dict[str, Any]:
    """One line of the table."""
    workload = workload_from_architecture(architecture)
    before = sum(kernel.macs for kernel in workload.kernels[: kernels_before(architecture)])
    return {
        "network": name,
        "stem": stem,
        "image_size": architecture.image_size,
        "macs": workload.macs,
        "share_before": round(before / workload.macs, 4),
        "ms": round(latency_from_workload(profile_from_name(target), workload).ms, 4),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="jetson")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = [row(*network, asked.target) for side in SIDES for network in networks(side)]
    if asked.json:
        print(json.dumps(rows, indent=1))
        return
    for line in rows:
        print(
            f"{line['image_size']:>4} px  {line['network']:<14} {line['stem']:<8} {line['macs'] / 1e6:>9.2f} M MACs  "
            f"{line['share_before']:>6.1%} before  {line['ms']:.3f} ms"
        )


if __name__ == "__main__":
    main()
