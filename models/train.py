"""Trains the example models and writes their ONNX files and golden cases.

    python models/train.py [NAME ...]

Each function below makes one model: it fits on a training split, exports, and names the requests
that the golden file asks. Everything is seeded, so a second run writes the same bytes. `model.toml`
is written by hand; what it names is compared with what was trained. A new model is a function here,
a folder with a `model.toml`, and a line in README.md.
"""

import argparse
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import data
import export
import golden

SEED = 7
HELD_OUT = 0.25
FOLDER = Path(__file__).resolve().parent
IRIS_FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@dataclass(frozen=True)
class Trained:
    """A model ready to be written."""

    model: onnx.ModelProto
    score: str
    requests: list[golden.Request]
    answers: Callable
    reference: Callable
    named: dict = field(default_factory=dict)
    """What model.toml must say: table to list of names."""


def iris():
    """Logistic regression over one [N, 4] input, with integer labels and a probability matrix."""
    bunch = load_iris()
    train, test, train_labels, test_labels = split(bunch.data, bunch.target)
    estimator = make_pipeline(StandardScaler(), LogisticRegression())
    estimator.fit(train, train_labels)
    model = export.convert("iris", estimator, {"features": export.floats(4)}, zipmap=False)
    class_names = bunch.target_names.tolist()
    rows = golden.Rows(IRIS_FEATURES, "features")
    return Trained(
        model,
        accuracy(estimator, test, test_labels),
        [
            rows.one_positional([5.1, 3.5, 1.4, 0.2]),
            rows.one_flat([6.0, 2.9, 4.5, 1.5]),
            rows.named_reversed([[6.3, 3.3, 6.0, 2.5], [4.9, 3.0, 1.4, 0.2]]),
            rows.instances([[7, 3, 5, 2]]),
            rows.raw([[5.8, 2.7, 5.1, 1.9], [5.0, 3.4, 1.5, 0.2], [6.7, 3.1, 4.7, 1.5]]),
        ],
        golden.classification([0, 1, 2], class_names),
        matrix_reference(estimator, "features"),
        {"features": IRIS_FEATURES, "classes": class_names},
    )


def iris_zipmap():
    """A random forest exported as skl2onnx does by default: string labels and a ZipMap output."""
    bunch = load_iris()
    labels = bunch.target_names[bunch.target]
    train, test, train_labels, test_labels = split(bunch.data, labels)
    estimator = RandomForestClassifier(n_estimators=15, max_depth=4, random_state=SEED)
    estimator.fit(train, train_labels)
    rows = golden.Rows(IRIS_FEATURES, "features")
    class_names = estimator.classes_.tolist()
    return Trained(
        export.convert("iris_zipmap", estimator, {"features": export.floats(4)}),
        accuracy(estimator, test, test_labels),
        [
            rows.one_positional([5.1, 3.5, 1.4, 0.2]),
            rows.one_named([6.0, 2.7, 5.1, 1.6]),
            rows.positional([[6.3, 3.3, 6.0, 2.5], [5.6, 3.0, 4.1, 1.3]]),
            rows.named_instances([[5.9, 3.0, 5.1, 1.8], [4.4, 2.9, 1.4, 0.2]]),
        ],
        golden.classification(class_names, class_names),
        matrix_reference(estimator, "features"),
        {"features": IRIS_FEATURES},
    )


def ride_duration():
    """Ridge regression with an input for each column; the zone ids are one-hot encoded."""
    rides, minutes = data.generated_rides(8000, SEED)
    train, test, train_minutes, test_minutes = train_test_split(
        rides, minutes, test_size=HELD_OUT, random_state=SEED
    )
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("zones", encoder, [0, 1]), ("distance", "passthrough", [2])])
    estimator = make_pipeline(columns, Ridge(alpha=5.0, solver="cholesky"))
    estimator.fit(train, train_minutes)

    inputs = {
        "PULocationID": export.integers(1),
        "DOLocationID": export.integers(1),
        "trip_distance": export.floats(1),
    }
    model = export.convert("ride_duration", estimator, inputs)
    rows = golden.Rows(inputs)
    error = mean_absolute_error(test_minutes, estimator.predict(test))
    explained = estimator.score(test, test_minutes)
    return Trained(
        export.rename_output(model, "variable", "duration"),
        f"mean absolute error {error:.2f} min, R2 {explained:.3f} ({len(test)} rides held out)",
        [
            rows.one_flat([100, 200, 3.5]),
            rows.one_named([7, 7, 0.6]),
            # 999 is no zone: it is encoded as all zeros.
            rows.named_reversed([[132, 230, 9.25], [999, 48, 2.0]]),
            rows.named_instances([[1, 265, 8.75]]),
            rows.raw([[43, 151, 1.1], [264, 999, 5.0], [161, 237, 0.95]]),
        ],
        golden.regression("duration"),
        lambda feed: [estimator.predict(np.column_stack([feed[name] for name in inputs]))],
    )


