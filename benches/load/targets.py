"""What the engine was asked to show (issue 3), beside what was measured; `–` where a side was not measured."""

from typing import NamedTuple

from table import layout, number

ROOMY = 32
QUIET = "onnxd-quiet"


class Target(NamedTuple):
    """One case: the measured value, and the least (or, with `at_most`, the most) that was asked."""

    case: str
    measured: float | None
    wanted: float | None
    at_most: bool = False

    @property
    def verdict(self):
        if self.measured is None or self.wanted is None:
            return ""
        met = self.measured <= self.wanted if self.at_most else self.measured >= self.wanted
        return "met" if met else "MISSED"


def targets_of(results):
    """Returns the cases of the closed loop."""
    return [*small_models(results), *large_models(results)]


def small_models(results):
    at_32 = {name: (ROOMY, name) for name in ["floor", "json-floor", "onnxd", QUIET, "onnxd-single", "fastapi"]}
    quiet = at_32[QUIET]
    return [
        Target("iris, 32 connections, access log off ÷ floor", results.ratio("iris", quiet, at_32["floor"]), 0.80),
        Target(
            "iris, 32 connections, default log to a file ÷ floor",
            results.ratio("iris", at_32["onnxd"], at_32["floor"]),
            0.65,
        ),
        Target("mlp, 32 connections ÷ best possible (JSON floor + best batch)", share_of_best(results, "mlp"), 0.90),
        Target("mlp, 32 connections ÷ one by one", results.ratio("mlp", quiet, at_32["onnxd-single"]), 2.3),
        Target(
            "iris, 1 connection: p50 ÷ one by one",
            results.ratio("iris", (1, QUIET), (1, "onnxd-single"), "p50_ms"),
            1.15,
            at_most=True,
        ),
        Target("iris, 32 connections ÷ FastAPI", results.ratio("iris", quiet, at_32["fastapi"]), 8),
        Target(
            "iris, 32 connections: p99 ÷ FastAPI's",
            results.ratio("iris", quiet, at_32["fastapi"], "p99_ms"),
            0.2,
            at_most=True,
        ),
    ]


def large_models(results):
    found = []
    measured = sorted({key[1] for key in results.by_row if key[0] == "resnet" and key[1]})
    one_row = (None, "raw batch 1")
    for connections in measured:
        for name, contestant in [("resnet as bytes", "onnxd-binary"), ("resnet by gRPC", "onnxd-grpc"), ("resnet", QUIET)]:
            row = (connections, contestant)
            # JSON of a megabyte takes a tenth of what the model takes to parse: nothing can reach 0.97 that way.
            asked = None if contestant == QUIET else 0.97
            found.append(Target(f"{name}, {connections} connections ÷ raw", results.ratio("resnet", row, one_row), asked))
        share = results.ratio("resnet", (connections, "json-floor"), (connections, QUIET), "cpu_us")
        found.append(Target(f"resnet, {connections} connections: CPU of the JSON floor ÷ onnxd's", share, None))
    ratio = over_raw(results, "transformer", (ROOMY, QUIET))
    return [*found, Target("transformer, 32 connections ÷ raw at its best batch", ratio, 0.95)]


def over_raw(results, model, row):
    best = results.best_batch(model)
    return results.ratio(model, row, best) if best else None


def share_of_best(results, model):
    """Returns onnxd's rate over the rate if a request cost what the JSON floor and a row of the best batch cost."""
    best = results.best_batch(model)
    if not best:
        return None
    rows = [(ROOMY, QUIET), (ROOMY, "json-floor"), best]
    return results.combined(model, rows, lambda onnxd, parse, row: onnxd * (1 / parse + 1 / row))


def lines_of(targets):
    rows = [
        [
            target.case,
            number(target.measured),
            "" if target.wanted is None else f"{'≤' if target.at_most else '≥'} {number(target.wanted)}",
            target.verdict,
        ]
        for target in targets
    ]
    return layout(rows, ["case", "measured", "asked", "verdict"], text_columns=(0, 3))
