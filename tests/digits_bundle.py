"""One bundle of the small digits network for all tests that only read one; copy it before changing it."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from edgenas.bundle import Bundle
from edgenas.export.release import Trained, Wishes, bundle_from_trained
from edgenas.hardware.measure import SEARCH
from edgenas.hardware.profile import profile_from_name
from tests.trained_digits import trained_digits


def trained(profile: str = "host-cpu") -> Trained:
    network, architecture, task = trained_digits()
    return Trained(network, architecture, task, profile_from_name(profile), data="digits", recipe="six epochs")


@functools.cache
def digits_bundle() -> Bundle:
    folder = Path(tempfile.mkdtemp(prefix="edgenas-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    wishes = Wishes(("fp32", "fp16", "int8"), max_drop=5, timing=SEARCH)
    return bundle_from_trained(folder / "digits", trained(), wishes)


if __name__ == "__main__":
    import sys

    shutil.copytree(digits_bundle().folder, sys.argv[1])
