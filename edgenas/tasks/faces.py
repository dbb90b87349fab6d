"""Face recognition as a task: train on some people, judge pairs of others. The score is TAR at a FAR, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from edgenas.errors import DataError
from edgenas.faces.images import SIDE, grey
from edgenas.faces.report import baselines_from_images, report_from_embeddings
from edgenas.faces.verification import SortedPairs, interval_of_share, pairs_from_embeddings, roc_from_pairs
from edgenas.image_sizes import size_in_words
from edgenas.records import TAR, Embedding, Preprocessing, Recipe, TaskKind
from edgenas.tasks import Loading, Split, TaskSettings
from edgenas.tasks.datasets import FACES, tell_folder_beside, unknown_data
from edgenas.tasks.face_splits import given_people
from edgenas.tasks.margin import margin_loss
from edgenas.tasks.synthetic_faces import draw_faces

SIZES = (28, 56, 112)  # what the network computes at; the exported graph averages 112 down to it
DRAWS = 100  # of the bootstrap that decides whether two networks are a tie
TRAIN_SEED, VALIDATION_SEED, TEST_SEED = 1_000_003, 2_000_003, 3_000_003
TORCH_SEEDS = 2**32  # its CPU generator takes a seed modulo this
SPLIT_VALIDATION, SPLIT_TEST = 11, 12  # separate random streams from one seed


class _People(NamedTuple):
    people: int
    each: int


SYNTHETIC = {"train": _People(300, 12), "val": _People(120, 8), "test": _People(150, 8)}


@dataclass(frozen=True)
class Faces:
    """A loaded face task; the splits share no identity, labels count from 0 in each."""

    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    flip: bool
    head: Embedding
    far: float
    anchors: Mapping[str, dict[str, float]] = field(
        default_factory=dict
    )  # other models' scores on the test, for its report

    name = "faces"
    kind: ClassVar[TaskKind] = "faces"
    metric = TAR
    default_loss = "arcface"

    @property
    def chance(self) -> float:
        """TAR equals the FAR where embeddings mean nothing."""
        return 100 * self.far

    def loss(self, recipe: Recipe, width: int | None = None) -> nn.Module:
        return margin_loss(recipe, len(self.classes), width or self.head.dim)

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Of embeddings (N, D): tar (percent) with its 95 % interval over identities, its far, and auc (fractions)."""
        pairs = pairs_from_embeddings(outputs.float().cpu().numpy(), labels.cpu().numpy())
        ordered = SortedPairs(pairs)
        tars = [100 * roc.at_far(self.far)[0] for roc in ordered.bootstrap(DRAWS, seed=0)]
        low, high = interval_of_share(tars, ordered.matched)
        roc = roc_from_pairs(pairs)
        return {
            "tar": 100 * roc.at_far(self.far)[0],
            "tar_low": low,
            "tar_high": high,
            "auc": roc.auc,
            "far": self.far,
        }

    def report(self, outputs: Tensor, labels: Tensor) -> dict[str, Any]:
        """The verification report of the test split, beside raw pixels, an LDA fitted on the training people (None where these
        are too few, or have one image each), and anchors."""
        report = report_from_embeddings(outputs.float().cpu().numpy(), labels.cpu().numpy())
        others = (self.train.images[:], self.train.labels)
        baselines = baselines_from_images(self.test.images[:], self.test.labels, others)
        baselines |= {name: dict(scores) for name, scores in self.anchors.items()}
        found: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(report, baselines=baselines))
        return found


def load_faces(settings: TaskSettings, loading: Loading | None = None) -> Faces:
    """Procedural faces by the name `synthetic`, whatever is called so here, or real ones from a folder of identities or an
    InsightFace set. `loading`: who is told which; they are decoded every time."""
    head = Embedding(int(settings.settings.get("dim", 128)))
    synthetic = settings.data in FACES
    size = settings.image_size or (56 if synthetic else SIDE)
    if size not in SIZES or not isinstance(size, int):
        raise DataError(
            f"faces are squares, computed at {', '.join(map(str, SIZES))} px, not {size_in_words(size)}: set --image-size"
        )
    if loading is not None:
        tell_folder_beside(settings.data, "faces", settings.data_dir, loading.tell)
    train, val, test, names = _drawn(settings, size) if synthetic else _read(settings, size)
    channels = train.images.shape[-1]
    far = settings.settings.get("far", 1e-2)
    for what, split in (("validation", val), ("test", test)):
        _check_pairs(split, far, f"{settings.data} ({what})")
    return Faces(
        train=train,
        val=val,
        test=test,
        classes=names,
        preprocessing=Preprocessing(channels, size, (0.5,) * channels, (0.5,) * channels, fit="stretch"),
        flip=True if settings.flip is None else settings.flip,
        head=head,
        far=far,
    )


