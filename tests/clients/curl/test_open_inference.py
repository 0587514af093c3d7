"""curl, as one types it: no content type, bodies from files, bytes."""

import json
import struct
import subprocess

ROW = '{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'


def curl(*arguments, body=None):
    """Runs curl; returns the status and what was answered."""
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--write-out", "%{stderr}%{http_code}", *arguments]
    done = subprocess.run(command, input=body, capture_output=True, timeout=30, check=True)
    return int(done.stderr), done.stdout


def test_infer(daemon):
    status, body = curl("-d", ROW, daemon.url + "/v2/models/iris/infer")
    assert status == 200
    answer = json.loads(body)
    assert answer["outputs"][0] == {"name": "label", "datatype": "INT64", "shape": [1], "data": [0]}


def test_bytes_alone(daemon):
    row = struct.pack("<4f", 5.1, 3.5, 1.4, 0.2)
    header = "Inference-Header-Content-Length: 0"
    status, body = curl("-H", header, "--data-binary", "@-", daemon.url + "/v2/models/iris/infer", body=row)
    assert status == 200
    assert body.endswith(struct.pack("<3f", 0.9797005, 0.020298982, 5.271873e-7))


def test_refusals_are_json(daemon):
    for arguments, expected in [
        (["-d", "x", daemon.url + "/v2/models/iris/infer"], 400),
        (["-d", ROW, daemon.url + "/v2/models/other/infer"], 404),
        (["-d", ROW, daemon.url + "/v2/models/iris/versions/7/infer"], 404),
        ([daemon.url + "/v2/models/iris/infer"], 405),
        (["-d", "", daemon.url + "/v2/repository/models/iris/load"], 503),
    ]:
        status, body = curl(*arguments)
        assert status == expected and json.loads(body)["error"], (arguments, status, body)


def test_metadata(daemon):
    for path in ["/v2", "/v2/health/live", "/v2/models/iris", "/v2/models/iris/config", "/v2/models/stats"]:
        status, body = curl(daemon.url + path)
        assert status == 200 and json.loads(body), path
