"""Makes the bench models, their example requests and the answers they must get; run by models.py in its pinned venv.

The weights are random (seeded): speed does not depend on them. Biases are zero, normalisations are folded as exporters
fold them. Each model's folder gets model.onnx, body.json, v2.json (the Open Inference form) and expected.json.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 20, 9
LAYERS, WIDTH, HEADS, SEQUENCE, VOCABULARY = 6, 128, 4, 128, 4096


class Graph:
    """A graph under construction; each method appends a node and returns the name of its output."""

    def __init__(self, name, seed):
        self.name, self.random = name, numpy.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def node(self, operator, *inputs, output=None, **attributes):
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, array):
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
        return name

    def random_weight(self, *shape, fan_in):
        return self.constant(self.random.normal(0.0, fan_in**-0.5, shape).astype(numpy.float32))

    def zeros(self, *shape):
        return self.constant(numpy.zeros(shape, numpy.float32))

    def dense(self, value, width_in, width_out, output=None):
        product = self.node("MatMul", value, self.random_weight(width_in, width_out, fan_in=width_in))
        return self.node("Add", product, self.zeros(width_out), output=output)

    def convolution(self, value, channels_in, channels_out, size, stride=1):
        weight = self.random_weight(channels_out, channels_in, size, size, fan_in=channels_in * size * size)
        border = [size // 2] * 4
        return self.node("Conv", value, weight, self.zeros(channels_out), strides=[stride, stride], pads=border)

    def save(self, folder, element_type, input_name, shape, output_name, output_shape):
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info(input_name, element_type, ["N", *shape])],
            [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ["N", *output_shape])],
            initializer=self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, folder / "model.onnx")


def make_mlp(folder):
    graph = Graph("mlp", seed=1)
    value = "features"
    for width_in, width_out in [(128, 512), (512, 512)]:
        value = graph.node("Relu", graph.dense(value, width_in, width_out))
    graph.dense(value, 512, 10, output="logits")
    graph.save(folder, TensorProto.FLOAT, "features", [128], "logits", [10])


def make_resnet(folder):
    """ResNet-18: a 7×7 stem, four stages of two basic blocks, global average, 1000 classes."""
    graph = Graph("resnet", seed=2)
    value = graph.node("Relu", graph.convolution("image", 3, 64, size=7, stride=2))
    value = graph.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, channels_out in enumerate([64, 128, 256, 512]):
        for block in range(2):
            stride = 2 if stage and not block else 1
            value = basic_block(graph, value, channels, channels_out, stride)
            channels = channels_out
    value = graph.node("Flatten", graph.node("GlobalAveragePool", value))
    graph.dense(value, 512, 1000, output="logits")
    graph.save(folder, TensorProto.FLOAT, "image", [3, 224, 224], "logits", [1000])


def make_dynamic(folder):
    """Convolutions over an image of any height and width."""
    graph, value = Graph("dynamic", seed=5), "image"
    for channels_in, channels_out, stride in [(3, 16, 2), (16, 32, 2), (32, 32, 1), (32, 64, 2)]:
        value = graph.node("Relu", graph.convolution(value, channels_in, channels_out, size=3, stride=stride))
    value = graph.node("Flatten", graph.node("GlobalAveragePool", value))
    graph.dense(value, 64, 10, output="logits")
    graph.save(folder, TensorProto.FLOAT, "image", [3, "height", "width"], "logits", [10])


def basic_block(graph, value, channels_in, channels_out, stride):
    inner = graph.node("Relu", graph.convolution(value, channels_in, channels_out, size=3, stride=stride))
    inner = graph.convolution(inner, channels_out, channels_out, size=3)
    if channels_in != channels_out:
        value = graph.convolution(value, channels_in, channels_out, size=1, stride=stride)
    # Halved, so that sixteen random layers neither vanish nor explode.
    half = graph.constant(numpy.float32(0.5))
    return graph.node("Relu", graph.node("Mul", graph.node("Add", inner, value), half))


def make_transformer(folder):
    """A six-layer encoder as exporters write it: separate Q, K, V, Gelu, layer norms; the mean over the sequence."""
    graph = Graph("transformer", seed=3)
    value = graph.node("Gather", graph.random_weight(VOCABULARY, WIDTH, fan_in=1), "token_ids")
    value = graph.node("Add", value, graph.random_weight(1, SEQUENCE, WIDTH, fan_in=1))
    for _ in range(LAYERS):
        value = normalised(graph, graph.node("Add", value, attention(graph, value)))
        inner = graph.node("Gelu", graph.dense(value, WIDTH, 4 * WIDTH))
        value = normalised(graph, graph.node("Add", value, graph.dense(inner, 4 * WIDTH, WIDTH)))
    axes = graph.constant(numpy.array([1], numpy.int64))
    graph.node("ReduceMean", value, axes, keepdims=0, output="embedding")
    graph.save(folder, TensorProto.INT64, "token_ids", [SEQUENCE], "embedding", [WIDTH])


def attention(graph, value):
    head = WIDTH // HEADS
    split = graph.constant(numpy.array([0, 0, HEADS, head], numpy.int64))
    merged = graph.constant(numpy.array([0, 0, WIDTH], numpy.int64))

    def heads(order):
        return graph.node("Transpose", graph.node("Reshape", graph.dense(value, WIDTH, WIDTH), split), perm=order)

    queries, keys, values = heads([0, 2, 1, 3]), heads([0, 2, 3, 1]), heads([0, 2, 1, 3])
    scale = graph.constant(numpy.float32(head**-0.5))
    scores = graph.node("Softmax", graph.node("Mul", graph.node("MatMul", queries, keys), scale), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", scores, values), perm=[0, 2, 1, 3])
    return graph.dense(graph.node("Reshape", mixed, merged), WIDTH, WIDTH)


def normalised(graph, value):
    ones = graph.constant(numpy.ones(WIDTH, numpy.float32))
    return graph.node("LayerNormalization", value, ones, graph.zeros(WIDTH), axis=-1)


def write_example(folder, form, row):
    """Writes the request for one row in three protocols, and the runtime's own answer to it."""
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    tensor, outputs = session.get_inputs()[0], [output.name for output in session.get_outputs()]
    values = row.tolist()
    body = {"features": values} if form == "features" else {"inputs": {tensor.name: [values]}}
    datatype = "INT64" if row.dtype == numpy.int64 else "FP32"
    entry = {"name": tensor.name, "shape": [1, *row.shape], "datatype": datatype, "data": row.ravel().tolist()}
    batch = row[numpy.newaxis].astype(numpy.int64 if datatype == "INT64" else numpy.float32)
    answer = session.run([outputs[-1]], {tensor.name: batch})[0]
    assert numpy.isfinite(answer).all()
    (folder / "raw.bin").write_bytes(batch.tobytes())
    files = {"body": body, "v2": {"inputs": [entry]}, "expected": answer.ravel().tolist()}
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value, separators=(",", ":")))


def main():
    models, iris = Path(sys.argv[1]), Path(sys.argv[2])
    random = numpy.random.default_rng(4)
    # Four decimals, as clients send measurements and scaled pixels; the bodies say 0.1234, not all digits of a float.
    rows = {
        "iris": ("features", numpy.array([5.1, 3.5, 1.4, 0.2])),
        "mlp": ("features", random.uniform(-1, 1, 128).round(4)),
        "resnet": ("inputs", random.uniform(-1, 1, (3, 224, 224)).round(4)),
        "transformer": ("inputs", random.integers(0, VOCABULARY, SEQUENCE)),
        "dynamic": ("inputs", random.uniform(-1, 1, (3, 48, 64)).round(4)),
    }
    makers = {"mlp": make_mlp, "resnet": make_resnet, "transformer": make_transformer, "dynamic": make_dynamic}
    for name, (form, row) in rows.items():
        folder = models / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        if name == "iris":
            shutil.copyfile(iris / "1" / "model.onnx", folder / "model.onnx")
            shutil.copyfile(iris / "model.toml", models / name / "model.toml")
        else:
            makers[name](folder)
        write_example(folder, form, row)


if __name__ == "__main__":
    main()
