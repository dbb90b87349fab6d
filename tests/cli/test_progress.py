import functools
import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from edgenas.architectures.chain import ChainSpace
from edgenas.cli.progress import Pace, SearchView, TrainingView
from edgenas.engine.events import Event, RunEnds, SearchBegins, TrainingBegins
from edgenas.methods.gnas import GNAS, GnasRules
from edgenas.methods.ladder import Training
from edgenas.methods.replay import cost_without_device
from edgenas.methods.spec import Search
from edgenas.records import ACCURACY, Classes, FinalRun, Limits, StudyRecord, Trial
from edgenas.report.facts import read_facts
from tests.cli.edgenas import ENVIRONMENT, SMALL
from tests.plans import RECIPE, plan, studied
from tests.report.studies import published_study

SPACE = ChainSpace(Classes(10), 3, 32, min_depth=10, max_depth=100, min_width=16, max_width=64, width_step=2)
SEARCH = Search(SPACE, GnasRules(), Training(RECIPE), cost_without_device, Limits(), 0)


def begins(study: StudyRecord, seconds: float | None = None) -> Event:
    """The search of the published study begins, with so many seconds of its budget left."""

    def left(last: Trial, decided: int) -> int | None:
        return GNAS.left(SEARCH, last, decided)

    return SearchBegins(study, Path("studies/x"), seconds, left)


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_pace_counts_what_was_trained_and_not_what_was_read_from_the_store() -> None:
    clock = Clock()
    pace = Pace(clock)
    for seconds in (0.001, 0.001, 8.0, 4.0):  # a resumed search first reads two trials from its database
        clock.now += seconds
        pace.trial()
        pace.decision()
    assert pace.seconds == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("phase", "left"),
    [("depth", 100 - 26), ("width", (46 - 16) // 2), ("ops", 26 - 3), ("kernels", 26 - 3)],
)
def test_what_is_left_of_a_phase_is_bounded_by_its_space(tmp_path: Path, phase: str, left: int) -> None:
    facts = read_facts(published_study(tmp_path / "cifar10"))
    nets = {"depth": (26, 64), "width": (26, 46), "ops": (26, 45), "kernels": (26, 43)}
    trials = [t for t in facts.complete if t.candidate.phase == phase]
    depth, width = nets[phase]
    net = next(t for t in trials if getattr(t.candidate.architecture, "depth", 0) == depth)
    if phase == "width":
        net = next(t for t in trials if getattr(t.candidate.architecture, "width", 0) == width)
    assert GNAS.left(SEARCH, net, 3) == left


def test_the_panel_of_a_terminal_shows_phase_pace_time_left_and_best(tmp_path: Path) -> None:
    facts = read_facts(published_study(tmp_path / "cifar10"))
    clock, screen = Clock(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with SearchView(console, clock) as view:
        view.hear(begins(facts.study, 600.0))
        for trial, decision in zip(facts.complete[:3], facts.decisions[:3], strict=True):
            clock.now += 10.0
            view.hear(trial)
            view.hear(decision)
        panel = view.panel().plain
    assert "[depth] > width > ops > kernels" in panel
    assert panel.splitlines() == [
        "[depth] > width > ops > kernels",
        "3 trained · running for 30 s · 10.0 s a decision",
        "at most 88 more in this phase, at most 14.7 min · 9.5 min of the budget left",
        "best 86.16 % (trial 3)",
    ]
    assert max(map(len, panel.splitlines())) <= 80


def test_the_line_below_a_training_counts_runs_and_estimates_the_rest() -> None:
    clock, screen = Clock(), io.StringIO()
    images = {"train": 1000, "val": 100, "test": 1000}
    run = FinalRun(1, "1.safetensors", {"accuracy": 97.0}, {"accuracy": 97.1}, 3, {}, {"accuracy": 97.2}, 59.6)
    with TrainingView(Console(file=screen, force_terminal=True, width=160, highlight=False), clock) as view:
        view.hear(TrainingBegins(3, ACCURACY, images))
        clock.now += 60.0
        assert view.panel().plain == "0 of 3 runs finished · 60 s"
        view.hear(RunEnds(run, ACCURACY, images))
        assert view.panel().plain == "1 of 3 runs finished · 60 s · about 2.0 min left"
    assert "seed 1: test accuracy 97.00 % (95.7 to 97.9), validation 97.10 %" in screen.getvalue()


def test_trainings_that_follow_one_another_are_counted_apart_and_leave_the_terminal_as_it_was() -> None:
    clock, screen, stdout = Clock(), io.StringIO(), sys.stdout
    run = FinalRun(1, "1.safetensors", {"accuracy": 97.0}, {}, 3, {}, {"accuracy": 97.2}, 59.6)
    with TrainingView(Console(file=screen, force_terminal=True, width=160), clock) as view:
        view.hear(RunEnds(run, ACCURACY, {"test": 1000}))  # of a teacher, which is trained before its student
        for _ in range(2):
            view.hear(TrainingBegins(1, ACCURACY, {"test": 1000}))
            assert view.panel().plain == "0 of 1 run finished · 0 s"
            clock.now += 60.0
            view.hear(RunEnds(run, ACCURACY, {"test": 1000}))
            assert view.panel().plain == "1 of 1 run finished · 60 s"
    assert sys.stdout is stdout  # where the result goes
    hidden, shown = (screen.getvalue().count(f"\x1b[?25{letter}") for letter in "lh")  # the cursor
    assert (hidden, shown) == (2, 2)


def test_runs_that_are_kept_are_finished_and_say_nothing_of_the_time_that_the_others_take() -> None:
    clock = Clock()
    run = FinalRun(1, "1.safetensors", {"accuracy": 97.0}, {}, 3, {}, {"accuracy": 97.2}, 59.6)
    with TrainingView(Console(file=io.StringIO(), force_terminal=True), clock) as view:
        view.hear(TrainingBegins(4, ACCURACY, {"test": 10}, seconds=200.0, kept=2))
        clock.now += 60.0
        assert view.panel().plain == "2 of 4 runs finished · 60 s · about 2.3 min left"
        view.hear(RunEnds(run, ACCURACY, {"test": 10}))
        assert view.panel().plain == "3 of 4 runs finished · 60 s · about 60 s left"
        view.hear(RunEnds(run, ACCURACY, {"test": 10}))
        assert view.panel().plain == "4 of 4 runs finished · 60 s"


@pytest.mark.parametrize(
    ("gone", "line"),
    [
        (60.0, "0 of 2 runs finished · 60 s · about 2.3 min left"),
        (199.0, "0 of 2 runs finished · 3.3 min · about 1 s left"),
        (201.0, "0 of 2 runs finished · 3.4 min"),  # nobody knows any more
    ],
)
def test_before_the_first_run_has_ended_what_was_expected_of_all_is_counted_down(gone: float, line: str) -> None:
    clock = Clock()
    with TrainingView(Console(file=io.StringIO(), force_terminal=True), clock) as view:
        view.hear(TrainingBegins(2, ACCURACY, {"test": 10}, seconds=200.0))
        clock.now += gone
        assert view.panel().plain == line


def test_a_pipe_gets_plain_lines_without_control_characters(tmp_path: Path) -> None:
    facts = read_facts(published_study(tmp_path / "cifar10"))
    screen = io.StringIO()
    with SearchView(Console(file=screen, soft_wrap=True)) as view:
        view.hear(begins(facts.study))
        for trial in facts.complete:
            view.hear(trial)
    text = screen.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    assert len(text.splitlines()) == len(facts.complete)


def test_ctrl_c_leaves_a_sentence_that_says_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgenas", *SMALL, "--workers", "0", "--study", "stopped"]
    heeding = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # shells start background jobs deaf to it
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heeding,
    )
    assert process.stderr is not None
    deadline = time.monotonic() + 240
    for line in process.stderr:
        if "start: the shallowest" in line or time.monotonic() > deadline:
            break
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=240)
    assert process.returncode == 130
    assert (
        rest.splitlines()[-1] == "stopped: everything finished so far is kept, and the same command, or "
        "`edgenas search --resume studies/stopped`, goes on from here"
    )
    assert "Traceback" not in rest
    assert out == ""


def test_ctrl_c_names_the_board_without_which_the_search_does_not_go_on(tmp_path: Path) -> None:
    at = " --board http://nano:8765"
    for measured, token, named in ((True, None, at), (True, Path("t"), f"{at} --token-file t"), (False, None, "")):
        view = SearchView(boards=("http://nano:8765",), token_file=token)
        view.search = SearchBegins(studied(plan(boards=measured)), tmp_path, None, lambda *_: None)
        assert view.resuming() == f"edgenas search --resume {tmp_path}{named}"
