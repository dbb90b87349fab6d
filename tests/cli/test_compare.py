"""`edgenas compare` on a small finished study: references trained beside the winner, kept, and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
import torch
from typer.testing import CliRunner

import edgenas
from edgenas.cli.main import app
from edgenas.engine.references import FINAL, KIND, Reference
from edgenas.errors import EdgenasError
from edgenas.export.onnx import describe, onnx_from_network
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.settings import SearchSettings
from edgenas.networks.weights import load_weights
from edgenas.records import Candidate, Choice, FinalTraining, Limits, Recipe, Trial
from edgenas.store import Store
from edgenas.training.loop import scores_of
from tests.cli.edgenas import edgenas as edgenas_command
from tests.cli.edgenas import edgenas_json, killed
from tests.plans import plan, studied
from tests.trained_digits import trained_digits
from tests.trained_study import trained_study

RECIPE = Recipe("final", 2, 64, 0.05)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Of a search on digits whose chosen network was trained: about 97 %."""
    return searched(tmp_path / "study")


def searched(folder: Path, limits: Limits | None = None) -> Path:
    trained_study(folder)
    with Store.read(folder) as store:
        (final,) = store.all("final", FinalTraining).values()
    (folder / "study.db").unlink()
    _, architecture, task = trained_digits()
    profile = profile_from_name("raspberry-pi-5")
    limits = limits or Limits()
    cost = CostModel((profile,), None, limits)(architecture)
    trial = Trial(Candidate(architecture, RECIPE, "depth"), "complete", cost, 0, {"val_accuracy": 97.0}, number=None)
    network = load_weights(architecture, folder / final.runs[0].weights)
    scores = scores_of(network, task, task.test, torch.device("cpu"), 1)
    run = msgspec.structs.replace(final.runs[0], test=scores, seconds=2.0)
    asked = SearchSettings(target=("raspberry-pi-5",))
    record = studied(plan(asked=asked), profiles=(profile.name,), hardware=(profile,), limits=limits)
    with Store.create(folder, record) as store:
        store.add(trial)
        numbered = store.number(trial.candidate.key)
        store.choose(Choice(numbered, {}))
        changed = msgspec.structs.replace(final, recipe=RECIPE, runs=(run,), params=cost.params)
        store.put("final", trial.candidate.key, changed)
    return folder


def compare(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["compare", *arguments, "--json"])
    if result.exception is not None:
        raise result.exception
    decoded: dict[str, Any] = msgspec.json.decode(result.stdout)
    return decoded


def digits_file(folder: Path) -> Path:
    """An EdgeNAS export of a trained network: a public network with weights, for these tests."""
    network, architecture, task = trained_digits()
    model = onnx_from_network(network, architecture, opset=13, ir=7)
    describe(model, {"preprocessing": task.preprocessing.canonical_json().decode()})
    onnx.save(model, folder / "public.onnx")
    return folder / "public.onnx"


def test_a_reference_goes_on_from_its_weights_is_costed_on_the_target_and_stays_in_the_study(
    study: Path, tmp_path: Path
) -> None:
    path = digits_file(tmp_path)
    found = compare(str(study), "--reference", str(path), "--epochs", "1")
    (winner,), (reference,) = found["winners"], found["references"]
    assert (winner["name"], winner["trial"]) == ("trial 1", 1)
    assert reference["name"] == str(path)
    assert reference["origin"] == "from public.onnx"
    assert reference["mean"] > 90  # one epoch from scratch gives far less (next test)
    assert reference["interval"][0] < reference["mean"] < reference["interval"][1]
    ours, theirs = (one["cost"]["latencies"]["raspberry-pi-5"] for one in (winner, reference))
    # the file is the winner's own network, its batch norms folded: as fast, as accurate, on the same images
    assert theirs["ms"] == pytest.approx(ours["ms"], rel=0.02)
    assert theirs["low"] < theirs["ms"] < theirs["high"]
    assert found["verdict"] == "noise"
    assert found["sentence"].startswith("It was not shown that searching paid: trial 1 and")
    with Store.read(study) as store:
        kept = store.all(KIND, Reference)[str(path)]
        trained = store.all(FINAL, FinalTraining)[str(path)]
    assert kept.source_sha256
    assert (study / kept.weights).is_file()
    again = load_weights(trained.architecture, study / trained.runs[0].weights, trained.runs[0].weights_sha256)
    _, _, task = trained_digits()
    scores = scores_of(again, task, task.test, torch.device("cpu"), 1)
    assert scores["accuracy"] == reference["each"][0]

    path.unlink()  # all that is needed is in the study
    assert compare(str(study), "--epochs", "1") == found
    assert compare(str(study)) == found  # whoever only looks trains nothing anew, for the winner's seconds or otherwise


def test_a_reference_is_trained_anew_beside_another_winner(study: Path, tmp_path: Path) -> None:
    path = digits_file(tmp_path)
    one = compare(str(study), "--reference", str(path), "--epochs", "1")["references"][0]
    with Store.write(study) as store:
        ((key, final),) = store.all("final", FinalTraining).items()
        other = msgspec.structs.replace(final.runs[0], weights_sha256="0" * 64, seconds=0.01)
        store.put("final", key, msgspec.structs.replace(final, runs=(other, other)))
    again = compare(str(study))["references"][0]
    assert (len(one["each"]), len(again["each"])) == (1, 2)  # as many as the other winner's


