//! The binary tensor extension: tensors as bytes after the JSON, in requests and answers.

use onnxd::tensor::data_type::DataType;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    harness::{TestServer, error_text},
    identity::serve_identity,
};

const LENGTH: &str = "inference-header-content-length";
const INFER: &str = "/v2/models/identity/infer";
const IRIS: &str = "/v2/models/iris/infer";

/// Sends JSON and bytes after it; `length` is the header, the JSON's length if it is none.
async fn send(server: &TestServer, path: &str, json: &str, binary: &[u8], length: Option<&str>) -> Response {
    let length = length.map_or_else(|| json.len().to_string(), str::to_owned);
    let request = server.request(Method::POST, path).header(LENGTH, length);
    request.body([json.as_bytes(), binary].concat()).send().await.unwrap()
}

/// Takes an answer apart into its JSON and the bytes after it.
async fn parts(response: Response) -> (Value, Vec<u8>) {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    assert_eq!(headers["content-length"], body.len().to_string());
    let length = headers.get(LENGTH).map_or(body.len(), |length| length.to_str().unwrap().parse().unwrap());
    let content_type = if headers.contains_key(LENGTH) { "application/octet-stream" } else { "application/json" };
    assert_eq!(headers["content-type"], content_type);
    (serde_json::from_slice(&body[..length]).unwrap(), body[length..].to_vec())
}

fn input(data_type: DataType, shape: &str, size: usize) -> String {
    format!(
        r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{data_type}","parameters":{{"binary_data_size":{size}}}}}],"parameters":{{"binary_data_output":true}}}}"#
    )
}

#[tokio::test]
async fn bytes_of_every_type_come_back_the_same_at_any_alignment() {
    for data_type in DataType::ALL {
        let server = serve_identity(data_type, &[-1, -1]).await;
        let raw = match data_type.size() {
            Some(1) => vec![1, 0, 1, 0],
            // NaN with a payload, among others.
            Some(size) => [vec![0xff_u8; size], vec![0x7f; size], vec![1; size], vec![0; size]].concat(),
            None => b"\x00\0\0\0\x03\0\0\0a\0b\x02\0\0\0\xff\xfe\x01\0\0\0c".to_vec(),
        };
        for padding in ["", " ", "  ", "   "] {
            let json = input(data_type, "[2,2]", raw.len()) + padding;
            let (answer, bytes) = parts(send(&server, INFER, &json, &raw, None).await).await;
            let output = json!([{"name": "y", "datatype": data_type.name(), "shape": [2, 2], "parameters": {"binary_data_size": raw.len()}}]);
            assert_eq!(answer["outputs"], output);
            assert_eq!(bytes, raw, "{data_type} after {} bytes", json.len());
        }
    }
}

#[tokio::test]
async fn tensors_without_elements_have_no_bytes() {
    for data_type in [DataType::Fp32, DataType::Bytes] {
        let server = serve_identity(data_type, &[-1, 4]).await;
        let (answer, bytes) = parts(send(&server, INFER, &input(data_type, "[0,4]", 0), b"", None).await).await;
        assert_eq!(answer["outputs"][0]["parameters"], json!({"binary_data_size": 0}));
        assert!(bytes.is_empty());
    }
}

