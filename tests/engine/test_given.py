"""A network that is given, not searched: trained into a study that is read, exported and gone on with as any other."""

from __future__ import annotations

import contextlib
import html
import inspect
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

import edgenas
from edgenas.architectures.own import OwnSpace
from edgenas.architectures.workload import workload_from_architecture
from edgenas.bundle import read_bundle
from edgenas.cli.main import app
from edgenas.cli.train import train as train_command
from edgenas.engine import given
from edgenas.engine.given import is_given
from edgenas.engine.trained import final_of
from edgenas.errors import EdgenasError, StudyError
from edgenas.hardware.profile import profile_from_name, write_profile
from edgenas.records import Classes, FinalTraining
from edgenas.report.answers.onward import next_commands
from edgenas.report.facts import read_facts
from edgenas.store import Store
from edgenas.tasks import TaskSettings, load_task
from tests.cli.edgenas import refusal
from tests.plans import plan, studied
from tests.training.conftest import tiny

NETWORK = msgspec.structs.replace(tiny(6, 3), head=Classes(3))
HOW = ("--data", "digits", "--seeds", "1", "--epochs", "2", "--study", "mine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds net.json, and its training in studies/mine: one seed, two epochs."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "net.json").write_bytes(NETWORK.canonical_json())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = CliRunner().invoke(app, ["train", "net.json", *HOW, "--json"])
    assert said.exception is None, said.exception
    assert "net.json: its input and last layer are made for digits: 1 channels and Classes(count=10)" in said.stderr
    (folder / "printed.json").write_text(said.stdout)
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(folder)
    return folder


def test_its_study_has_the_network_as_its_one_trial_with_the_score_of_its_training(here: Path) -> None:
    printed = json.loads((here / "printed.json").read_text())
    assert (printed["trial"], printed["epochs"], printed["study"]) == (1, 2, "studies/mine")
    with Store.read(here / "studies" / "mine") as store:
        (trial,), choice = store.ledger(), store.choice
        finals = store.all("final", FinalTraining)
    assert choice is not None
    assert choice.trial == trial
    assert trial.candidate.architecture == msgspec.structs.replace(NETWORK, head=Classes(10))
    assert trial.candidate.recipe.epochs == 2
    assert list(finals) == [trial.candidate.key]  # where export, --from-trained and the teachers look
    assert trial.scores["val_accuracy"] == printed["val_accuracy"]
    assert set(trial.cost.latencies) == {"jetson-orin-nano-8gb-super"}


def test_the_same_command_trains_nothing_again_and_another_network_is_refused(here: Path) -> None:
    again = json.loads(CliRunner().invoke(app, ["train", "net.json", *HOW, "--json"]).stdout)
    assert again == json.loads((here / "printed.json").read_text())  # the seconds, too
    (here / "other.json").write_bytes(tiny(8, 3).canonical_json())
    assert refusal("train", "other.json", *HOW) == (
        "studies/mine was made with other settings (the network is another): use those, or another --study NAME"
    )
    assert "precision is 'fp16' there, 'fp32' asked" in refusal("train", "net.json", *HOW, "--target", "jetson-nano")


def test_it_is_exported_and_shown_as_any_other(here: Path) -> None:
    how = ["--out", "bundle", "--precision", "fp32", "--max-drop", "100", "--json"]
    done = CliRunner().invoke(app, ["export", "mine", *how])
    assert done.exception is None, done.exception
    assert (
        read_bundle(here / "bundle").manifest.fingerprint
        == msgspec.structs.replace(NETWORK, head=Classes(10)).fingerprint
    )
    shown = json.loads(CliRunner().invoke(app, ["front", "mine", "--json"]).stdout)
    assert shown["chosen"]["trial"] == 1
    assert len(shown["front"]) == 1


