"""How well embeddings of unseen people tell same from different: ROC, EER, TAR at FAR, rank-1, the LFW protocol.

Similarity is the cosine. Accuracies, EER and TAR are percent, FAR and AUC fractions. Intervals are 95 % percentile
bootstraps over *identities*: images of one person are not independent, so resampling images or pairs would flatter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgenas.binomial import wilson
from edgenas.errors import DataError
from edgenas.records import Record

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

FARS = (1e-1, 1e-2, 1e-3, 1e-4)
MIN_ERRORS = 30  # a TAR whose threshold rests on fewer expected false accepts is reported with a warning
MAX_IMPOSTORS = 2_000_000


class Pairs(Record, frozen=True):
    """Scored pairs of images: similarity, and the two identities (equal = genuine)."""

    scores: Floats
    first: Ints
    second: Ints

    @property
    def genuine(self) -> NDArray[np.bool_]:
        return np.asarray(self.first == self.second)


class Roc(Record, frozen=True):
    """Operating points at every distinct score, strictest first: accept where the score is >= threshold."""

    thresholds: Floats
    far: Floats
    tar: Floats

    @property
    def auc(self) -> float:
        far, tar = np.concatenate([[0.0], self.far]), np.concatenate([[0.0], self.tar])
        return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2))

    @property
    def eer(self) -> float:
        """Where false accepts equal false rejects, linear between operating points; a fraction."""
        far, frr = np.concatenate([[0.0], self.far]), 1 - np.concatenate([[0.0], self.tar])
        after = int(np.argmax(far >= frr))
        gap_before, gap_after = frr[after - 1] - far[after - 1], far[after] - frr[after]
        return float(far[after - 1] + (far[after] - far[after - 1]) * gap_before / (gap_before + gap_after))

    def at_far(self, far: float) -> tuple[float, float]:
        """(TAR, threshold): the loosest operating point whose FAR does not exceed `far`; (0, above every score) if none."""
        count = int(np.searchsorted(self.far, far, side="right"))
        if count == 0:
            return 0.0, float(np.nextafter(self.thresholds[0], np.inf))
        return float(self.tar[count - 1]), float(self.thresholds[count - 1])


def normalised(embeddings: Floats) -> NDArray[np.float32]:
    """Rows (N, D) scaled to length one; a zero row stays zero. DataError where a length is no finite number: NaN compares with
    nothing, and would come out as some similarity."""
    with np.errstate(over="ignore"):
        values = np.asarray(embeddings, np.float32)
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if broken := int((~np.isfinite(lengths)).sum()):
        raise DataError(
            f"{broken} of {len(values)} embeddings are not finite (they overflow, or the file is damaged): use another model or "
            "precision"
        )
    return np.asarray(values / np.maximum(lengths, 1e-12))


def pairs_from_embeddings(embeddings: Floats, labels: Ints, max_impostors: int = MAX_IMPOSTORS, seed: int = 0) -> Pairs:
    """The pairs of `pair_indices`, scored."""
    labels = np.asarray(labels)
    unit = normalised(embeddings)
    if len(unit) != len(labels):
        raise DataError(f"{len(unit)} embeddings for {len(labels)} labels")
    a, b = pair_indices(labels, seed, max_impostors)
    return Pairs(pair_scores(unit, unit, a, b), labels[a], labels[b])


def pair_indices(labels: Ints, seed: int = 0, most: int = MAX_IMPOSTORS) -> tuple[Ints, Ints]:
    """(first, second): all pairs of images; beyond `most` different-person pairs, a seeded sample of those.

    Raises DataError where there is no pair of one kind.
    """
    labels = np.asarray(labels)
    counts = np.unique(labels, return_counts=True)[1]
    impostors = (len(labels) ** 2 - int((counts.astype(np.int64) ** 2).sum())) // 2
    if impostors == 0 or counts.max(initial=0) < 2:
        raise DataError(
            f"verification needs two identities and one with two images; here are {len(counts)} identities, {len(labels)} images"
        )
    if impostors <= most:
        return np.triu_indices(len(labels), 1)
    return _sampled_pairs(labels, most, np.random.default_rng(seed))


def pair_scores(first: Floats, second: Floats, a: Ints, b: Ints) -> Floats:
    """Cosines of the unit embeddings first[a] and second[b], in blocks that fit a cache."""
    blocks = [slice(start, start + 65536) for start in range(0, len(a), 65536)]
    return np.concatenate([np.einsum("nd,nd->n", first[a[block]], second[b[block]]) for block in blocks])


def _sampled_pairs(labels: Ints, impostors: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Indices of every genuine pair and of `impostors` random different-person pairs (with replacement)."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(labels[order]) != 0])
    groups = np.split(order, starts[1:])
    genuine = [np.stack(np.triu_indices(len(group), 1)) for group in groups]
    a = np.concatenate([group[pair[0]] for group, pair in zip(groups, genuine, strict=True)])
    b = np.concatenate([group[pair[1]] for group, pair in zip(groups, genuine, strict=True)])
    left, right = rng.integers(0, len(labels), (2, 2 * impostors))
    different = np.flatnonzero(labels[left] != labels[right])[:impostors]
    return np.concatenate([a, left[different]]), np.concatenate([b, right[different]])


class SortedPairs:
    """Pairs in order of falling score, so that every bootstrap draw costs two cumulative sums and no sort."""

    def __init__(self, pairs: Pairs) -> None:
        order = np.argsort(-pairs.scores, kind="stable")
        scores = pairs.scores[order]
        self.people, codes = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
        first, second = codes[: len(scores)][order], codes[len(scores) :][order]
        genuine = first == second
        self.genuine, self.impostor = first[genuine], (first[~genuine], second[~genuine])
        self.matched = len(np.unique(self.genuine))  # people with two images or more
        # Ties are one operating point: only the last of a run of equal scores can be a threshold.
        last = np.flatnonzero(np.r_[np.diff(scores) != 0, True])
        self.thresholds = scores[last]
        accepted = np.cumsum(genuine)[last]
        self.accepted, self.falsely = accepted, last + 1 - accepted  # pairs of either kind at each threshold

    def roc(self, counts: Ints | None = None) -> Roc | None:
        """ROC where person i occurs counts[i] times (None: once); pairs between copies of one person are left out.
        None where a draw holds no genuine or no impostor pair."""
        weights = np.ones(len(self.people)) if counts is None else counts.astype(np.float64)
        genuine = np.concatenate([[0.0], np.cumsum(weights[self.genuine])])
        impostor = np.concatenate([[0.0], np.cumsum(weights[self.impostor[0]] * weights[self.impostor[1]])])
        if genuine[-1] == 0 or impostor[-1] == 0:
            return None
        return Roc(self.thresholds, impostor[self.falsely] / impostor[-1], genuine[self.accepted] / genuine[-1])

    def bootstrap(self, draws: int, seed: int) -> list[Roc]:
        """ROCs of `draws` resamplings of the identities."""
        rng = np.random.default_rng(seed)
        people = len(self.people)
        counts = (np.bincount(rng.integers(0, people, people), minlength=people) for _ in range(draws))
        return [roc for roc in map(self.roc, counts) if roc is not None]


def roc_from_pairs(pairs: Pairs) -> Roc:
    """The ROC of the pairs as they are."""
    roc = SortedPairs(pairs).roc()
    if roc is None:
        raise DataError("a ROC needs pairs of the same and of different people")
    return roc


def interval(values: list[float]) -> tuple[float, float]:
    """95 % percentile interval."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def interval_of_share(values: list[float], people: int, whole: float = 100.0) -> tuple[float, float]:
    """95 % percentile interval of shares of `whole` from draws of identities. Where all draws are 0, or all `whole`, they tell
    nothing of what the next person may show: then Wilson's, of so many people."""
    low, high = interval(values)
    if low < high or 0 < low < whole:
        return low, high
    low, high = wilson(100 * low / whole, people)
    return low * whole / 100, high * whole / 100


