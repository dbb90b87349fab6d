"""The generator of a study's method, with what ends it early."""

from __future__ import annotations

import msgspec

from edgenas.architectures.chain import ChainSpace
from edgenas.cli.nal_search import nal_method
from edgenas.hardware.cost import CostModel
from edgenas.methods import Method
from edgenas.methods.baselines import BaselineRules, Sampler, optuna_search, random_search, with_control
from edgenas.methods.endings import Spent, ended_at_chance, ended_when
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.ladder import Training
from edgenas.methods.trgnas import TrgnasRules, trgnas
from edgenas.records import Study
from edgenas.report.scores import objective_of, validation_in


def method_of(study: Study, training: Training, cost: CostModel, spent: Spent | None = None) -> Method:
    """The study's search (NSE's is in cli/evolve.py). It ends at chance, and where `spent` says so; a control spends what the
    search has spent."""
    method = nal_method(study, training, cost) if study.method == "nal" else _chain_method(study, training, cost)
    method = ended_early(method, study)
    if spent is not None:
        method = ended_when(method, spent, objective_of(study))
    if study.settings["asked"]["control"] == "random":
        space = msgspec.convert(study.settings["space"], ChainSpace)
        method = with_control(method, space, training, cost, study.limits, study.seed)
    return method


def ended_early(method: Method, study: Study) -> Method:
    """`method` with an end where it is at chance, if the study knows what that is."""
    validation = validation_in(study)
    return method if validation is None else ended_at_chance(method, validation, objective_of(study))


def _chain_method(study: Study, training: Training, cost: CostModel) -> Method:
    decided = study.settings
    space, rules = msgspec.convert(decided["space"], ChainSpace), decided["rules"]
    objective = objective_of(study)
    limits, seed, confirm = study.limits, study.seed, decided["asked"]["confirm_seeds"]
    if study.method == "gnas":
        return gnas(space, msgspec.convert(rules, GnasRules), training, cost, limits, objective, confirm)
    if study.method == "trgnas":
        return trgnas(space, msgspec.convert(rules, TrgnasRules), training, cost, limits, objective, confirm)
    if study.method == "random":
        return random_search(space, msgspec.convert(rules, BaselineRules), training, cost, limits, objective, seed)
    sampler, rules = msgspec.convert(study.method, Sampler), msgspec.convert(rules, BaselineRules)
    return optuna_search(sampler, space, rules, training, cost, limits, objective, seed)
