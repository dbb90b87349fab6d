"""The search methods by name: those that come along, and those of installed packages."""

from __future__ import annotations

from edgenas.errors import EdgenasError
from edgenas.methods.spec import MethodSpec
from edgenas.plugins import Registry

METHODS = Registry(
    "method",
    "edgenas.methods",
    {
        "gnas": "edgenas.methods.gnas:GNAS",
        "trgnas": "edgenas.methods.trgnas:TRGNAS",
        "nse": "edgenas.engine.nse:NSE",
        "nal": "edgenas.engine.nal:NAL",
        "guided": "edgenas.methods.guided:GUIDED",
        "random": "edgenas.methods.baselines:RANDOM",
        "evolution": "edgenas.methods.evolution:EVOLUTION",
        "nsga2": "edgenas.methods.samplers:NSGA2",
        "tpe": "edgenas.methods.samplers:TPE",
        "gp": "edgenas.methods.samplers:GP",
    },
)


def method_named(name: str) -> MethodSpec:
    """The method of this name. Raises EdgenasError where there is none, or what a package calls so is none."""
    found = METHODS.load(name)
    if not isinstance(found, MethodSpec):
        raise EdgenasError(
            f"method {name!r} of an installed package is a {type(found).__name__}, it must be an edgenas.MethodSpec: repair or "
            "uninstall that package"
        )
    return found


def methods_heeding(setting: str) -> tuple[str, ...]:
    """Names of the methods that come along and heed this setting, of those that not every method has."""
    return tuple(name for name in METHODS.built_in if setting in method_named(name).heeds)
