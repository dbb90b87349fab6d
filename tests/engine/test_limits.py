"""What is said of limits before anything is trained."""

import random
from itertools import product

import msgspec
import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.named_spaces import space_named
from edgenas.architectures.space import Space
from edgenas.architectures.stages_bounds import TINY_BOUNDS, bounded_stages
from edgenas.architectures.stages_space import StagesSpace
from edgenas.architectures.workload import workload_from_architecture
from edgenas.engine.budgets import Clock, within_budget
from edgenas.engine.limits import check_limits, loose_limits, nothing_meets, refuse_measured_limit
from edgenas.engine.registry import method_named
from edgenas.engine.settings import PRESETS, asked_stages, chain_space
from edgenas.errors import LimitError
from edgenas.hardware.cost import CostModel
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.ladder import DRAWS, refuse_impossible_limit
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import largest_members
from edgenas.records import Architecture, Classes, Latency, Limits, Precision, StagesArchitecture, Workload
from tests.plans import plan


def said(**settings: object) -> list[str]:
    asked = SearchSettings(**{"target": ("jetson",), "method": "gnas", **settings})  # type: ignore[arg-type]
    planned = plan(asked=asked, space=chain_space(asked, PRESETS["tiny"], Classes(10), 3, 96))
    profiles = [profile_from_name(name) for name in asked.target]
    return list(loose_limits(planned, method_named(asked.method), CostModel(profiles, None, asked.limits)))


def largest(**settings: object) -> float:
    """The ms of the tiny preset's largest separable network at 96 px, on the first target."""
    asked = SearchSettings(**{"target": ("jetson",), "method": "gnas", **settings})  # type: ignore[arg-type]
    space = chain_space(asked, PRESETS["tiny"], Classes(10), 3, 96)
    cost = CostModel([profile_from_name(name) for name in asked.target], None, asked.limits)
    return max(latency.ms for latency in cost(space.chain(space.max_depth, space.max_width)).latencies.values())


def test_a_limit_that_the_largest_network_keeps_is_said_with_what_reaches_it() -> None:
    (line,) = said(max_latency_ms=1.0)
    assert line.startswith("--max-latency-ms 1 cannot bind: the largest network that gnas can reach here has ")
    assert f"has {largest():.3g} ms on jetson-orin-nano-8gb-super" in line
    assert "--preset t reaches" in line
    assert "--max-width" in line


def test_what_is_said_to_reach_the_limit_does() -> None:
    (line,) = said(max_latency_ms=1.0)
    width = int(line.split("--max-width ")[1].split()[0])
    assert said(max_latency_ms=1.0, max_width=width) == []
    assert said(max_latency_ms=1.0, max_width=width - PRESETS["tiny"].width_step) != []


def test_with_a_margin_a_limit_is_held_against_the_upper_end_of_the_interval() -> None:
    assert said(max_latency_ms=largest() * 1.3) != []
    assert said(max_latency_ms=largest() * 1.3, margin=True) == []


@pytest.mark.parametrize("method", ["gnas", "random"])
def test_both_sides_of_the_largest_network(method: str) -> None:
    ms = largest()
    assert said(max_latency_ms=ms * 1.001, method=method) != []
    assert said(max_latency_ms=ms * 0.999, method=method) == []


def test_a_limit_on_macs_that_the_largest_network_keeps_is_said_with_what_reaches_it() -> None:
    asked = SearchSettings(target=("jetson",), method="guided")
    space = chain_space(asked, PRESETS["tiny"], Classes(10), 3, 96)
    most = max(workload_from_architecture(net).macs for net in largest_members(space)) / 1e6
    (line,) = said(max_mmacs=most, method="guided")
    assert line.startswith(f"--max-mmacs {most:.12g} cannot bind: the largest network that guided can reach here has ")
    assert f"has {most:.3g} M MACs; --preset t reaches" in line
    width = int(line.split("--max-width ")[1].split()[0])
    assert said(max_mmacs=most, method="guided", max_width=width) == []
    assert said(max_mmacs=most - 1e-6, method="guided") == []


