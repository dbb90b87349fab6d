"""`edgenas serve`: a bundle over HTTP."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from edgenas.cli.options import SeveralFaces
from edgenas.cli.output import say, say_next

RANGES = {
    "port": (0, 65535),
    "queue": (1, 10_000),
    "deadline_s": (0.001, 3600),
    "body_mb": (0.001, 1000),
    "stop_grace_s": (1, 86_400),
}


def serve(
    bundle: Path = typer.Argument(..., help="A folder that `edgenas export --out` wrote."),
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
    port: int = typer.Option(8000, help="Port to listen on, 0 to 65535; 0 takes a free one and says which."),
    token_file: Path | None = typer.Option(
        None,
        help="File with a bearer token, mode 0600; made where it does not exist. Without it no token is needed, "
        "except where there is a gallery: then it is GALLERY.token.",
    ),
    tls_cert: Path | None = typer.Option(None, help="Certificate with its chain, PEM: serve HTTPS."),
    tls_key: Path | None = typer.Option(None, help="Key of --tls-cert, PEM without a password."),
    precision: str | None = typer.Option(None, help="fp32, fp16 or int8; the bundle's own choice if left out."),
    runtime: str = typer.Option(
        "onnxruntime", help="onnxruntime (CPU), cuda (ONNX Runtime on the GPU), tensorrt, or a package's."
    ),
    queue: int = typer.Option(64, help="Requests that may wait, 1 to 10000; more get 503 with Retry-After."),
    deadline_s: float = typer.Option(10.0, help="Seconds, up to 3600, after which a request is given up (504)."),
    stop_grace_s: float | None = typer.Option(
        None,
        envvar="EDGENAS_STOP_GRACE_S",
        help="Seconds, 1 to 86400, after which what stops this server kills it (docker stop -t, stop_grace_period): a "
        "--deadline-s that does not fit is refused.",
    ),
    body_mb: float = typer.Option(
        32.0, help="Largest request body, up to 1000 MB (413); four of them are held at once."
    ),
    gallery: Path | None = typer.Option(None, help="Faces: the file of enrolled people; made where it does not exist."),
    gallery_key: Path | None = typer.Option(None, help="Faces: key file, mode 0600, that encrypts the gallery."),
    detector: str | None = typer.Option(
        None, help="Faces: what finds them, yunet:FILE, scrfd:FILE or centerface. Without it every image is a face."
    ),
    detector_sha256: str | None = typer.Option(None, help="Faces: expected SHA-256 of the detector's file."),
    several_faces: SeveralFaces = typer.Option("refuse", help="Faces: what becomes of an image with several."),
    threshold: float | None = typer.Option(
        None, help="Faces: threshold of the cosine, above 0, at most 1; the bundle's calibrated one if left out."
    ),
    liveness: str | None = typer.Option(None, help="Faces: MODULE:FUNCTION that judges every image."),
) -> None:
    """Serve a bundle: Open Inference Protocol v2, /classify, health and metrics; faces: /embed, /verify, /enroll, /identify.

    Example: edgenas serve bundle --port 8000 --token-file token
    """
    from edgenas.bundle import read_bundle
    from edgenas.errors import MissingExtraError, pip_line
    from edgenas.remote.tls import tls_from_options

    try:
        from edgenas.serve.app import Service, create_app
        from edgenas.serve.guard import RequestBounds
        from edgenas.serve.kinds import FaceOptions, task_routes
        from edgenas.serve.model import ServedModel
        from edgenas.serve.server import Address, Server, drain_s, run_server
    except ImportError as error:
        raise MissingExtraError(f"serving needs {error.name}: {pip_line('serve')}") from error

    _check_options(
        precision, runtime, port=port, queue=queue, deadline_s=deadline_s, body_mb=body_mb, stop_grace_s=stop_grace_s
    )
    drain_s(deadline_s, stop_grace_s)
    address = Address(host, port, tls_from_options(tls_cert, tls_key))
    model = ServedModel(read_bundle(bundle), precision, runtime, queue=queue, deadline_s=deadline_s)  # type: ignore[arg-type]  # checked
    servers: list[Server] = []
    service = Service(model, lambda reason: servers[0].fail(f"the device is lost: {reason}"))
    wanted = FaceOptions(gallery, gallery_key, detector, detector_sha256, several_faces, threshold, liveness)
    with task_routes(service, wanted, say) as extra:
        token = _token(token_file, gallery)
        _warn(host, token is not None, address.tls is not None)
        app = create_app(service, bounds=RequestBounds(int(1e6 * body_mb)), token=token, extra=extra)
        what = f"{model.name} ({model.precision}, {runtime})"

        def listening(port: int, ready: bool) -> None:
            if not ready:
                say(f"loading {what} for {address.url(port)}")
                return
            say(f"serving {what} on {address.url(port)}")
            if model.bundle.kind == "classification":
                say_next(_request(address.url(port), token_file))

        run_server(app, model, address, servers, listening, service.metrics.count, stop_grace_s)
    say("drained; stopped")


def _check_options(precision: str | None, runtime: str, **numbers: float | None) -> None:
    """EdgenasError with the range of an option that is outside of it."""
    from edgenas.errors import EdgenasError
    from edgenas.runtimes import runtime_spec

    if precision not in (None, "fp32", "fp16", "int8"):
        raise EdgenasError(f"--precision {precision} was asked for; possible: fp32, fp16, int8")
    runtime_spec(runtime)
    for name, value in numbers.items():
        low, high = RANGES[name]
        if value is not None and not low <= value <= high:
            raise EdgenasError(f"--{name.replace('_', '-')} {value:g} was asked for; possible: {low:g} to {high:g}")


def _request(url: str, token_file: Path | None) -> str:
    """What asks the server about a picture."""
    shown = "" if token_file is None else f'-H "Authorization: Bearer $(cat {shlex.quote(str(token_file))})" '
    return f"curl {shown}-F image=@IMAGE {url}/classify"


def _token(file: Path | None, gallery: Path | None) -> str | None:
    """What clients must show. Where there is a gallery there is always one: whoever may ask may enrol and delete people."""
    from edgenas.files import at_home
    from edgenas.remote.token import server_token

    if file is None and gallery is not None:
        file = gallery.with_name(gallery.name + ".token")
    if file is None:
        return None
    made = not at_home(file).exists()
    token = server_token(file)
    say(f"asking for the token in {file}{' (made now)' if made else ''}: Authorization: Bearer TOKEN")
    return token


def _warn(host: str, token: bool, tls: bool) -> None:
    """Of what others could read or do, where others can reach this server."""
    from edgenas.remote.tls import is_loopback

    if is_loopback(host):
        return
    if not token:
        say(f"warning: anybody who reaches {host} may use this server; give --token-file to ask for a token")
    elif not tls:
        say(
            f"warning: {host} is reached over plain HTTP, and whoever listens in reads the token and the pictures: give "
            "--tls-cert and --tls-key, or put a TLS proxy in front"
        )
