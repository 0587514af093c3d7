//! `--max-rows` in every form of a body: refused while it is read, with the number of rows that came.

use crate::harness::{TestServer, error_text, models};

const MAX_ROWS: usize = 10;

#[tokio::test]
async fn every_form_is_refused_above_the_limit_and_taken_at_it() {
    let server = TestServer::start_with(models(""), |config| {
        config.limits.max_rows = MAX_ROWS;
        config.default_model = Some("iris".to_owned());
    })
    .await;
    let list = |row: &str, rows: usize| vec![row; rows].join(",");
    let positional = |rows| list("[5.1,3.5,1.4,0.2]", rows);
    let named = |rows| list(r#"{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}"#, rows);
    let csv = |rows| {
        let header = "sepal_length,sepal_width,petal_length,petal_width";
        format!("{header}\n{}", "5.1,3.5,1.4,0.2\n".repeat(rows))
    };
    let json = "application/json";
    type Body<'a> = &'a dyn Fn(usize) -> String;
    let forms: [(&str, &str, Body<'_>); 13] = [
        ("/predict", json, &|rows| format!(r#"{{"features":[{}]}}"#, positional(rows))),
        ("/predict", json, &|rows| format!(r#"{{"features":[{}]}}"#, named(rows))),
        ("/predict", json, &|rows| format!(r#"{{"instances":[{}]}}"#, positional(rows))),
        ("/predict", json, &|rows| format!(r#"{{"inputs":{{"features":[{}]}}}}"#, positional(rows))),
        ("/models/text/predict", json, &|rows| format!(r#"{{"instances":[{}]}}"#, list(r#""""#, rows))),
        ("/v1/models/iris:predict", json, &|rows| format!(r#"{{"instances":[{}]}}"#, positional(rows))),
        ("/v1/models/iris:predict", json, &|rows| format!(r#"{{"inputs":[{}]}}"#, positional(rows))),
        ("/v1/models/text:predict", json, &|rows| format!(r#"{{"instances":[{}]}}"#, list(r#""""#, rows))),
        ("/v1/models/text:predict", json, &|rows| format!(r#"{{"instances":[{}]}}"#, list(r#"{"text":""}"#, rows))),
        ("/invocations", json, &|rows| format!(r#"{{"dataframe_records":[{}]}}"#, named(rows))),
        ("/invocations", json, &|rows| format!(r#"{{"dataframe_split":{{"data":[{}]}}}}"#, positional(rows))),
        ("/invocations", json, &|rows| format!(r#"{{"instances":[{}]}}"#, positional(rows))),
        ("/invocations", "text/csv", &csv),
    ];
    for (path, content_type, body) in forms {
        let post = async |rows| {
            let request = server.request(reqwest::Method::POST, path).header("content-type", content_type);
            request.body(body(rows)).send().await.unwrap()
        };
        let at_limit = post(MAX_ROWS).await;
        let (status, text) = (at_limit.status(), at_limit.text().await.unwrap());
        assert_eq!(status, 200, "{path} {}: {text}", body(1));
        let error = error_text(post(MAX_ROWS + 3).await, 413).await;
        assert!(
            error.ends_with("expected at most 10 rows (--max-rows), but got 13: send them in several requests"),
            "{error}"
        );
    }
}
