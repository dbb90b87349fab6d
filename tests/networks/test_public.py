"""Public networks fitted to a task: the numbers of torchvision itself, on the same image, and a head of the task's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision import models

from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.export.onnx import describe, onnx_from_network
from edgenas.faces.pixels import Pixels
from edgenas.image_sizes import ImageSize, sides_of, size_in_words
from edgenas.networks import network_from_architecture
from edgenas.networks.public import Public, file_sha256, network_in_file, public_network
from edgenas.networks.zoo import IMAGENET
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Classes, Embedding, Head, OnnxArchitecture, Preprocessing, Recipe
from edgenas.tasks.arrays import task_from_arrays
from edgenas.training.start import adopt
from edgenas.training.throughput import seconds_per_image
from tests.networks.test_from_onnx import shaken

RNG = np.random.default_rng(7)
OTHER_SIZE = Preprocessing(3, 24, (0.31,) * 3, (0.27,) * 3)
MEAN, STD = (np.array(values) for values in IMAGENET)


def preprocessing(channels: int, size: ImageSize) -> Preprocessing:
    """Of a task whose own pixels are normalised in some way of their own."""
    return Preprocessing(channels, size, (0.31,) * channels, (0.27,) * channels)


def trained(name: str, folder: Path) -> tuple[nn.Module, str]:
    """A torchvision network whose batch norms have seen something, and the reference that names a file of its weights."""
    torch.manual_seed(3)
    network = shaken(models.get_model(name, weights=None))
    torch.save(network.state_dict(), folder / "net.pth")
    return network, f"torchvision:{name}={folder / 'net.pth'}"


def began(public: Public) -> nn.Module:
    """The network as its training starts, before the task's head."""
    assert public.tensors is not None
    network = network_from_architecture(public.began)
    network.load_state_dict(network.state_dict() | public.tensors)
    return network.eval()


def logits(network: nn.Module, images: NDArray[np.float32]) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(torch.from_numpy(np.ascontiguousarray(images)))
    return found


def as_torchvision(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, H, W, 3) -> (N, 3, H, W), scaled and normalised as torchvision's own presets do."""
    return ((pixels / 255 - MEAN) / STD).astype(np.float32).transpose(0, 3, 1, 2)


def as_input(pixels: NDArray[np.uint8], known: Preprocessing) -> NDArray[np.float32]:
    return input_from_pixels(pixels, known)


def pixels_of(channels: int, size: ImageSize = 48) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (3, *sides_of(size), channels), dtype=np.uint8)


def close(found: Tensor, wanted: Tensor, bar: float) -> bool:
    return bool((found - wanted).abs().max() <= bar * wanted.abs().max()) and float(wanted.std()) > 0


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_weights_give_on_the_tasks_pixels_what_torchvision_gives_on_its_own(name: str, tmp_path: Path) -> None:
    network, asked = trained(name, tmp_path)
    public = public_network(asked, Classes(7), preprocessing(3, 48))
    images = pixels_of(3)
    found = logits(began(public), input_from_pixels(images, public.preprocessing))
    assert close(found, logits(network, as_torchvision(images)), 1e-4)
    assert public.preprocessing == Preprocessing(3, 48, *IMAGENET)
    assert workload_from_architecture(public.began).params == sum(p.numel() for p in network.parameters())
    assert public.source == "net.pth"
    assert public.source_sha256 == file_sha256(asked) != ""


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_a_safetensors_file_whose_tensors_are_in_the_order_of_their_names_is_the_same_network(
    name: str, tmp_path: Path
) -> None:
    network, asked = trained(name, tmp_path)
    held = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(held, tmp_path / "net.safetensors")
    assert list(load_file(tmp_path / "net.safetensors")) != list(held)
    by_name = public_network(asked.replace("net.pth", "net.safetensors"), Classes(7), preprocessing(3, 48)).tensors
    plain = public_network(asked, Classes(7), preprocessing(3, 48)).tensors
    assert by_name is not None
    assert plain is not None
    assert all(torch.equal(by_name[key], plain[key]) for key in plain)


