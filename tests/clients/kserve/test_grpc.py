"""KServe's InferenceGRPCClient."""

import asyncio

import grpc
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], dtype=np.float32)


def call(daemon, ask):
    """Runs `ask` with a client of its own."""

    async def run():
        async with InferenceGRPCClient(daemon.grpc) as client:
            return await ask(client)

    return asyncio.run(run())


def request(raw, rows=ROWS, model="iris", **options):
    tensor = InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=raw)
    return InferRequest(model_name=model, infer_inputs=[tensor], **options)


def refused(daemon, asked):
    with pytest.raises(grpc.RpcError) as refusal:
        call(daemon, lambda client: client.infer(asked))
    return refusal.value.code(), refusal.value.details()


def test_health(daemon):
    assert call(daemon, lambda client: client.is_server_live()) is True
    assert call(daemon, lambda client: client.is_server_ready()) is True
    assert call(daemon, lambda client: client.is_model_ready("iris")) is True
    assert call(daemon, lambda client: client.is_model_ready("other")) is False


@pytest.mark.parametrize("raw", [True, False])
def test_infer(daemon, raw):
    answer = call(daemon, lambda client: client.infer(request(raw, request_id="a-1")))
    assert (answer.model_name, answer.model_version, answer.id) == ("iris", "1", "a-1")
    label, probabilities = answer.outputs
    assert label.as_numpy().tolist() == [0, 2]
    assert probabilities.as_numpy().shape == (2, 3)
    assert probabilities.datatype == "FP32"


def test_only_the_output_that_is_asked_for(daemon):
    asked = request(True, request_outputs=[RequestedOutput("label")])
    answer = call(daemon, lambda client: client.infer(asked))
    assert [output.name for output in answer.outputs] == ["label"]


@pytest.mark.parametrize("raw", [True, False])
def test_strings(daemon, raw):
    words = np.array([["petal width"], ["pixels of a digit"]], dtype=np.object_)
    tensor = InferInput("text", [2, 1], "BYTES")
    tensor.set_data_from_numpy(words, binary_data=raw)
    asked = InferRequest(model_name="text", infer_inputs=[tensor])
    answer = call(daemon, lambda client: client.infer(asked))
    assert answer.outputs[0].as_numpy().shape == (2,)


def test_refusals(daemon):
    code, message = refused(daemon, request(True, rows=np.zeros((1, 5), np.float32)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "Expected [-1,4], got [1,5]" in message
    assert refused(daemon, request(True, model="other"))[0] == grpc.StatusCode.NOT_FOUND
