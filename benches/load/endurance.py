#!/usr/bin/env python3
"""Tries what onnxd must endure: many shapes, large bodies, probes while all cores are busy, large compressed answers.

`make endurance`. Each case starts onnxd on all cores, prints its figures and whether they are what was asked;
README.md beside this file says what they mean. The exit status is 1 if one is not.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from statistics import median

import install
import process
from install import say
from paths import HERE, LOGS, MODELS, WORK
from prober import Prober, described, percentile
from servers import free_port

MEBI = 1 << 20
SLOWEST_PROBE_MS = 50
START_SECONDS = 60


class Daemon:
    """onnxd with these models and flags. Use as a context manager."""

    def __init__(self, binary, name, models, *flags):
        self.port = free_port()
        folder = WORK / "endurance" / name
        shutil.rmtree(folder, ignore_errors=True)
        for model, manifest in models.items():
            (folder / model / "1").mkdir(parents=True)
            shutil.copyfile(MODELS / model / "1" / "model.onnx", folder / model / "1" / "model.onnx")
            (folder / model / "model.toml").write_text(manifest)
        command = [binary, "serve", str(folder), "--host", "127.0.0.1", "--port", str(self.port), "--access-log", "off"]
        LOGS.mkdir(parents=True, exist_ok=True)
        with (LOGS / f"endurance-{name}.log").open("wb") as log:
            self.child = subprocess.Popen([*command, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.child.poll() is None:
            try:
                if self.get("/health/ready") == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        self.child.kill()
        raise install.Missing(f"onnxd was not ready within {START_SECONDS} s; see {LOGS}")

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(timeout=40)
        finally:
            self.child.kill()

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)

    def get(self, path):
        connection = self.connection()
        connection.request("GET", path)
        return connection.getresponse().status

    def mib(self, field):
        return process.memory_kib(self.child.pid, field) / 1024

    @contextmanager
    def load(self, model, connections, seconds):
        """Has wrk ask a model meanwhile."""
        command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
        command += ["--timeout", "60s", "--script", str(HERE / "load.lua")]
        body = MODELS / model / "1" / "body.json"
        url = f"http://127.0.0.1:{self.port}/models/{model}/predict"
        environment = dict(os.environ, BENCH_BODY=str(body), BENCH_HEADERS="content-type: application/json\n")
        wrk = subprocess.Popen([*command, url], env=environment, stdout=subprocess.PIPE, text=True)
        yield
        result = json.loads(wrk.communicate()[0].strip().splitlines()[-1])
        print(f"  {model}: {result['requests'] / result['seconds']:,.0f} requests/s, {result['status_errors']} refused")


def post(connection, path, body, headers=()):
    """Returns the status and the body of the answer; status 0 where the server closed instead."""
    try:
        connection.request("POST", path, body, {"content-type": "application/json", **dict(headers)})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""


def judge(what, is_so):
    print(f"  {'met' if is_so else 'MISSED'}: {what}", flush=True)
    return is_so


def shapes(binary):
    """2,000 random shapes through a dynamic model, then 2,000 others: resident memory levels off."""
    random.seed(5)
    values = [f"{random.uniform(-1, 1):.4f}" for _ in range(256)]

    def ask(connection, height, width):
        channel = "[" + ",".join(["[" + ",".join(values[:width]) + "]"] * height) + "]"
        status, answer = post(connection, "/predict", f'{{"inputs":{{"image":[[{channel},{channel},{channel}]]}}}}')
        assert status == 200, answer[:300]

    def client(daemon, sizes):
        connection = daemon.connection()
        for height, width in sizes:
            ask(connection, height, width)

    with Daemon(binary, "shapes", {"dynamic": ""}) as daemon, ThreadPoolExecutor(4) as pool:
        resident, start = [daemon.mib("VmRSS")], time.monotonic()
        for _ in range(20):
            sizes = [[(random.randint(16, 256), random.randint(16, 256)) for _ in range(50)] for _ in range(4)]
            list(pool.map(lambda each: client(daemon, each), sizes))
            resident.append(daemon.mib("VmRSS"))
        print(f"  resident MiB at 0, 200, … 4,000: {', '.join(f'{each:.0f}' for each in resident)}")
        print(f"  peak {daemon.mib('VmHWM'):.0f} MiB; {4000 / (time.monotonic() - start):.0f} requests/s")
        growth = median(resident[16:]) / median(resident[6:11])
        return judge(f"the last thousand has {growth:.2f} × what the second had, at most 1.1", growth <= 1.1)


def bodies(binary):
    """A JSON body of 100 MB: refused by default, served where it may be; probes are answered meanwhile."""
    row = "[" + ",".join(["0.1234"] * 128) + "]"
    body = ('{"features":[' + ",".join([row] * (100 * 10**6 // (len(row) + 1))) + "]}").encode()
    fine = True
    for name, flags, wanted in [("refused", [], 413), ("served", ["--max-body-bytes", "128MiB", "--max-rows", "1000000"], 200)]:
        with Daemon(binary, f"body-{name}", {"mlp": ""}, *flags) as daemon:
            small = (MODELS / "mlp" / "1" / "body.json").read_bytes()
            assert post(daemon.connection(), "/predict", small)[0] == 200
            before, start = daemon.mib("VmHWM"), time.monotonic()
            with Prober(daemon.port, ["/health/live"]) as prober:
                status, answer = post(daemon.connection(), "/predict", body)
            seconds, more = time.monotonic() - start, daemon.mib("VmHWM") - before
            size = len(body) / MEBI
            print(f"  {name}: status {status}, {len(answer):,} bytes back after {seconds:.1f} s;", end=" ")
            print(f"{more:.0f} MiB more at the peak, {more / size:.2f} × its {size:.0f} MiB")
            print(f"  /health/live meanwhile: {described(prober.all())}")
            fine &= judge(f"it is {name} with at most 2 × its size", status == wanted and more <= 2 * size)
            fine &= judge(f"p99 under {SLOWEST_PROBE_MS} ms", percentile(prober.all(), 0.99) < SLOWEST_PROBE_MS)
    return fine


def probes(binary, seconds=15):
    """Probes are answered in time while every core is busy with inference, in both lanes."""
    threads = f"[instances]\nintra_op_threads = {len(os.sched_getaffinity(0))}\n"
    models = {"transformer": threads, "mlp": "", "iris": (MODELS / "iris" / "model.toml").read_text()}
    paths = ["/health", "/health/live", "/health/ready", "/metrics"]
    with Daemon(binary, "probes", models) as daemon:
        with ExitStack() as loads:
            for model in models:
                loads.enter_context(daemon.load(model, 32, seconds))
            with Prober(daemon.port, paths) as prober:
                time.sleep(seconds - 1)
    for path in paths:
        print(f"  {path}: {described(prober.of(path))}")
    slowest = max(percentile(prober.of(path), 0.99) for path in paths)
    return judge(f"p99 under {SLOWEST_PROBE_MS} ms", slowest < SLOWEST_PROBE_MS)


def compressed(binary):
    """Answers of 20 MB are compressed without holding up the others, on one event loop."""
    random.seed(6)
    rows = [f"[{random.uniform(4, 8):.2f},{random.uniform(2, 4):.2f},{random.uniform(1, 7):.2f},0.2]" for _ in range(120_000)]
    body = ('{"features":[' + ",".join(rows) + "]}").encode()
    manifest, fine = (MODELS / "iris" / "model.toml").read_text(), True
    with Daemon(binary, "compressed", {"iris": manifest}, "--http-threads", "1", "--max-rows", "1000000") as daemon:
        plain = post(daemon.connection(), "/predict", body)[1]
        for coding in ["gzip", "zstd", "identity"]:
            with Prober(daemon.port, ["/health/live"]) as prober, ThreadPoolExecutor(2) as pool:
                ask = lambda _: post(daemon.connection(), "/predict", body, {"accept-encoding": coding}.items())
                answers = list(pool.map(ask, range(4)))
            assert all(status == 200 for status, _ in answers)
            size = f"{len(plain) / 1e6:.1f} MB as {len(answers[0][1]) / 1e6:.2f} MB"
            print(f"  {coding}, {size}: /health/live meanwhile: {described(prober.all())}")
            fine &= judge(f"none takes {SLOWEST_PROBE_MS} ms", prober.all()[-1] < SLOWEST_PROBE_MS)
    return fine


def instances(binary):
    """What further instances of a model cost in memory."""
    for model in ["mlp", "transformer", "resnet"]:
        resident = []
        for count in [1, 2, 4]:
            manifest = f"[instances]\ncount = {count}\nintra_op_threads = 1\n"
            with Daemon(binary, "instances", {model: manifest}) as daemon:
                resident.append(daemon.mib("VmRSS"))
        size = (MODELS / model / "1" / "model.onnx").stat().st_size / MEBI
        print(f"  {model} ({size:.1f} MiB): " + ", ".join(f"{each:.0f}" for each in resident) + " MiB with 1, 2, 4 instances")
    return True


CASES = {"shapes": shapes, "bodies": bodies, "probes": probes, "compressed": compressed, "instances": instances}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES), help="of " + ", ".join(CASES))
    parser.add_argument("--onnxd", metavar="FILE", help="try this binary instead of building one")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.cases.split(",") if name not in CASES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(CASES)}")
    try:
        install.find_tool("wrk")
        install.fetch_onnxruntime()
        binary = arguments.onnxd or str(install.build_onnxd())
        install.make_models()
        fine = True
        for name in arguments.cases.split(","):
            print(f"{name}: {CASES[name].__doc__}", flush=True)
            fine &= CASES[name](binary)
        return 0 if fine else 1
    except install.Missing as error:
        say(f"stopped: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
