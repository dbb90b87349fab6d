"""Do the parts of a bundle fit each other? What does not would be found by the first picture that is sent to a server."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from edgenas.architectures.onnx_file import facts_from_weights
from edgenas.architectures.onnx_graph import graph_from_model
from edgenas.errors import BundleError, EdgenasError
from edgenas.image_sizes import sides_of
from edgenas.records import Preprocessing

LARGEST_SIDE = 8192  # px of an input
LARGEST_TENSOR = 2**31  # bytes of one inner tensor of one image
INPUTS = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}

Shape = tuple[int | str, ...]


def golden_file(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An npz file of plain arrays; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    return buffer.getvalue()


def check_name(name: str, where: str) -> None:
    """The name is part of the server's addresses and is printed: letters, digits, . _ - only."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", name) or set(name) == {"."}:
        raise BundleError(
            f"{where}: its name {name[:60]!r} cannot be served: 1 to 200 letters, digits, '.', '_' and '-' can"
        )


def check_preprocessing(
    preprocessing: Preprocessing,
    kind: Literal["float32", "uint8"],
    shape: Shape,
    where: str,
    batch: int | None = None,
) -> None:
    """What the preprocessing makes of an image is what the model takes, so many at a time (None: any number)."""
    p, sides = preprocessing, sides_of(preprocessing.size)
    sound = (
        p.channels in (1, 3)
        and len(p.mean) == len(p.std) == p.channels
        and all(math.isfinite(value) for value in (*p.mean, *p.std))
        and all(value > 0 for value in p.std)
        and min(sides) > 0
        and p.padding >= 0
        and max(p.input_sides) <= LARGEST_SIDE
    )
    if not sound:
        raise BundleError(
            f"{where}: its preprocessing makes no image: 1 or 3 channels, a mean and a std above 0 for each, "
            f"1 to {LARGEST_SIDE} px are possible: export it again"
        )
    made = (p.channels, *p.input_sides) if kind == "float32" else (*p.input_sides, p.channels)
    if len(shape) != 4 or shape[1:] != made:
        raise BundleError(
            f"{where}: its preprocessing makes images of {_text(made)}, the model takes {_text(shape[1:])}: export it again"
        )
    if shape[0] != batch and (batch is not None or isinstance(shape[0], int)):
        raise BundleError(
            f"{where}: a model takes {shape[0]} images at a time, the manifest says {batch or 'any number'}: export it again"
        )


def check_ports(graph: onnx.GraphProto, kind: Literal["float32", "uint8"], where: str) -> None:
    """One input of the manifest's type, one float32 output (batch, n)."""
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise BundleError(
            f"{where} has {len(graph.input)} inputs and {len(graph.output)} outputs, one of each is served"
        )
    given, made = graph.input[0].type.tensor_type, graph.output[0].type.tensor_type
    if given.elem_type != INPUTS[kind] or made.elem_type != TensorProto.FLOAT or len(made.shape.dim) != 2:
        names = [TensorProto.DataType.Name(port.elem_type).lower() for port in (given, made)]
        raise BundleError(
            f"{where} takes {names[0]} and gives {names[1]} of {len(made.shape.dim)} dimensions, {kind} and float of 2 are served"
        )


def check_sizes(model: onnx.ModelProto, shape: Shape, where: str) -> None:
    """No inner tensor of one image is larger than any network's; sizes that only a run would tell are refused.

    `shape`: of the model's one input, the batch first.
    """
    one = (1, *(side for side in shape[1:] if isinstance(side, int)))
    try:
        graph = graph_from_model(model, {model.graph.input[0].name: one}, where, facts_from_weights(model, None, where))
    except EdgenasError as error:
        raise BundleError(str(error)) from error
    for name, fact in graph.facts.items():
        if fact.problem:
            raise BundleError(f"{where}: {fact.problem}")
        if fact.shape is None:
            raise BundleError(
                f"{where}: how large {name!r} gets is not known before it runs: such files are not served"
            )
        if 4 * math.prod(fact.shape) > LARGEST_TENSOR:
            raise BundleError(f"{where}: {name!r} would be {_text(fact.shape)} numbers for one image: too many")


def check_golden(
    golden: Mapping[str, NDArray[Any]], kind: str, shapes: Mapping[str, tuple[Shape, Shape]], where: str
) -> None:
    """Golden inputs fit every model's input, its outputs are as many rows, and all of them are numbers.

    `shapes`: input and output of each precision's model.
    """
    if "inputs" not in golden or not set(shapes) <= set(golden):
        raise BundleError(f"{where} lacks the inputs or outputs of a model: export it again")
    inputs = golden["inputs"]
    for precision, (given, made) in shapes.items():
        outputs = golden[precision]
        fits = inputs.ndim == len(given) and inputs.shape[1:] == given[1:] and len(inputs) > 0 and inputs.dtype == kind
        fits = fits and outputs.dtype == np.float32 and outputs.shape == (len(inputs), *made[1:])
        if not fits:
            raise BundleError(
                f"{where}: {inputs.dtype} {inputs.shape} and {outputs.dtype} {outputs.shape} are no inputs and outputs of the "
                f"{precision} model, which takes {_text(given)} and gives {_text(made)}: export it again"
            )
        if not (np.isfinite(inputs).all() and np.isfinite(outputs).all()):
            raise BundleError(f"{where} holds NaN or infinity for {precision}, which proves nothing: export it again")


def _text(shape: tuple[int | str, ...]) -> str:
    return " x ".join(map(str, shape))
