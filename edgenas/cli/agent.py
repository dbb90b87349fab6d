"""`edgenas agent`: what runs on a board."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgenas.cli.output import emit, say
from edgenas.errors import EdgenasError

if TYPE_CHECKING:
    from edgenas.hardware.worker import Load
    from edgenas.remote.job import Bounds
    from edgenas.remote.tls import Tls


def agent(
    job: Path | None = typer.Argument(None, help="With --once: a file with the job, in place of stdin."),
    host: str = typer.Option(
        "127.0.0.1", help="IPv4 address to listen on; leave loopback only in a network that you trust."
    ),
    port: int = typer.Option(8765, min=0, max=65535, help="Port to listen on; 0 = any free one."),
    token_file: Path | None = typer.Option(
        None,
        help="Bearer token, mode 0600; made if missing [default: $EDGENAS_AGENT_TOKEN or ~/.config/edgenas/agent-token]",
    ),
    tls_cert: Path | None = typer.Option(None, help="Certificate with its chain, PEM: speak HTTPS."),
    tls_key: Path | None = typer.Option(None, help="Key of --tls-cert, PEM without a password."),
    once: bool = typer.Option(
        False, "--once", help="Read one job (a line of JSON, then the model), print the answer, end."
    ),
    info: bool = typer.Option(False, "--info", help="Print what this board is and how it measures, end."),
    runtime: str = typer.Option(
        "onnxruntime",
        help="onnxruntime, cuda (ONNX Runtime on the GPU), tensorrt (engines are built and kept here), or a package's.",
    ),
    provider: str = typer.Option("cpu", help="ONNX Runtime's provider: cpu, cuda or tensorrt."),
    threads: int = typer.Option(1, min=1, help="Threads of the CPU provider."),
    memory_mb: int = typer.Option(2048, min=256, help="Memory that each measuring process may take."),
    max_model_mb: int = typer.Option(64, min=1, help="Size of the largest model accepted."),
    json: bool = typer.Option(False, "--json", help="One JSON document on stdout (answers always are)."),
) -> None:
    """Measure the models that hosts send: over HTTP, or one job from stdin (which is what ssh:// boards use).

    Example: edgenas agent --port 8765 --token-file token

    Example: edgenas agent --host 0.0.0.0 --token-file token --tls-cert board.crt --tls-key board.key
    """
    from edgenas.hardware.worker import Load
    from edgenas.remote.agent import about
    from edgenas.remote.job import Bounds
    from edgenas.remote.tls import tls_from_options
    from edgenas.runtimes import check_provider

    if job is not None and not once:
        raise EdgenasError(f"{job} is a job for --once: add it, or leave the file out")
    check_provider(runtime, provider)
    load = Load("", runtime=runtime, provider=provider, threads=threads)
    bounds = Bounds(memory_mb, max_model_mb)
    described = about(load, bounds)  # a runtime that is not here is refused now, not at the first job
    if info:
        emit(described, as_json=True, text="")
    elif once:
        emit(_once(_job_bytes(job, bounds), load, bounds), as_json=True, text="")
    else:
        _listen(host, port, token_file, tls_from_options(tls_cert, tls_key), load, bounds, json)


def _job_bytes(path: Path | None, bounds: Bounds) -> bytes:
    """The job and the model; of a model that is too large as much as shows that it is."""
    try:
        with sys.stdin.buffer if path is None else path.open("rb") as stream:
            return stream.read(bounds.model_mb * 1_000_000 + 65537)
    except OSError as error:
        raise EdgenasError(f"{path} cannot be read: {error.strerror}") from error


def _once(data: bytes, load: Load, bounds: Bounds) -> Any:
    import tempfile

    import msgspec

    from edgenas.remote.job import Answer, Job, run

    line, _, model = data.partition(b"\n")
    try:
        job = msgspec.json.decode(line, type=Job)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise EdgenasError(f"the first line is not a job: {error}") from error
    if len(model) > bounds.model_mb * 1_000_000:
        words = f"the model is larger than {bounds.model_mb} MB: see --max-model-mb"
        return msgspec.to_builtins(Answer(job.id, "refused", words))
    with tempfile.TemporaryDirectory(prefix="edgenas-agent-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        return msgspec.to_builtins(run(path, job, load, bounds))


def _listen(
    host: str, port: int, token_file: Path | None, tls: Tls | None, load: Load, bounds: Bounds, json: bool
) -> None:
    import signal

    from edgenas.remote.agent import agent as open_agent
    from edgenas.remote.tls import is_loopback, server_context
    from edgenas.remote.token import read_or_make_token

    context = server_context(tls) if tls else None
    token, file = read_or_make_token(token_file)
    if context is None and not is_loopback(host):
        say(
            f"warning: {host} is reached over plain HTTP, and whoever listens in reads the token and the models: give "
            "--tls-cert and --tls-key, or use an ssh:// board, which needs no open port"
        )

    def stop(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    with open_agent(host, port, token, load=load, bounds=bounds, log=say, tls=context) as server:
        url = f"{'https' if tls else 'http'}://{host}:{server.server_address[1]}"
        where = f", token in {file}" if file else ""
        emit({"url": url, "token_file": str(file) if file else None}, as_json=json, text=f"agent at {url}{where}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")
