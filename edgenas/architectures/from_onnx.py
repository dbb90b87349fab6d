"""Any ONNX file -> the kernels that an inference runtime launches for it, at batch 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from edgenas.architectures.onnx_batch import at_one_image
from edgenas.architectures.onnx_file import Shape, checked_model, model_from_file
from edgenas.architectures.onnx_kernels import KernelReader
from edgenas.architectures.onnx_weights import precision_of_graph
from edgenas.architectures.tracer import refuse_impossible
from edgenas.records import Precision, Record, Workload


class OnnxNetwork(Record, frozen=True):
    """What an ONNX file computes for one image.

    `kernel_params`: per kernel, the elements of the file's weights that it is the first to read; running statistics of batch
    norms, scales of quantisation and single numbers are not counted. `fixed_batch`: the images per run of the file as it is.
    """

    workload: Workload
    kernel_params: tuple[int, ...]
    precision: Precision
    inputs: dict[str, tuple[int, ...]]
    fixed_batch: int = 1

    @property
    def params(self) -> int:
        return sum(self.kernel_params)


def read_onnx(model: onnx.ModelProto | str | Path, shapes: Mapping[str, Shape] | None = None) -> OnnxNetwork:
    """The network of a model, a free batch taken as 1; `shapes`: sizes of inputs with other free sides.

    Weights beside the file are not needed. Raises EdgenasError, in one line, for what cannot be read.
    """
    if isinstance(model, onnx.ModelProto):
        name, folder, loaded = "the model", None, checked_model(model, "the model")
    else:
        name, folder, loaded = str(model), Path(model).parent, model_from_file(Path(model))
    one = at_one_image(loaded, shapes or {}, folder, name)
    reader = KernelReader(one.graph, name, one.built_in)
    workload = refuse_impossible(Workload(reader.read()), name)
    params = tuple(reader.weights.of_kernel.get(index, 0) for index in range(len(workload.kernels)))
    return OnnxNetwork(workload, params, precision_of_graph(one.graph), one.shapes, one.fixed_batch)


def workload_from_onnx(model: onnx.ModelProto | str | Path, shapes: Mapping[str, Shape] | None = None) -> Workload:
    """The kernels of a model; as `read_onnx`."""
    return read_onnx(model, shapes).workload
