"""Writes fitted estimators and hand-made graphs as ONNX files, the same bytes every time.

Knows ONNX and skl2onnx, nothing of data sets or of golden cases. Whatever would differ between two
runs of the same training (random graph names, map order) is fixed here.
"""

import json

import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

OPSET = 17
ML_OPSET = 3
IR_VERSION = 8
ROWS = "N"
"""The name of axis 0 wherever it is the number of rows."""


def floats(columns):
    """A float32 input of `columns` columns and any number of rows."""
    return FloatTensorType([None, columns])


def integers(columns):
    """An int64 input of `columns` columns and any number of rows."""
    return Int64TensorType([None, columns])


def strings(columns):
    """A string input of `columns` columns and any number of rows."""
    return StringTensorType([None, columns])


def convert(name, estimator, inputs, **options):
    """Converts a fitted estimator; `inputs` maps names to types, `options` are the converter's."""
    model = convert_sklearn(
        estimator,
        name=name,
        initial_types=list(inputs.items()),
        options=options or None,
        target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
    )
    return finish(model)


def rename_output(model, old, new):
    """Renames a graph output, where the converter's own name says nothing."""
    for node in model.graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
    for output in model.graph.output:
        output.name = new if output.name == old else output.name
    return finish(model)


def network(name, input_name, shape, layers, output_name):
    """Builds a multilayer perceptron: flatten, then dense layers with ReLU between them, then softmax.

    `shape` is one row's shape; `layers` is a list of (weights [in, out], bias [out]).
    """
    nodes = [helper.make_node("Flatten", [input_name], ["flat"], axis=1)]
    initializers, value = [], "flat"
    for index, (weights, bias) in enumerate(layers):
        if index > 0:
            nodes.append(helper.make_node("Relu", [value], [f"relu_{index}"]))
            value = f"relu_{index}"
        names = [f"weights_{index}", f"bias_{index}"]
        for array, array_name in zip((weights, bias), names, strict=True):
            initializers.append(numpy_helper.from_array(array.astype("float32"), array_name))
        nodes.append(helper.make_node("Gemm", [value, *names], [f"dense_{index}"]))
        value = f"dense_{index}"
    nodes.append(helper.make_node("Softmax", [value], [output_name], axis=1))

    classes = layers[-1][1].shape[0]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [ROWS, *shape])],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, [ROWS, classes])],
        initializers,
    )
    opset_imports = [helper.make_opsetid("", OPSET)]
    return finish(helper.make_model(graph, opset_imports=opset_imports, producer_name="models/train.py"))


def with_metadata(model, **names):
    """Puts lists of names into the file's metadata as `onnxd.<key>`, each a JSON list."""
    helper.set_model_props(model, {f"onnxd.{key}": json.dumps(value) for key, value in names.items()})
    return model


def save(model, path):
    """Writes the file; equal models give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def finish(model):
    """Pins the versions, names the rows' axis and checks the result.

    The converter lists the opsets in no fixed order and as low as its operators allow; they are
    raised to those it was asked to convert for.
    """
    model.ir_version = IR_VERSION
    versions = {"": OPSET, "ai.onnx.ml": ML_OPSET}
    domains = sorted({opset.domain for opset in model.opset_import})
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, versions.get(domain, 1)) for domain in domains)
    for value in (*model.graph.input, *model.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.dim[0].dim_param = ROWS
    onnx.checker.check_model(model, full_check=True)
    return model
