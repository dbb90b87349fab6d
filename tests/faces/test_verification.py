import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from edgenas.errors import DataError
from edgenas.faces.verification import (
    Pairs,
    SortedPairs,
    balanced_pairs,
    normalised,
    pair_indices,
    pairs_from_embeddings,
    rank1,
    roc_from_pairs,
    ten_fold_accuracy,
)


def people(count: int, each: int, noise: float, seed: int = 0, dim: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings around one random centre a person."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), each)
    return rng.normal(size=(count, dim))[labels] + noise * rng.normal(size=(count * each, dim)), labels


def by_hand(scores: list[float], genuine: list[int]) -> Pairs:
    """Pairs of person 0 with itself (genuine) or with person 1."""
    return Pairs(np.array(scores), np.zeros(len(scores), int), np.where(genuine, 0, 1))


def test_operating_points_of_six_pairs_are_those_counted_by_hand() -> None:
    roc = roc_from_pairs(by_hand([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [1, 1, 0, 1, 0, 0]))
    # falling threshold: TAR 1/3 2/3 2/3 1 1 1, FAR 0 0 1/3 1/3 2/3 1
    assert roc.tar == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
    assert roc.far == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
    assert roc.auc == pytest.approx(8 / 9)  # one of nine genuine-impostor comparisons is lost
    assert roc.eer == pytest.approx(1 / 3)
    assert roc.at_far(0.1) == (pytest.approx(2 / 3), 0.8)
    assert roc.at_far(0.34) == (1.0, 0.6)


def test_equal_scores_are_one_operating_point() -> None:
    roc = roc_from_pairs(by_hand([0.5, 0.5, 0.5, 0.5], [1, 0, 1, 0]))
    assert roc.auc == pytest.approx(0.5)
    assert roc.at_far(0.5)[0] == 0.0  # accepting any means accepting all
    assert roc.at_far(0.5)[1] > 0.5


def test_auc_and_rates_are_scikit_learns() -> None:
    embeddings, labels = people(30, 4, 1.0)
    pairs = pairs_from_embeddings(embeddings.round(1), labels)
    roc = roc_from_pairs(pairs)
    assert roc.auc == pytest.approx(roc_auc_score(pairs.genuine, pairs.scores), abs=1e-12)
    far, tar, _ = roc_curve(pairs.genuine, pairs.scores, drop_intermediate=False)
    assert roc.at_far(1e-2)[0] == pytest.approx(tar[far <= 1e-2].max())


def test_a_bootstrap_draw_equals_the_roc_of_the_drawn_people() -> None:
    embeddings, labels = people(6, 3, 1.0)
    ordered = SortedPairs(pairs_from_embeddings(embeddings, labels))
    counts = np.array([2, 0, 1, 1, 0, 2])
    drawn = ordered.roc(counts)
    # By definition: people as drawn, copies of one person are never an impostor pair
    unit = normalised(embeddings)
    genuine, impostor = [], []
    chosen = np.repeat(np.arange(6), counts)
    for place, a in enumerate(chosen):
        mates = unit[labels == a]
        genuine += [mates[i] @ mates[j] for i in range(3) for j in range(i)]
        for b in chosen[:place]:
            if a != b:
                impostor += list((mates @ unit[labels == b].T).ravel())
    expected = roc_auc_score([1] * len(genuine) + [0] * len(impostor), genuine + impostor)
    assert drawn is not None
    assert drawn.auc == pytest.approx(expected)


def test_beyond_the_limit_all_genuine_and_a_seeded_sample_of_impostor_pairs_are_scored() -> None:
    embeddings, labels = people(40, 3, 1.0)
    some = pairs_from_embeddings(embeddings, labels, max_impostors=500)
    again = pairs_from_embeddings(embeddings, labels, max_impostors=500)
    assert int(some.genuine.sum()) == 40 * 3
    assert int((~some.genuine).sum()) == 500
    assert np.array_equal(some.scores, again.scores)


def test_rank_one_counts_nearest_mates_among_people_with_two_images() -> None:
    embeddings = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.95, 0.05], [-1, 0]])
    labels = np.array([0, 0, 1, 1, 2])
    # image 0 -> 3 (wrong), 1 -> 3 (wrong), 2 -> 1 (wrong), 3 -> 0 (wrong); person 2 has one image
    assert rank1(embeddings, labels) == 0.0
    assert rank1(*people(20, 4, 0.1)) == 100.0


def test_the_ten_fold_protocol_finds_the_threshold_on_the_other_nine() -> None:
    # Unit vectors: same pairs at squared distance 0.5, different ones at 1.5; the tenth fold is the other way round.
    def at(distance: float) -> list[float]:
        cosine = 1 - distance / 2
        return [cosine, (1 - cosine**2) ** 0.5]

    same = np.tile([True, False], 50)
    first = np.tile([1.0, 0.0], (100, 1))
    second = np.array([at(0.5) if flag else at(1.5) for flag in same])
    assert ten_fold_accuracy(first, second, same) == (100.0, 0.0)
    second[90:] = [at(1.5) if flag else at(0.5) for flag in same[90:]]
    mean, std = ten_fold_accuracy(first, second, same)
    assert mean == pytest.approx(90.0)
    assert std == pytest.approx(30.0)


def test_balanced_pairs_give_every_fold_half_of_each_kind() -> None:
    labels = np.repeat(np.arange(10), 5)
    first, second, same = balanced_pairs(labels)
    assert np.array_equal(labels[first] == labels[second], same)
    assert len(same) == 200  # 10 x 10 genuine pairs and as many impostors
    assert all(fold.sum() == 10 for fold in same.reshape(10, 20))


def test_small_sets_are_paired_in_the_order_of_their_images() -> None:
    first, second = pair_indices(np.array([5, 5, 3]))
    assert (first.tolist(), second.tolist()) == ([0, 0, 1], [1, 2, 2])


def test_the_ten_fold_pairs_of_many_images_are_drawn_without_all_the_others() -> None:
    labels = np.arange(10_000) // 2
    tracemalloc.start()
    first, second, same = balanced_pairs(labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(same) == 10_000
    assert np.array_equal(labels[first] == labels[second], same)
    assert peak < 400e6  # 50 million pairs are 800 MB as indices alone


@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -np.inf, 1e30]
)  # the last one is finite, and its row's length is not
def test_embeddings_without_a_finite_length_are_refused_and_not_compared(value: float) -> None:
    embeddings, labels = people(6, 4, 0.3)
    embeddings[[3, 5], 2] = value
    for judged in (pairs_from_embeddings, rank1):
        with pytest.raises(DataError, match=r"^2 of 24 embeddings are not finite \(they overflow") as caught:
            judged(embeddings, labels)
        assert "\n" not in str(caught.value)
    embeddings[[3, 5], 2] = 1e15
    assert np.isfinite(pairs_from_embeddings(embeddings, labels).scores).all()
    embeddings[3] = 0
    assert not normalised(embeddings)[3].any()


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]])
def test_data_without_genuine_or_impostor_pairs_is_refused(labels: list[int]) -> None:
    with pytest.raises(DataError, match="verification needs two identities"):
        pairs_from_embeddings(np.eye(3), np.array(labels))
