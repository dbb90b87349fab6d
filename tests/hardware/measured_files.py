"""What tools write, cut to the lines that matter; the wording is theirs."""

import json

STAMP = "[04/07/2025-23:59:33] [I]"


def trtexec_log(
    model: str = "m.onnx",
    precision: str = "FP32+FP16",
    version: str = "v100300",
    shape: str = "1x3x16x16",
    median: float = 1.3978,
    more: str = "",
    streams: int = 1,
    end: str = "PASSED",
) -> str:
    """TensorRT 8.5 to 11."""
    running = f"TensorRT.trtexec [TensorRT {version}] [b34] # trtexec --onnx={model} --fp16{more}"
    lines = ["=== Model Options ===", "Format: ONNX", f"Model: {model}", "Output:", "=== Build Options ==="]
    lines += ["avgTiming: 8", f"Precision: {precision}", "LayerPrecisions: ", "Load engine: ", "=== System Options ==="]
    lines += ["Device: 0", "DLACore: ", "Plugins:", "=== Inference Options ===", "Batch: Explicit"]
    lines += ["Input inference shapes: model", f"Inference Streams: {streams}", "Data transfers: Enabled"]
    lines += ["Selected Device: Orin", "Using random values for input x"]
    lines += [f"Input binding for x with dimensions {shape} is created."]
    lines += ["Output binding for y with dimensions 1x10 is created.", "Starting inference"]
    lines += ["Average on 10 runs - GPU latency: 1.4891 ms - Host latency: 1.52709 ms (enqueue 0.251123 ms)"]
    lines += ["=== Performance summary ===", "Throughput: 691.434 qps"]
    spread = "percentile(90%) = 1.51 ms, percentile(95%) = 1.6 ms, percentile(99%) = 1.61 ms"
    lines += [f"Latency: min = 1.43 ms, max = 1.92 ms, mean = 1.48 ms, median = {median + 0.04:g} ms, {spread}"]
    lines += ["Enqueue Time: min = 0.21 ms, max = 0.55 ms, mean = 0.25 ms, median = 0.251 ms, " + spread]
    lines += [f"GPU Compute Time: min = 1.39 ms, max = 1.88 ms, mean = 1.44 ms, median = {median:g} ms, {spread}"]
    lines += ["Total Host Walltime: 3.0039 s", "Total GPU Compute Time: 2.99 s"]
    return f"&&&& RUNNING {running}\n" + "".join(f"{STAMP} {line}\n" for line in lines) + f"&&&& {end} {running}\n"


def old_trtexec_log(median: float = 4.40088) -> str:
    """TensorRT 7, whose summary has a line per figure."""
    lines = ["=== Model Options ===", "Format: ONNX", "Model: /home/me/m.onnx", "Output:", "Max batch: 1"]
    lines += [
        "Precision: FP32+FP16",
        "DLACore: ",
        "Batch: 4",
        "Streams: 1",
        "Host Latency",
        "min: 4.5 ms",
        "max: 7.4 ms",
    ]
    lines += ["mean: 4.7 ms (end to end 5.0 ms)", "median: 4.6 ms (end to end 4.9 ms)", "throughput: 0 qps"]
    lines += [
        "Enqueue Time",
        "min: 2.3894 ms",
        "max: 4.89722 ms",
        "median: 2.64331 ms",
        "GPU Compute",
        "min: 4.2439 ms",
    ]
    lines += ["max: 7.02356 ms", "mean: 4.42492 ms", f"median: {median:g} ms", "percentile: 5.36792 ms at 99%"]
    lines += ["total compute time: 2.93372 s"]
    running = "TensorRT.trtexec # trtexec --onnx=/home/me/m.onnx --fp16 --batch=4"
    return f"&&&& RUNNING {running}\n" + "".join(f"{STAMP} {line}\n" for line in lines) + f"&&&& PASSED {running}\n"


def exported_times(compute: list[float]) -> str:
    """--exportTimes of TensorRT 10."""
    runs = [
        {"startEnqMs": 1.0, "endEnqMs": 1.1, "startH2dMs": 9.5, "endH2dMs": 10.0, "startComputeMs": 10.0,
         "endComputeMs": 10.0 + ms, "startD2hMs": 10.0 + ms, "endD2hMs": 10.2 + ms, "h2dMs": 0.5, "computeMs": ms,
         "d2hMs": 0.2, "latencyMs": 0.7 + ms}
        for ms in compute
    ]  # fmt: skip
    return "[\n  " + "\n, ".join(json.dumps(run) for run in runs) + "\n]\n"


