"""The forms that real exporters write: each is read with the MACs counted by hand, or refused by the reason that is true."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgenas.architectures.from_onnx import read_onnx, workload_from_onnx
from edgenas.architectures.onnx_file import portable_model, shapes_from_text
from edgenas.architectures.onnx_weights import precision_of_model
from edgenas.errors import EdgenasError
from tests.architectures.graphs import CONV, LAST, WVB, W, conv, flat, graph, node, numbers, pooled, value


def refused(model: onnx.ModelProto | Path, **shapes: tuple[int, ...]) -> str:
    with pytest.raises(EdgenasError) as caught:
        read_onnx(model, shapes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -------- parts that do not fit each other


@pytest.mark.parametrize("weights", [(8,), (8, 3), (8, 3, 3, 3, 3)])
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_convolutions_with_weights_of_another_rank_are_refused(operator: str, weights: tuple[int, ...]) -> None:
    convolution = node(operator, ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1] * 4)
    line = refused(graph([convolution, pooled()], {"w": weights}))
    assert operator in line


@pytest.mark.parametrize("attributes", [{"transB": 1}, {}])
def test_products_of_constants_to_which_the_image_is_only_added_are_refused_by_name(attributes: dict[str, int]) -> None:
    rows = [node("Flatten", ["x"], ["f"]), node("Gemm", ["a", "b", "f"], ["y"], name="odd", **attributes)]
    line = refused(graph(rows, {"a": (1, 768), "b": (768, 768)}, inputs=[value("x", (1, 3, 16, 16))]))
    assert "Gemm 'odd' has inputs or attributes that do not fit it (KeyError: " in line


def test_what_numpy_warns_of_while_a_constant_is_computed_is_no_news() -> None:
    """Warnings are errors here: an index of complex numbers has none of them as its result."""
    index = np.array([0j, 1j], np.complex64)
    nodes = [node("Gather", ["sizes", "index"], ["s"]), node("Reshape", ["x", "s"], ["y"])]
    assert "computes nothing" in refused(graph(nodes, {"sizes": numbers(1, -1), "index": index}))


# -------- where weights are


def test_weights_that_are_listed_as_inputs_too_are_weights_still() -> None:
    listed = [value("x", (1, 3, 16, 16)), value("w", (8, 3, 3, 3)), value("v", (10, 2048)), value("b", (10,))]
    model = graph([conv(), *flat()], WVB, inputs=listed, opset=8)
    model.ir_version = 3
    assert workload_from_onnx(model).macs == CONV + LAST


@pytest.mark.parametrize(("file", "macs"), [("densenet121", 2_834_161_664), ("inception_v2", 2_018_851_840)])
def test_onnx_own_light_models_count_what_is_published(file: str, macs: int) -> None:
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    assert workload_from_onnx(folder / f"light_{file}.onnx").macs == macs


@pytest.mark.parametrize("threshold", [0, 1024])
def test_weights_beside_the_file_are_not_needed_but_small_ones_that_shapes_depend_on_are_read(
    tmp_path: Path, threshold: int
) -> None:
    nodes = [conv(), node("Reshape", ["c", "to"], ["f"]), node("Gemm", ["f", "v", "b"], ["y"], transB=1)]
    path = tmp_path / "m.onnx"
    onnx.save(
        graph(nodes, {**WVB, "to": numbers(1, 2048)}), str(path), save_as_external_data=True, location="w.bin",
        size_threshold=threshold,
    )  # fmt: skip
    assert read_onnx(path).params == 216 + 20480 + 10
    (tmp_path / "w.bin").unlink()
    if threshold:
        assert workload_from_onnx(path).macs == CONV + LAST
    else:
        assert "values that are not in the file" in refused(path)


@pytest.mark.parametrize("location", ["../secret.bin", "{folder}/secret.bin", "link.bin"])
def test_no_file_elsewhere_is_read_for_a_shape(tmp_path: Path, location: str) -> None:
    nodes = [conv(), node("Reshape", ["c", "to"], ["f"]), node("Gemm", ["f", "v", "b"], ["y"], transB=1)]
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(numbers(1, 2048).tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    model = graph(nodes, {**WVB, "to": numbers(1, 2048)})
    tensor = model.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location.format(folder=tmp_path)), ("length", "16")):
        tensor.external_data.add(key=key, value=text)
    onnx.save(model, str(folder / "m.onnx"))
    assert "values that are not in the file" in refused(folder / "m.onnx")
    constant = [node("Constant", [], ["to"], value=tensor), *nodes]
    onnx.save(graph(constant, WVB), str(folder / "n.onnx"))
    assert "values that are not in the file" in refused(folder / "n.onnx")


def test_a_file_to_send_carries_its_weights_and_its_size(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = graph([conv(), pooled()], W, inputs=[value("x", ("N", 3, "H", "W"))])
    onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    sent = onnx.load_from_string(portable_model(path, {"x": (1, 3, 8, 8)}))
    assert sent.graph.initializer[0].raw_data == weights_of(model)
    assert [dim.dim_value for dim in sent.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 8, 8]
    with pytest.raises(EdgenasError, match=r"no fixed size \(Nx3xHxW\).*--shape x=1x3x320x320"):
        portable_model(path, {})
    (tmp_path / "w.bin").unlink()
    with pytest.raises(EdgenasError, match=r"keeps weights in w\.bin, which cannot be read"):
        portable_model(path, {"x": (1, 3, 8, 8)})


def weights_of(model: onnx.ModelProto) -> bytes:
    return model.graph.initializer[0].raw_data or graph([conv(), pooled()], W).graph.initializer[0].raw_data


@pytest.mark.parametrize(
    ("nodes", "constants", "params"),
    [
        ([node("Identity", ["w"], ["w2"])], W, 216),
        ([node("Cast", ["w"], ["w2"], to=TensorProto.FLOAT)], {"w": np.ones((8, 3, 3, 3), np.float16)}, 216),
        ([node("Transpose", ["w"], ["w2"], perm=[3, 2, 0, 1])], {"w": (3, 3, 3, 8)}, 216),
        (
            [node("DequantizeLinear", ["w", "s", "z"], ["w2"], axis=0)],
            {"w": np.ones((8, 3, 3, 3), np.int8), "s": (8,), "z": np.zeros(8, np.int8)},
            216,
        ),
        ([node("Mul", ["w", "g"], ["w2"])], {"w": (8, 3, 3, 3), "g": (8, 1, 1, 1)}, 224),
    ],
)
def test_weights_that_are_computed_from_constants_are_weights(nodes, constants, params) -> None:
    network = read_onnx(graph([*nodes, conv(weight="w2"), pooled()], constants))
    assert (network.workload.macs, network.params, network.precision) == (CONV, params, "fp32")


def test_a_tensor_that_two_layers_share_is_counted_once() -> None:
    nodes = [conv(), node("Relu", ["c"], ["r"]), conv("r", "d", "u"), conv("d", "e", "u"), pooled("e")]
    network = read_onnx(graph(nodes, {**W, "u": (8, 8, 3, 3)}))
    assert network.params == 216 + 576
    assert network.kernel_params == (216, 576, 0, 0)
    assert network.workload.macs == CONV + 2 * 576 * 256


def test_running_statistics_sizes_and_what_normalises_the_image_are_no_parameters() -> None:
    nodes = [
        node("Sub", ["x", "mean"], ["x1"]),
        node("Div", ["x1", "std"], ["x2"]),
        conv("x2", "c"),
        node("BatchNormalization", ["c", "scale", "shift", "running_mean", "running_var"], ["n"]),
        node("Resize", ["n", "", "twice"], ["r"]),
        node("PRelu", ["r", "slope"], ["p"]),
        node("GlobalAveragePool", ["p"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("MatMul", ["f", "m"], ["q"]),
        node("Add", ["q", "bias"], ["y"]),
    ]
    norm = dict.fromkeys(("scale", "shift", "running_mean", "running_var"), (8,))
    constants = {**W, **norm, "mean": (1, 3, 1, 1), "std": (1, 3, 1, 1), "twice": np.array([1, 1, 2, 2], np.float32)}
    network = read_onnx(graph(nodes, {**constants, "slope": (8, 1, 1), "m": (8, 10), "bias": (10,)}))
    assert network.params == 216 + 16 + 8 + 80 + 10


# -------- layers in other clothes


def test_a_product_with_its_weight_on_the_left_is_a_layer() -> None:
    nodes = [
        conv(),
        node("Flatten", ["c"], ["f"]),
        node("Transpose", ["f"], ["t"], perm=[1, 0]),
        node("MatMul", ["v", "t"], ["y"]),
    ]
    network = read_onnx(graph(nodes, {**W, "v": (10, 2048)}))
    assert (network.workload.macs, network.params) == (CONV + LAST, 216 + 20480)


def test_a_batch_of_constant_matrices_is_one_layer_per_head() -> None:
    nodes = [node("Reshape", ["x", "to"], ["h"]), node("MatMul", ["h", "m"], ["y"])]
    model = graph(nodes, {"to": numbers(-1, 4, 3, 64), "m": (4, 64, 5)})
    assert workload_from_onnx(model).macs == 4 * 3 * 64 * 5


def test_a_transposed_convolution_multiplies_every_input_pixel_with_every_weight() -> None:
    nodes = [conv(), node("ConvTranspose", ["c", "u"], ["y"], strides=[2, 2])]
    kernels = workload_from_onnx(graph(nodes, {**W, "u": (8, 4, 2, 2)})).kernels
    assert (kernels[1].kind, kernels[1].macs, kernels[1].params) == ("convtranspose", 16 * 16 * 8 * 4 * 4, 128)
    assert (kernels[1].out_channels, kernels[1].height, kernels[1].width) == (4, 32, 32)


def test_weights_that_come_in_with_the_image_are_multiplied_but_are_no_parameters() -> None:
    inputs = [value("x", (1, 3, 16, 16)), value("k", (216,))]
    model = graph([node("Reshape", ["k", "to"], ["w"]), conv(), pooled()], {"to": numbers(8, 3, 3, 3)}, inputs=inputs)
    network = read_onnx(model)
    assert (network.workload.macs, network.params) == (CONV, 0)


def test_quantised_files_say_so_in_both_of_onnx_formats() -> None:
    scale = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8), "q": np.ones((8, 3, 3, 3), np.int8),
             "b": np.ones(8, np.int32), "z32": np.array(0, np.int32)}  # fmt: skip
    pairs = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        node("DequantizeLinear", ["b", "s", "z32"], ["bias"]),
        node("Conv", ["xd", "w", "bias"], ["c"], pads=[1] * 4),
        pooled(),
    ]
    fused = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("QLinearConv", ["xq", "s", "z", "q", "s", "z", "s", "z", "b"], ["cq"], pads=[1] * 4),
        node("DequantizeLinear", ["cq", "s", "z"], ["y"]),
    ]
    for nodes in (pairs, fused):
        network = read_onnx(graph(nodes, scale))
        assert (network.precision, network.workload.macs, network.params) == ("int8", CONV, 216 + 8)
        assert precision_of_model(graph(nodes, scale)) == "int8"


def test_a_half_precision_file_says_so() -> None:
    model = graph([conv(), node("GlobalAveragePool", ["c"], ["y"])], {"w": np.ones((8, 3, 3, 3), np.float16)},
                  inputs=[value("x", ("N", 3, 16, 16), TensorProto.FLOAT16)])  # fmt: skip
    assert read_onnx(model).precision == precision_of_model(model) == "fp16"


def test_a_file_is_half_precision_only_where_all_its_layers_are() -> None:
    half, whole = np.ones((8, 3, 3, 3), np.float16), np.ones((8, 8, 3, 3), np.float32)
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        conv("h"),
        node("Cast", ["c"], ["d"], to=TensorProto.FLOAT),
        conv("d", "e", "u"),
        pooled("e"),
    ]
    mixed = graph(nodes, {"w": half, "u": whole})
    assert read_onnx(mixed).precision == precision_of_model(mixed) == "fp32"
    cast = graph([node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), node("Cast", ["w"], ["v"], to=TensorProto.FLOAT16),
                  conv("h", "c", "v"), pooled()], W)  # fmt: skip
    assert read_onnx(cast).precision == precision_of_model(cast) == "fp16"


def test_what_no_output_needs_is_not_computed() -> None:
    nodes = [conv(), conv("x", "unused"), node("NonZero", ["unused"], ["nothing"]), pooled()]
    assert workload_from_onnx(graph(nodes, W)).macs == CONV


# -------- sizes


def test_flattening_by_the_size_of_a_free_batch_is_read_at_every_opset() -> None:
    for opset in (7, 9, 11, 13, 17, 21):
        unsqueeze = node("Unsqueeze", ["g"], ["u"], axes=[0]) if opset < 13 else node("Unsqueeze", ["g", "zero"], ["u"])
        nodes = [
            conv(),
            node("Shape", ["c"], ["s"]),
            node("Gather", ["s", "none"], ["g"], axis=0),
            unsqueeze,
            node("Concat", ["u", "rest"], ["to"], axis=0),
            node("Reshape", ["c", "to"], ["f"]),
            node("Gemm", ["f", "v", "b"], ["y"], transB=1),
        ]
        constants = {**WVB, "none": np.array(0, np.int64), "zero": numbers(0), "rest": numbers(-1)}
        assert workload_from_onnx(graph(nodes, constants, opset=opset)).macs == CONV + LAST


def test_keras_flatten_through_int32_is_read() -> None:
    nodes = [
        conv(),
        node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        node("Shape", ["t"], ["s"]),
        node("Cast", ["s"], ["s32"], to=TensorProto.INT32),
        node("Slice", ["s32", "st", "en", "ax"], ["sl"]),
        node("Concat", ["sl", "rest"], ["cat"], axis=0),
        node("Cast", ["cat"], ["to"], to=TensorProto.INT64),
        node("Reshape", ["t", "to"], ["f"]),
        node("MatMul", ["f", "vt"], ["mm"]),
        node("Add", ["mm", "b"], ["y"]),
    ]
    ends = {"st": numbers(0), "en": numbers(1), "ax": numbers(0), "rest": np.array([-1], np.int32)}
    network = read_onnx(graph(nodes, {**W, "vt": (2048, 10), "b": (10,), **ends}))
    assert (network.workload.macs, network.params) == (CONV + LAST, 216 + 20480 + 10)


def test_free_height_and_width_are_asked_for_and_taken() -> None:
    model = graph([conv(), pooled()], W, inputs=[value("x", ("N", 3, "H", "W"))])
    assert "its input 'x' has no fixed size (Nx3xHxW): give one, such as --shape x=1x3x320x320" in refused(model)
    assert read_onnx(model, {"x": (1, 3, 32, 32)}).workload.macs == 4 * CONV
    assert "x=2x3x32x32 is a batch of 2" in refused(model, x=(2, 3, 32, 32))
    assert "in the model this input is Nx3xHxW" in refused(model, x=(1, 4, 32, 32))
    assert "in the model this input is Nx3xHxW" in refused(model, x=(3, 32, 32))
    assert "has no such input; it has x" in refused(model, image=(1, 3, 32, 32))


def test_an_input_without_a_shape_is_asked_for_and_taken() -> None:
    model = graph([conv(), pooled()], W, inputs=[value("x", None)])
    assert "'x' has no shape: give one, --shape x=1x3x224x224" in refused(model)
    assert read_onnx(model, {"x": (1, 3, 16, 16)}).workload.macs == CONV


@pytest.mark.parametrize(
    "text", ["x", "x=", "=1x3", "x=1x0x3", "x=1x-3", "x=1x3.5", "x=1,3", "x=1xNx3", "x=9" + "9" * 5000]
)
def test_a_shape_that_is_none_is_one_line(text: str) -> None:
    with pytest.raises(EdgenasError, match=r"write NAME=1x3x320x320"):
        shapes_from_text([text])
    with pytest.raises(EdgenasError, match="given twice"):
        shapes_from_text(["a=1x3", "a=1x4"])
    assert shapes_from_text(["in:0=1X3x5", "b=c=7"]) == {"in:0": (1, 3, 5), "b=c": (7,)}


def test_a_fixed_batch_is_read_as_one_image_and_said() -> None:
    network = read_onnx(graph([conv(), *flat()], WVB, inputs=[value("x", (4, 3, 16, 16))]))
    assert (network.workload.macs, network.fixed_batch, network.inputs) == (CONV + LAST, 4, {"x": (1, 3, 16, 16)})


def test_a_free_batch_that_the_graph_takes_as_one_is_one() -> None:
    nodes = [conv(), node("Reshape", ["c", "to"], ["f"]), node("Gemm", ["f", "v", "b"], ["y"], transB=1)]
    assert workload_from_onnx(graph(nodes, {**WVB, "to": numbers(1, 2048)})).macs == CONV + LAST


def test_a_batch_that_is_built_into_the_graph_is_refused() -> None:
    nodes = [conv(), node("Reshape", ["c", "to"], ["f"]), node("Gemm", ["f", "v", "b"], ["y"], transB=1)]
    model = graph(nodes, {**WVB, "to": numbers(4, 2048)}, inputs=[value("x", (4, 3, 16, 16))])
    assert "is made for batches of 4: export it with batch 1 or a free one" in refused(model)


def test_a_first_side_that_is_no_batch_stays_what_it_is() -> None:
    single = [
        node("Unsqueeze", ["x", "zero"], ["x4"]),
        conv("x4"),
        node("ReduceMean", ["c"], ["y"], axes=[0, 2, 3], keepdims=0),
    ]
    assert workload_from_onnx(graph(single, {**W, "zero": numbers(0)}, inputs=[value("x", (3, 16, 16))])).macs == CONV
    points = [node("MatMul", ["x", "m"], ["p"]), node("ReduceMax", ["p"], ["y"], axes=[0], keepdims=0)]
    fixed = graph(points, {"m": (3, 64)}, inputs=[value("x", (2048, 3))])
    assert workload_from_onnx(fixed).macs == 2048 * 3 * 64
    free = graph(points, {"m": (3, 64)}, inputs=[value("x", ("points", 3))])
    assert "pointsx3; its results do not grow with the free side, so that is no batch" in refused(free)
    assert read_onnx(free, {"x": (2048, 3)}).workload.macs == 2048 * 3 * 64


def test_a_batch_at_the_end_is_found_by_its_name_in_the_output() -> None:
    nodes = [node("Transpose", ["x"], ["t"], perm=[3, 2, 0, 1]), conv("t"), pooled()]
    model = graph(nodes, W, inputs=[value("x", (16, 16, 3, "N"))], outputs=[value("y", ("N", 8, 1, 1))])
    assert workload_from_onnx(model).macs == CONV


def test_bytes_as_pixels_last_are_read() -> None:
    nodes = [
        node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        conv("t"),
        pooled(),
    ]
    model = graph(nodes, W, inputs=[value("x", ("N", 16, 16, 3), TensorProto.UINT8)])
    assert workload_from_onnx(model).macs == CONV


@pytest.mark.parametrize(
    ("equation", "weights", "kernel", "macs"),
    [
        ("bchw,cd->bdhw", (3, 5), ("linear", 3, 5, 1), 3 * 5 * 256),
        ("bchw,cd", (3, 5), ("linear", 3, 5, 1), 3 * 5 * 256),  # "bdhw": what stands once, in order
        ("b c h w , w d", (16, 5), ("linear", 16, 5, 1), 16 * 5 * 48),
        ("...w,wd->...d", (16, 5), ("linear", 16, 5, 1), 16 * 5 * 48),
        ("...w,wd", (16, 5), ("linear", 16, 5, 1), 16 * 5 * 48),
        ("bchw,...wd", (16, 5), ("linear", 16, 5, 1), 16 * 5 * 48),  # an ellipsis of nothing
        ("...chw,cwd->...chd", (3, 16, 5), ("conv", 3 * 16, 3 * 5, 3), 16 * 5 * 48),  # for each channel a layer of its own
    ],
)  # fmt: skip
def test_an_einsum_with_a_constant_is_a_layer_however_its_equation_is_written(
    equation: str, weights: tuple[int, ...], kernel: tuple[str, int, int, int], macs: int
) -> None:
    model = graph([node("Einsum", ["x", "m"], ["y"], equation=equation)], {"m": weights})
    (read,) = workload_from_onnx(model).kernels
    assert (read.kind, read.in_channels, read.out_channels, read.groups) == kernel
    assert read.macs == macs
    assert read.weights == np.prod(weights)


# -------- refusals


@pytest.mark.parametrize(
    ("nodes", "constants", "reason"),
    [
        ([node("LSTM", ["x", "w", "r"], ["", "y"], hidden_size=16)], {"w": (1, 64, 8), "r": (1, 64, 16)}, "not known here: LSTM"),
        ([node("Einsum", ["x", "m"], ["y"], equation="bchw,cd->bd")], {"m": (3, 2, 2)}, "does not fit its inputs"),
        ([node("Concat", ["r", "rr"], ["to"], axis=0), node("Resize", ["x", "", "", "to"], ["z"]), conv("z"), pooled()],
         {**W, "r": numbers(1, 3), "rr": np.ones((1, 2), np.int64)}, "a Concat does not fit its inputs"),
        ([node("Conv", ["x", "w"], ["y"], pads="none")], W, "damaged attribute 'pads'|does not fit"),
        ([node("Magic", ["x"], ["y"], domain="org.me")], {}, r"not known here: org\.me\.Magic"),
        ([conv(), node("NonZero", ["c"], ["y"])], W, "NonZero .the size of what NonZero gives depends on the image"),
        ([node("SequenceConstruct", ["x", "x"], ["s"]), node("ConcatFromSequence", ["s"], ["y"], axis=1)],
         {}, "known here: ConcatFromSequence, SequenceConstruct"),
        ([node("Identity", ["x"], ["y"])], {}, "computes nothing from its input"),
        ([conv(group=0), pooled()], W, "0 groups and weights 8x3x3x3, which do not fit 3 channels"),
        ([conv(group=2), pooled()], W, "2 groups and weights"),
        ([conv(), pooled()], {"w": (8, 4, 3, 3)}, "do not fit 3 channels in and 8 out"),
        ([conv("nothing"), pooled()], W, "reads 'nothing', which nothing before it makes"),
        ([conv()], W, "nothing in it makes its output 'y'"),
        ([node("Conv", ["x", "w"], ["y"])], {"w": (8, 3, 3, 3, 3)}, "Conv"),
        ([node("Reshape", ["x", "to"], ["y"])], {"to": numbers(5, 5)}, "a Reshape makes 25 numbers of 768"),
        ([node("MatMul", ["x", "m"], ["y"])], {"m": (5, 5)}, "a MatMul does not fit its inputs"),
        ([node("Expand", ["one", "to"], ["e"]), node("Add", ["x", "e"], ["y"])],
         {"one": (1,), "to": numbers(2**20, 2**20, 2**20, 1)}, "no such tensor can be"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_the_true_reason(nodes, constants, reason: str) -> None:
    with pytest.raises(EdgenasError, match=reason):
        read_onnx(graph(nodes, constants, opsets=[helper.make_opsetid("org.me", 1)]))


def test_a_three_dimensional_convolution_is_refused() -> None:
    model = graph([node("Conv", ["x", "w"], ["y"])], {"w": (4, 1, 3, 3, 3)}, inputs=[value("x", ("N", 1, 8, 16, 16))])
    assert "'x' is 3-d; 1-d and 2-d maps can be read" in refused(model)


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    whole = graph([conv(), *flat()], WVB).SerializeToString()
    rng = np.random.default_rng(0)
    head = len(whole) - 20480 * 4  # the structure lies around the large weight
    for trial in range(300):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 3) if trial % 2 else rng.integers(0, head, 2):
            broken[place] = rng.integers(256)
        path = tmp_path / "m.onnx"
        path.write_bytes(broken if trial % 3 else broken[: rng.integers(1, len(broken))])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert "\n" not in outcome(path)


def outcome(path: Path) -> str:
    """The MACs that were read, or the refusal; anything else than these fails the test."""
    try:
        return str(workload_from_onnx(path).macs)
    except EdgenasError as error:
        return str(error)
