"""onnx's backend node tests as a model repository: those that the protocol has words for and onnxruntime passes."""

import warnings
from collections import Counter
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto
from onnx.backend.test.case.node import collect_testcases

# The protocol's names of ONNX's types. It has none for the others: complex numbers, 8-bit floats, less than 8 bits.
TYPES = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.STRING: "BYTES",
}


class Case:
    """A model with its inputs by name and type, and what it must give for them."""

    def __init__(self, test):
        self.name = test.name
        self.model = test.model
        self.rtol, self.atol = test.rtol, test.atol
        inputs, outputs = ([np.asarray(array) for array in arrays] for arrays in test.data_sets[0])
        graph = test.model.graph
        self.inputs = [(value.name, type_of(value), array) for value, array in zip(graph.input, inputs)]
        self.outputs = [(value.name, array) for value, array in zip(graph.output, outputs)]

    def check(self, got):
        """Asserts that `got`, arrays by name, are the outputs within the test's own tolerances."""
        for name, expected in self.outputs:
            array = got[name]
            assert array.shape == expected.shape, "{}: expected shape {}, got {}".format(
                name, expected.shape, array.shape
            )
            if expected.dtype.kind in "OSU":
                assert texts(array) == texts(expected), name
            else:
                np.testing.assert_allclose(comparable(array), comparable(expected), self.rtol, self.atol, err_msg=name)


def type_of(value):
    """The protocol's type of a graph's input or output; None where it has none."""
    if not value.type.HasField("tensor_type"):
        return None
    return TYPES.get(value.type.tensor_type.elem_type)


def texts(array):
    """The elements as bytes."""
    return [text if isinstance(text, bytes) else str(text).encode() for text in array.flatten().tolist()]


def comparable(array):
    """The same numbers in a type that numpy compares."""
    return array.astype(np.float64) if array.dtype == ml_dtypes.bfloat16 else array


def why_not_of_the_protocol(test):
    """Which input or output is none that the protocol has words for; None where all are."""
    graph = test.model.graph
    for value in [*graph.input, *graph.output]:
        if not value.type.HasField("tensor_type"):
            return "the protocol has no {}".format(value.type.WhichOneof("value").removesuffix("_type"))
        if type_of(value) is None:
            return "the protocol has no {}".format(TensorProto.DataType.Name(value.type.tensor_type.elem_type))
    for arrays, values in zip(test.data_sets[0], (graph.input, graph.output)):
        if len(arrays) != len(values) or not all(isinstance(array, (np.ndarray, np.generic)) for array in arrays):
            return "an optional input or output has no value"
    return None


def why_not_of_onnxruntime(case):
    """Why onnxruntime's own Python binding does not give what is expected; None where it does."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        model = case.model.SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        case.check(run(session, case))
    except AssertionError:
        return "onnxruntime gives something else"
    except Exception as error:  # whatever it is, it is not onnxd's
        return "onnxruntime refuses: {}".format(type(error).__name__)
    return None


def run(session, case):
    """Runs a case; bfloat16, which numpy lacks, goes by way of onnxruntime's own values and cannot come back."""
    feeds = {}
    for name, datatype, array in case.inputs:
        if datatype == "BF16":
            value = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type
            feeds[name] = value(array.view(np.uint16), TensorProto.BFLOAT16)
        else:
            feeds[name] = array
    names = [name for name, _ in case.outputs]
    return dict(zip(names, session.run(names, feeds)))


def write_repository(folder):
    """Writes the cases as bare files into `folder` and returns them, with how many were left out by cause."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in Path(folder).glob("*.onnx"):
        stale.unlink()
    with warnings.catch_warnings():
        # numpy warns of the overflows and divisions by zero that some tests are about.
        warnings.simplefilter("ignore")
        tests = collect_testcases(None)
    kept, left_out = [], Counter()
    for test in tests:
        why_not = why_not_of_the_protocol(test)
        if why_not is None:
            case = Case(test)
            why_not = why_not_of_onnxruntime(case)
        if why_not is None:
            kept.append(case)
            onnx.save(case.model, folder / "{}.onnx".format(case.name))
        else:
            left_out[why_not] += 1
    return kept, left_out
