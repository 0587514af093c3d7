"""tritonclient over gRPC, synchronous, asynchronous and in streams."""

import asyncio
import queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as aio_client
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], np.float32)


@pytest.fixture(params=["grpc port", "http port"])
def client(daemon, request):
    """A client of either port: gRPC is answered on both."""
    address = daemon.grpc if request.param == "grpc port" else daemon.url.removeprefix("http://")
    with grpc_client.InferenceServerClient(address) as client:
        yield client


def tensor(values, name="features", datatype="FP32", module=grpc_client):
    tensor = module.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


def refused(code, call, *arguments, **options):
    with pytest.raises(InferenceServerException) as refusal:
        call(*arguments, **options)
    assert refusal.value.status() == "StatusCode.{}".format(code)
    return refusal.value.message()


def test_server_and_models_are_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("iris")
    assert client.is_model_ready("iris", "1")
    assert not client.is_model_ready("iris", "2")
    assert not client.is_model_ready("nope")
    refused("INVALID_ARGUMENT", client.is_model_ready, "iris", "one")


def test_metadata_and_configuration(client):
    server = client.get_server_metadata()
    assert server.name == "onnxd"
    assert set(server.extensions) >= {"binary_tensor_data", "classification", "model_configuration", "statistics"}
    model = client.get_model_metadata("iris", as_json=True)
    assert model["inputs"] == [{"name": "features", "datatype": "FP32", "shape": ["-1", "4"]}]
    assert model["platform"] == "onnxruntime_onnx"
    config = client.get_model_config("iris").config
    assert (config.max_batch_size, list(config.input[0].dims)) == (64, [4])
    assert config.input[0].data_type == model_config_pb2.TYPE_FP32
    assert client.get_model_config("text").config.input[0].data_type == model_config_pb2.TYPE_STRING
    refused("NOT_FOUND", client.get_model_metadata, "nope")
    refused("NOT_FOUND", client.get_model_config, "iris", "9")


def test_infer_gives_numpy(client):
    result = client.infer("iris", [tensor(ROWS)], request_id="mine")
    assert result.get_response().id == "mine"
    assert result.as_numpy("label").tolist() == [0, 2]
    assert result.as_numpy("probabilities").dtype == np.float32
    assert np.allclose(result.as_numpy("probabilities").sum(axis=1), 1)


def test_only_the_outputs_that_are_asked_for(client):
    outputs = [grpc_client.InferRequestedOutput("probabilities", class_count=1)]
    result = client.infer("iris", [tensor(ROWS)], outputs=outputs)
    assert result.as_numpy("label") is None
    assert [row[0].split(b":")[1:] for row in result.as_numpy("probabilities")] == [[b"0", b"setosa"], [b"2", b"virginica"]]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression_changes_nothing(client, algorithm):
    plain = client.infer("iris", [tensor(ROWS)]).as_numpy("probabilities")
    compressed = client.infer("iris", [tensor(ROWS)], compression_algorithm=algorithm).as_numpy("probabilities")
    assert np.array_equal(plain, compressed)


def test_strings_keep_what_is_in_them(client):
    words = np.array([["petal width"], ["he\0llo"], [b"\xff\xfe".decode("latin-1")]], dtype=np.object_)
    assert client.infer("text", [tensor(words, "text", "BYTES")]).as_numpy("label").shape == (3,)


