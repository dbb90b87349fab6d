"""What a server offers beyond the Open Inference Protocol: one function per kind of task; the bundle's manifest says which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

from starlette.routing import BaseRoute

from edgenas.bundle import Threshold
from edgenas.errors import EdgenasError
from edgenas.records import TaskKind
from edgenas.serve.app import Service
from edgenas.serve.classification import ClassifierService
from edgenas.serve.model import ServedModel

Say: TypeAlias = Callable[[str], None]  # tells the operator something


class FaceOptions(NamedTuple):
    """The options that only recognisers have."""

    gallery: Path | None = None
    key: Path | None = None
    detector: str | None = None
    sha256: str | None = None
    several: str = "refuse"
    threshold: float | None = None
    liveness: str | None = None


def task_routes(service: Service, options: FaceOptions, say: Say) -> AbstractContextManager[list[BaseRoute]]:
    """The endpoints of the bundle's kind of task, while what they need is open."""
    return ROUTES[service.model.bundle.kind](service, options, say)


@contextmanager
def _classification(service: Service, options: FaceOptions, _: Say) -> Iterator[list[BaseRoute]]:
    _refuse_face_options(service, options, "a classifier")
    yield ClassifierService(service).routes()


@contextmanager
def _generic(service: Service, options: FaceOptions, _: Say) -> Iterator[list[BaseRoute]]:
    _refuse_face_options(service, options, f"of task {service.model.bundle.manifest.task!r}")
    yield []


def _refuse_face_options(service: Service, options: FaceOptions, what: str) -> None:
    if options != FaceOptions():
        raise EdgenasError(f"{service.model.name} is {what}: leave out the options for faces")


@contextmanager
def _faces(service: Service, options: FaceOptions, say: Say) -> Iterator[list[BaseRoute]]:
    """Those of a recogniser, with its gallery open."""
    from edgenas.faces.detectors import detector_from_spec
    from edgenas.faces.gallery import Gallery, checked_threshold
    from edgenas.faces.quality import quality_rules
    from edgenas.faces.vault import vault_from_file
    from edgenas.serve.faces import FaceService, FaceSettings, gallery_contract, liveness_from_spec

    if options.key is not None and options.gallery is None:
        raise EdgenasError("--gallery-key was given without --gallery FILE: name the gallery that it opens")
    several = None if options.several == FaceOptions().several else options.several
    for flag, value in (("--detector-sha256", options.sha256), ("--several-faces", several)):
        if options.detector is None and value is not None:
            raise EdgenasError(
                f"{flag} {value} is about a detector, and without --detector images are faces: leave it out"
            )
    stored = service.model.bundle.manifest.threshold
    if options.threshold is not None:
        checked_threshold(options.threshold, "--threshold")
    elif stored is not None:
        _check_stored(stored, service.model)
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
            if vault is None:
                say(
                    f"warning: names and faces stand unencrypted in {options.gallery} (mode 0600): --gallery-key encrypts them"
                )
            if gallery.rewritten:
                say(
                    f"{options.gallery} was written by an older edgenas, which did not bind names to people: it is rewritten; "
                    "check that everybody in it is who the name says"
                )
        rules = quality_rules(options.several)
        yield FaceService(service, FaceSettings(gallery, detector, rules, options.threshold, alive)).routes()


def _check_stored(stored: Threshold, model: ServedModel) -> None:
    """Raise EdgenasError for a calibrated threshold that is none of the file that is served."""
    from edgenas.faces.gallery import checked_threshold

    where = f"the threshold in {model.bundle.folder}/manifest.json"
    checked_threshold(stored.value, where)
    if stored.precision not in (None, model.precision):
        raise EdgenasError(
            f"{where} was calibrated at {stored.precision}, and {model.precision} is served: run `edgenas faces calibrate "
            f"--precision {model.precision}`, serve with --precision {stored.precision}, or give --threshold"
        )


ROUTES: dict[TaskKind, Callable[[Service, FaceOptions, Say], AbstractContextManager[list[BaseRoute]]]] = {
    "classification": _classification,
    "faces": _faces,
    "generic": _generic,
}