def breast_cancer():
    """Gradient boosting whose feature and class names travel in the ONNX file's metadata."""
    bunch = load_breast_cancer()
    train, test, train_labels, test_labels = split(bunch.data, bunch.target)
    estimator = GradientBoostingClassifier(n_estimators=40, max_depth=3, random_state=SEED)
    estimator.fit(train, train_labels)
    model = export.convert("breast_cancer", estimator, {"features": export.floats(30)}, zipmap=False)
    feature_names = [name.replace(" ", "_") for name in bunch.feature_names.tolist()]
    class_names = bunch.target_names.tolist()
    rows = golden.Rows(feature_names, "features")
    samples = test[:7].tolist()
    return Trained(
        export.with_metadata(model, features=feature_names, classes=class_names),
        accuracy(estimator, test, test_labels),
        [
            rows.one_positional(samples[0]),
            rows.one_flat(samples[1]),
            rows.positional(samples[2:4]),
            rows.named_instances(samples[4:5]),
            rows.raw(samples[5:7]),
        ],
        golden.classification([0, 1], class_names),
        matrix_reference(estimator, "features"),
    )


def digits():
    """A small network over [N, 1, 8, 8] images that answers scores only: a raw tensor model."""
    bunch = load_digits()
    train, test, train_labels, test_labels = split(bunch.data / 16, bunch.target)
    estimator = MLPClassifier(hidden_layer_sizes=(32,), max_iter=1000, random_state=SEED)
    estimator.fit(train, train_labels)
    layers = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    images = test[:3].reshape(-1, 1, 8, 8).tolist()
    blank = np.zeros((1, 1, 8, 8)).tolist()
    return Trained(
        export.network("digits", "image", [1, 8, 8], layers, "scores"),
        accuracy(estimator, test, test_labels),
        [golden.raw({"image": rows}) for rows in (images[:1], images[1:], blank)],
        golden.tensors("scores"),
        lambda feed: [estimator.predict_proba(feed["image"].reshape(-1, 64).astype(float))],
    )


def text():
    """TF-IDF and logistic regression over strings: which data set is a sentence about?

    Case is kept and a word is a run of ASCII letters, digits and underscores: that is converted
    exactly, and needs no locale where the model is served.
    """
    sentences, labels = data.described_sentences()
    train, test, train_labels, test_labels = split(sentences, labels)
    words = TfidfVectorizer(lowercase=False, token_pattern="[a-zA-Z0-9_]+")
    estimator = make_pipeline(words, LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000))
    estimator.fit(train, train_labels)
    class_names = estimator.classes_.tolist()
    model = export.convert("text", estimator, {"text": export.strings(1)}, zipmap=False)
    rows = golden.Rows(["text"], "text")
    return Trained(
        model,
        accuracy(estimator, test, test_labels),
        [
            rows.one_positional(["Each iris plant has petals and sepals"]),
            rows.one_flat(["Images of handwritten digits, written by 43 people"]),
            rows.positional([[test[0]], [test[1]]]),
            rows.instances([["¿Qué? 30×30 — nothing known"], [""]]),
            rows.raw([[test[2]], ["Wines grown in Italy"], ["wine"]]),
        ],
        golden.classification(class_names, class_names),
        lambda feed: outputs(estimator, feed["text"][:, 0]),
        {"classes": class_names},
    )


def split(rows, labels):
    return train_test_split(rows, labels, test_size=HELD_OUT, random_state=SEED, stratify=labels)


def accuracy(estimator, test, labels):
    return f"accuracy {estimator.score(test, labels):.3f} ({len(labels)} rows held out)"


def matrix_reference(estimator, input_name):
    return lambda feed: outputs(estimator, feed[input_name].astype(float))


def outputs(estimator, rows):
    return [estimator.predict(rows), estimator.predict_proba(rows)]


MODELS = {make.__name__: make for make in (iris, iris_zipmap, ride_duration, breast_cancer, digits, text)}


def write(name):
    """Trains one model and writes its folder."""
    trained = MODELS[name]()
    settings = tomllib.loads((FOLDER / name / "model.toml").read_text("utf-8"))
    for table, names in trained.named.items():
        if settings[table]["names"] != names:
            raise ValueError(f"{name}/model.toml: [{table}] names should be {names}")

    version = FOLDER / name / "1"
    export.save(trained.model, version / "model.onnx")
    cases = golden.cases(version / "model.onnx", trained.requests, trained.answers, trained.reference)
    golden.save(version / "golden.json", cases)
    print(f"{name}: {trained.score}; {(version / 'model.onnx').stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description="Trains the example models.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(MODELS)}")
    names = parser.parse_args().names or list(MODELS)
    for name in names:
        if name not in MODELS:
            parser.error(f"no model {name}; there are {', '.join(MODELS)}")
    for name in names:
        write(name)


if __name__ == "__main__":
    main()
