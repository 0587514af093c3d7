"""scikit-learn's estimators as a model repository: each on every kind of target that it takes, through skl2onnx."""

import inspect
import multiprocessing
import os
import warnings
from collections import Counter

import numpy as np
import onnx
import onnxruntime
from skl2onnx import to_onnx
from sklearn import base, linear_model, preprocessing, tree
from sklearn.utils import all_estimators

ROWS, COLUMNS = 40, 4
# So many rows are asked for: more than the labels or targets of any kind.
ASKED = 5
# The models compute in single precision.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}

# What makes estimators small and repeatable, where they have such arguments.
ARGUMENTS = {
    "n_estimators": 3,
    "max_iter": 50,
    "n_init": 1,
    "cv": 2,
    "random_state": 0,
    "n_components": 2,
    "n_best": 1,
    "n_clusters": 3,
    "hidden_layer_sizes": (4,),
}

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.random((ROWS, COLUMNS), dtype=np.float32)
THREE = np.digitize(FEATURES[:, 0], np.quantile(FEATURES[:, 0], [0.33, 0.66]))
CLASSES = {
    "binary": (FEATURES[:, 0] + FEATURES[:, 1] > 1).astype(np.int64),
    "three": THREE,
    "strings": np.array(["low", "mid", "high"])[THREE],
    "multilabel": (FEATURES[:, :3] > 0.5).astype(np.int64),
}
VALUES = {
    "one": FEATURES @ np.array([1.0, 2.0, 3.0, 4.0]),
    "two": FEATURES @ RANDOM.random((COLUMNS, 2)),
}
# What is no classifier and no regressor is fitted without a target, or with one if it needs that.
OTHERS = {"unsupervised": None, "supervised": CLASSES["binary"]}


class LeftOut(Exception):
    """Why there is no model to serve; nothing of it is onnxd's."""


class Case:
    """A model with what ONNX Runtime and scikit-learn give for the rows that are asked for."""

    def __init__(self, name, estimator, model):
        self.name, self.estimator, self.model = name, estimator, model
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options)
            self.input = session.get_inputs()[0].name
            outputs = session.run(None, {self.input: FEATURES[:ASKED]})
        except Exception as error:
            raise LeftOut("onnxruntime refuses it: {}".format(type(error).__name__)) from error
        declared = session.get_outputs()
        self.has_sequences = any(output.type.startswith("seq(tensor") for output in declared)
        self.outputs = {output.name: matrix(value) for output, value in zip(declared, outputs)}
        self.expected = expected(estimator)
        if not self.has_sequences and not same(next(iter(self.outputs.values())).ravel(), self.expected.ravel()):
            raise LeftOut("skl2onnx's model gives something else")

    def form(self):
        """What models that are answered in the same way have in common."""
        return tuple((name, array.shape, array.dtype.kind) for name, array in self.outputs.items())


def matrix(output):
    """An output as an array; maps as a row of their values each."""
    if isinstance(output, list) and output and isinstance(output[0], dict):
        return np.array([list(row.values()) for row in output])
    return np.asarray(output)


def expected(estimator):
    """What scikit-learn says of the rows that are asked for."""
    method = "transform" if hasattr(estimator, "transform") and not hasattr(estimator, "predict") else "predict"
    result = getattr(estimator, method)(FEATURES[:ASKED])
    return np.asarray(result.todense() if hasattr(result, "todense") else result)


def probabilities(estimator):
    """scikit-learn's probabilities of the rows that are asked for; None where there is none of each class or label."""
    if not hasattr(estimator, "predict_proba"):
        return None
    result = estimator.predict_proba(FEATURES[:ASKED])
    # Of an indicator matrix some give both probabilities of each label.
    if isinstance(result, list):
        return np.stack([both[:, 1] for both in result], axis=1)
    return result


