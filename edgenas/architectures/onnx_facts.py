"""What is known of an ONNX tensor before the first image: its shape, and the value of small ones that no image changes."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, TypeProto, defs, helper, numpy_helper, shape_inference

from edgenas.errors import EdgenasError

SMALL = 4096  # elements of constants whose values are kept: shapes and conditions may depend on them
LARGEST_TENSOR = 2**40  # elements
ONNX = ("", "ai.onnx")
UNBOUNDED = {"Range", "ConstantOfShape", "Expand", "Tile", "Resize", "Pad"}  # results larger than what goes in
# What ONNX's reference implementation raises for what it cannot do.
UNREADABLE = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Fact:
    """A tensor before the first image. `roots`: the stored tensors that a constant is made of, if it may be a weight."""

    dtype: int  # TensorProto.DataType, 0 = not known
    shape: tuple[int, ...] | None
    constant: bool = False
    value: NDArray[Any] | None = None  # of small constants
    roots: frozenset[str] = frozenset()
    problem: str = ""  # why there is no shape, where ONNX says


def fact_from_tensor(tensor: TensorProto, name: str) -> Fact:
    """What a stored tensor of the file `name` says: its shape always, its value where it is small and in the file."""
    shape = tuple(tensor.dims)
    try:
        if min(shape, default=0) < 0 or math.prod(shape) > LARGEST_TENSOR or not isinstance(tensor.name, str):
            raise ValueError(f"its shape is {shape}")
        outside = tensor.data_location == TensorProto.EXTERNAL  # NumPy's helper would go and read that file
        value = numpy_helper.to_array(tensor) if not outside and math.prod(shape) <= SMALL else None
    except (LookupError, TypeError, ValueError) as error:
        raise EdgenasError(f"{name}: its tensor {tensor.name!r} is damaged: {_reason(error)}") from error
    roots = {tensor.name} if tensor.name and may_be_weight(tensor.data_type) else ()
    return Fact(tensor.data_type, shape, constant=True, value=value, roots=frozenset(roots))


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute. Raises EdgenasError for one of another type than its default's (None = any)."""
    for one in node.attribute:
        if one.name == name:
            try:
                value = helper.get_attribute_value(one)
            except ValueError:
                value = None
            kinds = list if isinstance(default, tuple) else type(default)
            wrong = value is None if default is None else not isinstance(value, kinds)
            if wrong or (isinstance(value, list) and not all(isinstance(item, int) for item in value)):
                raise EdgenasError(f"{label(node)} has a damaged attribute {name!r}")
            return value
    return default


@contextlib.contextmanager
def fitting(node: onnx.NodeProto, name: str) -> Iterator[None]:
    """One line where the inputs and attributes of a node of the file `name` are not those of its operator."""
    try:
        yield
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise EdgenasError(
            f"{name}: {label(node)} has inputs or attributes that do not fit it ({type(error).__name__}: {_reason(error)})"
        ) from error


def operator(node: onnx.NodeProto) -> str:
    """An operator's name with its domain, if it is not ONNX's own."""
    name = node.op_type if node.domain in ONNX else f"{node.domain}.{node.op_type}"
    return name if name.isprintable() and len(name) < 200 else ascii(name[:200])


def label(node: onnx.NodeProto) -> str:
    """A node as messages name it."""
    return (
        f"{operator(node)} {node.name!r}"
        if node.name
        else f"{'an' if node.op_type[:1] in 'AEIOU' else 'a'} {operator(node)}"
    )


