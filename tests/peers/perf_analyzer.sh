#!/bin/sh
# Lets perf_analyzer, Triton's own load generator, measure the real daemon. `make perf-analyzer` calls this.
# PyPI has it for Linux on x86_64 alone; the library that it needs is unpacked from Debian's or Ubuntu's package, not installed.
set -eu
cd "$(dirname "$0")/../.."

PYTHON=${PYTHON:-python3}
CARGO=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
folder=$target/perf-analyzer
venv=$folder/venv
requirements=tests/peers/requirements-perf-analyzer.txt

if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
    echo "perf-analyzer: there is no perf_analyzer for $(uname -s) on $(uname -m)" >&2
    exit 1
fi

mkdir -p "$folder/libb64"
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
    "$PYTHON" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements"
    cp "$requirements" "$venv/requirements.txt"
fi
libraries=$("$venv/bin/python" -c 'import nvidia.cuda_runtime as cuda; print(cuda.__path__[0])')/lib
libraries=$libraries:$(pwd)/$folder/libb64/usr/lib/x86_64-linux-gnu
if ! LD_LIBRARY_PATH=$libraries "$PYTHON" -c 'import ctypes; ctypes.CDLL("libb64.so.0d")' 2>/dev/null; then
    (cd "$folder/libb64" && apt-get -o APT::Sandbox::User=root -qq download libb64-0d && dpkg -x libb64-0d_*.deb .) || {
        echo "perf-analyzer: libb64 is missing, and there is no package libb64-0d to be had: install it, then run this again" >&2
        exit 1
    }
fi

"$PYTHON" .cargo/fetch-onnxruntime.py
ORT_DYLIB_PATH=$("$PYTHON" .cargo/fetch-onnxruntime.py --print)
export ORT_DYLIB_PATH
"$CARGO" build --locked

PYTHONPATH=tests exec "$venv/bin/python" tests/peers/perf_analyzer.py \
    --daemon "$target/debug/onnxd" --models models --program "$venv/bin/perf_analyzer" --libraries "$libraries" --output "$folder"
