"""The model of a guided search against the textbook's equations, and what it makes of repeats and of noise that is known."""

import numpy as np
import pytest

from edgenas.methods.guided_model import CONSTANT, Array, Grid, Runs, fitted

ONE = Grid(length=(0.8,), linear=(0.2,), noise=(0.1,), short=(0.2,))
LENGTH, LINEAR, NOISE, SHORT = 0.8, 0.2, 0.1, 0.2


def runs(
    score: list[float],
    network: list[int] | None = None,
    lost: list[float] | None = None,
    floor: float = 0.0,
    cut: list[int] | None = None,
) -> Runs:
    """Networks whose features are drawn; runs of one network share them."""
    names = np.array(network or range(len(score)))
    features = np.random.default_rng(1).normal(size=(names.max() + 1, 3))[names]
    n = len(score)
    cuts = np.array(cut or [0] * n)
    return Runs(features, names, np.array(lost or [0.0] * n), np.array(score), np.full(n, floor), cuts)


def kernel(a: Array, b: Array, lost_a: Array, lost_b: Array) -> Array:
    """One pair after the other, as written down: constant + linear + squared exponential over features and lost epochs."""
    d = a.shape[1]
    value = np.empty((len(a), len(b)))
    for i, j in np.ndindex(value.shape):
        squares = ((a[i] - b[j]) ** 2).sum() + d * (lost_a[i] - lost_b[j]) ** 2
        linear = a[i] @ b[j] / d + lost_a[i] * lost_b[j]
        value[i, j] = CONSTANT + LINEAR * linear + np.exp(-squares / (2 * LENGTH**2 * d))
    return value


def test_what_is_expected_is_the_posterior_of_the_textbook() -> None:
    known = runs([60.0, 71.0, 65.0, 66.5, 80.0], network=[0, 1, 2, 2, 3], lost=[0.0, 1.1, 0.0, 1.1, 0.0])
    new = np.random.default_rng(2).normal(size=(4, 3))
    middle, spread = np.median(known.score), known.score.std()
    y = (known.score - middle) / spread
    same = (known.network[:, None] == known.network[None, :]).astype(float)
    noise = np.diag(NOISE / 2 + SHORT * known.lost)
    covariance = kernel(known.features, known.features, known.lost, known.lost) + NOISE / 2 * same + noise
    inverse = np.linalg.inv(covariance)
    scale = y @ inverse @ y / len(y)
    cross = kernel(new, known.features, np.zeros(4), known.lost)
    prior = np.diag(kernel(new, new, np.zeros(4), np.zeros(4)))
    mean, variance = cross @ inverse @ y, scale * (prior - np.einsum("ij,jk,ik->i", cross, inverse, cross))
    found = fitted(known, ONE).of_new(new)
    assert found.mean == pytest.approx(middle + spread * mean, rel=1e-5)
    assert found.sd == pytest.approx(spread * np.sqrt(variance), rel=1e-5)


def test_every_combination_is_weighed_by_its_evidence() -> None:
    """Of two lengths, by the density of the scores under each at its best scale."""
    known, new = runs([60.0, 71.0, 65.0, 68.0, 80.0, 74.0]), np.random.default_rng(3).normal(size=(3, 3))
    both = Grid(length=(0.3, 1.5), linear=(0.2,), noise=(0.1,))
    single = [fitted(known, both._replace(length=(length,))) for length in both.length]
    y = (known.score - np.median(known.score)) / known.score.std()
    density = []
    for model in single:
        (one,) = model.combinations
        covariance = one.scale * one.lower @ one.lower.T
        _, log_determinant = np.linalg.slogdet(covariance)
        density.append(np.exp(-0.5 * (y @ np.linalg.inv(covariance) @ y + log_determinant)))
    weights = np.array(density) / sum(density)
    means = np.array([model.of_new(new).mean for model in single])
    assert fitted(known, both).of_new(new).mean == pytest.approx(weights @ means, rel=1e-6)


def test_repeats_of_a_network_make_its_expected_score_surer_and_pull_it_to_their_mean() -> None:
    once = fitted(runs([60.0, 62.0, 64.0, 75.0], network=[0, 1, 2, 3]), ONE).of_trained(np.array([3]))
    again = fitted(runs([60.0, 62.0, 64.0, 75.0, 67.0, 66.0], network=[0, 1, 2, 3, 3, 3]), ONE).of_trained(
        np.array([3])
    )
    assert again.sd[0] < once.sd[0]
    assert abs(again.mean[0] - np.mean([75, 67, 66])) < abs(once.mean[0] - np.mean([75, 67, 66]))


@pytest.mark.parametrize(("images", "within"), [(143, True), (1_000_000, False)])
def test_two_scores_on_few_images_are_not_told_apart(images: int, *, within: bool) -> None:
    """86 and 88 percent of 143 images have standard errors of 2.9 and 2.7 points; of a million of .03."""
    scores = [70.0, 75.0, 80.0, 83.0, 86.0, 88.0]
    floor = 100 * 87 * 13 / 100 / images
    grid = Grid(noise=(1e-4,), shared=(0.0,))
    expected = fitted(runs(scores, floor=floor), grid).of_trained(np.array([4, 5]))
    apart = expected.mean[1] - expected.mean[0]
    assert bool(abs(apart) <= np.hypot(*expected.sd)) is within


