"""An ONNX file as it lies on the disk: its graph, the facts of its weights (not their values), the shapes of its inputs."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import TensorProto, external_data_helper

from edgenas.architectures.onnx_facts import SMALL, Fact, fact_from_tensor
from edgenas.damaged import GIT_LFS, POINTER
from edgenas.errors import EdgenasError

LARGEST_FILE = 2**31  # bytes; protobuf reads no larger message
LARGEST_INPUT = 2**30  # elements
Shape = tuple[int, ...]
Sides = tuple["int | str", ...]  # free ones by name


def model_from_file(path: Path) -> onnx.ModelProto:
    """The model, without weights that lie beside it. Raises EdgenasError, in one line, for what is no ONNX file."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise EdgenasError(f"{path} is not a file: name an ONNX file")
        if found.st_size > LARGEST_FILE:
            raise EdgenasError(f"{path} has {found.st_size:,} bytes, ONNX files have at most {LARGEST_FILE:,}")
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise EdgenasError(f"{path} cannot be read: {error.strerror}") from error
    except DecodeError as error:
        with path.open("rb") as file:
            is_pointer = file.read(len(GIT_LFS)) == GIT_LFS
        raise EdgenasError(f"{path} is {POINTER if is_pointer else 'not an ONNX file'}") from error
    return checked_model(model, str(path))


