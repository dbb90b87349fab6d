"""What a person sees while a command works: lines in a pipe, and below them a live panel in a terminal. On stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from edgenas.binomial import Validation
from edgenas.cli.output import say
from edgenas.methods import LADDER
from edgenas.records import ChainArchitecture, Decision, Study, Trial
from edgenas.report.scores import decision_words, interval_of, interval_words, validation_in

FROM_STORE_S = 0.05  # a trial that came sooner was not trained now: it says nothing about the pace
INTERRUPTED = 130  # what shells expect after Ctrl-C


@contextlib.contextmanager
def interruptible(other: str = "") -> Iterator[None]:
    """Ctrl-C ends the command with a sentence that says how to go on: the same command, or the `other` one."""
    try:
        yield
    except KeyboardInterrupt:
        command = f"the same command, or `{other}`," if other else "the same command"
        say(f"stopped: everything finished so far is kept, and {command} goes on from here")
        raise typer.Exit(INTERRUPTED) from None


class Pace:
    """Seconds per decision, measured over the last few that needed work."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.last = clock()
        self.taken: deque[float] = deque(maxlen=8)
        self.since_decision = 0.0

    def trial(self) -> None:
        """A trial was answered."""
        now = self.clock()
        if now - self.last >= FROM_STORE_S:
            self.since_decision += now - self.last
        self.last = now

    def decision(self) -> None:
        """Something was made of the trials since the last decision."""
        if self.since_decision > 0:
            self.taken.append(self.since_decision)
        self.since_decision = 0.0

    @property
    def seconds(self) -> float | None:
        return sum(self.taken) / len(self.taken) if self.taken else None


class SearchView:
    """Prints every trial and decision; in a terminal also the phases, the pace, the time left and the best so far."""

    def __init__(
        self,
        study: Study,
        objective: str,
        deadline_s: float | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.study, self.objective, self.deadline_s, self.clock = study, objective, deadline_s, clock
        self.validation = validation_in(study)
        self.started = clock()
        self.pace = Pace(clock)
        self.phase = ""
        self.decided = 0  # candidates judged in this phase
        self.trained = 0
        self.best: Trial | None = None
        self.last: Trial | None = None
        self.live: Live | None = None

    def __enter__(self) -> SearchView:
        if self.console.is_terminal:
            self.live = Live(console=self.console, get_renderable=self.panel, refresh_per_second=2, transient=True)
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def show(self, event: Trial | Decision) -> None:
        """One trial or one decision."""
        if isinstance(event, Decision):
            self.pace.decision()
            self.decided += event.verdict != "start"
            reason = decision_words(event, self.validation, self.objective)
            self.console.print(f"        {event.verdict}: {reason}".rstrip(": "), markup=False)
            return
        self.pace.trial()
        if event.candidate.phase != self.phase:
            self.phase, self.decided = event.candidate.phase, 0
        self.last = event
        self.console.print(trial_line(event, self.objective, self.validation), markup=False)
        if event.status == "complete":
            self.trained += 1
            if self.best is None or event.scores[self.objective] > self.best.scores[self.objective]:
                self.best = event

    def panel(self) -> Text:
        """The live lines below the trials."""
        if self.last is None:
            return Text("starting the workers")
        elapsed = self.clock() - self.started
        seconds = self.pace.seconds
        words = [f"{self.trained} trained in {minutes(elapsed)}"]
        if seconds is not None:
            words.append(f"{seconds:.1f} s a decision")
        words += self._left(elapsed, seconds)
        lines = [self._phases(), " · ".join(words)]
        if self.best is not None:
            interval = interval_words(interval_of(self.best.scores, self.objective, self.validation))
            lines.append(f"best {self.best.scores[self.objective]:.2f} %{interval} (trial {self.best.number})")
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

    def _phases(self) -> str:
        if self.phase not in LADDER:
            return f"{self.phase} phase"
        return " > ".join(f"[{phase}]" if phase == self.phase else phase for phase in LADDER)

    def _left(self, elapsed: float, seconds: float | None) -> list[str]:
        words = []
        assert self.last is not None
        left = at_most_left(self.study, self.last, self.decided)
        if left is not None:
            about = f", at most {minutes(left * seconds)}" if seconds is not None else ""
            words.append(f"at most {left} more in this phase{about}")
        if self.deadline_s is not None:
            words.append(f"{minutes(max(0.0, self.deadline_s - elapsed))} of the budget left")
        return words


class RunsView:
    """Prints a line for every finished run; in a terminal also how many are left and, once one has ended, about how long."""

    def __init__(self, total: int, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.total, self.clock, self.started = total, clock, clock()
        self.finished: list[float] = []
        self.live: Live | None = None

    def __enter__(self) -> RunsView:
        if self.console.is_terminal:
            self.live = Live(console=self.console, get_renderable=self.panel, refresh_per_second=2, transient=True)
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def show(self, line: str) -> None:
        """One run has ended."""
        self.finished.append(self.clock() - self.started)
        self.console.print(line, markup=False)

    def panel(self) -> Text:
        """The live line below."""
        elapsed = self.clock() - self.started
        words = [f"{len(self.finished)} of {self.total} runs finished", minutes(elapsed)]
        if self.finished and len(self.finished) < self.total:
            pace = self.finished[-1] / len(self.finished)
            words.append(f"about {minutes(max(0.0, self.total * pace - elapsed))} left")
        return Text(" · ".join(words))


def at_most_left(study: Study, last: Trial, decided: int) -> int | None:
    """How many more candidates the present phase can judge; None where only the method knows."""
    space: dict[str, Any] = study.settings.get("space", {})
    net, phase = last.candidate.architecture, last.candidate.phase
    trials = study.settings.get("rules", {}).get("trials")
    if phase == study.method and trials is not None:  # a baseline: so many trials
        return max(0, int(trials) - (last.number or 0))
    if not isinstance(net, ChainArchitecture) or phase not in LADDER:
        return None
    layers = net.depth if study.method == "gnas" else 2 * net.depth // 3
    left: dict[str, int] = {
        "depth": space["max_depth"] - net.depth,
        "width": (net.width - space["min_width"]) // space["width_step"],
        "ops": layers - decided,
        "kernels": layers * (len(space["kernels"]) - 1) - decided,
    }
    return max(0, left[phase])


def minutes(seconds: float) -> str:
    """Seconds below two minutes, minutes below two hours, hours above."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def trial_line(trial: Trial, objective: str, validation: Validation | None = None) -> str:
    """number, phase, network, epochs, score with its 95 % interval, latencies, seconds."""
    net = trial.candidate.architecture
    words = f"L{net.depth} W{net.width}" if isinstance(net, ChainArchitecture) else net.fingerprint
    score = f"{trial.status}: {trial.error}"
    if trial.status == "complete":
        interval = interval_words(interval_of(trial.scores, objective, validation))
        score = f"{trial.scores[objective]:6.2f} %{interval}"
    latencies = ", ".join(f"{latency.ms:.3f} ms {latency.origin}" for latency in trial.cost.latencies.values())
    took = f"{trial.candidate.recipe.epochs} epochs in {trial.seconds:.1f} s" if trial.seconds else "not trained"
    head = f"{trial.number or 0:4d}  {trial.candidate.phase:8s} {words:8s} {trial.cost.params:>9,} p"
    return f"{head}  {score}  {latencies}  {took}"