def test_weights_that_know_pixels_from_minus_one_to_one_are_given_those(tmp_path: Path) -> None:
    """As published: with heads for training, and torchvision's module turns ImageNet's normalisation into theirs."""
    torch.manual_seed(3)
    made = models.get_model("googlenet", weights=None, aux_logits=True, transform_input=True, init_weights=False)
    network = shaken(made).eval()
    assert any(key.startswith("aux1.") for key in network.state_dict())
    torch.save(network.state_dict(), tmp_path / "net.pth")
    public = public_network(f"torchvision:googlenet={tmp_path / 'net.pth'}", Classes(7), preprocessing(3, 48))
    images = pixels_of(3)
    found = logits(began(public), input_from_pixels(images, public.preprocessing))
    assert close(found, logits(network, as_torchvision(images)), 1e-4)
    assert public.preprocessing.mean == public.preprocessing.std == (0.5, 0.5, 0.5)


def test_on_grey_images_the_first_weights_are_summed_exact_but_for_padding(tmp_path: Path) -> None:
    network, asked = trained("resnet18", tmp_path)
    public = public_network(asked, Classes(7), preprocessing(1, 48))
    grey = pixels_of(1)
    inputs, wanted = input_from_pixels(grey, public.preprocessing), as_torchvision(grey.repeat(3, axis=3))
    own = began(public)
    with torch.no_grad():
        first = own.kernels[0](torch.from_numpy(inputs))  # convolution of 7 px, stride 2, padding 3; batch norm; ReLU
        published = network.relu(network.bn1(network.conv1(torch.from_numpy(wanted))))
    assert first.shape == published.shape == (3, 64, 24, 24)
    inside = slice(2, -2)  # two rows and columns of the map read padding
    assert close(first[..., inside, inside], published[..., inside, inside], 1e-5)
    assert close(logits(own, inputs), logits(network, wanted), 0.05)
    assert public.architecture.in_channels == 1
    assert workload_from_architecture(public.began).params == sum(p.numel() for p in network.parameters()) - 2 * 64 * 49


def grey_file(
    folder: Path, mean: tuple[float, ...], std: tuple[float, ...], size: ImageSize = 32
) -> tuple[nn.Module, Path]:
    """An EdgeNAS export that says how its colours are normalised."""
    architecture = chain(8, 4, (0, 1, 0, 0), (3,) * 4, Classes(5), 3, size)
    torch.manual_seed(1)
    network = shaken(network_from_architecture(architecture))
    model = onnx_from_network(network, architecture, opset=13, ir=7)
    describe(model, {"preprocessing": Preprocessing(3, size, mean, std).canonical_json().decode()})
    onnx.save(model, folder / "net.onnx")
    return network, folder / "net.onnx"


def test_on_grey_images_a_network_whose_channels_are_normalised_alike_is_exact(tmp_path: Path) -> None:
    network, path = grey_file(tmp_path, (0.4,) * 3, (0.2,) * 3)
    public = public_network(str(path), Classes(5), preprocessing(1, 32))
    assert public.notes == ()
    grey = pixels_of(1, 32)
    wanted = ((grey.repeat(3, axis=3) / 255 - 0.4) / 0.2).astype(np.float32).transpose(0, 3, 1, 2)
    assert close(logits(began(public), input_from_pixels(grey, public.preprocessing)), logits(network, wanted), 1e-4)


def test_a_grey_network_reads_colours_as_the_grey_that_they_make(tmp_path: Path) -> None:
    architecture = chain(8, 4, (0, 1, 0, 0), (3,) * 4, Classes(5), 1, 32)
    torch.manual_seed(1)
    network = shaken(network_from_architecture(architecture))
    model = onnx_from_network(network, architecture, opset=13, ir=7)
    describe(model, {"preprocessing": Preprocessing(1, 32, (0.4,), (0.2,)).canonical_json().decode()})
    onnx.save(model, tmp_path / "net.onnx")
    public = public_network(str(tmp_path / "net.onnx"), Classes(5), preprocessing(3, 32))
    colour = pixels_of(3, 32)
    grey = (colour @ np.array([0.299, 0.587, 0.114]) / 255 - 0.4) / 0.2  # ITU-R 601
    found = logits(began(public), input_from_pixels(colour, public.preprocessing))
    assert close(found, logits(network, grey[:, None].astype(np.float32)), 1e-4)


