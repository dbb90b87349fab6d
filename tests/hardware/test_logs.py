"""Files of trtexec, MLPerf's LoadGen and AI Hub: what they say is read as it is meant, what says no latency is refused."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from edgenas.errors import EdgenasError
from edgenas.hardware.logs import is_log, timed_from_log
from tests.hardware.measured_files import (
    OLD_PERF_YAML,
    PERF_YAML,
    STAMP,
    W8A16,
    benched,
    exported_times,
    loadgen_detail,
    loadgen_summary,
    old_trtexec_log,
    trtexec_log,
)


def written(tmp_path: Path, content: str, name: str = "run.log") -> Path:
    (tmp_path / name).write_text(content)
    return tmp_path / name


def test_a_log_of_trtexec_says_gpu_time_batch_precision_and_network(tmp_path: Path) -> None:
    timed = timed_from_log(written(tmp_path, trtexec_log(shape="8x3x16x16")))
    assert (timed.ms, timed.batch, timed.precision, timed.network) == (1.3978, 8, "fp16", "m.onnx")
    assert timed.shapes == {"x": (8, 3, 16, 16)}


def test_a_log_of_tensorrt_7_is_read_alike(tmp_path: Path) -> None:
    timed = timed_from_log(written(tmp_path, old_trtexec_log()))
    assert (timed.ms, timed.batch, timed.precision, timed.network) == (4.40088, 4, "fp16", "/home/me/m.onnx")


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ({"precision": "FP32"}, "fp32"),
        ({"precision": "FP32+FP16"}, "fp16"),
        ({"precision": "FP32+INT8"}, "int8"),
        ({"precision": "FP32+FP16+INT8"}, "int8"),
        ({"precision": "FP32", "version": "v110401"}, None),  # the file's own types decide
        ({"precision": "FP32", "version": "v10.9.0"}, "fp32"),
        ({"precision": "FP32", "version": "v8601"}, "fp32"),
        ({"precision": "FP32", "more": " --stronglyTyped"}, None),
        ({"precision": "FP32+BF16"}, "fp16"),
        ({"precision": "Strongly Typed"}, None),
    ],
)
def test_what_trtexec_was_allowed_is_the_precision_unless_types_decide(tmp_path: Path, options, precision) -> None:
    assert timed_from_log(written(tmp_path, trtexec_log(**options))).precision == precision


@pytest.mark.parametrize(("allowed", "named"), [("FP32+FP8", "FP8"), ("FP32+FP16+INT4", "INT4")])
def test_a_precision_of_trtexec_that_profiles_have_not_is_refused(tmp_path: Path, allowed: str, named: str) -> None:
    with pytest.raises(EdgenasError, match=rf"^run\.log ran in {named}: profiles know fp32, tf32, fp16 and int8$"):
        timed_from_log(written(tmp_path, trtexec_log(precision=allowed)))


@pytest.mark.parametrize(
    "content",
    [
        trtexec_log().replace("median = 1.3978 ms", "median = 1.3.978 ms"),
        trtexec_log(shape="1xx3"),
        old_trtexec_log().replace("median: 4.40088", "median: 4.4-0088"),
        trtexec_log().replace("Streams: 1", "Streams: " + "9" * 5000),
        '[{"computeMs": 1' + "0" * 400 + "}]",
        '{"samples_ms": [1' + "0" * 400 + "]}",
    ],
    ids=["median", "shape", "old median", "streams", "times", "samples"],
)
def test_a_damaged_number_is_one_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(EdgenasError, match=r"run\.log (is damaged: |is of 9+ streams)") as caught:
        timed_from_log(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_log_that_is_damaged_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    """One letter of it in another's place, or gone."""
    rng = np.random.default_rng(0)
    for whole in (
        trtexec_log(),
        old_trtexec_log(),
        exported_times([1.0, 1.5]),
        loadgen_detail(),
        loadgen_summary(),
        PERF_YAML,
    ):
        name = "run.yaml" if whole == PERF_YAML else "run.log"
        for _ in range(60):
            letters = list(whole)
            at = int(rng.integers(len(letters)))
            letters[at] = str(rng.choice([*list('x.-e0 9\n[{"'), ""]))
            with contextlib.suppress(EdgenasError):
                timed_from_log(written(tmp_path, "".join(letters), name))