def test_an_impossible_limit_on_macs_is_refused_with_the_smallest_member() -> None:
    space = chain_space(SearchSettings(target=("jetson",)), PRESETS["tiny"], Classes(10), 3, 96)
    least = workload_from_architecture(space.smallest()).macs
    cost = CostModel((), None, Limits())
    refuse_impossible_limit(space, cost, Limits(mmacs=least / 1e6))
    with pytest.raises(LimitError, match=r"smallest member .* has \S+ M MACs > \S+ M MACs: raise the limit"):
        refuse_impossible_limit(space, cost, Limits(mmacs=(least - 1) / 1e6))


@pytest.mark.parametrize(("limit", "refused"), [(2.0, False), (1.99, True), (None, False)])
def test_where_latencies_are_measured_the_smallest_chain_says_that_nothing_meets_the_limit(
    limit: float | None, refused: bool
) -> None:
    measured: list[Architecture] = []

    def measure(network: Architecture, _: Workload) -> Latency:
        measured.append(network)
        return Latency(2.0, "measured", "host-cpu")

    asked = SearchSettings(target=("host-cpu",), method="random", max_latency_ms=limit)
    cost = CostModel([profile_from_name("host-cpu")], None, asked.limits, measure)
    planned, spec = plan(asked=asked), method_named("random")
    if refused:
        with pytest.raises(
            LimitError, match=r"smallest member .* has latency 2 ms > 1\.99 ms on host-cpu: raise the limit"
        ):
            refuse_measured_limit(planned, spec, cost)
    else:
        refuse_measured_limit(planned, spec, cost)
    assert measured[:1] == ([planned.space.smallest()] if limit else [])
    # dense layers, and one other layer at a time, where separable ones are too slow; no random ones, which take long
    assert len(measured) == (0 if limit is None else 2 + planned.space.smallest().depth if refused else 1)


def digits_chains() -> ChainSpace:
    return chain_space(SearchSettings(target=("jetson",)), PRESETS["tiny"], Classes(10), 1, 8)


def predicted(space: Space, network: Architecture, target: str) -> float:
    return latency_from_workload(profile_from_name(target), space.workload(network)).ms


def test_a_latency_that_dense_layers_alone_reach_is_possible_but_for_a_ladder_of_separable_ones() -> None:
    """Starting kernels is nearly all of the time, and a dense layer has one where a separable one has two."""
    space = digits_chains()
    separable, dense = (predicted(space, network, "jetson") for network in space.simplest())
    assert dense < 0.95 * separable
    cost = CostModel([profile_from_name("jetson")], None, Limits())
    for method, possible, words in (
        (
            "guided",
            dense,
            r"^no network of this space meets the limit: its smallest member \(depth 4, width 4, dense\) has latency ",
        ),
        ("random", dense, r"^no network of this space meets the limit: "),
        (
            "gnas",
            separable,
            r"^this method begins with separable layers, and the smallest .* \(depth 4, width 4, separable\) has latency ",
        ),
        ("trgnas", separable, r"^this method begins with separable layers"),
    ):
        check = method_named(method).check
        check(space, cost, Limits(latency_ms=possible * 1.0001), DRAWS)
        with pytest.raises(LimitError, match=words):
            check(space, cost, Limits(latency_ms=possible * 0.9999), DRAWS)
    with pytest.raises(LimitError, match=r"^no network of this space meets the limit: .*, dense\)"):
        method_named("gnas").check(space, cost, Limits(latency_ms=dense * 0.9999), DRAWS)


def test_a_latency_that_only_a_mixture_of_layers_reaches_is_possible() -> None:
    space = chain_space(SearchSettings(target=("pixel-3-tflite",)), PRESETS["tiny"], Classes(10), 3, 96)
    pure = min(predicted(space, network, "pixel-3-tflite") for network in space.simplest())
    depth, width = space.min_depth, space.min_width
    mixed = min(
        predicted(space, space.chain(depth, width, ops), "pixel-3-tflite") for ops in product((0, 1), repeat=depth)
    )
    assert mixed < 0.99 * pure
    cost = CostModel([profile_from_name("pixel-3-tflite")], None, Limits())
    refuse_impossible_limit(space, cost, Limits(latency_ms=mixed * 1.0001), 0)
    with pytest.raises(LimitError, match=r"\(depth 4, width 4, separable and dense\)"):
        refuse_impossible_limit(space, cost, Limits(latency_ms=mixed * 0.9999), 0)


