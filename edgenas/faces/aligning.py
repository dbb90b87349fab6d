"""Folders of photographs -> folders of aligned faces."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from PIL import Image

from edgenas.errors import DataError
from edgenas.faces.detectors import Detector
from edgenas.faces.images import folders_in, image_files, image_from_file
from edgenas.faces.quality import QualityError, QualityRules, face_from_image
from edgenas.records import Record


class Aligned(Record, frozen=True):
    """How many faces were written, and which files were refused, with the reason."""

    aligned: int
    refused: tuple[tuple[str, str], ...]

    def counts(self) -> dict[str, int]:
        """Refusals by reason, the most frequent first."""
        return dict(Counter(reason for _, reason in self.refused).most_common())


def align_folders(root: Path, out: Path, detector: Detector, rules: QualityRules) -> Aligned:
    """One aligned PNG for every image of every person under `root`, under the same names (1.jpg.png and 1.png.png where a
    folder has 1.jpg and 1.png); images that are refused or cannot be decoded are told, never written."""
    files = [file for folder in folders_in(root) for file in image_files(folder)]
    if not files:
        raise DataError(f"{root} holds no images in folders: one folder of images per person is needed")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: name a new folder")
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} is not empty: name a new folder")
    refused: list[tuple[str, str]] = []
    for file, name in zip(files, _target_names(files), strict=True):
        reason = _align_one(file, out / file.parent.name / name, detector, rules)
        if reason:
            refused.append((str(file), reason))
    return Aligned(len(files) - len(refused), tuple(refused))


def _target_names(files: list[Path]) -> list[str]:
    """stem.png; the whole name and .png where another file of the folder has that stem, or is named like it."""
    taken = Counter(file.with_suffix("") for file in files) + Counter(files)
    return [f"{file.stem if taken[file.with_suffix('')] == 1 else file.name}.png" for file in files]


def _align_one(file: Path, target: Path, detector: Detector, rules: QualityRules) -> str:
    """Write the face; or the reason why not."""
    try:
        face = face_from_image(image_from_file(file), detector, rules)
    except QualityError as error:
        return error.reason
    except DataError:
        return "not_decodable"
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(face).save(target)
    return ""
