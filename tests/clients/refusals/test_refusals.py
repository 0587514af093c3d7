"""Refusals that are sent before the request's body is read: every client sees status, body and headers, every time."""

import asyncio
import contextlib
import http.client
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import httpx
import pytest
import requests
from serving import MODELS, OUTPUT, serving

# Bytes of the body, tries.
SIZES = [(1 << 20, 8), (20 << 20, 3)]
TIMEOUT_SECONDS = 60
NODE = Path(__file__).with_name("one_refusal.mjs")
ROW = b'{"features":[5.1,3.5,1.4,0.2]}'
# A request waits this long for others to be batched with, and holds its place meanwhile.
HELD_SECONDS = 10
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# Path, method, headers, expected status, whether to try again.
REFUSALS = {
    "unknown model": ("/models/none/predict", "POST", {}, 404, False),
    "wrong method": ("/models/iris/predict", "PUT", {}, 405, False),
    "bad timeout": ("/models/iris/predict", "POST", {"x-request-timeout-ms": "soon"}, 400, False),
    "unknown coding": ("/models/iris/predict", "POST", {"content-encoding": "br"}, 415, False),
    "not loaded": ("/models/broken/predict", "POST", {}, 503, True),
    "too many in flight": ("/models/slow/predict", "POST", {}, 429, True),
}


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """A daemon with a model, one that cannot be loaded, and one whose only place in flight is taken."""
    models = tmp_path_factory.mktemp("models")
    for name in ["iris", "slow", "broken"]:
        shutil.copytree(MODELS / "iris", models / name)
    (models / "broken" / "1" / "model.onnx").write_bytes(b"not a model")
    manifest = models / "slow" / "model.toml"
    batching = '\n[batching]\nlane = "worker"\nmax_queue_delay_microseconds = {}\n'.format(HELD_SECONDS * 1_000_000)
    manifest.write_text(manifest.read_text() + batching)
    daemon = serving(models, "refusals", "--max-in-flight", "1")
    # The last that is loaded.
    daemon.ready_path = "/v2/models/slow/ready"
    with daemon as running:
        yield running
        running.stop()


def while_place_is_held(url, send):
    """Calls `send` while the only place in flight is taken, by a request that waits to be batched."""
    while True:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_SECONDS)
        connection.request("POST", "/models/slow/predict", ROW)
        wait_for_in_flight(url, 1)
        try:
            answer = send()
            # The delay counts from the oldest request in the queue, even one whose client has left: it may be over.
            if in_flight(url) == 1:
                return answer
        finally:
            # Leaving gives the place back.
            connection.close()
            wait_for_in_flight(url, 0)


def in_flight(url):
    """How many predictions of `slow` are without their answers."""
    with OPENER.open(url + "/metrics", timeout=TIMEOUT_SECONDS) as response:
        metrics = response.read().decode()
    return int(re.search(r'^prediction_inflight{model="slow",version="1"} (\d+)$', metrics, re.MULTILINE)[1])


def wait_for_in_flight(url, count):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while in_flight(url) != count:
        assert time.monotonic() < deadline, "never {} in flight".format(count)
        time.sleep(0.01)


def by_urllib(url, method, headers, body):
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as raised:
        OPENER.open(request, timeout=TIMEOUT_SECONDS)
    with raised.value as refusal:
        return refusal.status, refusal.headers, refusal.read()


def by_http_client(url, method, headers, body):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, parts.path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def by_requests(url, method, headers, body):
    with requests.Session() as session:
        session.trust_env = False
        response = session.request(method, url, headers=headers, data=body, timeout=TIMEOUT_SECONDS)
        return response.status_code, response.headers, response.content


def by_httpx(url, method, headers, body, http2=False):
    with httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=TIMEOUT_SECONDS) as client:
        response = client.request(method, url, headers=headers, content=body)
        return response.status_code, response.headers, response.content


def by_httpx_http2(url, method, headers, body):
    return by_httpx(url, method, headers, body, http2=True)


def by_aiohttp(url, method, headers, body):
    async def send():
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.request(method, url, headers=headers, data=body) as response:
                return response.status, response.headers, await response.read()

    return asyncio.run(send())


def by_curl(url, method, headers, body, *options):
    (OUTPUT / "refused_body").write_bytes(body)
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(TIMEOUT_SECONDS), *options]
    command += ["--request", method, "--data-binary", "@{}".format(OUTPUT / "refused_body")]
    for name, value in headers.items():
        command += ["--header", "{}: {}".format(name, value)]
    command += ["--write-out", '%{stderr}{"status":%{http_code},"headers":%{header_json}}', url]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stderr)
    return said["status"], {name: values[0] for name, values in said["headers"].items()}, done.stdout


def by_curl_that_does_not_ask_first(*request):
    return by_curl(*request, "--header", "expect:")


def by_curl_http2(*request):
    return by_curl(*request, "--http2-prior-knowledge")


def by_node(client):
    def send(url, method, headers, body):
        if shutil.which("node") is None:
            print("node is not installed: its clients were not tried")
            pytest.skip("node is not installed")
        command = ["node", str(NODE), client, url, method, str(len(body)), json.dumps(headers)]
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_SECONDS)
        assert done.returncode == 0, done.stderr.decode()
        said = json.loads(done.stdout)
        return said["status"], {"retry-after": said["retry_after"]}, said["body"]

    return send


CLIENTS = {
    "urllib": by_urllib,
    "http.client": by_http_client,
    "requests": by_requests,
    "httpx": by_httpx,
    "httpx over HTTP/2": by_httpx_http2,
    "aiohttp": by_aiohttp,
    "curl": by_curl,
    "curl without expect": by_curl_that_does_not_ask_first,
    "curl over HTTP/2": by_curl_http2,
    "node's http": by_node("http"),
    "node's fetch": by_node("fetch"),
    "node's http2": by_node("http2"),
}


@pytest.mark.parametrize("size,tries", SIZES)
@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("client", CLIENTS)
def test_refusal_arrives(refusing, client, refusal, size, tries):
    path, method, headers, expected, try_again = REFUSALS[refusal]
    body = b" " * size
    failures = []

    def send():
        return CLIENTS[client](refusing.url + path, method, headers, body)

    for _ in range(tries):
        try:
            answer = while_place_is_held(refusing.url, send) if expected == 429 else send()
        except Exception as error:
            failures.append(repr(error))
            continue
        status, received, text = answer
        retry_after = received.get("retry-after")
        if status != expected or not json.loads(text)["error"] or retry_after != ("1" if try_again else None):
            failures.append((status, retry_after, text))
    assert not failures, "{} of {}: {}".format(len(failures), tries, failures)
