"""Published networks by name: `torchvision:resnet18`, and `timm:NAME` where timm is installed. Built without weights."""

from __future__ import annotations

import difflib
import functools
import logging
import warnings
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import nn

from edgenas.architectures.from_onnx import read_onnx
from edgenas.errors import EdgenasError
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


def _of_torchvision(name: str) -> tuple[nn.Module, tuple[int, int]]:
    try:
        from torchvision import models
    except ImportError as missing:
        raise EdgenasError("torchvision: networks need the package: pip install torchvision") from missing
    known = models.list_models(module=models)
    if name not in known:
        raise EdgenasError(_unknown("torchvision", name, known))
    plain: dict[str, Any] = {"weights": None}
    if name in (
        "googlenet",
        "inception_v3",
    ):  # what is deployed has no training heads; nobody reads half a minute of random numbers
        plain |= {"aux_logits": False, "init_weights": False}
    side = OTHER_PX.get(name, DEFAULT_PX)
    return cast("nn.Module", models.get_model(name, **plain)), (side, side)


def _of_timm(name: str) -> tuple[nn.Module, tuple[int, int]]:
    try:
        timm = __import__("timm")
    except ImportError as missing:
        raise EdgenasError("timm: networks need timm, which is not installed: pip install 'edgenas[timm]'") from missing
    if not timm.is_model(name):
        raise EdgenasError(_unknown("timm", name, timm.list_models()))
    network = timm.create_model(name, pretrained=False, exportable=True)
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
