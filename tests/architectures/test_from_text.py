"""Networks written in one line: NAS-Bench-201, FBNet, the Jetson Nano's convnets, our JSON."""

import csv
import gzip

import msgspec
import pytest

from edgenas.architectures.cell import edges_reaching_output
from edgenas.architectures.chain import chain
from edgenas.architectures.convnet import workload_from_convnet
from edgenas.architectures.fbnet import CHANNELS, fbnet_from_text, workload_from_fbnet
from edgenas.architectures.from_text import network_from_text
from edgenas.architectures.nasbench201 import nasbench201_from_text, text_from_nasbench201
from edgenas.records import CellArchitecture, Classes, FbnetArchitecture, Nasbench201Cell, Workload
from tests.shared_data import shared_data

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|"


def test_our_json_is_read_back_as_the_same_architecture() -> None:
    network = chain(8, 4, (0,) * 4, (3,) * 4, Classes(10))
    assert network_from_text(msgspec.json.encode(network).decode()) == network


def test_a_nasbench201_string_makes_the_round_trip() -> None:
    network = nasbench201_from_text(CELL)
    assert isinstance(network, CellArchitecture)
    assert isinstance(network.cell, Nasbench201Cell)
    assert text_from_nasbench201(network.cell) == CELL


def test_edges_reach_the_output_even_where_nothing_feeds_them() -> None:
    # node 2 is fed by nothing (edges 1 and 2 are none), yet the convolution from it reaches the output
    cell = Nasbench201Cell(("nor_conv_3x3", "none", "none", "none", "skip_connect", "nor_conv_3x3"))
    assert edges_reaching_output(cell) == (True, False, False, False, True, True)


def test_an_fbnet_of_skips_is_stem_seven_convolutions_and_head() -> None:
    network = fbnet_from_text("fbnet:" + "8" * 22)
    assert isinstance(network, FbnetArchitecture)
    kernels = workload_from_fbnet(network).kernels
    # stem, one 1x1 wherever channels or resolution change (16 -> 16 at stride 1 does not), head convolution, pool, linear
    assert [k.out_channels for k in kernels] == [16, *CHANNELS[1:], 1504, 1504, 100]
    assert [k.height for k in kernels[:-2]] == [32, 32, 16, 8, 8, 4, 4, 4]


def test_an_fbnet_block_expands_shuffles_convolves_and_adds() -> None:
    kernels = workload_from_fbnet(fbnet_from_text("fbnet:1" + "8" * 21)).kernels[1:5]
    assert [k.kind for k in kernels] == ["conv", "shuffle", "depthwise", "conv"]
    assert [k.groups for k in kernels] == [2, 2, 16, 2]
    assert kernels[-1].residual == 0


def test_kernels_of_a_mixed_convnet_alternate_until_one_runs_out() -> None:
    kernels = workload_from_convnet("convnet_L5_F8_K2x2_1_K3x3_4_W20").kernels
    assert [k.kernel[0] for k in kernels[:-1]] == [2, 3, 3, 3, 3]
    assert [k.padding[0] for k in kernels[:-1]] == [2, 1, 1, 1, 1]
    assert [k.height for k in kernels[:-1]] == [23, 23, 23, 23, 23]


def test_every_convnet_of_the_jetson_nano_table_has_the_macs_that_its_authors_counted() -> None:
    with gzip.open(shared_data("nas/jetson_nano_tensorrt.csv.gz"), "rt", newline="") as file:
        for line in csv.DictReader(file):
            network = network_from_text(line["model_name"])
            assert isinstance(network, Workload)
            macs = network.macs + sum(k.output_elements for k in network.kernels if k.bias)
            assert macs == pytest.approx(float(line["total_macs"]), rel=1e-4), line["model_name"]
