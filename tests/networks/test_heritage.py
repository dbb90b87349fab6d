"""Layers of a trained network in members of the space of stages: which, and that they compute what they did."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch

from edgenas.errors import EdgenasError
from edgenas.export.onnx import describe, onnx_from_network
from edgenas.networks import network_from_architecture
from edgenas.networks.from_workload import Network
from edgenas.networks.heritage import Heritage, heritage_of, inherited, inherited_share, take_over
from edgenas.networks.public import public_network
from edgenas.networks.weights import save_tensors
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Classes, Preprocessing, Stage, StagesArchitecture
from edgenas.training.loop import fresh_network
from edgenas.training.start import Start, begun_network

OWN = Preprocessing(1, 16, (0.3,), (0.2,))
KNOWN = Preprocessing(1, 16, (0.55,), (0.35,))
WHOLE = StagesArchitecture(
    (Stage("mbconv", 8, 1, 3, 1), Stage("mbconv", 12, 3, 3, 2, expansion=3), Stage("fused", 16, 2, 3, 1, expansion=2)),
    Classes(7), 1, 16, stem_width=8, head_width=24, activation="relu6",
)  # fmt: skip


def pixels(count: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 1), dtype=np.uint8)


def trained(architecture: StagesArchitecture = WHOLE) -> Network:
    """With weights, means and deviations of no special kind."""
    torch.manual_seed(3)
    network = network_from_architecture(architecture)
    for name, tensor in network.state_dict().items():
        if name.endswith(("norm.weight", "norm.running_var")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("norm.bias", "norm.running_mean")):
            tensor.uniform_(-0.5, 0.5)
    assert isinstance(network, Network)
    return network.eval()


def heritage(
    folder: Path, known: Preprocessing, own: Preprocessing = OWN, whole: StagesArchitecture = WHOLE
) -> tuple[Heritage, Network]:
    """Of an EdgeNAS export, whose batch norms are folded, and the network that was exported."""
    network = trained(whole)
    model = onnx_from_network(network, whole, opset=13, ir=7)
    describe(model, {"preprocessing": known.canonical_json().decode()})
    onnx.save(model, folder / "whole.onnx")
    public = public_network(str(folder / "whole.onnx"), Classes(2), own, pixels())
    return heritage_of(public, own), network


def layer(network: Network, index: int, x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) after this kernel."""
    found: list[torch.Tensor] = []
    handle = network.kernels[index].register_forward_hook(lambda _module, _inputs, output: found.append(output))
    with torch.no_grad():
        network(x)
    handle.remove()
    return found[0]


def seen(preprocessing: Preprocessing) -> torch.Tensor:
    return torch.from_numpy(input_from_pixels(pixels(4), preprocessing))


def begun(member: StagesArchitecture, from_: Heritage) -> Network:
    torch.manual_seed(9)
    network, source = network_from_architecture(member), network_from_architecture(from_.whole)
    source.load_state_dict(source.state_dict() | from_.tensors)
    take_over(network, member, from_.whole, source)
    assert isinstance(network, Network)
    return network.eval()


def test_an_exported_network_is_itself_again_and_its_cut_computes_the_same_up_to_the_cut(tmp_path: Path) -> None:
    found, network = heritage(tmp_path, OWN)
    assert found.whole == WHOLE
    stages = (*WHOLE.stages[:1], msgspec.structs.replace(WHOLE.stages[1], repeats=2))
    cut = msgspec.structs.replace(WHOLE, stages=stages, head=Classes(2), head_width=0)
    x = seen(OWN)
    last = 3 + 2 * 3 - 1  # stem, two layers of the first stage, two blocks of three
    assert torch.allclose(layer(begun(cut, found), last, x), layer(network, last, x), atol=1e-4)


def test_an_exported_network_of_residual_and_dense_blocks_is_itself_again(tmp_path: Path) -> None:
    stages = (Stage("residual", 8, 1, 3, 1), Stage("residual", 12, 2, 3, 2), Stage("dense", 16, 1, 3, 1))
    whole = msgspec.structs.replace(WHOLE, stages=stages, head_width=0)
    found, network = heritage(tmp_path, OWN, whole=whole)
    assert found.whole == whole
    last = (
        2 + 3 + 2 + 1
    )  # two layers of the first stage; a block with a shortcut of its own, and one without; the dense one
    assert inherited(whole, found.whole).keys() >= {*range(last + 1)}
    assert torch.allclose(layer(begun(whole, found), last, seen(OWN)), layer(network, last, seen(OWN)), atol=1e-4)


