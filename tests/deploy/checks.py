"""Runs named checks one after the other and says how each went; what they share with one another."""

import json
import sys
import time
import traceback
import urllib.error
import urllib.request

POLL_SECONDS = 0.2
ROW = {"features": [5.1, 3.5, 1.4, 0.2]}


def run(checks):
    """Runs (name, function) pairs; returns the exit status. A check fails by raising."""
    failed = 0
    for name, check in checks:
        started = time.monotonic()
        try:
            said = check()
        except AssertionError as error:
            failed += 1
            print("FAILED {}: {}".format(name, error), flush=True)
        except Exception:  # what one check trips over must not hide what the others find
            failed += 1
            print("FAILED {}".format(name), flush=True)
            traceback.print_exc(file=sys.stdout)
        else:
            took = "{:.1f} s".format(time.monotonic() - started)
            print("ok {} ({})".format(name, "{}; {}".format(said, took) if said else took), flush=True)
    print("{} passed, {} failed".format(len(checks) - failed, failed), flush=True)
    return 1 if failed else 0


def wait_until(condition, seconds, what):
    """Waits until `condition` returns something true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "{} did not happen within {} s".format(what, seconds)
        time.sleep(POLL_SECONDS)


def call(url, body=None, timeout=10):
    """Returns status and parsed JSON of a GET, or of a POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=timeout) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def predicts_setosa(url):
    status, answer = call(url, ROW)
    assert status == 200 and answer["predicted_class_name"] == "setosa", (status, answer)
