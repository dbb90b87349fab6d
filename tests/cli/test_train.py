"""`edgenas train` on a small finished study, through the command line."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

import edgenas
from edgenas.architectures.chain import chain
from edgenas.binomial import wilson
from edgenas.cli.main import app
from edgenas.cli.train_page import document, text
from edgenas.confusion import (
    BALANCED_ACCURACY,
    MACRO_F1,
    METRICS,
    balanced_accuracy_interval,
    macro_f1_interval,
    scores_of_confusion,
)
from edgenas.engine.data import searched_task
from edgenas.engine.scores import best_run
from edgenas.errors import EdgenasError
from edgenas.identity import digest
from edgenas.methods.settings import SearchSettings
from edgenas.networks.weights import load_weights
from edgenas.records import ACCURACY, Ask, Choice, Classes, FinalRun, FinalTraining, Metric, Trial
from edgenas.report.answers.more import more_budget
from edgenas.report.answers.onward import next_commands
from edgenas.report.facts import read_facts
from edgenas.store import Store
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.training.evaluator import Evaluator
from edgenas.training.executors import inline_executor
from edgenas.training.loop import outputs_of, scores_of
from edgenas.training.recipes import recipe_from_name, with_free_cores
from tests.image_folders import fill
from tests.plans import plan, studied
from tests.report.answers.cases import final, run, trial
from tests.trained_digits import digits_folder
from tests.training.conftest import ParameterCost, candidate


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A finished search of one candidate."""
    wanted = TaskSettings("digits", search_images=320)
    with Store.create(tmp_path / "study", studied(plan(task=wanted), profiles=())) as store:
        executor = inline_executor(Evaluator(load_task(wanted), 0), ParameterCost())
        executor.answer(Ask((candidate(),)), store)
        trial = store.number(candidate().key)
        store.put("choice", "choice", Choice(trial, {"depth": 3, "width": 6, "epochs": 1}))
    return tmp_path / "study"


def train(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, ["train", *arguments, "--json"])
    if result.exception is not None:
        raise result.exception
    decoded: dict[str, object] = msgspec.json.decode(result.stdout)
    return decoded


def digits_whole() -> Task:
    return load_task(TaskSettings("digits"))


def test_seeds_are_trained_once_and_their_weights_give_the_reported_scores(study: Path) -> None:
    import torch

    first = train(str(study), "--seeds", "2", "--epochs", "2")
    assert {"study", "trial", "params", "epochs", "seeds", "test_accuracy", "val_accuracy", "seconds"} <= set(first)
    assert (first["trial"], first["seeds"], first["epochs"]) == (1, 2, 2)
    with Store.read(study) as store:
        final = store.get("final", candidate().key, FinalTraining)
    assert final is not None
    assert [run.test["accuracy"] for run in final.runs] == first["test_accuracy"]["each"]  # type: ignore[index]
    network = load_weights(final.architecture, study / final.runs[1].weights)
    again = scores_of(network, digits_whole(), digits_whole().test, torch.device("cpu"), 1)
    assert again["accuracy"] == final.runs[1].test["accuracy"]

    more = train(str(study), "--seeds", "2", "--epochs", "2")
    assert more == first  # the seconds too: nothing was trained again