@pytest.mark.parametrize(
    ("sides", "broken", "line"),
    [
        (("N", 3, "H", "W"), False, None),
        (("N", 3, "H", "W"), True, "cannot be read: only plain convolutional networks"),
        ((1, 3, 16, 16), True, "cannot be read: only plain convolutional networks"),
        (("N", "C", "H", "W"), False, "does not say how many channels it has: export it with their number"),
        (None, False, "does not say how many channels it has: export it with their number"),
    ],
)
def test_a_file_of_free_sides_is_read_at_the_tasks_size_or_refused_for_what_is_wrong_with_it(
    sides: tuple[Any, ...] | None, broken: bool, line: str | None, tmp_path: Path
) -> None:
    """No hint at --shape: these commands have no such flag."""
    path, _ = beginning([], tmp_path)
    model = onnx.load(path)
    del model.graph.value_info[:]
    image = model.graph.input[0]
    image.CopyFrom(onnx.helper.make_tensor_value_info(image.name, onnx.TensorProto.FLOAT, sides))
    if broken:
        next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Softsign"
    onnx.save(model, path)
    for read in (lambda: public_network(str(path), Classes(7), OTHER_SIZE), lambda: network_in_file(path, OTHER_SIZE)):
        if line is None:
            assert sides_of(read().architecture.image_size) == (24, 24)
            continue
        with pytest.raises(EdgenasError, match=line) as caught:
            read()
        assert "--shape" not in str(caught.value)


def test_a_grey_file_that_says_nothing_of_its_input_reads_colours_by_the_studys_normalisation(tmp_path: Path) -> None:
    architecture = chain(4, 3, (0, 1, 0), (3,) * 3, Classes(5), 1, 16)
    onnx.save(
        onnx_from_network(network_from_architecture(architecture), architecture, opset=13, ir=7), tmp_path / "n.onnx"
    )
    own = Preprocessing(3, 16, (0.2, 0.3, 0.4), (0.1, 0.2, 0.3))
    public = public_network(str(tmp_path / "n.onnx"), Classes(5), own, pixels_of(3, 16))
    assert public.preprocessing.mean == pytest.approx((0.3,) * 3)
    assert public.preprocessing.std == pytest.approx((0.2,) * 3)
    assert (
        public.notes[0]
        == "n.onnx does not say how its input is normalised: the study's own mean and deviation are taken"
    )


def test_a_file_is_read_at_the_tasks_size_and_says_so_where_it_cannot_be(tmp_path: Path) -> None:
    network, path = grey_file(tmp_path, (0.4,) * 3, (0.2,) * 3)
    public = public_network(str(path), Classes(5), preprocessing(3, 48))
    assert public.architecture.image_size == 48
    images = pixels_of(3)
    wanted = ((images / 255 - 0.4) / 0.2).astype(np.float32).transpose(0, 3, 1, 2)
    assert close(logits(began(public), input_from_pixels(images, public.preprocessing)), logits(network, wanted), 1e-4)
    flat = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 32 * 32, 5)).eval()
    torch.onnx.export(flat, (torch.zeros(1, 3, 32, 32),), tmp_path / "flat.onnx", verbose=False)
    assert public_network(str(tmp_path / "flat.onnx"), Classes(5), preprocessing(3, 32)).architecture.image_size == 32
    with pytest.raises(EdgenasError, match=r"flat.onnx is made for images of 32 x 32 px and cannot take 48 px"):
        public_network(str(tmp_path / "flat.onnx"), Classes(5), preprocessing(3, 48))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_networks_with_an_adaptive_pool_take_rectangles(name: str, tmp_path: Path) -> None:
    network, asked = trained(name, tmp_path)
    images = pixels_of(3, (32, 80))
    public = public_network(asked, Classes(7), preprocessing(3, (32, 80)))
    assert public.architecture.image_size == (32, 80)
    found = logits(began(public), input_from_pixels(images, public.preprocessing))
    assert close(found, logits(network, as_torchvision(images)), 1e-4)


def test_a_file_made_for_squares_is_read_for_rectangles_where_it_can_be(tmp_path: Path) -> None:
    network, path = grey_file(tmp_path, (0.4,) * 3, (0.2,) * 3)
    images = pixels_of(3, (32, 48))
    public = public_network(str(path), Classes(5), preprocessing(3, (32, 48)))
    wanted = ((images / 255 - 0.4) / 0.2).astype(np.float32).transpose(0, 3, 1, 2)
    assert close(logits(began(public), input_from_pixels(images, public.preprocessing)), logits(network, wanted), 1e-4)
    flat = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 32 * 48, 5)).eval()
    torch.onnx.export(flat, (torch.zeros(1, 3, 32, 48),), tmp_path / "flat.onnx", verbose=False)
    assert public_network(
        str(tmp_path / "flat.onnx"), Classes(5), preprocessing(3, (32, 48))
    ).architecture.image_size == (32, 48)
    for size in ((32, 40), 32):
        words = rf"flat.onnx is made for images of 32 x 48 px and cannot take {size_in_words(size)} px"
        with pytest.raises(EdgenasError, match=words) as caught:
            public_network(str(tmp_path / "flat.onnx"), Classes(5), preprocessing(3, size))
        assert "\n" not in str(caught.value)


