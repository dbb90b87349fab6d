"""Limits on both sides of each bound, and sizes and peak memory by hand."""

import msgspec
import pytest

from edgenas.ranges import beside
from edgenas.records import ACCURACY, TAR, Cost, Kernel, Latency, Limits, Metric, Workload

COST = Cost(
    params=1000,
    macs=1,
    bytes_moved=1,
    size_mb=0.004,
    memory_mb=0.5,
    latencies={
        "fast": Latency(2.0, "predicted", "fast", energy_mj=3.0),
        "slow": Latency(4.0, "measured", "slow", energy_mj=8.0),
    },
)


@pytest.mark.parametrize(
    ("within", "broken", "words"),
    [
        (Limits(latency_ms=4.0), Limits(latency_ms=3.99), "latency 4 ms > 3.99 ms on slow"),
        (Limits(params=1000), Limits(params=999), "1000 parameters > 999"),
        (Limits(size_mb=0.004), Limits(size_mb=0.0039), "size 0.004 MB > 0.0039 MB"),
        (Limits(memory_mb=0.5), Limits(memory_mb=0.49), "memory 0.5 MB > 0.49 MB"),
        (Limits(energy_mj=8.0), Limits(energy_mj=7.9), "energy 8 mJ > 7.9 mJ on slow"),
        (Limits(latency_ms=4.0), Limits(latency_ms=3.9999), "latency 4 ms > 3.9999 ms on slow"),
    ],
    ids=["latency", "parameters", "size", "memory", "energy", "a hair"],
)
def test_a_cost_that_equals_its_limit_is_within_it_and_the_next_larger_is_not(
    within: Limits, broken: Limits, words: str
) -> None:
    assert within.broken(COST) == ()
    assert broken.broken(COST) == (words,)
    assert within.excess(COST) <= 1 < broken.excess(COST)


@pytest.mark.parametrize(
    ("value", "bar", "words"),
    [
        (10.04, 10, "10.04"),
        (10.00004, 10, "10.00004"),
        (9.99996, 10, "9.99996"),
        (10.0, 10, "10"),
        (12.3456, 10, "12.35"),
    ],
)
def test_a_value_has_as_many_digits_as_it_takes_to_be_on_its_side_of_a_bar(
    value: float, bar: float, words: str
) -> None:
    assert beside(value, bar) == words
    assert Limits(latency_ms=bar).broken(
        msgspec.structs.replace(COST, latencies={"b": Latency(value, "measured", "b")})
    ) == ((f"latency {words} ms > {bar:g} ms on b",) if value > bar else ())


def test_the_excess_is_the_largest_share_of_a_limit() -> None:
    assert Limits().excess(COST) == 0
    assert Limits(params=2000).excess(COST) == 0.5
    assert Limits(params=2000, latency_ms=1.0).excess(COST) == 4
    assert Limits(params=100, latency_ms=1.0, mmacs=1e-6).excess(COST) == 10
    silent = msgspec.structs.replace(COST, latencies={"board": Latency(1.0, "measured", "board", high=1.5)})
    assert Limits(energy_mj=0.001, latency_ms=2.0).excess(silent) == 0.5
    assert Limits(energy_mj=0.001, latency_ms=2.0, margin=True).excess(silent) == 0.75


def test_every_target_and_every_limit_is_named() -> None:
    assert Limits(latency_ms=1.0, params=1).broken(COST) == (
        "latency 2 ms > 1 ms on fast",
        "latency 4 ms > 1 ms on slow",
        "1000 parameters > 1",
    )


def test_energy_that_nobody_measured_breaks_no_limit() -> None:
    silent = msgspec.structs.replace(COST, latencies={"board": Latency(1.0, "measured", "board")})
    assert Limits(energy_mj=0.001).broken(silent) == ()


def conv(inputs: int, outputs: int, side: int, source: int, residual: int | None = None) -> Kernel:
    """A 1x1 convolution without bias on a square map."""
    return Kernel("conv", inputs, outputs, side, side, side, side, (source,), residual=residual)


def test_sizes_are_parameters_times_the_bytes_of_the_precision() -> None:
    workload = Workload((conv(10, 100, 1, -1),))  # 1000 weights
    assert [workload.size_mb(precision) for precision in ("fp32", "fp16", "int8")] == [0.004, 0.002, 0.001]


def test_peak_memory_holds_a_map_until_its_last_reader_has_run() -> None:
    # elements: input 4x1, a 4x8, b 4x2, c 4x2 and the residual a is read by d, 4x8; weights 8 + 16 + 4 + 16
    chain = (conv(1, 8, 2, -1), conv(8, 2, 2, 0), conv(2, 2, 2, 1), conv(2, 8, 2, 2, residual=0))
    live = 32 + 8 + 32  # a (kept for its residual), c and d; input and b are gone
    assert Workload(chain).memory_mb("int8") == (live + 8 + 16 + 4 + 16) / 1e6
    without = (*chain[:3], conv(2, 8, 2, 2))
    # now the peak is a + b while b is written, beside it nothing: 40; or d's own step: c and d, 40
    assert Workload(without).memory_mb("int8") == (40 + 8 + 16 + 4 + 16) / 1e6
    assert Workload(without).memory_mb("fp32") == 4 * Workload(without).memory_mb("int8")


