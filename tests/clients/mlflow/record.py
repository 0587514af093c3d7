"""Records what a real `mlflow models serve` answers to the requests of requests.py, for the bundled models.

    python3 -m venv target/mlflow-venv
    target/mlflow-venv/bin/pip install -r tests/clients/mlflow/requirements-record.txt
    target/mlflow-venv/bin/python tests/clients/mlflow/record.py

Writes tests/data/mlflow.json, against which tests/it/mlflow_recorded.rs holds onnxd. MLflow is heavy and slow to start, so
this is run by hand when requests or MLflow's version change.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import mlflow.onnx
import onnx

from requests_to_record import REQUESTS

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 120
PORT = 18099


def main():
    recorded = []
    with tempfile.TemporaryDirectory() as folder:
        for model in sorted({request["model"] for request in REQUESTS}):
            saved = Path(folder) / model
            mlflow.onnx.save_model(onnx.load(ROOT / "models" / model / "1" / "model.onnx"), str(saved))
            with Server(saved) as server:
                for request in REQUESTS:
                    if request["model"] == model:
                        recorded.append({**request, **server.send(request)})
    document = {"mlflow": mlflow.__version__, "requests": recorded}
    path = ROOT / "tests" / "data" / "mlflow.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print("{} requests recorded in {}".format(len(recorded), path))


class Server:
    """`mlflow models serve` of one saved model."""

    def __init__(self, saved):
        command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(saved)]
        self._command = command + ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(PORT)]

    def __enter__(self):
        # MLflow runs the `uvicorn` that it finds on the PATH.
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(self._command, env={**os.environ, "PATH": path}, **quiet)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.__exit__()
                raise RuntimeError("{} does not answer".format(self._command))
            time.sleep(0.2)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
        # The child that listens ends a little later than its parent.
        while self._answers():
            time.sleep(0.2)

    def send(self, request):
        headers = {} if request["content_type"] is None else {"content-type": request["content_type"]}
        body = request["body"].encode("utf-8")
        return answer("http://127.0.0.1:{}/invocations".format(PORT), body, headers)

    def _answers(self):
        try:
            urllib.request.urlopen("http://127.0.0.1:{}/ping".format(PORT), timeout=2).close()
            return True
        except OSError:
            return False


def answer(url, body, headers):
    """The status, and what a client looks at in the body: predictions as they were written, or the error's code."""
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return {"status": response.status, "answer": response.read().decode("utf-8")}
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", "replace")
        try:
            return {"status": error.code, "error_code": json.loads(text)["error_code"]}
        except (ValueError, KeyError, TypeError):
            return {"status": error.code, "error_code": None}


if __name__ == "__main__":
    main()
