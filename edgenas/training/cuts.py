"""Training and validation images cut anew: what a small validation split says of a network, another one says anew.

A score on 143 images is known to +- 2 points, however often the network is trained; trained again on another cut of the same
images it is judged on other ones. Costs as much as the same cut again.
"""

from __future__ import annotations

import numpy as np

from edgenas.records import Classes
from edgenas.tasks import Task
from edgenas.tasks.facts import copies_of
from edgenas.tasks.splits import part, stratified, together
from edgenas.tasks.task import has_parts, with_parts

SMALL = 1_000  # validation images, of which the binomial error is about that of another seed (at 90 %: .95 points)
CUT_STREAM = 23  # of the study's seed


def cut_anew(task: Task) -> bool:
    """Are networks that are trained again to be so on other cuts? Where classes are learned from few validation images, which
    were cut from the training images: those that were given may be of other people, cameras or days, on purpose."""
    labels = task.train.labels
    classes = isinstance(task.head, Classes) and labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer)
    return classes and len(task.val) < SMALL and getattr(task, "cut_here", False) and has_parts(task, "train", "val")


def other_cut(task: Task, seed: int, number: int) -> Task:
    """The task with as many of its training and validation images for validation as before, chosen anew by `seed` and `number`:
    of every class its share, copies of an image together. The test split stays what it was."""
    images = together((task.train, task.val))
    share = len(task.val) / len(images)
    rest, taken = stratified(images.labels, share, [seed, CUT_STREAM, number], copies_of([images])[0])
    return with_parts(task, train=part(images, rest), val=part(images, taken))
