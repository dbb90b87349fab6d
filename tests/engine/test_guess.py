"""What a network may cost, where its latency is measured."""

import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.engine.guess import BYTES_PER_MS, MACS_PER_MS, guess_of
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name
from edgenas.records import Classes, Limits

NETWORK = chain(8, 4, (0,) * 4, (3,) * 4, Classes(10))


def test_a_board_is_guessed_by_its_prediction_and_this_machine_by_what_is_counted() -> None:
    jetson, host = profile_from_name("jetson"), profile_from_name("host-cpu")
    predicted = CostModel([jetson], None, Limits())(NETWORK)
    assert guess_of([jetson], None, Limits(), jetson.name)(NETWORK) == predicted
    both = guess_of([jetson, host], None, Limits(), "host-cpu")(NETWORK)
    assert both.latencies[jetson.name] == predicted.latencies[jetson.name]
    assert both.latencies["host-cpu"].ms == pytest.approx(both.macs / MACS_PER_MS + both.bytes_moved / BYTES_PER_MS)


def test_a_guess_has_the_size_that_the_search_judges() -> None:
    """At the widest precision of all targets, this machine's among them."""
    jetson, host = profile_from_name("jetson"), profile_from_name("host-cpu")
    assert (jetson.precision, host.precision) == ("fp16", "fp32")
    work = workload_from_architecture(NETWORK)
    assert guess_of([jetson, host], None, Limits(), "host-cpu")(NETWORK).size_mb == work.size_mb("fp32")
    assert guess_of([jetson], None, Limits(), jetson.name)(NETWORK).size_mb == work.size_mb("fp16")
