#!/usr/bin/env bash
# Writes every generated file anew, into the working tree: the deepcopy functions of the API types, and the
# CustomResourceDefinitions of the chart flotilla-crd, with the copy of that chart inside of the chart flotilla. `make generate`
# runs it; `make verify` proves that it was run.
set -euo pipefail
cd "$(dirname "$0")/../.."

controller_gen=$(dev/tools/install controller-gen)
crds=charts/flotilla-crd/templates

"$controller_gen" object paths=./pkg/apis/...
# A kind that is gone leaves no file behind.
rm -f "$crds"/fleet.cattle.io_*.yaml
"$controller_gen" crd paths=./pkg/apis/... output:crd:dir="$PWD/$crds"

# A chart is a folder, or an archive of it, and holds what it depends on: a link would lead out of it.
rm -rf charts/flotilla/charts
mkdir charts/flotilla/charts
cp -r charts/flotilla-crd charts/flotilla/charts/
