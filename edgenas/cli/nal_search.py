"""What `edgenas search --method nal` decides before it begins, and the method that follows from it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from edgenas.cli.settings import SearchSettings
from edgenas.cli.studies import ROOT
from edgenas.errors import EdgenasError, StudyError
from edgenas.methods import CostOf, Method
from edgenas.methods.ladder import Training
from edgenas.methods.nal import CellSpace, NalRules, design, nal, network_of, shipped_predictor
from edgenas.methods.nal_model import LinkPredictor, load_predictor
from edgenas.records import Study
from edgenas.report.scores import objective_of


def decide_designs(settings: SearchSettings, rules: NalRules, space: CellSpace) -> dict[str, Any]:
    """The study's rules and space: the cells asked for, and with --from the predictor, by its content and not by name alone."""
    if settings.control is not None:
        raise EdgenasError(
            f"--control {settings.control} draws chains, --method nal designs cells: compare with `--method random`"
        )
    rules = msgspec.structs.replace(rules, space=settings.space or rules.space)
    if settings.from_study is not None:
        path = _weights(settings.from_study)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rules = msgspec.structs.replace(rules, weights=str(path), weights_sha256=digest)
    first = design(_predictor(rules), rules.space, 1, settings.seed).cells[0]
    network_of(first, space, rules)  # refuses images that no such network takes before a study exists
    return {"space": space, "rules": rules}


def nal_method(study: Study, training: Training, cost: CostOf) -> Method:
    """The generator of a study; the predictor must still be the one that the study began with."""
    rules = msgspec.convert(study.settings["rules"], type=NalRules)
    space = msgspec.convert(study.settings["space"], type=CellSpace)
    return nal(_predictor(rules), space, rules, training, cost, study.limits, objective_of(study), study.seed)


def _predictor(rules: NalRules) -> LinkPredictor:
    if not rules.weights:
        return shipped_predictor(rules.space)
    path = Path(rules.weights)
    predictor = load_predictor(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != rules.weights_sha256:
        raise StudyError(f"{path} is another predictor than this study began with: restore it, or use another --study")
    return predictor


def _weights(name: str) -> Path:
    """The predictor's file: itself, or nal.safetensors of a study."""
    for path in (Path(name), Path(name) / "nal.safetensors", ROOT / name / "nal.safetensors"):
        if path.is_file():
            return path
    raise EdgenasError(f"--from {name}: no link predictor there: make one with `edgenas nal fit --table {name}`")
