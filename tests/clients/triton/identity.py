"""Models that answer what they are given, one of each element type: what is lost on the way was lost by us."""

import onnx
from onnx import TensorProto, helper

# The protocol's names of the types, with ONNX's.
TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def write_models(folder):
    """Writes `y = x` for tensors of rank 2 and each type, as `folder/identity_TYPE.onnx`, `scalar.onnx` of rank 0, and
    `patient`, which waits ten seconds for company before it runs a request."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, element_type in TYPES.items():
        save(folder / "identity_{}.onnx".format(name), element_type, ["n", "m"])
    save(folder / "scalar.onnx", TensorProto.FLOAT, [])
    patient = folder / "patient"
    (patient / "1").mkdir(parents=True, exist_ok=True)
    save(patient / "1" / "model.onnx", TensorProto.FLOAT, ["n", "m"])
    (patient / "model.toml").write_text('[batching]\nlane = "worker"\nmax_queue_delay_microseconds = 10_000_000\n')


def save(path, element_type, dims):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", element_type, dims)],
        [helper.make_tensor_value_info("y", element_type, dims)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