def rank1(embeddings: Floats, labels: Ints, chunk: int = 1024) -> float | None:
    """Percent of images whose nearest other image is of the same person, among people with two images or more."""
    unit, labels = normalised(embeddings), np.asarray(labels)
    people, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    probes = np.flatnonzero(counts[codes] > 1)
    if len(probes) == 0 or len(people) < 2:
        return None
    hits = 0
    for start in range(0, len(probes), chunk):
        rows = probes[start : start + chunk]
        similarity = unit[rows] @ unit.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        hits += int((labels[similarity.argmax(axis=1)] == labels[rows]).sum())
    return 100.0 * hits / len(probes)


def ten_fold_accuracy(first: Floats, second: Floats, same: NDArray[np.bool_], folds: int = 10) -> tuple[float, float]:
    """(mean, standard deviation) of the accuracy in percent by the LFW protocol.

    Squared L2 distance of unit embeddings, folds in file order, each judged at the threshold (0, .01, .. 4) that is best on
    the other nine (InsightFace, `calculate_roc`).
    """
    same = np.asarray(same, bool)
    if len(same) < folds:
        raise DataError(f"the {folds}-fold protocol needs at least {folds} pairs, here are {len(same)}")
    distance = ((normalised(first) - normalised(second)) ** 2).sum(axis=1)
    thresholds = np.arange(0, 4, 0.01)
    # (pairs, thresholds): is pair p judged right at threshold t
    right = (distance[:, None] < thresholds) == same[:, None]
    accuracies = []
    for fold in np.array_split(np.arange(len(same)), folds):
        others = np.ones(len(same), bool)
        others[fold] = False
        best = int(right[others].mean(axis=0).argmax())
        accuracies.append(100.0 * right[fold, best].mean())
    return float(np.mean(accuracies)), float(np.std(accuracies))


def balanced_pairs(labels: Ints, folds: int = 10, seed: int = 0) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """(first, second, same): LFW-like pairs from identity folders: every genuine pair and as many random impostor pairs (as
    far as `pair_indices` has them), dealt out so that each of the `folds` equal parts holds half of each kind."""
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    a, b = pair_indices(labels, seed)
    genuine = rng.permutation(np.flatnonzero(labels[a] == labels[b]))
    impostor = rng.permutation(np.flatnonzero(labels[a] != labels[b]))
    size = min(len(genuine), len(impostor)) // folds
    if size == 0:
        raise DataError(f"the {folds}-fold protocol needs {folds} genuine pairs, here are {len(genuine)}")
    chosen = np.concatenate(
        [np.r_[genuine[i * size : (i + 1) * size], impostor[i * size : (i + 1) * size]] for i in range(folds)]
    )
    return a[chosen], b[chosen], np.asarray(labels[a[chosen]] == labels[b[chosen]])
