"""Which people a folder itself gives to each split: as for classes, in train/, val/ and test/, or by their other names."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from edgenas.errors import DataError
from edgenas.faces.images import folders_in, image_files
from edgenas.faces.readers import FaceImages, faces_from_path
from edgenas.tasks.layout import SPLITS

REC = "train.rec"  # of InsightFace's sets


def given_people(root: Path) -> dict[str, FaceImages]:
    """train, with val and test where the folder has its own; without split folders everybody is in train.
    DataError where it is not clear who belongs to which, or somebody is in two of them."""
    folders = _split_folders(root) if root.is_dir() else {}
    if not folders:
        return {"train": faces_from_path(root)}
    people = {kind: faces_from_path(folder) for kind, folder in folders.items()}
    for one, other in combinations(folders, 2):
        _refuse_shared(root, folders[one], people[one], folders[other], people[other])
    return people


def _split_folders(root: Path) -> dict[str, Path]:
    """Those of train, val and test that are there, in this order. A folder of that name with images right in it is a person."""
    found: dict[str, Path] = {}
    flat: list[Path] = []
    for folder in folders_in(root):
        kind = SPLITS.get(folder.name.casefold())
        if kind is None:
            continue
        if not (folder / REC).exists() and (image_files(folder) or not folders_in(folder)):
            flat.append(folder)
        elif kind in found:
            raise DataError(f"{root} has {found[kind].name}/ and {folder.name}/: keep one of them")
        else:
            found[kind] = folder
    if flat and len(flat) + len(found) > 1:
        if not image_files(flat[0]):
            raise DataError(f"{root} has {flat[0].name}/ without people: put one folder for each into it, or remove it")
        raise DataError(
            f"{flat[0]} has no folders of people: sort its images into one folder per person, or move it out of {root}"
        )
    if found and "train" not in found:
        raise DataError(
            f"{root} has {', '.join(f'{folder.name}/' for folder in found.values())} but no train folder: add one"
        )
    _refuse_beside(root, found)
    return {kind: found[kind] for kind in ("train", "val", "test") if kind in found}


def _refuse_beside(root: Path, found: dict[str, Path]) -> None:
    """Raise DataError for people beside the split folders: nobody can tell whether they are meant."""
    names = ", ".join(sorted(f"{folder.name}/" for folder in found.values()))
    for folder in folders_in(root) if found else ():
        if folder not in found.values() and _has_faces(folder):
            raise DataError(
                f"{root} has images in {folder.name}/ beside {names}: move its people into one of these, or it out of {root}"
            )


def _has_faces(folder: Path) -> bool:
    return (folder / REC).exists() or any(map(image_files, (folder, *folders_in(folder))))


def _refuse_shared(root: Path, one: Path, people: FaceImages, other: Path, others: FaceImages) -> None:
    """Raise DataError where somebody is in two splits; the names in .rec sets are numbers, and say nothing."""
    both = sorted(set(people.names) & set(others.names))
    if both and not any((folder / REC).exists() for folder in (one, other)):
        some = ", ".join(both[:3]) + (", .." if len(both) > 3 else "")
        raise DataError(
            f"{root}: {len(both)} people are in {one.name} and in {other.name} ({some}): move each into one of them, or "
            "rename namesakes"
        )
