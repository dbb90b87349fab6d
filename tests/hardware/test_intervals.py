"""Intervals: what was found on held-out networks of a kind, wider outside of it."""

import msgspec
import numpy as np
import pytest
from scipy.stats import t as student

from edgenas.architectures.chain import chain
from edgenas.architectures.convnet import workload_from_convnet
from edgenas.architectures.fbnet import fbnet_from_text
from edgenas.architectures.workload import workload_from_architecture
from edgenas.hardware.intervals import factor_of, half_width, held_out, kind_of, kind_of_space
from edgenas.hardware.kernels import FUSED, datasheet_prices, tiles_of
from edgenas.hardware.predictor import Models, Row, latencies, models_of
from edgenas.hardware.profile import profile_from_name
from edgenas.records import Classes, HeldOut, Precision, Workload

SMALL = workload_from_architecture(chain(8, 4, (0,) * 4, (3,) * 4, Classes(10)))
STRIPS = [
    workload_from_architecture(chain(8, 4, (0,) * 4, (3,) * 4, Classes(10), image_size=(64, width)))
    for width in (255, 256)
]
FBNET_224 = workload_from_architecture(fbnet_from_text("fbnet:" + "3" * 22, 224))
JUDGED = {"fp16 whole": HeldOut(20, 40, 1.3, 0.1, 0.9, 1.0), "fp16 chain": HeldOut(9, 9, 1.1, 0.05, 1.0, 1.0)}


def test_few_networks_have_the_width_of_a_normal_error_of_unknown_size() -> None:
    errors = np.array([0.1, 0.1, 0.2])  # the first network has two rows: each counts half
    scale = np.sqrt((0.5 * 0.1**2 + 0.5 * 0.1**2 + 0.2**2) / 2) * np.sqrt(1 + 1 / 2)
    assert half_width(errors, ["a", "a", "b"]) == pytest.approx(student.ppf(0.95, 2) * scale)


def test_many_networks_have_the_width_below_which_nine_of_ten_new_ones_stay() -> None:
    errors = (
        np.arange(1, 21) / 100
    )  # 20 networks: the 19th of 21 places, the new one included, is the first past nine of ten
    assert half_width(errors, list(range(20))) == pytest.approx(0.19)


def test_intervals_of_held_out_errors_cover_nine_of_ten_new_ones_and_not_all() -> None:
    rng = np.random.default_rng(0)
    covered = [
        abs(new) <= half_width(np.abs(rng.standard_t(4, count)), list(range(count)))
        for count in (6, 12, 19, 60)
        for new in rng.standard_t(4, 500)
    ]
    assert 0.86 < np.mean(covered) < 0.95


def test_a_held_out_card_counts_every_network_once() -> None:
    card = held_out(np.array([1.0, 1.0, 1.0]), np.array([1.2, 1.2, 1.4]), ["a", "a", "b"])
    assert (card.networks, card.rows, card.within_125, card.within_150) == (2, 3, 0.5, 1.0)
    assert card.error == pytest.approx(np.sqrt(1.2 * 1.4) - 1)


@pytest.mark.parametrize(
    ("precision", "kind", "beyond", "by_ratio", "factor"),
    [
        ("fp16", "whole", False, False, 1.3),
        ("fp16", "whole", True, False, 1.3**2),
        ("fp16", "small", False, False, 3.0),  # never judged: another kind
        ("int8", "chain", False, True, 1.1 * 2),
        ("int8", "cell", False, True, 3.0 * 2),
        ("fp16", "small", True, False, 3.0**2),  # each widens what the others leave
        ("int8", "chain", True, True, 1.1**2 * 2),
        ("int8", "cell", True, True, 3.0**2 * 2),
    ],
)
def test_an_interval_is_wider_outside_of_what_was_judged(
    precision: str, kind: str, beyond: bool, by_ratio: bool, factor: float
) -> None:
    assert factor_of(JUDGED, precision, kind, beyond=beyond, by_ratio=by_ratio) == pytest.approx(factor)
    assert factor_of({}, precision, kind, beyond=beyond, by_ratio=by_ratio) is None


def test_where_several_may_be_meant_the_widest_counts() -> None:
    other = msgspec.structs.replace(JUDGED["fp16 chain"], factor=1.4)
    chains = {"fp32 chain": other, **JUDGED}
    assert factor_of(chains, "int8", "chain", beyond=False, by_ratio=True) == pytest.approx(1.4 * 2)
    assert factor_of(chains, "int8", "chain", beyond=False, by_ratio=False) == 3.0  # no ratio to another precision
    far_off = {**JUDGED, "fp16 cell": msgspec.structs.replace(other, factor=4.2)}
    assert factor_of(far_off, "fp16", "small", beyond=False, by_ratio=False) == 4.2  # as far off as the worst kind
    assert factor_of(far_off, "fp16", "small", beyond=True, by_ratio=False) == pytest.approx(4.2**2)


def test_shares_of_held_out_networks_are_those_within_a_quarter_and_within_a_half() -> None:
    card = held_out(np.ones(4), np.array([1.24, 1 / 1.26, 1.49, 1.51]), list("abcd"))
    assert (card.within_125, card.within_150) == (0.25, 0.75)


