"""Clients that never stop asking: what an interruption costs is what they count."""

import http.client
import json
import threading
import time

import grpc
import oip
from checks import ROW

BODY = json.dumps(ROW)


class Clients:
    """A context manager: `clients` connections, each with one request at a time, until it ends."""

    def __init__(self, clients, pause_seconds):
        self.answered = 0
        self.failures = []
        self._pause = pause_seconds
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
        raise NotImplementedError

    def _succeed(self):
        with self._lock:
            self.answered += 1

    def _fail(self, what):
        with self._lock:
            self.failures.append(str(what))


class Load(Clients):
    """Clients that ask for a prediction over HTTP, and keep their connections."""

    def __init__(self, host, port, path="/models/iris/predict", clients=4, pause_seconds=0.002, ends_with_server=False):
        super().__init__(clients, pause_seconds)
        self._target = (host, port)
        self._path = path
        # A client of a server that is told to stop ends when nobody listens any more.
        self._ends_with_server = ends_with_server

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
                    self._succeed()
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


class GrpcLoad(Clients):
    """Clients that ask for a prediction over gRPC, each on a channel of its own."""

    def __init__(self, address, clients=2, pause_seconds=0.005):
        super().__init__(clients, pause_seconds)
        self._address = address

    def _run(self):
        # Channels to the same address would share a connection.
        with grpc.insecure_channel(self._address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            while not self._stop.is_set():
                try:
                    label = oip.label_over(channel, "iris", ROW["features"])
                except grpc.RpcError as error:
                    self._fail("{}: {}".format(error.code(), error.details()))
                else:
                    self._succeed() if label == 0 else self._fail("expected 0, got {}".format(label))
                time.sleep(self._pause)
