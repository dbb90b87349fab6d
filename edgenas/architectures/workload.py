"""Architecture -> workload: what a device executes, with parameters, MACs and bytes. Each space has its `workload_from_*`."""

from __future__ import annotations

from edgenas.architectures.cell_workload import workload_from_cell
from edgenas.architectures.chain import workload_from_chain
from edgenas.architectures.fbnet import workload_from_fbnet
from edgenas.architectures.multibranch import workload_from_multibranch
from edgenas.architectures.own import workload_from_own
from edgenas.architectures.stages import workload_from_stages
from edgenas.architectures.whole import workload_from_whole
from edgenas.records import (
    Architecture,
    CellArchitecture,
    ChainArchitecture,
    FbnetArchitecture,
    MultiBranchArchitecture,
    OnnxArchitecture,
    StagesArchitecture,
    Workload,
)


def workload_from_architecture(architecture: Architecture) -> Workload:
    """The kernels of any architecture at batch 1; those of the last ones of each space are not traced again."""
    if isinstance(architecture, ChainArchitecture):
        return workload_from_chain(architecture)
    if isinstance(architecture, MultiBranchArchitecture):
        return workload_from_multibranch(architecture)
    if isinstance(architecture, CellArchitecture):
        return workload_from_cell(architecture)
    if isinstance(architecture, FbnetArchitecture):
        return workload_from_fbnet(architecture)
    if isinstance(architecture, StagesArchitecture):
        return workload_from_stages(architecture)
    if isinstance(architecture, OnnxArchitecture):
        return workload_from_whole(architecture)
    return workload_from_own(architecture)
