"""EdgeNAS designs convolutional networks for a given device and gets them onto it.

    import edgenas

    study = edgenas.search("digits", target="jetson", max_params=30_000)

The API is in docs/api.md. Every name below is loaded when it is first used: `import edgenas` takes milliseconds.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

from edgenas.version import __version__ as __version__

if sys.platform == "win32":
    raise ImportError("EdgeNAS runs on Linux, and on Macs with Apple silicon: on Windows use it in WSL 2")

# ONNX Runtime (from its import on) and Ray report how they are used to their makers unless this says otherwise.
for _name, _value in (("ORT_DISABLE_TELEMETRY", "1"), ("RAY_USAGE_STATS_ENABLED", "0")):
    os.environ.setdefault(_name, _value)


if TYPE_CHECKING:
    from edgenas.api.devices import calibrate, describe, predict, targets
    from edgenas.api.search import search
    from edgenas.api.study import Study, open_study
    from edgenas.api.train import train
    from edgenas.architectures.own import OwnSpace
    from edgenas.architectures.tracer import Tracer
    from edgenas.errors import EdgenasError
    from edgenas.methods.spec import MethodSpec, Search
    from edgenas.networks import network_from_onnx

_HOMES = {
    "search": "edgenas.api.search",
    **dict.fromkeys(("open_study", "Study"), "edgenas.api.study"),
    **dict.fromkeys(("predict", "describe", "targets", "calibrate"), "edgenas.api.devices"),
    "train": "edgenas.api.train",
    "network_from_onnx": "edgenas.networks",
    "MethodSpec": "edgenas.methods.spec",
    "Search": "edgenas.methods.spec",
    "OwnSpace": "edgenas.architectures.own",
    "Tracer": "edgenas.architectures.tracer",
    "EdgenasError": "edgenas.errors",
}

__all__ = [
    "EdgenasError",
    "MethodSpec",
    "OwnSpace",
    "Search",
    "Study",
    "Tracer",
    "calibrate",
    "describe",
    "network_from_onnx",
    "open_study",
    "predict",
    "search",
    "targets",
    "train",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'edgenas' has no attribute {name!r}: it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
