"""What a person sees while a command works: lines in a pipe, and below them a live panel in a terminal. On stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from edgenas.binomial import Validation
from edgenas.cli.output import fitted, hears_progress, say
from edgenas.engine.again import resuming
from edgenas.engine.counts import counted
from edgenas.engine.events import Event, Note, RunEnds, SearchBegins, TrainingBegins
from edgenas.engine.lines import decision_line, is_told, trial_line
from edgenas.engine.plan import validation_in
from edgenas.engine.scores import run_line, scored_words
from edgenas.methods import LADDER
from edgenas.records import Decision, Metric, Trial

FROM_STORE_S = 0.05  # a trial that came sooner was not trained now: it says nothing about the pace
INTERRUPTED = 130  # what shells expect after Ctrl-C


@contextlib.contextmanager
def interruptible(other: Callable[[], str] = str) -> Iterator[None]:
    """Ctrl-C ends the command with a sentence that says how to go on: the same command, or the `other` one."""
    try:
        yield
    except KeyboardInterrupt:
        command = f"the same command, or `{other()}`," if other() else "the same command"
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
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        boards: tuple[str, ...] = (),
        token_file: Path | None = None,
    ) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.clock, self.boards, self.token_file = clock, boards, token_file
        self.search: SearchBegins | None = None
        self.validation: Validation | None = None
        self.started = clock()
        self.pace = Pace(clock)
        self.phase = ""
        self.decided = 0  # candidates judged in this phase
        self.trained = 0
        self.best: Trial | None = None
        self.last: Trial | None = None
        self.live: Live | None = None

    def __enter__(self) -> SearchView:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def resuming(self) -> str:
        """The command that goes on with this search; "" before there is one."""
        if self.search is None:
            return ""
        token = None if self.token_file is None else str(self.token_file)
        return resuming(self.search.study, self.search.folder, self.boards, token)

    @property
    def metric(self) -> Metric:
        assert self.search is not None
        return self.search.study.metric

    def hear(self, event: Event) -> None:
        """One event of the engine."""
        if isinstance(event, Note):
            say(event.text)
        elif isinstance(event, SearchBegins):
            self._begin(event)
        elif isinstance(event, Decision):
            self._decision(event)
        elif isinstance(event, Trial):
            self._trial(event)

    def _begin(self, search: SearchBegins) -> None:
        self.search, self.validation = search, validation_in(search.study)
        self.started = self.clock()
        self.pace = Pace(self.clock)
        if self.console.is_terminal and hears_progress():
            self.live = Live(console=self.console, get_renderable=self.panel, refresh_per_second=2, transient=True)
            self.live.start()

    def _decision(self, decision: Decision) -> None:
        self.pace.decision()
        self.decided += decision.verdict != "start"
        if not is_told(decision, self.last):
            print_line(self.console, decision_line(decision, self.metric, self.validation))

    def _trial(self, trial: Trial) -> None:
        self.pace.trial()
        if trial.candidate.phase != self.phase:
            self.phase, self.decided = trial.candidate.phase, 0
        self.last = trial
        print_line(self.console, trial_line(trial, self.metric, self.validation))
        if trial.status == "complete":
            self.trained += 1
            objective = self.metric.objective
            if self.best is None or trial.scores[objective] > self.best.scores[objective]:
                self.best = trial

    def panel(self) -> Text:
        """The live lines below the trials."""
        if self.last is None:
            return Text("starting the workers")
        elapsed = self.clock() - self.started
        seconds = self.pace.seconds
        words = [f"{self.trained} trained", f"running for {minutes(elapsed)}"]  # some of them by a run before
        if seconds is not None:
            words.append(f"{seconds:.1f} s a decision")
        lines = [self._phases(), " · ".join(words)]
        if left := self._left(elapsed, seconds):
            lines.append(" · ".join(left))
        if self.best is not None:
            best = scored_words(self.best.scores, self.metric, self.validation)
            lines.append(f"best {best} (trial {self.best.number})")
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

    def _phases(self) -> str:
        if self.phase not in LADDER:
            return f"{self.phase} phase"
        return " > ".join(f"[{phase}]" if phase == self.phase else phase for phase in LADDER)

    def _left(self, elapsed: float, seconds: float | None) -> list[str]:
        words = []
        assert self.last is not None
        assert self.search is not None
        left = self.search.left(self.last, self.decided)
        if left is not None:
            about = f", at most {minutes(left * seconds)}" if seconds is not None else ""
            words.append(f"at most {left} more in this phase{about}")
        if self.search.seconds is not None:
            words.append(f"{minutes(max(0.0, self.search.seconds - elapsed))} of the budget left")
        return words


class TrainingView:
    """Prints a line for every finished run; in a terminal also how many are left and, once one has ended, about how long."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.total, self.kept, self.clock, self.started = 0, 0, clock, clock()
        self.expected: float | None = None  # seconds of all runs that are not kept, before the first has ended
        self.finished: list[float] = []
        self.live: Live | None = None

    def __enter__(self) -> TrainingView:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def hear(self, event: Event) -> None:
        """One event of the engine. Trainings follow one another: of several references, or of a teacher and its student."""
        if isinstance(event, Note):
            say(event.text)
        elif isinstance(event, TrainingBegins):
            if self.live:
                self.live.stop()  # beside a second one rich would never give back stdout, and the result would be lost
            self.total, self.kept, self.started, self.expected = event.runs, event.kept, self.clock(), event.seconds
            self.finished.clear()
            if self.console.is_terminal and hears_progress():
                self.live = Live(console=self.console, get_renderable=self.panel, refresh_per_second=2, transient=True)
                self.live.start()
        elif isinstance(event, RunEnds):
            self.finished.append(self.clock() - self.started)
            print_line(self.console, run_line(event.run, event.metric, event.images))

    def panel(self) -> Text:
        """The live line below."""
        elapsed = self.clock() - self.started
        words = [f"{self.kept + len(self.finished)} of {counted(self.total, 'run')} finished", minutes(elapsed)]
        whole, missing = self.expected, self.total - self.kept
        if self.finished:
            whole = missing * self.finished[-1] / len(self.finished) if len(self.finished) < missing else None
        if whole is not None and elapsed < whole:
            words.append(f"about {minutes(whole - elapsed)} left")
        return Text(" · ".join(words))


def print_line(console: Console, line: str) -> None:
    """One line of progress; in a terminal broken between words where it is too long."""
    if hears_progress():
        console.print(fitted(line, console.width) if console.is_terminal else line, markup=False)


def minutes(seconds: float) -> str:
    """Seconds below two minutes, minutes below two hours, hours above."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
