"""The overload test: arrivals at a multiple of what a server can do, from clients that give up after five seconds."""

import json
import subprocess
import threading

import load
from clients import LoadFailed
from paths import CONTESTANTS
from table import layout, number
from targets import Target

MODEL = "transformer"
CAPACITY_CONNECTIONS, FACTOR = 32, 4
PATIENCE_SECONDS, OUTSTANDING = 5, 16384
# A client that sends later than this is too busy to say how fast a refusal was.
LATE_MS = 2


class MemoryWatch:
    """Samples a server's resident memory once a second, in a thread, while the context lasts."""

    def __init__(self, server):
        self.server, self.samples_mib, self.ended = server, [], threading.Event()
        self.thread = threading.Thread(target=self.watch, name="memory", daemon=True)

    def watch(self):
        while not self.ended.wait(timeout=1):
            self.samples_mib.append(self.server.resident_kib() / 1024)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def measure(server, seconds, capacity_seconds, keep_alive):
    """Measures a server's capacity in a closed loop, then four times that in an open one; returns its row."""
    capacity = load.measure(server, CAPACITY_CONNECTIONS, capacity_seconds)
    with MemoryWatch(server) as memory:
        result = open_loop(server, capacity["per_second"] * FACTOR, seconds, keep_alive)
    server.empty_log()
    alive = server.child.poll() is None
    refused = result["statuses"].get("429", {})
    return {
        "contestant": server.name,
        "capacity": capacity["per_second"],
        "rate": capacity["per_second"] * FACTOR,
        "keep_alive": keep_alive,
        "goodput": result["goodput_per_second"],
        "answered_p99_ms": result["statuses"].get("200", {}).get("p99_ms"),
        "refused": refused.get("count", 0),
        "refused_p99_ms": refused.get("p99_ms"),
        "memory_mib": memory.samples_mib,
        "survived": alive,
        "client": result,
    }


def open_loop(server, rate, seconds, keep_alive):
    arguments = ["--address", f"127.0.0.1:{server.port}", "--path", server.contestant.path, "--body", str(server.body)]
    arguments += ["--rate", str(rate), "--seconds", str(seconds), "--patience", str(PATIENCE_SECONDS)]
    arguments += ["--outstanding", str(OUTSTANDING), "--keep-alive", "true" if keep_alive else "false"]
    command = ["taskset", "--cpu-list", str(server.setup.load_core), str(CONTESTANTS / "open_loop"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LoadFailed(f"the open-loop client failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def lines_of(rows):
    columns = ["contestant", "capacity/s", "sent/s", "within 1 s", "÷capacity", "200 p99 ms", "429s", "429 p99 ms"]
    columns += ["gave up", "other", "not sent", "late p99 ms", "MiB start", "half", "end", "peak", ""]
    words = []
    for row in rows:
        client, memory = row["client"], row["memory_mib"] or [0]
        other = sum(client["errors"].values())
        statuses = client["statuses"].items()
        other += sum(entry["count"] for status, entry in statuses if status not in ("200", "429"))
        numbers = [row["capacity"], row["rate"], row["goodput"], row["goodput"] / row["capacity"]]
        numbers += [row["answered_p99_ms"], row["refused"], row["refused_p99_ms"], client["gave_up"], other, client["not_sent"]]
        numbers += [client["send_lag_p99_ms"], memory[0], memory[len(memory) // 2], memory[-1], max(memory)]
        remark = "DIED" if not row["survived"] else "client late" if client["send_lag_p99_ms"] > LATE_MS else ""
        words.append([row["contestant"], *map(number, numbers), remark])
    return layout(words, columns, text_columns=(0, 16))


def targets_of(rows):
    """Returns the cases of the overload: onnxd's goodput, how fast it refuses, and its memory."""
    row = next((row for row in rows if row["contestant"] == "onnxd-quiet"), None)
    if not row:
        return []
    memory = row["memory_mib"]
    growth = memory[-1] / memory[len(memory) // 3] if memory else None
    return [
        Target("overload: answered within 1 s ÷ capacity", row["goodput"] / row["capacity"], 0.90),
        Target("overload: p99 of a refusal, ms", row["refused_p99_ms"], 5, at_most=True),
        Target("overload: memory at the end ÷ after a third of the time", growth, 1.02, at_most=True),
    ]
