import contextlib
import functools
import re
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from edgenas.architectures.chain import chain
from edgenas.errors import EdgenasError, ParityError
from edgenas.export.onnx import onnx_from_network
from edgenas.export.parity import BARS, Bar, Case, check_parity, first_diverging_layer, parity_cases
from edgenas.export.precision import half_from_onnx, int8_from_onnx, with_uint8_input, zero_points
from edgenas.networks import network_from_architecture
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Classes, Precision, Preprocessing
from tests.trained_digits import digits, trained_digits


@functools.cache
def plain() -> onnx.ModelProto:
    network, architecture, _ = trained_digits()
    return onnx_from_network(network, architecture, opset=18, ir=10)


def quantised(**options: bool) -> onnx.ModelProto:
    task = digits()
    return int8_from_onnx(plain(), input_from_pixels(task.train.images[:256], task.preprocessing), **options)


def cases(uint8: bool = False) -> list[Case]:
    return parity_cases(digits().preprocessing, digits().val.images, uint8=uint8)


def test_the_gate_looks_at_noise_zeros_extremes_real_images_batch_one_and_the_largest():
    names = [case.name for case in cases()]
    assert sum(name.startswith("seeded") for name in names) >= 8
    sizes = {len(case.inputs) for case in cases()}
    assert {1, 64} <= sizes
    assert any(not case.inputs.any() for case in cases())
    assert [len(case.inputs) for case in cases() if case.real] == [64]  # each image once


@pytest.mark.usefixtures("cold")
def test_every_precision_passes_and_says_by_how_much():
    network, _, task = trained_digits()
    models = {"fp32": plain(), "fp16": half_from_onnx(plain()), "int8": quantised()}
    figures = {p: check_parity(network, m, p, cases(), task.preprocessing) for p, m in models.items()}
    assert figures["fp32"].max_abs <= 1e-4 < figures["fp16"].max_abs < figures["int8"].max_abs
    assert all(f.passed and f.cosine >= BARS[p].cosine and f.top1_agreement >= 0.95 for p, f in figures.items())


def test_pixels_of_a_camera_go_in_as_they_are():
    network, _, task = trained_digits()
    model = with_uint8_input(plain(), task.preprocessing)
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert check_parity(network, model, "fp32", cases(uint8=True), task.preprocessing).max_abs <= 1e-4


@pytest.mark.parametrize("size", [(16, 40), (40, 16)])
def test_rectangles_pass_at_every_precision_at_old_opsets_and_as_pixels_of_a_camera(size: tuple[int, int]):
    torch.manual_seed(0)
    architecture = chain(8, 3, (1, 0, 1), (3, 5, 3), Classes(3), 3, size)
    network, how = network_from_architecture(architecture).eval(), Preprocessing(3, size, (0.4,) * 3, (0.3,) * 3)
    images = np.random.default_rng(0).integers(0, 256, (64, *size, 3), dtype=np.uint8)
    model, old = (onnx_from_network(network, architecture, opset=opset, ir=8) for opset in (18, 13))
    pixels = with_uint8_input(model, how)
    for one in (model, old):
        assert [dim.dim_value for dim in one.graph.input[0].type.tensor_type.shape.dim][1:] == [3, *size]
        assert check_parity(network, one, "fp32", parity_cases(how, images), how).max_abs <= 1e-4
    assert [dim.dim_value for dim in pixels.graph.input[0].type.tensor_type.shape.dim][1:] == [*size, 3]
    assert check_parity(network, pixels, "fp32", parity_cases(how, images, uint8=True), how).max_abs <= 1e-4
    quantised = int8_from_onnx(model, input_from_pixels(images, how))
    for precision, small in (("fp16", half_from_onnx(model)), ("int8", quantised)):
        assert check_parity(network, small, precision, parity_cases(how, images), how).cosine >= BARS[precision].cosine


def test_uint8_input_is_refused_at_an_opset_of_jetpack_4():
    network, architecture, task = trained_digits()
    model = onnx_from_network(network, architecture, opset=13, ir=7)
    with pytest.raises(EdgenasError, match="opset 13"):
        with_uint8_input(model, task.preprocessing)


@pytest.mark.parametrize("stored", [False, True])
def test_all_zero_points_are_zero_and_no_foreign_opset_is_left(stored):
    model = quantised(stored=stored)
    points = list(zero_points(model))
    assert points
    assert not any(p.any() for p in points)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]


def test_weights_stored_as_int8_make_a_smaller_file_that_computes_the_same():
    network, _, task = trained_digits()
    small = quantised(stored=True)
    assert len(small.SerializeToString()) < 0.6 * len(quantised().SerializeToString())
    wanted = check_parity(network, quantised(), "int8", cases(), task.preprocessing)
    assert check_parity(network, small, "int8", cases(), task.preprocessing).cosine == pytest.approx(
        wanted.cosine, abs=1e-4
    )


def test_half_keeps_float32_inputs_and_outputs_and_halves_the_weights():
    model = half_from_onnx(plain())
    ends = (*model.graph.input, *model.graph.output)
    assert {value.type.tensor_type.elem_type for value in ends} == {onnx.TensorProto.FLOAT}
    assert len(model.SerializeToString()) < 0.6 * len(plain().SerializeToString())


def test_a_spoilt_weight_is_refused_and_its_layer_is_named():
    network, _, task = trained_digits()
    spoilt = onnx.ModelProto()
    spoilt.CopyFrom(plain())
    # Kernel 3 is a dense convolution, after the stem and the two of a separable layer.
    node = [n for n in spoilt.graph.node if n.op_type == "Conv"][3]
    weight = next(t for t in spoilt.graph.initializer if t.name == node.input[1])
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] += 1
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    with pytest.raises(ParityError, match=r"seeded noise 0.*first diverging: layer kernels\.3\.conv \(Conv_\d+\)"):
        check_parity(network, spoilt, "fp32", cases(), task.preprocessing)


def test_a_model_that_does_not_run_is_one_line():
    network, _, task = trained_digits()
    broken = onnx.ModelProto()
    broken.CopyFrom(plain())
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ParityError, match="cannot run the exported model") as caught:
        check_parity(network, broken, "fp32", cases(), task.preprocessing)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- both sides of every bar

SMALL = Preprocessing(1, 2, (0.0,), (1.0,))


