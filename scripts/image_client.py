"""Asks a running server as tritonclient and compares with the bundle's golden outputs: HOST:PORT BUNDLE."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

import numpy as np
import tritonclient.http as triton

from edgenas.bundle import read_bundle

PATIENCE_S = 120


def main(address: str, folder: str) -> None:
    bundle = read_bundle(Path(folder))
    name, golden = bundle.manifest.name, bundle.golden()
    client = triton.InferenceServerClient(address)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(OSError, triton.InferenceServerException):
            if client.is_server_ready():
                break
        if time.monotonic() > deadline:
            sys.exit(f"image_client: {address} was not ready within {PATIENCE_S} s")
        time.sleep(0.2)
    inputs = golden["inputs"]
    for binary in (True, False):
        tensor = triton.InferInput("image", list(inputs.shape), "UINT8" if inputs.dtype == np.uint8 else "FP32")
        tensor.set_data_from_numpy(inputs, binary_data=binary)
        result = client.infer(name, [tensor], outputs=[triton.InferRequestedOutput("logits", binary_data=binary)])
        off = float(np.abs(result.as_numpy("logits") - golden[bundle.manifest.chosen_precision]).max())
        print(
            f"tritonclient, {'binary' if binary else 'JSON'}: {len(inputs)} inputs, off by {off:.2g} from the golden outputs"
        )
        if off > 1e-4:
            sys.exit("image_client: more than 1e-4")


if __name__ == "__main__":
    main(*sys.argv[1:])
