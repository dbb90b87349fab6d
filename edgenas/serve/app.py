"""The endpoints that every model has. What a kind of task adds of its own comes in through `extra` (see kinds.py)."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import onnx
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgenas.errors import BundleError, DeviceError, EdgenasError
from edgenas.preprocessing import network_input, pixels_from_image
from edgenas.records import Preprocessing
from edgenas.runtimes import LARGEST_BATCH, is_device_lost, runtime_spec
from edgenas.serve import protocol
from edgenas.serve.errors import RequestRefused
from edgenas.serve.forms import KIND, file_from_form
from edgenas.serve.guard import Guard, RequestBounds
from edgenas.serve.images import image_from_bytes
from edgenas.serve.metrics import Metrics
from edgenas.serve.model import ServedModel
from edgenas.serve.reading import Reader
from edgenas.version import __version__

Endpoint = Callable[[Request], Awaitable[Response]]
Array = np.typing.NDArray[Any]
LOGGER = logging.getLogger("edgenas.serve")


class Service:
    """The model with its endpoints; `lost` is called when the device must be given up."""

    def __init__(self, model: ServedModel, lost: Callable[[str], None]) -> None:
        self.model, self.lost = model, lost
        self.reader = Reader()
        self.metrics = Metrics(model)
        graph = onnx.load_model(model.path, load_external_data=False).graph
        self.input, self.output = ports_from_graph(graph)

    async def about(self, request: Request) -> Response:
        """What this server is, for somebody who has only its address."""
        manifest = self.model.bundle.manifest
        routes = [route for route in request.app.routes if isinstance(route, Route)]
        return JSONResponse(
            {
                "name": "edgenas",
                "version": __version__,
                "model": self.model.name,
                "kind": self.model.bundle.kind,
                "precision": self.model.precision,
                "runtime": self.model.runtime_name,
                "ready": self.model.ready and not self.model.draining,
                "input": self.input.document(),
                "labels": list(manifest.labels),
                "endpoints": sorted(f"{_method_of(route)} {route.path}" for route in routes),
            }
        )

    # ------------------------------------------------------------ Open Inference Protocol v2

    async def server(self, _: Request) -> Response:
        extensions = ["binary_tensor_data", "classification", "model_configuration", "model_repository"]
        return JSONResponse({"name": "edgenas", "version": __version__, "extensions": extensions})

    async def live(self, _: Request) -> Response:
        return JSONResponse({"live": True})

    async def is_ready(self, _: Request) -> Response:
        return self._readiness({})

    async def model_ready(self, request: Request) -> Response:
        self._named(request)
        return self._readiness({"name": self.model.name})

    def _readiness(self, document: dict[str, Any]) -> Response:
        if self.model.ready and not self.model.draining:
            return JSONResponse({**document, "ready": True})
        reason = "the server is stopping" if self.model.draining else "the model is still loading"
        return JSONResponse({**document, "ready": False, "error": reason}, 503)

    async def metadata(self, request: Request) -> Response:
        self._named(request)
        return JSONResponse(
            {
                "name": self.model.name,
                "versions": ["1"],
                "platform": runtime_spec(self.model.runtime_name).platform,
                "inputs": [self.input.document()],
                "outputs": [self.output.document()],
            }
        )

    async def config(self, request: Request) -> Response:
        self._named(request)
        fixed = self.input.batch  # then, as Triton has it, there is no batching, and the batch is one of the dims
        ports = [
            {"name": p.name, "data_type": f"TYPE_{p.datatype}", "dims": [*([fixed] if fixed else []), *p.shape]}
            for p in (self.input, self.output)
        ]
        largest = 0 if fixed else LARGEST_BATCH
        return JSONResponse(
            {"name": self.model.name, "max_batch_size": largest, "input": ports[:1], "output": ports[1:]}
        )

    async def infer(self, request: Request) -> Response:
        self._named(request)
        self.model.check_free()
        body, length = await request.body(), request.headers.get(protocol.HEADER)
        read = functools.partial(protocol.request_from_bytes, body, length, self.input, self.output)
        small = len(body) <= protocol.SMALL  # read sooner than handed over
        asked = read() if small else await self.reader.run(read)
        values = await self.model.infer(asked.inputs)
        labels = self.model.bundle.manifest.labels
        content, headers = protocol.response_bytes(self.model.name, asked, self.output, values, labels)
        return Response(content, headers=headers)

    async def index(self, request: Request) -> Response:
        asked = protocol.document_from_bytes(await request.body(), protocol.IndexRequest)
        draining = self.model.draining
        if asked.ready and (draining or not self.model.ready):
            return JSONResponse([])
        state = "UNAVAILABLE" if draining else "READY" if self.model.ready else "LOADING"
        reason = "the server is stopping" if draining else ""
        return JSONResponse([{"name": self.model.name, "version": "1", "state": state, "reason": reason}])

    async def load(self, request: Request) -> Response:
        """The one model is loaded from the start; another configuration of it would need another bundle."""
        if request.path_params["model"] != self.model.name:
            raise RequestRefused(400, f"this server holds {self.model.name!r} and nothing else")
        if protocol.document_from_bytes(await request.body(), protocol.LoadRequest).parameters:
            raise RequestRefused(400, "load takes no parameters here: the bundle says all about its model")
        return JSONResponse({})

    async def unload(self, _: Request) -> Response:
        raise RequestRefused(400, f"this server is there for {self.model.name!r} alone: to unload it, stop the server")

    def _named(self, request: Request) -> None:
        params = request.path_params
        if params["model"] != self.model.name or params.get("version", "1") != "1":
            raise RequestRefused(404, f"no such model; this server holds {self.model.name!r}, version 1")

    # ------------------------------------------------------------ images

    def outputs_from_image(self, body: bytes) -> Array:
        """One encoded image -> the model's output (n,); for the worker thread."""
        image, preprocessing = image_from_bytes(body), self.model.bundle.manifest.preprocessing
        pixels = pixels_from_image(image, preprocessing)[None]
        outputs: Array = self.model.outputs(self.inputs_from_pixels(pixels, preprocessing))[0]
        return outputs

    def inputs_from_pixels(self, pixels: np.typing.NDArray[np.uint8], preprocessing: Preprocessing) -> Array:
        """(N, H, W, C) uint8 -> what this model takes."""
        return network_input(pixels, preprocessing, uint8=self.input.datatype == "UINT8")

    async def scrape(self, _: Request) -> Response:
        text = await run_in_threadpool(self.metrics.text)  # the device's files may keep a reader waiting
        return Response(text, media_type="text/plain; version=0.0.4")


