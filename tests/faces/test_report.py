import tracemalloc

import msgspec
import numpy as np
import pytest

from edgenas.errors import DataError
from edgenas.faces.baselines import Lda, pixels
from edgenas.faces.images import resized, rgb_from_array
from edgenas.faces.report import (
    INSUFFICIENT,
    baselines_from_images,
    few_errors,
    report_from_embeddings,
    report_from_pairs,
    threshold_from_embeddings,
)
from edgenas.faces.verification import interval_of_share, pairs_from_embeddings, roc_from_pairs
from tests.faces.test_verification import people
from tests.shared_data import shared_data


def orl() -> tuple[np.ndarray, np.ndarray]:
    with np.load(shared_data("faces-orl/orl_faces.npz")) as file:
        return np.stack([resized(rgb_from_array(image)) for image in file["x"]]), file["y"].astype(np.int64)


def test_a_report_says_where_its_figures_rest_on_too_little() -> None:
    report = report_from_embeddings(*people(10, 4, 1.0), draws=50)
    assert report.pairs == {"genuine": 60, "impostor": 720}
    assert report.tar_at_far["1e-4"] == INSUFFICIENT
    assert report.tar_at_far["1e-3"] == INSUFFICIENT  # .72 expected errors
    cent = msgspec.to_builtins(report.tar_at_far["1e-2"])
    assert "7.2 expected false accepts" in cent["warning"]
    assert cent["interval"][0] <= cent["value"] <= cent["interval"][1]


def test_more_people_narrow_the_interval() -> None:
    few = report_from_embeddings(*people(15, 4, 1.2), draws=100).auc_interval
    many = report_from_embeddings(*people(150, 4, 1.2), draws=100).auc_interval
    assert many[1] - many[0] < (few[1] - few[0]) / 1.5


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    def tar(report_data: tuple[np.ndarray, np.ndarray]) -> tuple[float, tuple[float, float]]:
        found = msgspec.to_builtins(report_from_embeddings(*report_data, draws=60).tar_at_far["1e-1"])
        return found["value"], tuple(found["interval"])

    truth, _ = tar(people(400, 4, 1.5, seed=99))
    covered = [low <= truth <= high for _, (low, high) in (tar(people(40, 4, 1.5, seed)) for seed in range(20))]
    assert sum(covered) >= 16


def test_perfect_figures_of_a_few_people_are_not_certain() -> None:
    """Wilson's interval of 13 of 13 is 77.2 to 100 %; people with one image have no genuine pair."""
    embeddings, labels = np.eye(16, dtype=np.float32).repeat(2, axis=0)[:-3], np.arange(16).repeat(2)[:-3]
    assert (np.unique(labels, return_counts=True)[1] == 2).sum() == 14
    report = report_from_embeddings(embeddings[:-2], labels[:-2], draws=50)
    found = msgspec.to_builtins(report.tar_at_far["1e-2"])
    assert (report.auc, report.eer, found["value"]) == (1.0, 0.0, 100.0)
    assert found["interval"] == pytest.approx((77.19, 100), abs=0.01)
    assert report.auc_interval == pytest.approx((0.7719, 1), abs=1e-4)
    assert report.eer_interval == pytest.approx((0, 22.81), abs=0.01)
    assert threshold_from_embeddings(embeddings, labels, far=1e-1).tar_interval[0] < 100


@pytest.mark.parametrize(
    ("values", "ends"),
    [([100.0] * 9, (77.19, 100)), ([100.0, 90.0] * 20, (90, 100)), ([50.0] * 9, (50, 50)), ([0.0] * 9, (0, 22.81))],
)
def test_only_an_interval_without_a_width_at_an_end_is_wilsons(values: list[float], ends: tuple[float, float]) -> None:
    assert interval_of_share(values, 13) == pytest.approx(ends, abs=0.01)


