#!/bin/sh
# Saves the image under the name that k8s/ has for it, a second one like it, and one with a model that is broken.
# usage: save-images.sh IMAGE FILE      (inside engine.sh)
set -eu
image=$1
file=$2
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/broken/1"
echo "not a model" > "$scratch/broken/1/model.onnx"

docker tag "$image" "onnxd:$version"
printf 'FROM onnxd:%s\nLABEL org.onnxd.test=next\n' "$version" | docker build -q -t onnxd:next - >/dev/null
printf 'FROM onnxd:%s\nCOPY broken /models/broken\n' "$version" > "$scratch/Dockerfile"
docker build -q -t onnxd:broken "$scratch" >/dev/null
docker save -o "$file" "onnxd:$version" onnxd:next onnxd:broken
