//! CSV for `/invocations`: a header, quotes, and fields read as the model's inputs are.

use serde_json::{Value, json};

use crate::{harness::TestServer, mlflow::invoke};

const CSV: &str = "text/csv";

async fn records(server: &TestServer, body: &str) -> Value {
    let response = invoke(server, Some(CSV), body).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 200, "{body:?} was answered {text}");
    serde_json::from_str::<Value>(&text).unwrap()["predictions"].clone()
}

#[tokio::test]
async fn lines_are_rows_with_columns_by_name_or_in_order() {
    let server = TestServer::serving("iris").await;
    let native = server.predict("/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
    let probabilities: Value = native["probabilities"].as_object().unwrap().values().cloned().collect();
    let record = json!({"label": native["prediction"], "probabilities": probabilities});
    for body in [
        "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n",
        "sepal_length,sepal_width,petal_length,petal_width\r\n5.1,3.5,1.4,.2",
        "petal_width,petal_length,sepal_width,sepal_length\n0.2,1.4,3.5,5.1\n",
        "a,b,c,d\n\"5.1\", 3.5 ,+1.4,2e-1\n\n",
    ] {
        assert_eq!(records(&server, body).await, json!([record]), "{body:?}");
    }
    assert_eq!(records(&server, "a,b,c,d\n5.1,3.5,1.4,0.2\n5.1,3.5,1.4,0.2\n").await, json!([record, record]));
    // The same for a JSON body of the same numbers, to the last bit.
    let json = invoke(&server, None, r#"{"dataframe_records":[[5.1,3.5,1.4,0.2]]}"#).await;
    assert_eq!(json.json::<Value>().await.unwrap()["predictions"], json!([record]));
}

#[tokio::test]
async fn fields_are_text_or_numbers_as_the_inputs_are() {
    let server = TestServer::serving("text").await;
    let native = server.predict("/predict", r#"{"features":["a \"petal\", measured\nby 007"]}"#).await;
    let answer = records(&server, "text\n\"a \"\"petal\"\", measured\nby 007\"\n").await;
    assert_eq!(answer[0]["label"], native["prediction"]);
    // What looks like a number stays what it is.
    assert_eq!(records(&server, "text\n007\n").await.as_array().unwrap().len(), 1);
    let server = TestServer::serving("ride_duration").await;
    let ride = r#"{"PULocationID":100,"DOLocationID":200,"trip_distance":3.5}"#;
    let duration = server.predict("/predict", ride).await["prediction"].clone();
    let body = "tip,PULocationID,DOLocationID,trip_distance\nnone at all,100,200.0,3.5\n";
    assert_eq!(records(&server, body).await, json!([{"duration": duration}]));
}

#[tokio::test]
async fn malformed_csv_is_refused_with_the_line() {
    let server = TestServer::serving("ride_duration").await;
    let header = "PULocationID,DOLocationID,trip_distance\n";
    for (body, expected) in [
        (String::new(), "the body is empty"),
        (header.to_owned(), "after line 1, the names of the columns: expected at least one row, but got none"),
        (format!("{header}1,2\n"), "line 2: Expected 3 fields, but got 2"),
        (format!("{header}1,2,3\n1,2,3,4\n"), "line 3: Expected 3 fields, but got 4"),
        (format!("{header}1,2,far\n"), r#"line 2: expected a number for FP32, but got "far""#),
        (format!("{header}1.5,2,3\n"), "line 2: row 0, column \"PULocationID\": expected a whole number for INT64"),
        (format!("{header},2,3\n"), "expected a whole number for INT64, but got null"),
        ("a,b,c\n1,2,3\n".to_owned(), r#"column "PULocationID" is missing"#),
        ("a,a,b\n1,2,3\n".to_owned(), r#"duplicate column "a""#),
    ] {
        let response = invoke(&server, Some(CSV), &body).await;
        assert_eq!(response.status(), 400, "{body:?}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error_code"], "BAD_REQUEST");
        assert!(answer["message"].as_str().unwrap().contains(expected), "{body:?}: {answer}");
    }
    let request = server.request(reqwest::Method::POST, "/invocations").header("content-type", CSV);
    let response = request.body(&b"PULocationID,DOLocationID,trip_distance\n1,2,\xff\n"[..]).send().await.unwrap();
    assert_eq!(response.status(), 400);
}
