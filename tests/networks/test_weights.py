"""Weights on disk: there and back, files of before networks were built from workloads, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgenas.architectures.cell import cell_network
from edgenas.architectures.chain import chain
from edgenas.errors import EdgenasError
from edgenas.networks import network_from_architecture
from edgenas.networks.weights import load_weights, save_weights
from edgenas.records import (
    Architecture,
    BranchCell,
    Classes,
    DartsCell,
    Embedding,
    MultiBranchArchitecture,
    Nasbench201Cell,
)
from tests.networks.test_cell import BRANCHY_101

CHAIN = chain(4, 3, (0, 1, 0), (3,) * 3, Classes(3), 3, 64)
# Where older files named the layers, in the order in which they run.
OLD: list[tuple[Architecture, str]] = [
    (
        CHAIN,
        "stem.0.0 stem.0.1 stem.1.0 stem.1.1 layers.0.depthwise layers.0.pointwise layers.0.norm layers.1.conv layers.1.norm "
        "layers.2.depthwise layers.2.pointwise layers.2.norm head.linear",
    ),
    (
        chain(4, 3, (1, 1, 1), (3,) * 3, Embedding(8, "depthwise"), 1, 28),
        "stem.0.0 stem.0.1 layers.0.conv layers.0.norm layers.1.conv layers.1.norm layers.2.conv layers.2.norm "
        "head.pool head.norm head.linear head.embedding_norm",
    ),
    (
        MultiBranchArchitecture(27, (BranchCell("N", 4, (21,)), BranchCell("R", 6, (0, 1))), Classes(2), 4, 1, 8, 1, 8),
        " ".join(
            ["stem.conv stem.norm"]
            + [f"cells.0.branches.0.{i}.conv cells.0.branches.0.{i}.norm" for i in range(4)]
            + [f"cells.1.branches.{b}.{i}.conv cells.1.branches.{b}.{i}.norm" for b in range(2) for i in range(3)]
            + ["tail head.linear"]
        ),
    ),
    (
        cell_network(BRANCHY_101, Classes(2), channels=4, cells_per_stage=1, image_size=8),
        "0.0 0.1 "
        + " ".join(
            f"{cell}.{part}.{layer}"
            for cell in (1, 3, 5)
            for part in ("projections.1", "ops.1", "ops.3", "projections.4", "ops.4", "projections.5")
            for layer in (0, 1)
        )
        + " 6.linear",
    ),
    (
        cell_network(Nasbench201Cell(("nor_conv_3x3",) * 6), Classes(2), channels=4, cells_per_stage=1, image_size=8),
        "0.0 0.1 "
        + " ".join(
            f"{cell}.edges.{edge}.{layer}"
            + (
                f" {cell + 1}.body.0.1 {cell + 1}.body.0.2 {cell + 1}.body.1.1 {cell + 1}.body.1.2 {cell + 1}.shortcut.1"
                if (edge, layer) == ("2-3", 2) and cell < 5
                else ""
            )
            for cell in (1, 3, 5)
            for edge in ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")
            for layer in (1, 2)
        )
        + " 6 8.linear",
    ),
    (
        cell_network(
            DartsCell((("sep_conv_3x3", 0), ("skip_connect", 1)) * 4, (("skip_connect", 0), ("dil_conv_3x3", 1)) * 4),
            Classes(2), channels=4, cells_per_stage=1, image_size=64,
        ),
        " ".join(
            ["stem.0.0 stem.0.1 stem.1.0 stem.1.1 second_stem.1 second_stem.2"]
            + [
                " ".join(
                    [
                        f"cells.{c}.inputs.0.even.0 cells.{c}.inputs.0.even.1 cells.{c}.inputs.0.odd.0 cells.{c}.inputs.0.odd.1"
                        if c in (0, 2, 4)
                        else f"cells.{c}.inputs.0.1 cells.{c}.inputs.0.2",
                        f"cells.{c}.inputs.1.1 cells.{c}.inputs.1.2",
                    ]
                    + [
                        f"cells.{c}.ops.{e}.even.0 cells.{c}.ops.{e}.even.1 cells.{c}.ops.{e}.odd.0 cells.{c}.ops.{e}.odd.1 "
                        f"cells.{c}.ops.{e + 1}.1 cells.{c}.ops.{e + 1}.2 cells.{c}.ops.{e + 1}.3"
                        if c in (1, 3)
                        else " ".join(f"cells.{c}.ops.{e}.{i}" for i in (1, 2, 3, 5, 6, 7))
                        for e in (0, 2, 4, 6)
                    ]
                )
                for c in range(5)
            ]
            + ["head.linear"]
        ),
    ),
]  # fmt: skip


def trained(architecture: Architecture) -> torch.nn.Module:
    torch.manual_seed(0)
    network = network_from_architecture(architecture)
    network(torch.randn(4, architecture.in_channels, architecture.image_size, architecture.image_size))
    return network.eval()


def old_names(network: torch.nn.Module, names: str) -> dict[str, torch.Tensor]:
    tensors = network.state_dict()
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in tensors))
    old = dict(zip(layers, names.split(), strict=True))
    return {f"{old[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(("architecture", "names"), OLD, ids=["chain", "embedding", "nse", "101", "201", "darts"])
def test_older_files_load_into_the_layers_that_they_were_saved_from(
    architecture: Architecture, names: str, tmp_path: Path
) -> None:
    network = trained(architecture)
    save_file(old_names(network, names), tmp_path / "old.safetensors")
    loaded = load_weights(architecture, tmp_path / "old.safetensors")
    assert not loaded.training
    assert all(map(torch.equal, loaded.state_dict().values(), network.state_dict().values()))


def test_weights_come_back_as_they_were_saved_under_the_index_of_their_kernel(tmp_path: Path) -> None:
    network = trained(CHAIN)
    save_weights(network, tmp_path / "w.safetensors")
    loaded = load_weights(CHAIN, tmp_path / "w.safetensors")
    assert all(map(torch.equal, loaded.state_dict().values(), network.state_dict().values()))
    assert {
        "kernels.0.conv.weight",
        "kernels.0.norm.running_var",
        "kernels.8.linear.bias",
    } <= loaded.state_dict().keys()


@pytest.mark.parametrize("old", [True, False])
def test_weights_of_another_network_are_refused_in_one_line(old: bool, tmp_path: Path) -> None:
    """With as many layers of other sizes, and with other layers."""
    network = trained(CHAIN)
    save_file(old_names(network, OLD[0][1]) if old else network.state_dict(), tmp_path / "w.safetensors")
    for depth in (3, 4):
        other = chain(6, depth, (0, 1, 0, 0)[:depth], (3,) * depth, Classes(3), 3, 64)
        with pytest.raises(
            EdgenasError, match=r"does not hold this network's weights \(.*\): restore it, or remove it and run the"
        ) as e:
            load_weights(other, tmp_path / "w.safetensors")
        assert "\n" not in str(e.value)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"not weights")
    with pytest.raises(EdgenasError, match="does not hold this network's weights"):
        load_weights(CHAIN, tmp_path / "w.safetensors")
