"""Where the images of a folder lie: which file is an image of which class and split, and what is left out. Decodes nothing."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from edgenas.damaged import IMAGE
from edgenas.errors import DataError, escaped
from edgenas.preprocessing import SUFFIXES, formats_here, is_hidden

Files = dict[str, list[Path]]  # class -> its images

READ = "PNG, JPEG, WebP, BMP, GIF, TIFF, PPM, AVIF"
NOT_READ = frozenset(
    f".{name}"
    for name in (
        *("heic", "heif", "jp2", "j2k", "tga", "ico", "svg", "psd", "raw", "dng", "cr2", "nef", "arw", "exr"),
        *("dcm", "pdf", "eps"),
    )
)
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
HIDDEN, LINKS, BROKEN, SPECIAL, STUDIES = (
    "hidden and system files",
    "links to folders that are read already",
    "broken links",
    "neither files nor folders",
    "folders of studies",
)


@dataclass(frozen=True)
class Layout:
    """`splits` has train, and val and test where the folder has its own; `names` what those are called ("" = the root)."""

    splits: dict[str, Files]
    names: dict[str, str]
    ignored: dict[str, int]  # reason -> files


def layout_from_folder(root: Path) -> Layout:
    """DIR/class/..., or DIR/train/class/... with DIR/val and DIR/test where there are any. DataError where it is not clear."""
    ignored: Counter[str] = Counter()
    folders, loose = _entries(root, ignored)
    found, flat = _split_folders(root, folders)
    if not found:
        if len(flat) > 1:
            both = " and ".join(f"{folder.name}/" for folder in flat)
            _refuse_empty(root, flat, both)
            raise DataError(f"{root}: {both} hold no class folders: sort their images into one folder per class")
        return Layout({"train": _class_files(root, folders, loose, ignored)}, {"train": ""}, dict(ignored))
    _refuse_beside(root, found, folders, loose, ignored)
    if flat:
        _refuse_empty(root, flat[:1], f"{flat[0].name}/")
        raise DataError(
            f"{flat[0]} has no class folders, so its images have no labels: sort them into one folder per class, "
            f"or move it out of {root}"
        )
    if "train" not in found:
        raise DataError(f"{root} has {', '.join(f.name for f in found.values())} but no train folder: add one")
    splits = {
        kind: _class_files(folder, *_entries(folder, ignored), ignored, least=2 if kind == "train" else 1)
        for kind, folder in sorted(found.items(), key=lambda pair: ("train", "val", "test").index(pair[0]))
    }
    for kind, files in splits.items():
        _refuse_other_classes(root, found["train"].name, set(splits["train"]), found[kind].name, set(files))
    return Layout(splits, {kind: folder.name for kind, folder in found.items()}, dict(ignored))


def _split_folders(root: Path, folders: list[Path]) -> tuple[dict[str, Path], list[Path]]:
    """(train, val, test -> folder; those named like one that hold no folders: they may be classes)."""
    found: dict[str, Path] = {}
    flat: list[Path] = []
    for folder in folders:
        kind = SPLITS.get(folder.name.casefold())
        if kind is None:
            continue
        if not _entries(folder, Counter())[0]:
            flat.append(folder)
        elif kind in found:
            raise DataError(f"{root} has {found[kind].name}/ and {folder.name}/: keep one of them")
        else:
            found[kind] = folder
    return found, flat


def _refuse_empty(root: Path, folders: list[Path], named: str) -> None:
    """Raise DataError where split folders have no images: what a folder lacks is split off its training images."""
    if any(_below(folder, root, Counter()) for folder in folders):
        return
    trained = any(SPLITS[folder.name.casefold()] == "train" for folder in folders)
    remove = "" if trained else ", or remove it: it is split off the training images then"
    raise DataError(f"{root} has {named} without images: put one folder of images per class into it{remove}")


def _refuse_beside(
    root: Path, found: dict[str, Path], folders: list[Path], loose: list[Path], ignored: Counter[str]
) -> None:
    """Raise DataError for images beside the split folders: nobody can tell whether they are meant."""
    names = ", ".join(sorted(f"{folder.name}/" for folder in found.values()))
    if loose:
        raise DataError(f"{root} has images beside {names} ({loose[0].name}): move them into a class folder there")
    for folder in folders:
        if folder.name.casefold() not in SPLITS and _below(folder, root, ignored):
            raise DataError(
                f"{root} has images in {folder.name}/ beside {names}: move that folder into a split as one of its classes, "
                f"or out of {root}"
            )


def _class_files(root: Path, folders: list[Path], loose: list[Path], ignored: Counter[str], least: int = 2) -> Files:
    """Image files of every class folder and of the folders in it, both sorted by name."""
    if loose:
        raise DataError(
            f"{root} has images outside class folders ({loose[0].name}): put each into the folder of its class"
        )
    files: Files = {}
    for folder in folders:
        if os.path.realpath(folder) in _above(root):
            ignored[LINKS] += 1
            continue
        left_out: Counter[str] = Counter()
        files[_class_name(folder)] = images = _below(folder, root, left_out)
        ignored.update(left_out)
        if not images:
            reasons = "".join(f"; {count} {reason}" for reason, count in left_out.items())
            raise DataError(f"{folder} has no images ({READ}{reasons}): fill or remove that class folder")
    if not files:
        raise DataError(f"{root} has no class folders: one folder of images per class is needed")
    if len(files) < least:
        only = next(iter(files))
        inner = [folder.name for folder in _entries(root / only, Counter())[0]]
        hint = f"; it holds folders ({', '.join(inner[:3])}): is {root / only} meant?" if inner else ""
        raise DataError(f"{root} has one class folder ({only}): classification needs at least 2{hint}")
    _refuse_two_levels(root, files)
    return files


def _refuse_two_levels(root: Path, files: Files) -> None:
    """Raise DataError where every class folder holds the same folders and nothing else: either level may be the classes."""
    inner = [frozenset(path.relative_to(root / name).parts[0] for path in paths) for name, paths in files.items()]
    nested = all(path.parent != root / name for name, paths in files.items() for path in paths)
    if not nested or len(files) < 2 or len(set(inner)) > 1 or len(inner[0]) < 2:
        return
    names = sorted(inner[0])
    first = next(iter(files))
    if all(name.casefold() in SPLITS for name in names):
        raise DataError(
            f"{root} has {', '.join(names)} inside its class folders: put them above, as {names[0]}/{first}/..."
        )
    raise DataError(
        f"{root}: all of {', '.join(files)} hold the folders {', '.join(names[:3])}, so either may be the classes: "
        f"name one folder with classes in it (such as {root / first}), or remove a level"
    )


def _refuse_other_classes(root: Path, train: str, trained: set[str], split: str, there: set[str]) -> None:
    """Raise DataError that names what differs."""
    lacks, more = sorted(trained - there), sorted(there - trained)
    if not lacks and not more:
        return
    alike = {_folded(name): name for name in lacks}
    differ = [f"{name} for {alike[_folded(name)]}" for name in more if _folded(name) in alike]
    parts = [f"{split}/ lacks {', '.join(lacks)}"] if lacks else []
    parts += [f"{split}/ has {', '.join(more)}, which {train}/ lacks"] if more else []
    parts += [f"capitals or Unicode forms differ ({', '.join(differ)})"] if differ else []
    raise DataError(
        f"{root}: {train} and {split} have different classes ({'; '.join(parts)}): both need the same class folders"
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _class_name(folder: Path) -> str:
    """The folder's name; DataError for one that no label file, terminal or table can hold."""
    name = folder.name
    odd = any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name)  # Cs: bytes that are not UTF-8
    if odd:
        raise DataError(
            f"class folder {name!a} in {folder.parent} has control characters or bytes that are not UTF-8: rename it"
        )
    return name