def inferred(
    node: onnx.NodeProto, facts: Mapping[str, Fact], opsets: Mapping[str, int], ir_version: int, name: str
) -> dict[str, Fact] | None:
    """Shape and type of every result, None in them where ONNX cannot say; None where it does not describe the operator."""
    results = {tensor: Fact(0, None) for tensor in node.output if tensor}
    domain = "" if node.domain in ONNX else node.domain
    try:
        schema = defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except defs.SchemaError:
        return None
    if len(node.input) < schema.min_input or len(node.output) < schema.min_output:
        raise EdgenasError(
            f"{name}: {label(node)} has {len(node.input)} inputs and {len(node.output)} outputs, and needs "
            f"{schema.min_input} and {schema.min_output}: the file is damaged"
        )
    known = {tensor: facts[tensor] for tensor in node.input if tensor}
    if not all(fact.dtype for fact in known.values()):
        cause = next((fact.problem for fact in known.values() if fact.problem), "")
        return {tensor: Fact(0, None, problem=cause) for tensor in results}  # no tensors, or of an unknown operator
    types = {tensor: _type(fact) for tensor, fact in known.items()}
    data = {
        tensor: numpy_helper.from_array(fact.value)
        for tensor, fact in known.items()
        if fact.value is not None and fact.value.ndim <= 1
    }
    imports = [helper.make_opsetid(*one) for one in opsets.items()]
    try:
        found = shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=imports, ir_version=ir_version
        )
    except (shape_inference.InferenceError, onnx.checker.ValidationError, TypeError, ValueError) as error:
        problem = f"{label(node)} does not fit its inputs: {_reason(error)}"
        return {tensor: Fact(0, None, problem=problem) for tensor in results}
    results |= {tensor: _fact(tensor, kind, name) for tensor, kind in found.items()}
    cause = next((fact.problem for fact in known.values() if fact.problem), "")
    results = {
        tensor: fact if fact.shape is not None else replace(fact, problem=cause) for tensor, fact in results.items()
    }
    if node.op_type == "Reshape" and node.domain in ONNX:
        before, after = (math.prod(one.shape) if one.shape is not None else None
                         for one in (known[node.input[0]], results[node.output[0]]))  # fmt: skip
        if None not in (before, after) and before != after:  # ONNX's inference does not look
            raise EdgenasError(f"{name}: {label(node)} makes {after:,} numbers of {before:,}")
    return results


def _fact(tensor: str, found: TypeProto, name: str) -> Fact:
    dims = found.tensor_type.shape.dim
    if not found.tensor_type.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
        return Fact(found.tensor_type.elem_type, None)
    shape = tuple(dim.dim_value for dim in dims)
    if min(shape, default=0) < 0 or math.prod(shape) > LARGEST_TENSOR:
        raise EdgenasError(f"{name}: {tensor!r} would be {'x'.join(map(str, shape))}: no such tensor can be")
    return Fact(found.tensor_type.elem_type, shape)


def evaluated(
    node: onnx.NodeProto, facts: Mapping[str, Fact], opsets: Mapping[str, int], results: Mapping[str, Fact]
) -> dict[str, NDArray[Any]]:
    """The results' values, by ONNX's reference implementation, where all that goes in and comes out is small."""
    from onnx.reference import ReferenceEvaluator

    feeds = {tensor: facts[tensor].value for tensor in node.input if tensor}
    sizes = [fact.shape for fact in results.values()]
    large = any(math.prod(size) > SMALL if size is not None else node.op_type in UNBOUNDED for size in sizes)
    if large or any(value is None for value in feeds.values()):
        return {}
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of operators that got other types than theirs
            found = ReferenceEvaluator(_alone(node, opsets)).run(None, feeds)
    except UNREADABLE:
        return {}  # its shape is known all the same, and what needs its value says so
    pairs = zip((tensor for tensor in node.output if tensor), found, strict=False)
    return {tensor: value for tensor, value in pairs if isinstance(value, np.ndarray) and value.size <= SMALL}


def _alone(node: onnx.NodeProto, opsets: Mapping[str, int]) -> onnx.ModelProto:
    inputs, outputs = (
        [helper.make_value_info(tensor, TypeProto()) for tensor in tensors if tensor]
        for tensors in (node.input, node.output)
    )
    graph = helper.make_graph([node], "one", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*one) for one in opsets.items()])


def shape_fact(node: onnx.NodeProto, shape: tuple[int, ...]) -> Fact:
    """What Shape and Size give for a tensor of this shape."""
    if node.op_type == "Size":
        return Fact(TensorProto.INT64, (), constant=True, value=np.array(math.prod(shape), np.int64))
    part = shape[slice(attribute(node, "start", 0), attribute(node, "end", len(shape)))]
    return Fact(TensorProto.INT64, (len(part),), constant=True, value=np.array(part, np.int64))


def _type(fact: Fact) -> TypeProto:
    if fact.shape is None:
        return TypeProto(tensor_type=TypeProto.Tensor(elem_type=fact.dtype))
    return helper.make_tensor_type_proto(fact.dtype, fact.shape)


def may_be_weight(dtype: int) -> bool:
    """Whole numbers of 32 and 64 bits are sizes and indices; everything else may be trained, or quantised from that."""
    return dtype not in (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.STRING)


def _reason(error: Exception) -> str:
    """The last part of what ONNX says, without the node's dump."""
    return " ".join(str(error).split())[:200]
