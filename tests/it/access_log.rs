//! The access log: one line a request, and never what was in it.

use reqwest::Response;
use serde_json::Value;

use crate::{
    connection::{Connection, post_bytes},
    harness::{models, until},
    process::{ServingProcess, onnxd},
    shutdown_process::{YEARS, counting_process, until_running},
};

const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
/// Stands in bodies, and must stand in no log.
const SECRET: &str = "XMARKSTHESPOT";

async fn start(arguments: &[&str]) -> ServingProcess {
    ServingProcess::start(&models("iris"), arguments).await
}

/// Stops the server and returns every line of its log that the access log wrote.
async fn access_lines(serving: ServingProcess) -> Vec<Value> {
    let stderr = serving.stop().await.stderr;
    let lines = stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")));
    lines.filter(|line: &Value| line["target"] == "onnxd::access").collect()
}

/// The lines of one path; starting a server asks for its readiness a few times.
fn of_path(lines: &[Value], path: &str) -> Vec<Value> {
    lines.iter().filter(|line| line["path"] == path).cloned().collect()
}

fn request_id(response: &Response) -> String {
    response.headers()["x-request-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_request_is_one_line() {
    let serving = start(&[]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(request_id(&serving.post("/predict", ROW).await));
    }
    let lines = of_path(&access_lines(serving).await, "/predict");
    assert_eq!(lines.iter().map(|line| &line["request_id"]).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn line_has_method_status_duration_and_model() {
    let serving = start(&[]).await;
    serving.post("/predict", ROW).await;
    let lines = of_path(&access_lines(serving).await, "/predict");
    let line = &lines[0];
    assert_eq!(
        (&line["method"], &line["status"], &line["model"]),
        (&"POST".into(), &200.into(), &"iris".into()),
        "{line}"
    );
    assert!(line["duration_ms"].as_f64().is_some_and(|duration| duration > 0.0), "{line}");
}

#[tokio::test]
async fn line_has_time_level_and_a_message_to_read() {
    let serving = start(&[]).await;
    serving.post("/predict", ROW).await;
    let lines = of_path(&access_lines(serving).await, "/predict");
    let line = &lines[0];
    assert_eq!(line["level"], "INFO", "{line}");
    assert!(line["timestamp"].is_string() && line["message"].as_str().unwrap().contains("POST /predict 200"), "{line}");
}

#[tokio::test]
async fn path_is_the_routes_template() {
    let serving = start(&[]).await;
    serving.post("/models/iris/versions/1/predict", ROW).await;
    let lines = access_lines(serving).await;
    assert_eq!(of_path(&lines, "/models/{model}/versions/{version}/predict").len(), 1, "{lines:#?}");
}

#[tokio::test]
async fn refused_request_is_one_line_with_its_status() {
    let serving = start(&[]).await;
    serving.post("/predict", "{}").await;
    let lines = of_path(&access_lines(serving).await, "/predict");
    assert_eq!(lines.iter().map(|line| &line["status"]).collect::<Vec<_>>(), [400]);
}

#[tokio::test]
async fn client_that_leaves_is_one_line_with_status_499() {
    let (serving, _folder) = counting_process(&[]).await;
    let mut connection = Connection::open(serving.address).await.unwrap();
    connection.write(&post_bytes("/predict", YEARS)).await.unwrap();
    until_running(&serving).await;
    drop(connection);
    let counted = r#"http_requests_total{method="POST",path="/predict",status="499"} 1"#;
    until(async || serving.get("/metrics").await.text().await.unwrap().contains(counted)).await;
    let lines = of_path(&access_lines(serving).await, "/predict");
    assert_eq!(lines.iter().map(|line| &line["status"]).collect::<Vec<_>>(), [499], "{lines:#?}");
    assert!(lines[0]["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{lines:#?}");
}

#[tokio::test]
async fn unknown_path_is_one_line() {
    let serving = start(&[]).await;
    let id = request_id(&serving.get("/no/such/path").await);
    let lines = access_lines(serving).await;
    let of_request: Vec<_> = lines.iter().filter(|line| line["request_id"] == *id).collect();
    assert_eq!(of_request.iter().map(|line| &line["status"]).collect::<Vec<_>>(), [404]);
}

#[tokio::test]
async fn text_format_is_one_line_with_the_same() {
    let mut command = onnxd(["serve", "--host", "127.0.0.1", "--port", "0", "--log-format", "text"]);
    command.arg(models("iris"));
    let serving = ServingProcess::start_command(command).await;
    let id = request_id(&serving.post("/predict", ROW).await);
    let stderr = serving.stop().await.stderr;
    let lines: Vec<_> = stderr.lines().filter(|line| line.contains(&id)).collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    for part in ["INFO", "onnxd::access", "POST /predict 200", "model=\"iris\"", "duration_ms="] {
        assert!(lines[0].contains(part), "{part:?} is not in {}", lines[0]);
    }
}

#[tokio::test]
async fn access_log_can_be_turned_off() {
    let serving = start(&["--access-log", "off"]).await;
    serving.post("/predict", ROW).await;
    assert!(access_lines(serving).await.is_empty());
}

#[tokio::test]
async fn bodies_are_never_logged() {
    let serving = ServingProcess::start(&models("text"), &["--log-level", "trace"]).await;
    let accepted = serving.post("/predict", &format!(r#"{{"features":["{SECRET} petals"]}}"#)).await;
    assert_eq!(accepted.status(), 200);
    let refused = serving.post("/predict", &format!(r#"{{"features":[1],"{SECRET}":"{SECRET}"}}"#)).await;
    assert_eq!(refused.status(), 400);
    let stderr = serving.stop().await.stderr;
    assert!(stderr.contains("onnxd::access"), "{stderr}");
    let lines: Vec<_> = stderr.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(lines.is_empty(), "{lines:#?}");
}