def test_its_report_says_that_it_was_given_and_speaks_of_no_search(here: Path) -> None:
    done = CliRunner().invoke(app, ["report", "mine", "--out", "report.html"])
    assert done.exception is None, done.exception
    words = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", (here / "report.html").read_text())))
    assert re.search(r"A network of [0-9,]+ parameters for \S+, given by the user, trained on digits", words)
    assert "It was given by the user: no search was made" in words
    assert "A search: none was made, this network was given" in words
    for word in ("found by given", "chose by its own rules", "No network of the front is faster", "A longer search"):
        assert word not in words


def test_a_command_that_was_killed_before_the_choice_goes_on_to_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    how = {"study": "stopped", "seeds": 1, "epochs": 1, "quiet": True}
    with monkeypatch.context() as patch:
        patch.setattr(given, "choose_given", killed)
        with pytest.raises(KilledError):
            edgenas.train("net.json", "digits", **how)  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="`edgenas train` that began it goes on with it"):
        edgenas.open_study("stopped").go_on()
    assert [command.line for command in next_commands(read_facts(Path("studies/stopped")))] == [
        "edgenas train net.json --data digits --target jetson --seeds 1 --epochs 1 --study studies/stopped"
    ]
    study = edgenas.train(NETWORK, "digits", **how)  # type: ignore[arg-type]
    with Store.read(study.folder) as store:
        assert store.choice is not None
        assert len(store.all("final-run", dict)) == 1


