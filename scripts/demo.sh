#!/bin/sh
# From nothing to a verified bundle in minutes: search for a Jetson, train the winner, export it with proof, check it.
set -eu
started=$(date +%s)
bundle=bundles/demo-$(date +%Y%m%d-%H%M%S)

edgenas search --target jetson --study demo --max-params 40000
edgenas train demo --seeds 3
edgenas export demo --out "$bundle" --precision fp16
edgenas bundle verify "$bundle"

echo "from search to a verified bundle in $(($(date +%s) - started)) s: $bundle"
echo "next: edgenas serve $bundle, edgenas report demo, and README.md"
