"""Every node test that the protocol has words for and onnxruntime passes: over JSON, over bytes and over gRPC."""

import http.client
import json

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from cases import write_repository
from serving import OUTPUT, serving

# What is not served, and why; nothing else may fail, and nothing here may pass.
LEFT = {}


@pytest.fixture(scope="module")
def served(pytestconfig):
    """The cases, and a daemon that serves them."""
    cases, left_out = write_repository(OUTPUT / "nodes")
    # Shown also where all is well.
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("nodes: {} cases; {} are left out:".format(len(cases), left_out.total()))
        for why, count in left_out.most_common():
            print("nodes: {:5} {}".format(count, why))
    with serving(OUTPUT / "nodes", "nodes") as daemon:
        yield cases, daemon
        daemon.stop()


def by_json(daemon, case):
    """Asks as anyone with a JSON library would: the client of tritonclient refuses BF16 in JSON."""
    inputs = []
    for name, datatype, array in case.inputs:
        flat = array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
        data = flat.flatten().tolist()
        inputs.append({"name": name, "datatype": datatype, "shape": list(array.shape), "data": data})
    connection = http.client.HTTPConnection(daemon.address, timeout=30)
    try:
        connection.request("POST", "/v2/models/{}/infer".format(case.name), json.dumps({"inputs": inputs}))
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()
    assert response.status == 200, answer
    dtypes = {name: array.dtype for name, array in case.outputs}
    return {
        output["name"]: np.array(output["data"], dtypes[output["name"]]).reshape(output["shape"])
        for output in answer["outputs"]
    }


def by_bytes(daemon, case):
    """Asks with tritonclient over HTTP."""
    return by_tritonclient(tritonclient.http, daemon.address, case)


def by_grpc(daemon, case):
    """Asks with tritonclient over gRPC."""
    return by_tritonclient(tritonclient.grpc, daemon.grpc, case)


def by_tritonclient(protocol, address, case):
    inputs = []
    for name, datatype, array in case.inputs:
        array = array.astype(np.object_) if datatype == "BYTES" else array
        inputs.append(protocol.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array))
    with protocol.InferenceServerClient(address) as client:
        result = client.infer(case.name, inputs)
        return {name: result.as_numpy(name) for name, _ in case.outputs}


@pytest.mark.parametrize("way", [by_json, by_bytes, by_grpc])
def test_every_case_gives_what_it_should(served, way):
    cases, daemon = served
    failed = {}
    for case in cases:
        try:
            case.check(way(daemon, case))
        except Exception as error:  # all are tried before the first is told
            failed[case.name] = "{}: {}".format(type(error).__name__, str(error).strip()[:300])
    told = "\n".join("{}: {}".format(name, why) for name, why in failed.items() if name not in LEFT)
    assert failed.keys() == LEFT.keys(), "{} of {} failed:\n{}".format(len(failed), len(cases), told)
