"""Networks that were read whole: their kernels are believed only where they fit each other, the input and the head."""

from __future__ import annotations

import msgspec
import pytest

from edgenas.architectures.whole import workload_from_whole
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.records import Architecture, Classes, Kernel, OnnxArchitecture, Workload

CONV = Kernel("conv", 3, 8, 16, 16, 16, 16, (-1,), kernel=(3, 3), padding=(1, 1), norm=True, activation="relu")
POOL = Kernel("globalpool", 8, 8, 1, 1, 16, 16, (0,), kernel=(16, 16))
LINEAR = Kernel("linear", 8, 5, 1, 1, 1, 1, (1,), bias=True)
NET = OnnxArchitecture("net.onnx", Workload((CONV, POOL, LINEAR)), Classes(5), 3, 16, (0.001,))


def changed(place: int, **changes: object) -> OnnxArchitecture:
    kernels = list(NET.workload.kernels)
    kernels[place] = msgspec.structs.replace(kernels[place], **changes)
    return msgspec.structs.replace(NET, workload=Workload(tuple(kernels)))


def test_kernels_that_fit_are_the_workload() -> None:
    assert workload_from_architecture(NET) == NET.workload
    assert workload_from_architecture(NET).params == 3 * 8 * 9 + 2 * 8 + 8 * 5 + 5
    decoded = msgspec.json.decode(NET.canonical_json(), type=Architecture)
    assert decoded == NET
    assert decoded.fingerprint == NET.fingerprint
    assert msgspec.structs.replace(NET, epsilons=(0.01,)).fingerprint != NET.fingerprint


@pytest.mark.parametrize(
    "wrong",
    [
        changed(0, inputs=(1,)),  # reads what comes after it
        changed(0, inputs=()),
        changed(0, in_channels=4),
        changed(0, in_height=17),
        changed(0, residual=5),
        changed(0, groups=0),
        changed(0, groups=2),
        changed(0, stride=(0, 1)),
        changed(0, padding=(-1, 1)),
        changed(0, height=10**6, width=10**6),
        changed(1, inputs=(-2,)),
        changed(1, in_channels=9),
        changed(2, in_channels=9),
        changed(2, out_channels=6),  # not what the head says
        msgspec.structs.replace(NET, head=Classes(6)),
        msgspec.structs.replace(NET, in_channels=1),
        msgspec.structs.replace(NET, image_size=32),
        msgspec.structs.replace(NET, workload=Workload(())),
        msgspec.structs.replace(NET, epsilons=(0.001, 0.001)),
        msgspec.structs.replace(NET, fixed=(3,)),
    ],
)
def test_kernels_that_contradict_what_they_read_the_input_or_the_head_are_refused(wrong: OnnxArchitecture) -> None:
    with pytest.raises(EdgenasError) as caught:
        workload_from_whole(wrong)
    assert "\n" not in str(caught.value)
