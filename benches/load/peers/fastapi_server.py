"""FastAPI with pydantic models, the model run in the handler: what its tutorials lead to, minus the thread pool."""

from fastapi import FastAPI
from pydantic import BaseModel

from model import Model

app = FastAPI()
model = Model()


class Row(BaseModel):
    features: list[float]


class Tensors(BaseModel):
    # Element types are left out: checking 150,528 pixels one by one would only make it slower.
    inputs: dict[str, list]


Body = Row if len(model.input.shape) == 2 and model.input.type == "tensor(float)" else Tensors


@app.post("/predict")
async def predict(body: Body):
    return model.answer(model.run(model.rows(body.model_dump())))
