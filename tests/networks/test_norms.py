"""Batch norms that an exporter folded, put back: the same outputs, and a network that learns as it did before."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from edgenas.networks import Network
from edgenas.networks.fitting import Parts
from edgenas.networks.from_onnx import reading_from_onnx, tensors_of
from edgenas.networks.norms import _network, folded, with_norms
from tests.networks.test_from_onnx import shaken


def read(path: Path) -> Parts:
    reading = reading_from_onnx(path)
    return Parts(tuple(reading.kernels), tensors_of(reading), dict(reading.epsilons), frozenset(reading.fixed))


def exported(name: str, path: Path, *, fold: bool) -> nn.Module:
    torch.manual_seed(2)
    network = shaken(models.get_model(name, weights=None))
    mode = torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(
        network, (torch.zeros(1, 3, 32, 32),), path, dynamo=False, training=mode, do_constant_folding=fold
    )
    return network


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_every_norm_that_was_folded_is_put_back_and_no_output_changes(name: str, tmp_path: Path) -> None:
    network = exported(name, tmp_path / "net.onnx", fold=True)
    parts = read(tmp_path / "net.onnx")
    assert not any(kernel.norm for kernel in parts.kernels)
    images = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    restored = with_norms(parts, images)
    assert sum(kernel.norm for kernel in restored.kernels) == norms(network)  # not those of squeeze-and-excitation
    own = _network(restored)
    assert sum(p.numel() for p in own.parameters()) == sum(p.numel() for p in network.parameters())
    others = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, wanted = own(others), network(others)
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_in_training_they_normalise_as_the_statistics_that_they_were_made_from(tmp_path: Path) -> None:
    exported("resnet18", tmp_path / "net.onnx", fold=True)
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    own = _network(with_norms(read(tmp_path / "net.onnx"), images))
    first = _first_norm(own)
    with torch.no_grad():
        evaluated = first(images)
        own.train()
        trained = first(images)  # by the batch's own statistics, which these are
    assert (evaluated - trained).abs().max() <= 1e-3 * evaluated.abs().max()


def _first_norm(network: Network) -> nn.Module:
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = network.kernels[0](x)
            return found

    return First()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_network_that_has_its_norms_or_none_to_put_back_stays_as_it_is(tmp_path: Path) -> None:
    exported("resnet18", tmp_path / "net.onnx", fold=False)
    whole = read(tmp_path / "net.onnx")
    assert folded(whole) == []
    assert with_norms(whole, torch.zeros(2, 3, 32, 32)) is whole
    single = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    torch.onnx.export(single, (torch.zeros(1, 3, 32, 32),), tmp_path / "last.onnx", dynamo=False)
    assert folded(read(tmp_path / "last.onnx")) == []  # the only layer is the last one
    assert onnx.load(tmp_path / "last.onnx").graph.node
