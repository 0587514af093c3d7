#!/bin/sh
# Builds the image from the Dockerfile. `make image` calls this.
# usage: build.sh TAG
set -eu
cd "$(dirname "$0")/../../.."
tag=${1:?usage: build.sh TAG}
engine=tests/deploy/engine

if [ "${2:-}" != inside ]; then
    exec "$engine/engine.sh" build "$0" "$tag" inside
fi
# shellcheck disable=SC2046  # a list of images
"$engine/base-images.sh" $(sed -n 's/^ARG [A-Z]*_IMAGE=//p' Dockerfile)
docker build --network host --tag "$tag" \
    --build-arg VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" \
    --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    --build-arg CREATED="$(date -u +%Y-%m-%dT%H:%M:%SZ)" .
