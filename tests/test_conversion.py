"""Studies of edgenas 0.1: what its search wrote down is what this version reads, and a study goes on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from edgenas.architectures.cell_space import CellSpace
from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.multibranch import MultiBranchSpace
from edgenas.architectures.subspace import SupernetRules
from edgenas.cli.main import app
from edgenas.conversion import study_of_today
from edgenas.engine.nse import NsePlan
from edgenas.engine.plan import Plan, plan_of
from edgenas.engine.registry import method_named
from edgenas.hardware.profile import profiles_of
from edgenas.methods.baselines import BaselineRules
from edgenas.methods.gnas import GnasRules
from edgenas.methods.ladder import Training
from edgenas.methods.nal import NalRules
from edgenas.methods.nse_rules import NseRules
from edgenas.methods.settings import SearchSettings
from edgenas.records import ACCURACY, TAR, Classes, Embedding, Limits, Recipe, StudyRecord
from edgenas.store import Store
from edgenas.tasks import TaskSettings
from tests.cli.edgenas import refusal
from tests.old_studies import as_schema, old_study
from tests.plans import plan, studied

PI = ("raspberry-pi-5",)


def today(content: bytes) -> StudyRecord:
    return msgspec.json.decode(study_of_today(content), type=StudyRecord)


def planned(content: bytes) -> Plan:
    study = today(content)
    return plan_of(study, method_named(study.method))


def changed(name: str, **settings: Any) -> bytes:
    """An old record with other settings; None takes one away."""
    values = msgspec.json.decode(old_study(name))
    merged = {**values["settings"], **settings}
    values["settings"] = {key: value for key, value in merged.items() if value is not None}
    return msgspec.json.encode(values)


def in_a_study(folder: Path, schema: Literal[1, 2], content: bytes) -> str:
    Store.create(folder, studied(plan())).close()
    return str(as_schema(folder, schema, content))


# ---------------------------------------------------------------- what every search wrote down


def test_a_search_of_chains_is_read_with_its_settings_space_and_rules() -> None:
    found = planned(old_study("gnas"))
    bounds: dict[str, Any] = {"max_depth": 5, "max_width": 8}
    recipe = Recipe(
        "fast", 10, 32, 0.025, nesterov=True, weight_decay=5e-4, decay_norm_and_bias=False, warmup_epochs=0.5
    )
    recipe = msgspec.structs.replace(recipe, schedule="linear", clip_norm=5.0, crop_padding=1, cutout=2, threads=1)
    assert found == Plan(
        asked=SearchSettings(PI, method="gnas", epoch_scale=0.1, search_images=100, max_params=5000, seed=3, **bounds),
        boards=False,
        preset="tiny",
        device="cpu",
        task=TaskSettings("digits", seed=3, search_images=100),
        training=Training(recipe, "gnas", fixed_epochs=10, epoch_scale=0.1),
        space=ChainSpace(Classes(10), 1, 8, 4, 5, 4, 8, 4, (3, 5)),
        rules=GnasRules(first_epochs=6, micro_epochs=4),
    )
    study = today(old_study("gnas"))
    assert (study.method, study.limits, study.seed, study.metric) == ("gnas", Limits(params=5000), 3, ACCURACY)
    assert study.versions["edgenas"] == "0.1.0"


def test_a_search_of_faces_is_guided_by_tar() -> None:
    study, found = today(old_study("faces")), planned(old_study("faces"))
    assert study.metric == TAR
    assert study.metric.objective == "val_tar"
    assert found.task == TaskSettings("synthetic", "faces", image_size=28, search_images=600, settings={"far": 0.1})
    assert found.space == ChainSpace(Embedding(128), 1, 28, 4, 5, 4, 8, 4, (3, 5))
    assert found.rules == BaselineRules(trials=1, epochs=10)


def test_a_search_by_supernets_is_read_with_its_rules_supernets_and_what_it_began_from() -> None:
    found = planned(old_study("nse"))
    assert found.space == MultiBranchSpace(19, "NNRN", (4, 8), Classes(10), 1, 8, 1, 16)
    rules, old = found.rules, msgspec.json.decode(old_study("nse"))["settings"]
    assert isinstance(rules, NsePlan)
    assert rules.rules == NseRules(rounds=2, networks=8, cheap_networks=2, finals=1, channel_step=4, operations=5)
    recipe = msgspec.convert(old["supernet"]["recipe"], type=Recipe)
    assert (recipe.name, recipe.epochs) == ("supernet", 2)
    assert rules.supernet == SupernetRules(recipe, fitness_lr=0.05, calibration_batches=2)
    assert rules.start is not None
    assert rules.start.kept == ((), (4, 17), (2,), (6, 8))
    assert [survivor.error for survivor in rules.start.survivors] == [pytest.approx(83.3333333)]
    first = planned(changed("nse", start=None)).rules
    assert isinstance(first, NsePlan)
    assert first.start is None


def test_a_search_of_designs_is_read_with_its_cells_and_rules() -> None:
    found = planned(old_study("nal"))
    assert found.space == CellSpace(Classes(10), 1, 8)
    assert found.rules == NalRules("nasbench201", channels=16, cells_per_stage=1, designs=2, epochs=10)


@pytest.mark.parametrize("name", ["gnas", "faces", "nse", "nal"])
def test_profiles_stay_those_that_the_study_held(name: str) -> None:
    (held,) = msgspec.json.decode(old_study(name))["settings"]["profiles"]
    slower = {**held, "bandwidth_gb_s": held["bandwidth_gb_s"] / 2}
    (profile,) = profiles_of(today(changed(name, profiles=[slower])))
    assert (profile.name, profile.bandwidth_gb_s) == ("raspberry-pi-5", held["bandwidth_gb_s"] / 2)
    (shipped,) = profiles_of(today(changed(name, profiles=None)))  # of a study that held none: by name
    assert shipped.bandwidth_gb_s == held["bandwidth_gb_s"]


@pytest.mark.parametrize("boards", [False, True])
def test_whether_boards_measured_is_a_fact_of_the_plan(boards: bool) -> None:
    asked = msgspec.json.decode(old_study("gnas"))["settings"]["asked"]
    assert planned(changed("gnas", asked={**asked, "boards": boards})).boards is boards


def test_what_was_known_of_the_validation_split_and_the_budget_is_kept() -> None:
    budget = {
        "epoch_scale": 0.5,
        "search_images": None,
        "predicted_seconds": 60.0,
        "images_per_second": {"slowest": 9.0},
        "candidates": 10,
    }
    found = planned(changed("gnas", validation={"images": 143, "chance": 10.5}, budget=budget))
    assert found.validation is not None
    assert (found.validation.images, found.validation.chance) == (143, 10.5)
    assert found.budget is not None
    assert found.budget.candidates == 10  # type: ignore[attr-defined]
    assert (planned(old_study("gnas")).validation, planned(old_study("gnas")).budget) == (None, None)


def test_a_record_of_today_stays_as_it_is_and_what_is_no_study_is_left_to_its_reader() -> None:
    now = msgspec.json.encode(studied(plan()))
    for content in (now, b"x", b"", b"5", b"[]", b"{}", b'{"settings": 5, "method": "gnas"}'):
        assert study_of_today(content) == content


# ---------------------------------------------------------------- through the command line


@pytest.mark.parametrize("schema", [1, 2])
def test_a_study_that_is_whole_goes_on(
    schema: Literal[1, 2], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = in_a_study(tmp_path / "old", schema, old_study("gnas"))
    app(["search", "--resume", folder, "--workers", "0", "--json"], standalone_mode=False)
    first = msgspec.json.decode(capsys.readouterr().out)
    assert first["study"] == folder
    assert first["trials"] >= 3
    flags = ("--max-depth", "5", "--max-width", "8", "--epoch-scale", "0.1", "--search-images", "100")
    same = ("search", "--method", "gnas", "--target", *PI, *flags, "--max-params", "5000", "--study", folder)
    app([*same, "--seed", "3", "--json"], standalone_mode=False)  # as it was begun, by the default method of that time
    assert msgspec.json.decode(capsys.readouterr().out) == first
    assert "seed is 3 there, 4 asked" in refusal(*same, "--seed", "4")


@pytest.mark.parametrize("missing", ["asked", "device", "task", "training", "space", "rules"])
def test_a_study_that_is_not_whole_is_looked_at_and_does_not_go_on(
    missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = in_a_study(tmp_path / "old", 2, changed("gnas", **{missing: None}))
    app(["front", folder, "--json"], standalone_mode=False)
    assert msgspec.json.decode(capsys.readouterr().out)["method"] == "gnas"
    assert "does not say how it was searched" in refusal("search", "--resume", folder)


def test_a_plan_that_is_not_its_methods_is_refused_with_the_version_that_reads_it(tmp_path: Path) -> None:
    folder = in_a_study(tmp_path / "old", 2, changed("gnas", rules={"trials": 5, "epochs": 1}))
    line = refusal("search", "--resume", folder)
    assert "is not one of method gnas as it is here" in line
    assert line.endswith("go on with the edgenas 0.1.0 that began it")


@pytest.mark.parametrize("content", [b"x", b"[]", b'{"settings": 5}', b'{"settings": {}}'])
@pytest.mark.parametrize("schema", [1, 2])
def test_what_is_no_study_is_refused_in_one_line(schema: Literal[1, 2], content: bytes, tmp_path: Path) -> None:
    folder = in_a_study(tmp_path / "old", schema, content)
    assert refusal("front", folder).startswith(f"{folder}/study.db")
