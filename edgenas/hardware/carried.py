"""Prices of a device that was not measured: its datasheet at the efficiencies of a measured relative."""

from __future__ import annotations

from collections.abc import Callable

from edgenas.errors import EdgenasError
from edgenas.hardware.kernel_model import KernelModel
from edgenas.hardware.kernels import COMPUTE, SURCHARGES, TRAFFIC, datasheet_prices
from edgenas.records import HardwareProfile, Precision

CARRIED = (*COMPUTE, *TRAFFIC, *SURCHARGES)
Fitted = Callable[[HardwareProfile, Precision], KernelModel | None]


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
