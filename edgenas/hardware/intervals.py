"""How far a prediction can be trusted: an interval that holds nine of ten measurements of such networks.

What a fit did on networks that it never saw says it, separately for every kind of network: whole networks, small ones, chains,
cells and blocks are different populations, and a fit on one says little of another. Outside of what was judged it is wider.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from edgenas.hardware.least_squares import Array
from edgenas.image_sizes import square_side
from edgenas.records import Calibration, HeldOut, Workload

COVERED = 0.9
SMALL_SIDE = (
    128  # pixels, of a rectangle the square's of as many: images below it make networks of launches, not arithmetic
)
BEYOND_RANGE = 2.0  # power of the factor where a network holds more of something than any that was calibrated
OTHER_KIND = 3.0  # least factor for a kind that was never judged: a fit on cells was 4.2 times off on whole networks
UNJUDGED = {
    "": HeldOut(0, 0, OTHER_KIND, 0.0, 0.0, 0.0)
}  # the card of a fit that nothing was held out to judge: no kind was
OTHER_PRECISION = 2.0  # times the factor, where the datasheet alone says how two precisions compare
WIDEST = 1e4  # one or two networks that were far off say no more than this
FEWEST = 19  # networks from which on the share that was covered is counted; below, a normal error is assumed


def kind_of_space(space: str) -> str:
    """The kind that a network is judged as where a predictor of its own space predicts it."""
    return "cell" if space.startswith("nasbench201") else "block"


def kind_of(workload: Workload) -> str:
    """The kind that a network is judged as where its kernels' prices predict it."""
    straight = all(k.inputs == (i - 1,) and k.residual is None for i, k in enumerate(workload.kernels))
    first = workload.kernels[0]
    small = square_side((first.in_height, first.in_width)) < SMALL_SIDE
    if straight and (small or all(max(kernel.stride) == 1 for kernel in workload.kernels)):
        return "chain"
    return "small" if small else "whole"


def factor_of(judged: dict[str, HeldOut], precision: str, kind: str, *, beyond: bool, by_ratio: bool) -> float | None:
    """Nine of ten measurements lie within ms / factor .. ms * factor; None where nothing was ever judged.

    `beyond`: more of something than any calibrated network has; `by_ratio`: the precision was not fitted. Each widens what the
    others leave.
    """
    if not judged:
        return None
    own = judged.get(f"{precision} {kind}")
    if own is None:
        same = [held.factor for name, held in judged.items() if name.endswith(f" {kind}")]
        factor = max(same) if by_ratio and same else max(OTHER_KIND, *(held.factor for held in judged.values()))
    else:
        factor = own.factor
    factor = factor**BEYOND_RANGE if beyond else factor
    return factor * OTHER_PRECISION if by_ratio else factor


def judged_of(card: Calibration) -> dict[str, HeldOut]:
    """What a fit did on each kind of network that it never saw; {} where a calibration of an earlier version does not say."""
    return card.judged if card.judged or card.held_out else UNJUDGED


def is_judged(judged: dict[str, HeldOut], precision: str, kind: str) -> bool:
    """Was this kind of network ever held against measurements at this precision? Profiles of before do not say: True."""
    return not judged or f"{precision} {kind}" in judged


def held_out(predicted: Array, ms: Array, networks: Sequence[Hashable]) -> HeldOut:
    """What was found on networks that the fit never saw; `networks`: which network each row is of."""
    from scipy.stats import kendalltau  # 0.3 s, and a prediction needs none

    error = np.abs(np.log(ms / predicted))
    weights, count = weights_of(networks)
    ranked = count > 1 and np.ptp(ms) > 0 and np.ptp(predicted) > 0
    return HeldOut(
        networks=count,
        rows=len(ms),
        factor=min(WIDEST, float(np.exp(half_width(error, networks)))),
        error=float(np.exp(weights @ error) - 1),
        within_125=share(error <= np.log(1.25), weights),
        within_150=share(error <= np.log(1.5), weights),
        kendall=float(kendalltau(predicted, ms).statistic) if ranked else None,
    )


def share(holds: npt.NDArray[np.bool_], weights: Array) -> float:
    """The weight of the rows of which something holds."""
    return min(1.0, float(weights @ holds))  # a sum of weights may round above 1


def weights_of(networks: Sequence[Hashable]) -> tuple[Array, int]:
    """Shares of the rows, so that every network counts once, and the number of networks."""
    names = list(dict.fromkeys(networks))
    rows = dict.fromkeys(names, 0)
    for name in networks:
        rows[name] += 1
    return np.array([1 / rows[name] / len(names) for name in networks]), len(names)


def half_width(error: Array, networks: Sequence[Hashable]) -> float:
    """The log error that nine of ten new networks stay below.

    With many networks the split-conformal quantile (Vovk et al., 2005: no distribution is assumed); with few, that of a normal
    error of unknown size around the prediction (Student's t).
    """
    weights, count = weights_of(networks)
    if count < FEWEST:
        scale = float(np.sqrt(weights @ error**2) * np.sqrt(1 + 1 / count))
        return float(stdtrit(count, (1 + COVERED) / 2)) * scale
    order = np.argsort(error)
    reached = np.cumsum(weights[order]) * count / (count + 1)
    return float(error[order][min(int(np.searchsorted(reached, COVERED)), len(error) - 1)])
