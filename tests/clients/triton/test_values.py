"""Tensors of every element type through tritonclient and back, by JSON and by bytes."""

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http

NUMBERS = {
    "BOOL": np.array([[True, False, True]]),
    "UINT8": np.array([[0, 1, 255]], np.uint8),
    "UINT16": np.array([[0, 1, 65535]], np.uint16),
    "UINT32": np.array([[0, 1, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**53 + 1, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 0, 127]], np.int8),
    "INT16": np.array([[-(2**15), 0, 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 0, 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**53 + 1, 2**63 - 1]], np.int64),
    "FP16": np.array([[-0.0, 0.1, 65504]], np.float16),
    "BF16": np.array([[-0.0, 0.1, 1e38]], ml_dtypes.bfloat16),
    "FP32": np.array([[-0.0, 0.1, 1e-45]], np.float32),
    "FP64": np.array([[-0.0, 0.1, 5e-324]], np.float64),
}
TEXTS = np.array([[b"", b"he\0llo", "é€".encode()]], dtype=np.object_)


@pytest.fixture(scope="module")
def client(echo):
    with tritonclient.http.InferenceServerClient(echo.address) as made:
        yield made


def answered(client, datatype, values, binary_input, binary_output, model=None):
    tensor = tritonclient.http.InferInput("x", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary_input)
    output = tritonclient.http.InferRequestedOutput("y", binary_data=binary_output)
    result = client.infer(model or "identity_" + datatype, [tensor], outputs=[output])
    assert result.get_output("y")["datatype"] == datatype
    return result.as_numpy("y")


def ways(datatype):
    # The client itself sends BF16 as bytes only.
    return [(sent, got) for sent in (True, False) for got in (True, False) if sent or datatype != "BF16"]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_come_back_bit_by_bit(client, datatype):
    values = NUMBERS[datatype]
    for way in ways(datatype):
        assert answered(client, datatype, values, *way).tobytes() == values.tobytes(), way


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_what_is_not_finite_comes_back(client, datatype):
    values = np.array([[np.nan, np.inf, -np.inf]], NUMBERS[datatype].dtype)
    for way in ways(datatype):
        got = answered(client, datatype, values, *way)
        np.testing.assert_array_equal(got.astype(np.float64), values.astype(np.float64), str(way))


@pytest.mark.parametrize("datatype", [*NUMBERS, "BYTES"])
def test_empty_tensors_come_back(client, datatype):
    values = np.empty((0, 3), NUMBERS.get(datatype, TEXTS).dtype)
    for way in ways(datatype):
        got = answered(client, datatype, values, *way)
        assert got.shape == (0, 3) and got.dtype == values.dtype, way


def test_strings_keep_nul(client):
    for binary_input in (True, False):
        assert answered(client, "BYTES", TEXTS, binary_input, True).tolist() == TEXTS.tolist()
        texts = [[text.decode() for text in TEXTS[0]]]
        assert answered(client, "BYTES", TEXTS, binary_input, False).tolist() == texts


def test_strings_that_are_no_text_travel_as_bytes(client):
    values = np.array([[b"\xff\xfe\0"]], dtype=np.object_)
    assert answered(client, "BYTES", values, True, True).tolist() == values.tolist()
    with pytest.raises(Exception, match="UTF-8"):
        answered(client, "BYTES", values, True, False)


def test_a_scalar_is_a_tensor(client):
    for way in ways("FP32"):
        got = answered(client, "FP32", np.array(7.5, np.float32), *way, model="scalar")
        assert got.shape == () and got == 7.5, way
