"""ELPV's electroluminescence images of solar cells as class folders, in five splits of 75 % training and 25 % test images.

    pip install --no-deps --target PACKAGES elpv-dataset==1.0.0.post1
    python scripts/elpv.py OUT --package PACKAGES --image-size 96
    edgenas search --data OUT/split-0 ...

OUT/split-0 to split-4 have train/ and test/ with the folders defective/ and functional/. Defective is a defect probability above
one half. Every split is drawn anew, stratified by probability and cell type, its number being the seed. Images are scaled as
EdgeNAS scales those of a folder; without --image-size they are copied. The images are CC BY-NC-SA 4.0 (Buerhop-Lutz et al. 2018,
Deitsch et al. 2019): they belong in no repository and no product.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from edgenas.errors import DataError, EdgenasError
from edgenas.preprocessing import scaled

PACKAGE = "elpv-dataset==1.0.0.post1"
TYPES = ("mono", "poly")
SPLITS, TEST = 5, 0.25
SIZES = (8, 512)  # px, as --image-size of a search


class Cell(NamedTuple):
    """One image of the package. probability: of a defect, as its labellers gave it: 0, 1/3, 2/3 or 1."""

    file: Path
    probability: float
    kind: str

    @property
    def label(self) -> str:
        return "defective" if self.probability > 0.5 else "functional"


def package_folder(site: Path | None) -> Path:
    """Where the package lies: in `site`, or installed here. DataError, with what to do, where it does not."""
    how = f"pip install --no-deps --target DIR {PACKAGE} (91 MB), and name it with --package DIR"
    if site is not None:
        folder = site / "elpv_dataset"
        if not folder.is_dir():
            raise DataError(f"{site} holds no elpv_dataset: {how}")
        return folder
    found = importlib.util.find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        raise DataError(f"the package elpv-dataset is not installed: {how}")
    return Path(found.submodule_search_locations[0])


def cells_of(package: Path) -> list[Cell]:
    """Its labels.csv, in its order: columns path, probability and type, parted by blanks."""
    labels, cells = package / "data/labels.csv", []
    if not labels.is_file():
        raise DataError(f"{labels} is missing: install {PACKAGE} again")
    for number, line in enumerate(labels.read_text(encoding="utf-8").splitlines(), 1):
        try:
            path, probability, kind = line.split()
            cell = Cell(labels.parent / path, float(probability), kind)
        except ValueError:
            raise DataError(f"{labels}, line {number}: {line!r} is no path, probability and type") from None
        if not 0 <= cell.probability <= 1 or kind not in TYPES:
            raise DataError(
                f"{labels}, line {number}: {line!r}: probabilities are 0 to 1 and types {' or '.join(TYPES)}"
            )
        cells.append(cell)
    if not cells:
        raise DataError(f"{labels} is empty: install {PACKAGE} again")
    return cells


def drawn_for_test(cells: list[Cell], seed: int) -> set[int]:
    """Numbers of the test images: a quarter of every probability of every cell type."""
    rng = np.random.default_rng(seed)
    taken: set[int] = set()
    for stratum in sorted({(cell.probability, cell.kind) for cell in cells}):
        members = [number for number, cell in enumerate(cells) if (cell.probability, cell.kind) == stratum]
        taken.update(int(number) for number in rng.permutation(members)[: round(TEST * len(members))])
    return taken


def image_file(cell: Cell, size: int | None) -> bytes:
    """As a PNG file of `size` px a side, or as it is."""
    try:
        content = cell.file.read_bytes()
        if size is None:
            return content
        with Image.open(io.BytesIO(content)) as image:
            written = io.BytesIO()
            scaled(image.convert("L"), size, "crop").save(written, "PNG")
            return written.getvalue()
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{cell.file} cannot be read ({error}): install {PACKAGE} again") from error


def write_splits(cells: list[Cell], out: Path, size: int | None) -> None:
    """All splits at once, or none: what was begun and not finished is left under another name, and begun anew."""
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} is not empty: name a new folder")
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    tests = [drawn_for_test(cells, seed) for seed in range(SPLITS)]
    for number, cell in enumerate(cells):
        content = image_file(cell, size)
        for seed, test in enumerate(tests):
            folder = part / f"split-{seed}" / ("test" if number in test else "train") / cell.label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / cell.file.name).write_bytes(content)
    if out.exists():
        out.rmdir()
    part.rename(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--package", type=Path, help="the folder that the package was installed into with --target")
    parser.add_argument("--image-size", type=int, help="side in px. Default: as they are, 300")
    arguments = parser.parse_args()
    size = arguments.image_size
    try:
        if size is not None and not SIZES[0] <= size <= SIZES[1]:
            raise EdgenasError(f"--image-size {size}: {SIZES[0]} to {SIZES[1]} px are possible")
        cells = cells_of(package_folder(arguments.package))
        write_splits(cells, arguments.out, size)
    except EdgenasError as error:
        sys.exit(f"elpv: {error}")
    defective = sum(cell.label == "defective" for cell in cells)
    sys.stderr.write(
        f"{len(cells)} images, {defective} of them defective, in {SPLITS} splits: {arguments.out}/split-0\n"
    )


if __name__ == "__main__":
    main()
