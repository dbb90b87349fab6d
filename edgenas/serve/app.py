"""The endpoints. What a task adds of its own (faces: /embed, /verify, ...) comes in through `extra`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import onnx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from edgenas import __version__
from edgenas.errors import DeviceError, EdgenasError
from edgenas.preprocessing import input_from_pixels, pixels_from_image
from edgenas.records import Preprocessing
from edgenas.runtimes import LARGEST_BATCH
from edgenas.serve import protocol
from edgenas.serve.errors import Refused
from edgenas.serve.guard import Bounds, Guard
from edgenas.serve.images import image_from_bytes
from edgenas.serve.metrics import Metrics
from edgenas.serve.model import Model, is_sticky

Endpoint = Callable[[Request], Awaitable[Response]]
Array = np.typing.NDArray[Any]
TOP = 5


class Service:
    """The model with its endpoints; `lost` is called when the device must be given up."""

    def __init__(self, model: Model, lost: Callable[[str], None]) -> None:
        self.model, self.lost = model, lost
        self.metrics = Metrics(model)
        graph = onnx.load_model(model.path, load_external_data=False).graph
        self.input, self.output = _port(graph.input[0]), _port(graph.output[0])

    # ------------------------------------------------------------ Open Inference Protocol v2

    async def server(self, _: Request) -> Response:
        extensions = ["binary_tensor_data", "model_repository"]
        return JSONResponse({"name": "edgenas", "version": __version__, "extensions": extensions})

    async def live(self, _: Request) -> Response:
        return JSONResponse({"live": True})

    async def is_ready(self, _: Request) -> Response:
        ready = self.model.ready and not self.model.draining
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def model_ready(self, request: Request) -> Response:
        self._named(request)
        return await self.is_ready(request)

    async def metadata(self, request: Request) -> Response:
        self._named(request)
        return JSONResponse(
            {
                "name": self.model.name,
                "versions": ["1"],
                "platform": "tensorrt_plan" if self.model.runtime_name == "tensorrt" else "onnxruntime_onnx",
                "inputs": [self.input.document()],
                "outputs": [self.output.document()],
            }
        )

    async def config(self, request: Request) -> Response:
        self._named(request)
        ports = [
            {"name": p.name, "data_type": f"TYPE_{p.datatype}", "dims": list(p.shape)}
            for p in (self.input, self.output)
        ]
        return JSONResponse(
            {"name": self.model.name, "max_batch_size": LARGEST_BATCH, "input": ports[:1], "output": ports[1:]}
        )

    async def infer(self, request: Request) -> Response:
        self._named(request)
        body, length = await request.body(), request.headers.get(protocol.HEADER)
        asked, inputs = protocol.request_from_bytes(body, length, self.input)
        protocol.response_bytes(self.model.name, asked, self.output, np.zeros((0, *self.output.shape), np.float32))
        values = await self.model.infer(inputs)
        content, headers = protocol.response_bytes(self.model.name, asked, self.output, values)
        return Response(content, headers=headers)

    async def index(self, _: Request) -> Response:
        state = "READY" if self.model.ready else "LOADING"
        return JSONResponse([{"name": self.model.name, "version": "1", "state": state, "reason": ""}])

    async def load(self, request: Request) -> Response:
        if request.path_params["model"] != self.model.name:
            raise Refused(400, f"this server holds {self.model.name!r} and nothing else")
        return JSONResponse({})

    def _named(self, request: Request) -> None:
        params = request.path_params
        if params["model"] != self.model.name or params.get("version", "1") != "1":
            raise Refused(404, f"no such model; this server holds {self.model.name!r}, version 1")

    # ------------------------------------------------------------ images

    async def classify(self, request: Request) -> Response:
        body = await request.body()
        started = time.perf_counter()
        logits = await self.model.compute(lambda: self.outputs_from_image(body))
        manifest = self.model.bundle.manifest
        shifted = np.exp(logits - logits.max())
        probabilities = shifted / shifted.sum()
        order = np.argsort(-probabilities, kind="stable")[:TOP]
        classes = [
            {"label": manifest.labels[i], "index": int(i), "probability": float(probabilities[i])} for i in order
        ]
        best = {"label": classes[0]["label"], "probability": classes[0]["probability"]}
        ms = 1000 * (time.perf_counter() - started)
        return JSONResponse({"model": self.model.name, **best, "classes": classes, "ms": round(ms, 3)})

    def outputs_from_image(self, body: bytes) -> Array:
        """One encoded image -> the model's output (n,); for the worker thread."""
        image, preprocessing = image_from_bytes(body), self.model.bundle.manifest.preprocessing
        pixels = pixels_from_image(image, preprocessing)[None]
        outputs: Array = self.model.outputs(self.inputs_from_pixels(pixels, preprocessing))[0]
        return outputs

    def inputs_from_pixels(self, pixels: np.typing.NDArray[np.uint8], preprocessing: Preprocessing) -> Array:
        """(N, H, W, C) uint8 -> what this model takes."""
        return pixels if self.input.datatype == "UINT8" else input_from_pixels(pixels, preprocessing)

    async def scrape(self, _: Request) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")