def checked_model(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model, if there is a network in it."""
    if not model.graph.node or not model.graph.input or not model.graph.output:
        raise EdgenasError(f"{name} is not an ONNX file with a network in it")
    return model


def facts_from_weights(model: onnx.ModelProto, folder: Path | None, name: str) -> dict[str, Fact]:
    """What the stored tensors say. Small ones beside the file in `folder` are read: shapes may depend on them."""
    facts: dict[str, Fact] = {}
    for tensor in model.graph.initializer:
        outside = tensor.data_location == TensorProto.EXTERNAL
        if outside and folder is not None and math.prod(tensor.dims) <= SMALL:
            _load(tensor, folder)
        facts[tensor.name] = fact_from_tensor(tensor, name)
    for sparse in model.graph.sparse_initializer:
        kind = sparse.values.data_type
        facts[sparse.values.name] = Fact(kind, tuple(sparse.dims), constant=True, roots=frozenset([sparse.values.name]))
    return facts


def _load(tensor: TensorProto, folder: Path) -> None:
    """Read a small tensor from beside the file, if it is there (ONNX's reader refuses paths that leave the folder)."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    length = said.get("length", "")
    if not re.fullmatch("[0-9]{1,6}", length, re.ASCII) or int(length) > 16 * SMALL:
        return
    try:
        if not (folder / said.get("location", "")).is_file():
            return
        external_data_helper.load_external_data_for_tensor(tensor, str(folder))
    except (OSError, TypeError, ValueError, RuntimeError, onnx.checker.ValidationError):
        return
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def input_sides(model: onnx.ModelProto, given: Mapping[str, Shape], name: str) -> dict[str, Sides]:
    """The sides of every input, as the file and `given` say: a number, or a free side's name."""
    stored = {tensor.name for tensor in model.graph.initializer}  # up to IR 3 the weights are listed as inputs, too
    stored |= {sparse.values.name for sparse in model.graph.sparse_initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in stored}
    if not inputs:
        raise EdgenasError(f"{name} has no input")
    unknown = [one for one in given if one not in inputs]
    if unknown:
        raise EdgenasError(f"--shape {unknown[0]}: {name} has no such input; it has {', '.join(inputs)}")
    sides: dict[str, Sides] = {}
    names: dict[str, int] = {}
    for key, value in inputs.items():
        sides[key] = _sides(value, given.get(key), name)
        declared = value.type.tensor_type.shape.dim
        names |= {dim.dim_param: side for dim, side in zip(declared, given.get(key, ()), strict=False) if dim.dim_param}
    return {
        key: tuple(names.get(side, side) if isinstance(side, str) else side for side in one)
        for key, one in sides.items()
    }


def _sides(value: onnx.ValueInfoProto, given: Shape | None, name: str) -> Sides:
    if not value.type.HasField("tensor_type"):
        raise EdgenasError(f"{name}: its input {value.name!r} is no tensor: networks with images as input can be read")
    if not value.type.tensor_type.HasField("shape"):
        if given is None:
            raise EdgenasError(
                f"{name}: its input {value.name!r} has no shape: give one, --shape {value.name}=1x3x224x224"
            )
        return given
    dims = value.type.tensor_type.shape.dim
    sides: Sides = tuple(
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or f"{value.name}[{place}]"
        for place, dim in enumerate(dims)
    )
    if given is not None and (
        len(given) != len(sides) or any(isinstance(b, int) and a != b for a, b in zip(given, sides, strict=True))
    ):
        raise EdgenasError(
            f"--shape {value.name}={text_from_sides(given)}: in {name} this input is {text_from_sides(sides)}"
        )
    sides = sides if given is None else given
    if math.prod(side for side in sides if isinstance(side, int)) > LARGEST_INPUT:
        raise EdgenasError(f"{name}: its input {value.name!r} is {text_from_sides(sides)}: no such image can be")
    return sides


def portable_model(path: Path, given: Mapping[str, Shape]) -> bytes:
    """The file to send elsewhere: weights that lie beside it put inside, free sides of inputs set as `given`.

    Raises EdgenasError where weights are missing, or where all together are more than one file can hold.
    """
    model = model_from_file(path)
    outside = [tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    sides = input_sides(model, given, str(path))
    for value in model.graph.input:
        for dim, side in zip(value.type.tensor_type.shape.dim, given.get(value.name, ()), strict=False):
            dim.dim_value = side
    for key, one in sides.items():
        refuse_free_sides(str(path), key, one, {str(side) for side in one[:1]})
    if outside:
        _load_all(model, path, outside[0])
    try:
        return bytes(model.SerializeToString()) if outside or given else path.read_bytes()
    except OSError as error:
        raise EdgenasError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, EncodeError) as error:
        raise EdgenasError(f"{path} with its weights is larger than one ONNX file can be (2 GiB): {error}") from error


def _load_all(model: onnx.ModelProto, path: Path, first: TensorProto) -> None:
    """Read the weights that lie beside the file. EdgenasError where they are not there, or not as the file says."""
    where = next((entry.value for entry in first.external_data if entry.key == "location"), "")
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, RuntimeError, onnx.checker.ValidationError) as error:
        raise EdgenasError(
            f"{path} keeps weights in {where}, which cannot be read: copy it beside the model"
        ) from error
    except ValueError as error:
        raise EdgenasError(
            f"{path} keeps weights in {where}, which is not the file that it was saved with: {error}"
        ) from error


def refuse_free_sides(name: str, key: str, sides: Sides, batch: set[str]) -> None:
    """Raises EdgenasError, with an example, where an input has free sides other than these."""
    if all(isinstance(side, int) or side in batch for side in sides):
        return
    sizes = [side if isinstance(side, int) else 1 if side in batch else 320 if place > 1 else 64
             for place, side in enumerate(sides)]  # fmt: skip
    raise EdgenasError(
        f"{name}: its input {key!r} has no fixed size ({text_from_sides(sides)}): give one, such as "
        f"--shape {key}={text_from_sides(tuple(sizes))}"
    )


def text_from_sides(sides: Sides) -> str:
    """1x3x224x224, as --shape is written; free sides by name."""
    return "x".join(str(side) for side in sides)


def shapes_from_text(given: list[str]) -> dict[str, Shape]:
    """What `--shape NAME=1x3x320x320`, given any number of times, says."""
    shapes: dict[str, Shape] = {}
    for text in given:
        key, equals, sizes = text.rpartition("=")
        parts = sizes.lower().split("x")
        if not key or not equals or not all(re.fullmatch("0*[1-9][0-9]{0,8}", part, re.ASCII) for part in parts):
            raise EdgenasError(
                f"--shape {text[:80]!r}: write NAME=1x3x320x320, an input's name and positive whole numbers"
            )
        if key in shapes:
            raise EdgenasError(f"--shape {key} was given twice")
        shapes[key] = tuple(int(part) for part in parts)
    return shapes
