"""What the Python peers share: the session, on one thread as everywhere, and the step from numbers to answer."""

import os

import numpy
import onnxruntime

CLASSES = ["setosa", "versicolor", "virginica"]


class Model:
    def __init__(self, path=None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        path = path or os.environ["BENCH_MODEL"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.dtype = numpy.int64 if self.input.type == "tensor(int64)" else numpy.float32

    def rows(self, body):
        """Returns the batch of a request: {"features": [...]} is one row, {"inputs": {name: [[...]]}} a batch."""
        values = [body["features"]] if "features" in body else body["inputs"][self.input.name]
        return numpy.asarray(values, self.dtype)

    def run(self, batch):
        return self.session.run(None, {self.input.name: batch})

    def answer(self, outputs):
        """Returns what is answered for one request's outputs."""
        if self.outputs[0] == "label":
            labels, probabilities = outputs
            named = dict(zip(CLASSES, probabilities[0].tolist()))
            return {"prediction": int(labels[0]), "probabilities": named}
        return {"outputs": {self.outputs[0]: outputs[0].tolist()}}
