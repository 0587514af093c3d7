"""A client of onnxd's own API, made from its `.proto` as a tutorial makes one."""

import subprocess
import sys
from pathlib import Path

import grpc
import pytest

PROTO = Path(__file__).parents[3] / "proto"


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """The generated modules: messages, and the stub."""
    folder = tmp_path_factory.mktemp("stubs")
    options = ["-I{}".format(PROTO), "--python_out={}".format(folder), "--grpc_python_out={}".format(folder)]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options, "prediction.proto"], check=True)
    sys.path.insert(0, str(folder))
    import prediction_pb2
    import prediction_pb2_grpc

    return prediction_pb2, prediction_pb2_grpc


@pytest.fixture
def stub(daemon, stubs):
    with grpc.insecure_channel(daemon.grpc) as channel:
        yield stubs[1].PredictionServiceStub(channel)


def test_one_row(stub, stubs):
    answer = stub.Predict(stubs[0].PredictRequest(features=[5.1, 3.5, 1.4, 0.2]))
    assert (answer.model, answer.model_version) == ("iris", "1")
    prediction = answer.predictions[0]
    assert (prediction.prediction.integer, prediction.class_name, prediction.class_index) == (0, "setosa", 0)
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_rows_by_name(stub, stubs):
    value, row = stubs[0].Value, stubs[0].Row
    ride = {"PULocationID": value(integer=100), "DOLocationID": value(integer=200), "trip_distance": value(number=3.5)}
    answer = stub.Predict(stubs[0].PredictRequest(model="ride_duration", rows=[row(named=ride), row(named=ride)]))
    first, second = answer.predictions
    assert first.prediction.number == second.prediction.number == pytest.approx(13.65, abs=0.01)


def test_refusals(stub, stubs):
    with pytest.raises(grpc.RpcError) as refusal:
        stub.Predict(stubs[0].PredictRequest(features=[5.1]))
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.value.details() == "expected 4 features, but got 1"
    with pytest.raises(grpc.RpcError) as refusal:
        stub.Predict(stubs[0].PredictRequest(model="other", features=[5.1]))
    assert refusal.value.code() == grpc.StatusCode.NOT_FOUND
