"""What a person sees while a search runs: lines in a pipe, a live status line in a terminal. On stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.status import Status

from edgenas.records import ChainArchitecture, Decision, Trial


class SearchView:
    """Prints every trial and decision; in a terminal also what is being done now, and the time left."""

    def __init__(self, objective: str, deadline_s: float | None = None) -> None:
        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.objective = objective
        self.deadline_s = deadline_s
        self.started = time.monotonic()
        self.trained = 0
        self.seconds = 0.0
        self.status: Status | None = None

    def __enter__(self) -> SearchView:
        if self.console.is_terminal:
            self.status = self.console.status("starting the workers")
            self.status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.status:
            self.status.stop()
        if kind is KeyboardInterrupt:
            self.console.print(
                "stopped; everything trained so far is kept: the same command goes on from here", markup=False
            )

    def show(self, event: Trial | Decision) -> None:
        """One trial or one decision."""
        if isinstance(event, Decision):
            self.console.print(f"        {event.verdict}: {event.reason}", markup=False)
            return
        self.console.print(trial_line(event, self.objective), markup=False)
        if event.status == "complete":
            self.trained += 1
            self.seconds += event.seconds
        if self.status:
            self.status.update(self._now(event))

    def _now(self, last: Trial) -> str:
        elapsed = time.monotonic() - self.started
        mean = self.seconds / max(self.trained, 1)
        left = f", at most {max(0.0, self.deadline_s - elapsed) / 60:.1f} min left" if self.deadline_s else ""
        return (
            f"{last.candidate.phase} phase: {self.trained} trained in {elapsed / 60:.1f} min ({mean:.1f} s each){left}"
        )


def trial_line(trial: Trial, objective: str) -> str:
    """number, phase, network, epochs, score, latencies, seconds."""
    net = trial.candidate.architecture
    words = f"L{net.depth} W{net.width}" if isinstance(net, ChainArchitecture) else net.fingerprint
    score = f"{trial.scores[objective]:6.2f} %" if trial.status == "complete" else f"{trial.status}: {trial.error}"
    latencies = ", ".join(f"{latency.ms:.3f} ms {latency.origin}" for latency in trial.cost.latencies.values())
    took = f"{trial.candidate.recipe.epochs} epochs in {trial.seconds:.1f} s" if trial.seconds else "not trained"
    head = f"{trial.number or 0:4d}  {trial.candidate.phase:8s} {words:8s} {trial.cost.params:>9,} p"
    return f"{head}  {score}  {latencies}  {took}"
