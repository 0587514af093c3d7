"""Searches for operators of ONNX Runtime that end the process: runs onnx's node tests on odd inputs, in child processes.

Every dimension of a test's inputs is made open. Each input then gets, one after the other: no elements along an axis, extreme
values, another rank. Prints a line for each operator and kind of input that ended a child; crashers.txt keeps that list.

    python search.py [--only TEXT] [--seconds N] > crashers.txt
"""

import argparse
import os
import resource
import signal
import sys
import time
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

RUN_SECONDS = 10
MEMORY_BYTES = 3 << 30


class Case:
    def __init__(self, name, model, inputs):
        self.name, self.model, self.inputs = name, model, inputs

    def operators(self):
        return sorted({node.op_type for node in self.model.graph.node if node.op_type != "Constant"})


def cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        tests = collect_testcases(None)
    for test in tests:
        names = [value.name for value in test.model.graph.input]
        arrays = test.data_sets[0][0]
        if all(isinstance(array, np.ndarray) for array in arrays):
            yield Case(test.name, test.model, dict(zip(names, arrays)))
    yield from scikit_learn_cases()
    yield from integer_cases()


def integer_cases():
    """Arithmetic on the integers that onnx's node tests have no case for."""
    for operator in ["Add", "Sub", "Mul", "Div", "Mod", "Pow"]:
        for dtype in [np.int32, np.int64]:
            element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            x, y, z = (helper.make_tensor_value_info(name, element, [None]) for name in "xyz")
            node = helper.make_node(operator, ["x", "y"], ["z"])
            model = helper.make_model(
                helper.make_graph([node], operator, [x, y], [z]),
                opset_imports=[helper.make_opsetid("", 17)],
                ir_version=8,
            )
            yield Case(f"{operator}_{np.dtype(dtype).name}", model, {name: np.ones(3, dtype) for name in "xy"})


def scikit_learn_cases():
    """Operators of ai.onnx.ml that onnx has no node tests for."""
    rows = np.ones((2, 3), np.float32)
    for operator, attributes, outputs in [
        ("FeatureVectorizer", {"inputdimensions": [3]}, 1),
        ("Normalizer", {"norm": "L2"}, 1),
        ("Scaler", {"offset": [0.0] * 3, "scale": [1.0] * 3}, 1),
        ("Imputer", {"imputed_value_floats": [0.0] * 3, "replaced_value_float": float("nan")}, 1),
        ("LinearRegressor", {"coefficients": [1.0] * 3, "intercepts": [0.0]}, 1),
        ("LinearClassifier", {"coefficients": [1.0] * 6, "intercepts": [0.0] * 2, "classlabels_ints": [0, 1]}, 2),
    ]:
        names = ["y", "z"][:outputs]
        node = helper.make_node(operator, ["x"], names, domain="ai.onnx.ml", **attributes)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])
        graph = helper.make_graph([node], operator, [x], [helper.ValueInfoProto(name=name) for name in names])
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        yield Case(operator, helper.make_model(graph, opset_imports=opsets, ir_version=8), {"x": rows})


def with_open_dimensions(model):
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    del opened.graph.value_info[:]
    for value in [*opened.graph.input, *opened.graph.output]:
        if value.type.HasField("tensor_type"):
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                dim.dim_param = f"{value.name}_{axis}"
    return opened


def extremes(dtype):
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return {"min": info.min, "max": info.max, "0": 0} | ({"-1": -1} if dtype.kind == "i" else {})
    if dtype.kind == "f":
        return {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "max": np.finfo(dtype).max, "0": 0}
    return {}


def mutations(inputs):
    """Yields the kind, what was done, and the inputs."""
    arrays = list(inputs.items())
    for name, array in arrays:
        for axis in range(array.ndim):
            yield "empty", f"{name} without axis {axis}", inputs | {name: np.take(array, [], axis)}
        if array.ndim > 1:
            yield "empty", f"{name} without elements", inputs | {name: np.zeros([0] * array.ndim, array.dtype)}
        yield "rank", f"{name} of one rank more", inputs | {name: array[None]}
        if array.ndim > 0 and array.shape[0] > 0:
            yield "rank", f"{name} of one rank less", inputs | {name: array[0]}
        for word, value in extremes(array.dtype).items():
            yield "values", f"{name} = {word}", inputs | {name: np.full_like(array, value)}
    for axis in range(max((array.ndim for _, array in arrays), default=0)):
        shorter = {name: np.take(array, [], axis) if array.ndim > axis else array for name, array in arrays}
        yield "empty", f"all without axis {axis}", shorter
    integers = [(name, array) for name, array in arrays if array.dtype.kind == "i"]
    for (first, left), (second, right) in zip(integers, integers[1:]):
        smallest, minus_one = np.full_like(left, np.iinfo(left.dtype).min), np.full_like(right, -1)
        yield "values", f"{first} = min, {second} = -1", inputs | {first: smallest, second: minus_one}


def run_from(start, case, progress):
    """In a child: runs the mutations from `start` on, and writes a byte before each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    model = with_open_dimensions(case.model).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for index, (_, _, inputs) in enumerate(mutations(case.inputs)):
        if index >= start:
            os.write(progress, b".")
            signal.alarm(RUN_SECONDS)
            try:
                session.run(None, inputs)
            except Exception:
                pass
            signal.alarm(0)


def search(case):
    """Yields the kind, what was done and the signal of each mutation that ended a child; returns how many were run."""
    start, done = 0, list(mutations(case.inputs))
    while start < len(done):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                run_from(start, case, writing)
            finally:
                os._exit(0)
        os.close(writing)
        begun = 0
        while piece := os.read(reading, 4096):
            begun += len(piece)
        os.close(reading)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return start + begun
        start += begun
        kind, what, _ = done[max(start, 1) - 1]
        ended_by = signal.Signals(os.WTERMSIG(status)).name
        # A value may ask for a run that is as long as it likes, as Loop's does.
        if not (kind == "values" and ended_by == "SIGALRM"):
            yield kind, what, "hang" if ended_by == "SIGALRM" else ended_by
        if begun == 0:
            return start
    return start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="tests whose name has this")
    parser.add_argument("--seconds", type=int, default=3600, help="stop after so long")
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.seconds
    found, runs, tests = {}, 0, 0
    for case in cases():
        if arguments.only not in case.name or time.monotonic() > deadline:
            continue
        tests += 1
        searching = search(case)
        while True:
            try:
                kind, what, ended_by = next(searching)
            except StopIteration as stop:
                runs += stop.value
                break
            for operator in case.operators():
                found.setdefault((operator, kind), (ended_by, f"{case.name}: {what}"))
    print(f"# ONNX Runtime {onnxruntime.__version__}, onnx {onnx.__version__}: {runs} odd inputs to {tests} models.")
    print("# Operator, kind of input, how the process ended, and one input that did it.")
    for (operator, kind), (ended_by, example) in sorted(found.items()):
        print(f"{operator}\t{kind}\t{ended_by}\t{example}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