def layered(*layers: tuple[Any, Any], output: str = "logits") -> tuple[nn.Module, onnx.ModelProto]:
    """x (N, 1, 2, 2) -> W x + b (N, n), once for each W and b, in torch, and the same as a file."""
    modules: list[nn.Module] = [nn.Flatten()]
    nodes = [helper.make_node("Flatten", ["image"], ["x0"])]
    constants = []
    for i, (weight, bias) in enumerate(layers):
        w, b = np.asarray(weight, np.float32), np.asarray(bias, np.float32)
        modules.append(nn.Linear(w.shape[1], len(w)))
        modules[-1].load_state_dict({"weight": torch.from_numpy(w), "bias": torch.from_numpy(b)})
        made = output if i == len(layers) - 1 else f"x{i + 1}"
        nodes.append(helper.make_node("Gemm", [f"x{i}", f"w{i}", f"b{i}"], [made], f"Gemm_{i}", transB=1))
        constants += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
    ends = (("image", ["batch", 1, 2, 2]), (output, ["batch", len(layers[-1][1])]))
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in ends]
    graph = helper.make_graph(nodes, "linear", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return nn.Sequential(*modules).eval(), model


def linear(weight: Any, bias: Any, output: str = "logits") -> tuple[nn.Module, onnx.ModelProto]:
    """x (N, 1, 2, 2) -> W x + b (N, n) in torch, and the same as a file."""
    return layered((weight, bias), output=output)


def passes(network: nn.Module, model: onnx.ModelProto, precision: Precision, images: Any, complaint: str) -> bool:
    """Does the gate let it through? ParityError with another complaint is an error of the test."""
    case = Case("images", np.asarray(images, np.float32).reshape(-1, 1, 2, 2), real=True)
    try:
        check_parity(network, model, precision, [case], SMALL)
    except ParityError as error:
        if complaint not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize(("off", "taken"), [(1.9e-4, True), (2.1e-4, False), (-1.9e-4, True), (-2.1e-4, False)])
def test_fp32_may_be_off_by_1e_4_and_1e_4_of_its_size(off: float, taken: bool) -> None:
    """The output is 1, so 2e-4 are allowed."""
    network, _ = linear(np.zeros((2, 4)), [1, 1])
    _, model = linear(np.zeros((2, 4)), [1 + off, 1])
    assert passes(network, model, "fp32", np.zeros((3, 4)), "is allowed") is taken


@pytest.mark.parametrize(("off", "taken"), [(0.0545, True), (0.0555, False)])
def test_fp16_may_be_off_by_5e_3_and_5e_3_of_the_largest_of_its_row(off: float, taken: bool) -> None:
    """The largest is 10, so .055 are allowed everywhere, at the output 0 too."""
    network, _ = linear(np.zeros((3, 4)), [10, 0, 1])
    _, model = linear(np.zeros((3, 4)), [10, off, 1])
    assert passes(network, model, "fp16", np.zeros((3, 4)), "is allowed") is taken


def cancelling(large: float, small: float) -> nn.Module:
    """x -> (large + small) - large, which float16 rounds to 0, and 0."""
    first, last = nn.Linear(4, 2), nn.Linear(2, 2)
    first.load_state_dict({"weight": torch.zeros(2, 4), "bias": torch.tensor([large + small, large])})
    last.load_state_dict({"weight": torch.tensor([[1.0, -1.0], [0.0, 0.0]]), "bias": torch.zeros(2)})
    return nn.Sequential(nn.Flatten(), first, last).eval()


@pytest.mark.parametrize(
    ("large", "small", "off", "taken"),
    [
        (20, 0.006, 0.0118, True),  # rounding alone is off by .006: twice that is allowed
        (20, 0.006, 0.0122, False),
        (200, 0.06, 0.0210, True),  # by .06, and at most 2e-2 of one plus the largest of the row are allowed
        (200, 0.06, 0.0214, False),
        (70_000, 0.006, 0.0052, False),  # float16 has no number as large: nothing is known of rounding
    ],
)
def test_fp16_may_be_off_by_twice_what_rounding_makes_of_the_network(
    large: float, small: float, off: float, taken: bool
) -> None:
    network = cancelling(large, small)
    want = float(network(torch.zeros(1, 1, 2, 2))[0, 0].detach())
    _, model = linear(np.zeros((2, 4)), [want + off, 0])
    assert passes(network, model, "fp16", np.zeros((3, 4)), "is allowed") is taken
    assert not passes(network, model, "fp32", np.zeros((3, 4)), "is allowed")  # which rounds nothing


def test_the_proof_says_how_far_off_fp16_was_allowed_to_be() -> None:
    case = Case("images", np.zeros((3, 1, 2, 2), np.float32), real=True)
    far = check_parity(cancelling(20, 0.006), linear(np.zeros((2, 4)), [0.0165, 0])[1], "fp16", [case], SMALL)
    assert far.tolerance == pytest.approx(2 * 0.006 / 1.006, rel=1e-3)
    near = check_parity(cancelling(20, 0.006), linear(np.zeros((2, 4)), [0.006, 0])[1], "fp16", [case], SMALL)
    assert near.tolerance == 5e-3


@pytest.mark.parametrize(("cosine", "taken"), [(0.9902, True), (0.9898, False)])
def test_int8_keeps_a_cosine_of_99_hundredths(cosine: float, taken: bool) -> None:
    """Outputs turned by an angle have its cosine to what they were."""
    sine = np.sqrt(1 - cosine**2)
    plain = np.array([[1, 0, 0, 0], [0, 1, 0, 0]])
    network, _ = linear(plain, [0, 0])
    _, model = linear(np.array([[cosine, -sine], [sine, cosine]]) @ plain, [0, 0])
    images = np.random.default_rng(0).standard_normal((20, 4))
    assert passes(network, model, "int8", images, f"cosine {cosine:.4f}, at least 0.99 is needed") is taken


@pytest.mark.parametrize(("offset", "taken"), [(0.1424, True), (0.1426, False)])
def test_int8_values_keep_their_distance_from_their_mean(offset: float, taken: bool) -> None:
    """Angles about 60 of deviation 10, off by a share of that: 1 / sqrt(1 + .1425^2) = .99. Rows of one number, all above 0,
    have a cosine of 1 whatever they are: the gate does not go by it, nor by one image alone."""
    network, _ = linear([[10, 0, 0, 0]], [60], "outputs")
    _, model = linear([[10, 0, 0, 0]], [60 + 10 * offset], "outputs")
    images = np.zeros((20, 4))
    images[:, 0] = np.repeat([-1, 1], 10)
    assert passes(network, model, "int8", images, "at least 0.99 is needed") is taken
    assert passes(network, model, "int8", images[:1], "")
    _, classifier = linear([[10, 0, 0, 0]], [60 + 10 * offset])
    assert passes(network, classifier, "int8", images, "")


@pytest.mark.parametrize(("dark", "taken"), [(1, True), (40, False)])
def test_int8_is_judged_by_all_images_and_not_by_the_first_alone(dark: int, taken: bool) -> None:
    """The file adds (0, .02) to outputs (.102, 0) of dark images, whose cosine becomes .981, and to (1, 0) of bright ones."""
    images = np.zeros((64, 2, 2, 1), np.uint8)
    images[:, 0, 0] = 255
    images[:dark, 0, 0] = 26
    weight = np.array([[1, 0, 0, 0], [0, 1, 0, 0]])
    network, model = linear(weight, [0, 0])[0], linear(weight, [0, 0.02])[1]
    with (
        contextlib.nullcontext() if taken else pytest.raises(ParityError, match=r"on images: cosine 0\.988\d, at least")
    ):
        figures = check_parity(network, model, "int8", parity_cases(SMALL, images), SMALL)
        assert (figures.images, figures.inputs) == (64, 64)


@pytest.mark.parametrize(
    ("precision", "size", "off", "taken"),
    [
        ("fp16", 0.1, 0.0044, True),  # .999 is the cosine of a change by .0448 of the size; .0055 are allowed
        ("fp16", 0.1, 0.0046, False),
        ("fp32", 0.002, 0.89e-4, True),  # 1e-4 are allowed
        ("fp32", 0.002, 0.94e-4, False),
    ],
)
def test_embeddings_keep_a_cosine_of_999_thousandths(
    precision: Precision, size: float, off: float, taken: bool
) -> None:
    """However small they are; what is no embedding may be off by the tolerance."""
    for output in ("embedding", "logits", "outputs"):
        network, _ = linear(np.zeros((2, 4)), [size, 0], output)
        _, model = linear(np.zeros((2, 4)), [size, off], output)
        complaint = "on images: cosine 0.9989, at least 0.999 is needed; first diverging: layer 1 (Gemm_0)"
        assert passes(network, model, precision, np.zeros((3, 4)), complaint) is (taken or output != "embedding")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_network_that_computes_no_number_itself_is_refused(precision: Precision) -> None:
    network, _ = linear(np.zeros((2, 4)), [np.nan, 0])
    _, model = linear(np.zeros((2, 4)), [1, 0])
    assert not passes(network, model, precision, np.zeros((3, 4)), "NaN or infinity")


# ---------------------------------------------------------------- the place that is named

BOTH = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0]])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("row", [0, 1, 3, 5])
def test_the_layer_is_named_whichever_image_shows_it(precision: Precision, row: int) -> None:
    images = np.zeros((6, 4))
    images[row] = 1
    network, _ = layered((BOTH, [0, 0]), (np.eye(2), [0, 0]))
    _, model = layered((1.5 * BOTH, [0, 0]), (np.eye(2), [0, 0]))
    assert not passes(network, model, precision, images, "allowed; first diverging: layer 1 (Gemm_0)")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize(("layer", "named"), [(0, "layer 1 (Gemm_0)"), (1, "layer 2 (Gemm_1)")])
