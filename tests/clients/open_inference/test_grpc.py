"""The stubs that open-inference-grpc has generated from the protocol's own file."""

import struct

import grpc
import pytest
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

ROW = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture
def stub(daemon):
    with grpc.insecure_channel(daemon.grpc) as channel:
        yield GRPCInferenceServiceStub(channel)


def request(**options):
    tensor = protocol.ModelInferRequest.InferInputTensor(name="features", datatype="FP32", shape=[1, 4])
    return protocol.ModelInferRequest(model_name="iris", inputs=[tensor], **options)


def refused(code, call, asked):
    with pytest.raises(grpc.RpcError) as refusal:
        call(asked)
    assert refusal.value.code() == code
    return refusal.value.details()


def test_health_and_metadata(stub):
    assert stub.ServerLive(protocol.ServerLiveRequest()).live
    assert stub.ServerReady(protocol.ServerReadyRequest()).ready
    assert stub.ModelReady(protocol.ModelReadyRequest(name="iris")).ready
    assert not stub.ModelReady(protocol.ModelReadyRequest(name="other")).ready
    assert stub.ServerMetadata(protocol.ServerMetadataRequest()).name == "onnxd"
    model = stub.ModelMetadata(protocol.ModelMetadataRequest(name="iris", version="1"))
    assert (list(model.versions), list(model.inputs[0].shape)) == (["1"], [-1, 4])
    refused(grpc.StatusCode.NOT_FOUND, stub.ModelMetadata, protocol.ModelMetadataRequest(name="other"))


def test_typed_and_raw_contents_give_the_same(stub):
    typed = request(id="7")
    typed.inputs[0].contents.fp32_contents.extend(ROW)
    raw = request(id="7", raw_input_contents=[struct.pack("<4f", *ROW)])
    answer = stub.ModelInfer(typed)
    assert answer == stub.ModelInfer(raw)
    assert (answer.model_name, answer.model_version, answer.id) == ("iris", "1", "7")
    assert struct.unpack("<q", answer.raw_output_contents[0]) == (0,)
    assert sum(struct.unpack("<3f", answer.raw_output_contents[1])) == pytest.approx(1)


def test_wrong_requests_are_invalid(stub):
    wrong = grpc.StatusCode.INVALID_ARGUMENT
    row = struct.pack("<4f", *ROW)
    assert "unable to find data" in refused(wrong, stub.ModelInfer, request())
    assert "input byte size mismatch" in refused(wrong, stub.ModelInfer, request(raw_input_contents=[row[:-1]]))
    assert "expected 1 buffers" in refused(wrong, stub.ModelInfer, request(raw_input_contents=[row, row]))
    both = request(raw_input_contents=[row])
    both.inputs[0].contents.fp32_contents.extend(ROW)
    assert "contents" in refused(wrong, stub.ModelInfer, both)
    refused(wrong, stub.ModelInfer, request(model_version="first", raw_input_contents=[row]))
