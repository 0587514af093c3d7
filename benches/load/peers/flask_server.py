"""Flask, the model run in the view."""

from flask import Flask, jsonify, request

from model import Model

app = Flask(__name__)
model = Model()


@app.post("/predict")
def predict():
    return jsonify(model.answer(model.run(model.rows(request.get_json()))))
