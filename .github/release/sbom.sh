#!/bin/sh
# Lists the crates that are in onnxd, and ONNX Runtime, as CycloneDX.
# usage: sbom.sh FILE
set -eu
file=${1:?usage: sbom.sh FILE}
cargo cyclonedx --format json --override-filename onnxd-sbom --no-build-deps >/dev/null
version=$(sed -n 's/^VERSION = "\(.*\)"/\1/p' .cargo/fetch-onnxruntime.py)
jq --arg version "$version" '.components += [{
    type: "library", name: "onnxruntime", version: $version, purl: ("pkg:pypi/onnxruntime@" + $version),
    licenses: [{license: {id: "MIT"}}]
}]' onnxd-sbom.json > "$file"
rm onnxd-sbom.json
