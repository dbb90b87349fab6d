"""A budget is kept on paper: what is chosen fits the minutes by the machine's own speed."""

from __future__ import annotations

import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.errors import EdgenasError
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.ladder import Training
from edgenas.records import Candidate, Classes, Recipe
from edgenas.tasks import Task
from edgenas.training.budget import _fit, fit_budget, rehearse
from tests.training.conftest import ParameterCost


def rehearsed() -> tuple[Candidate, ...]:
    space = ChainSpace(Classes(10), 1, 8, min_depth=4, max_depth=6, min_width=4, max_width=8, width_step=2)
    training = Training(Recipe("test", 1, 32, 0.05))
    return rehearse(gnas(space, GnasRules(first_epochs=4), training, ParameterCost()), ParameterCost(), "val_accuracy")


def test_the_rehearsal_climbs_every_rung_of_a_small_space() -> None:
    phases = [c.phase for c in rehearsed()]
    # depths 4, 5, 6; widths 6, 4; the macro network and its 6 layers; 6 larger kernels
    assert [phases.count(p) for p in ("depth", "width", "ops", "kernels")] == [3, 2, 7, 6]


def test_more_minutes_never_choose_less(digits: Task) -> None:
    candidates, cost = rehearsed(), ParameterCost()
    rich = fit_budget(36_000, candidates, cost, digits, "cpu", workers=2)
    assert (rich.search_images, rich.epoch_scale) == (None, 2.0)
    assert rich.candidates == len(candidates)


def test_half_of_the_epochs_on_as_many_images_as_fit() -> None:
    def predicted(images: int, scale: float) -> float:
        return images * scale / 10

    assert _fit(1000, predicted, 10_000, 500) == (10_000, 1.0)
    assert _fit(500, predicted, 10_000, 500) == (10_000, 0.5)
    images, scale = _fit(100, predicted, 10_000, 500)
    assert scale == 0.5
    assert 1960 <= images <= 2000
    images, scale = _fit(20, predicted, 10_000, 500)
    assert scale == 0.35
    assert 500 <= images <= 571
    with pytest.raises(EdgenasError, match="allow more"):
        _fit(1, predicted, 10_000, 500)
