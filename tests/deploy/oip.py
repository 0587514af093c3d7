"""Asks over gRPC, by the Open Inference Protocol: the stubs are made of proto/ as this is imported."""

import struct
import sys
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "proto"))
messages, services = grpc.protos_and_services("open_inference_grpc.proto")


def label(address, model, features):
    """Returns the label that `model` gives a row of features."""
    with grpc.insecure_channel(address) as channel:
        return label_over(channel, model, features)


def label_over(channel, model, features):
    request = messages.ModelInferRequest(model_name=model)
    request.inputs.add(name="features", datatype="FP32", shape=[1, len(features)]).contents.fp32_contents.extend(features)
    answer = services.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    for output, raw in zip(answer.outputs, answer.raw_output_contents):
        if output.name == "label":
            return struct.unpack("<q", raw)[0]
    (contents,) = [list(output.contents.int64_contents) for output in answer.outputs if output.name == "label"]
    return contents[0]
