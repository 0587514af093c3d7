#!/bin/sh
# Packs the image's content into an archive. Unpack it anywhere and run bin/onnxd, which finds ONNX Runtime in lib/.
# usage: package.sh IMAGE VERSION PLATFORM FOLDER
set -eu
image=$1
name=onnxd-$2-linux-$3
mkdir -p "$4"
folder=$(cd "$4" && pwd)
scratch=$(mktemp -d)
container=$(docker create "$image")
trap 'docker rm "$container" >/dev/null; rm -rf "$scratch"' EXIT

mkdir -p "$scratch/$name/bin" "$scratch/$name/lib"
docker cp -q "$container:/usr/local/bin/onnxd" "$scratch/$name/bin/"
docker cp -q "$container:/usr/local/lib/onnxruntime/." "$scratch/$name/lib/"
docker cp -q "$container:/usr/share/doc/onnxd/." "$scratch/$name/"
docker cp -q "$container:/models" "$scratch/$name/"
cp README.md CHANGELOG.md "$scratch/$name/"
# The same files make the same archive.
tar -C "$scratch" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" \
    -c "$name" | gzip -9n > "$folder/$name.tar.gz"
"$scratch/$name/bin/onnxd" --version
