"""Published networks by name."""

import builtins
from pathlib import Path

import pytest
import torch

from edgenas.errors import EdgenasError
from edgenas.networks.zoo import HALVES, IMAGENET, TRAINED_ON_HALVES, module_from_zoo, row_from_zoo, with_state

models = pytest.importorskip("torchvision").models


@pytest.mark.parametrize("name", ["squeezenet1_1", pytest.param("mobilenet_v3_small", marks=pytest.mark.slow),
                                  pytest.param("googlenet", marks=pytest.mark.slow)])  # fmt: skip
def test_a_torchvision_network_has_the_parameters_and_macs_that_torchvision_publishes(name: str) -> None:
    row = row_from_zoo(f"torchvision:{name}")
    meta = models.get_model_weights(name).DEFAULT.meta
    assert row.params == meta["num_params"]
    assert row.workload.macs / 1e9 == pytest.approx(meta["_ops"], abs=0.006)
    assert (row.name, row.precision, row.batch) == (f"torchvision:{name}", "fp32", 1)


def test_a_network_at_a_quarter_of_the_pixels_takes_about_a_quarter_of_the_macs() -> None:
    whole, quarter = row_from_zoo("torchvision:squeezenet1_1"), row_from_zoo("torchvision:squeezenet1_1", (112, 112))
    assert quarter.workload.macs == pytest.approx(whole.workload.macs / 4, rel=0.12)  # it does not pad
    assert row_from_zoo("torchvision.models.squeezenet1_1").workload == whole.workload


def test_unknown_networks_are_refused_with_near_ones() -> None:
    with pytest.raises(EdgenasError, match=r"torchvision has no network 'resnet19': did you mean torchvision:resnet1"):
        row_from_zoo("torchvision:resnet19")
    with pytest.raises(EdgenasError, match=r"torchvision has no network '#'$"):
        row_from_zoo("torchvision:#")


ODD_PICKLES = {
    "list": b"\x80\x02]a.",  # IndexError: nothing to append to
    "attribute": b"\x80\x02)K\x01a.",  # AttributeError: what has no `append`
    "storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",  # TypeError: a call without arguments
}


@pytest.mark.parametrize("odd", ODD_PICKLES)
def test_a_damaged_file_of_weights_is_one_line(tmp_path: Path, odd: str) -> None:
    whole = tmp_path / "whole.pth"
    torch.save({}, whole, _use_new_zipfile_serialization=False)
    head = whole.read_bytes().partition(b"\x80\x02}q\x00.")[0]  # numbers that say what follows
    (tmp_path / "x.pth").write_bytes(head + ODD_PICKLES[odd])
    with pytest.raises(EdgenasError, match=r"x\.pth is no file of weights \(a state dict of tensors\)"):
        with_state("torchvision:squeezenet1_1", tmp_path / "x.pth")


def test_a_size_that_the_network_cannot_take_is_one_line() -> None:
    with pytest.raises(EdgenasError, match="torchvision:alexnet cannot be run at 16x16 and written as ONNX") as caught:
        row_from_zoo("torchvision:alexnet", (16, 16))
    assert "\n" not in str(caught.value)


def test_without_timm_its_networks_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "timm":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        EdgenasError, match=r"timm: networks need timm, which is not installed: pip install '\.\[timm\]' in your clone"
    ):
        row_from_zoo("timm:mixnet_s")


def test_images_are_normalised_as_torchvisions_published_weights_know_them() -> None:
    """What its own records say, for every classifier: all but two turn their normalisation inside of the network."""
    for name in models.list_models(module=models):
        said = models.get_model_weights(name).DEFAULT.transforms()
        known = HALVES if name in TRAINED_ON_HALVES else IMAGENET
        assert (tuple(said.mean), tuple(said.std)) == known, name


def test_the_normalisation_of_one_trained_on_halves_is_handed_on() -> None:
    assert module_from_zoo("torchvision:efficientnet_v2_l", classes=2)[1] == HALVES
    assert module_from_zoo("torchvision:efficientnet_v2_s", classes=2)[1] == IMAGENET
