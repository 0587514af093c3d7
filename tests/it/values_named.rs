//! Values that do not fit are refused by name: the row, the feature, what was expected and what came.

use onnxd::tensor::data_type::DataType;

use crate::{harness::TestServer, identity::serve_identity};

/// Posts each body to the server's model and checks that the refusal says all the parts.
async fn refused(server: &TestServer, cases: &[(&str, &[&str])]) {
    for (body, parts) in cases {
        let error = server.refuse("/predict", (*body).to_owned(), 400).await;
        for part in *parts {
            assert!(error.contains(part), "{body}: expected {part:?} in: {error}");
        }
    }
}

#[tokio::test]
async fn wrong_number_of_features_is_told() {
    let server = TestServer::serving("iris").await;
    for (body, expected) in [
        (r#"{"features":[5.1,3.5,1.4]}"#, "Expected 4 features, but got 3"),
        (r#"{"features":[5.1,3.5,1.4,0.2,9]}"#, "Expected 4 features, but got 5"),
        (r#"{"features":[1]}"#, "Expected 4 features, but got 1"),
    ] {
        assert_eq!(server.refuse("/predict", body, 400).await, expected, "{body}");
    }
}

#[tokio::test]
async fn row_of_another_length_is_named() {
    let server = TestServer::serving("iris").await;
    refused(
        &server,
        &[
            (r#"{"features":[[5.1,3.5,1.4,0.2],[5.1,3.5,1.4]]}"#, &["row 1", "4 features", "got 3"]),
            (r#"{"features":[[1,2,3,4],[1,2,3,4],[1,2,3,4,5]]}"#, &["row 2", "4 features", "got 5"]),
            (r#"{"instances":[[1,2,3,4],[]]}"#, &["row 1", "4 features", "got 0"]),
            (r#"{"inputs":{"features":[[1,2,3,4],[1,2]]}}"#, &["features", "[1]", "4", "2"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn row_of_another_kind_is_named() {
    let server = TestServer::serving("iris").await;
    refused(
        &server,
        &[
            (r#"{"features":[[1,2,3,4],5]}"#, &["row 1", "5"]),
            (r#"{"features":[1,2,[3],4]}"#, &["petal_length", "list"]),
            (r#"{"instances":[[1,2,3,4],"a"]}"#, &["row 1", "\"a\""]),
            (r#"{"features":[[[1,2,3,4]]]}"#, &["row 0", "list"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn value_that_is_no_number_is_named() {
    let server = TestServer::serving("iris").await;
    refused(
        &server,
        &[
            (r#"{"features":[5.1,3.5,"wide",0.2]}"#, &["petal_length", "number", "\"wide\""]),
            (r#"{"features":[[1,2,3,4],[1,2,3,true]]}"#, &["row 1", "petal_width", "number", "true"]),
            (
                r#"{"features":{"sepal_length":"5.1","sepal_width":1,"petal_length":1,"petal_width":1}}"#,
                &["sepal_length", "\"5.1\""],
            ),
            (
                r#"{"instances":[{"sepal_length":1,"sepal_width":[],"petal_length":1,"petal_width":1}]}"#,
                &["row 0", "sepal_width", "list"],
            ),
            (r#"{"inputs":{"features":[[1,2,3,"4"]]}}"#, &["\"features\"", "[0][3]", "\"4\""]),
        ],
    )
    .await;
}

#[tokio::test]
async fn string_is_asked_for_where_the_model_takes_strings() {
    let server = TestServer::serving("text").await;
    refused(
        &server,
        &[
            (r#"{"text":5}"#, &["text", "string", "5"]),
            (r#"{"features":[["a"],[1.5]]}"#, &["row 1", "text", "string", "1.5"]),
            (r#"{"text":null}"#, &["text", "string", "null"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn missing_feature_is_named() {
    let server = TestServer::serving("iris").await;
    refused(
        &server,
        &[
            (r#"{"sepal_length":1,"sepal_width":1,"petal_length":1}"#, &["petal_width", "missing"]),
            (r#"{"features":{"sepal_length":1,"petal_length":1,"petal_width":1}}"#, &["sepal_width", "missing"]),
            (
                r#"{"features":[{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1},{"sepal_length":1}]}"#,
                &["row 1", "sepal_width", "missing"],
            ),
            (r#"{"features":{}}"#, &["sepal_length", "missing"]),
            (r#"{"instances":[{}]}"#, &["row 0", "missing"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn unknown_key_is_named() {
    let server = TestServer::serving("iris").await;
    refused(
        &server,
        &[
            (r#"{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1,"colour":1}"#, &["colour"]),
            (r#"{"Sepal_Length":1,"sepal_width":1,"petal_length":1,"petal_width":1}"#, &["Sepal_Length"]),
            (
                r#"{"features":{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1,"colour":1}}"#,
                &["colour"],
            ),
            (
                r#"{"instances":[{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1,"colour":1}]}"#,
                &["row 0", "colour"],
            ),
            (r#"{"features":[1,2,3,4],"threshold":0.5}"#, &["threshold"]),
            (r#"{"data":[[1,2,3,4]]}"#, &["data", "\"features\"", "\"instances\"", "\"inputs\""]),
            (r#"{"id":1,"features":[1,2,3,4]}"#, &["id", "\"features\"", "\"instances\"", "\"inputs\""]),
            (r#"{"inputs":{"input_0":[[1,2,3,4]]}}"#, &["input_0", "features"]),
            (r#"{"inputs":{"features":[[1,2,3,4]],"input_0":[[1]]}}"#, &["input_0"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn missing_input_is_named() {
    let server = TestServer::serving("ride_duration").await;
    refused(
        &server,
        &[
            (r#"{"inputs":{"PULocationID":[[1]],"trip_distance":[[1]]}}"#, &["DOLocationID", "missing"]),
            (r#"{"PULocationID":1,"trip_distance":1}"#, &["DOLocationID", "missing"]),
            (r#"{"inputs":{}}"#, &["PULocationID", "missing"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn two_ways_to_say_it_at_once_are_refused() {
    let server = TestServer::serving("iris").await;
    refused(
        &server,
        &[
            (r#"{"features":[1,2,3,4],"instances":[[1,2,3,4]]}"#, &["instances", "features"]),
            (r#"{"sepal_length":1,"features":[1,2,3,4]}"#, &["features"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn nested_lists_that_do_not_fit_the_shape_are_located() {
    let server = TestServer::serving("digits").await;
    let row = "[0,0,0,0,0,0,0,0]";
    let seven_rows = [row; 7].join(",");
    let ragged = format!(r#"{{"inputs":{{"image":[[[{seven_rows},[0,0,0]]]]}}}}"#);
    let short = format!(r#"{{"inputs":{{"image":[[[{seven_rows}]]]}}}}"#);
    let flat = format!(r#"{{"inputs":{{"image":[{row}]}}}}"#);
    refused(
        &server,
        &[
            (&ragged, &["\"image\"", "[0][0][7]", "8", "3"]),
            (&short, &["\"image\"", "[0][0]", "8", "7"]),
            (&flat, &["\"image\"", "[0][0]"]),
            (r#"{"inputs":{"image":1}}"#, &["\"image\"", "1"]),
            (r#"{"inputs":[1]}"#, &["inputs", "image"]),
            ("{}", &[r#"{"inputs": {"image": [[[[0.0, …]]]]}}"#, "[-1, 1, 8, 8]"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn ragged_lists_of_a_dynamic_width_are_located() {
    let server = serve_identity(DataType::Int64, &[-1, -1]).await;
    refused(
        &server,
        &[
            (r#"{"inputs":{"x":[[1,2],[3]]}}"#, &["\"x\"", "[1]", "2", "1"]),
            (r#"{"inputs":{"x":[[1,2],[3,4,5]]}}"#, &["\"x\"", "[1]", "2", "3"]),
            (r#"{"inputs":{"x":[[1,2],3]}}"#, &["\"x\"", "[1]"]),
            (r#"{"inputs":{"x":[[1,[2]]]}}"#, &["\"x\"", "[0][1]"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn inputs_that_differ_in_rows_are_refused() {
    let server = TestServer::serving("ride_duration").await;
    refused(
        &server,
        &[
            (
                r#"{"inputs":{"PULocationID":[[1],[2]],"DOLocationID":[[1]],"trip_distance":[[1],[2]]}}"#,
                &["\"DOLocationID\"", "2 rows", "\"PULocationID\"", "got 1"],
            ),
            (
                r#"{"inputs":{"PULocationID":[[1]],"DOLocationID":[[1]],"trip_distance":[]}}"#,
                &["\"trip_distance\"", "1 row,", "got 0"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn no_rows_at_all_are_answered_or_refused_but_never_an_error_of_ours() {
    let server = TestServer::serving("iris").await;
    for body in [r#"{"features":[]}"#, r#"{"instances":[]}"#, r#"{"inputs":{"features":[]}}"#] {
        let response = server.post("/predict", body).await;
        assert!([200, 400].contains(&response.status().as_u16()), "{body}: {response:?}");
    }
}

#[tokio::test]
async fn features_without_names_are_taken_by_position_only() {
    let server = serve_identity(DataType::Int64, &[-1, 3]).await;
    server.predict("/predict", r#"{"features":[1,2,3]}"#).await;
    refused(
        &server,
        &[
            (r#"{"features":{"a":1,"b":2,"c":3}}"#, &["a list of 3 values", "no names"]),
            (r#"{"features":[[1,2,3],{"a":1}]}"#, &["row 1", "a list of 3 values"]),
            (r#"{"a":1,"b":2,"c":3}"#, &["\"a\"", "\"features\""]),
            (r#"{"features":[1,2,3.5]}"#, &["feature 2", "INT64", "3.5"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn model_of_a_fixed_number_of_rows_takes_no_other() {
    let server = serve_identity(DataType::Int64, &[1, 3]).await;
    server.predict("/predict", r#"{"features":[1,2,3]}"#).await;
    server.predict("/predict", r#"{"instances":[[1,2,3]]}"#).await;
    refused(
        &server,
        &[
            (r#"{"features":[[1,2,3],[4,5,6]]}"#, &["1 row", "got 2"]),
            (r#"{"inputs":{"x":[[1,2,3],[4,5,6]]}}"#, &["\"x\"", "1", "2"]),
        ],
    )
    .await;
}
