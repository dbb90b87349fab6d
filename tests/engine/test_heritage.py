"""`search --start`: cuts of a trained network, each beginning with its layers; kept in the study, and trained on alike."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import onnx
import pytest
import torch
from safetensors.torch import load_file

from edgenas.engine.heritage import heritage_in
from edgenas.engine.starts import FINAL as START_FINAL
from edgenas.export.onnx import describe, onnx_from_network
from edgenas.networks import network_from_architecture
from edgenas.records import Classes, FinalTraining, Stage, StagesArchitecture
from edgenas.store import Store
from tests.cli.edgenas import edgenas, edgenas_json, refusal
from tests.trained_digits import digits

WHOLE = StagesArchitecture(
    (Stage("mbconv", 8, 2, 3, 1), Stage("mbconv", 12, 2, 3, 2, expansion=2), Stage("mbconv", 16, 1, 3, 1, expansion=2)),
    Classes(7), 1, 8, stem_width=8,
)  # fmt: skip
STILL = "epochs = 1\nbatch_size = 64\nlr = 1e-12\nweight_decay = 0.0\n"  # nothing is learned
COMMAND = ("search", "project.toml", "--start", "whole.onnx", "--study", "cut", "--workers", "0")
PROJECT = 'method = "random"\ntarget = ["raspberry-pi-5"]\nrecipe = "still.toml"\n[rules]\ntrials = 3\nepochs = 1\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a finished search among the cuts of whole.onnx."""
    made = tmp_path_factory.mktemp("cuts")
    save(made / "whole.onnx", seed=1)
    save(made / "other.onnx", seed=2)
    (made / "still.toml").write_text(STILL)
    (made / "project.toml").write_text(PROJECT)
    edgenas_json(*COMMAND, folder=made)
    return made


def save(path: Path, seed: int) -> None:
    """A network whose first layer is blind: every image is the same to it, and to whatever begins with its layers."""
    torch.manual_seed(seed)
    network = network_from_architecture(WHOLE).eval()
    network.state_dict()["kernels.0.conv.weight"].zero_()
    model = onnx_from_network(network, WHOLE, opset=13, ir=7)
    describe(model, {"preprocessing": digits().preprocessing.canonical_json().decode()})
    onnx.save(model, path)


def test_every_candidate_is_a_cut_and_the_final_training_begins_with_its_layers(folder: Path) -> None:
    command = ("train", "cut", "--seeds", "1", "--recipe", "still.toml", "--workers", "1")
    with Store.read(folder / "studies/cut") as store:
        kept = heritage_in(store)
    assert kept is not None
    layers, whole = folder / "studies/cut" / kept.weights, folder / "whole.onnx"
    content = layers.read_bytes()
    layers.write_bytes(content[:99])
    whole.rename(folder / "away.onnx")
    refused = edgenas(*command, folder=folder)
    assert re.search(
        r"heritage-\w+.safetensors is not the file .*whole.onnx.*: restore one of them, or", refused.stderr
    )
    (folder / "away.onnx").rename(whole)
    trained = edgenas_json(*command, folder=folder)
    assert layers.read_bytes() == content  # read again
    with Store.read(folder / "studies/cut") as store:
        (final,) = store.all("final", FinalTraining).values()
        trials = store.ledger()
    assert kept.whole == WHOLE
    for trial in trials:
        one = trial.candidate.architecture
        assert isinstance(one, StagesArchitecture)
        assert trial.scores["val_balanced_accuracy"] == pytest.approx(10)  # one class of ten, for every image
        assert [(s.block, s.width, s.kernel) for s in one.stages] == [
            (s.block, s.width, s.kernel) for s in WHOLE.stages[: len(one.stages)]
        ]
    architecture = final.architecture
    head = architecture.stages[-1].width * 10 + 10  # type: ignore[union-attr]
    assert trained["inherited_percent"] == pytest.approx(100 * (1 - head / final.params))
    begun, inherited = load_file(folder / "studies/cut" / final.runs[0].weights), load_file(layers)
    same = [name for name in begun if name.endswith("conv.weight") and name.startswith(("kernels.0.", "kernels.1."))]
    assert len(same) == 2
    assert all(torch.allclose(begun[name], inherited[name], atol=1e-6) for name in same)