def test_short_runs_that_do_not_rank_are_found_out() -> None:
    """Full runs follow the first feature exactly; short ones are the same, or noise."""
    features = np.random.default_rng(4).normal(size=(24, 2))
    lost = np.array([0.0] * 12 + [1.1] * 12)
    truth = 70 + 3 * features[:, 0] - 2 * lost
    noise = np.random.default_rng(5).normal(size=24) * 4 * lost
    sure, unsure = (
        fitted(Runs(features, np.arange(24), lost, score, np.zeros(24), np.zeros(24, int))).combinations
        for score in (truth, truth + noise)
    )
    short = [sum(one.weight * (one.lower @ one.lower.T)[-1, -1] for one in model) for model in (sure, unsure)]
    assert short[1] > short[0] + 0.3


def test_equal_scores_on_few_images_are_as_uncertain_as_their_mean() -> None:
    """10 % of 143 images have a standard error of 2.51 points, the mean of three of 1.45."""
    floor = 10 * 90 / 143
    found = fitted(runs([9.79, 9.79, 9.79], floor=floor), Grid(shared=(0.0,))).of_trained(np.array([0, 1]))
    assert found.mean == pytest.approx([9.79, 9.79], abs=1e-3)
    assert found.sd == pytest.approx(np.sqrt(floor / 3), rel=0.05)


@pytest.mark.parametrize(("scatter", "told_apart"), [(0.4, True), (2.8, False)])
def test_networks_judged_on_the_same_images_are_told_apart_where_their_scores_hang_together(
    scatter: float, *, told_apart: bool
) -> None:
    """82 % of 197 images have a standard error of 2.7 points, of which most moves all networks alike: what remains shows in how
    far scores lie from those of similar networks. 40 networks: scores rise by 1.4 points a standard deviation of a feature, or
    are noise."""
    rng = np.random.default_rng(6)
    features = rng.normal(size=(40, 2))
    truth = 1.4 * features[:, 0] * (scatter < 1)
    score = 82 + truth + scatter * rng.normal(size=40)
    floor, cut = np.full(40, 82 * 18 / 197), np.zeros(40, int)
    found = fitted(Runs(features, np.arange(40), np.zeros(40), score, floor, cut))
    expected = found.of_trained(np.arange(40))
    low, high = int(features[:, 0].argmin()), int(features[:, 0].argmax())
    apart = expected.mean[high] - expected.mean[low]
    assert bool(apart > 2 * np.hypot(expected.sd[low], expected.sd[high])) is told_apart
    if told_apart:
        assert np.corrcoef(expected.mean, truth)[0, 1] > 0.95
        assert expected.sd.max() < 1


def test_scores_on_other_images_are_conditioned_as_written_down() -> None:
    """Two runs on cut 1, one on cut 2: all miss the luck of cut 0; those of one cut share its own, too."""
    floor, common = 4.0, 0.7
    known = runs([60.0, 71.0, 65.0, 66.5, 80.0, 78.0], network=[0, 1, 2, 2, 3, 3], floor=floor, cut=[0, 0, 0, 1, 1, 2])
    middle, spread = np.median(known.score), known.score.std()
    y, rest = (known.score - middle) / spread, floor / spread**2
    same = (known.network[:, None] == known.network[None, :]).astype(float)
    moved = (
        common
        * rest
        * np.array(
            [[0, 0, 0, 0, 0, 0], [0] * 6, [0] * 6, [0, 0, 0, 2, 2, 1], [0, 0, 0, 2, 2, 1], [0, 0, 0, 1, 1, 2]], float
        )
    )
    model = fitted(known, Grid(length=(0.8,), linear=(0.2,), noise=(0.1,), shared=(common,)))
    (one,) = model.combinations
    assert one.constant * one.scale == pytest.approx(CONSTANT)
    plain = kernel(known.features, known.features, known.lost, known.lost) - CONSTANT + one.constant + NOISE / 2 * same
    noise = np.full(6, max(NOISE / 2, (1 - common) * rest / one.scale))
    covariance = plain + moved / one.scale + np.diag(noise)
    assert one.lower @ one.lower.T == pytest.approx(covariance, abs=1e-6)
    assert one.alpha == pytest.approx(np.linalg.solve(covariance, y), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("cut", "believed"), [(0, True), (1, False)])
def test_what_other_images_move_is_not_taken_for_a_networks_own_worth(cut: int, *, believed: bool) -> None:
    """Of 12 networks that score alike the four best are trained again, and all come out 6 points higher. On the same images they
    are better networks; on others, whose percentage has a standard error of 2.9 points, these are easier."""
    score = (82 + 0.3 * np.random.default_rng(7).normal(size=12)).tolist()
    score[:4] = [83.0] * 4
    known = runs(score + [89.0] * 4, network=[*range(12), *range(4)], floor=82 * 18 / 177, cut=[0] * 12 + [cut] * 4)
    expected = fitted(known).of_trained(np.arange(12))
    assert bool(expected.mean[:4].mean() - expected.mean[4:].mean() > 0.5) is believed


@pytest.mark.parametrize("scores", [[50.0], [50.0, 50.0, 50.0]])
def test_one_run_and_equal_runs_make_a_model(scores: list[float]) -> None:
    found = fitted(runs(scores)).of_new(np.ones((2, 3)))
    assert found.mean == pytest.approx([50.0, 50.0], abs=1e-6)
    assert (found.sd > 0).all()


def test_the_unit_of_the_score_does_not_matter() -> None:
    one, other = runs([0.60, 0.71, 0.65, 0.8]), runs([-600.0, -710.0, -650.0, -800.0])
    new = np.random.default_rng(2).normal(size=(4, 3))
    a, b = fitted(one).of_new(new), fitted(other).of_new(new)
    assert b.mean == pytest.approx(-1000 * a.mean, rel=1e-6)
    assert b.sd == pytest.approx(1000 * a.sd, rel=1e-6)
