"""`edgenas.search`: the flags of the command line under the same names, objects in place of names, and mistakes in one line."""

from __future__ import annotations

import inspect
import json
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import edgenas
from edgenas.api.search import WHERE
from edgenas.cli.search import NOT_SETTINGS
from edgenas.cli.search import search as command
from edgenas.engine.events import Event, Note, SearchBegins
from edgenas.methods.baselines import RANDOM
from edgenas.methods.ladder import Training
from edgenas.methods.settings import SearchSettings
from edgenas.records import Ask, Candidate, Choice, Decision, Record, Trial
from edgenas.tasks import TaskSettings, load_task


def test_it_has_every_setting_of_the_command_line_under_the_same_name() -> None:
    """`rules` is a table of project files there; `resume` is `Study.go_on` here, `--json` what is returned."""
    api = set(inspect.signature(edgenas.search).parameters)
    flags = set(inspect.signature(command).parameters)
    assert api - flags == {"rules", "quiet", "on_event"}
    assert flags - api == {"resume", "as_json"}
    assert api - set(WHERE) == set(SearchSettings.__struct_fields__)
    assert {name for name in WHERE if name in flags} == NOT_SETTINGS - {"resume", "as_json"}


def test_no_default_differs_from_that_of_the_command_line() -> None:
    ours = {name: p.default for name, p in inspect.signature(edgenas.search).parameters.items() if name not in WHERE}
    assert set(ours.values()) == {None}  # None: the default of SearchSettings, as of a flag that is not given


