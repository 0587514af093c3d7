"""How a contestant is asked, and loaded: HTTP by the standard library and wrk, gRPC by grpc_client.py and h2load."""

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request

from paths import HERE, LOGS, VENVS

WRK_TIMEOUT = "60s"


class LoadFailed(Exception):
    """Why a measurement gave nothing, in one line."""


class NotRight(Exception):
    """Why there was no answer, in one line; asking again may help."""


class Http:
    """One POST again and again. `headers` go beside the content type."""

    def __init__(self, content_type="application/json", **headers):
        self.headers = {"content-type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}

    def ask(self, server):
        """Returns the body of the answer to the model's request."""
        request = urllib.request.Request(self.url(server), server.body.read_bytes(), self.headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise NotRight(f"status {error.code}: {error.read()[:200]!r}") from error
        except OSError as error:
            raise NotRight(str(error)) from error

    def latency(self, server):
        """Returns the best of three latencies in seconds, to size the measurements by; it is not a result."""
        times = []
        for _ in range(3):
            start = time.monotonic()
            self.ask(server)
            times.append(time.monotonic() - start)
        return min(times)

    def load(self, server, connections, seconds):
        """Sends the request on so many connections, one at a time on each; returns what load.lua prints."""
        command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
        headers = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        environment = dict(os.environ, BENCH_BODY=str(server.body), BENCH_HEADERS=headers)
        script = ["--timeout", WRK_TIMEOUT, "--script", str(HERE / "load.lua"), self.url(server)]
        output = run_pinned(server, command + script, env=environment)
        return json.loads(output.strip().splitlines()[-1])

    def url(self, server):
        return f"http://127.0.0.1:{server.port}{server.contestant.path}"


class Grpc:
    """One unary call again and again, each connection with one call at a time. The body is the message with its prefix."""

    def ask(self, server):
        """Returns the last output as JSON, in the form of an answer."""
        return json.dumps(self.answer(server)).encode()

    def latency(self, server):
        return self.answer(server)["seconds"]

    def load(self, server, connections, seconds):
        samples = LOGS / f"h2load-{server.port}.tsv"
        samples.unlink(missing_ok=True)
        command = ["h2load", "--threads", "1", "--clients", str(connections), "--max-concurrent-streams", "1"]
        command += ["--duration", str(seconds), "--data", str(server.body), "--log-file", str(samples)]
        command += ["--header", "content-type: application/grpc", "--header", "te: trailers"]
        output = run_pinned(server, [*command, f"http://127.0.0.1:{server.port}{server.contestant.path}"])
        statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
        if not statuses:
            raise LoadFailed(f"h2load said nothing of statuses: {output[-300:]!r}")
        good, *bad = map(int, statuses.groups())
        failed = int(re.search(r"(\d+) failed", output).group(1))
        milliseconds = sorted(int(line.split("\t")[2]) / 1e3 for line in samples.read_text().splitlines())
        samples.unlink()
        counts = {"requests": good + sum(bad), "status_errors": sum(bad), "read_errors": failed}
        counts |= {"connect_errors": 0, "write_errors": 0, "timeouts": 0, "seconds": float(seconds)}
        return counts | {"p50_ms": percentile(milliseconds, 0.5), "p99_ms": percentile(milliseconds, 0.99)}

    def answer(self, server):
        arguments = ["ask", f"127.0.0.1:{server.port}", str(server.body)]
        done = grpc_client(*arguments)
        if done.returncode:
            raise NotRight(done.stderr.strip().splitlines()[-1] if done.stderr else "no answer")
        return json.loads(done.stdout)


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def grpc_client(*arguments):
    command = [str(VENVS / "grpc" / "bin" / "python"), str(HERE / "grpc_client.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def run_pinned(server, command, **options):
    """Runs a load generator on its core; returns what it printed."""
    pinned = ["taskset", "--cpu-list", str(server.setup.load_core), *command]
    done = subprocess.run(pinned, capture_output=True, text=True, **options)
    if done.returncode or not done.stdout.strip():
        raise LoadFailed(f"{command[0]} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout
