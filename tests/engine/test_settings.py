"""What a search is asked for: wrong numbers, settings that nothing heeds, and data that changed are one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from edgenas.architectures.chain import ChainSpace
from edgenas.engine.call import Where
from edgenas.engine.decide import study_record
from edgenas.engine.engine import search as run_search
from edgenas.engine.events import unheard
from edgenas.engine.folders import Asked, default_folder
from edgenas.engine.settings import as_asked, settings_from
from edgenas.engine.trained import trained_from_store
from edgenas.errors import EdgenasError, LimitError, StudyError
from edgenas.hardware.profile import all_profiles, profile_from_file, profiles_folder, profiles_of
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.replay import cost_without_device
from edgenas.methods.settings import SearchSettings
from edgenas.methods.trgnas import TrgnasRules, trgnas
from edgenas.records import Choice, Classes, FinalTraining, HardwareProfile, Limits, Recipe, StudyRecord, Trial
from edgenas.store import Store
from edgenas.tasks import TaskSettings, load_task
from edgenas.tasks.datasets import data_root
from tests.cli.edgenas import refusal
from tests.methods.answers import TRAINING
from tests.plans import plan, studied


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"seed": -1}, "--seed -1 was asked for: it takes a whole number from 0"),
        ({"seed": 2**32}, "--seed 4294967296 was asked for: it takes a whole number up to 4,294,967,295"),
        ({"seed": "x"}, "--seed x was asked for: it takes a whole number"),
        ({"epoch_scale": 0.0}, "--epoch-scale 0.0 was asked for: it takes a number above 0"),
        ({"max_latency_ms": -1.0}, "--max-latency-ms -1.0 was asked for: it takes a number above 0"),
        ({"far": 1.0}, "--far 1.0 was asked for: it takes a number below 1"),
        ({"flip": "perhaps"}, "--flip perhaps was asked for: it takes true or false"),
        ({"max_latency_ms": float("nan")}, "max-latency-ms nan"),
        ({"image_size": -5}, "image size -5: sides of 8 to 2048 px"),
        ({"target": []}, "length >= 1 - at `$.target`"),
        ({"method": "random", "confirm_seeds": 2}, "--confirm-seeds is for --method gnas, trgnas"),
        ({"from_study": "other"}, "--from is for --method nse, nal"),
        (
            {"method": "nse", "max_depth": 5},
            "--max-depth is for --method gnas, trgnas, guided, random, evolution, nsga2, tpe, gp",
        ),
        ({"method": "nal", "policy": "fixed"}, "--policy is for"),
        ({"far": 0.001}, "--far is for --task faces"),
        ({"margin": True}, "--margin judges --max-latency-ms by the upper end"),
    ],
)
def test_what_cannot_be_meant_is_one_line(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(EdgenasError) as caught:
        run_search(settings_from(None, {"data": "/nowhere", **wrong}), Where(), unheard)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_workers_and_ray_exclude_each_other() -> None:
    assert "give one of them" in refusal("search", "--ray", "auto", "--workers", "2")


def test_nse_does_not_judge_faces_by_people_it_knows() -> None:
    assert "use gnas or trgnas" in refusal("search", "--method", "nse", "--task", "faces", "--data", "synthetic")


@pytest.mark.parametrize("search", [gnas, trgnas])
def test_a_limit_between_two_rungs_is_one_line(search: Any) -> None:
    space = ChainSpace(Classes(10), 1, 8, min_depth=4, max_depth=10, min_width=4, max_width=30, width_step=4)
    rules = GnasRules() if search is gnas else TrgnasRules()
    method = search(space, rules, TRAINING, cost_without_device, Limits(params=1168))
    ask = next(method)
    infeasible = Trial(
        ask.needed[0], "infeasible", cost_without_device(ask.needed[0].architecture), 0, error="too large"
    )
    with pytest.raises(LimitError, match="lower --width-step"):
        method.send((infeasible,))


def test_a_study_keeps_the_profiles_that_it_decides_by() -> None:
    profiles = all_profiles()
    settings = SearchSettings(target=tuple(profile.name for profile in profiles))
    study = msgspec.json.decode(msgspec.json.encode(study_record(settings, profiles)), type=StudyRecord)
    assert profiles_of(study) == profiles


def folder_of(settings: SearchSettings, profile: HardwareProfile) -> Path:
    return default_folder(Asked(study_record(settings, (profile,)), as_asked(settings, (profile,)), False))


def test_a_recalibrated_profile_file_is_another_study(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"

    def folder(text: str) -> Path:
        file.write_text(text)
        return folder_of(SearchSettings(target=(str(file),)), profile_from_file(file))

    shipped = (profiles_folder() / "raspberry-pi-5.toml").read_text()
    assert folder(shipped) == folder(shipped)
    assert folder(shipped) != folder(shipped.replace("overhead_us = 8.0", "overhead_us = 9.0"))


def test_a_file_of_images_leaves_the_study_where_studies_are(tmp_path: Path) -> None:
    (tmp_path / "train.rec").touch()
    settings = SearchSettings(data=str(tmp_path / "train.rec"), task="faces")
    assert folder_of(settings, all_profiles()[0]).parent == Path("studies")


def test_a_study_killed_while_it_was_made_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    assert not Store.is_in(tmp_path)
    with Store.create(tmp_path, studied(plan())):
        assert Store.is_in(tmp_path)


def images(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for index in range(10):
            Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(root / label / f"{index}.png")
    return root


def test_an_export_refuses_classes_that_moved(tmp_path: Path) -> None:
    data = images(tmp_path / "pets")
    task = load_task(TaskSettings(str(data)))
    space = ChainSpace(task.head, 1, 16, min_depth=3, max_depth=3, min_width=4, max_width=4)
    method = gnas(space, GnasRules(), TRAINING, cost_without_device)
    candidate = next(method).needed[0]
    trial = Trial(
        candidate, "complete", cost_without_device(candidate.architecture), 0, {"val_accuracy": 50.0}, number=1
    )
    final = FinalTraining(
        1,
        candidate.architecture,
        Recipe("r", 1, 8, 0.1),
        str(data),
        "accuracy",
        task.classes,
        task.preprocessing,
        1,
        (),
        1.0,
    )
    with Store.create(tmp_path / "s", studied(plan(asked=SearchSettings(data=str(data))))) as store:
        store.choose(Choice(trial, {}))
        store.put("final", candidate.key, final)
        (data / "cat").rename(data / "zcat")
        with pytest.raises(StudyError, match="is not what trial 1 was trained on"):
            trained_from_store(store, print, None, "jetson")
        with pytest.raises(StudyError, match="was not trained on mnist"):
            trained_from_store(store, print, None, "jetson", "mnist")


def test_a_flag_goes_before_the_project_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "project.toml"
    file.write_text('target = "jetson-nano"\nseed = 3\nmax-depth = 6\nconfirm_seeds = 2\n')
    flags = {"target": ["raspberry-pi-5"], "seed": 0, "max_depth": None, "data": None}
    settings = settings_from(file, flags)
    assert (settings.target, settings.seed) == (("raspberry-pi-5",), 0)  # 0 was said: it counts
    assert (settings.max_depth, settings.confirm_seeds) == (6, 2)
    assert settings.data == "digits"
    assert settings_from(file, {}).seed == 3


def test_places_of_a_project_file_that_begin_with_a_tilde_are_in_the_users_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    places = 'data = "~/cells"\ndata_dir = "~/datasets"\nrecipe = "~/mine.toml"\nstart = "~/net.onnx"\n'
    lists = 'target = "~/board.toml"\nwarm-start = ["~/studies/one", "two"]\nfrom_study = "~/studies/two"\n'
    (tmp_path / "p.toml").write_text(places + lists)
    found = settings_from(tmp_path / "p.toml", {})
    assert (found.data, found.data_dir) == (f"{tmp_path}/cells", f"{tmp_path}/datasets")
    assert (found.recipe, found.start) == (f"{tmp_path}/mine.toml", f"{tmp_path}/net.onnx")
    assert (found.target, found.from_study) == ((f"{tmp_path}/board.toml",), f"{tmp_path}/studies/two")
    assert found.warm_start == (f"{tmp_path}/studies/one", "two")
    assert settings_from(None, {"data": "a~b", "target": ["jetson"]}).data == "a~b"
    monkeypatch.setenv("EDGENAS_DATA", "~/sets")
    assert data_root(None) == tmp_path / "sets"
