"""A network of stages as a row of numbers, from what is known without training."""

from __future__ import annotations

import math

from edgenas.architectures.space import sizes
from edgenas.architectures.stages import BLOCKS, traced_stages
from edgenas.architectures.traits import macs_of, receptive_field, shares, weighted_mean
from edgenas.records import StagesArchitecture

FEATURES = 24


def stage_features(network: StagesArchitecture) -> tuple[float, ...]:
    """FEATURES numbers. Counts of stages and blocks, / 10; does the stem have stride 2, and log2 of all strides; log2 of the
    widths of stem, head (half of it), stages on average, and of the last over the first. As shares of the stages' MACs: each of
    BLOCKS, kernels of 5, kernels of 7 or more; weighted by MACs: log2 of the expansion, squeeze-excitation, place of the stage
    (0 = first). ReLU6; log2 of the receptive field; then what every space has (`space.sizes`)."""
    workload, spans = traced_stages(network)
    stages = network.stages
    macs = [macs_of(workload.kernels[index] for index in span) for span in spans]
    weighted = list(zip(stages, macs, strict=True))
    blocks = sum(stage.repeats for stage in stages)
    strides = network.stem_stride * math.prod(stage.stride for stage in stages)
    return (
        len(stages) / 10,
        blocks / 10,
        float(network.stem_stride > 1),
        math.log2(strides),
        math.log2(network.stem_width),
        math.log2(1 + network.head_width) / 2,
        weighted_mean((math.log2(stage.width), stage.repeats) for stage in stages),
        math.log2(stages[-1].width / stages[0].width),
        *shares(((stage.block, amount) for stage, amount in weighted), BLOCKS),
        *shares(((min(stage.kernel, 7), amount) for stage, amount in weighted), (5, 7)),
        weighted_mean((math.log2(stage.expansion), amount) for stage, amount in weighted),
        weighted_mean((float(stage.squeeze), amount) for stage, amount in weighted),
        weighted_mean((place / len(stages), amount) for place, amount in enumerate(macs)),
        float(network.activation == "relu6"),
        math.log2(receptive_field(workload)),
        *sizes(workload),
    )