def stopped_in_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study of net.json as a Ctrl-C leaves it: the network is on record, and nothing is trained."""

    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(given, "final_training", killed)
        with pytest.raises(KilledError):
            edgenas.train("net.json", "digits", study=name, seeds=1, epochs=1, quiet=True)


@pytest.mark.usefixtures("here")
def test_a_training_that_goes_on_by_its_study_ends_with_its_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_in_training("resumed", monkeypatch)
    again = "has no choice yet: run the same `edgenas train` again"
    assert again in refusal("export", "resumed", "--out", "bundle-of-resumed")
    assert again in refusal("describe", "resumed")
    assert "has chosen no network yet: run the same `edgenas train` again" in refusal("bench", "resumed")
    assert "no choice yet: run the same `edgenas train` again" in CliRunner().invoke(app, ["front", "resumed"]).stdout
    done = CliRunner().invoke(app, ["train", "resumed", "--seeds", "1", "--epochs", "1"])
    assert done.exception is None, done.exception
    study = edgenas.open_study("resumed", quiet=True)
    choice = study.choice
    assert choice is not None
    assert choice.trial.candidate.recipe.epochs == 1
    study.train(seeds=1, epochs=2)
    assert study.choice == choice
    (final,) = study.finals  # of other epochs: in the place of the first one
    assert final.recipe.epochs == 2


@pytest.mark.usefixtures("here")
def test_of_several_trainings_of_a_network_that_of_its_own_trial_is_exported() -> None:
    shutil.copytree("studies/mine", "studies/several")
    with Store.write(Path("studies/several")) as store:
        ((key, final),) = store.all("final", FinalTraining).items()
        other = msgspec.structs.replace(final, recipe=msgspec.structs.replace(final.recipe, epochs=9))
        for place in ("0", "~"):  # as studies have them that were trained several times before they had a choice
            store.put("final", place, other)
        assert [*store.all("final", FinalTraining)] == ["0", key, "~"]
        assert final_of(store, None, None) == final_of(store, 1, "digits") == final


@pytest.mark.usefixtures("here")
def test_on_host_cpu_a_given_network_is_measured_as_in_a_search() -> None:
    targets = ["host-cpu", "raspberry-pi-5"]
    study = edgenas.train("net.json", "digits", target=targets, study="measured", seeds=1, epochs=1, quiet=True)
    (trial,) = study.trials
    origins = {name: latency.origin for name, latency in trial.cost.latencies.items()}
    assert origins == {"host-cpu": "measured", "raspberry-pi-5": "predicted"}


def test_a_target_that_nothing_predicts_is_refused_before_there_is_a_study(here: Path) -> None:
    known = profile_from_name("raspberry-pi-5")
    bare = msgspec.structs.replace(known, name="bare", aliases=(), calibration=None, carried_from="", peaks={})
    write_profile(bare, here / "bare.toml")
    line = refusal("train", "net.json", "--data", "digits", "--target", "bare.toml", "--study", "none")
    assert line.startswith("bare has no peak and bandwidth to predict fp32 from")
    assert not (here / "studies" / "none").exists()


@pytest.mark.usefixtures("here")
def test_a_study_without_its_network_is_begun_by_edgenas_train() -> None:
    shutil.copytree("studies/mine", "studies/empty")
    with contextlib.closing(sqlite3.connect("studies/empty/study.db")) as connection, connection:
        connection.execute("DELETE FROM records WHERE kind IN ('given', 'choice')")
    assert refusal("train", "empty") == (
        "studies/empty: its `edgenas train` is not finished: run that command again, or name a --trial"
    )


@pytest.mark.usefixtures("here")
def test_a_teacher_of_a_given_network_is_taken_and_largest_is_of_a_searched_space() -> None:
    study = edgenas.train("net.json", "digits", teacher="mine", study="taught", seeds=1, epochs=1, quiet=True)
    (final,) = study.finals
    assert final.recipe.teacher
    with pytest.raises(EdgenasError, match="--teacher largest is of a searched space, and studies/taught was not"):
        study.train(seeds=1, epochs=1, teacher="largest")


def test_edgenas_train_takes_every_flag_of_the_command_that_is_about_a_given_network() -> None:
    start = {"start", "start_mean", "start_std"}
    of_searched = {"study", "trial", "final_width", "from_trained", *start, "name", "as_json"}  # `name` is --study
    flags = set(inspect.signature(train_command).parameters) - of_searched
    taken = inspect.signature(edgenas.train).parameters
    assert flags <= set(taken)
    of_study = inspect.signature(edgenas.Study.train).parameters
    assert all(taken[name].default == of_study[name].default for name in flags & set(of_study) - {"data"})


@pytest.mark.usefixtures("here")
def test_edgenas_train_passes_on_what_it_is_told_of_a_teacher_and_of_all_images() -> None:
    shutil.copytree("studies/mine", "studies/whole")
    how: dict[str, Any] = {"study": "whole", "seeds": 1, "epochs": 1, "quiet": True}
    (final,) = edgenas.train("net.json", "digits", all_images=True, **how).finals
    assert (final.all_images, final.images["val"]) == (True, 0)
    for told in ({"teacher_mean": 127.5, "teacher_std": 128.0}, {"teacher_views": 5}):
        with pytest.raises(EdgenasError, match="say how a --teacher is asked: name one"):
            edgenas.train("net.json", "digits", **told, **how)
    with pytest.raises(EdgenasError, match="--teacher-mean and --teacher-std belong together"):
        edgenas.train("net.json", "digits", teacher="t.onnx", teacher_mean=127.5, **how)


def test_all_images_are_trained_on_after_the_choice_and_no_validation_score_is_left(here: Path) -> None:
    shutil.copytree(here / "studies" / "mine", here / "studies" / "all")
    done = CliRunner().invoke(app, ["train", "all", "--all-images", "--seeds", "2", "--epochs", "1", "--json"])
    assert done.exception is None, done.exception
    assert "2 seeds, 1,438 training images" in done.stderr  # 1295 and the 143 of validation
    assert done.stderr.count("trained on the validation images, too") == 2
    printed = json.loads(done.stdout)
    assert printed["all_images"]
    assert printed["val_accuracy"] is None
    assert printed["best_epoch"]["epochs"] == [1, 1]
    assert "val_accuracy_interval" not in printed
    with Store.read(here / "studies" / "all") as store:
        (final,) = store.all("final", FinalTraining).values()
    assert final.images == {"train": 1438, "val": 0, "test": 359}
    assert all(run.val == run.best_val == {} and not run.curve and run.best_test == run.test for run in final.runs)
    how = ["--out", "seen", "--precision", "fp32", "--max-drop", "100", "--json"]
    exported = CliRunner().invoke(app, ["export", "all", *how])
    assert exported.exception is None, exported.exception
    assert any(
        note.startswith("trained on the validation images, too") for note in read_bundle(here / "seen").manifest.notes
    )
    line = refusal("compare", "all", "--reference", "torchvision:mobilenet_v3_small")
    assert line.startswith("studies/all: what is trained saw the validation images, too (--all-images)")
    assert refusal("train", "net.json", *HOW[:-1], "new", "--all-images").endswith(
        "which needs the validation images: train it without"
    )
    assert "leave it out, or leave out --from-trained" in refusal(
        "train", "all", "--all-images", "--data", "digits", "--from-trained"
    )


@pytest.mark.parametrize(
    ("name", "answer"),
    [(None, False), ("gnas-cifar10-t", True), ("some.json", True), ("mine", False), ("gnas-cifar10", False)],
)
def test_what_is_a_network_and_what_is_a_study(name: str | None, answer: bool, here: Path) -> None:
    assert is_given(name) is answer


def test_a_network_is_meant_beside_a_study_that_is_called_like_it_where_its_study_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the same command a second time."""
    monkeypatch.chdir(tmp_path)
    Store.create(Path("studies/mobilenet-v2"), studied(plan())).close()
    assert not is_given("mobilenet-v2")
    for study in ("mobilenet-v2", "other"):
        assert is_given("mobilenet-v2", study)
        wanted = given.network_asked("mobilenet-v2", "digits", None, None, study)
        assert wanted is not None
        assert (wanted.network, wanted.study) == ("mobilenet-v2", study)
    assert not is_given("mine", "other")


