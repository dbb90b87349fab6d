"""Networks of stages against their definition in plain torch, and published ones against torchvision's."""

from __future__ import annotations

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from edgenas.architectures.published import published_architecture
from edgenas.architectures.workload import workload_from_architecture
from edgenas.networks import network_from_architecture
from edgenas.records import Classes, Stage, StagesArchitecture
from tests.networks.reference import Reference, check_equal

LAYERS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
EVERY_BLOCK = StagesArchitecture(
    (
        Stage("separable", 8, 2, 5, 1),
        Stage("dense", 12, 1, 3, 2),
        Stage("residual", 12, 2, 3, 1),
        Stage("fused", 12, 2, 3, 1, expansion=2),
        Stage("mbconv", 16, 2, 5, 2, expansion=3, squeeze=True),
        Stage("residual", 20, 1, 3, 1),
        Stage("mbconv", 20, 1, 3, 1, expansion=1),
    ),
    Classes(6),
    3,
    32,
    stem_width=6,
    stem_stride=2,
    stem_kernel=5,
    head_width=24,
    activation="relu6",
)


def bottleneck(net: Reference, x: Tensor, stage: Stage, stride: int) -> Tensor:
    channels = x.shape[1]
    hidden, y = channels * stage.expansion, x
    if stage.block == "fused":
        y = F.relu6(net.norm(net.conv(y, hidden, stage.kernel, stride)))
    else:
        if stage.expansion > 1:
            y = F.relu6(net.norm(net.conv(y, hidden)))
        y = F.relu6(net.norm(net.conv(y, hidden, stage.kernel, stride, groups=hidden)))
    if stage.squeeze:
        gate = F.relu(net.conv(F.adaptive_avg_pool2d(y, 1), channels // 4, bias=True))
        y = y * torch.sigmoid(net.conv(gate, hidden, bias=True))
    y = net.norm(net.conv(y, stage.width))
    return y + x if y.shape == x.shape else y


def block(net: Reference, x: Tensor, stage: Stage, stride: int) -> Tensor:
    if stage.block == "separable":
        return F.relu6(
            net.norm(net.conv(net.conv(x, x.shape[1], stage.kernel, stride, groups=x.shape[1]), stage.width))
        )
    if stage.block == "dense":
        return F.relu6(net.norm(net.conv(x, stage.width, stage.kernel, stride)))
    if stage.block != "residual":
        return bottleneck(net, x, stage, stride)
    y = F.relu6(net.norm(net.conv(x, stage.width, stage.kernel, stride)))
    if y.shape != x.shape:
        x = net.norm(net.conv(x, stage.width, 1, stride))
    return F.relu6(net.norm(net.conv(y, stage.width, stage.kernel)) + x)


def every_block(net: Reference, x: Tensor) -> Tensor:
    x = F.relu6(net.norm(net.conv(x, 6, 5, 2)))
    for stage in EVERY_BLOCK.stages:
        for index in range(stage.repeats):
            x = block(net, x, stage, stage.stride if index == 0 else 1)
    return net.classes(F.relu6(net.norm(net.conv(x, 24))), 6)


def test_blocks_are_what_their_definitions_say() -> None:
    check_equal(EVERY_BLOCK, every_block)


def layers_of(network: nn.Module) -> list[nn.Module]:
    """In the order of their definition; of a ResNet's block with a shortcut, the shortcut before the second convolution."""
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, LAYERS)]
    ordered: list[nn.Module] = []
    for name, module in layers:
        if "downsample" in name:
            ordered.insert(len(ordered) - 2, module)
        else:
            ordered.append(module)
    return ordered


def resnet_without_pool() -> nn.Module:
    network = models.resnet18(weights=None)
    network.maxpool = nn.Identity()
    return network


TORCHVISION = {
    "mobilenet-v2": lambda: models.mobilenet_v2(weights=None),
    "mnasnet-b1": lambda: models.mnasnet1_0(weights=None),
    "resnet-18-without-pool": resnet_without_pool,
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_s_networks_have_the_same_parameters_macs_and_outputs(name: str) -> None:
    torch.manual_seed(0)
    theirs = TORCHVISION[name]().eval()
    architecture = published_architecture(name)
    assert isinstance(architecture, StagesArchitecture)
    workload = workload_from_architecture(architecture)
    assert workload.params == sum(parameter.numel() for parameter in theirs.parameters())
    assert workload.macs == macs_counted(name)

    ours = network_from_architecture(msgspec.structs.replace(architecture, image_size=64)).eval()
    mine = [module for module in ours.modules() if isinstance(module, LAYERS)]
    source = layers_of(theirs)
    assert [str(layer) for layer in mine if not isinstance(layer, nn.BatchNorm2d)] == [
        str(layer) for layer in source if not isinstance(layer, nn.BatchNorm2d)
    ]
    for layer, other in zip(mine, source, strict=True):
        if isinstance(other, nn.BatchNorm2d):  # so that it matters which one it is
            nn.init.uniform_(other.weight, 0.5, 1.5)
            nn.init.normal_(other.bias, std=0.2)
        layer.load_state_dict(other.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


def macs_counted(name: str) -> int:
    """Of torchvision's modules at 224 px, from the shapes that its layers see; nothing is computed."""
    counted = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal counted
        weight = module.weight
        assert isinstance(weight, Tensor)
        counted += weight.numel() * (output[0, 0].numel() if output.ndim == 4 else 1)

    with torch.device("meta"):
        network = TORCHVISION[name]().eval()
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.register_forward_hook(count)
        network(torch.zeros(1, 3, 224, 224))
    return counted


def test_training_steps_lower_the_loss_and_reach_every_weight() -> None:
    torch.manual_seed(0)
    network = network_from_architecture(EVERY_BLOCK)
    images, labels = torch.randn(6, 3, 32, 32), torch.arange(6)
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())
