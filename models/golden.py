"""Golden cases: requests for a model, each with the answer it must get.

Every request is answered twice, by onnxruntime on the exported file and by scikit-learn on the same
float32 values, so that both the serving and the conversion are checked. The file is what
`onnxd check` reads; its numbers may be off by `tolerance`, absolutely.
"""

import json
from dataclasses import dataclass

import numpy as np
import onnxruntime
import sklearn

ONNXRUNTIME = f"onnxruntime {onnxruntime.__version__}"
SCIKIT_LEARN = f"scikit-learn {sklearn.__version__}"
ONNXRUNTIME_TOLERANCE = 1e-5
# scikit-learn computes in float64, the graph in float32: the tightest of these that holds is written.
SCIKIT_LEARN_TOLERANCES = (1e-6, 1e-5, 1e-4)
DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(string)": object}


@dataclass(frozen=True)
class Request:
    """One predict body, and the same rows as nested lists by input name."""

    body: dict
    inputs: dict
    one_row: bool = False


class Rows:
    """Writes rows of named columns in the forms that a predict body may take."""

    def __init__(self, names, input_name=None):
        """Takes the columns' names, and the one matrix input or None for one input per column."""
        self.names = list(names)
        self.input_name = input_name

    def inputs(self, rows):
        if self.input_name is not None:
            return {self.input_name: rows}
        return {name: [[row[column]] for row in rows] for column, name in enumerate(self.names)}

    def named(self, row):
        return dict(zip(self.names, row, strict=True))

    def one_positional(self, row):
        return Request({"features": row}, self.inputs([row]), one_row=True)

    def one_named(self, row):
        return Request({"features": self.named(row)}, self.inputs([row]), one_row=True)

    def one_flat(self, row):
        return Request(self.named(row), self.inputs([row]), one_row=True)

    def positional(self, rows):
        return Request({"features": rows}, self.inputs(rows))

    def named_reversed(self, rows):
        """Rows by name with the keys in reverse order: the order must not matter."""
        objects = [dict(reversed(self.named(row).items())) for row in rows]
        return Request({"features": objects}, self.inputs(rows))

    def instances(self, rows):
        return Request({"instances": rows}, self.inputs(rows))

    def named_instances(self, rows):
        return Request({"instances": [self.named(row) for row in rows]}, self.inputs(rows))

    def raw(self, rows):
        return raw(self.inputs(rows))


def raw(inputs):
    """A request that gives the tensors themselves, by input name."""
    return Request({"inputs": inputs}, inputs)


def classification(labels, class_names):
    """Answers from the outputs (label, probabilities), the latter as a matrix or as ZipMap's maps."""

    def answers(outputs):
        return {"predictions": [answer(*row) for row in zip(*outputs, strict=True)]}

    def answer(label, probabilities):
        if isinstance(probabilities, dict):
            probabilities = [np.float32(probabilities[known]) for known in labels]
        index = labels.index(label)
        return {
            "prediction": labels[index],
            "prediction_index": index,
            "predicted_class_name": class_names[index],
            "probabilities": dict(zip(class_names, map(number, probabilities), strict=True)),
        }

    return answers


def regression(prediction_name):
    """Answers from one output of shape [N, 1], given as `prediction` and under its own name."""

    def answers(outputs):
        values = [number(value) for value in np.ravel(outputs[0])]
        return {"predictions": [{"prediction": value, prediction_name: value} for value in values]}

    return answers


def tensors(*output_names):
    """Answers of a raw model: the output tensors by name."""

    def answers(outputs):
        arrays = dict(zip(output_names, outputs, strict=True))
        return {"outputs": {name: nested(array) for name, array in arrays.items()}}

    return answers


def number(value):
    """A float32 with the fewest digits that read back to it, a float64 to ten decimals."""
    return float(str(value)) if isinstance(value, np.float32) else round(float(value), 10)


def nested(array):
    return [nested(row) for row in array] if array.ndim > 0 else number(array[()])


def cases(onnx_path, requests, answers, reference):
    """Answers each request with onnxruntime and with `reference`, scikit-learn's own prediction.

    `answers` turns a list of outputs into a response; `reference` turns arrays by input name into
    outputs of the same order. Fails when the two do not agree.
    """
    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    dtypes = {value.name: DTYPES[value.type] for value in session.get_inputs()}
    served, expected = [], []
    for request in requests:
        feed = {name: np.array(request.inputs[name], dtype) for name, dtype in dtypes.items()}
        served.append(response(answers(session.run(None, feed)), request.one_row))
        expected.append(response(answers(reference(feed)), request.one_row))

    allowed = tolerance(served, expected)
    result = []
    for request, by_onnxruntime, by_scikit_learn in zip(requests, served, expected, strict=True):
        result.append(case(ONNXRUNTIME, request, by_onnxruntime, ONNXRUNTIME_TOLERANCE))
        result.append(case(SCIKIT_LEARN, request, by_scikit_learn, allowed))
    return result


def response(answer, one_row):
    return answer["predictions"][0] if one_row else answer


def case(source, request, expected, allowed):
    return {"source": source, "request": request.body, "response": expected, "tolerance": allowed}


def tolerance(served, expected):
    """The tightest tolerance that holds for a model's answers, and would for four times the difference.

    What is to spare is for other processors, whose last digits differ.
    """
    difference = largest_difference(served, expected)
    for allowed in SCIKIT_LEARN_TOLERANCES:
        if 4 * difference <= allowed:
            return allowed
    raise ValueError(f"onnxruntime and scikit-learn differ by {difference}")


def largest_difference(left, right):
    """The largest absolute difference between numbers in the same place; all else must be equal."""
    match left, right:
        case float(), float():
            return abs(left - right)
        case dict(), dict() if left.keys() == right.keys():
            return max((largest_difference(left[key], right[key]) for key in left), default=0.0)
        case list(), list() if len(left) == len(right):
            return max(map(largest_difference, left, right), default=0.0)
    if left != right:
        raise ValueError(f"onnxruntime answers {left!r}, scikit-learn {right!r}")
    return 0.0


def save(path, golden_cases):
    """Writes the file with a case on each line."""
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in golden_cases)
    path.write_text('{"cases":[\n' + lines + "\n]}\n", encoding="utf-8")
