"""perf_analyzer measures the daemon by each protocol that it speaks; `perf_analyzer.sh` prepares what this needs.

What it tells of the server's side it reads from the daemon: the model's configuration, and its statistics before and after.
"""

import argparse
import csv
import json
import os
import subprocess
import urllib.request
from pathlib import Path

from daemon import Daemon

MODEL = "breast_cancer"
# Rows of a request: enough for each stage to take microseconds, which is what is told.
ROWS = 64
REQUESTS = 200
LIMIT_SECONDS = 120
THROUGHPUT = "Inferences/Second"
SERVER_SPLIT = ["Server Queue", "Server Compute Input", "Server Compute Infer", "Server Compute Output"]
# What is left of a client's wait once the server's parts are taken off.
OTHERWISE = "Network+Server Send/Recv"
WAYS = {
    "REST with bytes": ["-i", "http"],
    "REST with JSON": ["-i", "http", "--input-tensor-format", "json", "--output-tensor-format", "json"],
    "gRPC": ["-i", "grpc"],
    "gRPC in a stream": ["-i", "grpc", "--async", "--streaming"],
}


def main():
    arguments = parse_arguments()
    with Daemon(arguments.daemon, arguments.models, arguments.output / "onnxd.log") as daemon:
        for way, options in WAYS.items():
            check(way, options, daemon, arguments)
        daemon.stop()
    print("perf-analyzer: passed")


def check(way, options, daemon, arguments):
    before = requests_of(daemon)
    row = measure(options, daemon, arguments)
    after = requests_of(daemon)
    told = "{}: {}".format(way, row)
    assert after["fail"] == before["fail"], "requests failed by {}".format(told)
    assert after["success"] - before["success"] >= REQUESTS, "requests are missing by {}".format(told)
    assert all(float(row[part]) > 0 for part in [THROUGHPUT, *SERVER_SPLIT, OTHERWISE]), told
    split = ", ".join("{} {} us".format(part.removeprefix("Server ").lower(), row[part]) for part in SERVER_SPLIT)
    print("ok {}: {} rows/s; {}".format(way, row[THROUGHPUT], split))


def requests_of(daemon):
    """How many requests succeeded and failed so far, by the daemon's own count."""
    with urllib.request.urlopen("{}/v2/models/{}/stats".format(daemon.url, MODEL), timeout=30) as response:
        statistics = json.load(response)["model_stats"][0]["inference_stats"]
    return {outcome: statistics[outcome]["count"] for outcome in ("success", "fail")}


def measure(options, daemon, arguments):
    """Runs the program; returns the only row of its report."""
    report = arguments.output / "report.csv"
    address = {"http": daemon.address, "grpc": daemon.grpc}[options[1]]
    command = [arguments.program, "-m", MODEL, "-u", address, *options, "-b", str(ROWS), "--concurrency-range", "2"]
    command += ["--request-count", str(REQUESTS), "-f", str(report)]
    environment = {**os.environ, "LD_LIBRARY_PATH": arguments.libraries}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert done.returncode == 0, "perf_analyzer ended with {}: {}{}".format(done.returncode, done.stdout, done.stderr)
    with open(report, newline="", encoding="utf-8") as rows:
        (row,) = csv.DictReader(rows)
    return row


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--daemon", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--libraries", required=True)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
