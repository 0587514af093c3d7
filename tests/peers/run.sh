#!/bin/sh
# Tries the real daemon against software we did not write: Prometheus' promtool and a browser.
# Installs what is missing where it may, and names it where it may not. `make peers` calls this.
set -eu
cd "$(dirname "$0")/../.."

PYTHON=${PYTHON:-python3}
CARGO=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
venv=$target/peers-venv

find_browser() {
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
        if [ -n "$name" ] && command -v "$name"; then
            return 0
        fi
    done
    return 1
}

# Ubuntu has Chromium under another name.
browser_package() {
    if grep -qs '^ID=ubuntu$' /etc/os-release; then echo chromium-browser; else echo chromium; fi
}

missing_packages() {
    command -v promtool >/dev/null || echo prometheus
    find_browser >/dev/null || echo "$(browser_package) fonts-dejavu-core"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_packages() {
    if ! command -v apt-get >/dev/null || ! as_root true 2>/dev/null; then
        echo "peers: these are missing and cannot be installed from here: $*" >&2
        echo "peers: install promtool (Prometheus), Chromium (or set CHROMIUM) and Python's venv, then run this again" >&2
        exit 1
    fi
    echo "peers: installing $*"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

packages=$(missing_packages)
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086  # a list of names
    install_packages $packages
fi
browser=$(find_browser) || { echo "peers: no Chromium found after installing it; set CHROMIUM" >&2; exit 1; }

if ! cmp -s tests/peers/requirements.txt "$venv/requirements.txt"; then
    "$PYTHON" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/peers/requirements.txt
    cp tests/peers/requirements.txt "$venv/requirements.txt"
fi

"$PYTHON" .cargo/fetch-onnxruntime.py
ORT_DYLIB_PATH=$("$PYTHON" .cargo/fetch-onnxruntime.py --print)
export ORT_DYLIB_PATH
"$CARGO" build --locked

mkdir -p "$target/peers"
PYTHONPATH=tests exec "$venv/bin/python" tests/peers/check.py \
    --daemon "$target/debug/onnxd" --models models --browser "$browser" --output "$target/peers"