def _above(folder: Path) -> set[str]:
    real = Path(os.path.realpath(folder))
    return {str(real), *map(str, real.parents)}


def _below(folder: Path, root: Path, ignored: Counter[str]) -> list[Path]:
    """All images of a folder and of the folders in it, each folder once, sorted by path."""
    found: list[Path] = []
    seen = _above(root) | {os.path.realpath(folder)}
    waiting = [folder]
    while waiting:
        folders, images = _entries(waiting.pop(), ignored)
        found += images
        for inner in folders:
            if (real := os.path.realpath(inner)) in seen:
                ignored[LINKS] += 1
            else:
                seen.add(real)
                waiting.append(inner)
    return sorted(found)


def _entries(folder: Path, ignored: Counter[str]) -> tuple[list[Path], list[Path]]:
    """(folders, images) right in a folder, sorted by name."""
    folders: list[Path] = []
    images: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if is_hidden(entry.name):
                ignored[HIDDEN] += _count(path)
            elif path.is_dir() if entry.is_symlink() else entry.is_dir():
                if _holds_studies(path):
                    ignored[STUDIES] += 1
                else:
                    folders.append(path)
            elif not (
                path.is_file() if entry.is_symlink() else entry.is_file()
            ):  # FIFOs are never opened: they never end
                ignored[SPECIAL if path.exists() else BROKEN] += 1
            elif (reason := _why_no_image(path)) is not None:
                ignored[reason] += 1
            else:
                images.append(path)
    return folders, images


def _holds_studies(folder: Path) -> bool:
    """Is it a study, or the folder of those that were started among the images? The latter may hold decoded images alone."""
    if (folder / "study.db").is_file():
        return True
    return folder.name == "studies" and ((folder / ".images").is_dir() or any(folder.glob("*/study.db")))


def _why_no_image(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return None
    if suffix and not suffix[1:].isdigit():
        return escaped(f"{suffix} files")
    try:
        with Image.open(path, formats=formats_here()):
            return None
    except Image.DecompressionBombError:
        return None  # an image, which is refused by its name where headers are read
    except IMAGE as error:
        if getattr(error, "errno", None) not in (None, errno.EINVAL):  # EINVAL: of bytes that point far behind the end
            return None  # what a drive did not give may be an image: it is named where headers are read
        return "files without suffix that are no images"


def _count(path: Path) -> int:
    """Files below a folder; 1 for a file."""
    if path.is_symlink() or not path.is_dir():
        return 1
    return sum(len(files) for _, _, files in os.walk(path))
