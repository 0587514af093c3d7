#!/bin/sh
# Brings docker-compose.yml up and tries it. `make compose-test` calls this, after `make image`.
set -eu
cd "$(dirname "$0")/../../.."
. tests/deploy/packages.sh

need_python tests/deploy/requirements.txt
"$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
prometheus=$(sed -n 's/^ *image: \(prom\/prometheus:.*\)/\1/p' docker-compose.yml)
tests/deploy/engine/engine.sh build tests/deploy/engine/base-images.sh "$prometheus"
exec tests/deploy/engine/engine.sh run "$python" tests/deploy/compose/check.py
