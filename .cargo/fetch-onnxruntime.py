#!/usr/bin/env python3
"""Fetches ONNX Runtime for onnxd: one shared library, checked against a pinned SHA-256.

The library comes out of the `onnxruntime` wheel on PyPI, which pip downloads for any platform,
whatever Python runs this. It is installed as <repository>/.onnxruntime/libonnxruntime.so
(.dylib on macOS, onnxruntime.dll on Windows) with its licence and third-party notices beside it.
A library that is already there with the right checksum is left alone, without network access.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

VERSION = "1.31.1"
REPOSITORY = Path(__file__).resolve().parent.parent
NOTICES = ("LICENSE", "ThirdPartyNotices.txt")


class Build(NamedTuple):
    """One platform's wheel: its tag, the library inside it, and the name it is installed under."""

    wheel_platform: str
    member: str
    sha256: str
    file_name: str


# A new VERSION needs new checksums: `pip download` each wheel and run sha256sum on its library.
BUILDS = {
    "linux-x86_64": Build(
        "manylinux_2_28_x86_64",
        "onnxruntime/capi/libonnxruntime.so." + VERSION,
        "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
        "libonnxruntime.so",
    ),
    "linux-aarch64": Build(
        "manylinux_2_28_aarch64",
        "onnxruntime/capi/libonnxruntime.so." + VERSION,
        "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
        "libonnxruntime.so",
    ),
    "macos-arm64": Build(
        "macosx_14_0_arm64",
        "onnxruntime/capi/libonnxruntime." + VERSION + ".dylib",
        "d586cbe89effc085a09d3341b3cfbd5c322517f9d397aeb20814af21433f2b36",
        "libonnxruntime.dylib",
    ),
    "windows-amd64": Build(
        "win_amd64",
        "onnxruntime/capi/onnxruntime.dll",
        "e45f61e50d8650885452be538a00bb14a715e46a1bc3691000ce947e89ed0306",
        "onnxruntime.dll",
    ),
}

MACHINES = {
    ("Linux", "x86_64"): "linux-x86_64",
    ("Linux", "aarch64"): "linux-aarch64",
    ("Linux", "arm64"): "linux-aarch64",
    ("Darwin", "arm64"): "macos-arm64",
    ("Windows", "AMD64"): "windows-amd64",
}


class FetchError(Exception):
    """What went wrong, in one line."""


def main():
    arguments = parse_arguments()
    try:
        return run(arguments)
    except FetchError as error:
        problem = str(error)
    except OSError as error:
        problem = str(error)
    print(
        "fetch-onnxruntime: {}; or set ORT_DYLIB_PATH to an ONNX Runtime {} library of your own".format(problem, VERSION),
        file=sys.stderr,
    )
    return 1


def parse_arguments():
    parser = argparse.ArgumentParser(description="Fetches ONNX Runtime {} for onnxd.".format(VERSION))
    parser.add_argument(
        "--print",
        action="store_true",
        dest="print_only",
        help="print the library's path, fetch nothing",
    )
    parser.add_argument(
        "--platform",
        choices=sorted(BUILDS),
        help="fetch for this platform instead of the one this runs on, for a container image for example",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder to install into (default: .onnxruntime in the repository; another platform's goes to a folder of its name in it)",
    )
    return parser.parse_args()


def run(arguments):
    own_library = os.environ.get("ORT_DYLIB_PATH")
    if own_library and not arguments.platform and not arguments.output:
        # Pointing at the folder that this script fills is not a library of one's own.
        if REPOSITORY / ".onnxruntime" not in Path(own_library).resolve().parents:
            return use_own_library(Path(own_library), arguments.print_only)

    platform_name = arguments.platform or this_platform()
    build = BUILDS[platform_name]
    folder = (arguments.output or default_folder(platform_name)).resolve()
    library = folder / build.file_name
    if arguments.print_only:
        print(library)
        return 0
    if library.is_file():
        if sha256_of(library) == build.sha256:
            print("ONNX Runtime {} for {} is in place: {}".format(VERSION, platform_name, library))
            return 0
        print("{} is not ONNX Runtime {} for {}: replacing it".format(library, VERSION, platform_name))
    fetch(build, platform_name, library)
    print("ONNX Runtime {} for {} installed: {}".format(VERSION, platform_name, library))
    return 0


def use_own_library(library, print_only):
    if not library.is_file():
        raise FetchError("ORT_DYLIB_PATH names {}, which is not a file: unset it to fetch one".format(library))
    print(library if print_only else "using ORT_DYLIB_PATH: {}".format(library))
    return 0


def this_platform():
    system, machine = platform.system(), platform.machine()
    platform_name = MACHINES.get((system, machine))
    if platform_name is None:
        raise FetchError(
            "no ONNX Runtime is pinned for {} {}, only for {}".format(system, machine, ", ".join(sorted(BUILDS)))
        )
    if system == "Linux" and platform.libc_ver()[0] != "glibc":
        raise FetchError("the pinned ONNX Runtime needs glibc 2.28 or newer, and this system has another C library")
    return platform_name


def default_folder(platform_name):
    folder = REPOSITORY / ".onnxruntime"
    return folder if MACHINES.get((platform.system(), platform.machine())) == platform_name else folder / platform_name


def fetch(build, platform_name, library):
    """Downloads, checks and installs; the library comes last and in one step, so it is never there half-written."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=str(library.parent)) as scratch_name:
        scratch = Path(scratch_name)
        wheel = download_wheel(build, platform_name, scratch)
        extracted = [scratch / name for name in NOTICES]
        try:
            with zipfile.ZipFile(str(wheel)) as archive:
                for notice in extracted:
                    extract(archive, "onnxruntime/" + notice.name, notice)
                extract(archive, build.member, scratch / library.name)
        except (zipfile.BadZipFile, KeyError) as error:
            raise FetchError("{} is not the expected wheel: {}".format(wheel.name, error))
        found = sha256_of(scratch / library.name)
        if found != build.sha256:
            raise FetchError(
                "{} in {} has SHA-256 {}, expected {}: nothing was installed".format(
                    build.member, wheel.name, found, build.sha256
                )
            )
        for notice in extracted:
            os.replace(str(notice), str(library.parent / notice.name))
        os.replace(str(scratch / library.name), str(library))


def download_wheel(build, platform_name, scratch):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--retries", "2", "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", "3.12", "--platform", build.wheel_platform, "--dest", str(scratch)]
    command += ["onnxruntime==" + VERSION]
    require_pip()
    print("fetching ONNX Runtime {} for {} from the Python package index".format(VERSION, platform_name), flush=True)
    # Nothing is installed into this Python, so a rule to install in virtual environments only does not apply.
    environment = dict(os.environ, PIP_REQUIRE_VIRTUALENV="0")
    result = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    wheels = list(scratch.glob("onnxruntime-*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        raise FetchError(
            "pip could not download onnxruntime {} ({}): check the network or pip's index settings".format(
                VERSION, last_line(result.stderr) or "exit status {}".format(result.returncode)
            )
        )
    return wheels[0]


def require_pip():
    check = subprocess.run(
        [sys.executable, "-m", "pip", "--version"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if check.returncode != 0:
        raise FetchError(
            "{} has no pip: install it (Debian and Ubuntu: apt-get install python3-pip)".format(sys.executable)
        )


def last_line(output):
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def extract(archive, member, target):
    with archive.open(member) as source, open(str(target), "wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)


def sha256_of(path):
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
