"""The endpoint of a classifier: /classify, an image in, the names of the likeliest classes out."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from edgenas.likeliest import likeliest
from edgenas.serve.app import Service, picture_of


class ClassifierService:
    """Endpoints on top of the model's service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def routes(self) -> list[BaseRoute]:
        return [Route("/classify", self.classify, methods=["POST"])]

    async def classify(self, request: Request) -> Response:
        """{"label", "probability", "classes": the five likeliest with label, index, probability}."""
        model = self.service.model
        body, started = await picture_of(request, self.service.reader), time.perf_counter()
        logits = await model.compute(lambda: self.service.outputs_from_image(body))
        classes = likeliest(logits, model.bundle.manifest.labels)
        best = {"label": classes[0]["label"], "probability": classes[0]["probability"]}
        ms = 1000 * (time.perf_counter() - started)
        return JSONResponse({"model": model.name, **best, "classes": classes, "ms": round(ms, 3)})
