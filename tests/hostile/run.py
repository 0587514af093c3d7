#!/usr/bin/env python3
"""Mixed hostile traffic beside a reference client: every answer of the client must be right, and its connection must hold.

`make hostile` (HOSTILE_SECONDS=1200). Mutates the seeds of the fuzz targets and sends them over all protocols: HTTP/1
with every body form, half requests, clients that leave, gzip bombs, and gRPC as raw messages if grpcio is installed.
The exit status is 1 for a wrong answer, a reset, a server that ends, or memory that grows.
"""

import argparse
import gzip
import http.client
import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

from daemon import Daemon  # noqa: E402

SEEDS = ROOT / "fuzz" / "seeds"
# Path and content type of each group of seeds; a path is picked for each body.
TARGETS = {
    "native_decode": (["/predict", "/models/digits/predict", "/models/text/predict", "/models/ride_duration/predict"], None),
    "oip_decode": (["/v2/models/iris/infer", "/v2/models/digits/infer", "/v2/models/text/infer"], None),
    "tfs_decode": (["/v1/models/iris:predict", "/v1/models/iris:classify", "/v1/models/text:predict"], None),
    "mlflow_decode": (["/invocations"], "text/csv"),
}
# So many bytes at the front of a seed tell the fuzz target what the rest is.
SELECTORS = {"native_decode": 1, "oip_decode": 3, "tfs_decode": 2, "mlflow_decode": 2, "grpc_decode": 2}
REFERENCE = [
    ("/predict", {"features": [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]}),
    ("/models/ride_duration/predict", {"PULocationID": 100, "DOLocationID": 200, "trip_distance": 3.5}),
    ("/v1/models/iris:predict", {"instances": [[5.1, 3.5, 1.4, 0.2]]}),
    (
        "/v2/models/iris/infer",
        {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]},
    ),
]
ATTACKERS = 6
TIMEOUT_SECONDS = 30
# How much more memory the last quarter of the time may hold than the second.
GROWTH = 1.25


