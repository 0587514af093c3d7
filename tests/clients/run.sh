#!/bin/sh
# Tries the real daemon with the clients that people have. `make clients` calls this.
#
# Each folder here that has a requirements.txt is a group of clients with a virtual environment of its own, since some of
# them cannot live beside each other. Name groups to run only those: `tests/clients/run.sh triton`.
set -eu
cd "$(dirname "$0")/../.."

PYTHON=${PYTHON:-python3}
CARGO=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}

"$PYTHON" .cargo/fetch-onnxruntime.py
ORT_DYLIB_PATH=$("$PYTHON" .cargo/fetch-onnxruntime.py --print)
"$CARGO" build --locked
export ORT_DYLIB_PATH ONNXD="$target/debug/onnxd" CLIENTS_OUTPUT="$target/clients"
export PYTHONPATH=tests:tests/clients PYTHONDONTWRITEBYTECODE=1

if [ $# -eq 0 ]; then
    for requirements in tests/clients/*/requirements.txt; do
        set -- "$@" "$(basename "$(dirname "$requirements")")"
    done
fi

failed=
for group in "$@"; do
    requirements=tests/clients/$group/requirements.txt
    venv=$target/clients/venv-$group
    if ! cmp -s "$requirements" "$venv/requirements.txt"; then
        echo "clients: installing $group"
        "$PYTHON" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements"
        cp "$requirements" "$venv/requirements.txt"
    fi
    echo "clients: $group"
    "$venv/bin/python" -m pytest --quiet -p no:cacheprovider "tests/clients/$group" || failed="$failed $group"
done
if [ -n "$failed" ]; then
    echo "clients: failed:$failed; the daemons' logs are in $target/clients" >&2
    exit 1
fi
echo "clients: passed ($*)"
