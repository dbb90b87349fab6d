"""`edgenas compare` on a small finished study: references trained beside the winner, kept, and judged."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
import torch
from typer.testing import CliRunner

import edgenas
from edgenas.cli.main import app
from edgenas.engine.costing import Costing
from edgenas.engine.references import BESIDE as BESIDE_WINNER
from edgenas.engine.references import FINAL, KIND, Reference, add_references, seed_of
from edgenas.errors import EdgenasError
from edgenas.export.onnx import describe, onnx_from_network
from edgenas.faces.pixels import Pixels
from edgenas.hardware.candidates import KIND as MEASURED
from edgenas.hardware.cost import CostModel
from edgenas.hardware.measure import no_one
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.settings import SearchSettings
from edgenas.networks.weights import load_weights
from edgenas.records import Candidate, Choice, FinalTraining, Latency, Limits, Measurement, Recipe, Trial
from edgenas.remote.fleet import BESIDE
from edgenas.remote.sparing import ASKED as ASKED_BOARD
from edgenas.remote.sparing import AskedBoard
from edgenas.remote.token import VARIABLE
from edgenas.report.answers.good import goodness
from edgenas.report.answers.onward import next_commands
from edgenas.report.beside import fairness_words
from edgenas.report.facts import read_facts
from edgenas.store import Store
from edgenas.training.loop import scores_of
from edgenas.training.work import local_devices
from tests.cli.edgenas import edgenas as edgenas_command
from tests.cli.edgenas import edgenas_json, killed, refusal
from tests.plans import ASKED, plan, studied
from tests.remote.conftest import listening
from tests.trained_digits import trained_digits
from tests.trained_study import trained_study

RECIPE = Recipe("final", 2, 64, 0.05)
CORES = len(local_devices("cpu"))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Of a search on digits whose chosen network was trained: about 97 %."""
    return searched(tmp_path / "study")


def searched(folder: Path, limits: Limits | None = None, latency: Latency | None = None, **planned: Any) -> Path:
    """`latency`: what the search knew of the winner, in place of the profile's prediction."""
    trained_study(folder)
    with Store.read(folder) as store:
        (final,) = store.all("final", FinalTraining).values()
    (folder / "study.db").unlink()
    _, architecture, task = trained_digits()
    profile = profile_from_name("raspberry-pi-5")
    limits = limits or Limits()
    cost = CostModel((profile,), None, limits)(architecture)
    if latency is not None:
        cost = msgspec.structs.replace(cost, latencies={profile.name: latency})
    trial = Trial(Candidate(architecture, RECIPE, "depth"), "complete", cost, 0, {"val_accuracy": 97.0}, number=None)
    network = load_weights(architecture, folder / final.runs[0].weights)
    scores = scores_of(network, task, task.test, torch.device("cpu"), 1)
    run = msgspec.structs.replace(final.runs[0], test=scores, seconds=2.0)
    asked = SearchSettings(target=("raspberry-pi-5",), method="gnas")
    record = studied(plan(asked=asked, **planned), profiles=(profile.name,), hardware=(profile,), limits=limits)
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


@pytest.mark.usefixtures("trains_here")
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
    assert (found["outcomes"][0]["comparable"], found["advice"]) == (True, "")
    with Store.read(study) as store:
        kept = store.all(KIND, Reference)[str(path)]
        trained = store.all(FINAL, FinalTraining)[str(path)]
    assert kept.source_sha256
    assert (study / kept.weights).is_file()
    again = load_weights(trained.architecture, study / trained.runs[0].weights, trained.runs[0].weights_sha256)
    _, _, task = trained_digits()
    scores = scores_of(again, task, task.test, torch.device("cpu"), 1)
    assert scores["accuracy"] == reference["each"][0]

    files = [study / kept.weights, study / trained.runs[0].weights]
    content = [file.read_bytes() for file in files]
    files[0].write_bytes(b"damaged")
    files[1].unlink()
    after = compare(str(study))  # as it was trained, for one epoch
    assert [file.read_bytes() for file in files] == content
    assert after["references"][0]["each"] == reference["each"]
    found = after

    path.unlink()  # all that is needed is in the study
    assert compare(str(study), "--epochs", "1") == found
    assert compare(str(study)) == found  # whoever only looks trains nothing anew, for the winner's seconds or otherwise
    (more,) = compare(str(study), "--seeds", "2")["references"]
    assert (more["epochs"], more["each"][0], len(more["each"])) == (1, reference["each"][0], 2)
    (longer,) = compare(str(study), "--epochs", "2")["references"]  # of as many seeds as before
    assert (longer["epochs"], len(longer["each"])) == (2, 2)


