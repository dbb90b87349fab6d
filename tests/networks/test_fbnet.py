"""The FBNet space against its definition (arXiv 1812.03443) in plain torch, and that it can be trained."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenas.architectures.fbnet import fbnet_from_text
from edgenas.networks import network_from_architecture
from tests.networks.reference import Reference, check_equal

# Kernel, expansion, groups of choices 0..7.
CHOICES = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1))
STAGES = (
    (16, 1, 1),
    (24, 4, 1),
    (32, 4, 2),
    (64, 4, 2),
    (112, 4, 1),
    (184, 4, 2),
    (352, 1, 1),
)  # channels, layers, stride
DIGITS = "1" + "0182" + "3885" + "6778" + "8412" + "1580" + "8"


def layer(net: Reference, x: Tensor, choice: int, out: int, stride: int) -> Tensor:
    same = x.shape[1] == out and stride == 1
    if choice == 8:
        return x if same else F.relu(net.norm(net.conv(x, out, 1, stride)))
    kernel, expansion, groups = CHOICES[choice]
    hidden = x.shape[1] * expansion
    y = F.relu(net.norm(net.conv(x, hidden, groups=groups)))
    y = F.channel_shuffle(y, groups) if groups > 1 else y
    y = F.relu(net.norm(net.conv(y, hidden, kernel, stride, groups=hidden)))
    y = net.norm(net.conv(y, out, groups=groups))
    return y + x if same else y


def fbnet(net: Reference, x: Tensor) -> Tensor:
    x = F.relu(net.norm(net.conv(x, 16, 3)))
    choices = iter(DIGITS)
    for channels, layers, stride in STAGES:
        for index in range(layers):
            x = layer(net, x, int(next(choices)), channels, stride if index == 0 else 1)
    return net.classes(F.relu(net.norm(net.conv(x, 1504))), 100)


def test_blocks_expand_shuffle_convolve_and_add() -> None:
    check_equal(fbnet_from_text("fbnet:" + DIGITS), fbnet, batch=4)


def test_training_steps_lower_the_loss_and_reach_every_weight() -> None:
    torch.manual_seed(0)
    network = network_from_architecture(fbnet_from_text("fbnet:" + DIGITS))
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
