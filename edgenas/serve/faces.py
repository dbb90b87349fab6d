"""The endpoints of a recogniser: /embed, /verify, /enroll, /identify, and the people, over one gallery file.

Bodies are image files, as they are or in a form; names travel in the query. Embeddings and images are never logged. A picture
that is refused says why: 422 with a `reason`. Whether a face is alive is not checked unless a `liveness` check is given.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from edgenas.errors import DataError, EdgenasError
from edgenas.faces.detectors import Detector
from edgenas.faces.gallery import Gallery, contract, spelled
from edgenas.faces.images import Rgb, rgb_from_image
from edgenas.faces.quality import QualityError, QualityRules, face_from_image
from edgenas.faces.verification import normalised
from edgenas.serve.app import Service, picture_of
from edgenas.serve.errors import RequestRefused
from edgenas.serve.images import image_from_bytes

ALIGNMENTS = {False: "whole-image-112", True: "five-point-112"}  # without a detector, with one
NORMALISATION = "in-graph (x - 127.5) / 127.5"


@dataclass(frozen=True)
class FaceSettings:
    """How faces are found, judged and remembered. `threshold`: cosine; None = the bundle's calibrated one."""

    gallery: Gallery | None = None
    detector: Detector | None = None
    rules: QualityRules = field(default_factory=QualityRules)
    threshold: float | None = None
    liveness: Callable[[Rgb], bool] | None = None


def gallery_contract(service: Service, has_detector: bool) -> str:
    """The contract of this server's embeddings. All precisions of a bundle share a gallery: faces.json shows what mixing does."""
    fp32 = service.model.bundle.manifest.models["fp32"].artifact.sha256
    return contract(fp32, ALIGNMENTS[has_detector], NORMALISATION)


class FaceService:
    """Endpoints on top of the model's service; all work happens on its one worker thread."""

    def __init__(self, service: Service, settings: FaceSettings) -> None:
        self.service, self.settings = service, settings

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/embed", self.embed, methods=["POST"]),
            Route("/verify", self.verify, methods=["POST"]),
            Route("/enroll", self.enroll, methods=["POST"]),
            Route("/identify", self.identify, methods=["POST"]),
            Route("/people", self.people),
            Route("/people/{name:path}", self.delete, methods=["DELETE"]),
        ]

    async def embed(self, request: Request) -> Response:
        """{"embedding": [D numbers of length one]}."""
        body = await picture_of(request, self.service.reader)
        embedding = await self._compute(lambda: self._embedding(body))
        return JSONResponse({"model": self.service.model.name, "embedding": embedding.tolist()})

    async def verify(self, request: Request) -> Response:
        """An image and ?name=: is this that person? Or JSON {"first": base64, "second": base64}: are these one person?"""
        threshold, name = self._threshold(), request.query_params.get("name")
        if name is not None:
            gallery, image = self._gallery(), await picture_of(request, self.service.reader)

            def score() -> float:
                if not gallery.knows(name):
                    raise RequestRefused(404, f"nobody is enrolled as {name!r}")
                return gallery.score(self._embedding(image), name)
        else:
            body = await request.body()

            def score() -> float:
                first, second = _two_images(body)
                return float(self._embedding(first) @ self._embedding(second))

        found = await self._compute(score)
        return JSONResponse({"same": found >= threshold, "score": found, "threshold": threshold})

    async def enroll(self, request: Request) -> Response:
        """One more sample of ?name=, new or known."""
        gallery, name = self._gallery(), request.query_params.get("name", "")
        if not name.strip():
            raise RequestRefused(400, "who is this? POST /enroll?name=NAME with the image as the body")
        body = await picture_of(request, self.service.reader)
        person = await self._compute(lambda: gallery.enroll(name, self._embedding(body)))
        return JSONResponse({"name": person.name, "samples": person.samples})

    async def identify(self, request: Request) -> Response:
        """{"match": {"name", "score"} or null}: null is the answer for somebody who is not enrolled."""
        gallery, threshold = self._gallery(), self._threshold()
        body, started = await picture_of(request, self.service.reader), time.perf_counter()
        matches = await self._compute(lambda: gallery.identify(self._embedding(body), threshold))
        ms = round(1000 * (time.perf_counter() - started), 3)
        match = msgspec.to_builtins(matches[0]) if matches else None
        return JSONResponse({"match": match, "threshold": threshold, "ms": ms})

    async def people(self, _: Request) -> Response:
        """Everyone who is enrolled; in a thread, as the gallery may be at work."""
        people = await run_in_threadpool(self._gallery().people)
        return JSONResponse({"people": msgspec.to_builtins(people)})

    async def delete(self, request: Request) -> Response:
        """Forget somebody; their bytes are gone from the file when this answers."""
        gallery, name = self._gallery(), request.path_params["name"]
        if not await self._compute(lambda: gallery.delete(name)):
            raise RequestRefused(404, f"nobody is enrolled as {name!r}")
        return JSONResponse({"deleted": spelled(name)})

    async def _compute(self, work: Callable[[], Any]) -> Any:
        """On the worker; a refused face becomes an answer with its reason."""
        try:
            return await self.service.model.compute(work)
        except QualityError as error:
            raise RefusedFace(error) from error

    def _embedding(self, body: bytes) -> NDArray[np.float32]:
        """One encoded image -> its unit embedding (D,); for the worker thread."""
        settings = self.settings
        image = rgb_from_image(image_from_bytes(body))
        face = face_from_image(image, settings.detector, settings.rules)
        if settings.liveness is not None and not settings.liveness(image):
            raise QualityError("not_alive", "the liveness check refused the image")
        preprocessing = self.service.model.bundle.manifest.preprocessing
        inputs = self.service.inputs_from_pixels(face[None], preprocessing)
        unit: NDArray[np.float32] = normalised(self.service.model.outputs(inputs))[0]
        return unit

    def _gallery(self) -> Gallery:
        if self.settings.gallery is None:
            raise RequestRefused(409, "this server has no gallery: start it with --gallery FILE")
        return self.settings.gallery

    def _threshold(self) -> float:
        stored = self.service.model.bundle.manifest.threshold
        if self.settings.threshold is not None:
            return self.settings.threshold
        if stored is None:
            raise RequestRefused(
                409, "this bundle has no threshold: run `edgenas faces calibrate`, or serve with --threshold"
            )
        return stored.value


class RefusedFace(RequestRefused):
    """422 with the reason's name beside the sentence."""

    def __init__(self, error: QualityError) -> None:
        super().__init__(422, str(error))
        self.reason = error.reason


class _Pair(msgspec.Struct, forbid_unknown_fields=True):
    first: str
    second: str


def _two_images(body: bytes) -> tuple[bytes, bytes]:
    try:
        pair = msgspec.json.decode(body, type=_Pair)
        return base64.b64decode(pair.first, validate=True), base64.b64decode(pair.second, validate=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error, ValueError) as error:
        raise RequestRefused(
            400, 'send an image with ?name=NAME, or JSON {"first": base64, "second": base64} of two images'
        ) from error


def liveness_from_spec(spec: str) -> Callable[[Rgb], bool]:
    """MODULE:FUNCTION, called with the (H, W, 3) image: is this a living face?"""
    import importlib

    module, _, name = spec.partition(":")
    try:
        check: Callable[[Rgb], bool] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise EdgenasError(f"liveness {spec!r} cannot be loaded ({error}): give MODULE:FUNCTION") from error
    if not callable(check):
        raise DataError(f"liveness {spec!r} is not a function: give MODULE:FUNCTION")
    return check
