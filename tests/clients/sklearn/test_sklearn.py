"""Every estimator of scikit-learn that skl2onnx converts: each protocol answers as scikit-learn does, or says why not."""

import http.client
import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from cases import ASKED, FEATURES, probabilities, same, write_repository
from serving import OUTPUT, serving

ROWS = FEATURES[:ASKED].tolist()

# What some models must be answered as: that answers are right does not show that they have the form which fits.
TASKS = {
    "LinearRegression_two": "regression",
    "MLPRegressor_two": "raw",
    "RandomForestRegressor_two": "regression",
    "MLPClassifier_multilabel": "multi_label",
    "OneVsRestClassifier_multilabel": "multi_label",
    "OneVsRestClassifier_multilabel_matrix": "multi_label",
    "PCA_unsupervised": "raw",
}


@pytest.fixture(scope="module")
def repository(pytestconfig):
    """The cases that can be served, and those that cannot."""
    served, sequences, left_out = write_repository(OUTPUT / "sklearn", OUTPUT / "sklearn-sequences")
    show(pytestconfig, "{} cases; left out:".format(len(served) + len(sequences)), left_out)
    return served, sequences


def show(pytestconfig, heading, counts):
    """Prints counts, also where all is well."""
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\nsklearn: {}".format(heading))
        for what, count in counts.most_common():
            print("sklearn: {:5} {}".format(count, what))


class Asked:
    """A connection to a daemon."""

    def __init__(self, daemon):
        self._connection = http.client.HTTPConnection(daemon.address, timeout=60)

    def get(self, path):
        self._connection.request("GET", path)
        return json.loads(self._connection.getresponse().read())

    def post(self, path, body):
        self._connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


def native(asked, case):
    """What is answered under `prediction`, `labels` and `probabilities`, or the outputs with the reason."""
    model = asked.get("/models/{}".format(case.name))
    status, answer = asked.post("/models/{}/predict".format(case.name), {"features": ROWS})
    assert status == 200, answer
    task = model["task"]
    assert task == TASKS.get(case.name, task)
    if task == "raw":
        assert model["task_reason"], model
        for name, array in case.outputs.items():
            assert same(answer["outputs"][name], array), name
        return "raw"
    rows = answer["predictions"]
    assert same([row["prediction"] for row in rows], case.expected), rows
    if task == "multi_label":
        names = [[str(label) for label in np.flatnonzero(row)] for row in case.expected]
        assert [row["labels"] for row in rows] == names, rows
    wanted = probabilities(case.estimator)
    if wanted is not None and task != "regression":
        given = [list(row["probabilities"].values()) for row in rows]
        assert same(given, wanted), "probabilities: {}, wanted {}".format(given, wanted)
        if task == "classification":
            # A mixture's classes are its components.
            classes = [str(name) for name in getattr(case.estimator, "classes_", range(wanted.shape[1]))]
            assert all(list(row["probabilities"]) == classes for row in rows), rows
            assert [row["predicted_class_name"] for row in rows] == case.expected.astype(str).tolist(), rows
    return task


def v1(asked, case):
    """The outputs row by row, or a refusal."""
    status, answer = asked.post("/v1/models/{}:predict".format(case.name), {"instances": ROWS})
    if status == 400 and "rows" in answer["error"]:
        return refused(case, answer["error"])
    assert status == 200, answer
    predictions = answer["predictions"]
    for name, array in case.outputs.items():
        got = predictions if len(case.outputs) == 1 else [row[name] for row in predictions]
        assert same(got, array), name
    return "equal"


def v2(asked, case):
    """The outputs by name."""
    data = FEATURES[:ASKED].ravel().tolist()
    tensor = {"name": case.input, "datatype": "FP32", "shape": list(FEATURES[:ASKED].shape), "data": data}
    status, answer = asked.post("/v2/models/{}/infer".format(case.name), {"inputs": [tensor]})
    assert status == 200, answer
    metadata = asked.get("/v2/models/{}".format(case.name))
    for output, declared in zip(answer["outputs"], metadata["outputs"]):
        assert same(np.array(output["data"]).reshape(output["shape"]), case.outputs[output["name"]]), output["name"]
        fits = [size in (-1, got) for size, got in zip(declared["shape"], output["shape"])]
        assert len(declared["shape"]) in (0, len(output["shape"])) and all(fits), (declared, output["shape"])
    return "equal"


def mlflow(asked, case):
    """Records, one a row, of a table; or a refusal."""
    table = {"dataframe_split": {"columns": list(range(FEATURES.shape[1])), "data": ROWS}}
    status, answer = asked.post("/invocations", table)
    if status == 400 and "rows" in answer["error"]:
        return refused(case, answer["error"])
    assert status == 200, answer
    for name, array in case.outputs.items():
        got = [list(row[name].values()) if isinstance(row[name], dict) else row[name] for row in answer["predictions"]]
        assert same(np.array(got).reshape(-1), array.reshape(-1)) and len(got) == ASKED, name
    return "equal"


def refused(case, reason):
    """Only what has no axis of rows may be refused."""
    rows = [len(array) if array.ndim else 1 for array in case.outputs.values()]
    assert any(size != ASKED for size in rows), reason
    return "refused with the reason"


def try_all(pairs, way, failed):
    """Tries every case, and counts how they were answered."""
    counts = Counter()
    for asked, case in pairs:
        try:
            counts[way(asked, case)] += 1
        except Exception as error:  # all are tried before the first is told
            counts["wrong"] += 1
            failed.append("{} {}: {}: {}".format(way.__name__, case.name, type(error).__name__, str(error)[:400]))
    return counts


def test_every_answer_is_scikit_learns(pytestconfig, repository):
    served, _ = repository
    assert TASKS.keys() <= {case.name for case in served}
    failed = []
    with serving(OUTPUT / "sklearn", "sklearn") as daemon:
        asked = Asked(daemon)
        for way in (native, v1, v2):
            counts = try_all([(asked, case) for case in served], way, failed)
            show(pytestconfig, "{}: {} models".format(way.__name__, counts.total()), counts)
        daemon.stop()
    assert not failed, "{} failed:\n{}".format(len(failed), "\n".join(failed))


def test_mlflow_answers_every_form_of_outputs(pytestconfig, repository):
    """MLflow's protocol asks the default model alone, so one model of each form is asked, by a daemon of its own."""
    served, _ = repository
    failed, counts = [], Counter()
    for case in {case.form(): case for case in served}.values():
        with serving(OUTPUT / "sklearn" / "{}.onnx".format(case.name), "sklearn-mlflow") as daemon:
            counts += try_all([(Asked(daemon), case)], mlflow, failed)
    show(pytestconfig, "mlflow: {} forms".format(counts.total()), counts)
    assert not failed, "{} failed:\n{}".format(len(failed), "\n".join(failed))


def test_sequences_of_tensors_are_refused_at_load(repository):
    _, sequences = repository
    command = [os.environ["ONNXD"], "inspect", str(Path(OUTPUT / "sklearn-sequences")), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    documents = {document["name"]: document for document in json.loads(result.stdout)}
    assert sequences and documents.keys() == {case.name for case in sequences}, result.stderr
    for document in documents.values():
        assert document["state"] == "failed" and "only tensors" in document["reason"], document
