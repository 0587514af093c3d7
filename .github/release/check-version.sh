#!/bin/sh
# Fails unless VERSION is that of Cargo.toml and of the images in k8s/.
# usage: check-version.sh VERSION
set -eu
version=${1:?usage: check-version.sh VERSION}
in_cargo=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
if [ "$version" != "$in_cargo" ]; then
    echo "the tag says $version, Cargo.toml says $in_cargo" >&2
    exit 1
fi
for file in k8s/base/kustomization.yaml k8s/kserve/kustomization.yaml; do
    if ! grep -qx "    newTag: $version" "$file"; then
        echo "$file has another image than $version" >&2
        exit 1
    fi
done
