"""Asks a server for small answers again and again, in a process of its own, and says how long they took."""

import http.client
import multiprocessing
import time

PAUSE_SECONDS = 0.002


class Prober:
    """Probes while the context lasts: in turn each path, on a connection that is kept and on a new one, as kubelet does."""

    def __init__(self, port, paths):
        self.paths, (self.results, sender) = paths, multiprocessing.Pipe(duplex=False)
        self.ended = multiprocessing.Event()
        self.child = multiprocessing.Process(target=probe, args=(port, paths, self.ended, sender), daemon=True)

    def __enter__(self):
        self.child.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.milliseconds = self.results.recv()
        self.child.join()

    def all(self):
        return sorted(each for path in self.paths for each in self.milliseconds[path])

    def of(self, path):
        return sorted(self.milliseconds[path])


def probe(port, paths, ended, sender):
    milliseconds, kept = {path: [] for path in paths}, http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not ended.is_set():
        for path in paths:
            fresh = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            for connection in (kept, fresh):
                start = time.perf_counter()
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                milliseconds[path].append((time.perf_counter() - start) * 1e3)
                if answer.status != 200:
                    raise ValueError(f"{path} answered {answer.status}")
            fresh.close()
        time.sleep(PAUSE_SECONDS)
    sender.send(milliseconds)


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def described(ordered):
    """Returns the percentiles in words, of milliseconds in their order."""
    p50, p99 = percentile(ordered, 0.50), percentile(ordered, 0.99)
    return f"{len(ordered)} probes: p50 {p50:.2f} ms, p99 {p99:.1f} ms, max {ordered[-1]:.1f} ms"
