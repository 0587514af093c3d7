//! MLflow's scoring protocol: every form of request, and answers in the form that MLflow's ONNX flavor has for it.

use onnxd::tensor::data_type::DataType;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    harness::{TestServer, models},
    identity::{element_type, serve_model},
    onnx::{self, Through},
};

const ROWS: &str = "[[5.1,3.5,1.4,0.2],[6.3,3.3,6.0,2.5]]";

/// Posts a body of this type to `/invocations`.
pub async fn invoke(server: &TestServer, content_type: Option<&str>, body: &str) -> Response {
    let request = server.request(Method::POST, "/invocations").body(body.to_owned());
    let request = match content_type {
        Some(content_type) => request.header("content-type", content_type),
        None => request,
    };
    request.send().await.unwrap()
}

/// Posts JSON that must be answered 200, and returns the predictions.
async fn predictions(server: &TestServer, body: &str) -> Value {
    let response = invoke(server, Some("application/json"), body).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 200, "{body} was answered {text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    answer["predictions"].clone()
}

/// Returns label and probabilities of each row, as the native API answers them.
async fn native_iris(server: &TestServer) -> Vec<(Value, Value)> {
    let native = server.predict("/predict", &format!(r#"{{"features":{ROWS}}}"#)).await;
    let rows = native["predictions"].as_array().unwrap().iter();
    rows.map(|row| {
        let probabilities = row["probabilities"].as_object().unwrap().values().cloned().collect::<Value>();
        (row["prediction"].clone(), probabilities)
    })
    .collect()
}

#[tokio::test]
async fn tensors_are_answered_as_tensors_with_the_native_numbers() {
    let server = TestServer::serving("iris").await;
    let native = native_iris(&server).await;
    let labels: Value = native.iter().map(|(label, _)| label.clone()).collect();
    let probabilities: Value = native.iter().map(|(_, probabilities)| probabilities.clone()).collect();
    let expected = json!({"label": labels, "probabilities": probabilities});
    for body in [
        format!(r#"{{"inputs":{ROWS}}}"#),
        format!(r#"{{"inputs":{{"features":{ROWS}}}}}"#),
        format!(r#"{{"instances":{ROWS}}}"#),
        r#"{"instances":[{"features":[5.1,3.5,1.4,0.2]},{"features":[6.3,3.3,6,2.5]}]}"#.to_owned(),
        format!(r#"{{"params":{{"a":[1]}},"inputs":{ROWS},"unknown":null}}"#),
        format!("\u{feff}{{\"inputs\":{ROWS}}}"),
    ] {
        assert_eq!(predictions(&server, &body).await, expected, "{body}");
        let response = invoke(&server, None, &body).await;
        assert_eq!(response.json::<Value>().await.unwrap(), json!({"predictions": expected}), "{body}");
    }
}

#[tokio::test]
async fn tables_are_answered_as_records_with_columns_by_name_or_in_order() {
    let server = TestServer::serving("iris").await;
    let record = |(label, probabilities): &(Value, Value)| json!({"label": label, "probabilities": probabilities});
    let expected: Value = native_iris(&server).await.iter().map(record).collect();
    for body in [
        // By the features' names, in any order, with the columns before the data or after it.
        format!(
            r#"{{"dataframe_split":{{"columns":["sepal_length","sepal_width","petal_length","petal_width"],"data":{ROWS}}}}}"#
        ),
        r#"{"dataframe_split":{"data":[[0.2,1.4,3.5,5.1],[2.5,6,3.3,6.3]],"index":["a","b"],
            "columns":["petal_width","petal_length","sepal_width","sepal_length"]}}"#
            .to_owned(),
        r#"{"dataframe_records":[{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2},
            {"petal_width":2.5,"sepal_length":6.3,"sepal_width":3.3,"petal_length":6}]}"#
            .to_owned(),
        // In their order, where they are called otherwise, or not at all.
        format!(r#"{{"dataframe_split":{{"columns":["a","b","c","d"],"data":{ROWS}}}}}"#),
        format!(r#"{{"dataframe_split":{{"columns":[0,1,2,3],"data":{ROWS}}}}}"#),
        format!(r#"{{"dataframe_split":{{"columns":null,"data":{ROWS}}}}}"#),
        format!(r#"{{"dataframe_split":{{"data":{ROWS}}}}}"#),
        r#"{"dataframe_records":[{"a":5.1,"b":3.5,"c":1.4,"d":0.2},{"b":3.3,"a":6.3,"c":6,"d":2.5}]}"#.to_owned(),
        format!(r#"{{"dataframe_records":{ROWS}}}"#),
    ] {
        assert_eq!(predictions(&server, &body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn columns_go_to_the_inputs_of_their_names_and_others_are_passed_over() {
    let server = TestServer::serving("ride_duration").await;
    let ride = r#"{"PULocationID":100,"DOLocationID":200,"trip_distance":3.5}"#;
    let duration = server.predict("/predict", ride).await["prediction"].clone();
    for body in [
        format!(r#"{{"dataframe_records":[{ride}]}}"#),
        r#"{"dataframe_records":[{"tip":[1],"trip_distance":3.5,"PULocationID":100,"DOLocationID":200}]}"#.to_owned(),
        r#"{"dataframe_split":{"columns":["PULocationID","tip","trip_distance","DOLocationID"],"data":[[100,{},3.5,200]]}}"#.to_owned(),
    ] {
        assert_eq!(predictions(&server, &body).await, json!([{"duration": duration}]), "{body}");
    }
    // An input [N, 1] takes a column of rank 1.
    for body in [
        r#"{"inputs":{"PULocationID":[100],"DOLocationID":[200],"trip_distance":[3.5]}}"#,
        r#"{"inputs":{"PULocationID":[[100]],"DOLocationID":[[200]],"trip_distance":[[3.5]]}}"#,
        r#"{"instances":[{"PULocationID":100,"DOLocationID":200,"trip_distance":3.5}]}"#,
    ] {
        assert_eq!(predictions(&server, body).await, json!({"duration": [[duration]]}), "{body}");
    }
}

#[tokio::test]
async fn the_only_column_goes_to_the_only_input_whatever_it_is_called() {
    let server = TestServer::serving("text").await;
    let native = server.predict("/predict", r#"{"features":["petal"]}"#).await;
    for body in [
        r#"{"dataframe_records":[{"text":"petal"}]}"#,
        r#"{"dataframe_records":[{"sentence":"petal"}]}"#,
        r#"{"dataframe_records":[["petal"]]}"#,
        r#"{"dataframe_split":{"columns":["x"],"data":[["petal"]]}}"#,
    ] {
        assert_eq!(predictions(&server, body).await[0]["label"], native["prediction"], "{body}");
    }
    assert_eq!(predictions(&server, r#"{"inputs":["petal"]}"#).await["label"], json!([native["prediction"]]));
}

#[tokio::test]
async fn maps_of_classes_stay_maps() {
    let server = TestServer::serving("iris_zipmap").await;
    let native = server.predict("/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
    let record = json!({"output_label": native["prediction"], "output_probability": native["probabilities"]});
    assert_eq!(predictions(&server, r#"{"dataframe_records":[[5.1,3.5,1.4,0.2]]}"#).await, json!([record]));
    let tensors = json!({"output_label": [native["prediction"]], "output_probability": [native["probabilities"]]});
    assert_eq!(predictions(&server, r#"{"inputs":[[5.1,3.5,1.4,0.2]]}"#).await, tensors);
}

#[tokio::test]
async fn cells_may_be_tensors_where_the_inputs_are() {
    let float = element_type(DataType::Fp32);
    let server = serve_model(&onnx::all_through(&[
        Through { input: "image", output: "y", element_type: float, dims: &[-1, 2, 2] },
        Through { input: "scale", output: "z", element_type: float, dims: &[-1] },
    ]))
    .await;
    let expected = json!([{"y": [[1.0, 2.0], [3.0, 4.0]], "z": 5.0}]);
    for body in [
        r#"{"dataframe_records":[{"image":[[1,2],[3,4]],"scale":5}]}"#,
        r#"{"dataframe_split":{"columns":["scale","image"],"data":[[[5],[[1,2],[3,4]]]]}}"#,
    ] {
        assert_eq!(predictions(&server, body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn missing_values_go_in_as_null_and_out_as_nan() {
    let server = TestServer::serving("iris").await;
    for body in [r#"{"dataframe_records":[[null,1,2,3]]}"#, r#"{"inputs":[[NaN,1,2,3]]}"#] {
        let text = invoke(&server, None, body).await.text().await.unwrap();
        assert!(text.contains(r#""probabilities":"#) && text.contains("[NaN,NaN,NaN]"), "{text}");
    }
}

#[tokio::test]
async fn ping_and_version_are_as_mlflows() {
    let server = TestServer::serving("iris").await;
    let ping = server.get("/ping").await;
    assert_eq!((ping.status().as_u16(), &ping.headers()["content-type"]), (200, &"application/json".parse().unwrap()));
    assert_eq!(ping.text().await.unwrap(), "\n");
    let version = server.get("/version").await;
    assert_eq!(version.status(), 200);
    assert_eq!(version.text().await.unwrap(), env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn the_default_model_serves() {
    let server = TestServer::start_with(models(""), |config| config.default_model = Some("text".to_owned())).await;
    assert!(predictions(&server, r#"{"inputs":["petal"]}"#).await["label"][0].is_string());
}
