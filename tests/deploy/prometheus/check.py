"""Checks the dashboard and the rules against what they are written for: Grafana's own types, and the tests there are."""

import json
import re
import sys
from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

ROOT = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "deploy"))
import checks  # noqa: E402
from dashboard import DASHBOARD, queries  # noqa: E402

RULES = ROOT / "k8s" / "monitoring" / "rules" / "onnxd.yml"
TESTS = Path(__file__).resolve().parent / "rules_test.yml"


def main():
    return checks.run(
        [
            ("the dashboard survives a round trip through Grafana's types", dashboard_survives_a_round_trip),
            ("panels have ids of their own, a place of their own, and queries of the chosen data source", panels_are_sound),
            ("every rule has a test", every_rule_has_a_test),
            ("every metric that is asked for is one that onnxd has", metrics_exist),
        ]
    )


def dashboard_survives_a_round_trip():
    before = json.loads(DASHBOARD.read_text())
    after = json.loads(json.dumps(Dashboard.from_json(before), cls=JSONEncoder))
    lost = list(differences(before, after))
    assert not lost, lost[:5]


def differences(before, after, path=""):
    """Names what of `before` is gone or changed in `after`; what the types add by default is no loss."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                if value not in (None, [], {}, "", False):
                    yield "{}.{} is gone".format(path, key)
            else:
                yield from differences(value, after[key], "{}.{}".format(path, key))
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield "{}: {} items became {}".format(path, len(before), len(after))
        for index, pair in enumerate(zip(before, after)):
            yield from differences(*pair, "{}[{}]".format(path, index))
    elif before != after:
        yield "{}: {!r} became {!r}".format(path, before, after)


def panels_are_sound():
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids)), ids
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, "{} lies on another panel".format(panel["title"])
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}", panel["title"]
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = {name for _, expression in queries() for name in re.findall(r"\$(\w+)", expression)} - {"__rate_interval"}
    assert used <= names, used - names
    return "{} panels, {} queries".format(len(panels), len(list(queries())))


def every_rule_has_a_test():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = {rule.get("alert") or rule["record"] for group in groups for rule in group["rules"]}
    tests = yaml.safe_load(TESTS.read_text())["tests"]
    tested = {case["alertname"] for test in tests for case in test.get("alert_rule_test", []) if case["exp_alerts"]}
    expressions = " ".join(case["expr"] for test in tests for case in test.get("promql_expr_test", []))
    untested = {rule for rule in rules if rule not in tested and rule not in expressions}
    assert not untested, untested
    return "{} rules".format(len(rules))


def metrics_exist():
    # The names as metrics.rs registers them; those of the process are its library's.
    source = (ROOT / "src" / "metrics.rs").read_text()
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    asked = " ".join([expression for _, expression in queries()] + rules)
    # What is recorded has colons in its name.
    names = re.findall(r"\b(?:prediction|model|http|grpc|onnxd)_[a-z_]+\b", re.sub(r"\w+:[\w:]+", "", asked))
    unknown = {name for name in names if '"{}"'.format(re.sub(r"_(bucket|sum|count)$", "", name)) not in source}
    assert names and not unknown, unknown


if __name__ == "__main__":
    sys.exit(main())
