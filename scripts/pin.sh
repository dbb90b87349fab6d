#!/bin/sh
# Pins whole trees of packages: deploy/requirements-*.in -> .txt with the hashes of every file that may be installed (pip then takes
# no other), and constraints.in -> constraints.txt, what the tests run with. Run it after a change of a list, read the difference,
# run the tests. Versions that a .txt holds already are kept; `sh scripts/pin.sh --upgrade` takes newer ones.
set -eu
cd "$(dirname "$0")/.."
UV=${UV:-}
if [ -z "$UV" ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  "${PYTHON:-python3}" -m venv "$folder" && "$folder/bin/pip" install --quiet 'uv>=0.13'
  UV=$folder/bin/uv
fi
pin() {  # pin PYTHON-VERSION FROM TO [OPTIONS]
  version=$1 from=$2 to=$3
  shift 3
  body=$(mktemp)
  cp "$to" "$body" 2>/dev/null || true
  "$UV" pip compile --quiet --universal --python-version "$version" --no-header --no-emit-index-url --no-annotate "$@" "$from" -o "$body"
  {
    echo "# Written by scripts/pin.sh from $(basename "$from"). Do not edit."
    cat "$body"
  } >"$to"
  rm -f "$body"
}
pin 3.10 deploy/requirements-build.in deploy/requirements-build.txt --generate-hashes "$@"
pin 3.11 deploy/requirements-device.in deploy/requirements-device.txt --generate-hashes "$@"
pin 3.10 deploy/requirements-device-py310.in deploy/requirements-device-py310.txt --generate-hashes "$@"
pin 3.10 deploy/requirements-faces.in deploy/requirements-faces.txt --generate-hashes "$@"
pin 3.10 deploy/requirements-tensorrt-cuda12.in deploy/requirements-tensorrt-cuda12.txt --generate-hashes "$@"
pin 3.11 pyproject.toml constraints.txt --extra dev --extra docs --constraint constraints.in "$@"
