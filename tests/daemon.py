"""The daemon as a child process: started on a free port, ready when this says so, stopped at the end."""

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request

START_SECONDS = 60
STOP_SECONDS = 30
POLL_SECONDS = 0.05


def announced_address(log_line, beginning):
    """The address that a log line of this beginning announces as bound, or None: what knows the log's form."""
    try:
        event = json.loads(log_line)
    except ValueError:
        return None
    if not str(event.get("message", "")).startswith(beginning):
        return None
    return event.get("address")


class Daemon:
    """A context manager; `address` is where it listens, `url` the HTTP root, without a slash at the end, and `grpc` the
    address for gRPC alone."""

    def __init__(self, binary, models, log_path, *options):
        self.log_path = log_path
        self._command = [str(binary), "serve", str(models), "--host", "127.0.0.1", "--port", "0", "--grpc-port", "0"]
        self._command += ["--log-format", "json", *options]
        # Answers 200 once the daemon is ready; all its models must be, unless the test asks for one of them.
        self.ready_path = "/health/ready"
        self.address = None
        self.grpc = None
        self._announced = threading.Event()

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    @property
    def pid(self):
        return self._process.pid

    def stop(self):
        """Asks the daemon to end and requires that it does so in time and in order."""
        self._process.terminate()
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError("still running {} s after SIGTERM".format(STOP_SECONDS)) from None
        assert status == 0, "exit status {}".format(status)

    def _read_log(self):
        with open(self.log_path, "w", encoding="utf-8") as log:
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                if self.address is None:
                    # That of gRPC comes first.
                    self.grpc = self.grpc or announced_address(line, "gRPC on ")
                    self.address = announced_address(line, "listening")
                    if self.address:
                        self._announced.set()
        # The log has ended: whoever waits for the address must not wait on.
        self._announced.set()

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS
        self._announced.wait(START_SECONDS)
        if self.address is None:
            raise RuntimeError("{} announced no address; its log: {}".format(self._command, self._log_tail()))
        self.url = "http://" + self.address
        while not self._answers_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("{} did not become ready; its log: {}".format(self._command, self._log_tail()))
            time.sleep(POLL_SECONDS)

    def _answers_ready(self):
        try:
            with urllib.request.urlopen(self.url + self.ready_path, timeout=5) as response:
                return response.status == 200
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def _log_tail(self):
        try:
            return "\n" + "".join(open(self.log_path, encoding="utf-8").readlines()[-20:])
        except OSError as error:
            return str(error)
