"""For which images the space `stages` has which bounds."""

from __future__ import annotations

from edgenas.architectures.stages_space import Activation, StagesSpace, ladder, least_stages
from edgenas.image_sizes import ImageSize, square_side
from edgenas.records import Embedding, Head, Record

SMALL_IMAGES = (
    48  # pixels of the side, up to which images count as small; of a rectangle of the square of as many pixels
)


class StagesBounds(Record, frozen=True):
    """Usual bounds, as fields of the same names in StagesSpace."""

    max_stages: int
    max_repeats: int
    max_width: int
    max_stem: int
    heads: tuple[int, ...]
    min_width: int = 8
    width_step: int = 8  # GPUs and NPUs compute eight channels at a time
    min_stages: int = 3
    kernels: tuple[int, ...] = (3, 5)
    expansions: tuple[int, ...] = (1, 2, 3, 4, 6)
    stem_kernels: tuple[int, ...] = (3,)
    activations: tuple[Activation, ...] = ("relu",)


# Chains of 32 px, MobileNetV2, MnasNet, EfficientNet-Lite0 and ResNet-18 of 224 px are members of the first three.
BOUNDS = {
    "small": StagesBounds(6, 4, 256, 64, (0, 64, 128, 256, 512), min_width=4, width_step=4),
    "photographs": StagesBounds(
        7, 4, 512, 64, (0, 128, 256, 512, 1280), kernels=(3, 5, 7), stem_kernels=(3, 7), activations=("relu", "relu6")
    ),
    "faces": StagesBounds(6, 6, 256, 64, (0, 128, 256, 512), activations=("relu", "relu6")),
}
# What two cores train in minutes.
TINY_BOUNDS = {
    "small": StagesBounds(5, 3, 96, 32, (0, 64, 128), min_width=4, width_step=4, expansions=(1, 2, 3, 4)),
    "photographs": StagesBounds(6, 3, 128, 32, (0, 128, 256), expansions=(1, 2, 3, 4)),
    "faces": StagesBounds(5, 4, 128, 32, (0, 128, 256), expansions=(1, 2, 3, 4)),
}


def stages_space(head: Head, in_channels: int, image_size: ImageSize) -> StagesSpace:
    """The space for these data: bounds for small images, for photographs, or for faces, which have an embedding to learn."""
    return bounded_stages(BOUNDS[kind_of_images(head, image_size)], head, in_channels, image_size)


def kind_of_images(head: Head, image_size: ImageSize) -> str:
    """Which of BOUNDS are for these data."""
    if square_side(image_size) <= SMALL_IMAGES:
        return "small"
    return "faces" if isinstance(head, Embedding) else "photographs"


def bounded_stages(
    usual: StagesBounds, head: Head, in_channels: int, image_size: ImageSize, **asked: int | None
) -> StagesSpace:
    """The space of these bounds, with those that were asked for: min_width, max_width, width_step, min_depth, max_depth. None =
    not asked for. A usual bound makes way for one that was asked for and lies beyond it; images of more than 256 px have so many
    stages that the last map can be as small as it has to be."""
    values = {name: getattr(usual, name) for name in usual.__struct_fields__}
    values["min_stages"] = max(values["min_stages"], least_stages(square_side(image_size)))
    values["max_stages"] = max(values["max_stages"], values["min_stages"])
    values |= {name: value for name, value in asked.items() if value is not None}
    low, high, step = (values[name] for name in ("min_width", "max_width", "width_step"))
    if low > high and asked.get("min_width") is None:
        values["min_width"] = high
    elif low > high and asked.get("max_width") is None:
        values["max_width"] = next(iter(ladder(low, 2 * low, step)), low)
    widths = ladder(values["min_width"], values["max_width"], step)
    if widths and values["max_stem"] < widths[0]:
        values["max_stem"] = widths[0]
    return StagesSpace(head=head, in_channels=in_channels, image_size=image_size, **values)