@pytest.mark.usefixtures("trains_here")
def test_what_a_file_takes_can_be_said_until_it_is_trained(study: Path, tmp_path: Path) -> None:
    path, other = digits_file(tmp_path), str(tmp_path / "other.onnx")
    shutil.copy(path, other)
    said = ("--reference-mean", "0", "--reference-std", "510")
    asked = (str(study), "--reference", str(path))
    with pytest.raises(EdgenasError, match="--reference-mean and --reference-std belong together"):
        compare(*asked, *said[:2])
    for several in ((*asked, "--reference", other), (str(study),), (str(study), "--reference", "timm:x")):
        with pytest.raises(EdgenasError, match=r"say what one FILE\.onnx takes: name it alone with --reference"):
            compare(*several, *said)
    (reference,) = compare(*asked, *said, "--epochs", "1")["references"]
    with Store.read(study) as store:
        kept = store.all(KIND, Reference)[str(path)]
    assert (kept.preprocessing.mean, kept.preprocessing.std) == ((0.0,), (2.0,))
    assert kept.pixels == Pixels((0.0,), (510.0,))
    weights = study / kept.weights
    content = weights.read_bytes()
    weights.unlink()
    for trained in (study / "weights").glob("*-0.safetensors"):
        trained.unlink()
    assert compare(str(study))["references"][0]["each"] == reference["each"]  # read again, and by what was said
    assert weights.read_bytes() == content
    opened = edgenas.open_study(study, quiet=True)
    assert (
        list(opened.compare(str(path), reference_mean=0.0, reference_std=510.0).references[0].each) == reference["each"]
    )
    with pytest.raises(
        EdgenasError, match=r"is trained in .*, with its input normalised otherwise: give the file another name"
    ):
        compare(*asked, "--reference-mean", "0", "--reference-std", "255")


def test_what_was_said_of_a_file_before_it_is_trained_can_be_said_otherwise(study: Path, tmp_path: Path) -> None:
    """As after `search --reference FILE.onnx`, which has no such flag. A run that was trained before is none of it."""
    name, (_, _, task) = str(digits_file(tmp_path)), trained_digits()
    found = []
    with Store.write(study) as store, Costing(store, no_one) as cost:
        for pixels in (None, Pixels((0.0,), (510.0,)), None):
            add_references(store, (name,), task, cost, pixels)
            found.append(store.all(KIND, Reference)[name])
        # the same weights, as of a file with its batch norms
        alike = msgspec.structs.replace(found[0], pixels=Pixels((0.0,), (510.0,)))
        first, second = (seed_of(store, reference, RECIPE, 0) for reference in (found[0], alike))
    assert found[0].preprocessing == task.preprocessing
    assert found[1].preprocessing.std == (2.0,)
    assert found[2] == found[1]  # what was said is remembered
    assert first.weights != second.weights


@pytest.mark.usefixtures("trains_here")
def test_a_reference_is_trained_anew_beside_another_winner(study: Path, tmp_path: Path) -> None:
    path = digits_file(tmp_path)
    one = compare(str(study), "--reference", str(path), "--epochs", "1")["references"][0]
    with Store.write(study) as store:
        ((key, final),) = store.all("final", FinalTraining).items()
        other = msgspec.structs.replace(final.runs[0], weights_sha256="0" * 64, seconds=0.01)
        store.put("final", key, msgspec.structs.replace(final, runs=(other, other)))
    again = compare(str(study))["references"][0]
    assert (len(one["each"]), len(again["each"])) == (1, 2)  # as many as the other winner's


