"""Clients that never stop asking: what an interruption costs is what they count."""

import http.client
import json
import threading
import time

from checks import ROW

BODY = json.dumps(ROW)


class Load:
    """A context manager: `clients` keep-alive connections, each with one request at a time, until it ends."""

    def __init__(self, host, port, path="/models/iris/predict", clients=4, pause_seconds=0.002, ends_with_server=False):
        self.answered = 0
        self.failures = []
        self._target = (host, port)
        self._path = path
        self._pause = pause_seconds
        # A client of a server that is told to stop ends when nobody listens any more.
        self._ends_with_server = ends_with_server
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self.join()

    def join(self):
        for thread in self._threads:
            thread.join()

    def _run(self):
        connection = None
        while not self._stop.is_set():
            if connection is None:
                connection = http.client.HTTPConnection(*self._target, timeout=10)
                try:
                    connection.connect()
                except ConnectionRefusedError as error:
                    if self._ends_with_server:
                        return
                    self._fail(error)
                    connection = None
                    time.sleep(0.05)
                    continue
                except OSError as error:
                    self._fail(error)
                    connection = None
                    continue
            try:
                connection.request("POST", self._path, BODY)
                response = connection.getresponse()
                text = response.read()
                if response.status != 200:
                    self._fail("{} {}".format(response.status, text[:200]))
                else:
                    with self._lock:
                        self.answered += 1
                if response.getheader("connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self._fail(repr(error))
                connection.close()
                connection = None
            time.sleep(self._pause)
        if connection is not None:
            connection.close()

    def _fail(self, what):
        with self._lock:
            self.failures.append(str(what))
