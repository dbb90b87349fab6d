"""The worst mistakes of a trained classifier on the test set: which it was surest of, kept as pictures beside its weights."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from edgenas.durable import replace_file
from edgenas.records import Mistake
from edgenas.tasks import Task
from edgenas.tasks.listing import read_listing
from edgenas.tasks.mapped import Images, MappedImages

KEPT = 10
SIDE = 128  # px, at most, of a kept picture


def worst_mistakes(task: Task, outputs: Tensor, weights: Path) -> tuple[Mistake, ...] | None:
    """Those with the highest probability for a wrong class, surest first; None of a task that has no classes to confuse.

    outputs: (N, classes), logits on the test set. The pictures are written beside `weights`, in a folder of its name.
    """
    if task.kind != "classification":
        return None
    shares = torch.softmax(outputs.double(), 1).cpu().numpy()  # (N, classes)
    labels, called = np.asarray(task.test.labels), shares.argmax(1)
    wrong = np.flatnonzero(called != labels)
    chosen = wrong[np.argsort(-shares[wrong, called[wrong]], kind="stable")[:KEPT]]
    folder = weights.with_suffix(".mistakes")
    if len(chosen):
        folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for place, index in enumerate(int(i) for i in chosen):
        picture = _png(task.test.images[index])
        replace_file(folder / f"{place}.png", picture)
        kept.append(
            Mistake(
                index=index,
                true=task.classes[labels[index]],
                called=task.classes[called[index]],
                confidence=100 * float(shares[index, called[index]]),
                of_true=100 * float(shares[index, labels[index]]),
                image=f"{weights.parent.name}/{folder.name}/{place}.png",
                image_sha256=hashlib.sha256(picture).hexdigest(),
                file=file_of(task.test.images, index),
            )
        )
    return tuple(kept)


def file_of(images: Images, index: int) -> str:
    """The file that an image was read from, relative to the data's folder; "" where it came from none, or is not known."""
    if not isinstance(images, MappedImages):
        return ""
    listing = read_listing(images.folder.parent)
    row = int(images.rows[index])
    return listing.sources[row].path if listing is not None and row < len(listing.sources) else ""


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, C) -> a picture of SIDE px at most."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
