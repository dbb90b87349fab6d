"""`edgenas export`, from a study to a bundle, through the command line."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from click.testing import Result
from torch import nn
from typer.testing import CliRunner

from edgenas.binomial import wilson
from edgenas.bundle import read_bundle
from edgenas.cli import output
from edgenas.cli.export import over_limit, over_words
from edgenas.cli.main import app
from edgenas.engine.trained import trained_from_store
from edgenas.errors import EdgenasError, ParityError
from edgenas.export.choice import predicted_latencies
from edgenas.hardware.profile import profile_from_name
from edgenas.networks.weights import load_weights, save_weights
from edgenas.records import FinalTraining, Latency, Limits
from edgenas.store import Store
from tests.digits_bundle import digits_bundle
from tests.trained_digits import digits_folder, trained_digits
from tests.trained_study import WEIGHTS, trained_study


def run(study: Path, out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", str(study), "--out", str(out), *arguments])


def document(result: Result) -> dict[str, Any]:
    return dict(msgspec.json.decode(result.stdout))


def refused(result: Result, kind: type[EdgenasError], *words: str) -> str:
    """The one line of a refusal."""
    assert isinstance(result.exception, kind), result.exception
    message = str(result.exception)
    assert "\n" not in message
    assert all(word in message for word in words), message
    return message


def hard_for_int8(network: nn.Module) -> None:
    """The same function with one channel a thousand times as large: a scale per tensor leaves nothing to the others."""
    norm, after = network.kernels[3].norm, network.kernels[4].conv  # type: ignore[index, union-attr]
    norm.weight[0] *= 1000
    norm.bias[0] *= 1000
    after.weight[0] /= 1000


def hopeless(network: nn.Module) -> None:
    """Finite weights of which the products are not."""
    network.kernels[3].norm.weight *= 1e38  # type: ignore[index, union-attr]
    network.kernels[4].conv.weight *= 1e38  # type: ignore[index, union-attr]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_study(tmp_path_factory.mktemp("good") / "study")


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_study(tmp_path_factory.mktemp("hard") / "study", change=hard_for_int8)


def test_all_precisions_that_pass_are_written_and_the_exit_is_0(good: Path, tmp_path: Path) -> None:
    result = run(good, tmp_path / "out", "--precision", "fp32,fp16,int8", "--max-drop", "5", "--json")
    assert result.exit_code == 0, result.exception
    found = document(result)
    assert set(found["files"]) == {"fp32", "fp16", "int8"}
    assert found["failed"] == {}
    for file in found["files"].values():
        (latency,) = file["latencies"]
        assert (latency["origin"], latency["profile"]) == ("measured", "host-cpu")
        assert latency["n"] >= 200
    assert [found["files"][p]["weight_bits"] for p in ("fp32", "fp16", "int8")] == [None, None, 8]
    for file in found["files"].values():
        (score,) = file["scores"]
        assert score["interval"] == pytest.approx(wilson(score["value"], score["n"]))


@pytest.mark.usefixtures("times_nothing")
def test_a_precision_that_fails_is_named_and_the_others_are_written(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_heard", True)
    out = tmp_path / "out"
    result = run(hard, out, "--precision", "int8,fp16,fp32", "--max-drop", "100", "--json", "-q")
    assert result.exit_code == 1
    found = document(result)
    assert set(found["files"]) == {"fp32", "fp16"}
    assert found["chosen_precision"] == "fp16"  # the first that was asked for and passed
    assert set(found["failed"]) == {"int8"}
    assert "int8 export differs from the network on images: cosine" in found["failed"]["int8"]
    assert "first diverging: layer kernels.4.conv" in found["failed"]["int8"]
    why, advice = result.stderr.splitlines()  # whoever wants to hear little is told, too
    assert why.startswith("error: int8 is not in the bundle: int8 export differs")
    assert advice.startswith(f"error: {out} holds fp16, fp32; to get it without this error ask for these alone")
    bundle = read_bundle(out)
    assert set(bundle.manifest.models) == {"fp32", "fp16"}
    assert bundle.manifest.left_out == found["failed"]


@pytest.mark.slow
def test_without_json_the_table_is_printed_beside_the_error(hard: Path, tmp_path: Path) -> None:
    result = run(hard, tmp_path / "out", "--precision", "fp32,int8")
    assert result.exit_code == 1
    assert "model.onnx" in result.stdout
    assert "error: int8 is not in the bundle" in result.stderr


@pytest.mark.slow
def test_what_auto_leaves_out_is_no_failure(hard: Path, tmp_path: Path) -> None:
    result = run(hard, tmp_path / "out", "--precision", "auto", "--max-drop", "100", "--json")
    assert result.exit_code == 0, result.exception
    found = document(result)
    assert found["failed"] == {}
    assert any(note.startswith("int8 is left out: int8 export differs") for note in found["notes"])


def test_where_nothing_that_was_asked_for_passes_nothing_is_written(hard: Path, tmp_path: Path) -> None:
    refused(run(hard, tmp_path / "out", "--precision", "int8"), ParityError, "int8 export differs")
    assert list(tmp_path.iterdir()) == []


def test_where_fp32_fails_nothing_is_written(tmp_path: Path) -> None:
    study = trained_study(tmp_path / "study", change=hopeless)
    result = run(study, tmp_path / "out", "--precision", "fp32,fp16,int8")
    refused(result, ParityError, "fp32 export differs from the network", "NaN or infinity")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- 7-bit weights


@pytest.mark.usefixtures("times_nothing")
def test_weights_of_7_bits_stay_within_64_and_the_manifest_says_so(good: Path, tmp_path: Path) -> None:
    from edgenas.runtimes.int8 import largest_weight

    result = run(good, tmp_path / "out", "--precision", "int8", "--max-drop", "5", "--reduce-range")
    assert result.exit_code == 0, result.exception
    bundle = read_bundle(tmp_path / "out")
    assert largest_weight(onnx.load_model(bundle.path("int8"))) == 64
    assert bundle.manifest.models["int8"].weight_bits == 7


def test_7_bits_without_int8_are_refused(good: Path, tmp_path: Path) -> None:
    result = run(good, tmp_path / "out", "--precision", "fp32,fp16", "--reduce-range")
    refused(result, EdgenasError, "--reduce-range is about int8", "fp32, fp16")


# ---------------------------------------------------------------- batch and opset


@pytest.mark.usefixtures("times_nothing")
@pytest.mark.parametrize(("opset", "ir"), [("13", 7), ("21", 10)])
def test_the_oldest_and_the_newest_opset_are_written_and_proved(
    opset: str, ir: int, good: Path, tmp_path: Path
) -> None:
    """The target's own is 20; another one comes with the oldest IR that holds it."""
    out, asked = tmp_path / "out", ("--precision", "fp32,fp16,int8", "--max-drop", "5", "--json")
    result = run(good, out, "--opset", opset, "--batch", "2", *asked)
    assert result.exit_code == 0, result.exception
    found = document(result)
    assert found["batch"] == 2
    assert {file["opset"] for file in found["files"].values()} == {int(opset)}
    assert set(found["parity"]) == {"fp32", "fp16", "int8"}
    for precision in ("fp32", "fp16", "int8"):
        model = onnx.load(read_bundle(out).path(precision))  # type: ignore[arg-type]
        assert ([entry.version for entry in model.opset_import], model.ir_version) == ([int(opset)], ir)
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


