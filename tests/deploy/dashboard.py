"""The dashboard's queries, as Grafana would send them."""

import json
from pathlib import Path

DASHBOARD = Path(__file__).resolve().parent.parent.parent / "k8s" / "monitoring" / "grafana" / "onnxd.json"
ALL_OF = {"$model": ".*", "$instance": ".*", "$__rate_interval": "1m"}


def queries():
    """Yields the title of the panel and the expression, with its variables."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def filled_in(expression):
    for variable, value in ALL_OF.items():
        expression = expression.replace(variable, value)
    return expression
