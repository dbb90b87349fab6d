"""What can be asked of a final training: one record, which the flags of `edgenas train` and `Study.train` fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgenas.errors import EdgenasError
from edgenas.faces.pixels import Pixels

MOST_SEEDS, MOST_EPOCHS, MOST_MINUTES = 10_000, 100_000, 1e9
MOST_CHECKPOINT_S = 86400
MOST_VIEWS = 1_000_000
APART = {
    "--workers": "workers train one seed each, processes train each seed together: give one of them",
    "--budget": "how long they take together is not known before they do: give --epochs",
}


@dataclass(frozen=True)
class TrainingAsked:
    """What can be asked of a final training. `budget`: minutes since `started` (monotonic seconds), instead of `epochs`.

    trial: None = the search's choice. data, from_trained: other data, starting from the trained weights. start: a network in
    place of a trial's, such as FILE.onnx (networks/public.py says what it can be). teacher: whose outputs are learned from, too
    (engine/teachers.py). checkpoint_s: least seconds between two checkpoints of a training, 0 = after every epoch. processes:
    that train each seed together, one seed after the other. all_images: also on the validation images, without a score there.
    teacher_pixels: what a FILE.onnx takes, where it does not say so itself. teacher_views: how many views of faces it is shown.
    start_pixels: as teacher_pixels, of start.
    """

    trial: int | None = None
    seeds: int = 3
    epochs: int | None = None
    recipe: str | None = None
    budget: float | None = None
    final_width: Literal["matched", "macro"] | None = None
    data: str | None = None
    data_dir: str | None = None
    from_trained: bool = False
    workers: int | None = None
    started: float = 0.0
    start: str | None = None
    teacher: str | None = None
    checkpoint_s: float | None = None
    processes: int = 1
    all_images: bool = False
    teacher_pixels: Pixels | None = None
    teacher_views: int | None = None
    start_pixels: Pixels | None = None

    def __post_init__(self) -> None:
        if self.final_width not in (None, "matched", "macro"):
            raise EdgenasError(f"--final-width {self.final_width}: matched or macro")
        if self.teacher is None and (self.teacher_pixels is not None or self.teacher_views is not None):
            raise EdgenasError(
                "--teacher-mean, --teacher-std and --teacher-views say how a --teacher is asked: name one"
            )
        if self.start is None and self.start_pixels is not None:
            raise EdgenasError("--start-mean and --start-std say what a --start takes: name one")
        if self.teacher_views is not None and not 0 <= self.teacher_views <= MOST_VIEWS:
            raise EdgenasError(f"--teacher-views {self.teacher_views}: from 0 to {MOST_VIEWS:,}")
        refuse_counts(self.seeds, self.epochs, self.workers)
        if self.budget is not None and not 0 < self.budget <= MOST_MINUTES:
            raise EdgenasError(f"--budget {self.budget:g}: minutes above 0, up to {MOST_MINUTES:g}")
        if self.epochs is not None and self.budget is not None:
            raise EdgenasError("--epochs and --budget both say how long: give one of them")
        if self.checkpoint_s is not None and not 0 <= self.checkpoint_s <= MOST_CHECKPOINT_S:
            raise EdgenasError(f"--checkpoint-s {self.checkpoint_s:g}: from 0 (every epoch) to {MOST_CHECKPOINT_S}")
        if self.processes < 1:
            raise EdgenasError(f"--processes {self.processes}: at least one")
        for flag, value in (("--workers", self.workers), ("--budget", self.budget)):
            if self.processes > 1 and value is not None:
                raise EdgenasError(f"--processes {self.processes} beside {flag}: {APART[flag]}")
        if self.all_images and (self.from_trained or self.start is not None):
            other = "--from-trained" if self.from_trained else f"--start {self.start}"
            raise EdgenasError(
                "--all-images is for the network that was chosen by its validation score: leave it out, or leave out "
                f"{other}"
            )
        if self.all_images and (self.teacher or "").lower().endswith(".npz"):
            raise EdgenasError(
                f"--all-images beside --teacher {self.teacher}: a file of outputs holds those of the training images, and none "
                "of the validation images: leave --all-images out, or name a network as teacher"
            )
        if (self.data is not None) != self.from_trained:
            raise EdgenasError(
                "--data and --from-trained belong together: other data, starting from the trained weights"
            )


def refuse_counts(seeds: int | None, epochs: int | None, workers: int | None) -> None:
    """Raise EdgenasError for numbers of a training that are none; what is None was not asked for."""
    for flag, value, most in (("seeds", seeds, MOST_SEEDS), ("epochs", epochs, MOST_EPOCHS)):
        if value is not None and not 1 <= value <= most:
            raise EdgenasError(f"--{flag} {value}: at least one, up to {most:,}")
    if workers is not None and workers < 1:
        raise EdgenasError(f"--workers {workers}: at least one")
