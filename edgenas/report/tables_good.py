"""How good a trained network is, in tables: each class, the confusion matrix, its worst mistakes, faces verified."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from edgenas.confusion import METRICS
from edgenas.engine.scores import best_run, interval_words, metric_of
from edgenas.records import FinalTraining, Mistake
from edgenas.report.answers.commands import train_again_command
from edgenas.report.answers.good import confusions
from edgenas.report.facts import Facts
from edgenas.report.tables import Table
from edgenas.report.trained import confusion_in

LARGEST = 20  # classes, up to which the whole matrix is shown
SHADES = 4  # of a cell, besides none
LARGEST_PICTURE = 1_000_000  # bytes; one of 128 px has 50 kB at most


def classes_table(final: FinalTraining) -> Table | None:
    """How the network that would be exported does on each class of the test images."""
    classes = best_run(final).report.get("classes")
    if classes is None:  # another task's, or of an earlier version
        return None

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    rows = [
        [
            one["name"],
            f"{one['images']:,}",
            percent(one["recall"]) + ("" if one["recall"] is None else interval_words(tuple(one["recall_interval"]))),
            percent(one["precision"]),
            percent(one["f1"]),
        ]
        for one in classes
    ]
    return {"header": ["class", "test images", "recall, %", "precision, %", "F1, %"], "rows": rows}


# ---------------------------------------------------------------- confusion


@dataclass(frozen=True)
class Cell:
    """`shade`: 0 to SHADES, by its share of its true class."""

    count: str
    shade: int
    right: bool


def matrix(final: FinalTraining) -> dict[str, Any] | None:
    """Names, and rows of cells: true classes down, what they are called across; None where it was not kept, or is too large."""
    counts = confusion_in(final)
    if counts is None or len(counts) > LARGEST:
        return None
    images = counts.sum(1)
    rows = [
        [
            Cell(f"{int(count):,}" if count else "", _shade(int(count), int(images[true])), true == called)
            for called, count in enumerate(row)
        ]
        for true, row in enumerate(counts)
    ]
    return {"names": final.classes, "rows": list(zip(final.classes, rows, strict=True))}


def _shade(count: int, images: int) -> int:
    return 0 if not count else min(SHADES, 1 + int(SHADES * count / images))


def confusions_table(final: FinalTraining) -> Table | None:
    """The most frequent mistakes, in place of a matrix of more than LARGEST classes."""
    counts = confusion_in(final)
    if counts is None or len(counts) <= LARGEST:
        return None
    rows = [[true, called, f"{count:,}", f"{images:,}"] for count, images, true, called in confusions(final)]
    return {"header": ["class", "called", "test images", "of"], "rows": rows}


# ---------------------------------------------------------------- mistakes


@dataclass(frozen=True)
class Shown:
    """One mistake: its picture as a data URI, "" where the file is not there or is another one now."""

    picture: str
    alt: str
    words: str
    file: str


def mistakes(facts: Facts, final: FinalTraining) -> tuple[list[Shown], str]:
    """The worst mistakes of the exported network, or of the best one of those that kept them; and a sentence about them."""
    runs = sorted(final.runs, key=lambda run: (run is not best_run(final), run.mistakes is None))
    run = next((one for one in runs if one.mistakes is not None), None)
    again = f"`{train_again_command(facts, final, seeds=len(final.runs) + 1)}`"
    if run is None or run.mistakes is None:
        if metric_of(final).name not in METRICS:
            return [], ""
        missing = (
            "Its worst mistakes are" if "classes" in best_run(final).report else "Its classes and worst mistakes are"
        )
        return [], f"{missing} not here, as an earlier version trained it: {again} trains another seed and keeps them."
    shown = [_shown(facts, mistake) for mistake in run.mistakes]
    if not shown:
        return [], "It made no mistake on the test set."
    told = "The mistakes on the test set that it was surest of. Is a label wrong, or the picture one that nobody could tell?"
    if run is not best_run(final):
        told += f" They are of seed {run.seed}, as the exported one kept none."
    if any(not one.picture for one in shown):
        told += " Pictures that are missing were removed from the study's folder, or changed there; the line below each names "
        told += "its image."
    return shown, told


def _shown(facts: Facts, mistake: Mistake) -> Shown:
    words = (
        f"called “{mistake.called}” ({mistake.confidence:.0f} % sure), is “{mistake.true}” ({mistake.of_true:.0f} %)"
    )
    where = mistake.file or f"test image {mistake.index}"
    return Shown(_data_uri(facts, mistake), f"{where}: {words}", words, where)


def _data_uri(facts: Facts, mistake: Mistake) -> str:
    """Only a file that is the one that was kept: whatever else lies there does not get into the page."""
    folder, path = facts.folder.resolve(), (facts.folder / mistake.image).resolve()
    inside = path.is_relative_to(folder) and path.is_file() and path.stat().st_size <= LARGEST_PICTURE
    content = path.read_bytes() if inside else b""
    if hashlib.sha256(content).hexdigest() != mistake.image_sha256:
        return ""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


# ---------------------------------------------------------------- faces


def verification_table(final: FinalTraining) -> Table | None:
    """Faces: TAR at each FAR with its interval and threshold; None for other tasks."""
    rates = best_run(final).report.get("tar_at_far")
    if not rates:
        return None
    rows = []
    for far, found in rates.items():
        if isinstance(found, str):
            rows.append([far, found, "-", "-"])
            continue
        warning = f" ({found['warning']})" if found.get("warning") else ""
        rows.append(
            [
                far,
                f"{found['value']:.1f}{interval_words(tuple(found['interval']))}{warning}",
                f"{found['threshold']:.3f}",
                f"{found['expected_errors']:.0f}",
            ]
        )
    return {"header": ["FAR", "TAR, %", "threshold (cosine)", "false accepts it rests on"], "rows": rows}


def baselines_words(final: FinalTraining) -> str:
    """Faces: the area under the curve beside that of raw pixels and LDA, without which it says little."""
    report = best_run(final).report
    if "auc" not in report or "baselines" not in report:
        return ""
    names = {"pixels": "raw pixels", "lda": "LDA on pixels"}
    found = {names.get(name, name): one["auc"] for name, one in report["baselines"].items() if one and "auc" in one}
    beside = ", ".join(f"{name} {auc:.4f}" for name, auc in found.items())
    low, high = report["auc_interval"]
    told = f"Area under the ROC curve {report['auc']:.4f} ({low:.4f} to {high:.4f})"
    if not beside:
        return f"{told}."
    best = max(found, key=lambda name: found[name])
    if low > found[best]:
        verdict = f"better than {best}"
    elif high < found[best]:
        verdict = f"worse than {best}, which learns no network"
    else:
        verdict = f"not shown to be better than {best}"
    return f"{told}, beside {beside} on the same pairs: {verdict}."
