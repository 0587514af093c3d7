"""KServe's InferenceRESTClient, by the V2 protocol."""

import asyncio

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], dtype=np.float32)


def call(ask):
    """Runs `ask` with a client of its own."""

    async def run():
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        try:
            return await ask(client)
        finally:
            await client.close()

    return asyncio.run(run())


def request(binary, rows=ROWS, **options):
    tensor = InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return InferRequest(model_name="iris", infer_inputs=[tensor], **options)


def test_health(daemon):
    assert call(lambda client: client.is_server_live(daemon.url)) is True
    assert call(lambda client: client.is_server_ready(daemon.url)) is True
    assert call(lambda client: client.is_model_ready(daemon.url, "iris")) is True
    assert call(lambda client: client.is_model_ready(daemon.url, "other")) is False


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_infer(daemon, binary_input, binary_output):
    outputs = [RequestedOutput(name, {"binary_data": binary_output}) for name in ("label", "probabilities")]
    asked = request(binary_input, request_id="a-1", request_outputs=outputs)
    answer = call(lambda client: client.infer(daemon.url, asked, model_name="iris"))
    assert (answer.model_name, answer.id) == ("iris", "a-1")
    label, probabilities = answer.outputs
    assert label.as_numpy().tolist() == [0, 2]
    assert probabilities.as_numpy().shape == (2, 3) and probabilities.datatype == "FP32"


def test_infer_without_an_id_and_as_a_dict(daemon):
    body = {"inputs": [{"name": "features", "shape": [2, 4], "datatype": "FP32", "data": ROWS.tolist()}]}
    answer = call(lambda client: client.infer(daemon.url, body, model_name="iris"))
    assert answer.outputs[0].as_numpy().tolist() == [0, 2]


def test_a_missing_value_is_nan(daemon):
    # This client writes NaN as null, and reads no tokens: NaN comes back to it as bytes.
    rows = ROWS.copy()
    rows[0, 0] = np.nan
    outputs = [RequestedOutput("probabilities", {"binary_data": True})]
    asked = request(False, rows=rows, request_outputs=outputs)
    answer = call(lambda client: client.infer(daemon.url, asked, model_name="iris"))
    assert np.isnan(answer.outputs[0].as_numpy()[0]).all()


def test_refusals(daemon):
    for name, status in [("other", 404), ("ride_duration", 400)]:
        with pytest.raises(httpx.HTTPStatusError) as refused:
            call(lambda client: client.infer(daemon.url, request(True), model_name=name))
        assert refused.value.response.status_code == status
