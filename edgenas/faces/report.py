"""The verification report, the threshold that a door needs, and when two networks are no different."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError
from edgenas.faces.baselines import Lda, pixels
from edgenas.faces.verification import (
    FARS,
    MIN_ERRORS,
    Floats,
    Ints,
    Pairs,
    SortedPairs,
    balanced_pairs,
    interval,
    interval_of_share,
    normalised,
    pairs_from_embeddings,
    rank1,
    roc_from_pairs,
    ten_fold_accuracy,
)
from edgenas.ranges import beside
from edgenas.records import Record

INSUFFICIENT = "insufficient data"
BASELINE_FAR = 1e-2


class TarAtFar(Record, frozen=True):
    """TAR in percent with its interval, the cosine threshold, and the false accepts that the threshold rests on."""

    value: float
    interval: tuple[float, float]
    threshold: float
    expected_errors: float
    warning: str = ""


class TenFold(Record, frozen=True):
    """Accuracy of the LFW protocol, percent, over `pairs` pairs."""

    mean: float
    std: float
    pairs: int


class Report(Record, frozen=True):
    """What `edgenas faces eval` prints. AUC is a fraction; EER, TAR, rank-1 and ten-fold accuracy are percent."""

    auc: float
    auc_interval: tuple[float, float]
    eer: float
    eer_interval: tuple[float, float]
    tar_at_far: dict[str, TarAtFar | str]
    rank1: float | None
    ten_fold: TenFold | None
    identities: int
    images: int
    pairs: dict[str, int]
    baselines: dict[str, dict[str, float | str] | None]


class Threshold(Record, frozen=True):
    """Accept where the cosine is >= `value`: meets `far` on the calibration pairs; intervals from identities drawn again."""

    far: float
    value: float
    interval: tuple[float, float]
    tar: float
    tar_interval: tuple[float, float]
    genuine: int
    impostor: int
    identities: int
    data: str = ""
    warning: str = ""


def report_from_embeddings(
    embeddings: Floats, labels: Ints, flipped: Floats | None = None, draws: int = 200, seed: int = 0
) -> Report:
    """Everything but the baselines. `flipped`: embeddings of the mirrored images, added for the ten-fold protocol only."""
    pairs = pairs_from_embeddings(embeddings, labels, seed=seed)
    ordered = SortedPairs(pairs)
    roc = roc_from_pairs(pairs)
    again = ordered.bootstrap(draws, seed)
    impostors = int((~pairs.genuine).sum())
    tar_at_far: dict[str, TarAtFar | str] = {}
    for far in FARS:
        name = f"1e{round(np.log10(far))}"
        if far * impostors < 1:
            tar_at_far[name] = INSUFFICIENT
            continue
        tar, threshold = roc.at_far(far)
        spread = interval_of_share([100 * other.at_far(far)[0] for other in again], ordered.matched)
        tar_at_far[name] = TarAtFar(100 * tar, spread, threshold, far * impostors, few_errors(far, impostors))
    return Report(
        auc=roc.auc,
        auc_interval=interval_of_share([other.auc for other in again], ordered.matched, whole=1.0),
        eer=100 * roc.eer,
        eer_interval=interval_of_share([100 * other.eer for other in again], ordered.matched),
        tar_at_far=tar_at_far,
        rank1=rank1(embeddings, labels),
        ten_fold=_ten_fold(embeddings, flipped, labels, seed),
        identities=len(ordered.people),
        images=len(labels),
        pairs={"genuine": int(pairs.genuine.sum()), "impostor": impostors},
        baselines={},
    )


def report_from_pairs(embeddings: Floats, flipped: Floats, same: NDArray[np.bool_]) -> dict[str, Any]:
    """Of a verification set without names: rows 2i and 2i + 1 are pair i. No identities, so no intervals."""
    values = normalised(normalised(embeddings) + normalised(flipped))
    first, second = values[::2], values[1::2]
    mean, std = ten_fold_accuracy(first, second, same)
    nobody = np.zeros(len(same), np.int64)
    roc = roc_from_pairs(Pairs((first * second).sum(axis=1), nobody, np.where(same, 0, 1)))
    impostors = int((~same).sum())
    tar_at_far: dict[str, Any] = {}
    for far in FARS:
        found = {"value": 100 * roc.at_far(far)[0], "interval": None, "warning": few_errors(far, impostors)}
        tar_at_far[f"1e{round(np.log10(far))}"] = found if far * impostors >= 1 else INSUFFICIENT
    return {
        "auc": roc.auc,
        "auc_interval": None,
        "eer": 100 * roc.eer,
        "tar_at_far": tar_at_far,
        "rank1": None,
        "ten_fold": {"mean": mean, "std": std, "pairs": len(same)},
        "pairs": {"genuine": int(same.sum()), "impostor": impostors},
        "baselines": {},
    }


def few_errors(far: float, impostors: int) -> str:
    """The warning of a figure that rests on too few false accepts, or nothing."""
    expected = far * impostors
    if expected >= MIN_ERRORS:
        return ""
    return f"rests on {beside(expected, MIN_ERRORS, 3)} expected false accepts (fewer than {MIN_ERRORS})"


def _ten_fold(embeddings: Floats, flipped: Floats | None, labels: Ints, seed: int) -> TenFold | None:
    values = normalised(embeddings)
    if flipped is not None:
        values = values + normalised(flipped)  # f(x) + f(flip x)
    try:
        first, second, same = balanced_pairs(labels, seed=seed)
    except DataError:  # too few genuine pairs for ten folds: the rest of the report stands
        return None
    mean, std = ten_fold_accuracy(values[first], values[second], same)
    return TenFold(mean, std, len(same))


def baselines_from_images(
    images: NDArray[np.uint8], labels: Ints, others: tuple[NDArray[np.uint8], Ints] | None = None, seed: int = 0
) -> dict[str, dict[str, float | str] | None]:
    """AUC, and TAR in percent at FAR 1e-2 where there are pairs enough, of raw pixels and of LDA, on the pairs that
    `report_from_embeddings` judges with this seed.

    Images are (N, S, S, C), S a multiple of 28. The LDA is fitted on the images and labels of `others`. Without them each half
    of the identities is judged, on its own pairs, by one fitted on the other half. None where it cannot be fitted.
    """
    features = pixels(images)
    raw = baseline_from_pairs(pairs_from_embeddings(features, labels, seed=seed))
    if others is None:
        return {"pixels": raw, "lda": _cross_fitted(features, labels, seed)}
    try:
        fitted = Lda(pixels(others[0]), others[1])
    except DataError:  # one image of each of them, say: the rest of the report stands
        return {"pixels": raw, "lda": None}
    found = baseline_from_pairs(pairs_from_embeddings(fitted(features), labels, seed=seed))
    return {"pixels": raw, "lda": {**found, "fitted_on": "training identities"}}


def _cross_fitted(features: Floats, labels: Ints, seed: int) -> dict[str, float | str] | None:
    people = np.unique(labels)
    if len(people) < 8:
        return None
    first_half = np.isin(labels, people[::2])
    try:
        scored = [
            pairs_from_embeddings(Lda(features[~half], labels[~half])(features[half]), labels[half], seed=seed)
            for half in (first_half, ~first_half)
        ]
    except DataError:  # a half without two images of one person
        return None
    both = Pairs(
        np.concatenate([pairs.scores for pairs in scored]),
        np.concatenate([pairs.first for pairs in scored]),
        np.concatenate([pairs.second for pairs in scored]),
    )
    return {**baseline_from_pairs(both), "fitted_on": "the other half of these identities"}


def baseline_from_pairs(pairs: Pairs) -> dict[str, float | str]:
    """What stands beside a report: auc, and tar at far."""
    roc = roc_from_pairs(pairs)
    if BASELINE_FAR * int((~pairs.genuine).sum()) < 1:
        return {"auc": roc.auc}
    return {"auc": roc.auc, "tar": 100 * roc.at_far(BASELINE_FAR)[0], "far": BASELINE_FAR}


def threshold_from_embeddings(
    embeddings: Floats, labels: Ints, far: float, data: str = "", draws: int = 500, seed: int = 0
) -> Threshold:
    """The loosest cosine threshold whose FAR on these pairs does not exceed `far`."""
    if not 0 < far < 1:
        raise DataError(f"FAR {far:g} is not between 0 and 1: ask for 1e-2 or 1e-3")
    pairs = pairs_from_embeddings(embeddings, labels, seed=seed)
    impostors = int((~pairs.genuine).sum())
    if far * impostors < 1:
        raise DataError(
            f"FAR {far:g} needs {int(np.ceil(1 / far))} impostor pairs, here are {impostors}: "
            "add people, or ask for a larger FAR"
        )
    ordered = SortedPairs(pairs)
    tar, threshold = roc_from_pairs(pairs).at_far(far)
    again = [roc.at_far(far) for roc in ordered.bootstrap(draws, seed)]
    return Threshold(
        far=far,
        value=threshold,
        interval=interval([value for _, value in again]),
        tar=100 * tar,
        tar_interval=interval_of_share([100 * value for value, _ in again], ordered.matched),
        genuine=int(pairs.genuine.sum()),
        impostor=impostors,
        identities=len(ordered.people),
        data=data,
        warning=few_errors(far, impostors),
    )