@pytest.mark.parametrize("opset", ["12", "22"])
def test_an_opset_that_cannot_be_written_is_refused_with_those_that_can(opset: str, good: Path, tmp_path: Path) -> None:
    said = (f"opset {opset} was asked for, 13..21 can be written",)
    refused(run(good, tmp_path / "out", "--opset", opset), EdgenasError, *said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("times_nothing")
def test_without_asking_the_opset_is_the_targets_and_the_batch_any(good: Path, tmp_path: Path) -> None:
    found = document(run(good, tmp_path / "out", "--json"))
    assert (found["batch"], found["files"]["fp32"]["opset"]) == (None, 20)


@pytest.mark.parametrize("batch", ["0", "65"])
def test_a_batch_that_is_not_possible_is_refused_with_those_that_are(batch: str, good: Path, tmp_path: Path) -> None:
    refused(run(good, tmp_path / "out", "--batch", batch), EdgenasError, "possible are 1 to 64")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the weights that were trained


def shuffled(study: Path) -> None:
    """The same numbers in another order, as a file of the same size and names."""
    _, architecture, _ = trained_digits()
    network = load_weights(architecture, study / WEIGHTS)
    for tensor in network.state_dict().values():
        tensor.copy_(tensor.flatten().flip(0).reshape(tensor.shape))
    save_weights(network, study / WEIGHTS)


def test_other_weights_than_those_that_were_trained_are_refused(good: Path, tmp_path: Path) -> None:
    study = shutil.copytree(good, tmp_path / "study")
    shuffled(study)
    refused(run(study, tmp_path / "out"), EdgenasError, "SHA-256 differs", WEIGHTS)
    assert not (tmp_path / "out").exists()


def test_training_does_not_go_on_from_other_weights(good: Path, tmp_path: Path) -> None:
    study = shutil.copytree(good, tmp_path / "study")
    other = str(digits_folder(tmp_path / "other", 0))
    shuffled(study)
    result = CliRunner().invoke(app, ["train", str(study), "--seeds", "1", "--data", other, "--from-trained"])
    refused(result, EdgenasError, "SHA-256 differs", WEIGHTS)
    (study / WEIGHTS).unlink()
    result = CliRunner().invoke(app, ["train", str(study), "--seeds", "1", "--data", other, "--from-trained"])
    refused(result, EdgenasError, "cannot be read (No such file or directory)", WEIGHTS)


def test_the_seed_that_did_best_on_validation_is_exported(tmp_path: Path) -> None:
    study = trained_study(tmp_path / "study")
    with Store.write(study) as store:
        ((key, final),) = store.all("final", FinalTraining).items()
        (best,) = final.runs
        worse = msgspec.structs.replace(
            best, seed=1, val={"accuracy": best.val["accuracy"] - 1}, weights="weights/none"
        )
        store.put("final", key, msgspec.structs.replace(final, runs=(worse, best, worse)))
        assert trained_from_store(store, print).score == best.val["accuracy"]


@pytest.mark.usefixtures("times_nothing")
def test_a_study_without_hashes_is_exported_with_a_line_about_it(tmp_path: Path) -> None:
    study = trained_study(tmp_path / "study", hashed=False, recorded=-200 / 143)
    result = run(study, tmp_path / "out", "--json")
    assert result.exit_code == 0, result.exception
    assert f"{WEIGHTS} was saved before weights had a SHA-256 in the study" in result.stderr


def test_without_hashes_the_score_still_shows_other_weights(tmp_path: Path) -> None:
    study = trained_study(tmp_path / "study", hashed=False)
    shuffled(study)
    refused(
        run(study, tmp_path / "out"), EdgenasError, "% accuracy on validation", "were recorded when they were trained"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("times_nothing")
def test_deepstream_is_written_beside_the_bundle_and_what_differs_there_is_said(good: Path, tmp_path: Path) -> None:
    where = tmp_path / "ds"
    result = run(good, tmp_path / "digits", "--precision", "fp16", "--deepstream", str(where), "--json")
    assert result.exit_code == 0, result.exception
    found = document(result)
    assert found["deepstream"] == str(where / "digits")
    names = {path.name for path in (where / "digits").iterdir()}
    assert {"config_infer_primary.txt", "config_infer_secondary.txt", "labels.txt"} < names
    assert (where / "digits" / "labels.txt").read_text() == "0;1;2;3;4;5;6;7;8;9\n"
    assert found["deepstream_differences"]
    for difference in found["deepstream_differences"]:
        assert f"DeepStream: {difference}\n" in result.stderr


def test_what_deepstream_cannot_take_is_refused_before_anything_is_written(good: Path, tmp_path: Path) -> None:
    for option in (("--input", "uint8"), ("--batch", "4")):
        result = run(good, tmp_path / "out", "--deepstream", str(tmp_path / "ds"), *option)
        refused(result, EdgenasError, f"leave out {option[0]}", "or --deepstream")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("times_nothing")
@pytest.mark.parametrize(("limit", "over"), [(1e-6, True), (1.0, False)])
def test_a_file_that_is_slower_than_the_studys_limit_is_called_so(tmp_path: Path, limit: float, over: bool) -> None:
    study = trained_study(tmp_path / "study", limits=Limits(latency_ms=limit))
    result = run(study, tmp_path / "out", "--json")
    assert result.exit_code == 0, result.exception
    assert list(document(result)["over_limit"]) == (["fp32"] if over else [])
    words = f"warning: over the study's limit of {limit:g} ms on host-cpu: fp32 ("
    assert (words in result.stderr) == over
    assert ("; no file here holds it" in result.stderr) == over
    if over:  # another target is not the study's
        assert document(run(study, tmp_path / "other", "--target", "jetson", "--json"))["over_limit"] == {}


def test_the_limit_is_held_by_a_file_that_takes_exactly_as_long() -> None:
    bundle = read_bundle(digits_bundle().folder)
    (ms,) = [x.ms for x in bundle.manifest.models["fp32"].latencies if x.profile == bundle.manifest.profile]
    assert "fp32" not in over_limit(bundle, Limits(latency_ms=ms))
    assert over_limit(bundle, Limits(latency_ms=ms * 0.999))["fp32"] == ms
    assert over_limit(bundle, Limits()) == {}
    for margin in (False, True):  # the upper end decides only where the study says so
        known = Latency(1.0, "predicted", "host-cpu", precision="fp16", low=0.5, high=2.0)
        found = over_limit(bundle, Limits(latency_ms=1.5, margin=margin), known)
        assert found.get("fp16") == (2.0 if margin else None)
    eight = dataclasses.replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, batch=8))
    assert over_limit(eight, Limits(latency_ms=ms * 0.999)) == {}  # a study's limit is for one image
    one = dataclasses.replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, batch=1))
    assert over_limit(one, Limits(latency_ms=ms * 0.999))["fp32"] == ms


