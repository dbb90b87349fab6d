"""What is known of devices and networks without a search: `edgenas.predict`, `describe`, `targets`, `calibrate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from edgenas.api.arguments import File, checked, listener_for, path_or_none
from edgenas.engine.events import Listener, noting
from edgenas.errors import EdgenasError
from edgenas.hardware.calibration import Calibrated, calibration
from edgenas.hardware.description import Description, description
from edgenas.hardware.prediction import Asked, Prediction, predictions
from edgenas.hardware.rows import px_asked
from edgenas.hardware.targets import Target
from edgenas.hardware.targets import targets as all_targets
from edgenas.records import Architecture, HardwareProfile, Workload

if TYPE_CHECKING:
    from edgenas.api.study import Study
    from edgenas.hardware.predictor import Row


@overload
def predict(
    network: Architecture | Workload,
    target: File | HardwareProfile,
    *,
    precision: str | None = ...,
    batch: int | None = ...,
    shapes: Mapping[str, tuple[int, ...]] | None = ...,
) -> Prediction: ...


@overload
def predict(
    network: Asked | Sequence[Asked],
    target: File | HardwareProfile,
    *,
    precision: str | None = ...,
    batch: int | None = ...,
    shapes: Mapping[str, tuple[int, ...]] | None = ...,
    image_size: int | tuple[int, int] | str | None = ...,
) -> Any: ...


@checked
def predict(
    network: Asked | Sequence[Asked],
    target: File | HardwareProfile,
    *,
    precision: str | None = None,
    batch: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    image_size: int | tuple[int, int] | str | None = None,
) -> Any:
    """The latency of a network on a device that is not here: a `Prediction`; of a CSV or of several networks a list of them.

    `network`: an ONNX file, an architecture, a workload, `torchvision:NAME`, a CSV with a column `architecture`. `batch`: images
    per run. `shapes`: sizes of ONNX inputs with free sides; `image_size`: that of the images that such a file, or a network of
    torchvision's, takes: 224, or (64, 320) for height and width.
    """
    found = predictions(
        network, target, precision, batch, shapes, _zoo, None if image_size is None else px_asked(image_size)
    )
    several = not isinstance(network, str | Path | Architecture) and isinstance(network, Sequence)
    table = isinstance(network, str | Path) and str(network).lower().endswith(".csv")
    return list(found) if several or table else found[0]


@checked
def describe(
    network: File | Architecture,
    *,
    target: File | HardwareProfile | None = None,
    precision: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    image_size: int | tuple[int, int] | str | None = None,
) -> Description:
    """A network layer by layer: kernels as the runtime launches them, parameters, MACs, bytes, and its latency on a target.
    `shapes`, `image_size`: of an ONNX file with free sides, as for `predict`."""
    return description(network, target, precision, shapes, None if image_size is None else px_asked(image_size))


def targets() -> tuple[Target, ...]:
    """The devices that are known, with what their latencies rest on."""
    return all_targets()


@checked
def calibrate(
    measured: File | Sequence[File] | Study | None = None,
    target: str | None = None,
    *,
    board: str | None = None,
    out: File | None = None,
    new: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    token_file: File | None = None,
    ca: File | None = None,
    quiet: bool = False,
    on_event: Listener | None = None,
) -> Calibrated:
    """Fit a target's profile (or that of a `new` device) on measured networks; `out`: a TOML file for it.

    `measured`: CSVs, logs of trtexec, or a study, whose own measurements are taken. In its place a `board` (http://HOST:PORT,
    ssh://HOST, or host-cpu) measures `samples` designed networks now (50), which are kept beside `out`, so that an interrupted
    call goes on; progress goes to stderr, or to `on_event`, or with `quiet` to nobody, as of `edgenas.search`.
    """
    from edgenas.hardware.profile import check_profile_file, write_profile
    from edgenas.remote.boards import refuse_without_board
    from edgenas.remote.calibration import calibration_by_board

    if (measured is None) == (board is None):
        raise EdgenasError("say what was measured: files or a study, or a board to measure on now; one of them")
    if out is not None:
        check_profile_file(Path(out))
    how: dict[str, Any] = {
        "target": target,
        "new": new,
        "runtime": runtime,
        "precision": precision,
        "samples": samples,
        "seed": seed,
    }
    token, trusted = path_or_none(token_file), path_or_none(ca)
    if board is None:
        refuse_without_board(token, trusted)
        found = _of_measured(measured, shapes, how)
    elif out is None:
        raise EdgenasError("a board's measurements are kept beside the profile: name its file with out=")
    else:
        say = noting(listener_for(quiet, on_event))
        found = calibration_by_board(board, Path(out), **how, shapes=shapes, token_file=token, ca=trusted, say=say)
    if out is not None:
        write_profile(found.profile, Path(out))
    return found


def _of_measured(measured: Any, shapes: Mapping[str, tuple[int, ...]] | None, how: dict[str, Any]) -> Calibrated:
    """Of files, or of a study's own measurements."""
    from edgenas.api.study import Study
    from edgenas.hardware.study_rows import calibration_of_study
    from edgenas.store import Store

    if not isinstance(measured, Study):
        return calibration(measured, **how, shapes=shapes, zoo=_zoo)
    if shapes:
        raise EdgenasError("shapes belong to ONNX files: the size of a study's networks is part of their architectures")
    with Store.read(measured.folder) as store:
        return calibration_of_study(store, **how)


def _zoo(name: str, input_px: tuple[int, int] | None) -> Row:
    from edgenas.networks.zoo import row_from_zoo

    return row_from_zoo(name, input_px)
