"""`edgenas serve`: a bundle over HTTP."""

from __future__ import annotations

from pathlib import Path

import typer

from edgenas.cli.output import say


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
) -> None:
    """Serve a bundle: Open Inference Protocol v2, /classify, health and metrics.

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
    app = create_app(service, bounds=Bounds(int(1e6 * body_mb)), token=token)
    say(f"serving {model.name} ({model.precision}, {runtime}) on http://{host}:{port}")
    run_server(app, model, host, port, servers)


RUNTIMES = ("onnxruntime", "cuda", "tensorrt")
