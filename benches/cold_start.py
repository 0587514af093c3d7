"""How long from starting onnxd to its first prediction, and how much memory it then holds.

    make build && python3 benches/cold_start.py

Serves models/iris alone, several times over, and prints medians. Linux only: memory is read from /proc.
"""

import http.client
import json
import pathlib
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMAND = [ROOT / "target/release/onnxd", "serve", ROOT / "models/iris", "--host", "127.0.0.1", "--port", "0"]
BODY = json.dumps({"features": [5.1, 3.5, 1.4, 0.2]})
STARTS = 21
REQUESTS = 1000


def main():
    starts = [measure() for _ in range(STARTS)]
    first_answer, memory, memory_later = (statistics.median(column) for column in zip(*starts))
    print(f"start to first prediction: {first_answer * 1e3:.0f} ms (median of {STARTS})")
    print(f"resident memory then: {memory / 1024:.0f} MiB; after {REQUESTS} requests: {memory_later / 1024:.0f} MiB")


def measure():
    started = time.perf_counter()
    with subprocess.Popen([*COMMAND, "--log-format", "json", "--access-log", "off"], stderr=subprocess.PIPE, text=True) as daemon:
        try:
            address = json.loads(daemon.stderr.readline())["address"]
            connection = http.client.HTTPConnection(address)
            while predict(connection) != 200:
                pass
            first_answer = time.perf_counter() - started
            memory = resident_kib(daemon.pid)
            for _ in range(REQUESTS):
                predict(connection)
            return first_answer, memory, resident_kib(daemon.pid)
        finally:
            daemon.kill()


def predict(connection):
    connection.request("POST", "/predict", BODY)
    response = connection.getresponse()
    response.read()
    return response.status


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