def test_a_layer_whose_outputs_are_no_numbers_is_named(precision: Precision, layer: int, named: str) -> None:
    biases = [[0.0, 0.0], [0.0, 0.0]]
    network, _ = layered((BOTH, biases[0]), (np.eye(2), biases[1]))
    biases[layer][0] = np.inf
    _, model = layered((BOTH, biases[0]), (np.eye(2), biases[1]))
    assert not passes(network, model, precision, np.ones((3, 4)), f"NaN or infinity; first diverging: {named}")


def test_a_layer_is_named_beside_an_image_of_far_larger_outputs_and_the_last_one_by_the_bar_of_the_output() -> None:
    """.01 more is within 1e-4 of 1000, and not of 0."""
    network, _ = layered((BOTH, [0, 0]), (np.eye(2), [0, 0]))
    _, first = layered((BOTH, [0.01, 0]), (np.eye(2), [0, 0]))
    images = np.repeat([[1000.0], [0.0]], 4, axis=1)
    assert not passes(network, first, "fp32", images, "first diverging: layer 1 (Gemm_0)")
    _, last = layered((BOTH, [0, 0]), (np.eye(2), [0, 0.01]))
    images = np.array([[1000.0, 0, 0, 0]])
    assert not passes(network, last, "fp32", images, "first diverging: layer 2 (Gemm_1)")


