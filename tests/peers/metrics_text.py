"""Prometheus' own linter reads /metrics after some traffic, good and bad."""

import json
import subprocess
import urllib.error
import urllib.request

LINT_SECONDS = 30
TRAFFIC = [
    ("/models/iris/predict", {"features": [5.1, 3.5, 1.4, 0.2]}, 200),
    ("/models/iris/predict", {"features": [5.1]}, 400),
    ("/models/no-such-model/predict", {"features": [5.1]}, 404),
    ("/models", None, 200),
]


def check(url):
    for path, body, expected_status in TRAFFIC:
        status = call(url + path, body)
        assert status == expected_status, "{} with {}: {}, expected {}".format(path, body, status, expected_status)

    with urllib.request.urlopen(url + "/metrics", timeout=30) as response:
        text = response.read()
    assert b"model_predictions_total{" in text, "the traffic left no trace in /metrics"
    lint = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LINT_SECONDS,
    )
    complaints = lint.stdout.decode("utf-8", "replace").strip()
    assert lint.returncode == 0 and not complaints, "promtool ended with {}: {}".format(lint.returncode, complaints)


def call(url, body):
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