def refused(*arguments: Any, **settings: Any) -> str:
    with pytest.raises(edgenas.EdgenasError) as caught:
        edgenas.search(*arguments, quiet=True, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


IMAGES, LABELS = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (("nowhere",), {}, "data set 'nowhere' is unknown: digits,"),
        ((), {"target": "jetsn"}, "unknown target 'jetsn': did you mean"),
        ((), {"method": "annealing"}, "method 'annealing' is unknown; possible: gnas, trgnas, nse, nal,"),
        ((), {"method": "random", "confirm_seeds": 2}, "--confirm-seeds is for --method gnas, trgnas"),
        ((), {"space": "two-stages", "method": "random"}, "space 'two-stages' is unknown; possible: "),
        ((), {"space": "nasbench201", "method": "gnas"}, "--space is for --method"),
        ((), {"space": "fbnet", "method": "random", "max_depth": 5}, "--max-depth bounds the spaces chain and stages"),
        ((), {"seed": -1}, "--seed -1 was asked for: it takes a whole number from 0"),
        ((), {"rules": {"pace": 3.0}}, "[rules] pace: method guided has no such rule; it has trials,"),
        ((), {"budget": 4, "epoch_scale": 1.0}, "give those two, or the budget"),
        ((), {"workers": 1, "ray": "auto"}, "give one of them"),
        (((IMAGES,),), {}, "data is a tuple of 1: give (images, labels)"),
        (((IMAGES, LABELS[:3]),), {}, "20 images and 3 labels"),
        (((IMAGES / 255, LABELS),), {}, "give (255 * images).round().astype(np.uint8)"),
        (((IMAGES, LABELS),), {"task": "faces"}, "arrays are for classification"),
        (((IMAGES, LABELS),), {"skip_damaged": True}, "skip_damaged is for data that is read from files"),
        (((IMAGES, LABELS),), {"data_dir": "images"}, "data_dir is for data that is read from files"),
        ((object(),), {}, "task 'object' has no `name`"),
        ((), {"space": lambda *_: None, "method": "random"}, "which is no space"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    arguments: Sequence[Any], settings: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(*arguments, **{"target": "raspberry-pi-5", **settings})
    assert not list(tmp_path.glob("studies/*/study.db"))


def test_arrays_are_read_as_the_project_file_says_unless_the_call_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = 'data = "elsewhere"\nimage-size = 12\nfit = "pad"\nseed = 3\nmetric = "macro_f1"\nbalance = "weights"\nflip = true\n'
    quick = (
        'target = "raspberry-pi-5"\nmethod = "random"\nmax-depth = 4\nmax-width = 4\n[rules]\ntrials = 1\nepochs = 1\n'
    )
    (tmp_path / "cells.toml").write_text(told + quick)
    rng = np.random.default_rng(0)
    arrays = (rng.integers(0, 256, (400, 8, 8), np.uint8), np.arange(400) % 2)
    study = edgenas.search(arrays, file="cells.toml", study="a", workers=0, quiet=True)
    plan = study.plan.task
    assert (plan.image_size, plan.fit, plan.seed) == (12, "pad", 3)
    assert (plan.metric, plan.balance, plan.flip) == ("macro_f1", "weights", True)
    assert plan.data.startswith("arrays-")
    assert study.trials[0].candidate.architecture.image_size == 12
    other = edgenas.search(
        arrays, file="cells.toml", image_size=10, metric="accuracy", study="b", workers=0, quiet=True
    )
    assert (other.plan.task.image_size, other.plan.task.metric, other.plan.task.fit) == (10, "accuracy", "pad")


def test_a_task_of_ones_own_says_itself_what_a_project_file_says_of_data(tmp_path: Path) -> None:
    task = load_task(TaskSettings("digits", search_images=100))
    said: dict[str, Any] = {"image_size": 12, "fit": "pad", "flip": True, "metric": "macro_f1", "task": "faces"}
    for name, value in said.items():
        (tmp_path / "p.toml").write_text(f"{name.replace('_', '-')} = {json.dumps(value)}")
        assert f"{name} is for data that EdgeNAS reads" in refused(task, file=tmp_path / "p.toml")
        assert f"{name} is for data that EdgeNAS reads" in refused(task, **{name: value})


# ---------------------------------------------------------------- a method of one's own


class FirstRules(Record, frozen=True):
    """How many."""

    networks: int = 3


def first_ones(search: edgenas.Search) -> Any:
    """The first few draws of the space; the best of them."""
    import random

    rng, training = random.Random(search.seed), search.training
    nets = [search.space.draw(rng) for _ in range(search.rules_as(FirstRules).networks)]
    assert isinstance(training, Training)
    wanted = tuple(Candidate(net, training.recipe_for(2, search.cost(net)), "first") for net in nets)
    trials = yield Ask(wanted)
    best = max(trials, key=lambda trial: trial.scores[search.objective])
    return Choice(best, {}, (Decision("first", "accept", "the best"),))


FIRST = edgenas.MethodSpec("first-ones", "the first draws", first_ones, FirstRules)
QUICK: dict[str, Any] = {
    "target": "raspberry-pi-5", "search_images": 200, "max_depth": 5, "max_width": 8, "workers": 0,
}  # fmt: skip


def test_a_method_of_the_callers_is_searched_and_goes_on_only_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    heard: list[Event] = []
    spec = edgenas.MethodSpec("first-ones", "the first draws", first_ones, FirstRules, heeds=("max_depth", "max_width"))
    study = edgenas.search("digits", method=spec, rules={"networks": 2}, study="mine", on_event=heard.append, **QUICK)
    assert [trial.candidate.phase for trial in study.trials] == ["first", "first"]
    assert [type(event) for event in heard if not isinstance(event, Note)] == [SearchBegins, Trial, Trial, Decision]
    assert study.plan.objects == ("method",)
    with pytest.raises(edgenas.EdgenasError, match="method 'first-ones' is unknown"):
        edgenas.search("digits", method="first-ones", study="mine", quiet=True, **QUICK)
    again = edgenas.search("digits", method=spec, rules={"networks": 2}, study="mine", quiet=True, **QUICK)
    assert again.trials == study.trials


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (lambda _: None, "method first-ones returned None: it has to return a Choice of one of its trials"),
        (lambda choice: choice.trial, "method first-ones returned Trial(candidate="),
        (
            lambda choice: Choice(renamed(choice.trial)),
            "method first-ones chose a network that it has no complete trial of: it has to choose one of the trials",
        ),
    ],
)
def test_a_method_that_returns_no_choice_of_its_trials_ends_in_one_line_and_the_study_is_whole(
    wrong: Any, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def made(search: edgenas.Search) -> Any:
        return wrong((yield from first_ones(search)))

    heeds = ("max_depth", "max_width")
    spec = edgenas.MethodSpec("first-ones", "the first draws", made, FirstRules, heeds=heeds)
    settings = {"rules": {"networks": 1}, "study": "mine", "quiet": True, **QUICK}
    with pytest.raises(edgenas.EdgenasError, match=re.escape(line)):
        edgenas.search("digits", method=spec, **settings)
    assert [trial.status for trial in edgenas.open_study("mine").trials] == ["complete"]
    mended = edgenas.MethodSpec("first-ones", "the first draws", first_ones, FirstRules, heeds=heeds)
    assert edgenas.search("digits", method=mended, **settings).best.candidate.phase == "first"


def test_a_method_that_asks_for_what_could_not_be_read_again_ends_in_one_line_and_the_study_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def made(search: edgenas.Search) -> Any:
        method = first_ones(search)
        ask = next(method)
        trials = yield ask
        wrong = msgspec.structs.replace(ask.needed[0].recipe, epochs=np.int64(3))
        yield Ask((msgspec.structs.replace(ask.needed[0], recipe=wrong),))
        method.send(trials)

    spec = edgenas.MethodSpec("first-ones", "the first draws", made, FirstRules, heeds=("max_depth", "max_width"))
    settings = {"rules": {"networks": 1}, "study": "mine", "quiet": True, **QUICK}
    with pytest.raises(
        edgenas.EdgenasError,
        match=r"^method first-ones asked for what cannot .*numpy.int64` - at `needed\[0\].recipe.epo",
    ):
        edgenas.search("digits", method=spec, **settings)
    assert [trial.status for trial in edgenas.open_study("mine").trials] == ["complete"]
    mended = edgenas.MethodSpec("first-ones", "-", first_ones, FirstRules, heeds=spec.heeds)
    assert edgenas.search("digits", method=mended, **settings).best.candidate.phase == "first"


def renamed(trial: Trial) -> Trial:
    """As a candidate that was never asked for."""
    return msgspec.structs.replace(trial, candidate=msgspec.structs.replace(trial.candidate, phase="other"))


@pytest.mark.parametrize("images", [[np.zeros((8, 8), np.uint8), np.zeros((9, 9), np.uint8)] * 9, [[1, 2], [3]]])
def test_arrays_that_are_none_are_one_line(images: Any) -> None:
    assert refused((images, [0, 1] * 9)).startswith(
        ("images are of several sizes ((8, 8), (9, 9))", "images cannot be read as an")
    )


def test_what_the_method_does_not_heed_is_refused() -> None:
    assert refused("digits", method=FIRST, **QUICK) == (
        "--max-depth is for --method gnas, trgnas, guided, random, evolution, nsga2, tpe, gp: leave it out with first-ones"
    )


def test_a_method_that_is_called_like_one_of_ours_is_refused_unless_it_is_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = edgenas.MethodSpec("random", "the first draws", first_ones, FirstRules, heeds=("max_depth", "max_width"))
    assert refused("digits", method=mine, **QUICK) == (
        "method 'random' comes with edgenas, and a study finds its method by the name: give yours another one"
    )
    assert not (tmp_path / "studies").exists()
    ours = edgenas.search("digits", method=RANDOM, rules={"trials": 1}, study="ours", quiet=True, **QUICK)
    assert len(ours.trials) == 1


def test_a_front_is_asked_for_by_any_name_of_its_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {
        **QUICK,
        "target": ("jetson", "raspberry-pi-5"),
        "method": "random",
        "rules": {"trials": 1, "epochs": 1},
    }
    study = edgenas.search("digits", quiet=True, **settings)
    assert study.front("jetson") == study.front("jetson-orin-nano-8gb-super") == study.front() != ()
    for other in ("jetson-nano", "no such board"):
        with pytest.raises(
            edgenas.EdgenasError, match=r"was not searched for .*: its targets are jetson-orin-nano-8gb-super, rasp"
        ):
            study.front(other)


def test_an_interrupted_search_is_whole_and_the_same_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {**QUICK, "method": "random", "rules": {"trials": 3, "epochs": 2}}
    whole = edgenas.search("digits", study="whole", quiet=True, **settings)

    def stop(event: Event) -> None:
        if isinstance(event, Trial) and event.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edgenas.search("digits", study="stopped", on_event=stop, **settings)
    stopped = edgenas.open_study("stopped", quiet=True)
    assert stopped.choice is None
    assert len(stopped.trials) == 2
    assert stopped.best in stopped.trials
    assert edgenas.search("digits", study="stopped", quiet=True, **settings).choice is not None
    assert [t.candidate.key for t in stopped.trials] == [t.candidate.key for t in whole.trials]
    assert [t.scores for t in stopped.trials] == [t.scores for t in whole.trials]


# ---------------------------------------------------------------- a space and a task of one's own


def two_layers(net: edgenas.Tracer, choices: Any) -> int:
    first = net.conv(-1, choices["width"], 3, stride=2, norm=True, activation="relu")
    return net.conv(first, choices["width"], choices["kernel"], norm=True, activation="relu")


TWO = edgenas.OwnSpace("two-layers", {"width": (4, 8), "kernel": (1, 3)}, two_layers)
OWN: dict[str, Any] = {
    "target": "raspberry-pi-5", "search_images": 200, "workers": 0, "method": "random",
    "rules": {"trials": 2, "epochs": 2},
}  # fmt: skip


def unfinished(study: edgenas.Study) -> None:
    """As if it had been killed before it chose."""
    with sqlite3.connect(study.folder / "study.db") as connection:
        connection.execute("DELETE FROM records WHERE kind = 'choice'")
    connection.close()


def test_a_space_of_the_callers_is_searched_and_goes_on_only_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = edgenas.search("digits", space=TWO, study="two", quiet=True, **OWN)
    assert {trial.candidate.architecture.space for trial in study.trials} == {"two-layers"}  # type: ignore[union-attr]
    assert study.plan.objects == ("space",)
    before = study.trials
    unfinished(study)
    with pytest.raises(edgenas.EdgenasError, match=r"begun with an object for its space, .*\.go_on\(space=\.\.\.\)"):
        edgenas.open_study("two", quiet=True).go_on(workers=0)
    again = edgenas.open_study("two", quiet=True).go_on(workers=0, space=TWO)
    assert (again.choice is not None, again.trials) == (True, before)
    final = again.train(seeds=1, epochs=1)
    assert sum(p.numel() for p in again.network().parameters()) == final.params


def test_a_task_of_the_callers_is_learned_and_trained_only_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgenas.tasks.arrays import task_from_arrays

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    images = rng.integers(0, 60, (120, 16, 16), dtype=np.uint8)
    images[labels == 1, 4:12] += 120
    task = task_from_arrays(images, labels, classes=("dark", "bright"))
    study = edgenas.search(task, study="own", quiet=True, **{**OWN, "search_images": None, "max_depth": 4})
    assert study.plan.objects == ("data",)
    assert study.record.data.startswith("classification-")
    assert study.train(seeds=1, epochs=1).classes == ("dark", "bright")
    with pytest.raises(edgenas.EdgenasError, match="begun with an object for its data"):
        edgenas.open_study("own", quiet=True).train(seeds=1, epochs=2)


# ---------------------------------------------------------------- settings of a file, and words


def test_a_project_file_gives_what_the_call_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project.toml").write_text('target = "raspberry-pi-5"\nmax-params = 5\n')
    with pytest.raises(edgenas.EdgenasError, match=r"no network of this space meets the limit.*parameters > 5"):
        edgenas.search(file="project.toml", quiet=True)
    with pytest.raises(edgenas.EdgenasError, match="parameters > 7"):
        edgenas.search(file="project.toml", max_params=7, quiet=True)


def test_nothing_is_said_where_quiet_and_to_the_listener_alone_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    heard: list[Event] = []
    for listening in ({"quiet": True}, {"on_event": heard.append}):
        with pytest.raises(edgenas.EdgenasError):
            edgenas.search(target="raspberry-pi-5", max_params=5, **listening)  # type: ignore[arg-type]
    assert tuple(capfd.readouterr()) == ("", "")
    assert any("data digits: 1,797 images" in event.text for event in heard if isinstance(event, Note))