def test_searches_maximise_a_score_and_the_negative_of_an_error() -> None:
    error = Metric("mae", unit="deg", better="lower")
    scores = {"mae": 3.5, "mae_low": 3.0, "mae_high": 4.5, "loss": 0.25}
    assert error.objective == "val_neg_mae"
    assert error.trial_scores(scores) == {
        **{"val_mae": 3.5, "val_mae_low": 3.0, "val_mae_high": 4.5, "val_loss": 0.25},
        **{"val_neg_mae": -3.5, "val_neg_mae_low": -4.5, "val_neg_mae_high": -3.0},
    }
    assert ACCURACY.objective == "val_accuracy"
    assert ACCURACY.trial_scores({"accuracy": 90.0, "loss": 0.5}) == {"val_accuracy": 90.0, "val_loss": 0.5}


@pytest.mark.parametrize(
    ("metric", "value", "gain", "error", "words"),
    [
        (ACCURACY, 97.5, 97.5, 2.5, "97.50 %"),
        (TAR, 90.0, 90.0, 10.0, "90.00 %"),
        (Metric("mae", unit="deg", better="lower"), 3.14159, -3.14159, 3.14159, "3.142 deg"),
        (Metric("r2", unit=""), 0.75, 0.75, -0.75, "0.75"),
        (Metric("error", better="lower"), 2.5, -2.5, 2.5, "2.50 %"),
    ],
)
def test_a_metric_is_said_in_its_unit_and_has_one_direction(
    metric: Metric, value: float, gain: float, error: float, words: str
) -> None:
    assert (metric.gain(value), metric.error(value), metric.words(value)) == (gain, error, words)


def test_with_a_margin_a_latency_is_judged_by_the_upper_end_of_its_interval() -> None:
    def cost(high: float | None) -> Cost:
        return Cost(
            1, 1, 1, 1.0, 1.0, {"b": Latency(3.0, "predicted", "b", low=None if high is None else 2.0, high=high)}
        )

    limits, careful = Limits(latency_ms=4.0), Limits(latency_ms=4.0, margin=True)
    assert limits.broken(cost(4.5)) == ()
    assert careful.broken(cost(4.5)) == ("latency up to 4.5 ms > 4 ms on b",)
    assert careful.broken(cost(4.0)) == ()
    assert careful.broken(cost(None)) == ()  # measured: the figure itself
    assert Limits(latency_ms=2.5, margin=True).broken(cost(None)) == ("latency 3 ms > 2.5 ms on b",)


def test_a_limit_inside_a_latency_s_interval_is_uncertain() -> None:
    cost = Cost(1, 1, 1, 1.0, 1.0, {"b": Latency(3.0, "predicted", "b", low=2.0, high=4.0)})
    assert [Limits(latency_ms=limit).uncertain(cost) for limit in (1.9, 2.0, 3.9, 4.0)] == [False, True, True, False]
    assert not Limits().uncertain(cost)
    assert not Limits(latency_ms=3.0).uncertain(Cost(1, 1, 1, 1.0, 1.0, {"b": Latency(3.0, "measured", "b")}))


@pytest.mark.parametrize(
    ("macs", "limit", "words"),
    [
        (600_000_000, 600.0, ()),
        (600_000_001, 600.0, ("600.000001 M MACs > 600 M MACs",)),
        (330_953_544, 330.953544, ()),
        (330_953_545, 330.953544, ("330.953545 M MACs > 330.953544 M MACs",)),
        (100_001, 0.1, ("0.100001 M MACs > 0.1 M MACs",)),
        (100_000, 0.1, ()),
    ],
)
def test_a_network_of_exactly_so_many_million_macs_is_within_the_limit_and_one_more_is_not(
    macs: int, limit: float, words: tuple[str, ...]
) -> None:
    assert Limits(mmacs=limit).broken(Cost(1, macs, 1, 1.0, 1.0)) == words


def test_every_number_of_macs_keeps_the_limit_that_is_written_as_it() -> None:
    """A limit comes as text in millions: of no whole number may its division lose the last digit."""
    for macs in (*range(1, 2_000), *range(326_325_200, 326_327_200), *range(10**15 + 1, 10**15 + 500)):
        limit = float(f"{macs // 10**6}.{macs % 10**6:06d}")
        assert not Limits(mmacs=limit).broken(Cost(1, macs, 1, 1.0, 1.0))
        assert Limits(mmacs=limit).broken(Cost(1, macs + 1, 1, 1.0, 1.0)) or macs >= 10**15


def test_limits_of_studies_that_were_written_before_macs_were_one_are_read() -> None:
    old = b'{"latency_ms":1.5,"params":null,"size_mb":null,"memory_mb":null,"energy_mj":null,"margin":false}'
    assert msgspec.json.decode(old, type=Limits) == Limits(latency_ms=1.5)