def create_app(
    service: Service,
    *,
    bounds: RequestBounds = RequestBounds(),
    token: str | None = None,
    extra: Sequence[BaseRoute] = (),
) -> ASGIApp:
    """The ASGI application."""
    model = "/v2/models/{model}"
    routes: list[BaseRoute] = [
        Route("/", service.about),
        Route("/v2", service.server),
        Route("/v2/health/live", service.live),
        Route("/v2/health/ready", service.is_ready),
        Route("/v2/repository/index", service.index, methods=["POST", "GET"]),
        Route("/v2/repository/models/{model}/load", service.load, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", service.unload, methods=["POST"]),
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
    app = Starlette(
        routes=routes,
        exception_handlers={
            RequestRefused: _refused,
            HTTPException: _http,
            EdgenasError: functools.partial(_edgenas, service),
            Exception: _unforeseen,
        },
    )
    app.router.redirect_slashes = False
    app.add_middleware(Guard, bounds=bounds, token=token, reader=service.reader)
    return _Watch(app, service)  # around everything, so that what goes wrong is counted too


class _Watch:
    """Counts requests, closes connections while draining, and takes the protocol's paths with a slash at their end."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, metrics = time.perf_counter(), self.service.metrics
        if scope["path"].startswith("/v2/") and scope["path"].endswith("/"):
            scope["path"] = scope["path"][:-1]

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                endpoint = getattr(scope.get("route"), "path", "other")
                metrics.requests.labels(endpoint, message["status"]).inc()
                metrics.seconds.labels(endpoint).observe(time.perf_counter() - started)
                if self.service.model.draining:
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self.app(scope, receive, watched)


def _method_of(route: Route) -> str:
    """GET, POST or DELETE: the first that the route takes, HEAD aside."""
    return sorted((route.methods or {"GET"}) - {"HEAD"})[0]


async def picture_of(request: Request, reader: Reader) -> bytes:
    """An image's file: the body, or the file in a form; RequestRefused with 415 for a document around it."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    body = await request.body()
    if kind == KIND:
        return await reader.run(functools.partial(file_from_form, body, content_type))
    if kind.startswith("multipart/") or kind == "application/json":
        hint = "send the file as it is (curl --data-binary @image.png) or in a form (curl -F image=@image.png)"
        raise RequestRefused(415, f"the body is {kind[:60]}: {hint}")
    return body


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefused)
    reason = getattr(error, "reason", None)  # of a face that cannot be used
    return JSONResponse({"error": str(error), **({"reason": reason} if reason else {})}, error.status, error.headers)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _edgenas(service: Service, _: Request, error: Exception) -> Response:
    """A picture that cannot be used is the client's mistake; a runtime that fails is not."""
    assert isinstance(error, EdgenasError)
    if not isinstance(error, DeviceError):
        return JSONResponse({"error": str(error)}, 400)
    LOGGER.error("answered with 500: %s", error)  # the runtime's words, which know nothing of who asked
    if is_device_lost(error):
        service.lost(str(error))
    return JSONResponse({"error": str(error)}, 500)


async def _unforeseen(_: Request, error: Exception) -> Response:
    """Starlette raises it again after this answer, so that uvicorn logs it (see logs.py)."""
    if isinstance(error, MemoryError):  # which comes back
        return JSONResponse({"error": "this machine has no memory left for this request"}, 503, {"retry-after": "1"})
    return JSONResponse({"error": f"the server made a mistake ({type(error).__name__}); its log says where"}, 500)


def ports_from_graph(graph: onnx.GraphProto) -> tuple[protocol.ServedPort, protocol.ServedPort]:
    """The one input and the one output; BundleError where there are others, or where their sizes are not fixed."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise BundleError(
            f"the model has {len(inputs)} inputs and {len(graph.output)} outputs, served are those with one of each: "
            "export it again"
        )
    return _port(inputs[0]), _port(graph.output[0])


def _port(value: onnx.ValueInfoProto) -> protocol.ServedPort:
    tensor = value.type.tensor_type
    datatypes: dict[int, str] = {onnx.TensorProto.UINT8: "UINT8", onnx.TensorProto.FLOAT: "FP32"}
    datatype = datatypes.get(tensor.elem_type)
    shape = tuple(side.dim_value for side in tensor.shape.dim[1:])
    if datatype is None or not shape or min(shape) < 1:
        raise BundleError(
            f"{value.name!r} of the model has type {tensor.elem_type} and shape {list(shape)} after the batch; served are "
            "FP32 and UINT8 of fixed sizes: export it again"
        )
    return protocol.ServedPort(value.name, datatype, shape, tensor.shape.dim[0].dim_value or None)
