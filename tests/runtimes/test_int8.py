"""INT8 sums are exact, here and on a processor without VNNI."""

import functools
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.records import Classes
from edgenas.runtimes import int8
from edgenas.runtimes.graph import onnx_from_workload
from edgenas.runtimes.int8 import ENTRIES, arithmetic_of, exact_arithmetic, largest_weight, worst_case, worst_error
from edgenas.runtimes.onnx_session import open_session
from tests.runtimes.quantised import case, every_case

REPOSITORY = Path(__file__).parents[2]
TOOL = REPOSITORY / "scripts" / "without_vnni.py"
FORCED = (
    platform.system() == "Linux" and platform.machine() == "x86_64" and shutil.which("cc") and shutil.which("objdump")
)
without_vnni = pytest.mark.skipif(not FORCED, reason="scripts/without_vnni.py needs Linux on x86-64, cc and objdump")


@functools.cache
def elsewhere(*options: str) -> dict[str, Any]:
    """What tests/runtimes/quantised.py finds on a processor without VNNI."""
    command = [sys.executable, str(TOOL), *options, "--", sys.executable, "-m", "tests.runtimes.quantised"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(("activation", "kind", "paired"), every_case())
@pytest.mark.parametrize("largest", [64, 127])
def test_a_quantised_product_is_what_32_bit_integers_give(activation, kind, paired, largest):
    content, x, exact = case(activation, kind, largest, paired=paired)
    assert np.abs(exact).max() > 0
    with open_session(content) as runtime:
        np.testing.assert_array_equal(runtime.run({"x": x})["y"], exact)
        assert runtime.settings["int8"] == exact_arithmetic(largest)


@without_vnni
@pytest.mark.parametrize(
    "options", [(), pytest.param(("--keep-avx512",), marks=pytest.mark.slow)], ids=["AVX2", "AVX-512"]
)
def test_without_vnni_it_is_so_too_where_the_fused_kernels_saturate(options):
    found = elsewhere(*options)
    assert {name: entry["wrong"] for name, entry in found["cases"].items()} == dict.fromkeys(found["cases"], 0)
    assert len(found["cases"]) == 16
    assert found["errors"]["127"]["fused"] > 100  # of 127 steps: wrong, not rounded
    assert found["errors"]["127"]["widened"] == found["errors"]["127"]["unfused"] == 0


@without_vnni
def test_seven_bits_keep_the_fused_kernels_and_the_eighth_does_not():
    found = elsewhere()
    assert found["errors"]["64"]["fused"] == 0
    # 2 * 255 * 65 = 33150 is cut to 32767: 383 of 2 * 127 * 65 = 16510, 3 of 127 steps
    assert found["errors"]["65"]["fused"] == 3
    assert found["chosen"] == {"64": "fused", "65": "widened", "127": "widened", "128": "widened"}
    assert {e["int8"] for name, e in found["cases"].items() if " 64 " in name} == {"fused"}
    assert {e["int8"] for name, e in found["cases"].items() if " 127 " in name} == {"widened"}


def test_every_way_that_is_offered_is_exact_unless_it_is_refused():
    """On a processor with VNNI all three agree; without it the first is passed over."""
    for largest in (64, 127, 128):
        errors = {name: worst_error(largest, entries) for name, entries in ENTRIES.items()}
        assert errors[exact_arithmetic(largest)] == 0
        assert errors["unfused"] == errors["widened"] == 0


def test_where_no_way_is_exact_int8_is_refused_in_one_line(monkeypatch):
    """No such processor is at hand: the worst case is made wrong instead."""
    model, x, exact = worst_case(127)
    monkeypatch.setattr(int8, "worst_case", lambda _: (model, x, {name: value * 0.9 for name, value in exact.items()}))
    monkeypatch.setattr(int8, "exact_arithmetic", functools.cache(exact_arithmetic.__wrapped__))
    content, *_ = case(np.int8, "Conv")
    with pytest.raises(EdgenasError, match="use fp32 or fp16") as caught, open_session(content):
        pass
    assert "\n" not in str(caught.value)


def test_a_file_without_int8_has_no_such_setting():
    workload = workload_from_architecture(chain(4, 3, (0, 1, 0), (3, 3, 3), Classes(10), 1, 8))
    content = onnx_from_workload(workload, None).SerializeToString()
    assert arithmetic_of(content) is None
    with open_session(content) as runtime:
        assert "int8" not in runtime.settings


@pytest.mark.parametrize("largest", [1, 64, 65, 127])
@pytest.mark.parametrize("paired", [False, True])
def test_the_largest_weight_is_read_from_the_file(largest, paired):
    content, *_ = case(np.int8, "Conv", largest, paired=paired)
    assert largest_weight(onnx.load_model_from_string(content)) == largest


def test_weights_with_a_scale_per_channel_are_quantised_along_their_axis():
    weight = numpy_helper.from_array(np.array([[1, 2, 30], [4, 50, 6]], np.float32), "w")
    scales = numpy_helper.from_array(np.array([1, 1, 2], np.float32), "s")
    zeros = numpy_helper.from_array(np.zeros(3, np.int8), "z")
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=1),
    ]
    graph = helper.make_graph(nodes, "g", [], [], [weight, scales, zeros])
    assert largest_weight(helper.make_model(graph)) == 50  # 30 / 2 = 15; over the other axis it would be 50 / 1, 30 / 1


@pytest.mark.parametrize("spoil", ["constant node", "two activations", "integer product", "no zero point"])
def test_what_cannot_be_told_counts_as_the_widest(spoil):
    content, *_ = case(np.int8, "MatMul", 1, paired=spoil == "no zero point")
    model = onnx.load_model_from_string(content)
    assert largest_weight(model) == 1
    nodes = model.graph.node
    if spoil == "constant node":
        (stored,) = [tensor for tensor in model.graph.initializer if tensor.name == "w"]
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=stored))
        model.graph.initializer.remove(stored)
    elif spoil == "two activations":
        next(node for node in nodes if node.op_type == "MatMul").input[1] = "xd"
    elif spoil == "integer product":
        nodes.append(helper.make_node("MatMulInteger", ["xd_q", "xd_q"], ["i"]))
    else:
        del next(node for node in nodes if node.input[0] == "w").input[2]
    assert largest_weight(model) == 128


@without_vnni
@pytest.mark.slow
def test_the_tool_hands_on_what_the_command_ends_with_and_refuses_what_it_does_not_know():
    def status(*arguments: str) -> int:
        return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, check=False).returncode

    assert status("--", sys.executable, "-c", "raise SystemExit(7)") == 7
    assert status() == status("--fast", "--", "true") == 2
