"""A contestant that runs: pinned to its core, known to answer rightly, measured and stopped as one process tree."""

import os
import signal
import socket
import subprocess
import time

import process
from clients import NotRight
from contestants import Contestant, Launch, Setup
from models import BenchModel, problem_with
from paths import LOGS

START_SECONDS = 60


class StartFailed(Exception):
    """Why a contestant cannot be measured, in one line."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A started contestant. Use as a context manager, so that it is stopped whatever happens."""

    def __init__(self, contestant: Contestant, model: BenchModel, setup: Setup):
        self.contestant, self.model, self.setup = contestant, model, setup
        self.port = free_port()
        self.body = model.body_file(contestant.protocol)
        command, additions = contestant.command(Launch(setup, model, self.port, free_port))
        self.log_path = LOGS / f"{contestant.name}-{model.name}.log"
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log_path.unlink(missing_ok=True)
        with self.log_path.open("ab") as log:
            self.child = subprocess.Popen(
                ["taskset", "--cpu-list", str(setup.server_core), *command],
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", **additions},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def name(self):
        return self.contestant.name

    def wait_until_right(self):
        """Waits for the first right answer; raises StartFailed if it is wrong, or does not come in time."""
        deadline, problem = time.monotonic() + START_SECONDS, "no answer"
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise StartFailed(f"it exited with {self.child.returncode}: {self.last_log_line()}")
            try:
                problem = problem_with(self.ask(), self.model)
                if problem is None:
                    self.latency_seconds = self.contestant.client.latency(self)
                    return self
            except NotRight as error:
                problem = str(error)
            time.sleep(0.05)
        raise StartFailed(f"not right after {START_SECONDS} s: {problem}; its log ends {self.last_log_line()}")

    def ask(self):
        """Returns the body of the answer to the model's request."""
        return self.contestant.client.ask(self)

    def cpu_seconds(self):
        return process.cpu_seconds(self.child.pid)

    def peak_kib(self):
        return process.memory_kib(self.child.pid, "VmHWM")

    def resident_kib(self):
        return process.memory_kib(self.child.pid, "VmRSS")

    def settle(self, limit_seconds=30):
        """Waits until it no longer works on what clients have left behind."""
        deadline, before = time.monotonic() + limit_seconds, self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(0.1)
            now = self.cpu_seconds()
            if now - before <= process.TICK_SECONDS:
                return
            before = now

    def empty_log(self):
        """Frees the disk that an access log took; the server appends to the file, and begins again at its start."""
        os.truncate(self.log_path, 0)

    def last_log_line(self):
        lines = self.log_path.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "nothing"

    def stop(self):
        """Ends the process group that was started here, gently first."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