def test_refusals_have_their_codes(client):
    wide = np.zeros((1, 5), np.float32)
    message = refused("INVALID_ARGUMENT", client.infer, "iris", [tensor(wide)])
    assert message == "unexpected shape for input 'features' for model 'iris'. Expected [-1,4], got [1,5]"
    message = refused("INVALID_ARGUMENT", client.infer, "iris", [tensor(ROWS.astype(np.float64), datatype="FP64")])
    assert "data-type is 'FP64', but model 'iris' expects 'FP32'" in message
    assert "unexpected inference input 'x'" in refused("INVALID_ARGUMENT", client.infer, "iris", [tensor(ROWS, "x")])
    assert "expected 1 inputs but got 0" in refused("INVALID_ARGUMENT", client.infer, "iris", [])
    outputs = [grpc_client.InferRequestedOutput("nope")]
    refused("INVALID_ARGUMENT", client.infer, "iris", [tensor(ROWS)], outputs=outputs)
    refused("NOT_FOUND", client.infer, "nope", [tensor(ROWS)])
    refused("NOT_FOUND", client.infer, "iris", [tensor(ROWS)], model_version="2")
    refused("UNAVAILABLE", client.load_model, "iris")
    refused("UNAVAILABLE", client.unload_model, "iris")
    refused("UNAVAILABLE", client.load_model, "iris", config="{}", files={"file:1/model.onnx": b"bytes"})
    refused("UNIMPLEMENTED", client.get_system_shared_memory_status)
    refused("UNIMPLEMENTED", client.register_system_shared_memory, "region", "/key", 16)
    refused("UNIMPLEMENTED", client.unregister_system_shared_memory, "region")
    refused("UNIMPLEMENTED", client.get_cuda_shared_memory_status)
    refused("UNIMPLEMENTED", client.register_cuda_shared_memory, "region", b"aGFuZGxl", 0, 16)
    refused("UNIMPLEMENTED", client.unregister_cuda_shared_memory)
    refused("UNIMPLEMENTED", client.get_trace_settings)
    refused("UNIMPLEMENTED", client.update_trace_settings, "iris", {"trace_level": ["OFF"]})
    refused("UNIMPLEMENTED", client.get_log_settings)
    refused("UNIMPLEMENTED", client.update_log_settings, {"log_verbose_level": 1})


def test_shared_memory_is_refused(client):
    shared = grpc_client.InferInput("features", [2, 4], "FP32")
    shared.set_shared_memory("region", 32)
    assert "shared memory" in refused("INVALID_ARGUMENT", client.infer, "iris", [shared])


@pytest.mark.parametrize("port", ["grpc port", "http port"])
def test_timeouts_end_a_call(echo, port):
    address = echo.grpc if port == "grpc port" else echo.address
    with grpc_client.InferenceServerClient(address) as client:
        inputs = [tensor(ROWS, "x")]
        refused("DEADLINE_EXCEEDED", client.infer, "patient", inputs, client_timeout=0.2)
        message = refused("DEADLINE_EXCEEDED", client.infer, "patient", inputs, timeout=200_000)
        assert "200" in message
        assert client.infer("identity_FP32", inputs, client_timeout=60, timeout=60_000_000)


def test_statistics_and_index(client):
    before = client.get_inference_statistics("iris").model_stats[0]
    client.infer("iris", [tensor(ROWS)])
    after = client.get_inference_statistics("iris", "1").model_stats[0]
    assert after.inference_count - before.inference_count == len(ROWS)
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        earlier, later = getattr(before.inference_stats, part), getattr(after.inference_stats, part)
        assert later.count - earlier.count == 1, part
        assert later.ns > earlier.ns, part
    assert {model.name for model in client.get_inference_statistics().model_stats} >= {"iris", "text"}
    assert {(model.name, model.state) for model in client.get_model_repository_index().models} >= {("iris", "READY")}


def test_calls_may_be_asynchronous(client):
    results = queue.Queue()
    for _ in range(20):
        client.async_infer("iris", [tensor(ROWS)], callback=lambda result, error: results.put((result, error)))
    for _ in range(20):
        result, error = results.get(timeout=30)
        assert error is None
        assert result.as_numpy("label").tolist() == [0, 2]


def test_streams_answer_in_order_and_survive_errors(client):
    results = queue.Queue()
    client.start_stream(callback=lambda result, error: results.put((result, error)))
    for index in range(20):
        client.async_stream_infer("iris", [tensor(ROWS)], request_id=str(index))
    client.async_stream_infer("nope", [tensor(ROWS)], request_id="wrong")
    client.async_stream_infer("iris", [tensor(ROWS)], request_id="last", enable_empty_final_response=True)
    for index in range(20):
        result, error = results.get(timeout=30)
        assert error is None
        assert result.get_response().id == str(index)
        assert "triton_final_response" not in result.get_response().parameters
    _, error = results.get(timeout=30)
    assert "unknown model" in error.message()
    result, error = results.get(timeout=30)
    assert error is None
    assert result.get_response().id == "last"
    assert result.get_response().parameters["triton_final_response"].bool_param
    client.stop_stream()


