"""A study goes on where its data set lies elsewhere: every command that reads it takes --data-dir, and the study remembers it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest

import edgenas
from edgenas.bundle import read_bundle
from edgenas.engine.data import place_known, searched_task
from edgenas.errors import StudyError
from edgenas.records import FinalTraining
from edgenas.report.facts import read_facts
from edgenas.store import Store
from tests.cli.edgenas import edgenas_json, refusal
from tests.engine.test_sessions import MNIST, write_mnist

EXPORT = ("--precision", "fp32", "--max-drop", "100")
OTHERS = "began with other images or labels in mnist"


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the trained study studies/trained, whose data were in `here`, and are in `there` now, and another set with them; and
    its bundle, exported from there."""
    folder = tmp_path_factory.mktemp("moved")
    write_mnist(folder / "here")
    write_mnist(folder / "other", seed=2)
    (folder / "other/MNIST").rename(folder / "here/KMNIST")
    (folder / "project.toml").write_text(MNIST)
    here = ("--data-dir", str(folder / "here"))
    edgenas_json("search", "project.toml", "--workers", "0", "--study", "trained", *here, folder=folder)
    once = ("train", "trained", "--seeds", "1", "--epochs", "1", "--workers", "1")
    edgenas_json(*once, *here, folder=folder)
    edgenas_json(*once, "--from-trained", "--data", "kmnist", *here, folder=folder)
    (folder / "here").rename(folder / "there")
    write_mnist(folder / "here", seed=1)
    asked = ("export", "trained", "--data", "mnist", "--out", "bundle", *EXPORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert OTHERS in refusal(*asked)
    assert list(edgenas_json(*asked, "--data-dir", "there", folder=folder)["files"]) == ["fp32"]
    return folder


@pytest.fixture
def study(moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which knows nothing of the move."""
    monkeypatch.chdir(moved)
    return Path(shutil.copytree(moved / "studies/trained", tmp_path / "copy"))


def finals(study: Path) -> dict[str, FinalTraining]:
    """By the data that they are of."""
    with Store.read(study) as store:
        return {final.data: final for final in store.all("final", FinalTraining).values()}


def test_an_export_reads_what_is_named_and_writes_nothing_into_the_study(study: Path, tmp_path: Path) -> None:
    assert OTHERS in refusal("export", str(study), "--data", "mnist", "--out", str(tmp_path / "bundle"), *EXPORT)


def test_after_a_training_that_found_its_data_there_the_study_knows_where_they_are(study: Path, tmp_path: Path) -> None:
    before = finals(study)
    once = ("train", str(study), "--seeds", "1", "--epochs", "1")
    assert OTHERS in refusal(*once)
    edgenas_json(*once, "--data-dir", "there", folder=Path.cwd())
    assert finals(study)["mnist"].runs == before["mnist"].runs  # nothing was trained
    found = edgenas_json(
        "export", str(study), "--data", "mnist", "--out", str(tmp_path / "bundle"), *EXPORT, folder=Path.cwd()
    )
    assert list(found["files"]) == ["fp32"]
    assert read_facts(study).data_dir == str(Path("there").resolve())  # for the commands that it suggests
    images, _ = edgenas.open_study(study, quiet=True).training_images()
    assert len(images) == 180
    with pytest.raises(StudyError, match=OTHERS):  # what is named goes before what is remembered
        edgenas.open_study(study, quiet=True).training_images(data_dir="here")


def test_a_comparison_reads_what_is_named_and_the_study_knows_where_its_data_are(
    study: Path, tmp_path: Path, moved: Path
) -> None:
    opened = edgenas.open_study(study, quiet=True)
    with pytest.raises(StudyError, match=OTHERS):
        opened.test_images()
    assert len(opened.test_images(data_dir="there")[0]) == 50
    bundle = read_bundle(moved / "bundle")
    asked = ("compare", str(study), "--reference", str(bundle.path("fp32")), "--epochs", "1")
    assert OTHERS in refusal(*asked)
    edgenas_json(*asked, "--data-dir", "there", folder=Path.cwd())
    assert len(opened.test_images()[0]) == 50
    again = opened.export(tmp_path / "again", data="mnist", max_drop=100)  # not where it was trained
    assert again.manifest.fingerprint == bundle.manifest.fingerprint


def test_a_study_from_before_places_were_noted_is_exported_from_where_it_was_trained(
    study: Path, tmp_path: Path
) -> None:
    with Store.write(study) as store:
        ((key, final),) = ((k, one) for k, one in store.all("final", FinalTraining).items() if one.data == "mnist")
        store.put("final", key, msgspec.structs.replace(final, data_dir="there"))
    with contextlib.closing(sqlite3.connect(study / "study.db")) as connection, connection:
        connection.execute("DELETE FROM records WHERE kind = 'data' AND key = 'data_dir'")
    found = edgenas.open_study(study, quiet=True).export(tmp_path / "bundle", data="mnist", max_drop=100)
    assert found.manifest.fingerprint == final.architecture.fingerprint


def test_other_data_of_a_training_are_looked_for_where_they_were_found_last(study: Path, moved: Path) -> None:
    assert finals(study)["kmnist"].data_dir == str(moved / "here")
    again = ("train", str(study), "--seeds", "1", "--epochs", "1", "--from-trained", "--data", "kmnist")
    there = edgenas_json(*again, "--data-dir", str(moved / "there"), folder=Path.cwd())
    assert there["data"] == "kmnist"
    assert finals(study)["kmnist"].data_dir == str(moved / "there")
    with pytest.raises(StudyError, match=OTHERS):  # this says nothing of the study's own
        edgenas.open_study(study, quiet=True).test_images()


def test_a_place_is_remembered_as_the_folder_that_it_is_for_commands_from_anywhere(
    study: Path, moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(moved))
    with Store.write(study) as store:
        for named in ("~/there", "there"):
            searched_task(store, print, named)
            assert place_known(store) == str(moved / "there")
        searched_task(store, print, "")  # of a variable of the shell that is not set: no place
        assert place_known(store) == str(moved / "there")
    again = ("train", str(study), "--seeds", "1", "--epochs", "1", "--from-trained", "--data", "kmnist")
    for named in ("~/there", "there"):
        edgenas_json(*again, "--data-dir", named, folder=Path.cwd())
        assert finals(study)["kmnist"].data_dir == str(moved / "there")
    monkeypatch.chdir(tmp_path)
    assert edgenas.open_study(study, quiet=True).export(tmp_path / "bundle", data="kmnist", max_drop=100)
