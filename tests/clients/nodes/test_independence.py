"""What onnxd proves of every node test's graph, against onnxruntime: rows apart and together, of every scale.

Each node test becomes several models: with axis 0 open on one input, the others being constants as the test has them, and
on all inputs at once. One row that changes in a batch, in a model that onnxd calls proven, is a failure.
"""

import json
import os
import subprocess
import sys
import warnings
from collections import Counter

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from serving import OUTPUT


def batched(test, open_inputs):
    """The test's model with axis 0 open on these inputs, the others constants; None where that cannot be."""
    arrays = test.data_sets[0][0]
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    graph = model.graph
    del graph.input[:]
    rows = []
    for index, (declared, array) in enumerate(zip(test.model.graph.input, arrays)):
        if not isinstance(array, (np.ndarray, np.generic)) or not declared.type.HasField("tensor_type"):
            return None
        array = np.asarray(array)
        if index not in open_inputs:
            graph.initializer.append(numpy_helper.from_array(array, declared.name))
            continue
        if array.ndim == 0 or array.shape[0] == 0 or not declared.name:
            return None
        rows.append((declared.name, array))
        value = graph.input.add()
        value.CopyFrom(declared)
        value.type.tensor_type.shape.Clear()
        value.type.tensor_type.shape.dim.add().dim_param = "N"
        for size in array.shape[1:]:
            value.type.tensor_type.shape.dim.add().dim_value = size
    if len({array.shape[0] for _, array in rows}) != 1:
        return None
    del graph.value_info[:]
    for output in graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    return model, rows


def candidates():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = collect_testcases(None)
    for test in tests:
        if not test.data_sets or len(test.data_sets[0][0]) != len(test.model.graph.input):
            continue
        count = len(test.model.graph.input)
        choices = {(index,) for index in range(count)} | {tuple(range(count))}
        for choice in sorted(choices):
            made = batched(test, choice)
            if made is not None:
                yield "{}_{}".format(test.name, "_".join(map(str, choice))), *made


def hostile(array, manner, random):
    """One row like those of the test, or far from them."""
    index = random.integers(array.shape[0])
    row = array[index : index + 1].copy()
    if manner == 0:
        return row
    if row.dtype.kind == "f":
        scale = [1.0, 1e15, 1e-20, -1e3, 0.0][manner % 5]
        with np.errstate(all="ignore"):
            row = (random.standard_normal(row.shape) * scale).astype(row.dtype)
        if manner in (5, 6):
            row[random.random(row.shape) < 0.3] = np.nan if manner == 5 else np.inf
    elif row.dtype.kind in "iu" and manner % 2:
        limits = np.iinfo(row.dtype)
        row = random.integers(limits.min, limits.max, row.shape, row.dtype, endpoint=True)
    elif row.dtype.kind == "b":
        row = random.random(row.shape) < 0.5
    elif row.dtype.kind in "OUS" and manner % 2:
        row = np.array(["", "x" * 3000, "ä b", "a"], object)[random.integers(4, size=row.shape)]
    return row


def close(got, expected):
    """The same row: to rounding, relative to its largest number."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return False
    if got.dtype.kind not in "fV" and got.dtype.name != "bfloat16":
        return bool(np.array_equal(got, expected))
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    finite = np.abs(expected[np.isfinite(expected)])
    tolerance = 1e-3 * finite.max(initial=0.0)
    with np.errstate(all="ignore"):
        return bool(np.all((got == expected) | (np.isnan(got) & np.isnan(expected)) | (np.abs(got - expected) <= tolerance)))


def counterexample(model, inputs):
    """A row of a batch that is not what it is alone; "" where nothing runs, None where none was found."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return ""
    random = np.random.default_rng(5)
    rows, alone = [], []
    for manner in [0, 0, 0, 1, 2, 3, 4, 5, 6]:
        row = {name: hostile(array, manner, random) for name, array in inputs}
        try:
            alone.append(session.run(None, row))
            rows.append(row)
        except Exception:
            continue
    if len(rows) < 2:
        return ""
    count = len(rows)
    orders = [[0, index] for index in range(1, count)] + [[index, 0, index] for index in range(1, count)]
    for order in [*orders, list(range(count)), list(range(count))[::-1]]:
        batch = {name: np.concatenate([rows[index][name] for index in order]) for name, _ in inputs}
        try:
            together = session.run(None, batch)
        except Exception as error:
            return "rows {}: {}".format(order, str(error)[:200])
        for output, values in enumerate(together):
            if len(values) != len(order):
                return "rows {}: output {} has {} rows".format(order, output, len(values))
            for place, index in enumerate(order):
                if not close(np.asarray(values[place : place + 1]), np.asarray(alone[index][output])):
                    return "rows {}: row {} changes".format(order, place)
    return None


def test_what_is_proven_holds():
    folder = OUTPUT / "independence"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.onnx"):
        stale.unlink()
    models = {}
    for name, model, inputs in candidates():
        models[name] = (model, inputs)
        (folder / "{}.onnx".format(name)).write_bytes(model.SerializeToString())
    # Those that the runtime cannot load fail with their reason, and the others are told all the same.
    with open(OUTPUT / "independence.log", "w") as log:
        command = [os.environ["ONNXD"], "inspect", "--json", str(folder)]
        inspected = subprocess.run(command, stdout=subprocess.PIPE, stderr=log)
    told = {entry["name"]: entry for entry in json.loads(inspected.stdout)}
    wrong, outcomes, unproven, silent = {}, Counter(), Counter(), 0
    for name, (model, inputs) in models.items():
        entry = told.get(name)
        if entry is None or entry["state"] != "ready":
            outcomes["not loaded"] += 1
            continue
        verdict = entry["execution"]["row_independence"]
        outcomes[verdict] += 1
        if verdict == "proven":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = counterexample(model, inputs)
            silent += found == ""
            if found:
                wrong[name] = found
        elif verdict == "unknown":
            unproven.update(node.op_type for node in model.graph.node)
    print("independence: {} models, {}; {} proven ones do not run".format(len(models), dict(outcomes), silent), file=sys.stderr)
    print("independence: not covered: {}".format(", ".join(sorted(unproven))), file=sys.stderr)
    assert not wrong, json.dumps(wrong, indent=1)
    assert outcomes["proven"] > 500, "hardly anything is proven"