@pytest.mark.usefixtures("trains_here")
def test_two_new_references_in_a_terminal_leave_the_result_on_stdout(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal, and shows its panel
    names = [str(digits_file(tmp_path)), str(tmp_path / "other.onnx")]
    Path(names[1]).write_bytes(Path(names[0]).read_bytes())
    arguments = ("--reference", names[0], "--reference", names[1], "--epochs", "1", "--json")
    done = CliRunner().invoke(app, ["compare", str(study), *arguments])
    assert done.exception is None, done.exception
    assert [one["name"] for one in msgspec.json.decode(done.stdout)["references"]] == sorted(names)
    assert " of 1 run finished" in done.stderr
    assert done.stderr.count("\x1b[?25l") == done.stderr.count("\x1b[?25h") == 2  # the cursor is there again


@pytest.mark.usefixtures("trains_here")
@pytest.mark.parametrize(
    ("threads", "runs", "more", "at_once"),
    [
        (2 * CORES, 1, ("--seeds", "2"), 1),  # the winner had the machine for itself
        (2 * CORES, 1, ("--seeds", "2", "--workers", "2"), 2),
        (1, 2, (), 2),  # two at once, on whatever there was
    ],
)
def test_a_reference_has_as_much_of_a_cpu_as_the_winner_had(
    study: Path, tmp_path: Path, threads: int, runs: int, more: tuple[str, ...], at_once: int
) -> None:
    path = str(digits_file(tmp_path))
    with Store.write(study) as store:
        ((key, final),) = store.all("final", FinalTraining).items()
        recipe = msgspec.structs.replace(final.recipe, threads=threads)
        store.put("final", key, msgspec.structs.replace(final, recipe=recipe, runs=final.runs * runs))
    done = CliRunner().invoke(app, ["compare", str(study), "--reference", path, "--epochs", "1", *more])
    assert done.exception is None, done.exception
    assert f"{path}: 2 seeds, {at_once} at once" in done.stderr.splitlines()


@pytest.mark.usefixtures("trains_here")
def test_a_comparison_with_a_training_that_was_replaced_is_not_shown_and_the_command_named_makes_it_anew(
    study: Path, tmp_path: Path
) -> None:
    path = digits_file(tmp_path)
    compare(str(study), "--reference", str(path), "--epochs", "1")
    shown = read_facts(study)
    assert shown.comparison is not None
    # the file's last layer is kept, at a fifth of the rate; one epoch is not what fits the winner's two seconds
    assert f"{path} 0.2 times the learning rate, " in fairness_words(shown)
    trained = CliRunner().invoke(app, ["train", str(study), "--seeds", "1", "--epochs", "1"])
    assert trained.exception is None
    assert f"next: edgenas compare {study}\n" in trained.stderr
    replaced = read_facts(study)
    assert (replaced.comparison, replaced.outdated) == (None, True)
    assert f"`edgenas compare {study}` holds them against this one." in goodness(replaced)[-1]
    found = compare(str(study))
    again = read_facts(study)
    assert not again.outdated
    assert found["sentence"] in goodness(again)
    assert [line for line in (one.line for one in next_commands(again)) if "compare" in line] == []


@pytest.mark.usefixtures("trains_here")
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
    with Store.write(study) as store:
        store.put(BESIDE_WINNER, name, "")  # as before the first comparison was finished
    (more,) = compare(str(study), "--seeds", "2")["references"]  # however many are trained at once
    assert (more["epochs"], more["each"][0], len(more["each"])) == (reference["epochs"], reference["each"][0], 2)


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


PI = "raspberry-pi-5"


def origins(found: dict[str, Any]) -> list[str]:
    """Of the winner's and the reference's latency."""
    return [one["cost"]["latencies"][PI]["origin"] for one in (*found["winners"], *found["references"])]


@pytest.mark.usefixtures("trains_here")
def test_a_measured_winner_and_a_reference_that_is_not_are_not_called_faster_and_what_to_do_is_said(
    tmp_path: Path,
) -> None:
    # the winner takes far less than the limit, the reference far more by its profile: neither may decide
    limits = Limits(latency_ms=1e-3)
    study = searched(tmp_path / "study", limits, Latency(1e-4, "measured", PI), boards=True)
    arguments = (str(study), "--reference", str(digits_file(tmp_path)), "--epochs", "1")
    found = compare(*arguments)
    assert origins(found) == ["measured", "predicted"]
    (outcome,) = found["outcomes"]
    assert (outcome["faster"], outcome["comparable"], outcome["verdict"]) == (None, False, "noise")
    assert found["references"][0]["breaks"] == []
    assert f"their latencies on {PI} are not of one origin (0.0001 ms measured, " in found["sentence"]
    assert found["advice"] == (
        f"The latencies of trial 1 and {tmp_path / 'public.onnx'} are not of one origin, so none is called faster: "
        f"`edgenas compare {study} --board http://BOARD:8765 --token-file TOKEN` measures what is not measured yet."
    )
    shown = CliRunner().invoke(app, ["compare", *arguments]).stdout
    assert found["advice"] in shown
    page = " ".join(goodness(read_facts(study)))
    assert found["advice"] in page


@pytest.mark.usefixtures("trains_here")
def test_a_board_measures_the_winner_and_the_references_and_the_study_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Latency(5.0, "predicted", PI, detail="x; learned from 10 measured networks of this study")
    study = searched(tmp_path / "study", Limits(latency_ms=60_000), told, boards=True)
    arguments = (str(study), "--reference", str(digits_file(tmp_path)), "--epochs", "1")
    before = compare(*arguments)
    assert (origins(before), before["outcomes"][0]["comparable"]) == (["predicted", "predicted"], False)
    token = secrets.token_hex(32)
    monkeypatch.setenv(VARIABLE, token)
    with listening(token=token) as board:
        found = compare(*arguments, "--board", board.url)
    assert origins(found) == ["measured", "measured"]
    assert (found["outcomes"][0]["comparable"], found["advice"]) == (True, "")
    ours, theirs = (one["cost"]["latencies"][PI]["ms"] for one in (*found["winners"], *found["references"]))
    assert f"({ours:.3g} against {theirs:.3g} ms on {PI}, measured)" in found["sentence"]
    assert 1 / 5 < ours / theirs < 5  # the same network twice, on a busy machine
    assert found["references"][0]["each"] == before["references"][0]["each"]  # nothing was trained for it
    assert compare(*arguments[:1], "--epochs", "1") == found  # what was measured stays so without a board
    with Store.read(study) as store:
        assert len(store.all(BESIDE, Measurement)) == 2
        assert list(store.all(MEASURED, Measurement)) == [f"reference {PI}"]  # a search that goes on reads none of it
        assert store.choice is not None
        assert store.choice.trial.cost.latencies[PI] == told


@pytest.mark.usefixtures("trains_here")
def test_a_study_with_a_limit_on_energy_takes_references_whose_energy_is_not_known(tmp_path: Path) -> None:
    limits = Limits(energy_mj=5.0)
    study = searched(tmp_path / "study", limits, Latency(2.0, "measured", PI, energy_mj=4.0), boards=True)
    path = digits_file(tmp_path)
    started = CliRunner().invoke(app, ["train", str(study), "--start", str(path), "--epochs", "1", "--seeds", "1"])
    assert started.exit_code == 0, started.output
    found = compare(str(study), "--epochs", "1")
    assert found["references"][0]["breaks"] == []
    assert found["advice"].endswith(
        f"`edgenas compare {study} --board http://BOARD:8765 --token-file TOKEN` measures what is not measured yet."
    )
    for energy_mj, advice in (
        (None, f"Whether {path} holds the limit of 5 mJ is not known: no board has measured it: "),
        (3.0, ""),
    ):
        with Store.write(study) as store:
            reference = store.all(KIND, Reference)[str(path)]
            measured = {PI: Latency(1.0, "measured", PI, energy_mj=energy_mj)}
            cost = msgspec.structs.replace(reference.cost, latencies=measured)
            store.put(KIND, str(path), msgspec.structs.replace(reference, cost=cost))
        assert compare(str(study))["advice"].startswith(advice)
        assert bool(compare(str(study))["advice"]) == bool(advice)


def test_a_limit_on_energy_without_a_board_is_refused_before_there_is_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # data that are not there: whoever reads them first says something else
    asked = ["search", "--data", "missing", "--method", "random", "--max-energy-mj", "5", "--workers", "0"]
    result = CliRunner().invoke(app, asked)
    assert isinstance(result.exception, EdgenasError)
    assert str(result.exception) == (
        "a limit on energy needs a board that measures its power: give --board, or leave the limit out"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("targets", "boards", "given", "complaint"),
    [
        (("host-cpu",), False, ("--board", "http://127.0.0.1:9"), "were measured on this machine, not on a board: leave"),
        (("host-cpu",), True, (), "were measured on a board, which alone can measure this network: give its --board URL"),
        (
            (PI, "jetson"), False, ("--board", "http://127.0.0.1:9"),
            "was searched for raspberry-pi-5, jetson-orin-nano-8gb-super, and a board is one of them: leave --board out",
        ),
        ((PI,), True, ("--ca", "ca.pem"), "--ca was given without --board"),
        ((PI,), True, ("--board", "http://127.0.0.1:9"), "no board can measure"),
    ],
)  # fmt: skip
def test_a_board_is_asked_for_where_it_was_and_refused_where_it_was_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    targets: tuple[str, ...],
    boards: bool,
    given: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.setenv(VARIABLE, "0" * 64)
    study = searched(tmp_path / "study")
    profiles = tuple(profile_from_name(name) for name in targets)
    with Store.read(study) as store:
        rows = store.all("final", msgspec.Raw)
        choice = store.choice
    assert choice is not None
    (study / "study.db").unlink()
    names = tuple(profile.name for profile in profiles)
    record = studied(plan(asked=SearchSettings(target=names, method="random"), boards=boards), hardware=profiles)
    with Store.create(study, record) as store:
        latencies = {name: Latency(1.0, "measured", name) for name in names}
        cost = msgspec.structs.replace(choice.trial.cost, latencies=latencies)
        store.add(msgspec.structs.replace(choice.trial, cost=cost, number=None))
        store.choose(Choice(store.number(choice.trial.candidate.key), {}))
        for key, row in rows.items():
            store.put("final", key, row)
    with pytest.raises(EdgenasError, match=complaint) as caught:
        compare(str(study), "--reference", str(digits_file(tmp_path)), "--epochs", "1", *given)
    assert "\n" not in str(caught.value)
    with Store.read(study) as store:
        assert not store.all(KIND, Reference)


@pytest.mark.usefixtures("trains_here")
def test_a_reference_that_breaks_the_studys_limit_is_said_to(tmp_path: Path) -> None:
    study = searched(tmp_path / "study", Limits(params=50_000))
    found = compare(str(study), "--reference", "torchvision:shufflenet_v2_x0_5", "--epochs", "1")
    assert found["references"][0]["breaks"] == ["351610 parameters > 50000"]
    assert "breaks the limit" in found["sentence"]


def test_the_api_gives_records(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = edgenas.open_study(study, quiet=True)
    found = opened.compare(str(digits_file(tmp_path)), epochs=1)
    assert found.verdict in ("noise", "paid", "not", "trade")
    assert found.references[0].mean > 90
    assert found.winners[0].trial == 1
    monkeypatch.setenv(VARIABLE, "0" * 64)
    with pytest.raises(EdgenasError, match="no board can measure"):
        opened.compare(board="http://127.0.0.1:9")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_study_of_a_gpu_is_not_trained_compared_or_gone_on_with_where_there_is_none(tmp_path: Path) -> None:
    study, path = searched(tmp_path / "study", device="cuda"), digits_file(tmp_path)
    commands = [
        ("train", str(study)),
        ("train", str(study), "--processes", "2"),
        ("train", str(study), "--start", str(path)),
        ("compare", str(study), "--reference", str(path), "--epochs", "1"),
    ]
    for command in commands:
        line = refusal(*command)
        assert (
            line
            == "this study was started on a GPU and there is none here: go on where there is one, or use another --study"
        )
    with Store.create(tmp_path / "search", studied(plan(device="cuda", asked=ASKED), profiles=(), hardware=())):
        pass
    assert refusal("search", "--resume", str(tmp_path / "search")) == line
    with Store.read(study) as store:
        assert len(store.all("final", FinalTraining)) == 1


@pytest.mark.usefixtures("trains_here")
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


@pytest.mark.slow  # a search, three trainings and some measurements
def test_a_search_on_a_board_measures_its_references_there_and_decides_as_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = secrets.token_hex(32)
    monkeypatch.setenv(VARIABLE, token)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.toml").write_text("[rules]\ntrials = 2\n")
    path = digits_file(tmp_path)
    bounds = ("--max-depth", "4", "--max-width", "6", "--epoch-scale", ".1", "--search-images", "320", "--workers", "0")
    asked = ("search", "few.toml", "--target", PI, "--method", "random", "--max-latency-ms", "60000", *bounds)
    with listening(token=token) as board:
        done = CliRunner().invoke(
            app, [*asked, "--board", board.url, "--reference", str(path), "--study", "noted", "--json"]
        )
        assert done.exit_code == 0, done.output
        said = [line for line in done.stderr.splitlines() if line.startswith(f"board {board.url}: ")]
        assert len([line for line in said if line.endswith("(cpu), fp32")]) == 1, said  # greeted for both
        with Store.read(tmp_path / "studies/noted") as store:
            reference = store.all(KIND, Reference)[str(path)]
            assert reference.cost.latencies[PI].origin == "measured"
            assert list(store.all(BESIDE, Measurement)) == [f"{reference.architecture.fingerprint} {PI} fp32"]
            asked_board = store.all(
                ASKED_BOARD, AskedBoard
            )  # the first ten candidates, and nothing else, teach the board's profile
            assert {one.architecture for one in asked_board.values()} == {
                trial.candidate.architecture for trial in store.ledger()
            }
        trained = CliRunner().invoke(app, ["train", "noted", "--seeds", "1", "--epochs", "1"])
        assert trained.exit_code == 0, trained.output
    found = compare("noted", "--epochs", "1")
    assert origins(found) == ["measured", "measured"]
    assert (found["outcomes"][0]["comparable"], found["advice"]) == (True, "")