@pytest.mark.parametrize(
    ("capability", "says_tf32", "precision"),
    [("8.7", True, "tf32"), ("8.7", False, "fp32"), ("7.2", True, "fp32"), ("", True, "fp32")],
)
def test_fp32_is_tf32_where_tensor_cores_have_it_and_it_is_on(tmp_path: Path, capability, says_tf32, precision) -> None:
    text = trtexec_log(precision="FP32")
    head, _, rest = text.partition("\n")
    lines = f"{STAMP} TF32 is enabled by default. Add --noTF32 flag to further improve accuracy.\n" if says_tf32 else ""
    lines += f"{STAMP} Compute Capability: {capability}\n" if capability else ""
    assert timed_from_log(written(tmp_path, f"{head}\n{lines}{rest}")).precision == precision


def test_an_engine_that_was_loaded_says_no_precision(tmp_path: Path) -> None:
    text = trtexec_log(precision="FP32").replace("--onnx=m.onnx --fp16", "--loadEngine=m.engine")
    text = text.replace("Load engine: \n", "Load engine: m.engine\n").replace("Model: m.onnx", "Model: ")
    timed = timed_from_log(written(tmp_path, text))
    assert (timed.precision, timed.network) == (None, None)


def test_exported_times_give_the_median_of_compute(tmp_path: Path) -> None:
    path = written(tmp_path, exported_times([2.0, 1.0, 5.0]), "times.json")
    assert timed_from_log(path).ms == 2.0
    older = [{"startComputeMs": 1.0, "endComputeMs": 4.0, "inMs": 0.1}, {"startComputeMs": 4.0, "endComputeMs": 5.0}]
    assert timed_from_log(written(tmp_path, json.dumps(older), "old.json")).ms == 2.0


def test_loadgen_says_the_median_of_a_query_and_how_many_images_it_holds(tmp_path: Path) -> None:
    for text in (loadgen_summary(), loadgen_detail()):
        timed = timed_from_log(written(tmp_path, text, "log.txt"))
        assert (timed.ms, timed.batch) == (2.788885, 1)
    for text in (loadgen_summary("MultiStream"), loadgen_detail("MultiStream")):
        timed = timed_from_log(written(tmp_path, text, "log.txt"))
        assert (timed.ms, timed.batch) == (8.0, 8)


@pytest.mark.parametrize(
    ("said", "ms", "precision"),
    [
        ({"device": "Samsung Galaxy S24", "runtime": "onnx", "precision": "fp16"}, 0.43, "fp16"),
        ({"device": "samsung galaxy s24", "runtime": "torchscript_onnx_tflite", "precision": "FP16"}, 0.594, "fp16"),
        ({"device": "Samsung Galaxy S24", "runtime": "onnx", "precision": "int8"}, 0.21, "int8"),
        ({"device": "QCS8275 (Proxy)"}, 2.731, "fp16"),
    ],
)
def test_a_perf_yaml_gives_the_latency_that_the_row_singles_out(tmp_path: Path, said, ms, precision) -> None:
    timed = timed_from_log(written(tmp_path, PERF_YAML, "perf.yaml"), said)
    assert (timed.ms, timed.precision, timed.batch) == (ms, precision, 1)


def test_a_precision_of_a_perf_yaml_that_is_none_of_ours_is_left_out(tmp_path: Path) -> None:
    phone = {"device": "Samsung Galaxy S24", "runtime": "onnx"}
    mixed = PERF_YAML.replace("  w8a8:", "  w8a16:")
    timed = timed_from_log(written(tmp_path, mixed, "perf.yaml"), phone)
    assert (timed.ms, timed.precision) == (0.43, "fp16")
    older = OLD_PERF_YAML.replace("precision: fp16", "precision: w8a16")
    with pytest.raises(EdgenasError, match="no latency on Samsung Galaxy S24 with tflite in a precision of ours"):
        timed_from_log(written(tmp_path, older, "perf.yaml"), {"runtime": "tflite"})


