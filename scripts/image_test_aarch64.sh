#!/bin/sh
# The server's part of the image for aarch64, under qemu-user-static without binfmt: the same bundle gives the same answers within 1e-4.
#   sh scripts/image_test_aarch64.sh BUNDLE     needs root, debootstrap, qemu-user-static; a few minutes
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
BUNDLE=$1
WORK=$(mktemp -d)
ROOT=$WORK/root
trap 'rm -rf "$WORK"' EXIT INT TERM

debootstrap --arch arm64 --foreign --variant=minbase --include=python3 bookworm "$ROOT" >"$WORK/debootstrap.log"
for package in "$ROOT"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$ROOT"; done
cp /usr/bin/qemu-aarch64-static "$ROOT/qemu-aarch64-static"
"$PYTHON" -m pip install -q --only-binary :all: --no-compile --python-version 3.11 --implementation cp --target "$ROOT/packages" \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
  -r deploy/requirements-device.txt
cp -r edgenas "$ROOT/packages/edgenas"
cp -r "$BUNDLE" "$ROOT/bundle"
cat >"$ROOT/check.py" <<'CHECK'
import pathlib, platform, sys
import numpy as np
from edgenas.bundle import read_bundle
from edgenas.runtimes.onnx_session import open_session
assert platform.machine() == "aarch64"
bundle = read_bundle(pathlib.Path("/bundle"))
golden = bundle.golden()
assert "torch" not in sys.modules
for precision in bundle.manifest.models:
    with open_session(bundle.path(precision)) as runtime:
        got = next(iter(runtime.run({"image": golden["inputs"]}).values()))
    off = float(np.abs(got - golden[precision]).max())
    print(platform.machine(), precision, f"off by {off:.2g} from x86-64", flush=True)
    assert precision != "fp32" or off <= 1e-4
CHECK
# No /sys here: ONNX Runtime's import crashes under qemu where it is mounted.
mkdir -p "$ROOT/proc" "$ROOT/dev"
unshare --mount sh -c 'mount -t proc proc "$0/proc"; touch "$0/dev/null" "$0/dev/urandom"; mount --bind /dev/null "$0/dev/null";
  mount --bind /dev/urandom "$0/dev/urandom"; exec chroot "$0" /qemu-aarch64-static -E PYTHONPATH=/packages -E HOME=/tmp /usr/bin/python3.11 /check.py' "$ROOT"
echo "image_test_aarch64: passed"