def test_at_the_precision_of_the_search_its_own_latency_is_held_against_the_limit() -> None:
    bundle = read_bundle(digits_bundle().folder)
    for judged, over in ((999.0, False), (1000.0, False), (1001.0, True)):
        known = Latency(judged, "measured", "host-cpu", precision="fp16")
        assert over_limit(bundle, Limits(latency_ms=1000.0), known) == ({"fp16": judged} if over else {})
    assert set(
        over_limit(bundle, Limits(latency_ms=1e-6), Latency(1e-7, "measured", "host-cpu", precision="fp16"))
    ) == {"fp32", "int8"}
    assert "fp16" in over_limit(
        bundle, Limits(latency_ms=1e-6), Latency(1e-7, "measured", "host-cpu")
    )  # of an earlier version: of which?
    only = dataclasses.replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, models={}))
    assert (
        over_limit(only, Limits(latency_ms=1.0), Latency(2.0, "measured", "host-cpu", precision="fp16")) == {}
    )  # no such file


@pytest.mark.usefixtures("times_nothing")
@pytest.mark.parametrize(("told", "over"), [(0.5, False), (2.0, True)])
def test_an_export_is_held_against_what_its_search_went_by(tmp_path: Path, told: float, over: bool) -> None:
    """The profile expects the limit itself, less a little where the search was told more, and more where it was told less."""
    _, architecture, _ = trained_digits()
    profile = profile_from_name("jetson")
    expected = predicted_latencies(profile, architecture, ("fp16",), [])["fp16"].ms
    study = trained_study(
        tmp_path / "study", limits=Limits(latency_ms=expected * (1.01 if over else 0.99)), target=profile.name
    )
    with Store.write(study) as store:
        assert store.choice is not None
        trial, latency = store.choice.trial, Latency(told * expected, "measured", profile.name, precision="fp16")
        cost = msgspec.structs.replace(trial.cost, latencies={profile.name: latency})
        store.add(msgspec.structs.replace(trial, cost=cost, number=None))
        store.number(trial.candidate.key)
    result = run(study, tmp_path / "out", "--precision", "fp16", "--max-drop", "100", "--json")
    assert result.exit_code == 0, result.exception
    assert ("fp16" in document(result)["over_limit"]) is over
    assert ("warning: over the study's limit" in result.stderr) is over


