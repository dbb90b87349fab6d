"""`--warm-start` from studies of other versions, whose spaces say more or less than ours: taken or refused, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.engine.warm import _learned
from edgenas.errors import EdgenasError
from edgenas.records import Candidate, Classes, Cost, Recipe, Trial
from edgenas.store import Store
from tests.cli.edgenas import SMALL, refusal
from tests.plans import plan, studied

SPACE = ChainSpace(  # of SMALL, where nothing says a preset
    Classes(10), 1, 8, min_depth=4, max_depth=6, min_width=8, max_width=12, width_step=2, kernels=(3, 5)
)
Change = Callable[[dict[str, Any]], Any]


def older(folder: Path, change: Change) -> Path:
    """A study without trials, whose plan's space was changed."""
    study = studied(plan(space=SPACE))
    values = msgspec.json.decode(study.plan)
    change(values["space"]["fields"])
    with Store.create(folder, msgspec.structs.replace(study, plan=msgspec.Raw(msgspec.json.encode(values)))):
        return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda fields: fields.pop("stem"), "it has 0 trained networks"),  # follows from the data
        (lambda fields: fields.pop("width_step"), "it has 0 trained networks"),  # 2 is what it meant before it was said
        (lambda fields: fields.pop("max_depth"), "another space (max_depth not known there, 6 here)"),
        (lambda fields: fields.update(later=3), "another space (later 3 there, not known here)"),
        (lambda fields: fields.update(max_width=16), "another space (max_width 16 there, 12 here)"),
    ],
)
def test_a_space_that_says_more_or_less_than_ours_is_one_line(change: Change, words: str, tmp_path: Path) -> None:
    one = older(tmp_path / "one", change)
    asked = [*SMALL, "--data", "digits", "--method", "guided", "--study", str(tmp_path / "two")]
    assert words in refusal(*asked, "--warm-start", str(one))


@pytest.mark.parametrize(("networks", "taught"), [(3, False), (4, True)])
def test_four_trained_networks_teach_and_three_trained_often_do_not(networks: int, taught: bool) -> None:
    members = [SPACE.chain(4 + n % 2, 8 + 2 * (n // 2)) for n in range(networks)]
    trials = [
        Trial(
            Candidate(one, Recipe("r", epochs, 32, 0.1), "p"),
            "complete",
            Cost(1, 1, 1, 1.0, 1.0),
            0,
            {"val_accuracy": 50.0},
        )
        for one in members
        for epochs in (1, 2)
    ]
    study = studied(plan(space=SPACE))
    if taught:
        assert len(_learned("one", study, trials, SPACE).scores) == 2 * networks
    else:
        with pytest.raises(EdgenasError, match=r"it has 3 trained networks: give a study with 4 or more$"):
            _learned("one", study, trials, SPACE)