def test_a_teacher_in_a_file_may_take_rectangles(tmp_path: Path) -> None:
    _, path = grey_file(tmp_path, (0.4,) * 3, (0.2,) * 3, (32, 48))
    held = network_in_file(path, preprocessing(3, 24))
    assert (held.architecture.image_size, held.preprocessing.size) == ((32, 48), (32, 48))


@pytest.mark.parametrize("name", ["vit_b_16", "alexnet"])
def test_a_network_that_cannot_be_rectangular_is_refused_in_one_line(name: str) -> None:
    """A transformer knows one number of patches; alexnet's adaptive pool of 6 x 6 is no division of such maps."""
    with pytest.raises(EdgenasError, match=rf"torchvision:{name} cannot take images of 64x320 px: ") as caught:
        public_network(f"torchvision:{name}", Classes(7), preprocessing(3, (64, 320)))
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_say_how_its_input_is_normalised_is_taken_as_imagenets_and_told_so(tmp_path: Path) -> None:
    _, path = grey_file(tmp_path, (0.4,) * 3, (0.2,) * 3)
    assert public_network(str(path), Classes(5), preprocessing(3, 32)).preprocessing.mean == (0.4,) * 3
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    public = public_network(str(path), Classes(5), preprocessing(3, 32))
    assert public.preprocessing.mean == IMAGENET[0]
    assert "ImageNet's mean and deviation are taken" in public.notes[0]


def test_what_is_said_of_a_files_input_counts_whatever_the_file_says(tmp_path: Path) -> None:
    _, path = grey_file(tmp_path, (0.4,) * 3, (0.2,) * 3)
    said = Pixels((127.5,), (51.0, 102.0, 255.0))
    public = public_network(str(path), Classes(5), preprocessing(3, 32), said=said)
    assert (public.preprocessing.mean, public.preprocessing.std) == ((0.5,) * 3, (0.2, 0.4, 1.0))
    assert public.notes == public_network(str(path), Classes(5), preprocessing(3, 32)).notes  # nothing of an assumption
    one = public_network(str(path), Classes(5), preprocessing(1, 32), said=Pixels((0.0,), (255.0,)))
    assert (one.preprocessing.mean, one.preprocessing.std) == ((0.0,), (1.0,))


@pytest.mark.parametrize("head", [Classes(7), Embedding(16)])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_all_but_the_head_is_taken_over(name: str, head: Head, tmp_path: Path) -> None:
    _, asked = trained(name, tmp_path)
    public = public_network(asked, head, preprocessing(3, 32))
    torch.manual_seed(0)
    network = network_from_architecture(public.architecture)
    fresh = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    adopt(network, began(public))
    taken = {key for key, tensor in network.state_dict().items() if not torch.equal(tensor, fresh[key])}
    assert public.tensors is not None
    layers = {key for key in public.tensors if key.endswith("conv.weight")}
    assert layers <= taken
    last = max(int(key.split(".")[1]) for key in fresh)
    assert not any(key.startswith(f"kernels.{last}.") for key in taken)
    assert logits(network.eval(), np.zeros((2, 3, 32, 32), np.float32)).shape == (2, 7 if head == Classes(7) else 16)


def test_a_head_that_is_a_convolution_before_a_pool_gets_the_tasks_classes(tmp_path: Path) -> None:
    _, asked = trained("squeezenet1_1", tmp_path)
    public = public_network(asked, Classes(7), preprocessing(3, 48))
    kernels = workload_from_architecture(public.architecture).kernels
    assert [(kernel.kind, kernel.out_channels) for kernel in kernels[-2:]] == [("conv", 7), ("globalpool", 7)]
    images, labels = pixels_of(3).repeat(20, axis=0), np.arange(60) % 7
    task = task_from_arrays(images + np.arange(60, dtype=np.uint8)[:, None, None, None], labels)
    assert seconds_per_image(task, public.architecture, Recipe("r", 1, 8, 0.01), torch.device("cpu"), 0.0) > 0
    with pytest.raises(EdgenasError, match=r"ends in a globalpool|cannot be put"):
        public_network(asked, Embedding(16, "depthwise"), preprocessing(3, 48))