@pytest.mark.usefixtures("times_nothing")
@pytest.mark.parametrize("asked", ["int8,fp32", "fp32,int8"])
def test_the_limit_is_spoken_of_where_the_chosen_file_breaks_it_and_who_holds_it_is_named(
    tmp_path: Path, asked: str
) -> None:
    _, architecture, _ = trained_digits()
    profile = profile_from_name("jetson")
    predicted = predicted_latencies(profile, architecture, ("fp32", "int8"), [])
    limit = (predicted["fp32"].ms + predicted["int8"].ms) / 2
    study = trained_study(tmp_path / "study", limits=Limits(latency_ms=limit), target=profile.name)
    result = run(study, tmp_path / "out", "--precision", asked, "--max-drop", "100", "--json")
    assert result.exit_code == 0, result.exception
    assert document(result)["over_limit"] == {"fp32": pytest.approx(predicted["fp32"].ms)}
    warned = f"warning: over the study's limit of {limit:.12g} ms on {profile.name}: fp32 ("
    assert (warned in result.stderr) == (asked == "fp32,int8")
    assert ("; int8 holds it\n" in result.stderr) == (asked == "fp32,int8")


@pytest.mark.parametrize(
    ("over", "rest"),
    [
        ({"fp32": 2.0}, "fp32 (2 ms); fp16 and int8 hold it"),
        ({"fp32": 2.0, "fp16": 1.5}, "fp32 (2 ms), fp16 (1.5 ms); int8 holds it"),
        ({"fp32": 2.0, "fp16": 1.5, "int8": 1.1}, "fp32 (2 ms), fp16 (1.5 ms), int8 (1.1 ms); no file here holds it"),
    ],
)
def test_those_that_hold_the_limit_are_named(over: dict[str, float], rest: str) -> None:
    bundle = read_bundle(digits_bundle().folder)
    assert (
        over_words(bundle, over, Limits(latency_ms=1.0))
        == f"warning: over the study's limit of 1 ms on host-cpu: {rest}"
    )
