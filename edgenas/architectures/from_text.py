"""A network written in one line: our JSON, a NAS-Bench-201 string, `fbnet:` and 22 digits, or a `convnet_...` name."""

from __future__ import annotations

from typing import cast

import msgspec

from edgenas.architectures.convnet import workload_from_convnet
from edgenas.architectures.fbnet import PREFIX, fbnet_from_text
from edgenas.architectures.nasbench201 import nasbench201_from_text
from edgenas.architectures.tracer import refuse_impossible
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.records import Architecture, Workload

FORMS = (
    "architecture JSON, |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, fbnet:<22 digits 0-8>, a convnet_... name or an .onnx file"
)


def network_from_text(text: str) -> Architecture | Workload:
    """The architecture, or for a `convnet_...` name the workload, that a line stands for."""
    text = text.strip()
    if text.startswith("{"):
        try:
            architecture = cast("Architecture", msgspec.json.decode(text, type=Architecture))
            refuse_impossible(workload_from_architecture(architecture), "an architecture")
            return architecture
        except (msgspec.DecodeError, RecursionError) as error:
            raise EdgenasError(f"not an architecture: {error}") from error
    if text.startswith("|"):
        return nasbench201_from_text(text)
    start = text[:8].lower()  # names are written in any capitals
    if start.startswith(PREFIX):
        return fbnet_from_text(PREFIX + text[len(PREFIX) :])
    if start == "convnet_":
        return refuse_impossible(workload_from_convnet(start + text[8:]), text)
    raise EdgenasError(f"{text[:80]!r} is not a network: write {FORMS}")