#[tokio::test]
async fn each_output_is_json_or_bytes_as_it_is_asked_for() {
    let server = TestServer::serving("iris").await;
    let ask = async |more: &str| {
        let features = r#"{"name":"features","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}"#;
        let response = server.post(IRIS, format!(r#"{{"inputs":[{features}]{more}}}"#)).await;
        let (answer, bytes) = parts(response).await;
        let outputs = answer["outputs"].as_array().unwrap();
        let binary = outputs.iter().map(|output| output.get("data").is_none()).collect::<Vec<_>>();
        (binary, bytes.len())
    };
    assert_eq!(ask("").await, (vec![false, false], 0));
    assert_eq!(ask(r#","parameters":{"binary_data_output":true}"#).await, (vec![true, true], 20));
    let mixed = r#","outputs":[{"name":"probabilities","parameters":{"binary_data":true}},{"name":"label"}]"#;
    assert_eq!(ask(mixed).await, (vec![false, true], 12));
    // An output that is listed says for itself.
    let listed = r#","parameters":{"binary_data_output":true},"outputs":[{"name":"label"}]"#;
    assert_eq!(ask(listed).await, (vec![false], 0));
    let classes = r#","outputs":[{"name":"probabilities","parameters":{"binary_data":true,"classification":1}}]"#;
    assert_eq!(ask(classes).await, (vec![true], 4 + "0.979701:0:setosa".len()));
}

#[tokio::test]
async fn bytes_and_json_may_be_mixed_and_bytes_come_in_the_inputs_order() {
    let server = TestServer::start().await;
    let json = r#"{"inputs":[
        {"name":"trip_distance","shape":[1,1],"datatype":"FP32","parameters":{"binary_data_size":4}},
        {"name":"DOLocationID","shape":[1,1],"datatype":"INT64","data":[200]},
        {"name":"PULocationID","shape":[1,1],"datatype":"INT64","parameters":{"binary_data_size":8}}]}"#;
    let inputs = &server.get_json("/v2/models/ride_duration").await["inputs"];
    let json = inputs.as_array().unwrap().iter().fold(json.to_owned(), |json, input| {
        // Whatever the zones' type is.
        match input["datatype"].as_str().unwrap() {
            "BYTES" => json.replace("INT64", "BYTES").replace("[200]", r#"["200"]"#).replace(":8}", ":7}"),
            _ => json,
        }
    });
    let zone = if json.contains("BYTES") { b"\x03\0\0\x00100".to_vec() } else { 100_i64.to_le_bytes().to_vec() };
    let binary = [3.5_f32.to_le_bytes().to_vec(), zone].concat();
    let (answer, _) = parts(send(&server, "/v2/models/ride_duration/infer", &json, &binary, None).await).await;
    let native = r#"{"PULocationID":100,"DOLocationID":200,"trip_distance":3.5}"#;
    let native = server.predict("/models/ride_duration/predict", native).await;
    assert_eq!(answer["outputs"][0]["data"][0], native["prediction"], "{answer}");
}

#[tokio::test]
async fn a_body_of_bytes_alone_is_the_only_input() {
    let server = TestServer::start().await;
    let row = [5.1_f32, 3.5, 1.4, 0.2].map(f32::to_le_bytes).concat();
    let (answer, bytes) = parts(send(&server, IRIS, "", &row, Some("0")).await).await;
    assert_eq!(answer["outputs"][0]["shape"], json!([1]));
    assert_eq!(bytes.len(), 8 + 12);
    assert_eq!(bytes[..8], 0_i64.to_le_bytes());
    let refuse = async |path: &str, raw: &[u8]| error_text(send(&server, path, "", raw, Some("0")).await, 400).await;
    assert!(refuse(IRIS, &row.repeat(2)).await.contains("Expected 16, got 32"));
    assert!(refuse(IRIS, b"").await.contains("Expected 16, got 0"));
    assert!(refuse("/v2/models/ride_duration/infer", &row).await.contains("with one input"));
    let text = serve_identity(DataType::Bytes, &[-1]).await;
    let (answer, bytes) = parts(send(&text, INFER, "", b"a\0\xff", Some("0")).await).await;
    assert_eq!((&answer["outputs"][0]["shape"], &bytes[..]), (&json!([1]), &b"\x03\0\0\0a\0\xff"[..]));
    let series = serve_identity(DataType::Int16, &[-1, 2]).await;
    let config = series.get_json("/v2/models/identity/config").await;
    assert_ne!(config["max_batch_size"], 0, "axis 0 counts rows, so that of bytes alone there is one");
    let error = error_text(send(&series, INFER, "", &[0; 8], Some("0")).await, 400).await;
    assert!(error.contains("Expected 4, got 8"), "{error}");
}

#[tokio::test]
async fn header_lengths_out_of_range_are_refused() {
    let server = serve_identity(DataType::Int16, &[2]).await;
    let json = input(DataType::Int16, "[2]", 4);
    let total = json.len() + 4;
    for length in [&(total + 1).to_string(), "-1", "x", "1.5", "99999999999999999999"] {
        let error = error_text(send(&server, INFER, &json, &[0; 4], Some(length)).await, 400).await;
        assert_eq!(error, format!("inference header size should be in range (0, {total}), got: {length}"));
    }
    let cut = (json.len() - 1).to_string();
    let error = error_text(send(&server, INFER, &json, &[0; 4], Some(&cut)).await, 400).await;
    assert!(error.starts_with("Request must be JSON"), "{error}");
    // Without the header all of the body is JSON.
    let error = server.refuse(INFER, [json.as_bytes(), &[0; 4]].concat(), 400).await;
    assert!(error.contains("unexpected size for input 'x'") && error.contains("header missing?"), "{error}");
}

#[tokio::test]
async fn bytes_that_are_too_few_or_too_many_are_refused() {
    let server = serve_identity(DataType::Int16, &[2]).await;
    let refuse = async |size: usize, shape: &str, binary: &[u8]| {
        let json = input(DataType::Int16, shape, size);
        error_text(send(&server, INFER, &json, binary, None).await, 400).await
    };
    let short = refuse(4, "[2]", &[0; 3]).await;
    assert_eq!(short, "unexpected size for input 'x', expecting 1 additional bytes for model 'identity'");
    let surplus = refuse(4, "[2]", &[0; 5]).await;
    assert!(surplus.starts_with("unexpected additional input data for model 'identity'"), "{surplus}");
    let mismatch = refuse(6, "[2]", &[0; 6]).await;
    assert_eq!(mismatch, "input byte size mismatch for input 'x' for model 'identity'. Expected 4, got 6");
    assert!(refuse(usize::MAX, "[2]", &[0; 4]).await.starts_with("unexpected size for input 'x'"));
    let bools = serve_identity(DataType::Bool, &[2]).await;
    let error = error_text(send(&bools, INFER, &input(DataType::Bool, "[2]", 2), &[0, 2], None).await, 400).await;
    assert!(error.contains("0 and 1"), "{error}");
}

#[tokio::test]
async fn shapes_that_no_bytes_can_fill_are_refused() {
    for data_type in [DataType::Fp32, DataType::Bytes] {
        let server = serve_identity(data_type, &[-1, -1]).await;
        for (shape, size, expected) in [
            ("[4611686018427387904,4]", 16, "input 'x': shape [4611686018427387904,4] has more elements than fit"),
            ("[9223372036854775807,9223372036854775807]", 16, "has more elements than fit in memory"),
            ("[9223372036854775808,1]", 16, "input 'x': shape: expected a whole number"),
            ("[-1,4]", 16, "input 'x': expected dimensions of 0 and more in its shape, but got -1"),
            ("[-9223372036854775808,4]", 16, "but got -9223372036854775808"),
            ("[1099511627776,4]", 16, "xpected "),
            ("[0,4]", 16, "input"),
            ("[2,2]", 0, "input"),
        ] {
            let json = input(data_type, shape, size);
            let error = error_text(send(&server, INFER, &json, &[0; 16][..size], None).await, 400).await;
            assert!(error.contains(expected), "{data_type} {shape}: {error}");
        }
        let value = if data_type == DataType::Bytes { r#""""# } else { "0" };
        let both = input(data_type, "[1,1]", 4).replacen("\"shape\"", &format!("\"data\":[{value}],\"shape\""), 1);
        let error = error_text(send(&server, INFER, &both, &[0; 4], None).await, 400).await;
        assert!(error.ends_with("expected either \"data\" or \"binary_data_size\", but got both"), "{error}");
        let row = send(&server, INFER, &input(data_type, "[1,1]", 4), &[0; 4], None).await;
        assert_eq!(row.status(), 200);
    }
}

#[tokio::test]
async fn strings_whose_lengths_do_not_fit_are_refused() {
    let server = serve_identity(DataType::Bytes, &[-1]).await;
    for (shape, raw, expected) in [
        ("[1]", &b"\x01\0\0"[..], "incomplete string length indicator"),
        ("[1]", b"\xff\xff\xff\xffabc", "incomplete string data"),
        ("[1]", b"\0\0\0\0\0\0\0\0", "unexpected number of string elements 2"),
        ("[3]", b"\0\0\0\0\0\0\0\0", "expected 3 string elements"),
        ("[1000000000000]", b"\0\0\0\0", "expected 1000000000000 string elements"),
    ] {
        let json = input(DataType::Bytes, shape, raw.len());
        let error = error_text(send(&server, INFER, &json, raw, None).await, 400).await;
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn strings_that_are_not_utf8_leave_as_bytes_only() {
    let server = serve_identity(DataType::Bytes, &[-1]).await;
    let json = input(DataType::Bytes, "[1]", 5).replace("true", "false");
    let error = error_text(send(&server, INFER, &json, b"\x01\0\0\0\xff", None).await, 400).await;
    assert!(error.contains("output 'y'") && error.contains("binary_data"), "{error}");
}

#[tokio::test]
async fn compressed_answers_tell_the_uncompressed_length() {
    let server = serve_identity(DataType::Uint8, &[-1, -1]).await;
    let raw = vec![7_u8; 100_000];
    let json = input(DataType::Uint8, "[1,100000]", raw.len());
    let request = server.request(Method::POST, INFER).header(LENGTH, json.len()).header("accept-encoding", "gzip");
    let response = request.body([json.as_bytes(), &raw].concat()).send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let length: usize = response.headers()[LENGTH].to_str().unwrap().parse().unwrap();
    let compressed = response.bytes().await.unwrap();
    let mut body = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*compressed), &mut body).unwrap();
    serde_json::from_slice::<Value>(&body[..length]).unwrap();
    assert_eq!(body[length..], raw);
}
