"""NAL as the engine runs it: which cells and which predictor, decided before a study begins."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import cast

import msgspec

from edgenas.architectures.cell_space import FAMILIES, CellSpace, Family
from edgenas.durable import replace_file
from edgenas.engine.contents import fitted_file
from edgenas.engine.folders import ROOT
from edgenas.errors import EdgenasError, StudyError
from edgenas.files import lost
from edgenas.methods import Method
from edgenas.methods.baselines import drawn_by
from edgenas.methods.nal import NalRules, design, nal, network_of, shipped_predictor
from edgenas.methods.nal_model import LinkPredictor, load_predictor
from edgenas.methods.spec import MethodSpec, Planned, Planning, Search, changed


def decide_designs(planning: Planning) -> Planned:
    """The cells asked for, and with --from the predictor, by its content and not by name alone."""
    settings, shape = planning.settings, planning.task.preprocessing
    rules = changed("nal", NAL.rules_of(planning.preset), settings.rules)
    assert isinstance(rules, NalRules)
    rules = msgspec.structs.replace(rules, space=settings.space or rules.space)
    if settings.from_study is not None:
        path = _weights(settings.from_study)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rules = msgspec.structs.replace(rules, weights=str(path), weights_sha256=digest)
    predictor, operations = _predictor(rules), rules.darts_operations
    first = design(predictor, rules.space, 1, settings.seed, darts_operations=operations).cells[0]
    family = cast("Family", rules.space)  # there is no predictor for another name
    around = (rules.channels, rules.cells_per_stage)
    space = CellSpace(planning.task.head, shape.channels, shape.input_size, family, *around, stem="growing")
    network_of(first, space, rules)  # refuses images that no such network takes before a study exists
    return space, rules


def _made(search: Search) -> Method:
    """By the predictor that the study began with, of which it keeps a copy."""
    space, rules = search.space_as(CellSpace), search.rules_as(NalRules)
    how = (search.training, *drawn_by(search), search.objective, search.seed)
    return nal(_predictor(rules, None if search.lab is None else search.lab.store.folder), space, rules, *how)


def _predictor(rules: NalRules, study: Path | None = None) -> LinkPredictor:
    """The one that is named. `study`: the folder whose copy of it is read from the second time on, from wherever the search goes
    on. StudyError for a file that is another one now."""
    if not rules.weights:
        return shipped_predictor(rules.space)
    named, sha256 = Path(rules.weights), rules.weights_sha256
    copy = None if study is None else study / "weights" / f"predictor-{sha256[:16]}.safetensors"
    if copy is not None and not lost(copy, sha256):
        return load_predictor(copy)
    predictor, content = load_predictor(named), named.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StudyError(f"{named} is another predictor than this study began with: restore it, or use another --study")
    if copy is not None:
        copy.parent.mkdir(exist_ok=True)
        replace_file(copy, content)
    return predictor


def _weights(name: str) -> Path:
    """The predictor's file: itself, or nal.safetensors of a study."""
    path = fitted_file(name, ROOT)
    if path is None:
        raise EdgenasError(
            f"--from {name}: no link predictor there: make one with `edgenas nal fit --table {shlex.quote(name)}`"
        )
    return path


NAL = MethodSpec(
    "nal",
    "cells written by a link predictor, nothing searched (NAL)",
    _made,
    NalRules,
    presets={
        "tiny": NalRules(channels=16, cells_per_stage=1, designs=4, epochs=10, darts_operations=7),
        **{preset: NalRules(designs=8, epochs=25, darts_operations=7) for preset in ("t", "m", "trg")},
    },
    spaces=FAMILIES,
    heeds=("space", "from_study"),
    plan=decide_designs,
)
