"""Predictions as records: batches, several networks at once, what is refused."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.from_text import network_from_text
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.kernels import COLUMN, PRICES, batched, datasheet_prices, quantities, tiles_of
from edgenas.hardware.prediction import predictions
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.image_sizes import ImageSize
from edgenas.records import Classes
from tests.architectures.graphs import W, conv, graph, pooled

NETWORK = chain(16, 6, (0, 1) * 3, (3,) * 6, Classes(10))
BARE = msgspec.structs.replace(profile_from_name("jetson-nano"), calibration=None, carried_from="")


def test_an_architecture_and_its_workload_are_the_same_network() -> None:
    one = predictions(NETWORK, "jetson-nano")[0]
    two = predictions(workload_from_architecture(NETWORK), "jetson-nano")[0]
    assert (one.ms, one.macs, one.params) == (two.ms, two.macs, two.params)
    assert one.params == workload_from_architecture(NETWORK).params


def test_several_networks_are_predicted_in_their_order(tmp_path: Path) -> None:
    onnx.save(graph([conv(), pooled()], W), str(tmp_path / "m.onnx"))
    found = predictions([tmp_path / "m.onnx", NETWORK], profile_from_name("jetson"), "fp32")
    assert [one.name for one in found] == ["m.onnx", NETWORK.fingerprint]
    assert [one.precision for one in found] == ["fp32", "fp32"]
    assert found[0].params == 216


def test_a_batch_does_everything_for_every_image_but_launches_and_weights() -> None:
    tiles = tiles_of("tensorrt", "fp32", "", fitted=False)
    load = quantities(workload_from_architecture(NETWORK), tiles, "fp32").sum(axis=0)
    prices = datasheet_prices(BARE, "fp32")
    by_hand = sum(
        load[COLUMN[name]] * prices[name] * (1 if name in ("base", "launch", "weights") else 8) for name in PRICES
    )
    (eight,) = predictions(NETWORK, BARE, batch=8)
    assert eight.ms == pytest.approx(by_hand, rel=1e-12)
    assert eight.batch == 8
    assert np.array_equal(batched(load, 1), load)


def test_a_batch_beyond_what_was_calibrated_is_an_extrapolation() -> None:
    name = "convnet_L4_F64_K3x3_W60"
    one, many = (predictions(network_from_text(name), "jetson-nano", batch=batch)[0] for batch in (1, 256))
    assert (one.extrapolated, many.extrapolated) == (False, True)


@pytest.mark.parametrize("batch", [0, -1, 1025])
def test_a_batch_that_cannot_be_is_refused(batch: int) -> None:
    with pytest.raises(EdgenasError, match=f"a batch of {batch} images was asked for: possible are 1 to 1024"):
        predictions(NETWORK, "jetson-nano", batch=batch)
    assert predictions(NETWORK, "jetson-nano", batch=1024)


@pytest.mark.parametrize("target", ["jetson-orin-nano-8gb-super", "raspberry-pi-4", "jetson-nano"])
def test_a_strip_lying_down_is_as_fast_as_upright_and_slower_the_longer_it_is(target: str) -> None:
    profile = profile_from_name(target)

    def ms(size: ImageSize) -> float:
        return latency_from_workload(profile, chain(16, 9, (1,) * 9, (3,) * 9, Classes(3), image_size=size)).ms

    assert ms((64, 320)) == pytest.approx(ms((320, 64)), rel=0.02)
    assert ms((64, 192)) < ms((64, 224)) < ms((64, 256))  # all with two reductions before the first layer
