//! Requests of the Open Inference Protocol that are wrong: a 4xx each, in the words that clients look for.

use onnxd::tensor::data_type::DataType;

use crate::{harness::TestServer, identity::serve_identity};

const INFER: &str = "/v2/models/iris/infer";
const IDENTITY: &str = "/v2/models/identity/infer";

fn features(members: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"features",{members}}}]}}"#)
}

/// Sends bodies that must be answered 400 with these words in the error.
async fn refuse(server: &TestServer, path: &str, cases: &[(&str, &str)]) {
    for (body, words) in cases {
        let error = server.refuse(path, (*body).to_owned(), 400).await;
        assert!(error.contains(words), "{body} was answered {error}");
    }
}

#[tokio::test]
async fn bodies_that_are_not_json_or_no_request() {
    let server = TestServer::serving("iris").await;
    let cases = [
        ("", "Request must be JSON: the body is empty"),
        ("nonsense", "Request must be JSON"),
        ("{\"inputs\":[", "Request must be JSON"),
        ("{\"inputs\":[]} x", "Request must be JSON"),
        ("[]", "expected an object with \"inputs\""),
        ("7", "expected an object with \"inputs\""),
        ("{}", "expected \"inputs\", but it is missing"),
        (r#"{"inputs":{}}"#, "\"inputs\": expected a list"),
        (r#"{"inputs":[7]}"#, "\"inputs\": expected objects"),
        (r#"{"inputs":[],"id":7}"#, "\"id\": expected a string"),
        (r#"{"inputs":[],"parameters":[]}"#, "expected an object of parameters, but got a list"),
        (r#"{"inputs":[],"outputs":{}}"#, "\"outputs\": expected a list"),
        (r#"{"inputs":[],"outputs":["label"]}"#, "\"outputs\": expected objects"),
    ];
    refuse(&server, INFER, &cases).await;
}

#[tokio::test]
async fn inputs_that_do_not_fit_the_model() {
    let server = TestServer::serving("iris").await;
    let row = r#""datatype":"FP32","shape":[1,4],"data":[1,2,3,4]"#;
    let cases = [
        (
            r#"{"inputs":[]}"#.to_owned(),
            "expected 1 inputs but got 0 inputs for model 'iris'. Got input(s) [], but missing required input(s) ['features']",
        ),
        (r#"{"inputs":[{}]}"#.to_owned(), "one has no \"name\""),
        (format!(r#"{{"inputs":[{{"name":"z",{row}}}]}}"#), "unexpected inference input 'z' for model 'iris'"),
        (format!(r#"{{"inputs":[{{"name":7,{row}}}]}}"#), "expected a string"),
        (format!(r#"{{"inputs":[{{"name":"features",{row}}},{{"name":"features",{row}}}]}}"#), "is there twice"),
        (features(r#""shape":[1,4],"data":[1,2,3,4]"#), "input 'features': expected \"datatype\", but it is missing"),
        (features(r#""datatype":"FP32","data":[1,2,3,4]"#), "input 'features': expected \"shape\", but it is missing"),
        (features(r#""datatype":"FP32","shape":[1,4]"#), "input 'features': expected \"data\""),
        (
            features(r#""datatype":"INT32","shape":[1,4],"data":[1,2,3,4]"#),
            "inference input 'features' data-type is 'INT32', but model 'iris' expects 'FP32'",
        ),
        (features(r#""datatype":"fp32","shape":[1,4],"data":[1,2,3,4]"#), "data-type is 'fp32'"),
        (
            features(r#""datatype":"FP32","shape":[1,5],"data":[1,2,3,4,5]"#),
            "unexpected shape for input 'features' for model 'iris'. Expected [-1,4], got [1,5]",
        ),
        (features(r#""datatype":"FP32","shape":[4],"data":[1,2,3,4]"#), "Expected [-1,4], got [4]"),
        (features(r#""datatype":"FP32","shape":[-1,4],"data":[1,2,3,4]"#), "dimensions of 0 and more"),
        (features(r#""datatype":"FP32","shape":[1.5,4],"data":[1,2,3,4]"#), "shape: expected a whole number"),
        (
            features(r#""datatype":"FP32","shape":4,"data":[1,2,3,4]"#),
            "shape: expected a list of dimensions, but got 4",
        ),
        (features(r#""datatype":"FP32","shape":null,"data":[1,2,3,4]"#), "expected a list of dimensions, but got null"),
        (features(r#""parameters":7,"datatype":"FP32","shape":[1,4]"#), "expected an object of parameters, but got 7"),
        (features(r#""datatype":"FP32","shape":[99999999999999999999,4],"data":[]"#), "out of range"),
        (
            features(r#""datatype":"FP32","shape":[9223372036854775807,4],"data":[]"#),
            "more elements than fit in memory",
        ),
        (features(r#""datatype":"FP32","shape":[1000000000000,4],"data":[1]"#), "expected 4000000000000 values"),
    ];
    let cases: Vec<_> = cases.iter().map(|(body, words)| (body.as_str(), *words)).collect();
    refuse(&server, INFER, &cases).await;
}

#[tokio::test]
async fn data_that_is_not_what_the_shape_and_type_say() {
    let server = TestServer::serving("iris").await;
    let row = |data: &str| features(&format!(r#""datatype":"FP32","shape":[1,4],"data":{data}"#));
    let cases = [
        (row("[1,2,3]"), "input 'features': expected 4 values for its shape"),
        (row("[[1,2],[3]]"), "but got 3"),
        (row("[1,2,3,4,5]"), "but got 5"),
        (row("[1,2,3,\"4\"]"), "input 'features': element 3: expected a number for FP32, but got \"4\""),
        (row("[1,2,3,true]"), "expected a number for FP32, but got true"),
        (row("[1,2,3,1e39]"), "out of range for FP32"),
        (row("{}"), "but got an object"),
        (row("null"), "but got 1"),
        (
            row("[1,2,3,4],\"parameters\":{\"binary_data_size\":16}"),
            "either \"data\" or \"binary_data_size\", but got both",
        ),
        (
            features(r#""parameters":{"binary_data_size":16},"datatype":"FP32","shape":[1,4],"data":[1,2,3,4]"#),
            "but got both",
        ),
        (
            features(r#""parameters":{"binary_data_size":-1},"datatype":"FP32","shape":[1,4]"#),
            "parameter \"binary_data_size\": expected",
        ),
        (
            features(r#""parameters":{"binary_data_size":"16"},"datatype":"FP32","shape":[1,4]"#),
            "parameter \"binary_data_size\": expected",
        ),
        (
            features(r#""parameters":{"shared_memory_region":"r"},"datatype":"FP32","shape":[1,4]"#),
            "shared memory is not supported",
        ),
    ];
    let cases: Vec<_> = cases.iter().map(|(body, words)| (body.as_str(), *words)).collect();
    refuse(&server, INFER, &cases).await;
}

#[tokio::test]
async fn outputs_that_cannot_be_given() {
    let server = TestServer::start().await;
    let with = |outputs: &str| {
        format!(
            r#"{{"inputs":[{{"name":"features","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}}],"outputs":{outputs}}}"#
        )
    };
    let cases = [
        (with(r#"[{"name":"o"}]"#), "unexpected inference output 'o' for model 'iris'"),
        (with(r#"[{"name":"label"},{"name":"label"}]"#), "inference output 'label' for model 'iris' is there twice"),
        (with("[{}]"), "expected \"name\" in each output"),
        (with(r#"[{"name":"label","parameters":{"classification":0}}]"#), "expected 1 class or more"),
        (with(r#"[{"name":"label","parameters":{"classification":-1}}]"#), "parameter \"classification\": expected"),
        (with(r#"[{"name":"label","parameters":{"classification":"1"}}]"#), "parameter \"classification\": expected"),
        (
            with(r#"[{"name":"label","parameters":{"binary_data":1}}]"#),
            "parameter \"binary_data\": expected true or false",
        ),
        (with(r#"[{"name":"label","parameters":{"shared_memory_region":"r"}}]"#), "shared memory is not supported"),
        (
            with("[],\"parameters\":{\"binary_data_output\":1}"),
            "parameter \"binary_data_output\": expected true or false",
        ),
        (with("[],\"parameters\":{\"timeout\":\"1\"}"), "parameter \"timeout\": expected"),
    ];
    let cases: Vec<_> = cases.iter().map(|(body, words)| (body.as_str(), *words)).collect();
    refuse(&server, INFER, &cases).await;
    let label = with(r#"[{"name":"output_label","parameters":{"classification":1}}]"#);
    let error = server.refuse("/v2/models/iris_zipmap/infer", label, 400).await;
    assert!(error.contains("output 'output_label'") && error.contains("BYTES"), "{error}");
}

#[tokio::test]
async fn values_that_a_type_does_not_have() {
    for (data_type, values) in [
        (DataType::Bool, &["1", "0", "\"true\"", "null"][..]),
        (DataType::Int8, &["300", "-129", "1.5", "true", "NaN", "null"]),
        (DataType::Uint64, &["-1", "18446744073709551616", "Infinity"]),
        (DataType::Fp16, &["65520", "\"1\"", "true"]),
        (DataType::Bytes, &["1", "null", "true", "\"\\ud800\""]),
    ] {
        let server = serve_identity(data_type, &[1]).await;
        for value in values {
            let body =
                format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"{data_type}","data":[{value}]}}]}}"#);
            server.refuse(IDENTITY, body, 400).await;
        }
    }
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_the_server_lives() {
    let server = serve_identity(DataType::Fp32, &[-1, -1]).await;
    let data = |data: &str| format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,1],"data":{data}}}]}}"#);
    let mut bodies = vec![
        "[".repeat(1_000_000),
        data(&"[".repeat(1_000_000)),
        data(&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000))),
        r#"{"a":"#.repeat(200_000),
        format!(r#"{{"inputs":{}"#, "[".repeat(100_000)),
        format!(r#"{{"x":{}}}"#, r#"{"a":"#.repeat(200_000) + "1" + &"}".repeat(200_000)),
        format!(r#"{{"inputs":[{{"shape":[{}"#, "1,".repeat(1_000_000)),
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2147483648,2147483648],"data":[]}]}"#.to_owned(),
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[4611686018427387904,4],"data":[1]}]}"#.to_owned(),
    ];
    // Data before its shape is passed over first, and then read.
    bodies.push(format!(r#"{{"inputs":[{{"data":{}"#, "[".repeat(1_000_000)));
    for body in bodies {
        let shown: String = body.chars().take(60).collect();
        server.refuse(IDENTITY, body, 400).await;
        let row = server.post(IDENTITY, data("[1.5]")).await;
        assert_eq!(row.status(), 200, "after {shown}");
    }
    let not_utf8 = [b"{\"inputs\":[{\"name\":\"\xff\"}]}".to_vec(), b"{\"id\":\"\xff\",\"inputs\":[]}".to_vec()];
    for body in not_utf8 {
        assert!(server.refuse(IDENTITY, body, 400).await.contains("not UTF-8"));
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_too_large_and_unknown_codings_unsupported() {
    let server =
        TestServer::start_with(crate::harness::models("iris"), |config| config.limits.max_body_bytes = 1000).await;
    server.refuse(INFER, " ".repeat(1001), 413).await;
    let request = server.request(reqwest::Method::POST, INFER).header("content-encoding", "br").body("x");
    crate::harness::error_text(request.send().await.unwrap(), 415).await;
}
