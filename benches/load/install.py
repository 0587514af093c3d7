"""Builds and installs what is measured: onnxd, the Rust contestants, the peers' venvs, the models, wrk.

What is there already, made from the same inputs, is left alone.
"""

import hashlib
import os
import shutil
import subprocess
import sys

from paths import HERE, LOGS, MODELS, REPOSITORY, TARGET, VENVS, WORK


class Missing(Exception):
    """What could not be set up, in one line."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def run_logged(name, command, **options):
    """Runs a command with its output in a file; raises Missing with the last line of it."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{name}.log"
    with path.open("wb") as log:
        options |= {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
        code = subprocess.run(command, **options).returncode
    if code:
        lines = path.read_text(errors="replace").strip().splitlines() or ["no output"]
        raise Missing(f"{' '.join(map(str, command[:4]))} … failed: {lines[-1]} (see {path})")


def build_onnxd():
    say("building onnxd (release)")
    run_logged("build-onnxd", [cargo(), "build", "--release", "--locked"], cwd=REPOSITORY)
    return TARGET / "release" / "onnxd"


def build_contestants():
    say("building the Rust contestants (release)")
    environment = dict(os.environ, CARGO_TARGET_DIR=str(WORK / "contestants"))
    command = [cargo(), "build", "--release", "--locked"]
    run_logged("build-contestants", command, cwd=HERE / "contestants", env=environment)


def cargo():
    return os.environ.get("CARGO", "cargo")


def fetch_onnxruntime():
    """Returns the path of the ONNX Runtime library that onnxd and the raw loop load."""
    script = [sys.executable, str(REPOSITORY / ".cargo" / "fetch-onnxruntime.py")]
    run_logged("fetch-onnxruntime", script)
    return subprocess.run([*script, "--print"], check=True, capture_output=True, text=True).stdout.strip()


def make_models():
    """Makes the bench models, unless this script made them before."""
    python = install_venv("models")
    script = HERE / "make_models.py"
    stamp, digest = MODELS / "made-by.sha256", hashlib.sha256(script.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return
    say("making the models")
    shutil.rmtree(MODELS, ignore_errors=True)
    run_logged("make-models", [python, script, MODELS, REPOSITORY / "models" / "iris"])
    stamp.write_text(digest)


def install_venv(name):
    """Returns the Python of the venv with exactly the packages of requirements/NAME.txt."""
    requirements, folder = HERE / "requirements" / f"{name}.txt", VENVS / name
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.is_file() and stamp.read_bytes() == requirements.read_bytes():
        return python
    say(f"installing {name} into {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    run_logged(f"venv-{name}", [sys.executable, "-m", "venv", folder])
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps"]
    run_logged(f"venv-{name}", [*pip, "--prefer-binary", "-r", requirements])
    stamp.write_bytes(requirements.read_bytes())
    return python


PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client"}


def find_tool(name):
    """Installs a load generator where that is possible, and says how where it is not."""
    package = PACKAGES[name]
    if not shutil.which(name) and shutil.which("apt-get") and os.geteuid() == 0:
        say(f"installing {package}")
        run_logged("apt-get", ["apt-get", "install", "-y", package])
    if not shutil.which(name):
        raise Missing(f"{name} is not installed: apt-get install {package} (Debian, Ubuntu)")


def make_messages():
    """Makes the gRPC messages of the bench models, unless they are there."""
    python = install_venv("grpc")
    for request in MODELS.glob("*/1/v2.json"):
        message = request.with_name("message.bin")
        if not message.is_file():
            run_logged("make-messages", [python, HERE / "grpc_client.py", "message", request, message])