def test_the_whole_network_fine_tuned_here_teaches_the_cut_that_begins_with_its_layers(folder: Path) -> None:
    arguments = ("train", "cut", "--seeds", "1", "--recipe", "still.toml", "--workers", "1")
    taught = (*arguments, "--teacher", "whole.onnx")
    words = (
        "teacher whole.onnx gives 7 numbers for an image, and there are 10 classes: fine-tune it on these images first"
    )
    assert words in edgenas(*taught, folder=folder).stderr
    edgenas_json(*arguments, "--start", "whole.onnx", folder=folder)  # which gives it a head for them
    done = edgenas(*taught, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "teacher whole.onnx: as `edgenas train --start` has trained it on these images" in done.stderr
    with Store.read(folder / "studies/cut") as store:
        (whole,), (cut,) = (store.all(kind, FinalTraining).values() for kind in (START_FINAL, "final"))
    assert cut.recipe.teacher == whole.runs[0].weights_sha256
    assert cut.inherited_percent > 0
    assert cut.architecture != whole.architecture
    refused = edgenas(*taught, "--teacher-mean", "128", "--teacher-std", "64", folder=folder).stderr
    assert (
        "whole.onnx was trained on these images by `edgenas train --start`, so its input is known: leave out" in refused
    )


def unfinished(study: Path) -> None:
    """As after a kill: one trial is left."""
    with contextlib.closing(sqlite3.connect(study / "study.db")) as connection, connection:
        connection.execute("DELETE FROM records WHERE kind = 'choice'")
        connection.execute("DELETE FROM trials WHERE number > 1 OR number IS NULL")


def trials_of(study: Path) -> list[tuple[str, dict[str, float]]]:
    with Store.read(study) as store:
        return [(trial.candidate.key, trial.scores) for trial in store.ledger()]


def test_the_search_goes_on_without_the_file_to_the_same_end_and_refuses_another_one(folder: Path) -> None:
    study, whole = folder / "studies/cut", folder / "whole.onnx"
    content, ended = whole.read_bytes(), trials_of(study)
    resume = ("search", "--resume", "cut", "--workers", "1")
    try:
        whole.write_bytes((folder / "other.onnx").read_bytes())
        finished = edgenas(*COMMAND, folder=folder)
        unfinished(study)
        refused = edgenas(*COMMAND, folder=folder), edgenas(*resume, folder=folder)
        whole.unlink()
        assert edgenas(*resume, folder=folder).returncode == 0
    finally:
        whole.write_bytes(content)
    for one in (finished, *refused):
        assert (one.returncode, one.stdout) == (1, "")
    for one in (finished, refused[0]):
        assert "made with other settings (whole.onnx is not the file that it began with)" in one.stderr
    assert "whole.onnx is not the file that studies/cut began with" in refused[1].stderr
    assert trials_of(study) == ended


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--method", "gnas"), "--start is for --method guided, random"),
        (("--method", "guided", "--space", "stages"), "--start searches the cuts of .*: leave out --space"),
        (("--method", "guided", "--max-depth", "4"), "leave out --max-depth"),
    ],
)
def test_settings_without_a_place_beside_it_are_refused(
    folder: Path, tmp_path: Path, more: tuple[str, ...], words: str
) -> None:
    line = refusal("search", "--start", str(folder / "whole.onnx"), *more, "--study", str(tmp_path / "none"))
    assert re.search(words, line), line


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("torchvision:mobilenet_v2", "has no weights: name a file of them"),
        ("none.onnx", "none.onnx"),
        ("stages", "possible are"),
    ],
)
def test_a_start_that_has_no_weights_is_refused(tmp_path: Path, start: str, words: str) -> None:
    assert words in refusal("search", "--start", start, "--method", "random", "--study", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
