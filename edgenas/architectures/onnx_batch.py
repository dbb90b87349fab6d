"""One image: which side of a file's inputs is the batch, and the graph when it is 1.

A side is the batch if the results grow with it. That is tried, not guessed: the graph is walked at two sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgenas.architectures.onnx_facts import Fact
from edgenas.architectures.onnx_file import (
    Shape,
    Sides,
    facts_from_weights,
    input_sides,
    refuse_free_sides,
    text_from_sides,
)
from edgenas.architectures.onnx_graph import Graph, graph_from_model
from edgenas.errors import EdgenasError


@dataclass(frozen=True)
class OneImage:
    """The graph at batch 1, its inputs' shapes, and the fixed batch that the file was exported with.

    `built_in`: a first side that may be a batch which the graph cannot do without.
    """

    graph: Graph
    shapes: dict[str, Shape]
    fixed_batch: int = 1
    built_in: int | None = None


def at_one_image(model: onnx.ModelProto, given: Mapping[str, Shape], folder: Path | None, name: str) -> OneImage:
    """The model's graph for one image. Raises EdgenasError where sides other than the batch are free."""
    constants = facts_from_weights(model, folder, name)
    sides = input_sides(model, given, name)
    free = _free_batch(model, sides, name)
    reader = _Reader(model, constants, name)
    if free:
        return _free(reader, sides, free, name)
    shapes = {key: tuple(side for side in one if isinstance(side, int)) for key, one in sides.items()}
    batch = _fixed_batch(shapes)
    if batch == 1:
        return OneImage(reader.at(shapes), shapes)
    return _fixed(reader, shapes, batch, given)


@dataclass(frozen=True)
class _Reader:
    model: onnx.ModelProto
    constants: dict[str, Fact]
    name: str

    def at(self, shapes: dict[str, Shape]) -> Graph:
        return graph_from_model(self.model, shapes, self.name, self.constants)

    def maybe_at(self, shapes: dict[str, Shape]) -> Graph | None:
        """None where the graph does not fit these shapes: something in it is made for another size."""
        try:
            graph = self.at(shapes)
        except EdgenasError:
            return None
        return None if any(fact.problem for fact in graph.facts.values()) else graph


def _free_batch(model: onnx.ModelProto, sides: dict[str, Sides], name: str) -> set[str]:
    """Names of free sides that are taken as the batch. Raises EdgenasError for others."""
    first_of_outputs = {
        value.type.tensor_type.shape.dim[0].dim_param
        for value in model.graph.output
        if value.type.tensor_type.shape.dim
    } - {""}
    first = {one[0] for one in sides.values() if one and isinstance(one[0], str)}
    batch = {side for side in first if isinstance(side, str)} or first_of_outputs
    for key, one in sides.items():
        refuse_free_sides(name, key, one, batch)
    return batch & {side for one in sides.values() for side in one if isinstance(side, str)}


def _free(reader: _Reader, sides: dict[str, Sides], free: set[str], name: str) -> OneImage:
    one, two = ({key: _filled(side, free, size) for key, side in sides.items()} for size in (1, 2))
    graph, other = reader.at(one), reader.maybe_at(two)
    if other is not None and _growth(graph, other) == 1:
        key, side = next((key, side) for key, side in sides.items() if free.intersection(map(str, side)))
        raise EdgenasError(
            f"{name}: its input {key!r} is {text_from_sides(side)}; its results do not grow with the free side, so that is "
            f"no batch: give its size, such as --shape {key}={text_from_sides(_filled(side, free, 1024))}"
        )
    return OneImage(graph, one)


def _filled(sides: Sides, free: set[str], size: int) -> Shape:
    return tuple(size if side in free else int(side) for side in sides)


def _growth(one: Graph, other: Graph) -> float:
    """How much larger the results of the other graph are; 0 where that cannot be known."""
    sizes = [_elements(graph) for graph in (one, other)]
    return sizes[1] / sizes[0] if all(sizes) else 0


def _elements(graph: Graph) -> int:
    shapes = [graph.facts[tensor].shape for tensor in graph.outputs]
    return sum(math.prod(shape) for shape in shapes if shape is not None)


def _fixed_batch(shapes: dict[str, Shape]) -> int:
    """The first side that all inputs have in common, which may be a batch."""
    first = {shape[0] for shape in shapes.values() if len(shape) > 1}
    return first.pop() if len(first) == 1 else 1


def _fixed(reader: _Reader, shapes: dict[str, Shape], batch: int, given: Mapping[str, Shape]) -> OneImage:
    """A file that was exported with several images is read at one, if its results shrink accordingly."""
    own = reader.at(shapes)
    single = {key: (1, *shape[1:]) if len(shape) > 1 else shape for key, shape in shapes.items()}
    one = reader.maybe_at(single)
    if one is None or _growth(one, own) != batch:
        return OneImage(own, shapes, built_in=batch)
    asked = next((key for key in shapes if key in given and len(shapes[key]) == 4), None)
    if asked is not None:
        raise EdgenasError(
            f"--shape {asked}={text_from_sides(shapes[asked])} is a batch of {batch}; latencies are those of one image: "
            f"--shape {asked}={text_from_sides(single[asked])}"
        )
    return OneImage(one, single, batch)