def same(got, wanted):
    """Whether values are scikit-learn's; the types of numbers do not matter."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.shape != wanted.shape:
        return False
    if got.dtype.kind in "OSU" or wanted.dtype.kind in "OSU":
        return got.astype(str).tolist() == wanted.astype(str).tolist()
    return np.allclose(got.astype(float), wanted.astype(float), **TOLERANCE, equal_nan=True)


def inner(name):
    """Arguments that have no default: the estimators that another one is made of."""
    is_regressor = "Regressor" in name
    simple = linear_model.LinearRegression() if is_regressor else linear_model.LogisticRegression()
    other = tree.DecisionTreeRegressor(max_depth=3) if is_regressor else tree.DecisionTreeClassifier(max_depth=3)
    scaler = preprocessing.StandardScaler()
    return {
        "estimator": simple,
        "estimators": [("one", simple), ("two", other)],
        "steps": [("scale", scaler), ("model", simple)],
        "transformers": [("scale", scaler, [0, 1]), ("keep", "passthrough", [2, 3])],
        "transformer_list": [("scale", scaler), ("range", preprocessing.MinMaxScaler())],
        "param_grid": {"fit_intercept": [True, False]},
        "param_distributions": {"fit_intercept": [True, False]},
        "dictionary": np.eye(COLUMNS),
    }


def build(name, kind):
    """An estimator that is not fitted yet."""
    needed, arguments = inner(name), {}
    for parameter in inspect.signature(kind.__init__).parameters.values():
        source = needed if parameter.default is inspect.Parameter.empty else ARGUMENTS
        if parameter.name in source:
            arguments[parameter.name] = source[parameter.name]
    return kind(**arguments)


def targets_of(kind):
    """The kinds of targets that an estimator may take."""
    classes = CLASSES if issubclass(kind, base.ClassifierMixin) else {}
    values = VALUES if issubclass(kind, base.RegressorMixin) else {}
    return {**classes, **values} or OTHERS


def fit(name, kind, target):
    """A fitted estimator."""
    try:
        estimator = build(name, kind)
        return estimator.fit(FEATURES) if target is None else estimator.fit(FEATURES, target)
    except Exception as error:
        raise LeftOut("scikit-learn does not fit it on these features and this target") from error


def convert(estimator, options):
    """The model of a fitted estimator."""
    try:
        return to_onnx(estimator, FEATURES[:1], options={type(estimator): options} if options else None)
    except Exception as error:
        raise LeftOut("skl2onnx cannot convert it: {}".format(type(error).__name__)) from error


def options_of(kind, target_name):
    """By suffix of the model's name: skl2onnx wraps probabilities in maps by default, and leaves them a matrix if told."""
    both = issubclass(kind, base.ClassifierMixin) and target_name in ("three", "multilabel")
    return {"": None, "_matrix": {"zipmap": False}} if both else {"": None}


def cases_of(name):
    """The cases of an estimator, and how many were left out by cause."""
    warnings.simplefilter("ignore")
    kind = dict(all_estimators())[name]
    cases, left_out = [], Counter()
    for target_name, target in targets_of(kind).items():
        try:
            estimator = fit(name, kind, target)
        except LeftOut as why:
            left_out[str(why)] += 1
            continue
        for suffix, options in options_of(kind, target_name).items():
            try:
                cases.append(Case("{}_{}{}".format(name, target_name, suffix), estimator, convert(estimator, options)))
            except LeftOut as why:
                left_out[str(why)] += 1
    return cases, left_out


def write_repository(folder, of_sequences):
    """Writes the cases as bare files: into `folder` those that can be served, into `of_sequences` those with sequences of
    tensors. Returns both lists, with how many were left out by cause."""
    for place in (folder, of_sequences):
        place.mkdir(parents=True, exist_ok=True)
        for stale in place.glob("*.onnx"):
            stale.unlink()
    served, sequences, left_out = [], [], Counter()
    with multiprocessing.Pool(min(4, os.cpu_count())) as pool:
        for cases, without in pool.imap_unordered(cases_of, [name for name, _ in all_estimators()]):
            left_out += without
            for case in cases:
                (sequences if case.has_sequences else served).append(case)
                place = of_sequences if case.has_sequences else folder
                onnx.save(case.model, place / "{}.onnx".format(case.name))
    return served, sequences, left_out
