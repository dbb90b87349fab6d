"""The nodes of an ONNX model in one flat list, with all that is known of every tensor before the first image.

One walk in the model's own (topological) order: the shape of each result by ONNX's inference, the value of each small one
that depends on no image by ONNX's reference implementation. Functions and loops of a known length are written out, of an
`If` the branch that is taken: a node with a graph inside never counts as a constant.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgenas.architectures.onnx_facts import (
    ONNX,
    Fact,
    attribute,
    evaluated,
    fact_from_tensor,
    fitting,
    inferred,
    label,
    may_be_weight,
    operator,
    shape_fact,
)
from edgenas.errors import EdgenasError

LARGEST_GRAPH = 20_000  # nodes that functions and loops may add to those in the file


@dataclass
class Graph:
    """Nodes that depend on the image, in order, and facts by tensor."""

    facts: dict[str, Fact] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)  # operators of constants that ONNX does not describe


@dataclass(frozen=True)
class _Scope:
    """Where a node stands: what its names mean, the operator sets, and in a function the attributes of the call."""

    names: ChainMap[str, str]
    prefix: str
    opsets: Mapping[str, int]
    attributes: Mapping[str, onnx.AttributeProto]
    calls: tuple[tuple[str, str, str], ...] = ()


def graph_from_model(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], name: str, constants: Mapping[str, Fact]
) -> Graph:
    """The flat graph for inputs of these shapes. Raises EdgenasError, in one line, where no shape can be known."""
    walk = _Walk(model, name)
    facts = dict(constants)
    for value in model.graph.input:
        if value.name in shapes:
            facts[value.name] = Fact(value.type.tensor_type.elem_type, shapes[value.name])
    walk.graph.facts, walk.graph.inputs = facts, list(shapes)
    names = ChainMap({tensor: tensor for tensor in facts})
    walk.nodes(model.graph.node, _Scope(names, "", _opsets(model.opset_import), {}))
    walk.graph.outputs = [value.name for value in model.graph.output]
    missing = [output for output in walk.graph.outputs if output not in facts]
    if missing:
        raise EdgenasError(f"{name}: nothing in it makes its output {missing[0]!r}")
    walk.graph.nodes = _reaching(walk.graph.nodes, walk.graph.outputs)
    return walk.graph


class _Walk:
    """Fills a Graph; every method keeps `graph.facts` true for what has been walked."""

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self.name, self.ir_version, self.graph, self.count = name, model.ir_version, Graph(), 0
        self.most = len(model.graph.node) + LARGEST_GRAPH
        self.functions = {(f.domain, f.name, f.overload): f for f in model.functions}

    def nodes(self, nodes: Iterable[onnx.NodeProto], scope: _Scope) -> None:
        for node in nodes:
            self._count()
            if not any(node.output):
                continue  # nothing can need it
            names = (one.name for one in node.attribute)
            if not all(
                isinstance(text, str) for text in (node.op_type, node.domain, *node.input, *node.output, *names)
            ):
                raise EdgenasError(f"{self.name} is damaged: it holds names that are no text")
            with fitting(node, self.name):
                self._node(node, scope)

    def _node(self, node: onnx.NodeProto, scope: _Scope) -> None:
        called = self.functions.get((node.domain, node.op_type, node.overload))
        renamed = self._renamed(node, scope)
        if called is not None:
            self._call(renamed, called, scope)
        elif node.op_type == "If" and node.domain in ONNX:
            self._if(renamed, scope)
        elif node.op_type == "Loop" and node.domain in ONNX:
            self._loop(renamed, scope)
        else:
            self._plain(renamed, scope)

    def _count(self) -> None:
        self.count += 1
        if self.count > self.most:
            raise EdgenasError(
                f"{self.name}: its functions and loops make more than {LARGEST_GRAPH:,} operators: export it without them"
            )

    def _renamed(self, node: onnx.NodeProto, scope: _Scope) -> onnx.NodeProto:
        """The node with its tensors' names in the flat graph, attributes of the enclosing call put in."""
        for tensor in node.input:
            if tensor and scope.names.get(tensor) not in self.graph.facts:
                raise EdgenasError(f"{self.name}: {label(node)} reads {tensor!r}, which nothing before it makes")
        inputs = [scope.names[tensor] if tensor else "" for tensor in node.input]
        scope.names.update({tensor: scope.prefix + tensor for tensor in node.output if tensor})
        if not scope.prefix:
            return node
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:], copy.attribute[:]
        copy.input.extend(inputs)
        copy.output.extend(scope.prefix + tensor if tensor else "" for tensor in node.output)
        for one in node.attribute:
            given = scope.attributes.get(one.ref_attr_name) if one.ref_attr_name else one
            if given is not None:
                copy.attribute.append(given)
                copy.attribute[-1].name = one.name
        return copy

    # -------- nodes with graphs inside

    def _call(self, node: onnx.NodeProto, function: onnx.FunctionProto, scope: _Scope) -> None:
        key = (function.domain, function.name, function.overload)
        if key in scope.calls:
            raise EdgenasError(f"{self.name}: its function {function.name!r} calls itself: ONNX does not allow that")
        given = {one.name: one for one in function.attribute_proto} | {one.name: one for one in node.attribute}
        names = ChainMap(dict(zip(function.input, node.input, strict=False)))
        opsets = _opsets(function.opset_import) if function.opset_import else scope.opsets
        inner = _Scope(names, f"{self.count}/", opsets, given, (*scope.calls, key))
        self.nodes(function.node, inner)
        self._alias(zip(node.output, function.output, strict=False), inner)

    def _if(self, node: onnx.NodeProto, scope: _Scope) -> None:
        condition = self.graph.facts[node.input[0]].value if node.input and node.input[0] else None
        if condition is None or condition.size != 1:
            raise EdgenasError(
                f"{self.name}: {label(node)} chooses its branch by the image: export the branch that is meant"
            )
        branch = attribute(node, "then_branch" if condition.item() else "else_branch", onnx.GraphProto())
        inner = self._inside(branch, scope, {})
        self._alias(zip(node.output, [value.name for value in branch.output], strict=False), inner)

    def _inside(self, graph: onnx.GraphProto, scope: _Scope, given: dict[str, str]) -> _Scope:
        """Walk a subgraph, `given` its inputs' names; it also sees all names around it."""
        inner = replace(scope, names=scope.names.new_child(dict(given)), prefix=f"{self.count}/")
        for tensor in graph.initializer:
            inner.names[tensor.name] = inner.prefix + tensor.name
            self.graph.facts[inner.prefix + tensor.name] = fact_from_tensor(tensor, self.name)
        self.nodes(graph.node, inner)
        return inner

    def _loop(self, node: onnx.NodeProto, scope: _Scope) -> None:
        """Write every pass out. The body takes (pass, go on, state...) and makes (go on, state..., a row of each stack)."""
        body = attribute(node, "body", onnx.GraphProto())
        state = list(node.input[2:])
        if len(body.input) != 2 + len(state) or len(body.output) < 1 + len(state):
            raise EdgenasError(f"{self.name}: {label(node)} does not fit its body: the file is damaged")
        most, go_on = (self._scalar(node, place) for place in (0, 1))
        if most is not None and most > LARGEST_GRAPH:
            raise EdgenasError(
                f"{self.name}: {label(node)} runs {most:,} times, and at most {LARGEST_GRAPH:,} operators are written out: "
                "export it without the loop"
            )
        rows: list[list[str]] = []
        while (most is None or len(rows) < most) and go_on is not False:
            self._count()
            number, yes = f"{self.count}/pass", f"{self.count}/yes"
            self.graph.facts[number] = Fact(TensorProto.INT64, (), constant=True, value=np.array(len(rows)))
            self.graph.facts[yes] = Fact(TensorProto.BOOL, (), constant=True, value=np.array(True))
            given = dict(zip([value.name for value in body.input], [number, yes, *state], strict=True))
            inner = self._inside(body, scope, given)
            results = [self._made(value.name, inner) for value in body.output]
            go_on = self._truth(results[0], node)
            state = results[1 : 1 + len(state)]
            rows.append(results[1 + len(state) :])
        for outer, last in zip(node.output, state, strict=False):
            self._identity(outer, last)
        for outer, column in zip(node.output[len(state) :], zip(*rows, strict=True), strict=False):
            self._stacked(outer, list(column))

    def _scalar(self, node: onnx.NodeProto, place: int) -> Any:
        """The number that a loop is bounded by; None = it has none. Raises EdgenasError where the image decides."""
        if place >= len(node.input) or not node.input[place]:
            return None
        return self._truth(node.input[place], node)

    def _truth(self, tensor: str, node: onnx.NodeProto) -> Any:
        value = self.graph.facts[tensor].value
        if value is None or value.size != 1:
            raise EdgenasError(
                f"{self.name}: how often {label(node)} runs depends on the image: export it with a fixed number of passes"
            )
        return value.item()

    def _stacked(self, outer: str, rows: list[str]) -> None:
        if not outer:
            return
        shape = self.graph.facts[rows[0]].shape
        whole = None if shape is None else (len(rows), *shape)
        constant = all(self.graph.facts[row].constant for row in rows)
        self.graph.facts[outer] = Fact(self.graph.facts[rows[0]].dtype, whole, constant=constant)
        if not constant:
            self.graph.nodes.append(helper.make_node("Concat", rows, [outer], axis=0))

    def _alias(self, pairs: Iterable[tuple[str, str]], inner: _Scope) -> None:
        for outer, tensor in pairs:
            self._identity(outer, self._made(tensor, inner))

    def _made(self, tensor: str, inner: _Scope) -> str:
        made = inner.names.get(tensor, "")
        if made not in self.graph.facts:
            raise EdgenasError(
                f"{self.name}: nothing makes {tensor!r}, a result of one of its functions, loops or branches"
            )
        return made

    def _identity(self, outer: str, tensor: str) -> None:
        if not outer:
            return
        self.graph.facts[outer] = self.graph.facts[tensor]
        if not self.graph.facts[tensor].constant:
            self.graph.nodes.append(helper.make_node("Identity", [tensor], [outer]))

    # -------- all other nodes

    def _plain(self, node: onnx.NodeProto, scope: _Scope) -> None:
        facts = [self.graph.facts[tensor] for tensor in node.input if tensor]
        constant = all(fact.constant for fact in facts)
        if any(one.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for one in node.attribute):
            constant = False  # the reader refuses it by name
        results = self._inferred(node, scope, constant=constant)
        if node.op_type in ("Shape", "Size") and node.domain in ONNX and facts and facts[0].shape is not None:
            results[node.output[0]] = shape_fact(node, facts[0].shape)
        elif constant:
            results = self._constants(node, scope, facts, results)
        elif node.op_type not in ("Shape", "Size"):
            self.graph.nodes.append(node)
        self.graph.facts.update(results)

    def _inferred(self, node: onnx.NodeProto, scope: _Scope, *, constant: bool) -> dict[str, Fact]:
        results = inferred(node, self.graph.facts, scope.opsets, self.ir_version, self.name)
        if results is None:
            if constant:
                self.graph.unknown.add(operator(node))
            results = {tensor: Fact(0, None) for tensor in node.output if tensor}
        return {tensor: replace(fact, constant=constant) for tensor, fact in results.items()}

    def _constants(
        self, node: onnx.NodeProto, scope: _Scope, facts: Sequence[Fact], results: dict[str, Fact]
    ) -> dict[str, Fact]:
        """Results that no image changes: what they are made of, and their values where they are small."""
        stored = attribute(node, "value", None) if node.op_type == "Constant" else None
        if isinstance(stored, TensorProto):
            fact = fact_from_tensor(stored, self.name)
            roots = frozenset(node.output) if may_be_weight(fact.dtype) else frozenset[str]()
            return {node.output[0]: replace(fact, roots=roots)}
        quantised = node.op_type == "DequantizeLinear" and bool(facts)
        roots = frozenset[str]().union(*(fact.roots for fact in (facts[:1] if quantised else facts)))
        if quantised and not roots:
            roots = frozenset(node.input[:1])  # a bias of 32-bit whole numbers
        values = evaluated(node, self.graph.facts, scope.opsets, results)
        named = {}
        for tensor, fact in results.items():
            value = values.get(tensor)
            shape = fact.shape if value is None else value.shape
            own = roots or (frozenset([tensor]) if may_be_weight(fact.dtype) else roots)
            named[tensor] = replace(fact, shape=shape, value=value, roots=own)
        return named


def _reaching(nodes: list[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that some output needs: runtimes drop the others."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    return kept[::-1]


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    named = [one for one in imports if isinstance(one.domain, str) and 0 < one.version < 2**31]
    return {"" if one.domain in ONNX else one.domain: one.version for one in named}