@pytest.mark.parametrize(
    ("precision", "lead", "taken"), [("fp32", 1e-4, True), ("fp32", 1e-3, False), ("fp16", 0.1, False)]
)
def test_a_class_that_leads_by_more_than_twice_the_tolerance_keeps_its_place(
    precision: Precision, lead: float, taken: bool
) -> None:
    """The file gives half the lead, and a little more, to class 1 and takes it from class 0: it wins. A near tie may turn so."""
    network, _ = linear(np.zeros((2, 4)), [1 + lead, 1])
    _, model = linear(np.zeros((2, 4)), [1 + 0.49 * lead, 1 + 0.51 * lead])
    assert passes(network, model, precision, np.zeros((3, 4)), "is allowed") is taken


# ---------------------------------------------------------------- INT8


def changed(model: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    """The model with one of its stored tensors multiplied."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (tensor,) = [t for t in copy.graph.initializer if t.name == name]
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), name))
    return copy


def scale_behind(model: onnx.ModelProto, layer: int) -> str:
    """Name of the scale that a layer's output is quantised with."""
    outputs = [node.output[0] for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    (node,) = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == outputs[layer]]
    return node.input[1]


@pytest.mark.parametrize(("layer", "named"), [(2, r"kernels\.2\.conv"), (-1, r"kernels\.12\.linear")])
def test_a_scale_that_cuts_a_layers_outputs_is_found_at_that_layer(layer, named):
    """The last one too: nothing follows it but its own quantisation."""
    network, _, task = trained_digits()
    model = quantised()
    spoilt = changed(model, scale_behind(model, layer), 0.05)
    with pytest.raises(ParityError, match=rf"int8 .* on images: cosine 0\.\d+.*first diverging: layer {named}"):
        check_parity(network, spoilt, "int8", cases(), task.preprocessing)


def test_where_no_layer_falls_below_the_bar_the_costliest_is_named_with_its_loss():
    network, _, task = trained_digits()
    model = quantised()
    spoilt = changed(model, scale_behind(model, -1), 0.3)
    (images,) = [case for case in cases() if case.name == "images"]
    low = Bar(None, 0.1, None)
    place = first_diverging_layer(network, spoilt, images, task.preprocessing, low)
    found = re.fullmatch(
        r"none by itself; layer kernels\.12\.linear \(Gemm_\d+\) costs most \(cosine (.*) before, (.*) after\)", place
    )
    assert found, place
    assert float(found[1]) > 0.99 > float(found[2]) > 0.1


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_file_whose_outputs_are_no_numbers_is_refused_at_every_precision(precision: Precision, wrong: float) -> None:
    network, model = linear(np.zeros((2, 4)), [1, 1])
    _, broken = linear(np.zeros((2, 4)), [wrong, 1])
    assert passes(network, model, precision, np.zeros((3, 4)), "")
    assert not passes(network, broken, precision, np.zeros((3, 4)), "NaN or infinity")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_file_of_another_number_of_outputs_is_refused_at_every_precision(precision: Precision) -> None:
    network, _ = linear(np.zeros((2, 4)), [1, 1])
    _, model = linear(np.zeros((3, 4)), [1, 1, 1])
    assert not passes(network, model, precision, np.zeros((3, 4)), "shape (3, 3) instead of (3, 2)")
