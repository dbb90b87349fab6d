#!/bin/sh
# Builds the cpu image of deploy/ without a container engine and proves it: debootstrap for a base, buildah (chroot isolation, vfs),
# then the server inside the image as uid 10001 on a read-only root without capabilities, asked by the real Triton client.
# Needs root, and: apt-get install buildah debootstrap util-linux; with AARCH64=1 also qemu-user-static.
#   sh scripts/image_test.sh [BUNDLE]     PYTHON: an interpreter with the extra dev; BASE: a finished debootstrap folder to start from
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
WORK=$(mktemp -d)
PORT=${PORT:-8941}
STORAGE="--storage-driver vfs --root $WORK/store --runroot $WORK/run"
export PYTHONPATH="$PWD"

for tool in buildah debootstrap unshare setpriv; do
  command -v $tool >/dev/null || { echo "image_test: $tool is missing: apt-get install buildah debootstrap util-linux" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "image_test: needs root for chroot and mounts" >&2; exit 1; }

SERVER=""
stop() {  # unshare itself ignores SIGTERM; its child is the server
  [ -z "$SERVER" ] || { kill -TERM $(cat "/proc/$SERVER/task/$SERVER/children") && wait "$SERVER"; }
  SERVER=""
}
finish() {
  stop || true
  buildah $STORAGE umount --all >/dev/null 2>&1 || true
  rm -rf "$WORK" && rm -f deploy/wheels/*.whl
}
trap finish EXIT INT TERM

BUNDLE=${1:-}
if [ -z "$BUNDLE" ]; then
  BUNDLE=$WORK/digits
  "$PYTHON" -m tests.digits_bundle "$BUNDLE"
fi

echo "== base: bookworm minbase with Python"
if [ -n "${BASE:-}" ]; then ln -s "$BASE" "$WORK/base"; else
  debootstrap --variant=minbase --include=python3,python3-venv bookworm "$WORK/base" >"$WORK/debootstrap.log"
fi
container=$(buildah $STORAGE from scratch)
buildah $STORAGE add -q "$container" "$WORK/base/" / >/dev/null
buildah $STORAGE commit -q "$container" edgenas-base >/dev/null
buildah $STORAGE rm "$container" >/dev/null

echo "== image: wheels from outside, no network inside"
for list in device build; do
  "$PYTHON" -m pip download -q --only-binary :all: --python-version 3.11 --implementation cp --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 -d deploy/wheels -r deploy/requirements-$list.txt
done
buildah $STORAGE build --isolation chroot -q -f deploy/Dockerfile -t edgenas-cpu \
  --build-arg BASE_IMAGE=localhost/edgenas-base --build-arg PIP_OPTIONS=--no-index . >"$WORK/build.log" 2>&1 ||
  { cat "$WORK/build.log" >&2; exit 1; }
container=$(buildah $STORAGE from edgenas-cpu)
ROOT=$(buildah $STORAGE mount "$container")
echo "size: $(du -sm "$ROOT" | cut -f1) MB, of which base $(du -sm "$WORK/base/" | cut -f1) MB, edgenas and its packages $(du -sm "$ROOT/opt/edgenas" | cut -f1) MB"
found=$(find "$ROOT/opt" "$ROOT/usr/lib" -type d -path '*-packages/torch' -print | head -3)
[ -z "$found" ] || { echo "image_test: torch is inside: $found" >&2; exit 1; }
echo "torch: not inside"

echo "== run: uid 10001, read-only root, no capabilities, no new privileges"
cat >"$WORK/inside.sh" <<'INSIDE'
set -eu
mount --bind "$ROOT" "$ROOT"
mount --bind "$BUNDLE" "$ROOT/bundle"
mount -t tmpfs -o size=64m tmpfs "$ROOT/tmp"
mount -t tmpfs -o size=64m,uid=10001 tmpfs "$ROOT/cache"
mount -t proc proc "$ROOT/proc"
for device in null urandom random zero; do touch "$ROOT/dev/$device"; mount --bind "/dev/$device" "$ROOT/dev/$device"; done
mount -o remount,bind,ro "$ROOT"
mount -o remount,bind,ro "$ROOT/bundle"
exec chroot "$ROOT" /usr/bin/setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  /usr/bin/env -i PATH=/opt/edgenas/bin:/usr/bin:/bin EDGENAS_CACHE=/cache PYTHONDONTWRITEBYTECODE=1 "$@"
INSIDE
export ROOT BUNDLE
inside() { unshare --mount --pid --fork --kill-child sh "$WORK/inside.sh" "$@"; }
inside python3 -c '
import os, pathlib
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
assert os.getuid() == 10001 and int(status["CapBnd"], 16) == 0 and int(status["CapEff"], 16) == 0 and status["NoNewPrivs"] == "1"
for place in ("/", "/opt/edgenas", "/bundle", "/etc"):
    try:
        pathlib.Path(place, "probe").touch()
    except OSError as error:
        print("cannot write", place + ":", error.strerror)
    else:
        raise SystemExit(place + " can be written")
print("uid", os.getuid(), "capabilities", status["CapBnd"].strip(), "no_new_privs", status["NoNewPrivs"])'
inside edgenas --version
inside python3 -c '
import json
parts = json.load(open("/opt/edgenas/sbom.cdx.json"))["components"]
assert {"edgenas", "numpy", "onnxruntime"} <= {part["name"] for part in parts}
print("bill of materials:", len(parts), "components")'
unshare --mount --pid --fork --kill-child sh "$WORK/inside.sh" edgenas serve /bundle --port "$PORT" &
SERVER=$!
"$PYTHON" -m scripts.image_client "127.0.0.1:$PORT" "$BUNDLE"
stop

if [ "${AARCH64:-0}" = 1 ]; then sh scripts/image_test_aarch64.sh "$BUNDLE"; fi
echo "image_test: passed"
