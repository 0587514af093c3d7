"""What the bench needs of gRPC beside h2load, which sends one message again and again; runs in the venv `grpc`.

    grpc_client.py message V2.json OUT     writes the request of an Open Inference JSON body as h2load sends it
    grpc_client.py ask ADDRESS MESSAGE     asks three times; prints the last output and the shortest time as JSON
"""

import json
import struct
import sys
import time
from pathlib import Path

import grpc
import numpy
from tritonclient.grpc import service_pb2

METHOD = "/inference.GRPCInferenceService/ModelInfer"
NUMPY_TYPES = {"FP32": "<f4", "INT64": "<i8"}
# gRPC over HTTP/2 begins each message with a flag (not compressed) and its length.
PREFIX = struct.Struct(">BI")


def write_message(body, out):
    request = service_pb2.ModelInferRequest(model_name="model")
    for entry in json.loads(Path(body).read_text())["inputs"]:
        request.inputs.add(name=entry["name"], datatype=entry["datatype"], shape=entry["shape"])
        request.raw_input_contents.append(numpy.array(entry["data"], NUMPY_TYPES[entry["datatype"]]).tobytes())
    message = request.SerializeToString()
    Path(out).write_bytes(PREFIX.pack(0, len(message)) + message)


def ask(address, message):
    body, times = Path(message).read_bytes()[PREFIX.size :], []
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
        call = channel.unary_unary(METHOD, None, service_pb2.ModelInferResponse.FromString)
        for _ in range(3):
            start = time.monotonic()
            response = call(body, timeout=30)
            times.append(time.monotonic() - start)
    values = numpy.frombuffer(response.raw_output_contents[-1], NUMPY_TYPES[response.outputs[-1].datatype])
    print(json.dumps({"outputs": {response.outputs[-1].name: values.tolist()}, "seconds": min(times)}))


if __name__ == "__main__":
    {"message": write_message, "ask": ask}[sys.argv[1]](*sys.argv[2:])
