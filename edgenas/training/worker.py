"""A worker process, from its first line on: work items in, results out, until its parent is gone.

It is started by its own entry (`command`), never by importing the parent's program again: a script without a guard, a notebook
cell and a program on stdin can have workers too.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection

import torch

from edgenas.errors import EdgenasError
from edgenas.training.faults import machine_faults, wait_for
from edgenas.training.memory import keep_freed_memory
from edgenas.training.shared import open_shared, pickled
from edgenas.training.work import Workplace, run_item

# Before anything is imported: the parent's path, so that everything is found that the parent finds, and in its order.
ENTRY = "import sys; sys.path[:] = sys.argv[6:]; from edgenas.training.worker import main; main(*sys.argv[1:6])"


def command(channel: int, lifeline: int, data: int, start: int, device: str) -> list[str]:
    """The command line of a worker that inherits these descriptors. Python's own options (-W, -X, ...) are the parent's."""
    if not sys.executable:
        raise EdgenasError(
            "worker processes need Python's executable, and this program has none: take no workers (workers = 0)"
        )
    options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing has them
    numbers = (str(channel), str(lifeline), str(data), str(start))
    return [sys.executable, *options, "-c", ENTRY, *numbers, device, *filter(_is_text, sys.path)]


def settle_on(device: str) -> None:
    """Streams and graphs that name no GPU are this worker's own."""
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)


def main(channel: str, lifeline: str, data: str, start: str, device: str) -> None:
    """Say None when it is ready, or what forbids it; then do the items that come in, one after the other, until the parent closes
    the channel or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, args=(int(lifeline),), daemon=True).start()
    keep_freed_memory()
    without_compiler()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(int(channel)) as connection:
        try:
            with machine_faults(torch.device(device)):
                settle_on(device)
                place = _place(int(data), int(start), device)
        except EdgenasError as error:  # the images are gone, or the GPU
            connection.send_bytes(pickled(error))
            return
        connection.send_bytes(pickled(None))  # ready
        while True:
            item = pickle.loads(connection.recv_bytes())
            try:
                result = run_item(item, place)
            except EdgenasError as error:
                result = error
            connection.send_bytes(pickled(result))


def without_compiler() -> None:
    """From here on torch's optimisers leave torch._dynamo alone, whose import takes a second of a core: each of them asks
    for it, to mark its methods as not to be compiled. For processes that compile nothing; what is computed is the same."""
    for method in vars(torch.optim.Optimizer).values():
        plain = getattr(method, "__wrapped__", None)
        if plain is not None:
            plain.__dynamo_disable = plain  # torch._compile looks there first; nobody looks elsewhere
    step = getattr(
        torch.optim.SGD.step, "__wrapped__", None
    )  # without what surrounds it for the compiler: no_grad alone
    if step is not None:
        torch.optim.SGD.step = torch.no_grad()(step)  # type: ignore[method-assign]


def _place(data: int, start: int, device: str) -> Workplace:
    try:
        place = Workplace(open_shared(data, start), torch.device(device))
    except (ImportError, AttributeError, pickle.UnpicklingError) as error:
        raise EdgenasError(_not_loaded(error)) from error
    wait_for(place.device)  # a GPU that does not answer is said now
    return place


def _not_loaded(error: Exception) -> str:
    return (
        f"a worker process cannot load the task ({error}): define it in an installed module, in one beside the program, or "
        "in the program itself; or take no workers (workers = 0)"
    )


def _end_with_parent(lifeline: int) -> None:
    """End when the parent does, also by `kill -9`: the other end of this pipe closes with it."""
    os.read(lifeline, 1)
    os._exit(1)


def _is_text(entry: object) -> bool:
    return isinstance(entry, str)