def test_a_latency_that_random_chains_reach_is_possible_though_the_smallest_do_not() -> None:
    space = chain_space(SearchSettings(target=("jetson-nano",)), PRESETS["tiny"], Classes(10), 3, 96)
    cost = CostModel([profile_from_name("jetson-nano")], None, Limits())
    rng = random.Random(0)
    drawn = min(predicted(space, space.draw(rng), "jetson-nano") for _ in range(DRAWS))
    refuse_impossible_limit(space, cost, Limits(latency_ms=drawn * 1.0001))
    for limit, draws in ((drawn * 1.0001, 0), (drawn * 0.9999, DRAWS)):
        with pytest.raises(LimitError, match=r"^no network of this space meets the limit"):
            refuse_impossible_limit(space, cost, Limits(latency_ms=limit), draws)


def test_what_is_the_fastest_of_another_space_is_not_measured_ahead() -> None:
    asked = SearchSettings(target=("host-cpu",), method="random", space="fbnet", max_latency_ms=1.0)
    cost = CostModel([profile_from_name("host-cpu")], None, asked.limits, lambda *_: pytest.fail("it was measured"))
    space = space_named("fbnet", Classes(10), 3, 32)
    refuse_measured_limit(plan(asked=asked, space=space), method_named("random"), cost)


def test_one_slow_target_is_enough_for_a_limit_to_bind() -> None:
    slow = largest(target=("raspberry-pi-5",))
    assert slow > 2 * largest()
    assert said(max_latency_ms=slow / 2) != []
    assert said(max_latency_ms=slow / 2, target=("jetson", "raspberry-pi-5")) == []


def test_every_limit_that_is_known_before_training_is_looked_at() -> None:
    lines = said(max_params=10**9, max_size_mb=1e6, max_memory_mb=1e6, max_mmacs=1e6, max_latency_ms=0.1)
    assert [line.split()[0] for line in lines] == ["--max-params", "--max-size-mb", "--max-memory-mb", "--max-mmacs"]
    assert all("reaches it: leave it out" in line for line in lines)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"max_params": 10**9}, "--max-params 1000000000"),
        ({"max_params": 12_345_678}, "--max-params 12345678"),
        ({"max_mmacs": 1_234_567.25}, "--max-mmacs 1234567.25"),
    ],
)
def test_a_limit_is_said_with_the_figure_that_was_asked_for(limit: dict[str, float], words: str) -> None:
    (line,) = said(**limit)
    assert line.startswith(f"{words} cannot bind: ")


def test_without_a_limit_nothing_is_said() -> None:
    assert said() == []


def test_a_preset_that_does_not_go_with_the_given_bounds_is_not_proposed() -> None:
    (line,) = said(max_latency_ms=1.0, max_depth=6)  # t, m and trg begin at ten layers
    assert "--preset" not in line
    assert "--max-width" in line


@pytest.mark.parametrize("name", ["fbnet", "nasbench201"])
def test_in_a_space_without_bounds_a_limit_that_no_random_network_breaks_is_said(name: str) -> None:
    space = space_named(name, Classes(10), 3, 32)
    asked = SearchSettings(target=("jetson",), method="random", space=name)
    profiles = [profile_from_name("jetson")]
    rng = random.Random(0)
    latencies = [
        max(latency.ms for latency in CostModel(profiles, None, Limits())(space.draw(rng)).latencies.values())
        for _ in range(50)
    ]
    for share, lines in ((1.001, 1), (0.999, 0)):
        limited = msgspec.structs.replace(asked, max_latency_ms=max(latencies) * share)
        planned = plan(asked=limited, space=space)
        found = list(loose_limits(planned, method_named("random"), CostModel(profiles, None, limited.limits)))
        assert len(found) == lines
        assert all(
            f"the largest of 50 random networks of this space has {max(latencies):.3g} ms" in line for line in found
        )
    assert (
        list(loose_limits(plan(asked=asked, space=space), method_named("random"), CostModel(profiles, None, Limits())))
        == []
    )


