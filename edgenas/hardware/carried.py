"""Prices of a device that was not measured: its datasheet at the efficiencies of a measured relative."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgenas.errors import EdgenasError
from edgenas.hardware.intervals import OTHER_PRECISION
from edgenas.hardware.kernel_model import KernelModel
from edgenas.hardware.kernels import COMPUTE, SURCHARGES, TRAFFIC, datasheet_prices
from edgenas.records import HardwareProfile, Latency, Precision

CARRIED = (*COMPUTE, *TRAFFIC, *SURCHARGES)
Fitted = Callable[[HardwareProfile, Precision], KernelModel | None]
Judge = Callable[[HardwareProfile, Precision], Sequence[Latency]]
Sure = tuple[
    float | None, bool
]  # the interval's factor (None: nothing was ever judged), and whether it is extrapolated


def carried_prices(
    profile: HardwareProfile, precision: Precision, relative: HardwareProfile | None, fitted: Fitted
) -> dict[str, float]:
    """Datasheet prices at the efficiencies that a measured relative (None = there is none) reaches.

    Its fitted prices over its datasheet's, per class, times this device's datasheet: at the same precision, where the relative
    has one fitted, else at the relative's own. Launches belong to the host processor and its driver: they are carried between
    modules of one chip only. Raises EdgenasError without figures.
    """
    if precision not in profile.peaks or profile.bandwidth_gb_s is None:
        raise EdgenasError(
            f"{profile.name} has no peak and bandwidth to predict {precision} from: measure on it, or calibrate the profile"
        )
    prices = datasheet_prices(profile, precision)
    if relative is None:
        return prices
    own = fitted(relative, precision)
    at = relative.precision if own is None else precision
    kernels = fitted(relative, at) if own is None else own
    if kernels is None or at not in relative.peaks:
        return prices
    nominal = datasheet_prices(relative, at)
    names = [name for name in CARRIED if name in kernels.prices]
    carried = {name: prices[name] * kernels.prices[name] / nominal[name] for name in names}
    if profile.soc and profile.soc == relative.soc:
        carried |= {name: kernels.prices[name] for name in ("base", "launch")}
    return prices | carried


def carried_sureness(relative: HardwareProfile, precision: Precision, judge: Judge) -> list[Sure]:
    """How sure the relative's own prices are of each network that `judge` predicts on it: what they carry is no surer.

    At a precision that the relative does not have, as sure as at its own, and doubled as everywhere.
    """
    at = precision if precision in relative.precisions else relative.precision
    wider = 1.0 if at == precision else OTHER_PRECISION
    return [
        (None if one.high is None else wider * one.high / one.ms, one.extrapolated or at != precision)
        for one in judge(relative, at)
    ]
