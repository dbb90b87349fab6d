"""What the files say that a search's settings name: with another content they ask for another study, as with another name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from edgenas.engine.heritage import heritage_in
from edgenas.engine.plan import written_plan
from edgenas.identity import digest
from edgenas.methods.settings import SearchSettings
from edgenas.store import Store, toml_values

FITTED = "nal.safetensors"  # what `edgenas nal fit` leaves in a study


class _NamingWeights(msgspec.Struct, frozen=True):
    weights_sha256: str = ""


def contents_of(settings: SearchSettings, studies: Path) -> dict[str, str]:
    """A hash of each file, by the setting that names it; none for other names, and for files that are not here any more. Studies
    that are named are none of them: they may go on, and are read once, when a search begins. `studies`: where they lie."""
    found = {"recipe": _of_recipe(settings.recipe)}
    if settings.start is not None:
        from edgenas.networks.public import file_sha256

        found["start"] = file_sha256(settings.start)
    if settings.from_study is not None:
        path = fitted_file(settings.from_study, studies)
        found["from_study"] = "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    return {name: content for name, content in found.items() if content}


def contents_in(store: Store) -> dict[str, str]:
    """The same as the study was begun with. Studies from before they were noted know those of weights alone."""
    written, heritage = written_plan(store.study), heritage_in(store)
    known = {
        "start": "" if heritage is None else heritage.source_sha256,
        "from_study": _weights_in(written.rules),
    }
    return {**{name: content for name, content in known.items() if content}, **written.contents}


def _weights_in(rules: msgspec.Raw) -> str:
    """The hash of the weights that a method's rules name; "" of those that name none."""
    try:
        return msgspec.json.decode(rules, type=_NamingWeights).weights_sha256
    except msgspec.ValidationError:  # rules of a method that means something else by it
        return ""


def fitted_file(name: str, studies: Path) -> Path | None:
    """The file of a fitted predictor: itself, or that of a study; None where there is none."""
    paths = (Path(name), Path(name) / FITTED, studies / name / FITTED)
    return next((path for path in paths if path.is_file()), None)


def _of_recipe(name: str) -> str:
    """Of what its TOML says, for which comments count for nothing."""
    path = Path(name)
    if not path.is_file():
        return ""
    from edgenas.training.recipes import recipe_names

    return "" if name in recipe_names() else digest(toml_values(path))
