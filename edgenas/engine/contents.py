"""What the files say that a search's settings name: with another content they ask for another study, as with another name."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgenas.engine.heritage import heritage_in
from edgenas.engine.plan import plan_values, written_plan
from edgenas.identity import digest
from edgenas.methods.settings import SearchSettings
from edgenas.store import Store, toml_values

FITTED = "nal.safetensors"  # what `edgenas nal fit` leaves in a study


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
    study, heritage = store.study, heritage_in(store)
    known = {
        "start": "" if heritage is None else heritage.source_sha256,
        "from_study": plan_values(study).get("rules", {}).get("weights_sha256", ""),
    }
    return {**{name: content for name, content in known.items() if content}, **written_plan(study).contents}


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