def test_the_calibrated_threshold_meets_its_far_on_people_never_seen() -> None:
    threshold = threshold_from_embeddings(*people(100, 5, 1.5, seed=1), far=1e-2, draws=50)
    other = pairs_from_embeddings(*people(200, 5, 1.5, seed=2))
    accepted = (other.scores[~other.genuine] >= threshold.value).mean()
    assert accepted == pytest.approx(1e-2, rel=0.5)
    assert threshold.interval[0] <= threshold.value <= threshold.interval[1]
    assert threshold.warning == ""


def test_a_far_that_the_pairs_cannot_show_is_refused() -> None:
    with pytest.raises(DataError, match="needs 10000 impostor pairs, here are 720"):
        threshold_from_embeddings(*people(10, 4, 1.0), far=1e-4)


@pytest.mark.parametrize(("images", "enough"), [((9, 11), False), ((10, 10), True)])
def test_a_far_of_one_in_a_hundred_needs_a_hundred_impostor_pairs(images: tuple[int, int], enough: bool) -> None:
    """Two people with so many images: 99 and 100 pairs of different ones."""
    labels = np.repeat([0, 1], images)
    embeddings = np.random.default_rng(0).normal(size=(len(labels), 16))
    said = report_from_embeddings(embeddings, labels, draws=2).tar_at_far["1e-2"]
    same = np.arange(20 + images[0] * images[1]) < 20
    pairs = np.random.default_rng(1).normal(size=(2 * len(same), 16))
    of_pairs = report_from_pairs(pairs, pairs, same)
    assert of_pairs["pairs"] == {"genuine": 20, "impostor": images[0] * images[1]}
    assert (said != INSUFFICIENT) is (of_pairs["tar_at_far"]["1e-2"] != INSUFFICIENT) is enough
    if enough:
        assert threshold_from_embeddings(embeddings, labels, far=1e-2, draws=2).impostor == 100
    else:
        with pytest.raises(DataError, match=r"^FAR 0\.01 needs 100 impostor pairs, here are 99: "):
            threshold_from_embeddings(embeddings, labels, far=1e-2)


def test_thirty_expected_false_accepts_are_enough() -> None:
    assert few_errors(1e-2, 3000) == ""
    assert few_errors(1e-2, 2999) == "rests on 29.99 expected false accepts (fewer than 30)"
    assert few_errors(1e-2, 2900) == "rests on 29 expected false accepts (fewer than 30)"


@pytest.mark.parametrize("far", [0, 1, -0.1, 1.1, float("nan")])
def test_a_far_lies_between_0_and_1(far: float) -> None:
    with pytest.raises(DataError, match="is not between 0 and 1"):
        threshold_from_embeddings(*people(10, 4, 1.0), far=far)


def test_lda_on_orl_reaches_what_the_protocol_states() -> None:
    images, labels = orl()
    features = pixels(images)
    aucs = []
    for fold in range(4):  # identity-disjoint: 30 people to fit, 10 to judge
        held_out = labels // 10 == fold
        lda = Lda(features[~held_out], labels[~held_out])
        aucs.append(roc_from_pairs(pairs_from_embeddings(lda(features[held_out]), labels[held_out])).auc)
    assert np.mean(aucs) == pytest.approx(0.967, abs=0.02)


def test_baselines_are_judged_by_people_they_were_not_fitted_on() -> None:
    images, labels = orl()
    found = baselines_from_images(images, labels)
    raw, lda = found["pixels"], found["lda"]
    assert raw is not None
    assert lda is not None
    assert 0.8 < float(raw["auc"]) < float(lda["auc"]) < 0.995
    assert baselines_from_images(images[:30], labels[:30])["lda"] is None  # three people cannot be halved


