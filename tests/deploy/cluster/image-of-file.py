#!/usr/bin/env python3
"""Writes an image of one static program to stdout, as `ctr images import` reads it: image-of-file.py FILE NAME"""

import hashlib
import io
import json
import platform
import sys
import tarfile


def main():
    path, name = sys.argv[1:]
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(path, arcname="program")
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    config = {"architecture": architecture, "os": "linux", "config": {"Entrypoint": ["/program"]}}
    config["rootfs"] = {"type": "layers", "diff_ids": ["sha256:" + digest]}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps(config).encode(), "layer.tar": layer.getvalue(), "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        for file_name, content in files.items():
            member = tarfile.TarInfo(file_name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    main()
