"""Published networks by name: `torchvision:resnet18`, and `timm:NAME` where timm is installed. Built without weights, but where
a file of them is named or their library's own download is asked for."""

from __future__ import annotations

import difflib
import functools
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from edgenas.architectures.from_onnx import read_onnx
from edgenas.damaged import PICKLE
from edgenas.errors import EdgenasError, pip_line
from edgenas.hardware.predictor import Row

DEFAULT_PX = 224
OTHER_PX = {"inception_v3": 299}  # of torchvision; timm says its own


@functools.lru_cache(maxsize=256)
def row_from_zoo(name: str, input_px: tuple[int, int] | None = None) -> Row:
    """The network of that name at `input_px` (height, width; None = the size that it is published with), as kernels.

    `torchvision.models.NAME` means `torchvision:NAME`. Raises EdgenasError for an unknown name, and for networks whose
    computation cannot be read.
    """
    library, _, short = name.replace("torchvision.models.", "torchvision:").partition(":")
    network, own_px = (_of_timm if library == "timm" else _of_torchvision)(short)
    height, width = input_px or own_px
    try:
        model = _exported(network.eval(), torch.zeros(1, 3, height, width))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise EdgenasError(
            f"{name} cannot be run at {height}x{width} and written as ONNX: {' '.join(str(error).split())[:200]}"
        ) from error
    read = read_onnx(model)
    params = sum(parameter.numel() for parameter in network.parameters())
    return Row(name, read.workload, params=params)


Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation of each channel
IMAGENET: Normalisation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # of torchvision's classifiers
# Published with weights that know pixels from -1 to 1. torchvision's own code turns ImageNet's normalisation into that inside of
# the network where it downloads these weights, and not where they come from a file.
FROM_TENSORFLOW = ("googlenet", "inception_v3")
HALVES: Normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
TRAINED_ON_HALVES = ("efficientnet_v2_l",)  # of torchvision, wherever the weights come from
TRAINING_HEADS = ("aux1.", "aux2.", "AuxLogits.")  # theirs, which nothing that is deployed has


def module_from_zoo(
    name: str, *, download: bool = False, classes: int | None = None
) -> tuple[nn.Module, Normalisation]:
    """The network of that name as its library makes it, for so many classes (None: ImageNet's), and the normalisation of images
    that its published weights know. `download`: with those weights, which the library fetches where it has not yet."""
    library, _, short = name.partition(":")
    try:
        if library == "timm":
            network, _ = _of_timm(short, download, classes)
            said = network.default_cfg
            return network, (tuple(said.get("mean", IMAGENET[0])), tuple(said.get("std", IMAGENET[1])))  # type: ignore[union-attr, operator]
        return _of_torchvision(short, download, classes)[0], HALVES if short in TRAINED_ON_HALVES else IMAGENET
    except OSError as error:  # urllib's are
        raise EdgenasError(
            f"the weights of {name} cannot be downloaded ({error}): name a file of them, {name}=FILE"
        ) from error


def with_state(name: str, path: Path) -> nn.Module:
    """The network of that name with the weights in a file: a state dict (.pth, .pt, .safetensors), also one inside a checkpoint.
    Its head has as many classes as the file's. EdgenasError where it holds other weights."""
    own = module_from_zoo(name)[0].state_dict()  # in its layers' order; a .safetensors file is in that of the alphabet
    head = next(key for key, tensor in reversed(own.items()) if key.endswith("weight") and tensor.ndim in (2, 4))
    aside = TRAINING_HEADS if name.partition(":")[2] in FROM_TENSORFLOW else ()
    state = {key: tensor for key, tensor in _state(path).items() if not key.startswith(aside)}
    if head not in state:
        raise EdgenasError(f"{path} does not hold the weights of {name}: there is no {head}")
    network, _ = module_from_zoo(name, classes=len(state[head]))
    try:
        missing, unknown = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:60])
        raise EdgenasError(f"{path} does not hold the weights of {name}: {reason[:200]}") from error
    absent = [key for key in missing if not key.endswith("num_batches_tracked")]
    if absent or unknown:
        what = f"no {absent[0]}" if absent else f"{unknown[0]}, which {name} has not"
        raise EdgenasError(f"{path} does not hold the weights of {name}: there is {what}")
    return network


def normalisation_of_file(name: str) -> Normalisation | None:
    """What the weights in a file of a network of that name know, where it is not what `module_from_zoo` says."""
    library, _, short = name.partition(":")
    return HALVES if library == "torchvision" and short in FROM_TENSORFLOW else None


def _state(path: Path) -> dict[str, torch.Tensor]:
    """Tensors and nothing else: no code in the file is run."""
    try:
        if path.suffix == ".safetensors":
            held: Any = load_file(path)
        else:
            held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise EdgenasError(f"{path} cannot be read: {error.strerror or error}") from error
    except (SafetensorError, *PICKLE) as error:
        raise EdgenasError(
            f"{path} is no file of weights (a state dict of tensors): {' '.join(str(error).split())[:120]}"
        ) from error
    for key in ("state_dict", "model"):
        held = held.get(key, held) if isinstance(held, dict) else held
    if not isinstance(held, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in held.values()):
        raise EdgenasError(f"{path} holds a {type(held).__name__}, not a state dict: save network.state_dict()")
    return {str(key).removeprefix("module."): tensor for key, tensor in held.items()}


def _of_torchvision(name: str, download: bool = False, classes: int | None = None) -> tuple[nn.Module, tuple[int, int]]:
    try:
        from torchvision import models
    except ImportError as missing:
        raise EdgenasError("torchvision: networks need the package: pip install torchvision") from missing
    known = models.list_models(module=models)
    if name not in known:
        raise EdgenasError(_unknown("torchvision", name, known))
    plain: dict[str, Any] = {"weights": "DEFAULT" if download else None}
    if classes is not None:
        plain["num_classes"] = classes
    if name in FROM_TENSORFLOW:  # what is deployed has no training heads; nobody reads half a minute of random numbers
        plain |= {"init_weights": False} if download else {"aux_logits": False, "init_weights": False}
    side = OTHER_PX.get(name, DEFAULT_PX)
    return cast("nn.Module", models.get_model(name, **plain)), (side, side)


def _of_timm(name: str, download: bool = False, classes: int | None = None) -> tuple[nn.Module, tuple[int, int]]:
    try:
        timm = __import__("timm")
    except ImportError as missing:
        raise EdgenasError(f"timm: networks need timm, which is not installed: {pip_line('timm')}") from missing
    if not timm.is_model(name):
        raise EdgenasError(_unknown("timm", name, timm.list_models()))
    more = {} if classes is None else {"num_classes": classes}
    network = timm.create_model(name, pretrained=download, exportable=True, **more)
    _, height, width = network.default_cfg.get("input_size", (3, DEFAULT_PX, DEFAULT_PX))
    return cast("nn.Module", network), (height, width)


def _unknown(library: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=4, cutoff=0.5)
    hint = f": did you mean {', '.join(f'{library}:{one}' for one in near)}?" if near else ""
    return f"{library} has no network {name[:80]!r}{hint}"


def _exported(network: nn.Module, image: torch.Tensor) -> Any:
    """(1, 3, H, W) -> the ONNX model; the exporter's own warnings are about weights that are not used here."""
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network, (image,), dynamo=True, input_names=["image"], verbose=False, external_data=False
            )
    finally:
        loud.setLevel(level)
    assert program is not None
    return program.model_proto
