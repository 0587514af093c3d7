"""tritonclient over HTTP, with and without asyncio: every call that onnxd answers, and how it refuses the others."""

import asyncio
import inspect

import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], dtype=np.float32)


class Blocking:
    """The client of `tritonclient.http.aio`, called without `await`, so that both clients take the same tests."""

    def __init__(self, url):
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(self._make(url))

    async def _make(self, url):
        return tritonclient.http.aio.InferenceServerClient(url)

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*arguments, **options):
            outcome = method(*arguments, **options)
            return self._loop.run_until_complete(outcome) if inspect.isawaitable(outcome) else outcome

        return call

    def close(self):
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


@pytest.fixture(params=["http", "http.aio"])
def client(request, daemon):
    made = {"http": tritonclient.http.InferenceServerClient, "http.aio": Blocking}[request.param](daemon.address)
    yield made
    made.close()


def features(binary=True, rows=ROWS):
    tensor = tritonclient.http.InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return tensor


def refusal(call, *arguments, **options):
    with pytest.raises(InferenceServerException) as refused:
        call(*arguments, **options)
    return str(refused.value.message())


def test_health_and_metadata(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("iris") and client.is_model_ready("iris", "1")
    assert not client.is_model_ready("other") and not client.is_model_ready("iris", "2")
    assert "statistics" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("iris")
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}]
    assert client.get_model_metadata("iris", "1") == metadata
    config = client.get_model_config("iris")
    assert config["max_batch_size"] == 64
    assert config["input"] == [{"name": "features", "data_type": "TYPE_FP32", "dims": [4]}]


def test_unknown_models_and_versions_are_told(client):
    assert "Request for unknown model: 'other' is not found" in refusal(client.get_model_metadata, "other")
    assert "version 9 is not found" in refusal(client.get_model_config, "iris", "9")
    assert "'other'" in refusal(client.infer, "other", [features()])


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_infer_by_json_and_by_bytes(client, binary_input, binary_output):
    outputs = [
        tritonclient.http.InferRequestedOutput("probabilities", binary_data=binary_output),
        tritonclient.http.InferRequestedOutput("label", binary_data=binary_output),
    ]
    result = client.infer("iris", [features(binary_input)], request_id="a-1", outputs=outputs)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("a-1", "iris", "1")
    assert result.as_numpy("label").tolist() == [0, 2]
    probabilities = result.as_numpy("probabilities")
    assert probabilities.dtype == np.float32 and probabilities.shape == (2, 3)
    both = client.infer("iris", [features(not binary_input)])
    assert both.as_numpy("probabilities").tobytes() == probabilities.tobytes()


def test_one_output_of_two(client):
    result = client.infer("iris", [features()], outputs=[tritonclient.http.InferRequestedOutput("label")])
    assert [output["name"] for output in result.get_response()["outputs"]] == ["label"]
    assert result.as_numpy("probabilities") is None


def test_classification(client):
    output = tritonclient.http.InferRequestedOutput("probabilities", class_count=2)
    classes = client.infer("iris", [features()], outputs=[output]).as_numpy("probabilities")
    assert classes.shape == (2, 2)
    assert classes[0][0].decode() == "0.979701:0:setosa" and classes[1][0].decode().endswith(":2:virginica")
    label = tritonclient.http.InferRequestedOutput("output_label", class_count=1)
    assert "BYTES" in refusal(client.infer, "iris_zipmap", [features()], outputs=[label])


def test_zip_map_is_a_tensor(client):
    result = client.infer("iris_zipmap", [features()])
    assert result.as_numpy("output_label").tolist() == [b"setosa", b"virginica"]
    assert result.as_numpy("output_probability").shape == (2, 3)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression(client, algorithm):
    rows = np.tile(ROWS, (500, 1))
    result = client.infer(
        "iris",
        [features(rows=rows)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert result.as_numpy("label").tolist() == [0, 2] * 500


def test_statistics_and_index(client):
    before = client.get_inference_statistics("iris")["model_stats"][0]
    client.infer("iris", [features()])
    after = client.get_inference_statistics("iris", "1")["model_stats"][0]
    assert after["inference_count"] == before["inference_count"] + 2
    assert after["inference_stats"]["success"]["count"] == before["inference_stats"]["success"]["count"] + 1
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert len(client.get_inference_statistics()["model_stats"]) == 6
    index = client.get_model_repository_index()
    assert {"name": "iris", "version": "1", "state": "READY", "reason": ""} in index


def test_loading_is_not_enabled(client):
    files = {"file:1/model.onnx": b"bytes"}
    for call, options in [
        (client.load_model, {}),
        (client.load_model, {"config": "{}", "files": files}),
        (client.unload_model, {}),
        (client.unload_model, {"unload_dependents": True}),
    ]:
        assert "explicit model load / unload is not enabled" in refusal(call, "iris", **options)


def test_what_is_not_there_is_404(client):
    for call, *arguments in [
        (client.get_trace_settings,),
        (client.get_trace_settings, "iris"),
        (client.update_trace_settings, "iris", {"trace_level": ["OFF"]}),
        (client.get_log_settings,),
        (client.update_log_settings, {"log_verbose_level": 1}),
        (client.get_system_shared_memory_status,),
        (client.get_system_shared_memory_status, "region"),
        (client.register_system_shared_memory, "region", "/key", 16),
        (client.unregister_system_shared_memory,),
        (client.get_cuda_shared_memory_status,),
        (client.register_cuda_shared_memory, "region", b"aGFuZGxl", 0, 16),
        (client.unregister_cuda_shared_memory, "region"),
    ]:
        assert "there is nothing at" in refusal(call, *arguments), call.__name__


def test_wrong_requests_are_told(client):
    wrong_name = tritonclient.http.InferInput("f", [1, 4], "FP32").set_data_from_numpy(ROWS[:1])
    assert "unexpected inference input 'f'" in refusal(client.infer, "iris", [wrong_name])
    wrong_type = tritonclient.http.InferInput("features", [1, 4], "FP64").set_data_from_numpy(ROWS[:1].astype("f8"))
    message = "inference input 'features' data-type is 'FP64', but model 'iris' expects 'FP32'"
    assert message in refusal(client.infer, "iris", [wrong_type])
    wide = features(rows=np.zeros((1, 5), np.float32))
    assert "Expected [-1,4], got [1,5]" in refusal(client.infer, "iris", [wide])
    output = tritonclient.http.InferRequestedOutput("o")
    assert "unexpected inference output 'o'" in refusal(client.infer, "iris", [features()], outputs=[output])
    region = tritonclient.http.InferInput("features", [1, 4], "FP32").set_shared_memory("region", 16)
    assert "shared memory is not supported" in refusal(client.infer, "iris", [region])
    assert "expected 1 inputs but got 0 inputs" in refusal(client.infer, "iris", [])


def test_a_request_may_give_itself_time(client):
    result = client.infer("iris", [features()], timeout=10_000_000, priority=1, parameters={"mine": "x"})
    assert result.as_numpy("label").tolist() == [0, 2]


def test_asynchronous_requests(daemon):
    with tritonclient.http.InferenceServerClient(daemon.address, concurrency=4) as client:
        requests = [client.async_infer("iris", [features()], request_id=str(index)) for index in range(50)]
        assert [request.get_result().get_response()["id"] for request in requests] == [str(i) for i in range(50)]
