//! Inference by the Open Inference Protocol: what may be asked in JSON, and what is answered.

use onnxd::tensor::data_type::DataType;
use serde_json::{Value, json};

use crate::{
    harness::{TestServer, models},
    identity::{element_type, serve_identity, serve_model},
};

const INFER: &str = "/v2/models/iris/infer";
const FEATURES: &str = r#"{"name":"features","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}"#;

fn with(more: &str) -> String {
    format!(r#"{{"inputs":[{FEATURES}]{more}}}"#)
}

/// Returns what stands under `"data"`, as it was written.
fn data(text: &str) -> &str {
    let (_, rest) = text.split_once(r#""data":"#).expect("the answer has data");
    rest.trim_end_matches("}]}")
}

/// Asks for what a model that answers what it is given makes of `data`.
async fn echo(server: &TestServer, data_type: DataType, shape: &str, data: &str) -> String {
    let body = format!(r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{data_type}","data":{data}}}]}}"#);
    let response = server.post("/v2/models/identity/infer", body.clone()).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 200, "{body}: {text}");
    text
}

#[tokio::test]
async fn outputs_are_flat_with_the_shape_they_have() {
    let server = TestServer::serving("iris").await;
    let answer = server.predict(INFER, &with("")).await;
    let expected = json!({"model_name": "iris", "model_version": "1", "outputs": [
        {"name": "label", "datatype": "INT64", "shape": [1], "data": [0]},
        {"name": "probabilities", "datatype": "FP32", "shape": [1, 3], "data": [0.979_700_5, 0.020_298_982, 5.271_873e-7]},
    ]});
    assert_eq!(answer, expected);
    let response = server.post(INFER, with("")).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(!response.headers().contains_key("inference-header-content-length"));
}

#[tokio::test]
async fn the_id_is_repeated_and_never_made_up() {
    let server = TestServer::serving("iris").await;
    assert_eq!(server.predict(INFER, &with(r#","id":"a\"é"#).replace('é', "é\"")).await["id"], "a\"é");
    assert_eq!(server.predict(INFER, &with(r#","id":"""#)).await["id"], "");
    for without in ["", r#","id":null"#] {
        assert!(server.predict(INFER, &with(without)).await.get("id").is_none());
    }
}

#[tokio::test]
async fn keys_may_come_in_any_order_and_unknown_ones_are_passed_over() {
    let server = TestServer::serving("iris").await;
    let expected = server.predict(INFER, &with("")).await;
    for body in [
        r#"{"model_name":"x","parameters":{"a":1,"b":[{}]},"z":{"z":[1]},"inputs":[{"data":[[5.1,3.5],[1.4,0.2]],"shape":[1,4],"q":1,"datatype":"FP32","parameters":{"c":true},"name":"features"}],"outputs":[]}"#,
        r#"{"outputs":null,"inputs":[{"datatype":"FP32","name":"features","parameters":null,"data":[5.1,3.5,1.4,0.2],"shape":[1,4]}]}"#,
        r#" {"inputs" : [ {"name":"fe\u0061tures","shape":[1,4.0],"datatype":"FP32","data":[[[5.1]],[3.5,[1.4],0.2]]} ] } "#,
    ] {
        assert_eq!(server.predict(INFER, body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn only_the_outputs_that_are_listed_are_answered_in_the_models_order() {
    let server = TestServer::serving("iris").await;
    let names = async |outputs: &str| {
        let answer = server.predict(INFER, &with(&format!(r#","outputs":{outputs}"#))).await;
        answer["outputs"].as_array().unwrap().iter().map(|output| output["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(r#"[{"name":"probabilities"}]"#).await, ["probabilities"]);
    assert_eq!(
        names(r#"[{"parameters":{},"name":"probabilities"},{"name":"label"}]"#).await,
        ["label", "probabilities"]
    );
    assert_eq!(names("[]").await, ["label", "probabilities"]);
}

#[tokio::test]
async fn no_content_type_is_insisted_on() {
    let server = TestServer::serving("iris").await;
    for content_type in ["application/octet-stream", "text/plain; charset=latin1", "nonsense"] {
        let request = server.request(reqwest::Method::POST, INFER).header("content-type", content_type);
        assert_eq!(request.body(with("")).send().await.unwrap().status(), 200, "{content_type}");
    }
    let without = server.request(reqwest::Method::POST, INFER).body(with("")).send().await.unwrap();
    assert_eq!(without.status(), 200);
}

#[tokio::test]
async fn elements_of_every_type_come_back_as_they_went() {
    let cases = [
        (DataType::Bool, "[true,false]"),
        (DataType::Uint8, "[0,255]"),
        (DataType::Uint16, "[0,65535]"),
        (DataType::Uint32, "[0,4294967295]"),
        (DataType::Uint64, "[9007199254740993,18446744073709551615]"),
        (DataType::Int8, "[-128,127]"),
        (DataType::Int16, "[-32768,32767]"),
        (DataType::Int32, "[-2147483648,2147483647]"),
        (DataType::Int64, "[-9223372036854775808,9007199254740993]"),
        (DataType::Fp16, "[-0.0,0.33325195]"),
        (DataType::Bf16, "[3.140625,-256.0]"),
        (DataType::Fp32, "[-0.0,0.1]"),
        (DataType::Fp64, "[5e-324,0.30000000000000004]"),
        (DataType::Bytes, r#"["a\u0000b","é\n"]"#),
    ];
    for (data_type, elements) in cases {
        let server = serve_identity(data_type, &[-1, -1]).await;
        let text = echo(&server, data_type, "[1,2]", elements).await;
        assert_eq!(data(&text), elements, "{data_type}");
        assert!(text.contains(&format!(r#""datatype":"{data_type}","shape":[1,2]"#)), "{text}");
    }
}

#[tokio::test]
async fn nan_and_infinities_go_in_and_come_out_as_tokens() {
    for data_type in [DataType::Fp16, DataType::Bf16, DataType::Fp32, DataType::Fp64] {
        let server = serve_identity(data_type, &[-1]).await;
        let text = echo(&server, data_type, "[5]", "[NaN,Infinity,-Infinity,null,1.5]").await;
        assert_eq!(data(&text), "[NaN,Infinity,-Infinity,NaN,1.5]", "{data_type}");
    }
}

#[tokio::test]
async fn scalars_and_empty_tensors_are_tensors() {
    let server = serve_identity(DataType::Int64, &[]).await;
    for element in ["7", "[7]", "[[7]]"] {
        let text = echo(&server, DataType::Int64, "[]", element).await;
        assert!(text.contains(r#""shape":[],"data":[7]"#), "{text}");
    }
    for (dims, shape, empty) in [(&[-1, 4][..], "[0,4]", "[]"), (&[0, 3], "[0,3]", "[]"), (&[2, 0], "[2,0]", "[[],[]]")]
    {
        let server = serve_identity(DataType::Fp32, dims).await;
        let text = echo(&server, DataType::Fp32, shape, empty).await;
        assert!(text.contains(&format!(r#""shape":{shape},"data":[]"#)), "{text}");
    }
}

#[tokio::test]
async fn classification_ranks_each_row_with_its_labels() {
    let server = TestServer::start_with(models(""), |_config| {}).await;
    let body = r#"{"inputs":[{"name":"features","shape":[2,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2,6.3,3.3,6,2.5]}],
        "outputs":[{"name":"probabilities","parameters":{"classification":2}}]}"#;
    let answer = server.predict(INFER, body).await;
    let classes =
        json!(["0.979701:0:setosa", "0.020299:1:versicolor", "0.989291:2:virginica", "0.010669:1:versicolor"]);
    assert_eq!(
        answer["outputs"],
        json!([{"name": "probabilities", "datatype": "BYTES", "shape": [2, 2], "data": classes}])
    );
    let body =
        body.replace("probabilities", "output_probability").replace(r#""classification":2"#, r#""classification":9"#);
    let answer = server.predict("/v2/models/iris_zipmap/infer", &body).await;
    assert_eq!(answer["outputs"][0]["shape"], json!([2, 3]), "{answer}");
    assert!(answer["outputs"][0]["data"][0].as_str().unwrap().ends_with(":0:setosa"), "{answer}");
}

#[tokio::test]
async fn classification_of_what_is_not_rows_takes_the_whole_tensor() {
    let server = serve_identity(DataType::Int64, &[2, 2]).await;
    let body = r#"{"inputs":[{"name":"x","shape":[2,2],"datatype":"INT64","data":[1,9223372036854775807,9223372036854775806,-4]}],
        "outputs":[{"name":"y","parameters":{"classification":3}}]}"#;
    let answer = server.predict("/v2/models/identity/infer", body).await;
    assert_eq!(answer["outputs"][0]["shape"], json!([3]));
    assert_eq!(answer["outputs"][0]["data"], json!(["9223372036854775807:1", "9223372036854775806:2", "1:0"]));
}

#[tokio::test]
async fn a_request_may_give_itself_less_time() {
    use crate::fake_engine::{FakeEngine, fake_repository};
    let folder = fake_repository(&["model"], "");
    let engine = FakeEngine::new();
    let server = TestServer::start_on(std::sync::Arc::new(engine.clone()), folder.path(), |_| {}).await;
    engine.0.close_gate();
    const A: &str = r#"{"name":"a","shape":[1,1],"datatype":"FP32","data":[1]}"#;
    const B: &str = r#"{"name":"b","shape":[1,1],"datatype":"FP32","data":[2]}"#;
    let body = |timeout: &str| format!(r#"{{"parameters":{{"timeout":{timeout}}},"inputs":[{A},{B}]}}"#);
    let error = server.refuse("/v2/models/model/infer", body("1000"), 504).await;
    // Whoever notices first: the one that waits, or the one that would run it.
    assert_eq!(error, "there was no answer within 1ms");
    engine.0.open_gate();
    for timeout in ["0", "18446744073709551615"] {
        server.predict("/v2/models/model/infer", &body(timeout)).await;
    }
    server.refuse("/v2/models/model/infer", body("-1"), 400).await;
}

#[tokio::test]
async fn compressed_and_chunked_requests_are_read() {
    let server = TestServer::serving("iris").await;
    for (coding, body) in [("gzip", gzip(with("").as_bytes())), ("deflate", zlib(with("").as_bytes()))] {
        let request = server.request(reqwest::Method::POST, INFER).header("content-encoding", coding);
        let answer: Value = request.body(body).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["outputs"][0]["data"], json!([0]), "{coding}");
    }
    let (start, end) = (with("").split_at(10).0.to_owned(), with("").split_at(10).1.to_owned());
    let chunked = format!(
        "POST {INFER} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{start}\r\n{:x}\r\n{end}\r\n0\r\n\r\n",
        start.len(),
        end.len()
    );
    let answer = server.exchange(chunked).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""model_name":"iris""#), "{answer}");
}

#[tokio::test]
async fn outputs_have_the_shape_that_they_have_whatever_is_declared() {
    // LightGBM's exporter declares a label [1], and the label of N rows is [N].
    let model = crate::onnx::identity_declaring(element_type(DataType::Fp32), &[-1], &[1]);
    let server = serve_model(&model).await;
    let body = r#"{"inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[1,2,3]}]}"#;
    let answer = server.predict("/v2/models/model/infer", body).await;
    assert_eq!(answer["outputs"], json!([{"name": "y", "datatype": "FP32", "shape": [3], "data": [1.0, 2.0, 3.0]}]));
}

#[tokio::test]
async fn a_compressed_body_is_too_large_by_what_it_becomes() {
    let server = TestServer::start_with(models("iris"), |config| config.limits.max_body_bytes = 100_000).await;
    for (coding, bomb) in [("gzip", gzip(&[b' '; 1_000_000])), ("deflate", zlib(&[b' '; 1_000_000]))] {
        assert!(bomb.len() < 10_000);
        let request = server.request(reqwest::Method::POST, INFER).header("content-encoding", coding).body(bomb);
        crate::harness::error_text(request.send().await.unwrap(), 413).await;
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}
