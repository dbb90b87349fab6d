"""The generator of a study's method, with what ends it early."""

from __future__ import annotations

from collections.abc import Callable

from edgenas.engine.answers import checked
from edgenas.engine.plan import Plan
from edgenas.methods import CostOf, Method
from edgenas.methods.baselines import drawn_by, with_control
from edgenas.methods.endings import Spent, ended_at_chance, ended_when
from edgenas.methods.spec import Lab, MethodSpec, Search
from edgenas.records import Limits, Metric


def search_of(
    plan: Plan,
    metric: Metric,
    cost: CostOf,
    limits: Limits,
    lab: Lab | None = None,
    share: Callable[[int], float] | None = None,
    guess: CostOf | None = None,
) -> Search:
    """What the plan's search is made from."""
    asked = plan.asked
    how = (plan.training, cost, limits, asked.seed, metric, asked.confirm_seeds, lab, plan.validation, share, guess)
    return Search(plan.space, plan.rules, *how)


def method_of(
    spec: MethodSpec, search: Search, plan: Plan, spent: Spent | None = None, control_spent: Spent | None = None
) -> Method:
    """The search. It ends at chance, if the plan knows what that is, and where `spent` says so; a control of random members
    spends what the search has spent, or ends where `control_spent` says so."""
    method = checked(spec.make(search), spec.name)
    if plan.validation is not None:
        method = ended_at_chance(method, plan.validation, search.objective)
    if spent is not None:
        method = ended_when(method, spent, search.objective)
    if plan.asked.control == "random" and spec.control == "members":
        method = with_control(method, search.space, search.training, *drawn_by(search), search.seed, control_spent)
    return method