def test_epsilons_of_batch_norms_are_those_of_the_published_network(tmp_path: Path) -> None:
    network, asked = trained("mobilenet_v3_small", tmp_path)
    public = public_network(asked, Classes(7), preprocessing(3, 32))
    published = {module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    assert published == {0.001}
    found = network_from_architecture(public.architecture)
    assert {round(m.eps, 9) for m in found.modules() if isinstance(m, nn.BatchNorm2d)} == {0.001}


def test_an_architecture_survives_its_json_and_has_one_fingerprint() -> None:
    import msgspec

    public = public_network("torchvision:squeezenet1_1", Classes(7), preprocessing(3, 48))
    again = msgspec.json.decode(msgspec.json.encode(public.architecture), type=OnnxArchitecture)
    assert again == public.architecture
    assert again.fingerprint == public.architecture.fingerprint
    assert public.tensors is None
    assert public.preprocessing == preprocessing(3, 48)  # from scratch it has no normalisation of its own


@pytest.mark.parametrize(
    ("theirs", "rows"),
    [
        (("a", "b", "c"), [0, 1, 2]),
        (("c", "a", "b"), [1, 2, 0]),
        (("a", "b", "d"), None),
        (("a", "b"), [0, 1]),
        ((), [0, 1, 2]),
    ],
)
def test_the_last_layer_of_an_export_is_kept_for_the_classes_that_it_knows(
    theirs: tuple[str, ...], rows: list[int] | None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    architecture = chain(4, 3, (0, 1, 0), (3,) * 3, Classes(len(theirs) or 3), 1, 16)
    model = onnx_from_network(shaken(network_from_architecture(architecture)), architecture, opset=13, ir=7)
    own = preprocessing(1, 16)
    facts = {"preprocessing": own.canonical_json().decode()} | ({"classes": json.dumps(theirs)} if theirs else {})
    describe(model, facts)
    onnx.save(model, tmp_path / "net.onnx")
    path, pixels = str(tmp_path / "net.onnx"), pixels_of(1, 16)
    plain = public_network(path, Classes(3), own, pixels)
    found = public_network(path, Classes(3), own, pixels, ("a", "b", "c"))
    before, after = logits(began(plain), as_input(pixels, own)), logits(began(found), as_input(pixels, own))
    if rows is None:
        assert float(after.abs().max()) == 0
    else:
        assert torch.equal(after, before[:, rows])
    assert found.other_classes is (rows is None)
    assert any("knows other classes (a, b, d, ...): its last layer begins at zero" in n for n in found.notes) is (
        rows is None
    )


FIRST = {  # how files normalise their input, as (operator, constant), and the largest pixel that they take
    "bytes to -1 .. 1": ([("Sub", 127.5), ("Mul", 1 / 127.5)], 255),
    "bytes by ImageNet": ([("Mul", 1 / 255), ("Sub", MEAN), ("Div", STD)], 255),
    "bytes less a mean": ([("Sub", 255 * MEAN)], 255),
    "bytes to 0 .. 1": ([("Div", 255.0)], 255),
    "shares by ImageNet": ([("Sub", MEAN), ("Div", STD)], 1),
    "shares to -1 .. 1": ([("Mul", 2.0), ("Add", -1.0)], 1),
    "shares by a deviation": ([("Div", STD)], 1),
}
NO_NORMALISATION = {
    "nothing": [],
    "one": [("Mul", 1.0)],
    "of what is normalised": [("Mul", STD / 0.5), ("Add", (MEAN - 0.5) / 0.5)],  # torchvision's transform_input
    "upside down": [("Mul", -1.0), ("Add", 1.0)],
    "far from pixels": [("Sub", 1000.0), ("Div", 500.0)],
}


def beginning(operators: list[tuple[str, Any]], folder: Path) -> tuple[Path, nn.Module]:
    """A small network of colour images as a file that begins so, and what comes behind."""
    torch.manual_seed(0)
    architecture = chain(4, 3, (0, 1, 0), (3,) * 3, Classes(7), 3, 16)
    network = shaken(network_from_architecture(architecture))
    model = onnx_from_network(network, architecture, opset=13, ir=7)
    image = here = model.graph.input[0].name
    readers = [(node, place) for node in model.graph.node for place, name in enumerate(node.input) if name == image]
    nodes = []
    for number, (operator, constant) in enumerate(operators):
        value = np.broadcast_to(np.asarray(constant, np.float32).reshape(-1, 1, 1), (3, 1, 1))
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), f"constant{number}"))
        nodes.append(onnx.helper.make_node(operator, [here, f"constant{number}"], [f"own{number}"]))
        here = f"own{number}"
    for node, place in readers:
        node.input[place] = here
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx", network


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", FIRST)
def test_a_file_that_normalises_its_input_itself_gets_pixels_as_it_takes_them(
    form: str, channels: int, tmp_path: Path
) -> None:
    operators, largest = FIRST[form]
    path, network = beginning(operators, tmp_path)
    own, images = preprocessing(channels, 16), pixels_of(channels, 16)
    inputs = images.repeat(3 // channels, axis=3).transpose(0, 3, 1, 2) * (largest / 255)
    for operator, constant in operators:
        apply = {"Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Add": np.add}[operator]
        inputs = apply(inputs, np.asarray(constant).reshape(-1, 1, 1))
    wanted = logits(network, inputs.astype(np.float32))
    public = public_network(str(path), Classes(7), own, images)
    assert close(logits(began(public), as_input(images, public.preprocessing)), wanted, 1e-3)
    note = f"net.onnx normalises its input itself: it gets pixels from 0 to {largest}, as it takes them"
    assert note in public.notes
    if channels == 3:
        teacher = network_in_file(path, own)
        assert teacher.notes == (note,)
        assert teacher.preprocessing == Preprocessing(3, 16, (0.0,) * 3, (1 / largest,) * 3)


@pytest.mark.parametrize("form", NO_NORMALISATION)
def test_what_is_no_normalisation_of_pixels_gets_imagenets(form: str, tmp_path: Path) -> None:
    path, _ = beginning(NO_NORMALISATION[form], tmp_path)
    public = public_network(str(path), Classes(7), preprocessing(3, 16))
    assert (public.preprocessing.mean, public.preprocessing.std) == IMAGENET
    assert (
        public.notes[0] == "net.onnx does not say how its input is normalised: ImageNet's mean and deviation are taken"
    )


def test_what_cannot_be_a_reference_is_one_line(tmp_path: Path) -> None:
    _, asked = trained("squeezenet1_1", tmp_path)
    other = asked.replace("squeezenet1_1", "resnet18")
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    cases: dict[str, str] = {
        "torchvision:squeezenet1_7": "did you mean torchvision:squeezenet1_",
        "resnet18": "possible are torchvision:NAME, timm:NAME",
        other: "does not hold the weights of torchvision:resnet18",
        f"torchvision:resnet18={tmp_path / 'none.pth'}": "cannot be read",
        f"torchvision:resnet18={tmp_path / 'text.pth'}": "is no file of weights",
        f"torchvision:resnet18={tmp_path / 'numbers.pth'}": "holds a dict, not a state dict",
        "torchvision:vit_b_16": "cannot take images of 48 px",
        str(tmp_path / "none.onnx"): "cannot be read",
        "timm:resnet18": "timm",
    }
    for name, complaint in cases.items():
        with pytest.raises(EdgenasError, match=complaint) as caught:
            public_network(name, Classes(7), preprocessing(3, 48))
        assert "\n" not in str(caught.value)


def test_a_checkpoint_that_holds_a_state_dict_and_names_of_parallel_training_are_read(tmp_path: Path) -> None:
    _, asked = trained("squeezenet1_1", tmp_path)
    state: dict[str, Any] = torch.load(tmp_path / "net.pth", weights_only=True)
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "c.pth")
    plain = public_network(asked, Classes(7), preprocessing(3, 48)).tensors
    wrapped = public_network(asked.replace("net.pth", "c.pth"), Classes(7), preprocessing(3, 48)).tensors
    assert plain is not None
    assert wrapped is not None
    assert all(torch.equal(tensor, wrapped[name]) for name, tensor in plain.items())


def test_no_code_in_a_file_of_weights_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    torch.save({"a.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(EdgenasError, match="is no file of weights"):
        public_network(f"torchvision:resnet18={tmp_path / 'evil.pth'}", Classes(7), preprocessing(3, 48))
    assert not (tmp_path / "ran").exists()
