"""KServe's InferenceRESTClient, by the V1 protocol."""

import asyncio

import httpx
import pytest
from kserve import InferenceRESTClient, RESTConfig

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]


def call(ask):
    """Runs `ask` with a client of its own."""

    async def run():
        client = InferenceRESTClient(RESTConfig(protocol="v1"))
        try:
            return await ask(client)
        finally:
            await client.close()

    return asyncio.run(run())


def test_health(daemon):
    assert call(lambda client: client.is_server_live(daemon.url)) is True
    assert call(lambda client: client.is_model_ready(daemon.url, "iris")) is True
    with pytest.raises(httpx.HTTPStatusError, match="there is no model"):
        call(lambda client: client.is_model_ready(daemon.url, "other"))


def test_predict(daemon):
    answer = call(lambda client: client.infer(daemon.url, {"instances": ROWS}, model_name="iris"))
    assert [row["label"] for row in answer["predictions"]] == [0, 2]
    assert answer["predictions"][0]["probabilities"] == [0.9797005, 0.020298982, 5.271873e-7]


def test_rows_by_input(daemon):
    ride = {"PULocationID": 100, "DOLocationID": 200, "trip_distance": 3.5}
    answer = call(lambda client: client.infer(daemon.url, {"instances": [ride]}, model_name="ride_duration"))
    assert answer == {"predictions": [[13.651377]]}


def test_refusals(daemon):
    with pytest.raises(httpx.HTTPStatusError, match="Servable not found for request: Latest"):
        call(lambda client: client.infer(daemon.url, {"instances": ROWS}, model_name="other"))
    with pytest.raises(httpx.HTTPStatusError, match="Encountered list at unexpected size"):
        call(lambda client: client.infer(daemon.url, {"instances": [[1, 2, 3]]}, model_name="iris"))
    with pytest.raises(httpx.HTTPStatusError, match="explanations are not supported"):
        call(lambda client: client.explain(daemon.url, "iris", {"instances": ROWS}))