def test_from_scratch_the_same_seconds_are_epochs_and_more_references_stand_side_by_side(study: Path) -> None:
    name = "torchvision:shufflenet_v2_x0_5"
    found = compare(str(study), "--reference", name)
    (reference,) = found["references"]
    assert reference["origin"] == "from scratch"
    assert reference["epochs"] >= 1
    assert len(reference["each"]) == 1  # as many seeds as the winner's
    assert found["references"][0]["cost"]["params"] == 351_610  # for 10 classes and grey
    with Store.read(study) as store:
        assert store.all("reference-epochs", int).values()
    assert compare(str(study)) == found  # the epochs too are remembered
    result = CliRunner().invoke(app, ["compare", str(study)])
    assert name in result.stdout
    assert found["sentence"] in result.stdout


@pytest.mark.slow  # three whole commands
def test_a_kill_in_the_middle_goes_on_and_gives_the_same(tmp_path: Path) -> None:
    path = digits_file(tmp_path)
    whole, cut = searched(tmp_path / "whole"), searched(tmp_path / "cut")
    arguments = ("--reference", str(path), "--seeds", "2", "--epochs", "1", "--workers", "1")
    wanted = edgenas_json("compare", str(whole), *arguments, folder=tmp_path)

    def one_run_is_there(_: float) -> bool:
        with Store.read(cut) as store:
            return bool(store.all("final-run", msgspec.Raw))

    assert killed(tmp_path, one_run_is_there, "compare", str(cut), *arguments)
    with Store.read(cut) as store:
        first = store.all("final-run", msgspec.Raw)
    assert len(first) == 1
    found = edgenas_json("compare", str(cut), *arguments, folder=tmp_path)
    assert found["references"][0]["each"] == wanted["references"][0]["each"]
    with Store.read(cut) as store:
        assert store.all("final-run", msgspec.Raw).items() >= first.items()


def test_a_reference_that_breaks_the_studys_limit_is_said_to(tmp_path: Path) -> None:
    study = searched(tmp_path / "study", Limits(params=50_000))
    found = compare(str(study), "--reference", "torchvision:shufflenet_v2_x0_5", "--epochs", "1")
    assert found["references"][0]["breaks"] == ["351610 parameters > 50000"]
    assert "breaks the limit" in found["sentence"]


def test_the_api_gives_records(study: Path, tmp_path: Path) -> None:
    opened = edgenas.open_study(study, quiet=True)
    found = opened.compare(str(digits_file(tmp_path)), epochs=1)
    assert found.verdict in ("noise", "paid", "not", "trade")
    assert found.references[0].mean > 90
    assert found.winners[0].trial == 1


def test_mistakes_are_one_line(study: Path, tmp_path: Path) -> None:
    path = digits_file(tmp_path)
    cases = [
        ((), "has no reference: name one, such as `edgenas compare"),
        (("--reference", "resnet18"), "possible are torchvision:NAME"),
        (("--weights", "a.pth"), "--weights belongs to one --reference"),
        (("--reference", "torchvision:resnet18=a.pth", "--weights", "b.pth"), "--weights belongs to one"),
        (("--reference", "torchvision:resnet18", "--weights", str(tmp_path / "no.pth")), "cannot be read"),
    ]
    for arguments, complaint in cases:
        with pytest.raises(EdgenasError, match=complaint) as caught:
            compare(str(study), *arguments)
        assert "\n" not in str(caught.value)
    with Store.read(study) as store:
        assert not store.all(KIND, Reference)  # nothing that failed is left

    compare(str(study), "--reference", str(path), "--epochs", "1")
    model = onnx.load(path)
    model.doc_string = "another file"
    onnx.save(model, path)
    with pytest.raises(EdgenasError, match=r"is not the file that .* has as a reference"):
        compare(str(study), "--reference", str(path), "--epochs", "1")
    (study / "study.db").unlink()
    with Store.create(study, studied(plan())):
        pass
    with pytest.raises(EdgenasError, match="no network is trained in full yet: run `edgenas train"):
        compare(str(study), "--reference", str(path))


@pytest.mark.slow
def test_a_search_notes_its_references_before_it_trains_and_a_finished_one_takes_more(tmp_path: Path) -> None:
    path = digits_file(tmp_path)
    bounds = ("--max-depth", "4", "--max-width", "6", "--epoch-scale", ".1", "--search-images", "320", "--workers", "1")
    asked = ("search", "--target", "raspberry-pi-5", "--method", "random", *bounds, "--study", "noted")
    mistake = edgenas_command(*asked, "--reference", "torchvision:resnet81", folder=tmp_path)
    assert mistake.returncode == 1
    assert "did you mean torchvision:resnet18" in mistake.stderr
    with Store.read(tmp_path / "studies" / "noted") as store:
        assert not store.trials()  # said before anything was trained

    done = edgenas_command(*asked, "--reference", str(path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    again = edgenas_command(*asked, "--reference", "torchvision:shufflenet_v2_x0_5", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    with Store.read(tmp_path / "studies" / "noted") as store:
        assert set(store.all(KIND, Reference)) == {str(path), "torchvision:shufflenet_v2_x0_5"}
