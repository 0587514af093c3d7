#!/bin/sh
# Tries the image as it would be run. `make image-test` calls this, after `make image`.
# usage: check.sh TAG
set -eu
cd "$(dirname "$0")/../../.."
tag=${1:?usage: check.sh TAG}
. tests/deploy/packages.sh

need_python tests/deploy/requirements.txt
"$venv/bin/hadolint" Dockerfile
echo "ok hadolint has nothing to say of the Dockerfile"
exec tests/deploy/engine/engine.sh run "$python" tests/deploy/image/check.py --image "$tag" \
    --structure-test "$venv/bin/container-structure-test"
