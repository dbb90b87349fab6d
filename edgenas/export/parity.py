"""The gate that every exported file passes: it computes what the torch network computes, or nothing is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ValueInfoProto
from torch import nn

from edgenas.bundle import Parity
from edgenas.errors import ParityError
from edgenas.export.child import outputs_in_child
from edgenas.export.layers import NORMS, executed_layers
from edgenas.export.onnx import EMBEDDING, OUTPUTS
from edgenas.export.rounding import in_half_precision
from edgenas.preprocessing import input_from_pixels, network_input
from edgenas.records import Precision, Preprocessing
from edgenas.runtimes import LARGEST_BATCH
from edgenas.runtimes.compare import cosines, likeness

Array = NDArray[Any]
Floats = NDArray[np.float32]
SEEDED_BATCHES = 8


@dataclass(frozen=True)
class Bar:
    """What a precision must reach. `tolerance` t: |a - b| <= t + t |b|, so a class that leads by twice that keeps its place.

    `cosine`: mean over real images, of INT8 and of embeddings. `top1`: share of the validation images, and all but one of them
    at most, for which a classifier names the same class as in FP32 (see kinds.check_ranks).
    `by_row`: |b| is the largest value of the output row. In float16 every output carries the rounding of the large ones.
    `widest`: the tolerance of a network that rounding alone takes further than `tolerance`, at most (see `widened`).
    """

    tolerance: float | None
    cosine: float
    top1: float | None
    by_row: bool = False
    widest: float | None = None

    def allowed(self, want: Floats) -> Floats:
        """Largest difference that is allowed at each output (N, n)."""
        assert self.tolerance is not None
        return (self.tolerance * self._units(want)).astype(np.float32)

    def _units(self, want: Floats) -> Floats:
        size = np.abs(want).max(axis=1, keepdims=True) if self.by_row else np.abs(want)
        return 1 + np.broadcast_to(size, want.shape)

    def widened(self, want: Floats, rounded: Floats) -> Bar:
        """The bar of a network whose outputs rounding to this precision takes from `want` to `rounded`: ROUNDINGS times that far,
        and not further than `widest`. A file that is further off is wrong by more than its precision."""
        if self.widest is None or self.tolerance is None or not np.isfinite([want, rounded]).all():
            return self
        far = float((np.abs(rounded - want) / self._units(want)).max())
        return dataclasses.replace(self, tolerance=max(self.tolerance, min(self.widest, ROUNDINGS * far)))


ROUNDINGS = 2.0  # a device rounds at other places than we do
BARS: dict[Precision, Bar] = {
    "fp32": Bar(1e-4, 0.999, None),
    "fp16": Bar(5e-3, 0.999, 0.99, by_row=True, widest=2e-2),
    "int8": Bar(None, 0.99, None),
}


class Case(NamedTuple):
    """One batch as the file takes it; `real` = images of the validation split, each once: what is said of images is of these."""

    name: str
    inputs: Array
    real: bool = False


def parity_cases(
    preprocessing: Preprocessing, images: NDArray[np.uint8], *, uint8: bool = False, seed: int = 0
) -> list[Case]:
    """Seeded batches, zeros, extremes, batch 1 and the largest batch; `images` (N, H, W, C) are real ones, of which the first is
    looked at by itself, too."""
    rng = np.random.default_rng(seed)
    shape = images.shape[1:]

    def batch(pixels: NDArray[np.uint8]) -> Array:
        return network_input(pixels, preprocessing, uint8=uint8)

    def noise(count: int) -> Array:
        return batch(rng.integers(0, 256, (count, *shape), dtype=np.uint8))

    cases = [Case(f"seeded noise {i}", noise(4)) for i in range(SEEDED_BATCHES)]
    cases.append(Case("zeros", np.zeros_like(cases[0].inputs[:1])))
    cases += [Case(f"pixels of {v}", batch(np.full((2, *shape), v, np.uint8))) for v in (0, 255)]
    cases.append(Case("checkerboard of 0 and 255", batch(_checkerboard(shape))))
    cases.append(Case(f"noise, batch of {LARGEST_BATCH}", noise(LARGEST_BATCH)))
    cases.append(Case("images", batch(images[:LARGEST_BATCH]), real=True))
    cases.append(Case("one image", batch(images[:1])))
    return cases


def _checkerboard(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    rows, columns = np.indices(shape[:2])
    board = ((rows + columns) % 2 * 255).astype(np.uint8)
    return np.repeat(board[None, :, :, None], shape[2], axis=3)


def check_parity(
    network: nn.Module,
    model: onnx.ModelProto,
    precision: Precision,
    cases: Sequence[Case],
    preprocessing: Preprocessing,
) -> Parity:
    """The figures of a file that passes; ParityError naming the case and the first layer that diverges otherwise."""
    output = model.graph.output[0].name
    wanted = [network_outputs(network, floats_from_case(case, preprocessing)) for case in cases]
    got = [arrays[output] for arrays in outputs_in_child(model, [case.inputs for case in cases])]
    bar = BARS[precision]
    for case, want, have in zip(cases, wanted, got, strict=True):
        problem, row = _off(want, have, bar)
        if problem and bar.widest is not None:
            inputs = floats_from_case(case, preprocessing)
            bar = bar.widened(want, network_outputs(in_half_precision(network), inputs))
            problem, row = _off(want, have, bar)
        shown, judged = case.inputs[max(0, row - 1) :][:2], bar  # the row at fault, and a neighbour
        if not problem and case.real:
            problem = _unlike(want, have, bar, output)
            shown, judged = case.inputs, dataclasses.replace(bar, tolerance=None)
        if problem:
            place = first_diverging_layer(network, model, Case(case.name, shown), preprocessing, judged)
            raise ParityError(
                f"{precision} export differs from the network on {case.name}: {problem}; first diverging: {place}"
            )
    return measure_parity(precision, wanted, got, [case.real for case in cases], bar, output == OUTPUTS)


def _off(want: Floats, have: Array, bar: Bar) -> tuple[str, int]:
    """What is wrong with outputs (N, n), each by itself, or "", and the row that is furthest off."""
    if have.shape != want.shape:
        return f"shape {have.shape} instead of {want.shape}", 0
    finite = (np.isfinite(want) & np.isfinite(have)).all(axis=1)
    if not finite.all():
        return "NaN or infinity", int(finite.argmin())
    if bar.tolerance is None:
        return "", 0
    off, allowed = np.abs(have - want), bar.allowed(want)
    row, column = np.unravel_index((off - allowed).argmax(), off.shape)
    if off[row, column] <= allowed[row, column]:
        return "", 0
    return f"off by {off[row, column]:.3g} where {allowed[row, column]:.3g} is allowed", int(row)


def _unlike(want: Floats, have: Array, bar: Bar, output: str) -> str:
    """What is wrong with the outputs (N, n) of real images together, or "". One image alone says nothing of INT8 values (see
    likeness)."""
    values = output == OUTPUTS
    judged = len(want) > values if bar.tolerance is None else output == EMBEDDING
    if judged and (cosine := likeness(want, have, values)) < bar.cosine:
        return f"cosine {cosine:.4f}, at least {bar.cosine:g} is needed"
    return ""


def measure_parity(
    precision: Precision, wanted: list[Floats], got: list[Array], real: list[bool], bar: Bar, values: bool = False
) -> Parity:
    """Figures over all cases; for INT8, which has no meaning on noise, over the real images alone. `values`: see likeness."""
    chosen = [i for i in range(len(wanted)) if bar.tolerance is not None or real[i]]
    want = np.concatenate([wanted[i] for i in chosen])
    have = np.concatenate([got[i] for i in chosen]).astype(np.float32)
    images = [i for i in chosen if real[i]]
    # Zeros and noise tie: agreement of rankings is a figure about images.
    same = np.concatenate([wanted[i].argmax(1) == got[i].argmax(1) for i in images])
    off = np.abs(have - want)
    return Parity(
        precision=precision,
        max_abs=float(off.max()),
        max_rel=float((off.max(1) / np.maximum(np.abs(want).max(1), 1e-6)).max()),
        cosine=likeness(want, have, values),
        top1_agreement=float(same.mean()),
        inputs=len(want),
        images=sum(len(wanted[i]) for i in images),
        tolerance=bar.tolerance,
        passed=True,
    )


# ---------------------------------------------------------------- the network's side


def floats_from_case(case: Case, preprocessing: Preprocessing) -> Floats:
    """What the torch network is fed for a case, (N, C, H, W)."""
    return input_from_pixels(case.inputs, preprocessing) if case.inputs.dtype == np.uint8 else case.inputs


def network_outputs(network: nn.Module, inputs: Floats, batch: int = LARGEST_BATCH) -> Floats:
    """(N, C, H, W) -> (N, n) by torch, on the CPU, in evaluation mode."""
    network = network.cpu().eval()
    with torch.no_grad():
        parts = [network(torch.from_numpy(inputs[i : i + batch]).clone()).numpy() for i in range(0, len(inputs), batch)]
    return np.concatenate(parts)


def first_diverging_layer(
    network: nn.Module, model: onnx.ModelProto, case: Case, preprocessing: Preprocessing, bar: Bar
) -> str:
    """Name, in torch and in the file, of the first layer whose outputs differ by more than the bar allows.

    A quantised layer is judged by what the next one is given, behind its own quantise and dequantise nodes. Where every layer
    alone reaches a bar without tolerance, which is one of cosines, the one that costs most is named.
    """
    pixels = torch.from_numpy(floats_from_case(case, preprocessing))
    layers = [layer for layer in executed_layers(network, pixels) if not isinstance(layer.module, NORMS)]
    nodes = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    if len(layers) != len(nodes):
        return f"the number of layers ({len(layers)} in the network, {len(nodes)} in the file)"
    seen = [_given_on(model, node.output[0]) for node in nodes]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(ValueInfoProto(name=name) for name in seen if not _is_output(model, name))
    got: Mapping[str, Array] = outputs_in_child(watched, [case.inputs])[0]
    reached = [1.0]  # cosine behind each layer
    for layer, node, name in zip(layers, nodes, seen, strict=True):
        want, have = layer.output.numpy(), got[name].astype(np.float32)
        if have.shape != want.shape or _differs(want, have, bar, inner=not _is_output(model, name)):
            return f"layer {layer.name} ({node.name})"
        reached.append(_mean_cosine(want, have))
    if bar.tolerance is not None:
        return "what follows the last layer"
    costliest = int(np.diff(reached).argmin())
    return (
        f"none by itself; layer {layers[costliest].name} ({nodes[costliest].name}) costs most "
        f"(cosine {reached[costliest]:.4f} before, {reached[costliest + 1]:.4f} after)"
    )


def _given_on(model: onnx.ModelProto, name: str) -> str:
    """A layer's output as the next one gets it: behind its quantise and dequantise nodes, if it has them."""
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        takers = [node for node in model.graph.node if name in node.input]
        if len(takers) != 1 or takers[0].op_type != kind:
            break
        name = takers[0].output[0]
    return name


def _differs(want: Array, have: Array, bar: Bar, *, inner: bool) -> bool:
    """Does a layer (N, ...) differ? Small values of inner ones carry the rounding of the largest of their row."""
    rows = want.reshape(len(want), -1), have.reshape(len(have), -1)
    if _off(*rows, dataclasses.replace(bar, by_row=True) if inner else bar)[0]:
        return True
    return bar.tolerance is None and _mean_cosine(want, have) < bar.cosine


def _mean_cosine(want: Array, have: Array) -> float:
    return float(cosines(want.reshape(len(want), -1), have.reshape(len(want), -1)).mean())


def _is_output(model: onnx.ModelProto, name: str) -> bool:
    return any(output.name == name for output in model.graph.output)
