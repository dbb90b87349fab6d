"""`edgenas search --start FILE`: a search among the cuts of a trained network, every candidate beginning with its layers.

The network is a record of the study (kind and key `heritage`) with its weights in a file of the study: so the search goes on, and
`edgenas train` begins alike, where the file that was named is not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.architectures.cuts import CutSpace
from edgenas.engine.plan import written_plan
from edgenas.errors import EdgenasError, StudyError
from edgenas.files import lost
from edgenas.methods.settings import SearchSettings, flag_of
from edgenas.methods.spec import BOUNDS
from edgenas.records import Architecture, Record, StagesArchitecture
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.networks.heritage import Heritage
    from edgenas.tasks import Task
    from edgenas.training.start import Start

KIND = "heritage"
SAMPLE = 256  # training images from which folded batch norms are put back


class Inheritance(Record, frozen=True):
    """What networks of this study begin with: the trained network as stages, and its weights (a file of the study)."""

    name: str
    whole: StagesArchitecture
    weights: str
    weights_sha256: str
    source: str
    source_sha256: str

    def at(self, study: Path) -> Start:
        """As a training goes on from it: without the last layer, whose classes are the file's."""
        from edgenas.training.start import Start

        return Start(self.whole, study / self.weights, self.weights_sha256, head=False)

    def share_of(self, network: Architecture) -> float:
        """Percent of the network's parameters that begin with trained weights."""
        from edgenas.networks.heritage import inherited_share

        return 100 * inherited_share(network, self.whole) if isinstance(network, StagesArchitecture) else 0.0


def heritage_in(store: Store) -> Inheritance | None:
    """What the study's networks begin with; None where that is nothing."""
    return store.get(KIND, KIND, Inheritance)


def cuts_for(settings: SearchSettings, task: Task) -> CutSpace:
    """The space of a search with --start. EdgenasError for a setting that has no place beside it."""
    for name in ("space", *BOUNDS):
        if getattr(settings, name) is not None:
            raise EdgenasError(f"--start searches the cuts of {settings.start}: leave out {flag_of(name)}")
    head, images = task.head, task.preprocessing
    assert settings.start is not None
    return CutSpace(head, images.channels, images.input_size, _read(settings.start, task)[0].whole)


def keep_heritage(store: Store, settings: SearchSettings, task: Task, tell: Callable[[str], None]) -> None:
    """Put the network on record, with its weights. StudyError where the file is another than the study began with."""
    from edgenas.networks.public import file_sha256
    from edgenas.networks.weights import save_tensors

    if settings.start is None:
        return
    known = heritage_in(store)
    if known is not None:
        if file_sha256(settings.start) not in ("", known.source_sha256):
            raise StudyError(
                f"{settings.start} is not the file that {store.folder} began with (its SHA-256 differs): restore it, or name "
                "another --study"
            )
        _restored(store, known, task, tell)
        return
    heritage, source, sha256 = _read(settings.start, task)
    path, weights_sha256 = save_tensors(heritage.tensors, store.folder / "weights", "heritage")
    store.put(
        KIND, KIND, Inheritance(settings.start, heritage.whole, f"weights/{path.name}", weights_sha256, source, sha256)
    )


def restore_heritage(store: Store, heritage: Inheritance, whole: Task, tell: Callable[[str], None]) -> None:
    """Read the weights that the study's networks begin with anew where their file is lost. `whole`: the study's task with all its
    images. StudyError where the file that was named is not there either."""
    from edgenas.tasks import as_searched

    _restored(store, heritage, as_searched(whole, written_plan(store.study).task), tell)


def _restored(store: Store, heritage: Inheritance, searched: Task, tell: Callable[[str], None]) -> None:
    """Read the weights anew where their file is lost, from what was named; StudyError where that gives others."""
    from edgenas.networks.public import file_sha256
    from edgenas.networks.weights import save_tensors

    path = store.folder / heritage.weights
    why = lost(path, heritage.weights_sha256)
    if not why:
        return
    reason = f"{heritage.name} gives others"
    if file_sha256(heritage.name) in ("", heritage.source_sha256):
        tell(f"warning: {path} {why}: read again from {heritage.name}")
        try:
            again, _, _ = _read(heritage.name, searched)
            if save_tensors(again.tensors, path.parent, "heritage")[1] == heritage.weights_sha256:
                return
        except EdgenasError as error:
            reason = str(error)
    raise StudyError(f"{path} {why}, and {reason}: restore one of them, or search again under another --study")


def _read(name: str, task: Task) -> tuple[Heritage, str, str]:
    """The network with its weights, the file's name and SHA-256."""
    from edgenas.networks.heritage import heritage_of
    from edgenas.networks.public import public_network

    images = task.train.images
    public = public_network(name, task.head, task.preprocessing, images[:: -(-len(images) // SAMPLE)])
    if public.tensors is None:
        raise EdgenasError(f"--start {name} has no weights: name a file of them, {name}=FILE.pth")
    return heritage_of(public, task.preprocessing), public.source, public.source_sha256