def benched(samples: list[float], *, stable: bool = True, status: str = "") -> str:
    """`edgenas bench --out`."""
    told = {"profile": "host-cpu", "host": "h", "runtime": "onnxruntime 1.31", "precision": "fp32", "warmup": 10}
    verdict = {"stable": stable, "status": status or ("ok" if stable else "unstable")}
    return json.dumps({**told, "samples_ms": samples, **verdict, "detail": {"batch_size": 1}})


def loadgen_summary(
    scenario: str = "SingleStream", mode: str = "PerformanceOnly", result: str = "VALID", median: int = 2788885
) -> str:
    """mlperf_log_summary.txt."""
    rule = "=" * 48
    first = {
        "SingleStream": "90th percentile latency (ns) : 4751920",
        "MultiStream": "99th percentile latency (ns) : 9751920",
        "Offline": "Samples per second: 12345.67",
    }[scenario]
    per_query = [
        "Per-query latency:  ",
        "Min latency (ns)                : 7000000",
        "Mean latency (ns)               : 8100000",
        "50.00 percentile latency (ns)   : 8000000",
        "90.00 percentile latency (ns)   : 9000000",
        "",
        "Per-sample latency:",
    ]
    lines = [rule, "MLPerf Results Summary", rule, "SUT name : PySUT", f"Scenario : {scenario}", f"Mode     : {mode}"]
    lines += [first, f"Result is : {result}", "  Min duration satisfied : Yes", "  Min queries satisfied : Yes", ""]
    lines += [rule, "Additional Stats", rule, "QPS w/ loadgen overhead         : 0.33", ""]
    lines += per_query if scenario == "MultiStream" else []
    lines += ["Min latency (ns)                : 881803", "Max latency (ns)                : 5939081"]
    lines += ["Mean latency (ns)               : 3008773", f"50.00 percentile latency (ns)   : {median}"]
    lines += ["90.00 percentile latency (ns)   : 4751920", "99.90 percentile latency (ns)   : 5939081", ""]
    lines += [rule, "Test Parameters Used", rule, f"samples_per_query : {8 if scenario == 'MultiStream' else 1}"]
    return "\n".join([*lines, "target_qps : 1000", "qsl_rng_seed : 148687905518835231"]) + "\n"


def loadgen_detail(scenario: str = "SingleStream", result: str = "VALID") -> str:
    """mlperf_log_detail.txt."""
    facts = {
        "loadgen_version": "2.1 @ 8b94a4a", "effective_scenario": scenario, "effective_test_mode": "PerformanceOnly",
        "effective_samples_per_query": 8 if scenario == "MultiStream" else 1, "result_validity": result,
        "result_90.00_percentile_latency_ns": 4751920, "result_mean_latency_ns": 3008773,
        "result_50.00_percentile_latency_ns": 2788885, "result_99.00_percentile_per_query_latency_ns": 9751920,
        "result_50.00_percentile_per_query_latency_ns": 8000000,
    }  # fmt: skip
    meta = {"is_error": False, "is_warning": False, "file": "results.cc", "line_no": 1119, "pid": 1, "tid": 2}
    return "".join(
        ":::MLLOG "
        + json.dumps({"key": key, "value": value, "time_ms": 273.0, "namespace": "mlperf::logging", "metadata": meta})
        + "\n"
        for key, value in facts.items()
    )


PERF_YAML = """supported_devices:
- Samsung Galaxy S24
precisions:
  float:
    components:
      MobileNet-v2:
        universal_assets:
          onnx:
            model_id: mq982oxym
        performance_metrics:
          QCS8275 (Proxy):
            tflite:
              job_id: jgky4rzyp
              inference_time_milliseconds: 2.731
              primary_compute_unit: NPU
          Samsung Galaxy S24:
            tflite:
              inference_time_milliseconds: 0.594
              primary_compute_unit: NPU
            onnx:
              job_status: Passed
              inference_time_milliseconds: 0.43
              estimated_peak_memory_range_mb:
                min: 0
                max: 52
              primary_compute_unit: NPU
  w8a8:
    components:
      MobileNet-v2:
        performance_metrics:
          Samsung Galaxy S24:
            onnx:
              inference_time_milliseconds: 0.21
              primary_compute_unit: NPU
"""
W8A16 = """precisions:
  w8a16:
    components:
      MobileNet-v2:
        performance_metrics:
          Phone X:
            onnx:
              inference_time_milliseconds: 0.43
              primary_compute_unit: NPU
"""
OLD_PERF_YAML = """models:
- name: MobileNet-v2
  performance_metrics:
  - torchscript_onnx_tflite:
      inference_time: 572.0
      throughput: 1748.2517482517483
      precision: fp16
      primary_compute_unit: NPU
    torchscript_onnx:
      inference_time: 516.0
      precision: fp16
      primary_compute_unit: NPU
    reference_device_info:
      name: Samsung Galaxy S24
      os: '14'
    timestamp: '2025-03-11T07:24:24Z'
"""
