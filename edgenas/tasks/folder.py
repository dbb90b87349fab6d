"""A folder of class folders of images, of any size and kind, as rows of a cache."""

from __future__ import annotations

import math
import statistics
import warnings
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError, escaped
from edgenas.image_sizes import MOST_SIDE, ImageSize, sides_of, size_from_sides, size_in_words
from edgenas.records import Preprocessing
from edgenas.tasks import Split, TaskSettings
from edgenas.tasks.cache import Loading, decoded, listed
from edgenas.tasks.datasets import DataSet
from edgenas.tasks.decoding import Header
from edgenas.tasks.facts import Origin
from edgenas.tasks.layout import NOT_READ, Layout, layout_from_folder
from edgenas.tasks.listing import named
from edgenas.tasks.mapped import MappedImages

LARGEST = 224  # px; larger images are scaled down unless --image-size says otherwise
DAMAGED_FILES = "damaged images"
FEW_COLOURED = 0.05


def load_folder(root: Path, settings: TaskSettings, loading: Loading, channels: int | None = None) -> DataSet:
    """The splits that the folder has, at one size, in the cache's file. Grey images stay one channel, unless `channels` says
    otherwise. DataError for damaged files, all at once, unless they are to be skipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large images and odd metadata: what matters is refused below
        layout = layout_from_folder(root)
        files = [path for classes in layout.splits.values() for paths in classes.values() for path in paths]
        entry, listing = listed(root, files, loading)
        headers = {row: header for row, header in enumerate(listing.headers) if not isinstance(header, str)}
        if not headers:
            _refuse_damaged(root, layout, dict(enumerate(map(str, listing.headers))), settings)
        channels = channels or (1 if all(header.grey for header in headers.values()) else 3)
        size = settings.image_size or default_size([min(header.size) for header in headers.values()])
        how = Preprocessing(channels, size, (0.0,) * channels, (1.0,) * channels, fit=settings.fit)
        folder, damaged = decoded(entry, root, files, listing, how, loading)
    _refuse_damaged(root, layout, damaged, settings)
    used = [row for row in range(len(files)) if row not in damaged]
    images = MappedImages(folder.resolve(), (*sides_of(size), channels), np.array(used, dtype=np.int64))
    splits = _splits(layout, images, damaged)
    ignored = {**layout.ignored, **({DAMAGED_FILES: len(damaged)} if damaged else {})}
    classes = tuple(layout.splits["train"])
    notes = [
        *_warnings(root, ignored, {files[row]: headers[row] for row in used}, images, how),
        *_imbalance(classes, np.concatenate([split.labels for split in splits.values()])),
    ]
    origin = Origin(_sources(layout), ignored, tuple(notes))
    val, test = splits.get("val"), splits.get("test")
    return DataSet(splits["train"], test, classes, size, padding=0, flip=False, val=val, together=True, origin=origin)


def _splits(layout: Layout, images: MappedImages, damaged: Container[int]) -> dict[str, Split]:
    """The images of each split; `images` are those of all splits, one after the other."""
    splits, row, place = {}, 0, 0
    for kind, classes in layout.splits.items():
        labels = []
        for label, paths in enumerate(classes.values()):
            labels += [label] * sum(number not in damaged for number in range(row, row + len(paths)))
            row += len(paths)
        chosen = np.arange(place, place + len(labels))
        splits[kind] = Split(images.part(chosen), np.array(labels, dtype=np.int64))
        place += len(labels)
    return splits


def _refuse_damaged(root: Path, layout: Layout, damaged: dict[int, str], settings: TaskSettings) -> None:
    """Raise DataError for files that cannot be read (row -> why), or, where these are left out, for a split of nothing else."""
    split_of: list[str] = []
    files: list[Path] = []
    for kind, classes in layout.splits.items():
        files += [path for paths in classes.values() for path in paths]
        split_of += [kind] * (len(files) - len(split_of))
    problems = {files[row]: damaged[row] for row in sorted(damaged)}
    if problems and not settings.skip_damaged:
        what = "mend or remove it" if len(problems) == 1 else "mend or remove them"
        raise DataError(
            f"{root}: {len(problems)} of {len(files)} images cannot be read: {named(problems, root)}: {what}, or leave them "
            "out with --skip-damaged"
        )
    for kind, name in layout.names.items():
        rows = [row for row, of in enumerate(split_of) if of == kind]
        if all(row in damaged for row in rows):
            names = named({files[row]: damaged[row] for row in rows}, root)
            raise DataError(f"{root}: all {len(rows)} images{f' of {name}/' if name else ''} are damaged: {names}")


def default_size(short_sides: list[int]) -> int:
    """The median short side, at most 224, rounded up to a multiple of 8."""
    return -(-min(int(statistics.median_high(short_sides)), LARGEST) // 8) * 8


def _sources(layout: Layout) -> dict[str, str]:
    return {kind: f"{name}/" if name else "the class folders" for kind, name in layout.names.items()}


def _warnings(
    root: Path, ignored: dict[str, int], headers: dict[Path, Header], images: MappedImages, how: Preprocessing
) -> Iterator[str]:
    """Sentences about what is read otherwise than one may think; `headers` of the `images`, in their order."""
    for reason, count in ignored.items():
        if reason.split()[0] in NOT_READ:
            yield f"{count} {reason} are pictures that are not read: convert them to JPEG or PNG"
    coloured = [path for path, header in headers.items() if not header.grey]
    if 0 < len(coloured) <= FEW_COLOURED * len(headers):
        some = escaped(str(coloured[0].relative_to(root)))
        yield f"{len(coloured)} of {len(headers)} images are in colour ({some}), so that all are read as RGB"
    long = [header for header in headers.values() if _is_half_seen(header, how)]
    if long and how.fit == "crop":
        square = isinstance(how.size, int)
        than = "as long as wide" if square else f"as long, or as high, as the shape of {size_in_words(how.size)}"
        yield (
            f"{len(long)} of {len(headers)} images are more than twice {than}: only their middle is seen (--fit stretch or --fit "
            f"pad shows all, --image-size {size_in_words(size_in_shape(long))} keeps their shape)"
        )
    frames = np.array([header.frames for header in headers.values()])
    if frames.any():
        blank = int((images.records["constant"][frames] == 1).sum())
        of_one_colour = f", and {blank} of those are of one colour" if blank else ""
        yield f"{frames.sum()} files are animations or have several pages: only the first one is read{of_one_colour}"


def size_in_shape(headers: Sequence[Header]) -> ImageSize:
    """A size that most of these images have the shape of: their median sides, in multiples of 8, with about as many pixels as
    the square of LARGEST at most."""
    width, height = (statistics.median_high(sides) for sides in zip(*(header.size for header in headers), strict=True))
    scale = min(1.0, LARGEST / math.sqrt(height * width))
    sides = (min(MOST_SIDE, -(-max(1, round(side * scale)) // 8) * 8) for side in (height, width))
    return size_from_sides(*sides)


def _is_half_seen(header: Header, how: Preprocessing) -> bool:
    """Does a crop to this size leave out more than half of the image?"""
    (width, height), (to_height, to_width) = header.size, sides_of(how.size)
    return width * to_height > 2 * height * to_width or height * to_width > 2 * width * to_height


def _imbalance(classes: tuple[str, ...], labels: NDArray[np.int64]) -> Iterator[str]:
    counts = Counter(
        {name: int(n) for name, n in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True)}
    )
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    if many >= 10 * few:
        yield (
            f"class {least!r} has {few} images and {most!r} {many}: accuracy hardly shows the rare one (--metric macro_f1 does, "
            "--balance trains it)"
        )
    folded = Counter(name.casefold() for name in counts)
    alike = [name for name in counts if folded[name.casefold()] > 1]
    if alike:
        yield f"classes {', '.join(alike)} differ in capitals only"
