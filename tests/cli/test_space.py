"""`edgenas space NAME`: what can be chosen, and how large networks are."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edgenas.architectures.stages_bounds import TINY_BOUNDS, bounded_stages
from edgenas.architectures.workload import workload_from_architecture
from edgenas.engine.settings import PRESETS, chain_space
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.settings import SearchSettings
from edgenas.records import Classes
from tests.cli.edgenas import edgenas, edgenas_json, refusal


def test_a_space_says_its_choices_and_sizes(tmp_path: Path) -> None:
    found = edgenas_json("space", "stages", "--classes", "7", "--channels", "1", folder=tmp_path)
    space = bounded_stages(TINY_BOUNDS["small"], Classes(7), 1, 32, width_step=8)
    assert found["choices"]["width_0"] == "8, 16, 24, 32, 40, 48, 56, 64, 80, 96"
    assert found["choices"]["stages"] == "3, 4, 5"
    for name, network in (("smallest", space.smallest()), ("reference", space.reference())):
        workload = workload_from_architecture(network)
        assert (found[name]["params"], found[name]["macs"]) == (workload.params, workload.macs)
    assert [one["params"] for one in found["largest"]] == [
        workload_from_architecture(network).params for network in space.largest()
    ]
    quantiles = found["spread"]["macs"]
    assert quantiles == sorted(quantiles)
    assert found["smallest"]["macs"] < quantiles[0] < quantiles[-1] < found["largest"][-1]["macs"]


def test_a_space_says_what_latency_its_networks_have_on_the_target(tmp_path: Path) -> None:
    found = edgenas_json("space", "chain", "--image-size", "96", "--target", "jetson-nano", folder=tmp_path)
    space = chain_space(SearchSettings(), PRESETS["tiny"], Classes(10), 3, 96)
    rng, profile = random.Random(0), profile_from_name("jetson-nano")
    drawn = sorted(latency_from_workload(profile, space.draw(rng)).ms for _ in range(200))
    low, *_, high = found["spread"]["ms"]
    assert drawn[9] <= low <= drawn[10] < drawn[189] <= high <= drawn[190]
    text = edgenas("space", "chain", "--image-size", "96", "--target", "jetson-nano", folder=tmp_path).stdout
    assert f"latency of random members     {low:.3g} to {high:.3g} ms for nine of ten, on jetson-nano\n" in text
    measured = edgenas_json("space", "chain", "--target", "host-cpu", folder=tmp_path)  # a search measures there
    assert measured["spread"].keys() == {"params", "macs"}


def test_choices_of_equal_values_stand_in_one_line(tmp_path: Path) -> None:
    text = edgenas("space", "chain", "--image-size", "96", folder=tmp_path).stdout
    assert "chain for 3 x 96 x 96, 10 classes" in text
    assert "kernel_0 to kernel_9          3, 5" in text
    assert "width                         4 to 24 in steps of 4" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fbnet", "--image-size", "64"), "space fbnet is for images of 32 or 224 px, not 64"),
        (("stages", "--image-size", "7"), "image size 7: sides of 8"),
        (("stages", "--image-size", "513"), "image size 513: sides of 8"),
        (("stages", "--channels", "2"), "possible are 1 or 3"),
        (("stages", "--classes", "1"), "--classes 1"),
        (("stagse",), "'stagse' is no study here, and no space: chain, nasbench101"),
    ],
)
def test_what_is_no_space_for_these_data_is_one_line(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refusal("space", *arguments)
    assert words in line
    assert "\n" not in line.strip()
