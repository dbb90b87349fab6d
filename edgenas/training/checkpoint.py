"""Where a long training was at the end of an epoch, in a file: what is killed goes on from there, to the same weights.

On a CPU the weights are the same, byte for byte, as those of a training that nobody interrupted: the file holds all that an epoch
changes. It is written beside its place, brought to the disk and renamed, and carries its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from edgenas.durable import remove_file, replace_file
from edgenas.errors import StudyError
from edgenas.files import read_bytes
from edgenas.tasks import Task, fingerprint, fingerprint_of_digests

FORMAT = 1  # of what a file holds, and of what a training makes of it
FIRST_LINE = b"edgenas checkpoint %s\n"  # SHA-256 of all that follows
EVERY_S = 30.0  # seconds between two checkpoints, at least
WRITING = 0.02  # of the time that may go into writing them: where a file takes longer to write, there are fewer
WORDS = {"training": "another network, recipe or start", "images": "other images or labels"}


class State(NamedTuple):
    """What a part of a training would need to be as it is now."""

    tensors: dict[str, Tensor]
    notes: dict[str, Any] = {}  # JSON values; never changed


class Part(Protocol):
    """What an epoch changes: the network with its optimiser, the generators, the best epoch so far."""

    def state(self) -> State: ...

    def restore(self, state: State) -> None: ...


class Drawing:
    """Two generators: a training's own, and torch's for whatever in a network or a loss draws from it."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def state(self) -> State:
        tensors = {"own": self.generator.get_state(), "torch": torch.get_rng_state()}
        if self.generator.device.type == "cuda":
            tensors["cuda"] = torch.cuda.get_rng_state(self.generator.device)
        return State(tensors)

    def restore(self, state: State) -> None:
        self.generator.set_state(state.tensors["own"])
        torch.set_rng_state(state.tensors["torch"])
        if self.generator.device.type == "cuda":
            torch.cuda.set_rng_state(state.tensors["cuda"], self.generator.device)


class Checkpoint(NamedTuple):
    """A file's content. made: of which training, on which images, by which torch. seconds: that the epochs took."""

    made: dict[str, str]
    epochs: int
    seconds: float
    parts: dict[str, State]


class Checkpoints:
    """The checkpoint of one training at `path`, replaced at the end of an epoch where `every_s` seconds have gone by; of every
    epoch where these are 0."""

    def __init__(
        self,
        path: Path,
        training: str,
        task: Task,
        parts: Mapping[str, Part],
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`training`: a hash of all that decides the weights but the images. `parts`: what the caller keeps between epochs."""
        self.path, self.every_s, self.clock = path, every_s, clock
        self.training, self.task, self.parts = training, task, dict(parts)
        self.seconds_before = 0.0  # of the epochs that earlier processes trained
        self.writing_s = 0.0  # that the last file took
        self.began = self.last = clock()

    def restore(self, parts: Mapping[str, Part]) -> int:
        """Be where the file was written, and say after how many epochs; 0 where there is none. Raises StudyError where the
        file is damaged or of another training: `look_at` comes first."""
        self.parts.update(parts)
        if not self.path.exists():
            return 0
        found = read(self.path)
        if found is None:
            raise StudyError(f"{self.path} is damaged: remove it, and its training starts anew")
        refuse_another(self.path, found, self.training, self.task)
        try:
            for name, part in self.parts.items():
                part.restore(found.parts[name])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise StudyError(
                f"{self.path} does not fit its training ({reason}): remove it, and it starts anew"
            ) from error
        self.seconds_before = found.seconds
        return found.epochs

    def epoch_ends(self, epochs: int) -> None:
        """Write the file, if it is time. EdgenasError where that is not possible; the file before is then as it was."""
        now = self.clock()
        if self.every_s and now - self.last < max(self.every_s, self.writing_s / WRITING):
            return
        made = made_of(self.training, self.task)
        states = {name: part.state() for name, part in self.parts.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        seconds = self.seconds_before + now - self.began
        replace_file(self.path, content_of(Checkpoint(made, epochs, seconds, states)))
        self.last = self.clock()
        self.writing_s = self.last - now


def look_at(path: Path, training: str, task: Task, epochs: int) -> str | None:
    """A line about the checkpoint at `path`, where there is one, before its training of so many `epochs` goes on.

    One that is damaged is removed, as the line says. Raises StudyError, in one line, where it belongs to another training.
    """
    if not path.exists():
        return None
    found = read(path)
    if found is None:
        remove_file(path)
        return f"{path} was damaged (its SHA-256 differs) and is removed: this training starts anew"
    refuse_another(path, found, training, task)
    return f"goes on after epoch {found.epochs} of {epochs}, from {path}"


def refuse_another(path: Path, found: Checkpoint, training: str, task: Task) -> None:
    """Raise StudyError where a checkpoint was made by other means than this training has now: nothing is lost, whoever
    wants it can have them back."""
    now = made_of(training, task)
    if found.made == now:
        return
    if found.made.get("format") != now["format"]:
        what = "another version of edgenas"
    else:
        other = next(name for name in now if found.made.get(name) != now[name])
        what = WORDS.get(other) or f"{other} {found.made.get(other)}, and this is {now[other]}"
    raise StudyError(
        f"{path} holds {found.epochs} epochs of a training with {what}: go on as it was begun, or remove the file to train anew"
    )


def made_of(training: str, task: Task) -> dict[str, str]:
    """What decides the weights: a checkpoint of anything else is not used. Of torch the version without its last number."""
    parts = (task.train, task.val)
    images = fingerprint_of_digests(*parts) or fingerprint(*parts)
    return {
        "format": str(FORMAT),
        "training": training,
        "images": images,
        "torch": ".".join(torch.__version__.split(".")[:2]),
    }


def content_of(checkpoint: Checkpoint) -> bytes:
    """A line with the SHA-256 of what follows: safetensors."""
    tensors = {
        f"{part}/{name}": tensor.detach().cpu().contiguous()
        for part, state in checkpoint.parts.items()
        for name, tensor in state.tensors.items()
    }
    notes = {name: state.notes for name, state in checkpoint.parts.items()}
    facts = {"made": checkpoint.made, "epochs": checkpoint.epochs, "seconds": checkpoint.seconds, "notes": notes}
    body = save(tensors, {"facts": json.dumps(facts)})  # Python's JSON: a score may be no number
    return _first_line(body) + body


def _first_line(body: bytes) -> bytes:
    return FIRST_LINE % hashlib.sha256(body).hexdigest().encode()


def read(path: Path) -> Checkpoint | None:
    """What a file holds; None where it is damaged. EdgenasError where it cannot be read at all."""
    line, end, body = read_bytes(path, path.stat().st_size).partition(b"\n")
    if line + end != _first_line(body):
        return None
    try:
        tensors, facts = load(body), _facts(body)
        parts = {name: State({}, notes) for name, notes in facts["notes"].items()}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part].tensors[rest] = tensor
        return Checkpoint(facts["made"], int(facts["epochs"]), float(facts["seconds"]), parts)
    except (SafetensorError, KeyError, TypeError, ValueError):
        return None


def _facts(body: bytes) -> Any:
    """The metadata of safetensors: 8 bytes say how long its JSON header is."""
    length = int.from_bytes(body[:8], "little")
    return json.loads(json.loads(body[8 : 8 + length])["__metadata__"]["facts"])
