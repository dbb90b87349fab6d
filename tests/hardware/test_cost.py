"""Costs are known before training, and remembered."""

import msgspec
import pytest

from edgenas.architectures.chain import chain, workload_from_chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.cost import CostModel
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import all_profiles, profile_from_name
from edgenas.records import ChainArchitecture, Classes, Latency, Limits

SMALL = chain(8, 4, (0,) * 4, (3,) * 4, Classes(10))
LARGE = chain(64, 12, (1,) * 12, (5,) * 12, Classes(10))


@pytest.mark.parametrize("profile", [p for p in all_profiles() if p.peaks], ids=lambda profile: profile.name)
def test_a_larger_network_is_slower_on_every_target_at_every_precision(profile) -> None:
    for precision in profile.precisions:
        small, large = (latency_from_workload(profile, network, precision).ms for network in (SMALL, LARGE))
        assert 0 < small < large


def test_a_cost_has_one_latency_for_each_target_and_says_where_it_comes_from() -> None:
    targets = [profile_from_name("jetson"), profile_from_name("raspberry-pi-5")]
    cost = CostModel(targets, None, Limits())(SMALL)
    assert list(cost.latencies) == ["jetson-orin-nano-8gb-super", "raspberry-pi-5"]
    assert {latency.origin for latency in cost.latencies.values()} == {"predicted"}
    assert "fp16, batch 1, MAXN_SUPER" in cost.latencies["jetson-orin-nano-8gb-super"].detail


def test_a_network_is_traced_once_for_any_number_of_targets_and_models() -> None:
    new = [chain(9, depth, (0,) * depth, (3,) * depth, Classes(11)) for depth in (4, 5, 6)]
    targets = [profile_from_name("jetson"), profile_from_name("raspberry-pi-5")]
    before = workload_from_chain.cache_info().misses
    for _ in range(2):
        model = CostModel(targets, None, Limits())
        assert [model(network).params for network in new] == [workload_from_architecture(n).params for n in new]
    assert workload_from_chain.cache_info().misses == before + len(new)
    equal = msgspec.json.decode(msgspec.json.encode(new[0]), type=ChainArchitecture)
    assert workload_from_architecture(equal) == workload_from_chain.__wrapped__(equal)
    assert workload_from_chain.cache_info().misses == before + len(new)


def test_measuring_replaces_the_prediction_and_happens_once() -> None:
    calls = []

    def measure(architecture, workload):
        calls.append(architecture)
        return Latency(1.25, "measured", "host-cpu")

    model = CostModel([profile_from_name("host-cpu")], None, Limits(), measure)
    assert model(SMALL).latencies["host-cpu"].ms == 1.25
    assert model(SMALL) is model(SMALL)
    assert len(calls) == 1


def test_what_breaks_a_limit_already_is_not_measured() -> None:
    def measure(architecture, workload):
        raise AssertionError("measured")

    limits = Limits(params=100)
    cost = CostModel([profile_from_name("host-cpu")], None, limits, measure)(SMALL)
    assert limits.broken(cost) == (f"{cost.params} parameters > 100",)


def test_a_target_without_figures_says_that_it_must_be_measured() -> None:
    with pytest.raises(EdgenasError, match="host-cpu has no peak and bandwidth"):
        CostModel([profile_from_name("host-cpu")], None, Limits())(SMALL)


def test_sizes_are_those_at_the_widest_precision_of_all_targets() -> None:
    half, single = profile_from_name("jetson"), profile_from_name("raspberry-pi-5")
    assert (half.precision, single.precision) == ("fp16", "fp32")
    params = workload_from_architecture(SMALL).params
    assert CostModel([half], None, Limits())(SMALL).size_mb == pytest.approx(2 * params / 1e6)
    for targets in ([half, single], [single, half]):
        cost = CostModel(targets, None, Limits())(SMALL)
        assert cost.size_mb == pytest.approx(4 * params / 1e6)
        assert cost.memory_mb == CostModel([single], None, Limits())(SMALL).memory_mb
    # a limit between the two sizes: the network fits the one target, not both
    limits = Limits(size_mb=3 * params / 1e6)
    assert not limits.broken(CostModel([half], None, limits)(SMALL))
    assert limits.broken(CostModel([half, single], None, limits)(SMALL))


def test_a_search_is_not_judged_at_tf32_which_no_engine_of_ours_computes_in() -> None:
    with pytest.raises(EdgenasError, match="TF32 off: choose --precision fp32"):
        CostModel([profile_from_name("jetson")], "tf32", Limits())
