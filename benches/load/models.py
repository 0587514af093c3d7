"""The bench models: which request each is asked, and how an answer is checked."""

import json
import math
import struct
from pathlib import Path
from typing import NamedTuple

from paths import MODELS


class BenchModel(NamedTuple):
    """One model. `form` is the body's form, as contestants/src/bin/floor.rs knows it."""

    name: str
    form: str

    @property
    def file(self) -> Path:
        return MODELS / self.name / "1" / "model.onnx"

    def body_file(self, protocol="body.json") -> Path:
        """Returns the file with the request: `body.json` is onnxd's JSON, `v2.json` the Open Inference form, `raw.bin` the
        tensor's bytes, `message.bin` a gRPC message with its prefix."""
        return self.file.with_name(protocol)

    def expected(self):
        return json.loads(self.file.with_name("expected.json").read_text())


MODELS_BY_NAME = {
    model.name: model
    for model in [
        BenchModel("iris", "iris"),
        BenchModel("mlp", "row"),
        BenchModel("resnet", "image"),
        BenchModel("transformer", "tokens"),
    ]
}


def problem_with(answer: bytes, model: BenchModel):
    """Returns what is wrong with an answer, or None: it must hold the numbers that the runtime itself gives."""
    try:
        numbers = numbers_of(*parts_of(answer))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return f"not an answer ({type(error).__name__}: {error}): {answer[:200]!r}"
    expected = model.expected()
    if len(numbers) != len(expected):
        return f"expected {len(expected)} numbers, got {len(numbers)}: {answer[:200]!r}"
    for index, (got, wanted) in enumerate(zip(numbers, expected)):
        if not math.isclose(got, wanted, rel_tol=1e-3, abs_tol=1e-3):
            return f"number {index} is {got}, expected {wanted}"
    return None


def parts_of(answer):
    """Returns the JSON that an answer begins with, and the bytes after it."""
    parsed, end = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
    return parsed, answer[end:]


def numbers_of(answer, binary=b""):
    """Returns the numbers of a parsed answer: probabilities, or the last output tensor, in any protocol."""
    if binary:
        size = answer["outputs"][-1]["parameters"]["binary_data_size"]
        return [value for (value,) in struct.iter_unpack("<f", binary[-size:])]
    if "probabilities" in answer:
        return [float(value) for value in answer["probabilities"].values()]
    outputs = answer["outputs"]
    values = outputs[-1]["data"] if isinstance(outputs, list) else list(outputs.values())[-1]
    return flat(values)


def flat(values):
    return [number for value in values for number in flat(value)] if isinstance(values, list) else [float(values)]
