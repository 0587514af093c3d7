//! Pages of other origins: shut out unless the owner lets them in.

use reqwest::{Method, Response};

use crate::harness::{TestServer, error_text, models};

const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
const ORIGIN: &str = "https://app.example.com";

async fn allowing(origins: &[&str]) -> TestServer {
    let origins = origins.iter().map(ToString::to_string).collect();
    TestServer::start_with(models("iris"), |config| config.http.cors_allow_origin = origins).await
}

async fn post_from(server: &TestServer, origin: &str, body: &'static str) -> Response {
    server.request(Method::POST, "/predict").header("origin", origin).body(body).send().await.unwrap()
}

async fn preflight_from(server: &TestServer, origin: &str) -> Response {
    let request = server.request(Method::OPTIONS, "/predict").header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    request.header("access-control-request-headers", "content-type,x-request-id").send().await.unwrap()
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_ascii_lowercase())
}

fn allowed_origin(response: &Response) -> Option<String> {
    header(response, "access-control-allow-origin")
}

#[tokio::test]
async fn no_origin_is_allowed_by_default() {
    let server = TestServer::serving("iris").await;
    let response = post_from(&server, ORIGIN, ROW).await;
    assert_eq!(allowed_origin(&response), None);
    assert_eq!(response.status(), 200);
    let preflight = preflight_from(&server, ORIGIN).await;
    assert_eq!(allowed_origin(&preflight), None);
    error_text(preflight, 405).await;
}

#[tokio::test]
async fn listed_origin_may_call() {
    let server = allowing(&[ORIGIN, "http://localhost:3000"]).await;
    for origin in [ORIGIN, "http://localhost:3000"] {
        let response = post_from(&server, origin, ROW).await;
        assert_eq!(response.status(), 200);
        assert_eq!(allowed_origin(&response).as_deref(), Some(origin));
    }
}

#[tokio::test]
async fn other_origins_may_not_call_where_some_are_listed() {
    let server = allowing(&[ORIGIN]).await;
    for origin in ["https://evil.example.com", "http://app.example.com", "null"] {
        assert_eq!(allowed_origin(&post_from(&server, origin, ROW).await), None, "{origin}");
        assert_eq!(allowed_origin(&preflight_from(&server, origin).await), None, "{origin}");
    }
}

#[tokio::test]
async fn answer_to_a_listed_origin_varies_by_origin() {
    let server = allowing(&[ORIGIN]).await;
    let vary = header(&post_from(&server, ORIGIN, ROW).await, "vary").unwrap();
    assert!(vary.contains("origin"), "{vary}");
}

#[tokio::test]
async fn any_origin_may_call_where_a_star_says_so() {
    let server = allowing(&["*"]).await;
    let response = post_from(&server, "https://anyone.example.org", ROW).await;
    assert_eq!(allowed_origin(&response).as_deref(), Some("*"));
    assert_eq!(header(&response, "access-control-allow-credentials"), None);
}

#[tokio::test]
async fn preflight_is_answered_with_methods_and_headers() {
    let server = allowing(&[ORIGIN]).await;
    let response = preflight_from(&server, ORIGIN).await;
    assert!(response.status().is_success(), "{response:?}");
    assert_eq!(allowed_origin(&response).as_deref(), Some(ORIGIN));
    assert!(header(&response, "access-control-allow-methods").unwrap().contains("post"));
    let headers = header(&response, "access-control-allow-headers").unwrap();
    for name in ["content-type", "x-request-id", "x-request-timeout-ms"] {
        assert!(headers.contains(name), "{headers}");
    }
}

#[tokio::test]
async fn page_may_read_the_request_id_and_when_to_retry() {
    let server = allowing(&[ORIGIN]).await;
    let exposed = header(&post_from(&server, ORIGIN, ROW).await, "access-control-expose-headers").unwrap();
    assert!(exposed.contains("x-request-id") && exposed.contains("retry-after"), "{exposed}");
}

#[tokio::test]
async fn page_may_read_errors_too() {
    let server = allowing(&[ORIGIN]).await;
    let response = post_from(&server, ORIGIN, "{").await;
    assert_eq!(allowed_origin(&response).as_deref(), Some(ORIGIN));
    error_text(response, 400).await;
}