class Hostile:
    def __init__(self, daemon, seconds):
        self.host, self.port = daemon.address.split(":")
        self.grpc = daemon.grpc
        self.until = time.monotonic() + seconds
        self.seen = Counter()
        self.faults = []
        self.memory = []

    def over(self):
        return time.monotonic() >= self.until

    def post(self, connection, path, body, headers=None):
        connection.request("POST", path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()

    def connection(self):
        return http.client.HTTPConnection(self.host, int(self.port), timeout=TIMEOUT_SECONDS)

    def reference(self):
        """Asks the same over one connection, and compares each answer with the first."""
        connection = self.connection()
        first = {}
        while not self.over():
            for path, body in REFERENCE:
                try:
                    status, answer = self.post(connection, path, json.dumps(body))
                except (OSError, http.client.HTTPException) as error:
                    self.faults.append(f"{path}: the reference client was cut off: {error!r}")
                    connection = self.connection()
                    continue
                self.seen[f"reference {status}"] += 1
                # Under load a refusal is right; an answer that differs never is.
                if status in (429, 503, 504):
                    continue
                answer = json.loads(answer)
                answer.pop("prediction_time", None)
                if status != 200 or not same(first.setdefault(path, answer), answer):
                    self.faults.append(f"{path}: {status} {answer}, expected {first.get(path)}")

    def attack(self, seed):
        rng = random.Random(seed)
        seeds = {name: bodies(name) for name in TARGETS}
        connection = None
        while not self.over():
            manner = rng.randrange(10)
            try:
                if manner == 0:
                    self.half_request(rng)
                elif manner == 1:
                    self.leave(rng, seeds)
                else:
                    connection = connection or self.connection()
                    name = rng.choice(list(TARGETS))
                    paths, content_type = TARGETS[name]
                    body = mutated(rng, rng.choice(seeds[name]))
                    headers = {"content-type": content_type} if content_type and rng.random() < 0.5 else {}
                    if manner == 2:
                        body, headers = gzip.compress(body + b" " * rng.randrange(1 << 24)), {"content-encoding": "gzip"}
                    status, _ = self.post(connection, rng.choice(paths), body, headers)
                    self.seen[f"hostile {status}"] += 1
            except (OSError, http.client.HTTPException):
                self.seen["hostile cut off"] += 1
                connection = None

    def half_request(self, rng):
        with socket.create_connection((self.host, int(self.port)), timeout=TIMEOUT_SECONDS) as stream:
            whole = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\n" + bytes(rng.randbytes(50))
            stream.sendall(whole[: rng.randrange(1, len(whole))])
        self.seen["hostile half"] += 1

    def leave(self, rng, seeds):
        body = rng.choice(seeds["native_decode"])
        with socket.create_connection((self.host, int(self.port)), timeout=TIMEOUT_SECONDS) as stream:
            stream.sendall(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        self.seen["hostile left"] += 1

    def attack_grpc(self, seed):
        try:
            import grpc
        except ImportError:
            self.seen["gRPC not tried: grpcio is not installed"] += 1
            return
        rng = random.Random(seed)
        seeds = bodies("grpc_decode")
        methods = ["/inference.GRPCInferenceService/ModelInfer", "/onnxd.v1.PredictionService/Predict"]
        with grpc.insecure_channel(self.grpc) as channel:
            calls = [channel.unary_unary(method, bytes, bytes) for method in methods]
            while not self.over():
                try:
                    rng.choice(calls)(mutated(rng, rng.choice(seeds)), timeout=TIMEOUT_SECONDS)
                    self.seen["gRPC OK"] += 1
                except grpc.RpcError as error:
                    self.seen[f"gRPC {error.code().name}"] += 1

    def watch(self, pid):
        while not self.over():
            status = Path(f"/proc/{pid}/status").read_text()
            line = next((line for line in status.splitlines() if line.startswith("VmRSS")), None)
            if line is None:
                self.faults.append("the server ended")
                self.until = 0
                return
            self.memory.append(int(line.split()[1]) / 1024)
            time.sleep(1)


def bodies(name):
    return [file.read_bytes()[SELECTORS[name] :] for file in sorted((SEEDS / name).iterdir())]


def mutated(rng, body):
    """Changes, drops, repeats and inserts a few bytes; one body in four stays as it is."""
    body = bytearray(body)
    for _ in range(rng.choice([0, 1, 2, 8])):
        at = rng.randrange(len(body) + 1)
        manner = rng.randrange(4)
        if manner == 0 and at < len(body):
            body[at] = rng.randrange(256)
        elif manner == 1:
            del body[at : at + rng.randrange(8)]
        elif manner == 2:
            body[at:at] = body[max(at - 16, 0) : at] * rng.randrange(64)
        else:
            body[at:at] = rng.choice([b"1e999", b"-9223372036854775808", b"[]", b"null", b"[[[[", b'"\\ud800"', b",,,"])
    return bytes(body)


def same(left, right):
    """Compares answers; numbers may differ in their last digits, since batches of other sizes round differently."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        return abs(left - right) <= 1e-4 * max(1.0, abs(left))
    return left == right


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", default=ROOT / "target" / "release" / "onnxd")
    arguments.add_argument("--seconds", type=int, default=1200)
    arguments = arguments.parse_args()
    log = ROOT / "target" / "hostile.log"
    log.parent.mkdir(exist_ok=True)
    with Daemon(arguments.binary, ROOT / "models", log, "--default-model", "iris", "--access-log", "off") as daemon:
        hostile = Hostile(daemon, arguments.seconds)
        threads = [threading.Thread(target=hostile.reference), threading.Thread(target=hostile.attack_grpc, args=(99,))]
        threads += [threading.Thread(target=hostile.attack, args=(seed,)) for seed in range(ATTACKERS)]
        for thread in threads:
            thread.start()
        hostile.watch(daemon.pid)
        for thread in threads:
            thread.join()
        daemon.stop()
    quarter = max(len(hostile.memory) // 4, 1)
    before, after = max(hostile.memory[quarter : 2 * quarter]), max(hostile.memory[-quarter:])
    if after > before * GROWTH:
        hostile.faults.append(f"memory grows: {before:.0f} MiB in the second quarter, {after:.0f} MiB in the last")
    for name, count in sorted(hostile.seen.items()):
        print(f"{count:9}  {name}")
    print(f"resident: {before:.0f} MiB at most in the second quarter of the time, {after:.0f} MiB in the last")
    for fault in hostile.faults[:20]:
        print("FAULT", fault)
    print(f"{hostile.seen['reference 200']} right answers, {len(hostile.faults)} faults")
    return 1 if hostile.faults or not hostile.seen["reference 200"] else 0


if __name__ == "__main__":
    os.environ.setdefault("no_proxy", "*")
    sys.exit(main())