def create_app(
    service: Service, *, bounds: Bounds = Bounds(), token: str | None = None, extra: Sequence[BaseRoute] = ()
) -> Starlette:
    """The ASGI application."""
    model = "/v2/models/{model}"
    routes: list[BaseRoute] = [
        Route("/v2", service.server),
        Route("/v2/health/live", service.live),
        Route("/v2/health/ready", service.is_ready),
        Route("/v2/repository/index", service.index, methods=["POST", "GET"]),
        Route("/v2/repository/models/{model}/load", service.load, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", service.load, methods=["POST"]),
        Route("/metrics", service.scrape),
        *extra,
    ]
    for prefix in (model, model + "/versions/{version}"):
        routes += [
            Route(prefix, service.metadata),
            Route(prefix + "/ready", service.model_ready),
            Route(prefix + "/config", service.config),
            Route(prefix + "/infer", service.infer, methods=["POST"]),
        ]
    if service.model.bundle.manifest.task == "classification":
        routes.append(Route("/classify", service.classify, methods=["POST"]))
    app = Starlette(
        routes=routes,
        exception_handlers={
            Refused: _refused,
            HTTPException: _http,
            EdgenasError: lambda r, e: _edgenas(service, r, e),
        },
    )
    app.add_middleware(Guard, bounds=bounds, token=token)
    app.add_middleware(_Watch, service=service)  # the outermost
    return app


class _Watch:
    """Counts requests and closes connections while draining."""

    def __init__(self, app: Any, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, metrics = time.perf_counter(), self.service.metrics

        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                endpoint = getattr(scope.get("route"), "path", "other")
                metrics.requests.labels(endpoint, message["status"]).inc()
                metrics.seconds.labels(endpoint).observe(time.perf_counter() - started)
                if self.service.model.draining:
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self.app(scope, receive, watched)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    reason = getattr(error, "reason", None)  # of a face that cannot be used
    return JSONResponse({"error": str(error), **({"reason": reason} if reason else {})}, error.status, error.headers)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _edgenas(service: Service, _: Request, error: Exception) -> Response:
    """A picture that cannot be used is the client's mistake; a runtime that fails is not."""
    assert isinstance(error, EdgenasError)
    if is_sticky(error):
        service.lost(str(error))
    return JSONResponse({"error": str(error)}, 500 if isinstance(error, DeviceError) else 400)


def _port(value: onnx.ValueInfoProto) -> protocol.Port:
    tensor = value.type.tensor_type
    datatype = "UINT8" if tensor.elem_type == onnx.TensorProto.UINT8 else "FP32"
    return protocol.Port(value.name, datatype, tuple(d.dim_value for d in tensor.shape.dim[1:]))
