"""One measurement: load on one server, or the raw loop, with what the server's processes spent meanwhile."""

import json
import math
import subprocess
import time

import process
from clients import LoadFailed
from paths import CONTESTANTS

# A closed loop must go round a few times in a measurement; slow models get longer ones, within reason.
ROUNDS_AT_LEAST, LONGEST_SECONDS = 2.5, 30
RAW_BATCHES = [1, 2, 4, 8, 16, 32, 64]


def measure(server, connections, seconds):
    """Measures one server at this many connections and returns the cell of the table."""
    around = ROUNDS_AT_LEAST * connections * server.latency_seconds
    seconds = math.ceil(max(seconds, min(around, LONGEST_SECONDS)))
    client = server.contestant.client
    client.load(server, connections, seconds=1)
    server.settle()
    before, core_before, start = server.cpu_seconds(), core_busy(server), time.monotonic()
    result = client.load(server, connections, seconds)
    cpu, core, elapsed = server.cpu_seconds() - before, core_busy(server) - core_before, time.monotonic() - start
    peak_kib = server.peak_kib()
    server.settle()
    server.empty_log()
    answered = result["requests"] - result["status_errors"]
    kinds = ["status", "connect", "read", "write"]
    errors = {kind: result[f"{kind}_errors"] for kind in kinds} | {"timeout": result["timeouts"]}
    return {
        "contestant": server.name,
        "model": server.model.name,
        "connections": connections,
        "seconds": result["seconds"],
        "answered": answered,
        "per_second": answered / result["seconds"],
        "p50_ms": result["p50_ms"] if answered else None,
        "p99_ms": result["p99_ms"] if answered else None,
        "cpu_us": cpu / answered * 1e6 if answered else None,
        "peak_mib": peak_kib / 1024,
        "errors": {kind: count for kind, count in errors.items() if count},
        "foreign_share": max(0.0, core - cpu) / elapsed,
    }


def core_busy(server):
    return process.core_busy_seconds(server.setup.server_core)


def measure_raw(model, setup, seconds, batches=None):
    """Measures `Session::run` at each batch size, on the server's core; returns a cell a size."""
    batches = batches or RAW_BATCHES
    each = max(0.2, seconds / 2)
    arguments = ["--model", str(model.file), "--row", str(model.body_file("v2.json")), "--onnxruntime", setup.onnxruntime]
    arguments += ["--batches", ",".join(map(str, batches)), "--seconds", str(each)]
    command = ["taskset", "--cpu-list", str(setup.server_core), str(CONTESTANTS / "raw"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LoadFailed(f"raw failed: {done.stderr.strip()}")
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    # The loop never waits: when it was not on its core, somebody else was.
    own = sum(run["cpu_seconds"] for run in runs) / sum(run["seconds"] for run in runs)
    return [raw_cell(run, model, max(0.0, 1 - own)) for run in runs]


def raw_cell(run, model, foreign_share):
    return {
        "contestant": f"raw batch {run['batch']}",
        "model": model.name,
        "connections": None,
        "batch": run["batch"],
        "seconds": run["seconds"],
        "answered": run["rows"],
        "per_second": run["rows_per_second"],
        "p50_ms": run["p50_ms"],
        "p99_ms": run["p99_ms"],
        "cpu_us": run["cpu_seconds"] / run["rows"] * 1e6,
        "peak_mib": run["peak_kib"] / 1024,
        "errors": {},
        "foreign_share": foreign_share,
    }
