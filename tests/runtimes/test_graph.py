"""ONNX straight from workloads, judged by ONNX Runtime, torch and numpy."""

import numpy as np
import onnx
import pytest
import torch

from edgenas.architectures.chain import chain
from edgenas.architectures.tracer import Tracer
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.export.onnx import onnx_from_network
from edgenas.records import Classes, Embedding, Kernel, Workload
from edgenas.runtimes.graph import OPSETS, KernelWeights, onnx_from_workload, random_weights
from edgenas.runtimes.onnx_session import open_session
from tests.export.test_families import FAMILIES, trained

RNG = np.random.default_rng(7)


def answer(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    with open_session(model.SerializeToString()) as runtime:
        (value,) = runtime.run({"image": image}).values()
    return value


def image(workload: Workload, batch: int = 2) -> np.ndarray:
    first = workload.kernels[0]
    return RNG.standard_normal((batch, first.in_channels, first.in_height, first.in_width)).astype(np.float32)


def reference(workload: Workload, weights: dict[int, KernelWeights], x: np.ndarray) -> np.ndarray:
    """The workload's meaning, written with torch functions."""
    f = torch.nn.functional
    outputs: list[torch.Tensor] = []

    def of(index: int) -> torch.Tensor:
        return torch.from_numpy(x) if index < 0 else outputs[index]

    for index, k in enumerate(workload.kernels):
        inputs = [of(i) for i in k.inputs]
        w = weights.get(index)
        bias = torch.from_numpy(w.bias) if w is not None and w.bias is not None and (k.norm or k.bias) else None
        if k.kind in ("conv", "depthwise"):
            y = f.conv2d(inputs[0], torch.from_numpy(w.weight), bias, k.stride, k.padding, k.dilation, k.groups)
        elif k.kind == "linear":
            y = f.linear(inputs[0].flatten(1), torch.from_numpy(w.weight), bias)[..., None, None]
        elif k.kind == "maxpool":
            y = f.max_pool2d(inputs[0], k.kernel, k.stride, k.padding)
        elif k.kind == "avgpool":
            y = f.avg_pool2d(inputs[0], k.kernel, k.stride, k.padding, count_include_pad=False)
        elif k.kind == "globalpool":
            y = inputs[0].mean((2, 3), keepdim=True)
        elif k.kind == "add":
            y = sum(inputs[1:], inputs[0])
        elif k.kind == "mul":
            y = inputs[0] * inputs[1]
        elif k.kind == "mean":
            y = sum(inputs[1:], inputs[0]) / len(inputs)
        elif k.kind == "concat":
            y = torch.cat(inputs, 1)
        elif k.kind == "slice":
            y = inputs[0][:, : k.out_channels, k.in_height - k.height :, k.in_width - k.width :]
        elif k.kind == "shuffle":
            y = f.channel_shuffle(inputs[0], k.groups)
        elif k.kind == "resize":
            y = f.interpolate(inputs[0], size=(k.height, k.width), mode="nearest")
        else:
            y = inputs[0]
        if (k.norm or k.kind == "normalization") and k.kind not in ("conv", "depthwise", "linear"):
            y = y * torch.from_numpy(w.weight)[:, None, None] + torch.from_numpy(w.bias)[:, None, None]
        if k.residual is not None:
            y = y + of(k.residual)
        acts = {"": lambda t: t, "relu": f.relu, "relu6": f.relu6, "hardswish": f.hardswish, "silu": f.silu}
        acts |= {"sigmoid": torch.sigmoid, "hardsigmoid": f.hardsigmoid, "tanh": torch.tanh}
        outputs.append(acts[k.activation](y))
    last = outputs[-1]
    return (last.flatten(1) if last.shape[2:] == (1, 1) else last).numpy()


def zoo() -> Workload:
    """One network with every kind of kernel that a space uses."""
    t = Tracer(3, 17, 17)
    stem = t.conv(-1, 8, 3, stride=2, norm=True, activation="hardswish")  # (N, 8, 9, 9)
    wide = t.conv(stem, 8, 3, dilation=2, groups=8, norm=True, activation="relu6")
    grouped = t.conv(wide, 8, (1, 5), padding=(0, 2), groups=2, bias=True, residual=stem, activation="silu")
    gate = t.linear(t.global_pool(grouped), 4, activation="relu")
    gate = t.linear(gate, 8, activation="hardsigmoid")
    gated = t.elementwise("mul", [grouped, gate])
    most = t.pool("maxpool", gated, 3)
    average = t.pool("avgpool", gated, 3)
    mean = t.elementwise("mean", [most, average, gated], norm=True, activation="tanh")
    total = t.elementwise("add", [mean, stem, most])
    shuffled = t.channels("shuffle", t.concat([total, mean]), 16, groups=4)
    part = t.channels("slice", shuffled, 6)
    strided = t.conv(
        t.elementwise("activation", [part], norm=True, activation="relu"), 12, 2, stride=2, padding=0, norm=True
    )
    t.linear(t.elementwise("activation", [strided], activation="sigmoid"), 5, bias=False, norm=True)
    return t.workload()


@pytest.mark.parametrize("opset", OPSETS)
def test_every_kind_of_kernel_computes_what_torch_computes(opset: int) -> None:
    workload, x = zoo(), image(zoo())
    weights = random_weights(workload, 3)
    model = onnx_from_workload(workload, weights, opset, 7 if opset == 13 else 10)
    assert model.opset_import[0].version == opset
    np.testing.assert_allclose(answer(model, x), reference(workload, weights, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", [Classes(10), Embedding(32), Embedding(32, pool="depthwise")])
def test_chains_compute_what_torch_computes(head: Classes | Embedding) -> None:
    workload = workload_from_architecture(
        chain(8, 5, (0, 1, 0, 0, 1), (3, 5, 3, 7, 3), head, in_channels=1, image_size=28)
    )
    weights = random_weights(workload)
    x = image(workload, batch=3)
    np.testing.assert_allclose(
        answer(onnx_from_workload(workload, None), x), reference(workload, weights, x), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_measured_has_the_operators_of_what_is_exported(family: str) -> None:
    """At an opset that is exported from the workload, too: nothing that exported files have not, such as a batch norm."""
    measured = onnx_from_workload(workload_from_architecture(FAMILIES[family]), None, 13, 7)
    exported = onnx_from_network(trained(FAMILIES[family]), FAMILIES[family], opset=13, ir=7)
    operators = [node.op_type for node in measured.graph.node]
    assert operators == [node.op_type for node in exported.graph.node]
    assert "BatchNormalization" not in operators


def test_the_same_seed_gives_the_same_file_and_another_seed_another() -> None:
    a, b, c = (onnx_from_workload(zoo(), None, seed=seed).SerializeToString(deterministic=True) for seed in (1, 1, 2))
    assert a == b != c


def test_random_weights_keep_activations_alive_in_deep_chains() -> None:
    workload = workload_from_architecture(chain(8, 30, (0,) * 30, (3,) * 30, Classes(10)))
    assert 1e-3 < np.abs(answer(onnx_from_workload(workload, None), image(workload))).mean() < 1e3


def test_padding_at_the_end_alone_follows_from_the_sizes() -> None:
    """TensorFlow's SAME for an even input and stride 2 pads right and bottom only."""
    kernel = Kernel("conv", 1, 1, 4, 4, 8, 8, (-1,), kernel=(3, 3), stride=(2, 2), padding=(0, 0))
    weights = {0: KernelWeights(np.ones((1, 1, 3, 3), np.float32))}
    x = np.ones((1, 1, 8, 8), np.float32)
    value = answer(onnx_from_workload(Workload((kernel,)), weights), x)
    assert value[0, 0].tolist() == [[9, 9, 9, 6]] * 3 + [[6, 6, 6, 4]]


def test_missing_and_misshapen_weights_are_named() -> None:
    workload = Workload((Kernel("linear", 4, 2, 1, 1, 1, 1, (-1,), bias=True),))
    with pytest.raises(EdgenasError, match=r"kernel 0 \(linear\) needs weights of shape \(2, 4\); given: none"):
        onnx_from_workload(workload, {})
    with pytest.raises(EdgenasError, match=r"given: \(4, 2\)"):
        onnx_from_workload(workload, {0: KernelWeights(np.zeros((4, 2), np.float32))})
    with pytest.raises(EdgenasError, match="a bias of 2 numbers"):
        onnx_from_workload(workload, {0: KernelWeights(np.zeros((2, 4), np.float32))})


def test_what_cannot_be_built_is_named() -> None:
    with pytest.raises(EdgenasError, match=r"kernel 0 \(matmul\)"):
        onnx_from_workload(Workload((Kernel("matmul", 4, 4, 2, 2, 2, 2, (-1,)),)), None)
    with pytest.raises(EdgenasError, match="activation 'selu' has no ONNX form here; possible: elu"):
        onnx_from_workload(Workload((Kernel("activation", 4, 4, 2, 2, 2, 2, (-1,), activation="selu"),)), None)
    with pytest.raises(EdgenasError, match="opset 9 was asked for; possible: 13 to 20"):
        onnx_from_workload(zoo(), None, 9)