def _drawn(settings: TaskSettings, size: int) -> tuple[Split, Split, Split, tuple[str, ...]]:
    """Grey drawings; `settings` may ask for other numbers of people and images, or three channels."""
    asked = settings.settings
    train = _People(
        int(asked.get("people", SYNTHETIC["train"].people)), int(asked.get("each", SYNTHETIC["train"].each))
    )
    channels = int(asked.get("channels", 1))
    if train.people < 2 or train.each < 2 or channels not in (1, 3):
        raise DataError("synthetic faces need two people or more, two images each or more, and 1 or 3 channels")
    plans = ((train, TRAIN_SEED), (SYNTHETIC["val"], _validation_seed(settings.seed)), (SYNTHETIC["test"], TEST_SEED))
    splits = [Split(*draw_faces(*plan, size, channels, seed, _device())) for plan, seed in plans]
    return splits[0], splits[1], splits[2], tuple(f"drawing-{person:05d}" for person in range(train.people))


def _validation_seed(seed: int) -> int:
    """The two seeds (1,000,000 is one) that would draw the people of another split draw those of the seed after them."""
    drawn = VALIDATION_SEED + seed
    return drawn + 1 if drawn % TORCH_SEEDS in (TRAIN_SEED, TEST_SEED) else drawn


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _read(settings: TaskSettings, size: int) -> tuple[Split, Split, Split, tuple[str, ...]]:
    """The folder's own splits as they are. Of the people to train on, what is missing: a fifth of all for the test (always the
    same ones), a quarter of the rest for validation (by seed)."""
    root = Path(settings.data)
    if not root.exists():
        raise unknown_data(
            settings.data,
            f"data {settings.data!r} is unknown: {', '.join(FACES)}, or a folder with one folder per person",
        )
    given = given_people(root)
    faces = given["train"]
    people = len(faces.names)
    if people < (2 if len(given) == 3 else 10):
        cut = "training needs 2" if len(given) == 3 else "training, validation and test need 10"
        raise DataError(f"{root} has {people} people; {cut} different ones or more")
    images = network_pixels(faces.images, size)
    splits = {
        kind: Split(network_pixels(held.images, size, images.shape[-1]), held.labels)
        for kind, held in given.items()
        if kind != "train"
    }
    rest = np.arange(people)
    if "test" not in given:
        order = np.random.default_rng([0, SPLIT_TEST]).permutation(people)
        rest, chosen = np.sort(order[people // 5 :]), np.sort(order[: people // 5])
        splits["test"] = _of_people(images, faces.labels, chosen)
    if "val" not in given:
        order = np.random.default_rng([settings.seed, SPLIT_VALIDATION]).permutation(rest)
        chosen, rest = np.sort(order[: len(rest) // 4]), np.sort(order[len(rest) // 4 :])
        splits["val"] = _of_people(images, faces.labels, chosen)
    names = tuple(faces.names[person] for person in rest)
    return _of_people(images, faces.labels, rest), splits["val"], splits["test"], names


def _of_people(images: NDArray[np.uint8], labels: NDArray[np.int64], people: NDArray[np.int64]) -> Split:
    """The images of these people, relabelled from 0."""
    rows = np.flatnonzero(np.isin(labels, people))
    return Split(images[rows], np.searchsorted(people, labels[rows]).astype(np.int64))


def network_pixels(images: NDArray[np.uint8], size: int, channels: int | None = None) -> NDArray[np.uint8]:
    """(N, 112, 112, 3) -> (N, size, size, C): averaged as the exported graph does, grey (C = 1) where every image is."""
    if channels is None:
        channels = 1 if (images[..., 0] == images[..., 1]).all() and (images[..., 0] == images[..., 2]).all() else 3
    block = SIDE // size
    parts = []
    for start in range(0, len(images), 1024):
        part = images[start : start + 1024]
        values = grey(part)[..., None] if channels == 1 else part.astype(np.float32)
        pooled = values.reshape(len(part), size, block, size, block, channels).mean(axis=(2, 4))
        parts.append(np.rint(pooled).astype(np.uint8))
    return np.concatenate(parts)


def raw_pixels(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, S, S, C) at the network's size -> (N, 112, 112, 3) that the exported file turns into exactly these pixels again."""
    block = SIDE // images.shape[1]
    large = images if block == 1 else images.repeat(block, axis=1).repeat(block, axis=2)
    return np.ascontiguousarray(np.broadcast_to(large, (*large.shape[:3], 3)))


def _check_pairs(split: Split, far: float, where: str) -> None:
    counts = np.unique(split.labels, return_counts=True)[1]
    impostors = (len(split) ** 2 - int((counts.astype(np.int64) ** 2).sum())) // 2
    if len(counts) < 2 or counts.max(initial=0) < 2:
        raise DataError(
            f"{where} has {len(counts)} people and {len(split)} images: pairs need two people, one with two images"
        )
    if not 0 < far < 1 or far * impostors < 1:
        raise DataError(
            f"{where} has {impostors} impostor pairs: too few for FAR {far:g}; ask for a larger one or add people"
        )
