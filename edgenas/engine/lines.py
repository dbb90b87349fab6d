"""Events as plain lines, for logs and notebooks."""

from __future__ import annotations

from typing import TextIO

from edgenas.architectures.words import words_of
from edgenas.binomial import Validation
from edgenas.engine.events import Event, Note, RunEnds, SearchBegins
from edgenas.engine.plan import validation_in
from edgenas.engine.scores import decision_words, run_line, scored_words
from edgenas.hardware.words import latency_words
from edgenas.records import Decision, Metric, StudyRecord, Trial


class Lines:
    """A listener that writes one line for every note, trial, decision and finished run."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.study: StudyRecord | None = None
        self.last: Trial | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, SearchBegins):
            self.study = event.study
        elif (line := self._line(event)) is not None:
            self.stream.write(line + "\n")
            self.stream.flush()

    def _line(self, event: Event) -> str | None:
        if isinstance(event, Note):
            return event.text
        if isinstance(event, RunEnds):
            return run_line(event.run, event.metric, event.images)
        if self.study is None or not isinstance(event, Trial | Decision):
            return None
        metric, validation = self.study.metric, validation_in(self.study)
        if isinstance(event, Trial):
            self.last = event
            return trial_line(event, metric, validation)
        return None if is_told(event, self.last) else decision_line(event, metric, validation)


def is_told(decision: Decision, last: Trial | None) -> bool:
    """Has the trial's own line said all of it? What broke a limit or failed is the decision's whole reason, too."""
    return last is not None and bool(last.error) and decision.reason == last.error


def decision_line(decision: Decision, metric: Metric, validation: Validation | None = None) -> str:
    """The verdict and its reason, below the trial that it is about."""
    return f"        {decision.verdict}: {decision_words(decision, validation, metric)}".rstrip(": ")


def trial_line(trial: Trial, metric: Metric, validation: Validation | None = None) -> str:
    """number, phase, network, epochs, score with its 95 % interval, latencies, seconds."""
    words = words_of(trial.candidate.architecture)
    score = f"{trial.status}: {trial.error}"
    if trial.status == "complete":
        score = f"{scored_words(trial.scores, metric, validation):>8}"
    latencies = ", ".join(map(latency_words, trial.cost.latencies.values()))
    took = f"{trial.candidate.recipe.epochs} epochs in {trial.seconds:.1f} s" if trial.seconds else "not trained"
    head = f"{trial.number or 0:4d}  {trial.candidate.phase:8s} {words:8s} {trial.cost.params:>9,} p"
    return f"{head}  {score}  {latencies}  {took}"
