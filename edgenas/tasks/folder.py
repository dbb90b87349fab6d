"""A folder of class folders of images, of any size and kind, as arrays."""

from __future__ import annotations

import statistics
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgenas.errors import DataError, EdgenasError, escaped
from edgenas.preprocessing import DAMAGED, Pixels, formats_here, pixels_from_image
from edgenas.records import Preprocessing
from edgenas.tasks import Split
from edgenas.tasks.datasets import DataSet
from edgenas.tasks.facts import Origin
from edgenas.tasks.layout import NOT_READ, READ, Files, Layout, layout_from_folder

LARGEST = 224  # px; larger images are scaled down unless --image-size says otherwise
LARGEST_PIXELS = 178_956_970  # of one image; Pillow refuses more
NAMED = 20  # damaged files that a message names
GREY = ("1", "L", "LA", "La", "I")  # and I;16...
FEW_COLOURED = 0.05
UNREADABLE = (EdgenasError, Image.DecompressionBombError, MemoryError, *DAMAGED)


class _Header(NamedTuple):
    grey: bool
    size: tuple[int, int]
    frames: bool  # is there more than the first one?


class _Problems(dict[Path, str]):
    """Files that cannot be read, each with the reason."""

    def refuse(self, root: Path, files: int) -> None:
        """Raise DataError that names all of them (the first NAMED), sorted by reason, where there are any."""
        if not self:
            return
        reasons: dict[str, list[str]] = {}
        for path, why in list(self.items())[:NAMED]:
            reasons.setdefault(why, []).append(str(path.relative_to(root)))
        named = "; ".join(f"{', '.join(paths)} ({why})" for why, paths in reasons.items())
        more = f"; and {len(self) - NAMED} more" if len(self) > NAMED else ""
        what = "mend or remove it" if len(self) == 1 else "mend or remove them"
        raise DataError(f"{root}: {len(self)} of {files} images cannot be read: {named}{more}: {what}")


def load_folder(root: Path, image_size: int | None) -> DataSet:
    """The splits that the folder has, at one size. Grey images stay one channel. DataError for damaged files, all at once."""
    layout = layout_from_folder(root)
    problems = _Problems()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large images and odd metadata: what matters is refused below
        files = [*_paths(layout)]
        headers = {path: header for path in files if (header := _header(path, problems))}
        if not headers:
            problems.refuse(root, len(files))
        channels = 1 if all(header.grey for header in headers.values()) else 3
        size = image_size or default_size([min(header.size) for header in headers.values()])
        how = Preprocessing(channels, size, mean=(0.0,) * channels, std=(1.0,) * channels)
        splits = {kind: _read(classes, how, headers, problems) for kind, classes in layout.splits.items()}
    problems.refuse(root, len(files))
    origin = Origin(_sources(layout), layout.ignored, tuple(_warnings(root, layout, headers, splits)))
    classes = tuple(layout.splits["train"])
    val, test = splits.get("val"), splits.get("test")
    return DataSet(splits["train"], test, classes, size, padding=0, flip=False, val=val, together=True, origin=origin)


def default_size(short_sides: list[int]) -> int:
    """The median short side, at most 224, rounded up to a multiple of 8."""
    return -(-min(int(statistics.median_high(short_sides)), LARGEST) // 8) * 8


def _paths(layout: Layout) -> Iterator[Path]:
    for files in layout.splits.values():
        for paths in files.values():
            yield from paths


def _header(path: Path, problems: _Problems) -> _Header | None:
    """What is known without decoding; None, and a problem, where that is nothing."""
    try:
        with Image.open(path, formats=formats_here()) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise Image.DecompressionBombError
            grey = image.mode in GREY or image.mode.startswith("I;16")
            frames = image.format != "MPO" and bool(getattr(image, "is_animated", False))  # MPO: a phone's preview
            return _Header(grey, image.size, frames)
    except UNREADABLE as error:
        problems[path] = _reason(error, path)
        return None


def _read(classes: Files, how: Preprocessing, headers: dict[Path, _Header], problems: _Problems) -> Split:
    files = [(path, label) for label, paths in enumerate(classes.values()) for path in paths if path in headers]
    images = np.empty((len(files), how.size, how.size, how.channels), np.uint8)
    for row, (path, _) in enumerate(files):
        _decode(path, how, images[row], problems)
    return Split(images, np.array([label for _, label in files], dtype=np.int64))


def _decode(path: Path, how: Preprocessing, into: Pixels, problems: _Problems) -> None:
    try:
        with Image.open(path, formats=formats_here()) as image:
            into[:] = pixels_from_image(image, how)
    except UNREADABLE as error:
        problems[path] = _reason(error, path)


def _reason(error: BaseException, path: Path) -> str:
    """Why a file cannot be read, without its name."""
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {LARGEST_PIXELS // 1_000_000} million pixels are too many: scale it down"
    if isinstance(error, MemoryError):
        return "there is not enough memory for it: scale it down"
    if isinstance(error, UnidentifiedImageError):
        return f"no {READ} file" if path.stat().st_size else "the file is empty"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _sources(layout: Layout) -> dict[str, str]:
    return {kind: f"{name}/" if name else "the class folders" for kind, name in layout.names.items()}


def _warnings(root: Path, layout: Layout, headers: dict[Path, _Header], splits: dict[str, Split]) -> Iterator[str]:
    """Sentences about what is read otherwise than one may think."""
    for reason, count in layout.ignored.items():
        if reason.split()[0] in NOT_READ:
            yield f"{count} {reason} are pictures that are not read: convert them to JPEG or PNG"
    coloured = [path for path, header in headers.items() if not header.grey]
    if 0 < len(coloured) <= FEW_COLOURED * len(headers):
        some = escaped(str(coloured[0].relative_to(root)))
        yield f"{len(coloured)} of {len(headers)} images are in colour ({some}), so that all are read as RGB"
    long = sum(max(header.size) > 2 * min(header.size) for header in headers.values())
    if long:
        yield f"{long} of {len(headers)} images are more than twice as long as wide: only their middle is seen"
    frames = np.array([header.frames for header in headers.values()])
    if frames.any():
        blank = _blank(frames, list(splits.values()))
        of_one_colour = f", and {blank} of those are of one colour" if blank else ""
        yield f"{frames.sum()} files are animations or have several pages: only the first one is read{of_one_colour}"
    yield from _imbalance(layout)


def _blank(which: NDArray[np.bool_], splits: list[Split]) -> int:
    """How many of these images, in the order of the splits, hold one value only."""
    parts = np.split(which, np.cumsum([len(split) for split in splits])[:-1])
    chosen = [split.images[part].reshape(part.sum(), -1) for split, part in zip(splits, parts, strict=True)]
    return sum(int((values.max(1) == values.min(1)).sum()) for values in chosen)


def _imbalance(layout: Layout) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for files in layout.splits.values():
        counts.update({name: len(paths) for name, paths in files.items()})
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    if many >= 10 * few:
        yield f"class {least!r} has {few} images and {most!r} {many}: accuracy hardly shows the rare one"
    folded = Counter(name.casefold() for name in counts)
    alike = [name for name in counts if folded[name.casefold()] > 1]
    if alike:
        yield f"classes {', '.join(alike)} differ in capitals only"