def test_the_older_perf_yaml_is_in_microseconds(tmp_path: Path) -> None:
    path = written(tmp_path, OLD_PERF_YAML, "perf.yaml")
    assert timed_from_log(path, {"runtime": "onnx"}).ms == 0.516
    assert timed_from_log(path, {"runtime": "tflite", "device": "Samsung Galaxy S24"}).ms == 0.572


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (trtexec_log(streams=4), "a.log", "4 streams at once"),
        (trtexec_log(end="FAILED"), "a.log", "failed"),
        (trtexec_log() + trtexec_log(), "a.log", "several runs"),
        (trtexec_log().replace("DLACore: ", "DLACore: 0"), "a.log", "DLA core 0"),
        (trtexec_log().split("=== Performance")[0], "a.log", "no line with the median"),
        (trtexec_log(median=float("inf")), "a.log", "no line with the median"),
        (trtexec_log(median=0), "a.log", "0 ms, from 0.0001"),
        (exported_times([1.0])[:-20], "a.json", "no whole JSON file: .*cut off"),
        (exported_times([3.0]).replace('"computeMs": 3.0', '"computeMs": "3.0"'), "a.json", "where a number must be"),
        ("[]", "a.json", "holds no times of runs"),
        ("[[1]]", "a.json", "holds no times of runs"),
        ('[{"latencyMs": 3}]', "a.json", "a run without computeMs"),
        ('[{"computeMs": true}]', "a.json", "'True' where a number must be"),
        ('[{"count": 4}, {"name": "c", "timeMs": 2.5, "averageMs": 0.6}]', "a.json", "times of layers"),
        ('{"samples_ms": []}', "a.json", "without samples"),
        (benched([1.0], stable=False, status="throttled"), "a.json", "slowed itself down .throttled.: cool it"),
        (benched([0.0, 0.0], stable=False), "a.json", "0 ms, from 0.0001"),
        (W8A16, "perf.yaml", "no latency on Phone X with onnx in a precision of ours: possible are float, w8a8, int8"),
        ("[" * 5000, "a.json", "no whole JSON file"),
        (loadgen_summary("Offline"), "a.txt", "scenario 'Offline', which has no latency"),
        (loadgen_summary(mode="AccuracyOnly"), "a.txt", "mode 'AccuracyOnly': take the log of the performance run"),
        (loadgen_summary(result="INVALID"), "a.txt", "result is INVALID: run it to its end"),
        (loadgen_detail(result="INVALID"), "a.txt", "result is INVALID"),
        (loadgen_summary("MultiStream").replace("samples_per_query : 8\n", ""), "a.txt", "no median latency"),
        (loadgen_detail()[:-30], "a.txt", "a damaged line"),
        ("nothing of the kind", "a.log", "is no file of times: possible are"),
        ("", "a.log", "is no file of times"),
        ("a: [1", "perf.yaml", "is no YAML"),
        ("a: 1", "perf.yaml", "is no perf.yaml of AI Hub Models"),
    ],
)  # fmt: skip
def test_what_says_no_latency_is_refused_in_one_line(tmp_path: Path, content: str, name: str, message: str) -> None:
    with pytest.raises(EdgenasError, match=message) as caught:
        timed_from_log(written(tmp_path, content, name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "several values of device: give the row a column device, one of QCS8275"),
        ({"device": "Pi"}, "has no device 'Pi': one of QCS8275"),
        (
            {"device": "Samsung Galaxy S24"},
            "several values of runtime: give the row a column runtime, one of onnx, tflite",
        ),
        ({"device": "Samsung Galaxy S24", "runtime": "qnn"}, "no runtime 'qnn_dlc' on Samsung Galaxy S24: one of onnx"),
        ({"device": "Samsung Galaxy S24", "runtime": "onnx"}, "several values of precision: .* one of fp16, int8"),
        ({"device": "Samsung Galaxy S24", "runtime": "onnx", "precision": "fp32"}, "no precision 'fp32' on Samsung"),
    ],
)
def test_a_perf_yaml_whose_row_is_not_single_is_refused_with_what_is_possible(tmp_path: Path, said, message) -> None:
    with pytest.raises(EdgenasError, match=message):
        timed_from_log(written(tmp_path, PERF_YAML, "perf.yaml"), said)


def test_tables_are_told_from_logs(tmp_path: Path) -> None:
    assert is_log(written(tmp_path, trtexec_log(), "out.txt"))
    assert is_log(written(tmp_path, loadgen_detail(), "mlperf_log_detail.txt"))
    assert is_log(written(tmp_path, "[]", "times.json"))
    assert not is_log(written(tmp_path, "architecture,latency_ms\nconvnet_L2_F8_K3x3_W32,5\n", "t.csv"))