def test_pixels_of_the_network_are_those_of_the_aligned_face_that_it_would_be_sent() -> None:
    rng = np.random.default_rng(0)
    for side, channels in ((28, 1), (56, 1), (56, 3), (112, 3)):
        images = rng.integers(0, 256, (5, side, side, channels), dtype=np.uint8)
        sent = np.broadcast_to(images.repeat(112 // side, 1).repeat(112 // side, 2), (5, 112, 112, 3))
        assert pixels(images) == pytest.approx(pixels(sent), abs=1e-4)


def test_baselines_of_many_images_are_never_held_at_the_size_of_an_aligned_face() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4000, 56, 56, 1), dtype=np.uint8)
    tracemalloc.start()
    fitted = Lda(pixels(images), np.arange(4000) // 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fitted.projection.shape == (784, 100)
    assert peak < 80e6  # 4,000 faces of 112x112x3 are 150 MB in 8 bits, 600 MB as numbers


def test_an_lda_of_many_blocks_has_the_axes_of_all_images_together(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, labels = np.random.default_rng(0), np.arange(60) // 5
    images = (rng.integers(0, 200, (12, 28, 28, 1))[labels] + rng.integers(0, 56, (60, 28, 28, 1))).astype(np.uint8)
    features = pixels(images)
    whole = Lda(features, labels)(features)
    monkeypatch.setattr("edgenas.faces.baselines.BLOCK", 7)
    assert pixels(images) == pytest.approx(features, abs=1e-5)
    units = [found / np.linalg.norm(found, axis=1, keepdims=True) for found in (whole, Lda(features, labels)(features))]
    assert units[0] @ units[0].T == pytest.approx(units[1] @ units[1].T, abs=1e-6)


def faces_of(people: int, each: int, copies: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Noise of 28 px; with `copies` all images of somebody are one image."""
    images = np.random.default_rng(5).integers(0, 256, (people * each, 28, 28, 1), dtype=np.uint8)
    labels = np.arange(people).repeat(each)
    return (images[labels * each] if copies else images), labels


@pytest.mark.parametrize(
    ("people", "each", "copies", "reason"),
    [
        (1, 5, False, "needs two people and more images than people, not 1 and 5"),
        (12, 1, False, "needs two people and more images than people, not 12 and 12"),
        (4, 3, True, "needs images of one person that differ"),
    ],
)
def test_people_that_no_lda_can_be_fitted_on_leave_the_other_baseline(
    people: int, each: int, copies: bool, reason: str
) -> None:
    others = faces_of(people, each, copies)
    with pytest.raises(DataError, match=reason):
        Lda(pixels(others[0]), others[1])
    found = baselines_from_images(*faces_of(6, 5), others)
    assert found["lda"] is None
    assert found["pixels"] is not None
    assert baselines_from_images(*faces_of(6, 5), faces_of(2, 2))["lda"] is not None


def test_baselines_are_judged_on_the_pairs_that_the_seed_draws_for_the_recogniser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the limit: pixels as embeddings are then judged exactly as the baseline is, and other seeds give other pairs."""
    monkeypatch.setattr(pairs_from_embeddings, "__defaults__", (100, 0))
    images, labels = faces_of(10, 4)
    aucs = []
    for seed in (0, 1):
        own = report_from_embeddings(pixels(images), labels, draws=2, seed=seed)
        found = baselines_from_images(images, labels, faces_of(2, 2), seed)
        assert found["pixels"] is not None
        assert found["pixels"]["auc"] == own.auc
        aucs.append((own.auc, found["lda"]["auc"], baselines_from_images(images, labels, seed=seed)["lda"]["auc"]))
    assert all(first != second for first, second in zip(*aucs, strict=True))


def test_no_threshold_and_no_report_is_made_of_embeddings_that_are_not_numbers() -> None:
    embeddings, labels = people(20, 6, 0.5)
    embeddings[7] = np.nan
    with pytest.raises(DataError, match="1 of 120 embeddings are not finite"):
        threshold_from_embeddings(embeddings, labels, far=1e-1)
    with pytest.raises(DataError, match="1 of 120 embeddings are not finite"):
        report_from_embeddings(embeddings, labels)
    with pytest.raises(DataError, match="1 of 112 embeddings are not finite"):
        report_from_embeddings(embeddings[8:], labels[8:], flipped=embeddings[:112], draws=2)
    with pytest.raises(DataError, match="1 of 120 embeddings are not finite"):
        report_from_pairs(embeddings, embeddings, np.arange(60) % 2 == 0)
