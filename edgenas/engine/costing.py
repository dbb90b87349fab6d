"""What networks cost that no search has asked for: references, and what stands beside them, by the same sources as a study's own
candidates."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from edgenas.engine.call import Where
from edgenas.engine.plan import written_plan
from edgenas.errors import StudyError
from edgenas.hardware.candidates import measuring_here
from edgenas.hardware.cost import CostModel, Measure
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import HOST_CPU, precision_of, profiles_of
from edgenas.records import Architecture, Cost, Latency, Limits, Workload
from edgenas.remote.boards import measuring_beside, refuse_without_board, remembered
from edgenas.store import Store

Tell = Callable[[str], None]


class Costing:
    """Architecture -> Cost on a study's targets. Boards that are given measure every network; without them what a board has
    measured before is known, and the rest is predicted, on host-cpu measured. Nothing is opened before the first network.

    Raises StudyError for boards where this machine measured the study's candidates, and where they are needed and not given.
    """

    def __init__(self, store: Store, tell: Tell, where: Where = Where()) -> None:
        plan = written_plan(store.study)
        self.store, self.tell, self.where = store, tell, where
        self.profiles, self.precision, self.on_boards = profiles_of(store.study), plan.asked.precision, plan.boards
        self._stack = ExitStack()
        self._model: CostModel | None = None
        self._refuse()

    def __enter__(self) -> Costing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __call__(self, architecture: Architecture) -> Cost:
        if self._model is None:
            measure, measured = self._source()
            self._model = CostModel(self.profiles, self.precision, Limits(), measure, measured)
        return self._model(architecture)

    def is_better(self, cost: Cost) -> bool:
        """Would a board that is given know more than this cost does?"""
        return bool(self.where.boards) and cost.latencies[self.profiles[0].name].origin != "measured"

    def knows(self, architecture: Architecture) -> bool:
        """Has a board measured this network for the study?"""
        return remembered(self.store, self.profiles[0], self.precision, architecture) is not None

    def _refuse(self) -> None:
        where, names = self.where, [profile.name for profile in self.profiles]
        if not where.boards:
            refuse_without_board(where.token_file, where.ca)
        if where.boards and HOST_CPU in names and not self.on_boards:
            raise StudyError(
                f"{self.store.folder}: its candidates were measured on this machine, not on a board: leave --board out"
            )
        if where.boards and len(names) > 1:
            raise StudyError(
                f"{self.store.folder} was searched for {', '.join(names)}, and a board is one of them: leave --board out, "
                "or search for that one alone"
            )

    def _source(self) -> tuple[Measure, str]:
        profile, where = self.profiles[0], self.where
        if where.boards:
            hook = measuring_beside(
                where.boards, where.token_file, self.profiles, self.precision, self.store, self.tell, ca=where.ca
            )
            return self._stack.enter_context(hook)
        here = [one for one in self.profiles if one.name == HOST_CPU]
        if here and not self.on_boards:
            return measuring_here(self.store, here[0], self.precision, say=self.tell), HOST_CPU
        return self._known_or_predicted, profile.name

    def _known_or_predicted(self, architecture: Architecture, workload: Workload) -> Latency:
        del workload
        profile = self.profiles[0]
        known = remembered(self.store, profile, self.precision, architecture)
        if known is not None:
            return known
        if profile.name == HOST_CPU:
            raise StudyError(
                f"{self.store.folder}: its candidates were measured on a board, which alone can measure this network: give "
                "its --board URL to `edgenas compare` or `search --reference`"
            )
        return latency_from_workload(profile, architecture, precision_of(profile, self.precision))
