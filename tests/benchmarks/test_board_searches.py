"""The candidates of the boards' searches are the networks that the table measured; limits on both sides of a candidate."""

import numpy as np

from benchmarks.board_searches import Candidate, winner, workload_from_stages
from edgenas.records import Latency
from tests.shared_data import shared_data


def test_parameters_of_the_networks_are_the_table_s() -> None:
    with np.load(shared_data("nas/accel_nasbench.npz")) as data:
        for arch, millions in zip(data["arch"][::700].astype(int), data["mparams"][::700], strict=True):
            stages = tuple(zip(*(arch[start::4].tolist() for start in range(4)), strict=True))
            assert abs(workload_from_stages(stages).params / 1e6 - millions) < 1e-5 * millions


def test_the_most_accurate_network_within_the_limit_wins() -> None:
    stages = ((1, 3, 1, 0),) * 7
    networks = [Candidate(stages, accuracy, workload_from_stages(stages)) for accuracy in (60.0, 65.0, 70.0)]
    now = [Latency(ms, "predicted", "b", low=ms / 2, high=2 * ms) for ms in (1.0, 2.0, 3.0)]
    said = np.array([1.0, 2.0, 3.0])
    assert winner(networks, said, now, 2.0).startswith("65.00 % | 2 ms (1 to 4)")
    assert winner(networks, said, now, 1.99).startswith("60.00 % | 1 ms")
    assert winner(networks, said, now, 0.9).startswith("none is said to keep it")