@pytest.mark.parametrize("groups", [1, 3])
def test_an_own_network_of_colour_images_is_made_for_grey_ones_where_it_can_be(groups: int) -> None:
    space = OwnSpace("mine", {"width": (6,)}, lambda net, choices: net.conv(-1, choices["width"], 3, groups=groups))
    network = space(Classes(4), 3, 16).pick({"width": 6})
    task, said = load_task(TaskSettings("digits")), list[str]()
    wanted = given.NetworkAsked(network, "digits")
    if groups == 1:
        fitted = given._fitted(network, task, wanted, said.append)
        assert workload_from_architecture(fitted).kernels[0].in_channels == 1
        assert "its input and last layer are made for digits: 1 channels and Classes(count=10)" in said[0]
        return
    with pytest.raises(
        EdgenasError, match=r"is made for images of 3 channels, and digits has 1: kernel 0 of the network"
    ):
        given._fitted(network, task, wanted, said.append)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("net.json",), "train net.json: on which --data?"),
        (("gone.json", "--data", "digits"), "gone.json cannot be read"),
        (
            ("net.json", "--data", "digits", "--trial", "1"),
            "--trial is about a network that was searched, and net.json is given",
        ),
        (
            ("net.json", "--data", "digits", "--final-width", "macro"),
            "--final-width is about a network that was searched",
        ),
        (
            ("net.json", "--data", "digits", "--teacher", "largest"),
            "--teacher largest is about a network that was searched",
        ),
        (
            ("mobilenet-v2", "--data", "digits", "--from-trained"),
            "--from-trained is about a network that was searched, and mobilenet-v2 is given: leave it out",
        ),
        (("mine", "--target", "jetson"), "--target is for a network without a search"),
        (("mine", "--study", "other"), "--study is for a network without a search"),
        (("gnas-cifar10", "--data", "digits"), "gnas-cifar10 is no study, no architecture file"),
    ],
)
@pytest.mark.usefixtures("here")
def test_mistakes_are_one_line(arguments: tuple[str, ...], line: str) -> None:
    with pytest.raises(EdgenasError) as caught:
        app(["train", *arguments], standalone_mode=False)
    assert line in str(caught.value)
