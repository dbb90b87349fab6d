import functools
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgenas.architectures.chain import chain
from edgenas.errors import EdgenasError
from edgenas.export.onnx import clean, onnx_from_network, unfolded_norms
from edgenas.networks import network_from_architecture
from edgenas.records import Embedding
from edgenas.runtimes.onnx_session import open_session
from tests.trained_digits import trained_digits


@functools.cache
def exported(opset: int, ir: int) -> onnx.ModelProto:
    network, architecture, _ = trained_digits()
    return onnx_from_network(network, architecture, opset=opset, ir=ir, metadata={"recipe": "abc"})


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    with open_session(model.SerializeToString()) as runtime:
        (output,) = runtime.run({"image": images}).values()
        return output


@pytest.mark.parametrize(("opset", "ir"), [(13, 7), (17, 8), (18, 10), pytest.param(20, 10, marks=pytest.mark.slow)])
def test_the_file_has_the_opset_and_ir_that_were_asked_for_and_computes_what_the_network_does(opset, ir):
    network, _, _ = trained_digits()
    again = onnx.load_model_from_string(exported(opset, ir).SerializeToString())
    assert [(entry.domain, entry.version) for entry in again.opset_import] == [("", opset)]
    assert again.ir_version == ir
    for batch in (1, 3, 64):
        images = np.random.default_rng(batch).standard_normal((batch, 1, 8, 8)).astype(np.float32)
        with torch.no_grad():
            wanted = network(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(run(again, images), wanted, atol=1e-4)
    assert np.isfinite(run(again, np.zeros((2, 1, 8, 8), np.float32))).all()


def test_nothing_of_this_machine_or_of_the_exporter_is_in_the_file():
    content = exported(18, 10).SerializeToString()
    for trace in (
        b"stack_trace",
        b"torch.nn",
        b".py",
        b"aten",
        sys.prefix.encode(),
        str(Path.home()).encode() + b"/",
    ):
        assert trace not in content, trace


def test_metadata_in_functions_and_subgraphs_is_stripped_too():
    def noted(node: onnx.NodeProto) -> onnx.NodeProto:
        node.doc_string = "/home/me/secret.py"
        node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="/home/me/secret.py")
        return node

    tensor = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    inner = onnx.helper.make_graph([noted(onnx.helper.make_node("Relu", ["x"], ["y"]))], "inner", [], [tensor])
    condition = noted(onnx.helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    graph = onnx.helper.make_graph([condition], "outer", [tensor], [tensor])
    function = onnx.helper.make_function(
        "mine",
        "F",
        ["x"],
        ["y"],
        [noted(onnx.helper.make_node("Relu", ["x"], ["y"]))],
        [onnx.helper.make_opsetid("", 18)],
    )
    model = onnx.helper.make_model(graph, functions=[function])
    clean(model)
    assert b"secret" not in model.SerializeToString()


def test_input_output_and_first_dimension_are_named_and_weights_are_inside():
    model = exported(18, 10)
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["logits"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_batch_norms_are_folded_and_one_that_is_not_is_found():
    assert unfolded_norms(exported(18, 10)) == []
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], name="Conv_0"),
        onnx.helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"], name="Norm_1"),
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], []))
    assert unfolded_norms(model) == ["Norm_1"]


def test_metadata_round_trips_through_onnx_runtime():
    _, architecture, _ = trained_digits()
    session = onnxruntime.InferenceSession(exported(18, 10).SerializeToString(), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["edgenas.architecture"] == architecture.canonical_json().decode()
    assert metadata["edgenas.fingerprint"] == architecture.fingerprint
    assert metadata["edgenas.recipe"] == "abc"


@pytest.mark.usefixtures("cold")
def test_two_exports_are_the_same_bytes():
    network, architecture, _ = trained_digits()
    again = onnx_from_network(network, architecture, opset=18, ir=10, metadata={"recipe": "abc"})
    assert again.SerializeToString() == exported(18, 10).SerializeToString()


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("pool", ["average", "depthwise"])
def test_an_embedding_network_is_exported_as_well(opset, pool):
    architecture = chain(4, 4, (0, 1, 0, 0), (3, 3, 5, 3), Embedding(16, pool), 1, 16)
    torch.manual_seed(0)
    network = network_from_architecture(architecture)
    network(torch.randn(64, 1, 16, 16))  # running statistics that are not 0 and 1
    model = onnx_from_network(network, architecture, opset=opset, ir=7 if opset == 13 else 10)
    images = np.random.default_rng(0).standard_normal((5, 1, 16, 16)).astype(np.float32)
    with torch.no_grad():
        wanted = network.eval()(torch.from_numpy(images)).numpy()
    assert [value.name for value in model.graph.output] == ["embedding"]
    np.testing.assert_allclose(run(model, images), wanted, atol=1e-5)


@pytest.mark.parametrize(("opset", "ir"), [(12, 7), (22, 10), (18, 7), (18, 99)])
def test_an_opset_or_ir_that_cannot_be_written_is_refused_in_one_line(opset, ir):
    network, architecture, _ = trained_digits()
    with pytest.raises(EdgenasError, match=r"possible|can be written"):
        onnx_from_network(network, architecture, opset=opset, ir=ir)


def test_the_network_itself_is_left_as_it_was():
    network, architecture, _ = trained_digits()
    assert isinstance(network, nn.Module)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    onnx_from_network(network, architecture, opset=13, ir=7)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
