"""The requests that record.py records: every form of MLflow's scoring protocol, and what it refuses."""

import json

JSON = "application/json"
CSV = "text/csv"

IRIS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
IRIS_ROWS = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]
RIDE = {"PULocationID": 100, "DOLocationID": 200, "trip_distance": 3.5}
TEXTS = ["the petals of the flower were measured", "median house value"]
PIXELS = [[[[(row * 8 + column) % 17 / 16 for column in range(8)] for row in range(8)]]]


def records(columns, rows):
    return [dict(zip(columns, row)) for row in rows]


def body_of(form, value, **beside):
    return json.dumps({form: value, **beside})


def requests_for(model, bodies, content_type=JSON, beyond=False):
    """`beyond` marks what MLflow refuses, or fails at, and onnxd answers."""
    return [{"model": model, "content_type": content_type, "body": body, "beyond": beyond} for body in bodies]


FORMS = [
    *requests_for(
        "iris",
        [
            body_of("inputs", IRIS_ROWS),
            body_of("inputs", {"features": IRIS_ROWS}),
            body_of("instances", IRIS_ROWS),
            body_of("instances", records(["features"], [[row] for row in IRIS_ROWS])),
            body_of("inputs", IRIS_ROWS, params={"unknown": 1}),
            body_of("inputs", [[float("nan"), 1, 2, 3]]),
        ],
    ),
    # MLflow makes a table of the outputs, of which one is a matrix.
    *requests_for(
        "iris",
        [
            body_of("dataframe_split", {"columns": IRIS, "data": IRIS_ROWS}),
            body_of("dataframe_split", {"data": IRIS_ROWS}),
            body_of("dataframe_records", records(IRIS, IRIS_ROWS)),
            body_of("dataframe_records", IRIS_ROWS),
        ],
        beyond=True,
    ),
    *requests_for(
        "iris_zipmap",
        [
            body_of("inputs", IRIS_ROWS),
            body_of("inputs", {"features": IRIS_ROWS}),
            body_of("dataframe_split", {"columns": IRIS, "index": [0, 1], "data": IRIS_ROWS}),
            body_of("dataframe_records", records(IRIS, IRIS_ROWS)),
            body_of("dataframe_records", IRIS_ROWS),
        ],
    ),
    *requests_for("iris_zipmap", ["a,b,c,d\n5.1,3.5,1.4,0.2\n6.3,3.3,6,2.5\n"], CSV),
    *requests_for(
        "ride_duration",
        [
            body_of("inputs", {name: [[value]] for name, value in RIDE.items()}),
            body_of("instances", [{name: [value] for name, value in RIDE.items()}]),
        ],
    ),
    # MLflow gives the model columns of rank 1 where it has declared rank 2.
    *requests_for(
        "ride_duration",
        [
            body_of("inputs", {name: [value] for name, value in RIDE.items()}),
            body_of("instances", [RIDE]),
            body_of("dataframe_records", [RIDE]),
            body_of("dataframe_split", {"columns": list(RIDE), "data": [list(RIDE.values())]}),
        ],
        beyond=True,
    ),
    *requests_for("ride_duration", ["PULocationID,DOLocationID,trip_distance\n100,200,3.5\n"], CSV, beyond=True),
    *requests_for(
        "text",
        [
            body_of("inputs", {"text": [[text] for text in TEXTS]}),
            body_of("inputs", [[text] for text in TEXTS]),
            body_of("instances", [[text] for text in TEXTS]),
        ],
    ),
    *requests_for(
        "text",
        [
            body_of("inputs", TEXTS),
            body_of("dataframe_records", records(["text"], [[text] for text in TEXTS])),
        ],
        beyond=True,
    ),
    *requests_for("text", ['text\n"measured, in a flower"\n'], CSV, beyond=True),
    *requests_for("digits", [body_of("inputs", PIXELS), body_of("inputs", {"image": PIXELS})]),
]

REFUSALS = [
    *requests_for(
        "iris",
        [
            "",
            "{",
            "[]",
            "5",
            "{}",
            body_of("rows", IRIS_ROWS),
            body_of("inputs", IRIS_ROWS, instances=IRIS_ROWS),
            body_of("inputs", IRIS_ROWS, dataframe_records=records(IRIS, IRIS_ROWS)),
            body_of("dataframe_split", IRIS_ROWS),
            body_of("dataframe_split", {"columns": IRIS}),
            body_of("dataframe_split", {"columns": IRIS, "data": IRIS_ROWS, "names": []}),
            body_of("dataframe_split", {"columns": IRIS[:3], "data": IRIS_ROWS}),
            body_of("dataframe_records", records(IRIS, IRIS_ROWS)[0]),
            body_of("dataframe_records", "rows"),
            body_of("inputs", {"other": IRIS_ROWS}),
            body_of("inputs", {"features": IRIS_ROWS, "other": 1}),
            body_of("inputs", [row[:3] for row in IRIS_ROWS]),
            body_of("inputs", [["a", "b", "c", "d"]]),
        ],
    ),
    *requests_for("iris", [body_of("inputs", IRIS_ROWS)], "application/json; charset=latin-1"),
    *requests_for("iris", [body_of("inputs", IRIS_ROWS)], "application/json; format=pandas-split"),
    *requests_for("iris", [body_of("inputs", IRIS_ROWS)], "application/x-www-form-urlencoded"),
    *requests_for("iris", [body_of("inputs", IRIS_ROWS)], "text/plain"),
    *requests_for("iris", [body_of("inputs", [[1, 2, 3]])], "application/json; charset=utf-8"),
    *requests_for("iris", [body_of("inputs", [[1, 2, 3]])], "application/json;charset=UTF-8"),
    *requests_for("iris_zipmap", ["a,b,c\n5.1,3.5,1.4\n"], CSV),
    *requests_for("iris_zipmap", ["", "a,b,c,d\n1,2\n3,4,5,6,7\n"], CSV),
    *requests_for("ride_duration", [body_of("dataframe_records", [{"PULocationID": 1, "DOLocationID": 2}])]),
]

REQUESTS = FORMS + REFUSALS