def test_keepalive_pings_are_not_too_many(daemon):
    options = grpc_client.KeepAliveOptions(
        keepalive_time_ms=50, keepalive_timeout_ms=20_000, keepalive_permit_without_calls=True, http2_max_pings_without_data=0
    )
    with grpc_client.InferenceServerClient(daemon.grpc, keepalive_options=options) as client:
        assert client.is_server_live()
        # Long enough for pings, of which a strict server takes two.
        with pytest.raises(queue.Empty):
            queue.Queue().get(timeout=1)
        assert client.is_server_live()


def test_asyncio_client(daemon):
    async def talk():
        async with aio_client.InferenceServerClient(daemon.grpc) as client:
            assert await client.is_server_ready()
            one = tensor(ROWS, module=aio_client)
            results = await asyncio.gather(*(client.infer("iris", [one]) for _ in range(20)))
            assert all(result.as_numpy("label").tolist() == [0, 2] for result in results)

            async def requests():
                for index in range(5):
                    yield {"model_name": "iris", "inputs": [one], "request_id": str(index)}

            ids = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                ids.append(result.get_response().id)
            assert ids == ["0", "1", "2", "3", "4"]
            with pytest.raises(InferenceServerException) as refusal:
                await client.infer("nope", [one])
            assert refusal.value.status() == "StatusCode.NOT_FOUND"

    asyncio.run(talk())


def test_messages_of_20_megabytes_pass(echo):
    """Servers that keep to gRPC's own default take 4 MiB."""
    values = np.arange(5_000_000, dtype=np.float32).reshape(1000, 5000)
    with grpc_client.InferenceServerClient(echo.grpc) as client:
        result = client.infer("identity_FP32", [tensor(values, "x")])
        assert result.as_numpy("y").tobytes() == values.tobytes()


def test_large_tensors_pass(client):
    rows = np.tile(ROWS, (40_000, 1))
    assert client.infer("iris", [tensor(rows)]).as_numpy("label").shape == (80_000,)


def test_the_wire_is_tritons(daemon):
    """What reflection tells of the service is a part of what the client was made of, number for number."""
    with grpc.insecure_channel(daemon.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) >= {"inference.GRPCInferenceService", "onnxd.v1.PredictionService"}
        pool = descriptor_pool.DescriptorPool(database)
        service = pool.FindServiceByName("inference.GRPCInferenceService")
        ours = {}
        for file in (service.file, *service.file.dependencies):
            copy = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(copy)
            ours |= fields_of(copy)
        tritons = {}
        for module in (service_pb2, model_config_pb2):
            copy = descriptor_pb2.FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(copy)
            tritons |= fields_of(copy)
        assert len(ours) > 150
        assert {name: field for name, field in ours.items() if tritons.get(name) != field} == {}
        methods = {
            name: (method.input_type.full_name, method.output_type.full_name)
            for name, method in service.methods_by_name.items()
        }
        expected = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
        assert methods == {
            name: (method.input_type.full_name, method.output_type.full_name) for name, method in expected.items()
        }


def fields_of(file):
    """The fields and enum values of a file, each with its number, type and repetition."""
    fields = {}

    def add(prefix, message):
        for field in message.field:
            fields["{}.{}.{}".format(prefix, message.name, field.name)] = (
                field.number,
                field.type,
                field.label,
                field.type_name,
            )
        for enum in message.enum_type:
            add_enum("{}.{}".format(prefix, message.name), enum)
        for nested in message.nested_type:
            add("{}.{}".format(prefix, message.name), nested)

    def add_enum(prefix, enum):
        for value in enum.value:
            fields["{}.{}.{}".format(prefix, enum.name, value.name)] = value.number

    for message in file.message_type:
        add(file.package, message)
    for enum in file.enum_type:
        add_enum(file.package, enum)
    return fields
