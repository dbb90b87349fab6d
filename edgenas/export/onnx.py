"""Torch network -> ONNX: the opset and IR that were asked for, weights inside the file, nothing of the exporter's in it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import onnx
from onnx import helper, version_converter

from edgenas.errors import EdgenasError
from edgenas.image_sizes import sides_of
from edgenas.records import Architecture, Classes, Embedding, Outputs
from edgenas.runtimes.norms import NORM, SCALE, without_norms
from edgenas.version import __version__

if TYPE_CHECKING:
    from torch import nn

INPUT, BATCH = "image", "batch"
LOGITS, EMBEDDING, OUTPUTS = "logits", "embedding", "outputs"  # of a classifier, a recogniser, anything else
EXPORTER_OPSETS = (18, 19, 20, 21)  # what torch's exporter writes itself; asked for 17 it writes 18 and says nothing
OLDEST_CONVERTED = 16  # below, files are built from the workload: the converter cannot be trusted that far down
OLDEST_IR = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}


def output_name(architecture: Architecture) -> str:
    """What the file's output is called."""
    names = {Classes: LOGITS, Embedding: EMBEDDING, Outputs: OUTPUTS}
    return names[type(architecture.head)]


def onnx_from_network(
    network: nn.Module,
    architecture: Architecture,
    *,
    opset: int = 18,
    ir: int = 10,
    input_shape: tuple[int, int, int] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """`image` (batch, C, H, W) float32 -> its output (batch, n), in evaluation mode, at exactly this opset and IR.

    `input_shape` (C, H, W) is the architecture's unless the network wraps it in something that takes another.
    """
    check_versions(opset, ir)
    own = (architecture.in_channels, *sides_of(architecture.image_size))
    shape = input_shape or own
    if opset < OLDEST_CONVERTED:
        from edgenas.export.from_workload import onnx_from_trained_workload

        if shape != own:
            raise EdgenasError(
                f"a network that takes {shape} cannot be written at opset {opset}: ask for opset {OLDEST_CONVERTED} or later"
            )
        model = onnx_from_trained_workload(network, opset, ir, (INPUT, output_name(architecture)))
    else:
        model = _traced(network, shape, output_name(architecture), max(opset, EXPORTER_OPSETS[0]))
        if opset < EXPORTER_OPSETS[0]:
            model = _lowered(model, opset)
    model.ir_version = ir
    model = without_norms(model)
    clean(model)
    describe(model, {"architecture": architecture.canonical_json().decode(), "fingerprint": architecture.fingerprint})
    describe(model, metadata or {})
    check_written(model, opset, ir)
    return model


def check_versions(opset: int, ir: int) -> None:
    """Raise EdgenasError where no file with this opset and IR can be written."""
    if opset not in OLDEST_IR:
        raise EdgenasError(
            f"opset {opset} was asked for, {min(OLDEST_IR)}..{max(OLDEST_IR)} can be written: choose one of them"
        )
    if not OLDEST_IR[opset] <= ir <= onnx.IR_VERSION:
        raise EdgenasError(
            f"IR {ir} was asked for at opset {opset}; possible: {OLDEST_IR[opset]}..{onnx.IR_VERSION}: correct the profile"
        )


def _traced(network: nn.Module, shape: tuple[int, int, int], output: str, opset: int) -> onnx.ModelProto:
    import torch

    still = copy.deepcopy(network).cpu().float().eval()
    example = torch.zeros(2, *shape)  # a batch of 1 would be taken for a constant
    with torch.no_grad():
        program = torch.onnx.export(
            still,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[output],
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            opset_version=opset,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def _lowered(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model at an older opset.

    The converter keeps attributes that the older operator does not know. They go where they say what it does anyway, and
    nowhere else (the checker refuses what is left).
    """
    newer = model.opset_import[0].version
    model = version_converter.convert_version(model, opset)
    for node in model.graph.node:
        known = onnx.defs.get_schema(node.op_type, opset).attributes
        defaults = {name: a.default_value for name, a in onnx.defs.get_schema(node.op_type, newer).attributes.items()}
        for attribute in [a for a in node.attribute if a.name not in known]:
            default = helper.get_attribute_value(defaults[attribute.name])
            if helper.get_attribute_value(attribute) == default:
                node.attribute.remove(attribute)
    return model


def with_fixed_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The model for exactly so many images at a time, as converters for small devices want it."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for port in (*result.graph.input, *result.graph.output):
        port.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.checker.check_model(result, full_check=True)
    return result


# ---------------------------------------------------------------- what is in the file


def clean(model: onnx.ModelProto) -> None:
    """Take out what the exporter leaves behind (source paths, stack traces, doc strings) and name nodes by what they do.

    Names such as Sub_0, Mul_1, Conv_2 are also what InsightFace's loader reads its normalisation from.
    """
    del model.metadata_props[:]
    del model.graph.value_info[:]
    model.doc_string, model.domain = "", ""
    model.producer_name, model.producer_version = "edgenas", __version__
    for holder in _holders(model):
        del holder.metadata_props[:]
        holder.doc_string = ""
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"
    model.graph.name = "edgenas"
    drop_unused_domains(model)


def _holders(
    model: onnx.ModelProto,
) -> Iterator[onnx.GraphProto | onnx.FunctionProto | onnx.NodeProto | onnx.TensorProto | onnx.ValueInfoProto]:
    """Everything that can hold metadata or a doc string: graphs, functions, nodes, tensors, values, at any depth."""
    graphs: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        yield graph
        if isinstance(graph, onnx.GraphProto):
            yield from (*graph.initializer, *graph.input, *graph.output)
        yield from graph.value_info
        for node in graph.node:
            yield node
            for attribute in node.attribute:
                attribute.doc_string = ""
                graphs += [attribute.g] if attribute.HasField("g") else []
                graphs += list(attribute.graphs)


def drop_unused_domains(model: onnx.ModelProto) -> None:
    """Keep the opset imports that a node belongs to; tools add others that older runtimes then refuse."""
    used = {holder.domain for holder in _holders(model) if isinstance(holder, onnx.NodeProto)}
    kept = [entry for entry in model.opset_import if entry.domain in used or entry.domain == ""]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def describe(model: onnx.ModelProto, metadata: Mapping[str, str]) -> None:
    """Add `edgenas.*` entries to the model's own metadata; ONNX Runtime hands them back."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    entries["edgenas.version"] = __version__
    entries.update({f"edgenas.{key}": value for key, value in metadata.items()})
    del model.metadata_props[:]
    for key in sorted(entries):
        model.metadata_props.add(key=key, value=entries[key])


def check_written(model: onnx.ModelProto, opset: int, ir: int) -> None:
    """Raise EdgenasError unless the model, read back, is valid, whole, of this opset and IR, with batch norms folded."""
    again = onnx.load_model_from_string(model.SerializeToString())
    onnx.checker.check_model(again, full_check=True)
    domains = {entry.domain: entry.version for entry in again.opset_import}
    if domains != {"": opset} or again.ir_version != ir:
        raise EdgenasError(
            f"opset {opset}, IR {ir} was asked for, the exporter wrote {domains}, IR {again.ir_version}: report this"
        )
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in again.graph.initializer):
        raise EdgenasError("the exporter wrote weights outside the file: report this")
    loose = unfolded_norms(again)
    if loose:
        raise EdgenasError(
            f"the file holds batch norms ({', '.join(loose)}), which not every converter reads: report this"
        )


def unfolded_norms(model: onnx.ModelProto) -> list[str]:
    """Norms that are left, and what one became that could have ridden on the convolution or matrix product before it."""
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = [name for node in model.graph.node for name in node.input]
    return [
        node.name
        for node in model.graph.node
        if node.op_type == NORM
        or (
            any(name.startswith(SCALE) for name in node.input)
            and node.input[0] in makers
            and makers[node.input[0]].op_type in ("Conv", "Gemm")
            and readers.count(node.input[0]) == 1
        )
    ]
