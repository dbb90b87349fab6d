import msgspec
import numpy as np
import pytest

from edgenas.errors import DataError
from edgenas.faces.baselines import Lda, pixels
from edgenas.faces.images import resized, rgb_from_array
from edgenas.faces.report import INSUFFICIENT, baselines_from_images, report_from_embeddings, threshold_from_embeddings
from edgenas.faces.verification import pairs_from_embeddings, roc_from_pairs
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
