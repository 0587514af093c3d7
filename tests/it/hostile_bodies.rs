//! Bodies made to harm, each in every form of every protocol: a 400 that says what is wrong, and the next request is answered.

use reqwest::{Method, Response};

use crate::harness::{TestServer, error_text};

/// A form of request for rows of `iris`.
struct Form<'a> {
    path: &'static str,
    content_type: &'static str,
    /// The body, with `@` for its data.
    body: &'a str,
    /// Data that is right.
    good: &'static str,
}

const INFER: &str = "/v2/models/iris/infer";
const PREDICT: &str = "/v1/models/iris:predict";
const INVOCATIONS: &str = "/invocations";
const ROW: &str = "[[5.1,3.5,1.4,0.2]]";

const FORMS: [Form<'_>; 16] = [
    json("/predict", r#"{"features":@}"#, ROW),
    json("/predict", r#"{"instances":@}"#, ROW),
    json("/predict", r#"{"inputs":{"features":@}}"#, ROW),
    json("/predict", r#"{"sepal_length":@,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}"#, "5.1"),
    json(INFER, r#"{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":@}]}"#, ROW),
    // Passed over first, and read when its shape is known.
    json(INFER, r#"{"inputs":[{"data":@,"name":"features","shape":[1,4],"datatype":"FP32"}]}"#, ROW),
    json(PREDICT, r#"{"instances":@}"#, ROW),
    json(PREDICT, r#"{"instances":[{"features":@}]}"#, "[5.1,3.5,1.4,0.2]"),
    json(PREDICT, r#"{"inputs":@}"#, ROW),
    json(PREDICT, r#"{"inputs":{"features":@}}"#, ROW),
    json("/v1/models/iris:classify", r#"{"examples":[{"features":@}]}"#, "[5.1,3.5,1.4,0.2]"),
    json(INVOCATIONS, r#"{"inputs":@}"#, ROW),
    json(INVOCATIONS, r#"{"instances":@}"#, ROW),
    json(INVOCATIONS, r#"{"dataframe_records":@}"#, ROW),
    json(INVOCATIONS, r#"{"dataframe_split":{"columns":["a","b","c","d"],"data":@}}"#, ROW),
    json(INVOCATIONS, r#"{"dataframe_split":{"data":@,"columns":["a","b","c","d"]}}"#, ROW),
];

const CSV: Form<'_> =
    Form { path: INVOCATIONS, content_type: "text/csv", body: "a,b,c,d\n@\n", good: "5.1,3.5,1.4,0.2" };

const fn json(path: &'static str, body: &'static str, good: &'static str) -> Form<'static> {
    Form { path, content_type: "application/json", body, good }
}

impl Form<'_> {
    fn with(&self, data: &[u8]) -> Vec<u8> {
        let (before, after) = self.body.split_once('@').expect("every form has a place for data");
        [before.as_bytes(), data, after.as_bytes()].concat()
    }

    async fn post(&self, server: &TestServer, body: Vec<u8>) -> Response {
        let request = server.request(Method::POST, self.path).header("content-type", self.content_type);
        request.body(body).send().await.expect("the server answers")
    }

    /// Sends a body that must be refused, and one that must be answered; returns the error.
    async fn refuse(&self, server: &TestServer, body: Vec<u8>) -> String {
        let shown = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
        let response = self.post(server, body).await;
        assert_eq!(response.status(), 400, "{} {shown}: {}", self.path, response.text().await.unwrap());
        let error = error_text(response, 400).await;
        assert!(!error.is_empty() && error.len() < 500, "{} {shown}: {error}", self.path);
        let good = self.post(server, self.with(self.good.as_bytes())).await;
        assert_eq!(good.status(), 200, "{} after {shown}: {}", self.path, good.text().await.unwrap());
        error
    }
}

#[tokio::test]
async fn data_that_no_form_takes_is_refused_in_all_of_them() {
    let server = TestServer::start().await;
    let lists = "[".repeat(1_000_000);
    let objects = r#"{"a":"#.repeat(200_000);
    let closed_lists = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let closed_objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let long = "9".repeat(100_000);
    // Where one value is expected, a list is refused before it is looked into.
    let cases: [(&[u8], &[&str]); 11] = [
        (lists.as_bytes(), &["got a list", "levels of nesting"]),
        (objects.as_bytes(), &["got an object", "\"a\"", "levels of nesting"]),
        (closed_lists.as_bytes(), &["got a list", "levels of nesting"]),
        (closed_objects.as_bytes(), &["got an object", "\"a\"", "levels of nesting"]),
        (b"[[5.1,3.5,1.4,\"\xff\"]]", &["not UTF-8", "got a list"]),
        (b"[{\"\xff\":1}]", &["not UTF-8", "got an object", "got a list"]),
        (b"[[5.1,3.5,1.4,0.2]", &["Request must be JSON", "got a list"]),
        (b"[[5.1,3.5,1.4]]", &["got 3", "got a list"]),
        (b"[[5.1,3.5,1.4,0.2,1]]", &["got 5", "got a list"]),
        (b"[[5.1,3.5,1.4,1e999]]", &["1e999 is out of range", "got a list"]),
        (long.as_bytes(), &["is out of range", "got 99999"]),
    ];
    for form in &FORMS {
        for (data, words) in cases {
            let error = form.refuse(&server, form.with(data)).await;
            assert!(words.iter().any(|word| error.contains(word)), "{} {}: {error}", form.path, form.body);
        }
    }
}

#[tokio::test]
async fn bodies_cut_off_anywhere_are_refused_in_every_form() {
    let server = TestServer::start().await;
    for form in &FORMS {
        let whole = form.with(form.good.as_bytes());
        for end in 0..whole.len() {
            let error = form.refuse(&server, whole[..end].to_vec()).await;
            assert!(error.contains("Request must be JSON"), "{} {}: {error}", form.path, &form.body[..4]);
        }
    }
}

#[tokio::test]
async fn csv_made_to_harm_is_refused() {
    let server = TestServer::start().await;
    let cases = [
        (b"".to_vec(), "the body is empty"),
        (b"a,b,c,d".to_vec(), "expected at least one row"),
        (vec![b','; 500_000], "duplicate column \"\""),
        (vec![b','; 2_000_000], "expected at most 1000000 columns, but got 2000001"),
        (vec![b'\n'; 1_000_000], "the body is empty"),
        (vec![b'"'; 1_000_001], "Expected 4 columns, but got 1"),
        (CSV.with(&b"[".repeat(1_000_000)), "line 2: Expected 4 fields, but got 1"),
        (CSV.with(b"1,2,3,[[[["), "line 2: expected a number for FP32, but got \"[[[[\""),
        (CSV.with(b"1,2,3"), "line 2: Expected 4 fields, but got 3"),
        (CSV.with(b"1,2,3,4,5"), "line 2: Expected 4 fields, but got 5"),
        (CSV.with(b"1,2,3,\xff"), "line 2: expected UTF-8"),
        (b"\xff,b,c,d\n1,2,3,4".to_vec(), "line 1: expected UTF-8"),
        (
            CSV.with(b"1,2,3,1e999"),
            "line 2: row 0, column \"d\": expected a number for FP32, but 1e999 is out of range",
        ),
        (CSV.with(&[&b"1,2,3,"[..], &b"9".repeat(1_000_000)].concat()), "is out of range"),
        (CSV.with(&[&b"1,2,3,\""[..], &b"9".repeat(1_000_000)].concat()), "is out of range"),
        (CSV.with(&[&b"1,2,3,4\n"[..], &b"\0".repeat(1_000)].concat()), "line 3: Expected 4 fields, but got 1"),
    ];
    for (body, words) in cases {
        let error = CSV.refuse(&server, body).await;
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn names_that_a_client_gives_are_quoted_only_in_part() {
    let server = TestServer::serving("iris").await;
    let long = "x".repeat(100_000);
    for body in [
        r#"{"dataframe_split":{"columns":["@"],"data":[[1]]}}"#,
        r#"{"dataframe_split":{"columns":["@","@","c","d"],"data":[[1,2,3,4]]}}"#,
        r#"{"dataframe_split":{"@":[]}}"#,
        r#"{"dataframe_records":[{"@":1,"b":2,"c":3,"d":4},{"b":2,"c":3,"d":4}]}"#,
        r#"{"dataframe_records":[{"@":1,"b":2,"c":3,"d":4},{"@":1,"@":2,"c":3,"d":4}]}"#,
        r#"{"dataframe_records":[{"@":"a","b":2,"c":3,"d":4}]}"#,
        r#"{"inputs":{"@":[[1,2,3,4]]}}"#,
    ] {
        let error =
            json(INVOCATIONS, "@", r#"{"inputs":[[1,2,3,4]]}"#).refuse(&server, body.replace('@', &long).into()).await;
        assert!(error.contains("xxx") && error.contains('…'), "{body}: {error}");
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused_also_where_nobody_looks() {
    let server = TestServer::serving("iris").await;
    let input = r#""name":"features","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]"#;
    for (path, body) in [
        (INFER, format!(r#"{{"@":1,"inputs":[{{{input}}}]}}"#)),
        (INFER, format!(r#"{{"a":"@","inputs":[{{{input}}}]}}"#)),
        (INFER, format!(r#"{{"inputs":[{{"@":1,{input}}}]}}"#)),
        (INFER, format!(r#"{{"inputs":[{{"parameters":{{"@":1}},{input}}}]}}"#)),
        (INFER, format!(r#"{{"parameters":{{"@":1}},"inputs":[{{{input}}}]}}"#)),
        (INFER, format!(r#"{{"inputs":[{{{input}}}],"outputs":[{{"@":1,"name":"label"}}]}}"#)),
        (PREDICT, r#"{"@":1,"instances":[[1,2,3,4]]}"#.to_owned()),
        (PREDICT, r#"{"inputs":{"features":[[1,2,3,4]],"@":1}}"#.to_owned()),
        (INVOCATIONS, r#"{"@":1,"inputs":[[1,2,3,4]]}"#.to_owned()),
        (INVOCATIONS, r#"{"dataframe_split":{"index":["@"],"data":[[1,2,3,4]]}}"#.to_owned()),
    ] {
        // As text it is passed over.
        let form = Form { path, content_type: "application/json", body: &body, good: "a" };
        let error = form.refuse(&server, form.with(b"\xff")).await;
        assert!(error.contains("not UTF-8"), "{path} {body}: {error}");
    }
}

#[tokio::test]
async fn what_a_client_sends_comes_back_only_in_part() {
    let server = TestServer::serving("iris").await;
    let long = "x".repeat(50_000);
    let post = |path: &str| server.request(Method::POST, path).body("{}");
    for (request, status) in [
        (post(&format!("/{long}")), 404),
        (post(&format!("/models/{long}/predict")), 404),
        (post(&format!("/models/iris/versions/{long}/predict")), 404),
        (post(&format!("/v2/models/iris/versions/{long}/infer")), 404),
        (post(&format!("/v1/models/{long}:predict")), 404),
        (post(&format!("/v1/models/iris:{long}")), 400),
        (post(INFER).header("inference-header-content-length", &long), 400),
        (post("/predict").header("x-request-timeout-ms", &long), 400),
        (post("/predict").header("content-encoding", &long), 415),
        (post(INVOCATIONS).header("content-type", &long), 415),
    ] {
        let error = error_text(request.send().await.unwrap(), status).await;
        assert!(error.len() < 2100, "{} bytes: {error:.100}", error.len());
    }
    server.predict("/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
}
