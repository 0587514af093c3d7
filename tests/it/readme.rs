//! What the README shows is what the server does: each `curl` in it, with the answer below it.

use onnxd::model::golden;
use reqwest::Method;
use serde_json::Value;

use crate::harness::TestServer;

const README: &str = include_str!("../../README.md");

/// A `curl` of the README and the JSON that follows it.
struct Example<'a> {
    path: &'a str,
    body: &'a str,
    answer: Value,
}

#[tokio::test]
async fn every_curl_in_the_readme_gets_the_answer_below_it() {
    let server = TestServer::start().await;
    let examples = examples();
    assert!(examples.len() >= 4, "the README has lost its examples");
    for Example { path, body, answer } in examples {
        let response = server.request(Method::POST, path).body(body).send().await.unwrap();
        let got: Value = response.json().await.unwrap();
        // Another processor may differ in the last digits.
        let difference = golden::first_difference(&without_what_varies(answer), &without_what_varies(got), 1e-5);
        assert_eq!(difference, None, "{body}");
    }
}

fn examples() -> Vec<Example<'static>> {
    let blocks = README.split("```sh\ncurl -d '").skip(1);
    blocks
        .map(|block| {
            let (body, rest) = block.split_once("' localhost:8000").expect("a curl ends with the URL");
            let (path, rest) = rest.split_once("\n```\n```json\n").expect("an answer follows");
            let (answer, _) = rest.split_once("\n```").expect("the answer ends");
            Example { path, body, answer: serde_json::from_str(answer).expect("the answer is JSON") }
        })
        .collect()
}

fn without_what_varies(mut answer: Value) -> Value {
    for key in ["prediction_time", "request_id"] {
        if let Some(value) = answer.get_mut(key) {
            *value = Value::Null;
        }
    }
    answer
}