@pytest.mark.usefixtures("trains_here")
def test_a_run_keeps_every_look_at_validation_and_its_worst_mistakes(study: Path) -> None:
    import torch

    train(str(study), "--seeds", "1", "--epochs", "2")
    with Store.read(study) as store:
        final = store.get("final", candidate().key, FinalTraining)
    assert final is not None
    (run,) = final.runs
    assert [look.epoch for look in run.curve] == [1, 2]
    assert run.curve[-1].value == run.val["accuracy"]
    assert run.curve[run.best_epoch - 1].value == run.best_val["accuracy"]
    network, test = load_weights(final.architecture, study / run.weights), digits_whole().test
    outputs = outputs_of(network, test, digits_whole().preprocessing, torch.device("cpu"), 1)
    shares = torch.softmax(outputs.double(), 1).numpy()
    assert run.mistakes is not None
    for mistake in run.mistakes:
        called = shares[mistake.index].argmax()
        assert (mistake.called, mistake.true) == (str(called), str(test.labels[mistake.index]))
        assert mistake.confidence == pytest.approx(100 * shares[mistake.index, called])
        assert (study / mistake.image).is_file()
    assert len(run.mistakes) == 10  # two epochs leave more


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--trial", "7"), "has no trial 7: it has 1 to 1"),
        (("--epochs", "2", "--budget", "1"), "give one of them"),
        (("--data", "digits"), "belong together"),
        (("--recipe", "slow"), "recipe 'slow' is unknown"),
        (("--recipe", "paper-darts"), r"recipe paper-darts: drop_path = 0\.2 needs paths .* this network has none"),
        (
            ("--recipe", "paper-darts-imagenet"),
            r"recipe paper-darts-imagenet: auxiliary = 0\.4 needs the cells of a network",
        ),
        (("--checkpoint-s", "-1"), "--checkpoint-s -1: from 0 .every epoch. to 86400"),
        (("--checkpoint-s", "86401"), "--checkpoint-s 86401: from 0"),
        (("--checkpoint-s", "nan"), "--checkpoint-s nan: from 0"),
        (
            ("--data", "digits", "--from-trained"),
            r"--data digits is what .* was trained on, .*: `edgenas train .* --epochs N`",
        ),
        *(
            (("--budget", text), rf"--budget {re.escape(text)}: minutes above 0, up to 1e\+09")
            for text in ("nan", "inf", "0", "-1")
        ),
        (("--epochs", "100001"), "--epochs 100001: at least one, up to 100,000"),
        (("--seeds", "10001"), "--seeds 10001: at least one, up to 10,000"),
    ],
)
def test_mistakes_are_one_line(study: Path, arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(EdgenasError, match=complaint):
        train(str(study), *arguments)


@pytest.mark.usefixtures("trains_here")
def test_a_recipe_of_ones_own_for_photographs_is_trained_by_and_kept(study: Path) -> None:
    """On grey images: what was not done, saturation and hue, is not in the recipe of the training."""
    path = study / "mine.toml"
    path.write_text(
        "epochs = 1\nbatch_size = 32\nlr = 0.05\nrandom_resized_crop = [0.5, 1.0]\ncolor = [0.4, 0.4, 0.4, 0.1]\n"
        "trivial_augment = true\nmixup = 0.2\ncutmix = 1.0\n"
    )
    first, again = (train(str(study), "--recipe", str(path), "--seeds", "1") for _ in range(2))
    assert first["test_accuracy"] == again["test_accuracy"]
    with Store.read(study) as store:
        final = store.get("final", candidate().key, FinalTraining)
    assert final is not None
    recipe = final.recipe
    assert (recipe.random_resized_crop, recipe.color) == ((0.5, 1.0), (0.4, 0.4, 0.0, 0.0))
    assert (recipe.trivial_augment, recipe.mixup, recipe.cutmix) == (True, 0.2, 1.0)


@pytest.mark.usefixtures("trains_here")
def test_what_is_left_of_other_trainings_is_said_and_what_does_not_fit_is_refused(study: Path) -> None:
    other, how = study / "weights" / "0123456789abcdef-0.checkpoint", ("--seeds", "1", "--epochs", "1")
    other.parent.mkdir()
    other.write_bytes(b"x" * 2_500_000)
    said = CliRunner().invoke(app, ["train", str(study), *how]).stderr
    assert "1 unfinished trainings of other commands are kept in" in said
    assert "(2 MB): those commands go on with them; remove *.checkpoint there if nobody will" in said
    assert other.exists()  # nothing is lost
    recipe = recipe_from_name("final", digits_whole(), "cpu", 2)
    recipe = with_free_cores(recipe, "cpu")
    mine = study / "weights" / f"{digest(candidate().architecture, recipe, None)}-0.checkpoint"
    mine.write_bytes(b"text")
    said = CliRunner().invoke(app, ["train", str(study), "--seeds", "1", "--epochs", "2"]).stderr
    assert f"{mine} was damaged (its SHA-256 differs) and is removed: this training starts anew" in said
    assert not mine.exists()
    assert mine.with_suffix(".safetensors").exists()


@pytest.mark.slow
def test_the_macro_width_and_a_budget(study: Path) -> None:
    macro = train(str(study), "--seeds", "1", "--budget", "0.5", "--final-width", "macro")
    plain = train(str(study), "--seeds", "1", "--epochs", "1")
    assert macro["params"] > plain["params"]  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.timeout(900)  # three trainings, each in a process of its own
def test_other_data_goes_on_from_the_trained_weights_and_anew_where_other_images_lie_there(
    study: Path, tmp_path: Path
) -> None:
    first = train(str(study), "--seeds", "1", "--epochs", "3")
    folder = digits_folder(tmp_path / "other", 0, each=40)
    how = (str(study), "--seeds", "1", "--epochs", "1", "--data", str(folder), "--from-trained")
    onward = train(*how)
    # a fresh network reaches about 20 % in one epoch
    assert onward["test_accuracy"]["mean"] >= first["test_accuracy"]["mean"] - 15  # type: ignore[index, operator]
    assert train(*how) == onward
    shutil.rmtree(folder)
    digits_folder(folder, 40, each=40)
    said = CliRunner().invoke(app, ["train", *how]).stderr
    assert "was trained on other images under this name: it is trained again" in said
    again = train(*how)
    assert again["test_accuracy"] != onward["test_accuracy"]
    with Store.read(study) as store:
        assert len(store.all("final", FinalTraining)) == 2  # the first one is as it was
    assert next_commands(read_facts(study))[0].line.endswith(
        " --data digits"
    )  # without it an export asks: on which data?


def on_a_folder(tmp_path: Path) -> tuple[Path, Path]:
    """A finished search whose data are a folder, and that folder."""
    folder, head = fill(tmp_path / "pictures"), Classes(2)
    network = chain(4, 3, (0,) * 3, (3,) * 3, head, in_channels=3, image_size=16)
    trained = msgspec.structs.replace(candidate(), architecture=network)
    record = studied(plan(asked=SearchSettings(data=str(folder))), profiles=())
    with Store.create(tmp_path / "study", record) as store:
        searched_task(store, print)
        trial = Trial(trained, "complete", ParameterCost()(network), 0, {"val_accuracy": 60.0}, number=1)
        store.put("choice", "choice", Choice(trial, {}))
    return tmp_path / "study", folder


def test_the_studys_own_images_are_not_other_data_however_their_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, folder = on_a_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    shutil.copytree(folder, tmp_path / "copy")
    for own in (str(folder), "pictures", "./pictures/", "link", "copy"):
        with pytest.raises(
            EdgenasError, match=f"--data {own} .*what .*study was trained on, and --from-trained goes on"
        ):
            train(str(study), "--data", own, "--from-trained")
    (folder / "cat" / "000.png").rename(tmp_path / "copy" / "cat" / "more.png")  # not the study's own any more
    fill(tmp_path / "other", first=500)
    for other in ("copy", "other"):
        with pytest.raises(
            EdgenasError, match="there are no trained weights yet: run `edgenas train` without it first"
        ):
            train(str(study), "--data", other, "--from-trained")


def cores(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """This machine has so many."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)), raising=False)


@pytest.mark.usefixtures("trains_here")
def test_more_seeds_and_other_cores_keep_what_is_trained(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cores(monkeypatch, 2)
    first = train(str(study), "--seeds", "1", "--epochs", "1")
    (path,) = (study / "weights").glob("*.safetensors")
    before = path.stat()
    done = CliRunner().invoke(app, ["train", str(study), "--seeds", "2", "--epochs", "1", "--json"])
    assert (
        "2 threads a training, as what is finished or begun of it has: that is kept (this command would take 1 now)"
        in (done.stderr)
    )
    more = msgspec.json.decode(done.stdout)
    assert more["test_accuracy"]["each"][0] == first["test_accuracy"]["mean"]  # type: ignore[index]
    assert path.stat() == before
    with Store.read(study) as store:
        (final,) = store.all("final", FinalTraining).values()
        runs = store.all("final-run", FinalRun)
    assert (final.recipe.threads, len(runs)) == (2, 2)
    for count in (1, 7):
        cores(monkeypatch, count)
        assert train(str(study), "--seeds", "2", "--epochs", "1") == more
    with Store.read(study) as store:
        assert store.all("final-run", FinalRun) == runs


@pytest.mark.usefixtures("trains_here")
def test_a_lost_or_damaged_file_of_weights_is_trained_again_to_the_same_bytes_and_no_other_is(study: Path) -> None:
    how = (str(study), "--seeds", "3", "--epochs", "1")
    first = train(*how)
    with Store.read(study) as store:
        (final,) = store.all("final", FinalTraining).values()
    paths = [study / run.weights for run in final.runs]
    whole = [path.read_bytes() for path in paths]
    best = paths.index(study / best_run(final).weights)
    cut, gone, kept = (paths[(best + place) % 3] for place in range(3))
    cut.write_bytes(cut.read_bytes()[:100])
    gone.unlink()
    before, opened = kept.stat(), edgenas.open_study(study, quiet=True)
    with pytest.raises(EdgenasError, match=r"SHA-256 differs.: restore it, or run the command that trained it again"):
        opened.network()
    done = CliRunner().invoke(app, ["train", *how, "--json"])
    assert f"{cut} is not the file that was written (its SHA-256 differs): it is trained again" in done.stderr
    assert (
        f"warning: {gone} cannot be read (No such file or directory): it is trained again" in done.stderr.splitlines()
    )
    assert [path.read_bytes() for path in paths] == whole
    assert kept.stat() == before
    assert msgspec.json.decode(done.stdout)["test_accuracy"] == first["test_accuracy"]
    opened.network()


@pytest.mark.usefixtures("trains_here")
def test_every_accuracy_has_its_interval_over_the_images_of_its_split(study: Path) -> None:
    document = train(str(study), "--seeds", "1", "--epochs", "1")
    task = digits_whole()
    mean = document["test_accuracy"]["mean"]  # type: ignore[index]
    assert document["test_accuracy_interval"] == pytest.approx(wilson(mean, len(task.test)))
    assert document["val_accuracy_interval"] == pytest.approx(wilson(document["val_accuracy"], len(task.val)))  # type: ignore[arg-type]
    best = document["best_epoch"]
    assert best["test_accuracy_interval"] == pytest.approx(wilson(best["test_accuracy"], len(task.test)))  # type: ignore[index]
    assert best["val_accuracy_interval"] == pytest.approx(wilson(best["val_accuracy"], len(task.val)))  # type: ignore[index]


MATRICES = [[40, 10], [15, 35]], [[48, 2], [4, 46]]  # of the seeds 0 and 1, each of 100 test images


def of_two_seeds(metric: Metric) -> FinalTraining:
    """By this metric; validation has seed 1 before seed 0."""
    runs = []
    for seed, matrix in enumerate(MATRICES):
        test = scores_of_confusion(np.array(matrix))
        if metric == MACRO_F1:
            test["macro_f1_low"], test["macro_f1_high"] = macro_f1_interval(np.array(matrix))
        val = {**test, metric.name: 80.0 + seed}
        done = run(matrix=matrix, seed=seed)
        runs.append(msgspec.structs.replace(done, test=test, best_test=test, val=val, best_val=val))
    one = final(trial(1, 85.0), *runs, test=100, val=200)
    return msgspec.structs.replace(one, metric=metric.name, scored=metric)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_has_the_interval_of_its_mean(metric: Metric) -> None:
    """Of the accuracy that of a share of the images, of the others the mean of the runs' own."""
    known = of_two_seeds(metric)
    told = document(Path("s"), known)
    counts = [np.array(matrix) for matrix in MATRICES]
    balanced, f1 = map(balanced_accuracy_interval, counts), map(macro_f1_interval, counts)
    assert told["test_accuracy_interval"] == pytest.approx(wilson((75 + 94) / 2, 100))
    assert told["test_balanced_accuracy_interval"] == pytest.approx(np.mean([*balanced], axis=0))
    assert told["test_macro_f1_interval"] == pytest.approx(np.mean([*f1], axis=0))
    name = metric.name
    low, high = told[f"val_{name}_interval"]
    assert low < 80.5 < high
    assert told["best_epoch"][f"test_{name}_interval"] == told[f"test_{name}_interval"]
    assert told["best_epoch"][f"val_{name}_interval"] == told[f"val_{name}_interval"]
    low, high = told[f"test_{name}_interval"]
    over = " over 100 test images" if metric.share else " over the test set"
    assert f"(last epoch); 95 % interval{over} ({low:.1f} to {high:.1f})\n" in text(Path("s"), known)


def test_without_its_images_or_a_runs_own_an_interval_is_left_out() -> None:
    known = msgspec.structs.replace(of_two_seeds(ACCURACY), images={})
    assert "test_accuracy_interval" not in document(Path("s"), known)
    first, second = of_two_seeds(MACRO_F1).runs
    bare = {name: value for name, value in second.test.items() if not name.endswith(("_low", "_high"))}
    runs = (first, msgspec.structs.replace(second, test=bare))  # as an earlier version kept it
    told = document(Path("s"), msgspec.structs.replace(of_two_seeds(MACRO_F1), runs=runs))
    assert "test_macro_f1_interval" not in told
    assert {"test_accuracy_interval", "test_balanced_accuracy_interval"} < told.keys()  # the report has this one


def test_the_report_in_the_json_is_that_of_the_seed_that_is_exported() -> None:
    told = document(Path("s"), of_two_seeds(BALANCED_ACCURACY))
    assert told["exported_seed"] == told["test_report"]["seed"] == 1
    assert told["test"]["confusion"] == told["test_report"]["confusion"] == MATRICES[1]
    told = document(Path("s"), msgspec.structs.replace(of_two_seeds(BALANCED_ACCURACY), all_images=True))
    assert told["exported_seed"] == 0
    assert told["test"]["confusion"] == MATRICES[0]


@pytest.mark.usefixtures("trains_here")
def test_a_budget_that_leaves_fewer_than_130_steps_is_refused_with_figures(study: Path) -> None:
    with pytest.raises(EdgenasError) as caught:
        train(str(study), "--seeds", "1", "--budget", "0.005")
    line = str(caught.value)
    # 1,293 images in batches of 32 are 40 steps an epoch
    assert "1 seed of 4 epochs (160 steps), the least that tells anything, need" in line
    assert "more on this machine: allow them, or fewer --seeds" in line
    with Store.read(study) as store:
        assert store.all("final", FinalTraining) == {}


def named_on_the_page(folder: Path) -> str:
    """The command for a longer training, in what the report says of more budget."""
    found: list[str] = re.findall(r"`(edgenas train [^`]*)`", " ".join(more_budget(read_facts(folder))))
    (command,) = found
    return command


@pytest.mark.usefixtures("trains_here")
def test_the_command_that_the_report_names_trains_longer_by_the_same_recipe_and_width(study: Path) -> None:
    """Of one epoch there is no curve, so that one is asked for; the flags that were given are asked for again."""
    train(str(study), "--seeds", "1", "--epochs", "1", "--recipe", "brief", "--final-width", "macro")
    (first,) = read_facts(study).finals
    assert first.flags == ("--seeds", "1", "--epochs", "1", "--recipe", "brief", "--final-width", "macro")
    command = named_on_the_page(study)
    assert command == f"edgenas train {study} --seeds 1 --recipe brief --final-width macro --epochs 2"
    train(*shlex.split(command)[2:])
    (longer,) = read_facts(study).finals
    assert (longer.architecture, len(longer.runs)) == (first.architecture, 1)
    assert longer.recipe == msgspec.structs.replace(first.recipe, epochs=2)
    assert named_on_the_page(study) == f"edgenas train {study} --seeds 1 --recipe brief --final-width macro --epochs 4"


@pytest.mark.usefixtures("trains_here")
def test_a_training_of_an_earlier_version_is_given_the_flags_that_find_it_again(study: Path) -> None:
    how = ("--seeds", "1", "--epochs", "1", "--all-images")
    train(str(study), *how)
    with Store.write(study) as store:
        ((key, final),) = store.all("final", FinalTraining).items()
        store.put("final", key, msgspec.structs.replace(final, flags=None))
    assert named_on_the_page(study) == f"edgenas train {study} --seeds 1 --all-images --epochs 2"
    train(str(study), *how)
    (again,) = read_facts(study).finals
    assert again == final  # its runs, and its seconds: nothing was trained


@pytest.mark.usefixtures("trains_here")
def test_after_all_images_no_command_is_named_that_refuses_them(study: Path) -> None:
    train(str(study), "--seeds", "1", "--epochs", "1")
    assert [one.line.split()[1] for one in next_commands(read_facts(study))] == ["export", "compare"]
    train(str(study), "--seeds", "1", "--epochs", "1", "--all-images")
    assert [one.line.split()[1] for one in next_commands(read_facts(study))] == ["export"]
    refused = CliRunner().invoke(app, ["compare", str(study), "--reference", "torchvision:mobilenet_v3_small"])
    assert "saw the validation images" in str(refused.exception)