def test_a_limit_far_above_the_largest_separable_network_is_said_of_a_ladder_that_dense_layers_can_leave() -> None:
    ms = largest(target=("raspberry-pi-5",))
    for share, lines in ((0.69, 1), (0.71, 0), (1.3, 0)):
        assert len(said(max_latency_ms=ms / share, method="trgnas", target=("raspberry-pi-5",))) == lines, share
    (line,) = said(max_latency_ms=ms / 0.69, method="trgnas", target=("raspberry-pi-5",))
    assert "separable layers, the largest of which has " in line
    assert "69% of the limit; --preset t reaches" in line
    assert said(max_latency_ms=ms / 0.69, method="random", target=("raspberry-pi-5",)) == []


# ---------------------------------------------------------------- targets that are measured

MEASURED = pytest.mark.parametrize(
    ("target", "boards"),
    [(("host-cpu",), False), (("raspberry-pi-5",), True), (("jetson", "host-cpu"), False), (("host-cpu",), True)],
)


def space_at_96() -> ChainSpace:
    return chain_space(SearchSettings(), PRESETS["tiny"], Classes(10), 3, 96)


def checked(target: tuple[str, ...], boards: bool, **limits: float) -> list[str]:
    """What is said before a search with these limits. LimitError where nothing meets them."""
    asked = SearchSettings(target=target, method="gnas", **limits)  # type: ignore[arg-type]
    profiles, spec = tuple(map(profile_from_name, target)), method_named("gnas")
    lines: list[str] = []
    refused = nothing_meets(space_at_96(), asked, spec, profiles, boards)
    try:
        check_limits(plan(asked=asked, space=space_at_96(), boards=boards), spec, profiles, lines.append)
    except LimitError:
        assert refused
        raise
    assert not refused
    return lines


@MEASURED
def test_what_is_counted_is_held_against_its_limit_where_latencies_are_measured(
    target: tuple[str, ...], boards: bool
) -> None:
    space = space_at_96()
    least, most = (workload_from_architecture(network).params for network in (space.smallest(), space.reference()))
    with pytest.raises(LimitError, match=rf"its smallest member .* has {least} parameters > {least - 1}: "):
        checked(target, boards, max_params=least - 1)
    assert checked(target, boards, max_params=least) == []
    assert checked(target, boards, max_params=most - 1) == []
    (line,) = checked(target, boards, max_params=most)
    assert line.startswith(f"warning: --max-params {most} cannot bind: ")


@MEASURED
def test_a_latency_that_is_not_known_yet_is_neither_refused_nor_called_loose(
    target: tuple[str, ...], boards: bool
) -> None:
    assert checked(target, boards, max_latency_ms=1e6) == []
    if "jetson" not in target:  # whose latency is predicted
        assert checked(target, boards, max_latency_ms=1e-6) == []
        return
    with pytest.raises(LimitError, match="on jetson-orin-nano-8gb-super: raise the limit"):
        checked(target, boards, max_latency_ms=1e-6)


@pytest.mark.parametrize(
    ("target", "boards", "precision"), [(("jetson",), True, "fp16"), (("jetson", "host-cpu"), False, "fp32")]
)
def test_a_size_is_judged_at_the_precision_of_a_target_that_is_measured(
    target: tuple[str, ...], boards: bool, precision: Precision
) -> None:
    least = workload_from_architecture(space_at_96().smallest()).size_mb(precision)
    assert checked(target, boards, max_size_mb=least) == []
    with pytest.raises(LimitError, match=r"its smallest member .* MB > \S+ MB"):
        checked(target, boards, max_size_mb=0.999 * least)


