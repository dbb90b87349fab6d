"""Training and validation images cut anew, for networks that are trained again where validation is small."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgenas.api.search import search
from edgenas.engine.plan import written_plan
from edgenas.records import Embedding, Head, Outputs
from edgenas.store import Store
from edgenas.tasks import Split, Task, TaskSettings, load_task
from edgenas.tasks.arrays import task_from_arrays
from edgenas.training.cuts import cut_anew, other_cut
from edgenas.training.evaluator import Evaluator
from tests.image_folders import fill
from tests.training.conftest import ParameterCost, candidate


def rows(*splits: Split) -> list[bytes]:
    """Every image with its label, sorted."""
    pairs = (pair for split in splits for pair in zip(split.images, split.labels, strict=True))
    return sorted(image.tobytes() + bytes([label]) for image, label in pairs)


def test_another_cut_has_the_same_images_and_sizes_with_the_classes_in_proportion(digits: Task) -> None:
    cut = other_cut(digits, seed=0, number=1)
    assert rows(cut.train, cut.val) == rows(digits.train, digits.val)
    assert abs(len(cut.val) - len(digits.val)) <= 10  # of every class its share, rounded
    whole = np.bincount(np.concatenate([digits.train.labels, digits.val.labels]))
    share = len(digits.val) / sum(whole)
    assert np.abs(np.bincount(cut.val.labels) - share * whole).max() <= 1
    assert cut.test is digits.test


def test_every_number_and_seed_has_a_cut_of_its_own_and_always_the_same(digits: Task) -> None:
    cuts = [rows(other_cut(digits, seed, number).val) for seed, number in ((0, 1), (0, 2), (1, 1))]
    assert cuts[0] == rows(other_cut(digits, 0, 1).val)
    assert rows(digits.val) not in cuts
    assert all(one != other for place, one in enumerate(cuts) for other in cuts[:place])


def test_copies_of_an_image_stay_on_one_side() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    task = task_from_arrays(np.concatenate([images, images]), np.tile(np.arange(40) % 2, 2))
    for number in range(1, 6):
        cut = other_cut(task, 0, number)
        sides = [{image.tobytes() for image in split.images} for split in (cut.train, cut.val)]
        assert not sides[0] & sides[1]


def test_a_candidate_with_a_cut_is_trained_and_judged_on_it(digits: Task) -> None:
    again = msgspec.structs.replace(candidate(), repeat=1)
    elsewhere = msgspec.structs.replace(again, cut=1)
    cost = ParameterCost()(again.architecture)
    same_seed = Evaluator(digits, 7)(again, cost).seed, Evaluator(digits, 7)(elsewhere, cost).seed
    assert same_seed[0] == same_seed[1]
    by_hand = Evaluator(other_cut(digits, 7, 1), 7)(again, cost).scores
    assert Evaluator(digits, 7)(elsewhere, cost).scores == by_hand
    assert Evaluator(digits, 7)(again, cost).scores != by_hand


@pytest.mark.parametrize(("images", "anew"), [(999, True), (1000, False)])
def test_only_small_validation_splits_of_classes_are_cut_anew(digits: Task, images: int, anew: bool) -> None:
    def of(count: int) -> Split:
        return Split(np.zeros((count, 8, 8, 1), np.uint8), np.arange(count) % 10)

    sized = dataclasses.replace(digits, val=of(images))  # type: ignore[type-var]
    assert cut_anew(sized) is anew


@pytest.mark.parametrize("given", [True, False])
def test_validation_images_that_were_given_are_never_mixed_with_the_training_images(
    given: bool, tmp_path: Path
) -> None:
    """They may be of other patients, cameras or days."""
    fill(tmp_path / "train", 40)
    if given:
        fill(tmp_path / "val", 8, first=1000)
    task = load_task(TaskSettings(str(tmp_path), image_size=8))
    assert len(task.val) > 0
    assert cut_anew(task) is not given


@pytest.mark.parametrize("other", [Outputs(1), Embedding(64)])
def test_neither_values_nor_faces_are_cut_anew(digits: Task, other: Head) -> None:
    class Another(type(digits)):  # type: ignore[misc]
        head = other

    fields = {field.name: getattr(digits, field.name) for field in dataclasses.fields(digits)}  # type: ignore[arg-type]
    assert cut_anew(digits)
    assert not cut_anew(Another(**fields))


def test_a_search_on_digits_confirms_on_other_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    how = {"min_depth": 4, "max_depth": 4, "min_width": 4, "max_width": 8, "epoch_scale": 0.2, "search_images": 320}
    study = search("digits", target="jetson", method="gnas", confirm_seeds=1, study="s", workers=0, quiet=True, **how)  # type: ignore[arg-type]
    with Store.read(study.folder) as store:
        assert written_plan(store.study).training.other_cuts
    assert {(t.candidate.repeat, t.candidate.cut) for t in study.trials} <= {(0, 0), (1, 1)}
