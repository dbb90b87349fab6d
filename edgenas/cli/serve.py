"""`edgenas serve`: a bundle over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from edgenas.cli.output import say

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from edgenas.serve.app import Service

RUNTIMES = ("onnxruntime", "cuda", "tensorrt")


def serve(
    bundle: Path = typer.Argument(..., help="A folder that `edgenas export --out` wrote."),
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
    port: int = typer.Option(8000, help="Port to listen on."),
    token_file: Path | None = typer.Option(
        None, help="File with a bearer token, mode 0600; without it nobody is asked."
    ),
    precision: str | None = typer.Option(None, help="fp32, fp16 or int8; the bundle's own choice if left out."),
    runtime: str = typer.Option("onnxruntime", help="onnxruntime (CPU), cuda (ONNX Runtime on the GPU) or tensorrt."),
    queue: int = typer.Option(64, help="Requests that may wait; more get 503 with Retry-After."),
    deadline_s: float = typer.Option(10.0, help="Seconds after which a request is given up (504)."),
    body_mb: float = typer.Option(32.0, help="Largest request body, MB (413)."),
    gallery: Path | None = typer.Option(None, help="Faces: the file of enrolled people; made where it does not exist."),
    gallery_key: Path | None = typer.Option(None, help="Faces: key file, mode 0600, that encrypts the gallery."),
    detector: str | None = typer.Option(
        None, help="Faces: yunet:FILE, scrfd:FILE or centerface. Without: images are faces."
    ),
    detector_sha256: str | None = typer.Option(None, help="Faces: expected SHA-256 of the detector's file."),
    several_faces: str = typer.Option("refuse", help="Faces: refuse, largest or most-central."),
    threshold: float | None = typer.Option(None, help="Faces: cosine; the bundle's calibrated one if left out."),
    liveness: str | None = typer.Option(None, help="Faces: MODULE:FUNCTION that judges every image."),
) -> None:
    """Serve a bundle: Open Inference Protocol v2, /classify, health and metrics; faces: /embed, /verify, /enroll, /identify.

    Example: edgenas serve bundle --port 8000
    """
    from edgenas.bundle import read_bundle
    from edgenas.errors import EdgenasError, MissingExtraError
    from edgenas.remote.token import read_token

    try:
        from edgenas.serve.app import Service, create_app
        from edgenas.serve.guard import Bounds
        from edgenas.serve.model import Model
        from edgenas.serve.server import Server, run_server
    except ImportError as error:
        raise MissingExtraError(f"serving needs {error.name}: pip install 'edgenas[serve]'") from error

    for value, allowed, name in (
        (precision, (None, "fp32", "fp16", "int8"), "--precision"),
        (runtime, RUNTIMES, "--runtime"),
    ):
        if value not in allowed:
            raise EdgenasError(f"{name} {value} was asked for; possible: {', '.join(a for a in allowed if a)}")
    token = read_token(token_file) if token_file is not None else None
    if token is None and host not in ("127.0.0.1", "localhost", "::1"):
        say(f"warning: anybody who reaches {host} may use this server; give --token-file to ask for a token")
    model = Model(read_bundle(bundle), precision, runtime, queue=queue, deadline_s=deadline_s)  # type: ignore[arg-type]  # checked
    servers: list[Server] = []
    service = Service(model, lambda reason: servers[0].fail(f"the device is lost: {reason}"))
    wanted = FaceOptions(gallery, gallery_key, detector, detector_sha256, several_faces, threshold, liveness)
    with face_routes(service, wanted) as extra:
        app = create_app(service, bounds=Bounds(int(1e6 * body_mb)), token=token, extra=extra)
        say(f"serving {model.name} ({model.precision}, {runtime}) on http://{host}:{port}")
        run_server(app, model, host, port, servers)


class FaceOptions(NamedTuple):
    """The options that only recognisers have."""

    gallery: Path | None
    key: Path | None
    detector: str | None
    sha256: str | None
    several: str
    threshold: float | None
    liveness: str | None


@contextmanager
def face_routes(service: Service, options: FaceOptions) -> Iterator[list[BaseRoute]]:
    """The endpoints of a recogniser with its gallery open; none for a classifier, which has no use for these options."""
    from edgenas.errors import EdgenasError

    if service.model.bundle.manifest.task != "faces":
        if options != FaceOptions(None, None, None, None, "refuse", None, None):
            raise EdgenasError(f"{service.model.name} is a classifier: leave out the options for faces")
        yield []
        return
    from edgenas.faces.detectors import detector_from_spec
    from edgenas.faces.gallery import Gallery
    from edgenas.faces.quality import quality_rules
    from edgenas.faces.vault import vault_from_file
    from edgenas.serve.faces import FaceService, FaceSettings, gallery_contract, liveness_from_spec

    if options.key is not None and options.gallery is None:
        raise EdgenasError("--gallery-key was given without --gallery FILE: name the gallery that it opens")
    detector = detector_from_spec(options.detector, options.sha256) if options.detector else None
    alive = liveness_from_spec(options.liveness) if options.liveness else None
    if alive is None:
        say(
            "warning: nothing checks whether a face is alive: a photograph of somebody is somebody (--liveness is a hook)"
        )
    with ExitStack() as stack:
        gallery = None
        if options.gallery is not None:
            vault = vault_from_file(options.key) if options.key else None
            agreed = gallery_contract(service, detector is not None)
            gallery = stack.enter_context(Gallery(options.gallery, agreed, service.output.shape[0], vault))
        rules = quality_rules(options.several)
        yield FaceService(service, FaceSettings(gallery, detector, rules, options.threshold, alive)).routes()