def test_a_last_layer_without_bias_has_one_of_zeros(tmp_path: Path) -> None:
    model = onnx_from_network(trained(), WHOLE, opset=13, ir=7)
    del [node for node in model.graph.node if node.op_type == "Gemm"][-1].input[2]
    onnx.save(model, tmp_path / "whole.onnx")
    found = heritage_of(public_network(str(tmp_path / "whole.onnx"), Classes(2), OWN, pixels()), OWN)
    own = network_from_architecture(found.whole)
    own.load_state_dict(found.tensors)  # every weight is there
    assert not own.state_dict()[list(own.state_dict())[-1]].any()


def test_a_dilated_network_is_refused(tmp_path: Path) -> None:
    """Its weights in plain convolutions would compute something else, without a word."""
    model = onnx_from_network(trained(), WHOLE, opset=13, ir=7)
    node = [node for node in model.graph.node if node.op_type == "Conv"][4]
    for each in node.attribute:
        if each.name in ("dilations", "pads"):
            each.ints[:] = [2] * len(each.ints)
    onnx.save(model, tmp_path / "whole.onnx")
    with pytest.raises(EdgenasError, match=r"its layer 4 has dilation \(2, 2\), not \(1, 1\)"):
        heritage_of(public_network(str(tmp_path / "whole.onnx"), Classes(2), OWN, pixels()), OWN)


def test_on_pixels_that_are_normalised_otherwise_only_the_border_differs(tmp_path: Path) -> None:
    found, network = heritage(tmp_path, KNOWN)
    ours, theirs = layer(begun(WHOLE, found), 0, seen(OWN)), layer(network, 0, seen(KNOWN))
    assert torch.allclose(ours[:, :, 1:-1, 1:-1], theirs[:, :, 1:-1, 1:-1], atol=1e-5)
    assert not torch.allclose(ours, theirs, atol=1e-2)  # padding's zero is another grey


def test_layers_inherit_by_their_place_where_their_shape_fits() -> None:
    def pairs(*stages: Stage, **changes: object) -> dict[int, int]:
        member = msgspec.structs.replace(WHOLE, stages=stages, head=Classes(2), **{"head_width": 0, **changes})
        return inherited(member, WHOLE)

    first, second, third = WHOLE.stages  # kernels 0; 1, 2; 3 to 11; 12 to 15; 16
    assert pairs(*WHOLE.stages, head_width=24) == {i: i for i in range(17)}
    assert pairs(first, msgspec.structs.replace(second, repeats=2), third, head_width=24) == {
        **{i: i for i in range(9)}, 9: 12, 10: 13, 11: 14, 12: 15, 13: 16
    }  # fmt: skip
    assert pairs(first, msgspec.structs.replace(second, repeats=5)) == {i: i for i in range(12)}  # two blocks are new
    # A wider kernel: all but the depthwise layers. Another expansion: nothing of the stage. Another stride: not where it is.
    assert set(pairs(first, msgspec.structs.replace(second, kernel=5))) == {0, 1, 2, 3, 5, 6, 8, 9, 11}
    assert set(pairs(first, msgspec.structs.replace(second, expansion=2))) == {0, 1, 2}
    assert set(pairs(first, msgspec.structs.replace(second, stride=1))) == set(range(12)) - {4}
    assert set(pairs(first, second, stem_width=12)) == {2, *range(3, 12)} - {2}
    assert 0 not in pairs(first, second, in_channels=3)
    assert pairs(msgspec.structs.replace(first, block="separable"), second).keys() >= {2}


@pytest.mark.parametrize("head", [True, False])
def test_the_last_layer_goes_along_only_where_its_classes_are_meant(head: bool, tmp_path: Path) -> None:
    whole = trained()
    path, sha256 = save_tensors(whole.state_dict(), tmp_path, "whole")
    fresh = fresh_network(WHOLE, 5, torch.device("cpu")).state_dict()
    begun = begun_network(WHOLE, 5, torch.device("cpu"), Start(WHOLE, path, sha256, head)).state_dict()
    last = max(int(name.split(".")[1]) for name in begun)
    for name, tensor in begun.items():
        new = name.startswith(f"kernels.{last}.") and not head
        assert torch.equal(tensor, (fresh if new else whole.state_dict())[name]), name


def test_the_share_counts_parameters() -> None:
    cut = msgspec.structs.replace(WHOLE, stages=WHOLE.stages[:1], head=Classes(2), head_width=0)
    stem, depthwise, point, head = 9 * 8 + 16, 9 * 8 + 16, 8 * 8 + 16, 8 * 2 + 2
    assert inherited_share(cut, WHOLE) == pytest.approx((stem + depthwise + point) / (stem + depthwise + point + head))


def test_a_network_of_other_layers_is_refused() -> None:
    public = dataclasses.replace(public_network("torchvision:resnet18", Classes(2), OWN), tensors={})
    with pytest.raises(EdgenasError, match="no network of stages of equal blocks"):
        heritage_of(public, OWN)
