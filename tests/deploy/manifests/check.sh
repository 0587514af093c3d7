#!/bin/sh
# Validates everything in k8s/ against the schemas of Kubernetes, the Prometheus operator and KServe, without a cluster.
# `make manifests` calls this.
set -eu
cd "$(dirname "$0")/../../.."
. tests/deploy/packages.sh

need_kubectl
need_python tests/deploy/requirements.txt
need_node
# Generated from KServe's own definitions. Its dependencies are a whole server's, and none of them is needed to read it.
kserve=${CARGO_TARGET_DIR:-target}/deploy/kserve-0.21.0
[ -d "$kserve" ] || "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$kserve" kserve==0.21.0
exec "$python" tests/deploy/manifests/check.py --kubectl "$(command -v kubectl)" --node-modules "$node_modules" --kserve "$kserve"