@pytest.mark.parametrize(
    ("workload", "space", "kind"),
    [
        (SMALL, "", "chain"),
        (workload_from_convnet("convnet_L4_F32_K3x3_W224"), "", "chain"),
        (FBNET_224, "", "whole"),
        (FBNET_224, "fbnet 3x224", "block"),
        (workload_from_architecture(fbnet_from_text("fbnet:" + "3" * 22)), "", "small"),
        (SMALL, "nasbench201 16x5 3x32", "cell"),
        (STRIPS[0], "", "chain"),  # 127 x 127 px
        (STRIPS[1], "", "whole"),  # 128 x 128 px
    ],
)
def test_networks_are_judged_among_their_kind(workload: Workload, space: str, kind: str) -> None:
    assert (kind_of_space(space) if space else kind_of(workload)) == kind


def test_a_profile_says_its_interval_and_calls_a_kind_that_it_was_never_judged_on_extrapolated() -> None:
    nano = profile_from_name("jetson-nano-4gb")
    assert nano.calibration is not None
    judged = {"fp32 chain": HeldOut(500, 500, 1.2, 0.04, 1.0, 1.0)}
    profile = msgspec.structs.replace(nano, calibration=msgspec.structs.replace(nano.calibration, judged=judged))
    rows = [Row("chain", workload_from_convnet("convnet_L4_F32_K3x3_W32")), Row("whole", FBNET_224)]
    inside, other = latencies(profile, rows)
    assert not inside.extrapolated
    assert (inside.low, inside.high) == (inside.ms / 1.2, inside.ms * 1.2)
    assert other.extrapolated
    assert other.high == pytest.approx(other.ms * 3**2)  # it holds more than any that was calibrated, too
    elsewhere = msgspec.structs.replace(nano.calibration, judged={"fp32 cell": judged["fp32 chain"]})
    (same,) = latencies(msgspec.structs.replace(nano, calibration=elsewhere), rows[:1])
    assert same.extrapolated  # within all that was calibrated, but never judged as a chain
    assert same.ms == pytest.approx(inside.ms)


@pytest.mark.parametrize(
    ("held_out", "precision", "batch", "extrapolated", "factor"),
    [
        (0, "fp32", 1, True, 3.0),
        (0, "fp32", 4096, True, 9.0),  # more work than anything that was calibrated
        (0, "fp16", 1, True, 6.0),
        (5, "fp32", 1, False, None),  # an earlier version judged it, and did not say how each kind did
    ],
)
def test_a_fit_that_nothing_was_held_out_to_judge_is_extrapolated_everywhere(
    held_out: int, precision: Precision, batch: int, extrapolated: bool, factor: float | None
) -> None:
    nano = profile_from_name("jetson-nano-4gb")
    assert nano.calibration is not None
    kernels = msgspec.to_builtins(Models(models_of(nano.calibration).kernels))
    card = msgspec.structs.replace(nano.calibration, parameters=kernels, held_out=held_out, judged={})
    profile = msgspec.structs.replace(nano, calibration=card, carried_from="")
    row = Row("chain", workload_from_convnet("convnet_L4_F32_K3x3_W32"), batch=batch)
    (found,) = latencies(profile, [row], precision)
    assert found.extrapolated == extrapolated
    if factor is None:
        assert (found.low, found.high) == (None, None)
    else:
        assert found.high == pytest.approx(found.ms * factor)
        assert found.low == pytest.approx(found.ms / factor)


def test_a_pass_of_its_own_costs_more_than_a_fused_activation_on_every_runtime() -> None:
    def with_activation(name: str) -> Workload:
        first = msgspec.structs.replace(FBNET_224.kernels[0], activation=name)
        return Workload((first, *FBNET_224.kernels[1:]))

    assert "relu" in FUSED
    assert "sigmoid" not in FUSED
    for target in ("raspberry-pi-5", "jetson", "t4"):
        relu, silu = latencies(
            profile_from_name(target), [Row("relu", with_activation("relu")), Row("silu", with_activation("sigmoid"))]
        )
        assert silu.ms > relu.ms, target


def test_a_copied_map_costs_more_than_a_map_that_is_added() -> None:
    for target in ("raspberry-pi-5", "jetson", "l4"):
        prices = datasheet_prices(profile_from_name(target), profile_from_name(target).precision)
        assert min(prices[name] for name in ("moved", "pooled", "activated")) > 0, target


def test_an_arm_cpu_computes_all_channels_alike_and_an_x86_one_blocks_of_four() -> None:
    arm, x86 = (
        tiles_of("onnxruntime", "fp32", "", fitted=True, instruction_set=name) for name in ("aarch64", "x86-64")
    )
    assert (arm.blocks, x86.blocks) == (1, 4)


def test_one_network_that_is_far_off_gives_a_profile_that_can_be_read_back() -> None:
    held = held_out(np.array([1.0, 1.0]), np.array([40.0, 900.0]), ["a", "b"])
    assert held.factor == 1e4
    assert msgspec.json.decode(msgspec.json.encode(held), type=HeldOut) == held
