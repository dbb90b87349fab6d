"""One runtime on one ONNX file: `python runtime_child.py NAME MODEL.onnx INPUTS.npy OUTPUTS.npy`; prints its version last.

It imports nothing of EdgeNAS and is copied away before it runs: each runtime brings its own versions of numpy, onnx and more.
Every file takes one image (1, C, H, W); FP32 arithmetic is asked for wherever it can be.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
Run = Callable[[Array], Array]  # (1, C, H, W) -> (1, n)


def openvino(model: str) -> tuple[Run, str]:
    import openvino as ov

    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: compiled(image)[0], ov.__version__.split("-")[0]


def opencv(model: str) -> tuple[Run, str]:
    import cv2

    net = cv2.dnn.readNetFromONNX(model)

    def run(image: Array) -> Array:
        net.setInput(image)
        return net.forward()

    return run, cv2.__version__


def ncnn(model: str) -> tuple[Run, str]:
    """pnnx converts; ncnn computes in float16 where it may, which is turned off."""
    import ncnn as runtime
    import pnnx

    tool = Path(pnnx.__file__).parents[1] / "bin" / "pnnx"
    shape = ",".join(map(str, _input_shape(model)))
    _tool(str(tool), "model.onnx", f"inputshape=[{shape}]", "fp16=0")
    net = runtime.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_vulkan_compute = False
    net.load_param("model.ncnn.param")
    net.load_model("model.ncnn.bin")

    def run(image: Array) -> Array:
        extractor = net.create_extractor()
        extractor.input("in0", runtime.Mat(np.ascontiguousarray(image[0])).clone())
        _, output = extractor.extract("out0")
        return np.array(output).reshape(1, -1)

    return run, f"{runtime.__version__} (pnnx {importlib.metadata.version('pnnx')})"


def mnn(model: str) -> tuple[Run, str]:
    import MNN
    import MNN.expr as expr
    import MNN.nn as nn
    from _tools import mnnconvert

    mnnconvert(["", "-f", "ONNX", "--modelFile", model, "--MNNModel", "model.mnn", "--bizCode", "x"])
    given, made = _names(model)
    net = nn.load_module_from_file("model.mnn", [given], [made])

    def run(image: Array) -> Array:
        found = net.forward([expr.const(np.ascontiguousarray(image), list(image.shape), expr.NCHW)])
        return np.array(expr.convert(found[0] if isinstance(found, list) else found, expr.NCHW).read())

    return run, MNN.version()


def litert(model: str) -> tuple[Run, str]:
    """onnx2tf turns the graph to channels last; without this file of pictures it looks for one on the network."""
    sample = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
    np.save("calibration_image_sample_data_20x128x128x3_float32.npy", sample)
    import onnx2tf
    from ai_edge_litert.interpreter import Interpreter

    onnx2tf.convert(input_onnx_file_path=model, output_folder_path="tf", non_verbose=True, not_use_onnxsim=True)
    interpreter = Interpreter(str(next(Path("tf").glob("*float32.tflite"))))
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(image: Array) -> Array:
        interpreter.set_tensor(given["index"], np.ascontiguousarray(image.transpose(0, 2, 3, 1)))
        interpreter.invoke()
        return interpreter.get_tensor(made["index"]).copy()

    version = importlib.metadata.version("ai-edge-litert")
    return run, f"{version} (onnx2tf {importlib.metadata.version('onnx2tf')})"


def tvm(model: str) -> tuple[Run, str]:
    import onnx
    import tvm as runtime
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(model), keep_params_in_input=False)
    machine = relax.VirtualMachine(runtime.compile(module, target="llvm"), runtime.cpu())

    def run(image: Array) -> Array:
        found = machine["main"](runtime.runtime.tensor(np.ascontiguousarray(image)))
        return (found if hasattr(found, "numpy") else found[0]).numpy()

    return run, runtime.__version__


def rknn(model: str) -> tuple[Run, str]:
    """Rockchip's simulator of an RK3588, which computes in float16."""
    from rknn.api import RKNN

    net = RKNN(verbose=False)
    net.config(target_platform="rk3588")
    for status in (net.load_onnx(model=model), net.build(do_quantization=False), net.init_runtime()):
        if status:
            raise SystemExit(f"RKNN answers {status}")
    version = importlib.metadata.version("rknn-toolkit2")
    return lambda image: net.inference(inputs=[np.ascontiguousarray(image)], data_format=["nchw"])[0], version


RUNTIMES: dict[str, Callable[[str], tuple[Run, str]]] = {
    "openvino": openvino, "opencv": opencv, "ncnn": ncnn, "litert": litert, "rknn": rknn, "mnn": mnn, "tvm": tvm,
}  # fmt: skip


def _input_shape(model: str) -> tuple[int, ...]:
    return tuple(np.load(Path(model).with_name("inputs.npy"), mmap_mode="r")[:1].shape)


def _names(model: str) -> tuple[str, str]:
    given, made = Path(model).with_name("names.txt").read_text().split()
    return given, made


def _tool(*command: str) -> None:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-300:]}")


def main(name: str, model: str, inputs: str, outputs: str) -> None:
    """Every image by itself, as the file takes them."""
    run, version = RUNTIMES[name](model)
    images = np.load(inputs)
    np.save(outputs, np.concatenate([np.asarray(run(image[None])).reshape(1, -1) for image in images]))
    print(f"\nversion {version}")


if __name__ == "__main__":
    main(*sys.argv[1:])