def test_a_budget_is_rehearsed_at_the_precision_of_a_target_that_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[CostModel] = []

    def fitted(_plan: object, _spec: object, cost: CostModel, *_more: object) -> None:
        costs.append(cost)
        raise LimitError("seen")

    monkeypatch.setattr("edgenas.engine.budgets._fitted", fitted)
    smallest = space_at_96().smallest()
    work = workload_from_architecture(smallest)
    for target, boards, precision, known in (
        (("jetson",), True, "fp16", []),
        (("host-cpu",), False, "fp32", []),
        (("jetson", "host-cpu"), False, "fp32", ["jetson-orin-nano-8gb-super"]),
        (("jetson",), False, "fp16", ["jetson-orin-nano-8gb-super"]),
    ):
        asked = SearchSettings(target=target, method="gnas", budget=1.0)
        planned = plan(asked=asked, space=space_at_96(), boards=boards)
        profiles = tuple(map(profile_from_name, target))
        with pytest.raises(LimitError, match="seen"):
            within_budget(planned, method_named("gnas"), None, profiles, Clock(1.0, 0.0, 1), print)  # type: ignore[arg-type]
        cost = costs.pop()(smallest)
        assert cost.size_mb == work.size_mb(precision)  # type: ignore[arg-type]
        assert list(cost.latencies) == known


# ---------------------------------------------------------------- stages


def said_of_stages(method: str, **settings: object) -> list[str]:
    asked = SearchSettings(**{"target": ("jetson",), "space": "stages", **settings})  # type: ignore[arg-type]
    profiles = tuple(profile_from_name(name) for name in asked.target)
    space = asked_stages(asked, PRESETS["tiny"], (Classes(10), 3, 96), profiles)
    planned = plan(asked=asked, space=space)
    return list(loose_limits(planned, method_named(method), CostModel(profiles, None, asked.limits)))


@pytest.mark.parametrize("method", ["random", "nsga2", "tpe", "guided"])
def test_both_sides_of_the_largest_network_of_stages(method: str) -> None:
    asked = SearchSettings(target=("jetson",))
    space = asked_stages(asked, PRESETS["tiny"], (Classes(10), 3, 96), (profile_from_name("jetson"),))
    most = max(workload_from_architecture(network).params for network in space.largest())
    (line,) = said_of_stages(method, max_params=most)
    assert f"the largest network that {method} can reach here has {most:,} parameters; --preset t reaches" in line
    width = int(line.split("--max-width ")[1].split()[0])
    assert said_of_stages(method, max_params=most, max_width=width) == []
    assert said_of_stages(method, max_params=most, max_width=width - 8) != []
    assert said_of_stages(method, max_params=most - 1) == []


def ms_of(space: StagesSpace, network: StagesArchitecture, profile: str) -> float:
    return latency_from_workload(profile_from_name(profile), space.workload(network)).ms


def refused(space: StagesSpace, profile: str, limit: float) -> bool:
    cost = CostModel([profile_from_name(profile)], None, Limits(latency_ms=limit))
    try:
        refuse_impossible_limit(space, cost, cost.limits)
    except LimitError as refusal:
        words = str(refusal)
        return words.startswith("no network of this space meets the limit: its smallest member (") and words.endswith(
            "raise the limit, or lower --min-width or --min-depth"
        )
    return False


def test_a_latency_that_only_another_block_than_the_smallest_reaches_is_possible() -> None:
    """Separable blocks have the fewest parameters, dense ones the fewest kernels."""
    space = bounded_stages(TINY_BOUNDS["photographs"], Classes(10), 3, 96)
    dense = min(ms_of(space, network, "raspberry-pi-5") for network in space.simplest())
    assert dense < 0.9 * ms_of(space, space.smallest(), "raspberry-pi-5")
    assert not refused(space, "raspberry-pi-5", 1.001 * dense)
    assert refused(space, "raspberry-pi-5", 0.9 * dense)


def test_a_latency_that_random_networks_reach_is_possible_though_none_of_the_simplest_does() -> None:
    """Predictions of tiny networks on a Jetson Nano do not fall with every kernel."""
    space = bounded_stages(TINY_BOUNDS["photographs"], Classes(10), 3, 96)
    simplest = min(ms_of(space, network, "jetson-nano") for network in space.simplest())
    rng = random.Random(0)
    drawn = min(ms_of(space, space.draw(rng), "jetson-nano") for _ in range(DRAWS))
    assert drawn < simplest
    assert not refused(space, "jetson-nano", 1.0001 * drawn)
    assert refused(space, "jetson-nano", 0.9999 * drawn)
