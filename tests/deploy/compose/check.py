"""Tries docker-compose.yml: onnxd and Prometheus together, every query of the dashboard, and an alert that fires."""

import json
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "deploy"))
import checks  # noqa: E402
import oip  # noqa: E402
from dashboard import filled_in, queries  # noqa: E402
from load import Load  # noqa: E402

ONNXD = "http://localhost:8000"
GRPC = "localhost:8001"
PROMETHEUS = "http://localhost:9090"
# Two samples of each series, five seconds apart, and a rate over them.
DATA_SECONDS = 60
# The alert waits a minute, and Prometheus looks every five seconds.
ALERT_SECONDS = 120
RULES = 13


def main():
    try:
        return checks.run(
            [
                ("onnxd and Prometheus come up healthy", come_up),
                ("predictions are right, over HTTP and gRPC", predicts),
                ("Prometheus scrapes onnxd and has the rules", scrapes),
                ("every query of the dashboard has an answer under load", queries_have_answers),
                ("an alert fires when onnxd is stopped, and onnxd stops with 0", alert_fires),
                ("the alert ends when onnxd is back", alert_ends),
            ]
        )
    finally:
        compose("down", "--volumes", "--timeout", "5")


def compose(*arguments):
    done = subprocess.run(["docker", "compose", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, "docker compose {}: {}".format(" ".join(arguments), done.stderr[-2000:])
    return done.stdout


def come_up():
    services = json.loads(compose("config", "--format", "json"))["services"]
    mounts = [mount for service in services.values() for mount in service.get("volumes", []) if mount["type"] == "bind"]
    # Docker would make an empty folder in place of a file that is not there.
    absent = [mount["source"] for mount in mounts if not Path(mount["source"]).exists()]
    assert mounts and not absent, absent
    # Grafana's image is not needed for what is tried here.
    compose("up", "--detach", "--wait", "--wait-timeout", "120", "--pull", "never", "onnxd", "prometheus")
    states = [json.loads(line) for line in compose("ps", "--format", "json").splitlines()]
    health = {state["Service"]: state["Health"] for state in states}
    assert health == {"onnxd": "healthy", "prometheus": "healthy"}, health


def predicts():
    checks.predicts_setosa(ONNXD + "/predict")
    assert oip.label(GRPC, "iris", checks.ROW["features"]) == 0


def query(expression):
    status, answer = checks.call(PROMETHEUS + "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
    assert status == 200 and answer["status"] == "success", (expression, answer)
    return answer["data"]["result"]


def scrapes():
    checks.wait_until(lambda: [s for s in query('up{job="onnxd"}') if s["value"][1] == "1"], 30, "a scrape")
    evaluated = lambda: all(rule["health"] != "unknown" for rule in rules())  # noqa: E731
    checks.wait_until(evaluated, 30, "the first evaluation of the rules")
    assert [rule["health"] for rule in rules()] == ["ok"] * RULES, rules()


def rules():
    _, answer = checks.call(PROMETHEUS + "/api/v1/rules")
    return [rule for group in answer["data"]["groups"] for rule in group["rules"]]


def queries_have_answers():
    asked = list(queries())
    stop = threading.Event()
    others = threading.Thread(target=call_otherwise, args=(stop,))
    others.start()
    try:
        with Load("localhost", 8000) as load:
            missing = lambda: [title for title, text in asked if not has_values(query(filled_in(text)))]  # noqa: E731
            checks.wait_until(lambda: not missing(), DATA_SECONDS, "an answer to each query")
    except AssertionError as error:
        raise AssertionError("{}; none to {}".format(error, missing())) from None
    finally:
        stop.set()
        others.join()
    assert load.failures == [], load.failures[:5]
    return "{} queries, {} predictions".format(len(asked), load.answered)


def has_values(result):
    """A quantile of nothing is NaN: that is a series, and no answer."""
    return any(sample["value"][1] != "NaN" for sample in result)


def call_otherwise(stop):
    """Makes mistakes, and asks over gRPC: what the load does not do, and the dashboard shows."""
    while not stop.wait(0.2):
        assert oip.label(GRPC, "iris", checks.ROW["features"]) == 0
        status, _ = checks.call(ONNXD + "/models/iris/predict", {"features": [1]})
        assert status == 400, status


def firing():
    _, answer = checks.call(PROMETHEUS + "/api/v1/alerts")
    return {alert["labels"]["alertname"] for alert in answer["data"]["alerts"] if alert["state"] == "firing"}


def alert_fires():
    assert "OnnxdDown" not in firing()
    compose("stop", "onnxd")
    states = [json.loads(line) for line in compose("ps", "--all", "--format", "json").splitlines()]
    codes = [state["ExitCode"] for state in states if state["Service"] == "onnxd"]
    assert codes == [0], codes
    checks.wait_until(lambda: "OnnxdDown" in firing(), ALERT_SECONDS, "the alert OnnxdDown")


def alert_ends():
    compose("up", "--detach", "--wait", "--wait-timeout", "60", "--pull", "never", "onnxd")
    checks.wait_until(lambda: "OnnxdDown" not in firing(), 30, "the end of the alert")


if __name__ == "__main__":
    sys.exit(main())
