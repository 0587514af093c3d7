"""A caller of `mlflow models serve`: data frames by pandas, posted by requests, as MLflow's documentation shows it.

What a real MLflow answers is in tests/data/mlflow.json, which tests/it/mlflow_recorded.rs compares.
"""

import numpy as np
import pandas as pd
import pytest
import requests

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
FRAME = pd.DataFrame([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], columns=COLUMNS)


def invoke(daemon, **options):
    return requests.post(daemon.url + "/invocations", timeout=30, **options)


def labels(response):
    assert response.status_code == 200, response.text
    return [record["label"] for record in response.json()["predictions"]]


@pytest.mark.parametrize("frame", [FRAME, FRAME[COLUMNS[::-1]], FRAME.set_axis(list("abcd"), axis=1)])
def test_data_frames(daemon, frame):
    assert labels(invoke(daemon, json={"dataframe_split": frame.to_dict(orient="split")})) == [0, 2]
    assert labels(invoke(daemon, json={"dataframe_records": frame.to_dict(orient="records")})) == [0, 2]
    csv = frame.to_csv(index=False)
    assert labels(invoke(daemon, data=csv, headers={"content-type": "text/csv; charset=utf-8"})) == [0, 2]


def test_predictions_are_a_frame_again(daemon):
    response = invoke(daemon, json={"dataframe_split": FRAME.to_dict(orient="split")})
    predictions = pd.DataFrame(response.json()["predictions"])
    assert list(predictions.columns) == ["label", "probabilities"]
    assert np.float32(predictions["probabilities"][0]).tolist() == np.float32([0.9797005, 0.020298982, 5.271873e-7]).tolist()


def test_tensors(daemon):
    for body in [{"inputs": FRAME.to_numpy().tolist()}, {"inputs": {"features": FRAME.to_numpy().tolist()}}]:
        response = invoke(daemon, json={**body, "params": {"threshold": 0.5}})
        assert response.json()["predictions"]["label"] == [0, 2]


def test_missing_values_are_nan(daemon):
    frame = FRAME.assign(sepal_width=np.nan)
    body = '{"dataframe_split": %s}' % frame.to_json(orient="split")
    response = invoke(daemon, data=body, headers={"content-type": "application/json"})
    assert np.isnan(response.json()["predictions"][0]["probabilities"]).all()


def test_health(daemon):
    assert requests.get(daemon.url + "/ping", timeout=30).text == "\n"
    assert requests.get(daemon.url + "/version", timeout=30).status_code == 200


def test_refusals(daemon):
    response = invoke(daemon, json={"rows": []})
    assert (response.status_code, response.json()["error_code"]) == (400, "BAD_REQUEST")
    assert response.json()["message"].startswith("The input must be a JSON dictionary with exactly one of")
    assert invoke(daemon, data="x", headers={"content-type": "text/plain"}).status_code == 415
