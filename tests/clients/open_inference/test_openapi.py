"""The client that is generated from the protocol's own OpenAPI document: strict about what answers are made of."""

import pytest
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.types import InferenceRequest, RequestInput, RequestOutput, TensorData

ROW = RequestInput(name="features", shape=[1, 4], datatype="FP32", data=TensorData(__root__=[5.1, 3.5, 1.4, 0.2]))


@pytest.fixture(scope="module")
def client(daemon):
    return OpenInferenceClient(base_url=daemon.url)


def test_health(client):
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("iris")
    client.check_model_version_readiness("iris", "1")
    with pytest.raises(ApiError) as refused:
        client.check_model_readiness("other")
    assert refused.value.status_code == 404


def test_metadata(client):
    server = client.read_server_metadata()
    assert server.name == "onnxd" and "binary_tensor_data" in server.extensions
    model = client.read_model_metadata("iris")
    assert (model.name, model.versions, model.platform) == ("iris", ["1"], "onnxruntime_onnx")
    assert model.properties["classes"] == '["setosa","versicolor","virginica"]'
    assert client.read_model_version_metadata("iris", "1") == model


def test_infer(client):
    request = InferenceRequest(id="a", inputs=[ROW], outputs=[RequestOutput(name="label")])
    answer = client.model_infer("iris", request=request)
    assert (answer.model_name, answer.model_version, answer.id) == ("iris", "1", "a")
    assert [(output.name, output.shape, output.data.__root__) for output in answer.outputs] == [("label", [1], [0])]
    both = client.model_version_infer("iris", "1", request=InferenceRequest(inputs=[ROW]))
    assert both.id is None and len(both.outputs) == 2


def test_refusals(client):
    for name, request in [("iris", InferenceRequest(inputs=[])), ("other", InferenceRequest(inputs=[ROW]))]:
        with pytest.raises(ApiError) as refused:
            client.model_infer(name, request=request)
        assert refused.value.status_code in (400, 404) and refused.value.body["error"]
