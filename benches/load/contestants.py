"""Who is measured: how each contestant is started, where it answers, and what it must have installed.

A new contestant is one function here that returns its command, and a line in CONTESTANTS.
"""

import json
import os
from typing import Callable, NamedTuple

import install
from clients import Grpc, Http
from models import BenchModel
from paths import CONTESTANTS as RUST_CONTESTANTS
from paths import HERE, LOGS, MODELS, VENVS, WORK

PEERS = HERE / "peers"


class Setup(NamedTuple):
    """What was built for this run."""

    onnxd: str
    onnxruntime: str
    server_core: int
    load_core: int


class Launch(NamedTuple):
    """What a contestant is started for."""

    setup: Setup
    model: BenchModel
    port: int
    free_ports: Callable[[], int]


class Contestant(NamedTuple):
    """One server. `command` returns its arguments and its environment's additions."""

    name: str
    command: Callable[[Launch], tuple[list[str], dict[str, str]]]
    path: str = "/predict"
    protocol: str = "body.json"
    client: Http | Grpc = Http()
    tools: tuple[str, ...] = ()
    venv: str | None = None
    default: bool = True

    def prepare(self):
        """Installs what it needs; raises install.Missing."""
        for tool in self.tools:
            install.find_tool(tool)
        if self.venv:
            install.install_venv(self.venv)
        if isinstance(self.client, Grpc):
            install.make_messages()


def floor(mode):
    def command(launch):
        answer = WORK / "answers" / f"{launch.model.name}.json"
        arguments = ["--mode", mode, "--form", launch.model.form, "--answer", str(answer), "--port", str(launch.port)]
        return [str(RUST_CONTESTANTS / "floor"), *arguments], {}

    return command


def onnxd(*flags, batching=None, grpc=False):
    """onnxd with these flags; `batching` is written into the [batching] section of the model's model.toml. It is asked at its
    gRPC port if `grpc`, else at its HTTP port."""

    def command(launch):
        folder = repository(launch.model, batching or {})
        http, grpc_port = (launch.free_ports(), launch.port) if grpc else (launch.port, "off")
        arguments = ["serve", str(folder), "--host", "127.0.0.1", "--port", str(http), "--grpc-port", str(grpc_port)]
        return [launch.setup.onnxd, *arguments, "--onnxruntime", launch.setup.onnxruntime, *flags], {}

    return command


def repository(model, batching):
    """Makes a folder for onnxd that holds this one model with these settings."""
    name = "-".join(f"{key}-{value}" for key, value in batching.items()) or "default"
    folder = WORK / "repositories" / name / model.name
    (folder / "model" / "1").mkdir(parents=True, exist_ok=True)
    manifest = MODELS / model.name / "model.toml"
    text = manifest.read_text() if manifest.is_file() else ""
    if batching:
        text += "\n[batching]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in batching.items())
    (folder / "model" / "model.toml").write_text(text)
    linked = folder / "model" / "1" / "model.onnx"
    linked.unlink(missing_ok=True)
    os.link(model.file, linked)
    return folder


def fastapi(launch):
    arguments = ["--app-dir", str(PEERS), "--host", "127.0.0.1", "--port", str(launch.port)]
    arguments += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return [python("fastapi"), "-m", "uvicorn", "fastapi_server:app", *arguments], peer_environment(launch)


def flask(launch):
    # Threads, because gunicorn's default worker closes each connection after one answer.
    arguments = ["--bind", f"127.0.0.1:{launch.port}", "--workers", "1", "--worker-class", "gthread", "--threads", "8"]
    arguments += ["--keep-alive", "75", "--log-level", "warning", "--no-control-socket", "--chdir", str(PEERS)]
    return [python("flask"), "-m", "gunicorn", *arguments, "flask_server:app"], peer_environment(launch)


def mosec(batch):
    def command(launch):
        arguments = ["--address", "127.0.0.1", "--port", str(launch.port), "--log-level", "warning"]
        # Its default of 3 s would fail the slow models at many connections.
        arguments += ["--timeout", "60000", "--path", str(LOGS / f"mosec-{launch.port}")]
        environment = peer_environment(launch) | {"BENCH_BATCH": str(batch)}
        return [python("mosec"), str(PEERS / "mosec_server.py"), *arguments], environment

    return command


def mlserver(launch):
    folder = WORK / "mlserver" / launch.model.name
    folder.mkdir(parents=True, exist_ok=True)
    # No parallel workers: on one core they only add a hop.
    settings = {"debug": False, "host": "127.0.0.1", "http_port": launch.port, "parallel_workers": 0}
    settings |= {"grpc_port": launch.free_ports(), "metrics_port": launch.free_ports()}
    parameters = {"uri": str(launch.model.file)}
    model = {"name": "model", "implementation": "mlserver_runtime.OnnxModel", "parameters": parameters}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return [str(VENVS / "mlserver" / "bin" / "mlserver"), "start", str(folder)], peer_environment(launch)


def python(venv):
    return str(VENVS / venv / "bin" / "python")


def peer_environment(launch):
    return {"BENCH_MODEL": str(launch.model.file), "PYTHONPATH": str(PEERS), "OMP_NUM_THREADS": "1"}


QUIET = ("--access-log", "off")
RAW = "raw"
CONTESTANTS = [
    Contestant("floor", floor("constant")),
    Contestant("json-floor", floor("json")),
    Contestant("onnxd", onnxd(), "/models/model/predict"),
    Contestant("onnxd-quiet", onnxd(*QUIET), "/models/model/predict"),
    Contestant("onnxd-single", onnxd(*QUIET, batching={"max_batch_size": 1}), "/models/model/predict"),
    Contestant(
        "onnxd-binary",
        onnxd(*QUIET),
        "/v2/models/model/infer",
        protocol="raw.bin",
        client=Http("application/octet-stream", inference_header_content_length="0"),
    ),
    Contestant(
        "onnxd-grpc",
        onnxd(*QUIET, grpc=True),
        "/inference.GRPCInferenceService/ModelInfer",
        protocol="message.bin",
        client=Grpc(),
        tools=("h2load",),
        venv="grpc",
    ),
    Contestant("onnxd-inline", onnxd(*QUIET, batching={"lane": "inline"}), "/models/model/predict", default=False),
    Contestant("onnxd-worker", onnxd(*QUIET, batching={"lane": "worker"}), "/models/model/predict", default=False),
    Contestant(
        "onnxd-inline-single",
        onnxd(*QUIET, batching={"lane": "inline", "max_batch_size": 1}),
        "/models/model/predict",
        default=False,
    ),
    Contestant("fastapi", fastapi, venv="fastapi"),
    Contestant("flask", flask, venv="flask"),
    Contestant("mlserver", mlserver, "/v2/models/model/infer", protocol="v2.json", venv="mlserver"),
    Contestant("mosec", mosec(batch=32), "/inference", venv="mosec"),
    Contestant("mosec-single", mosec(batch=1), "/inference", venv="mosec", default=False),
]
BY_NAME = {contestant.name: contestant for contestant in CONTESTANTS}
