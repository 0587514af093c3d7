//! Which numbers go in and which come out: nothing is rounded that the model would not round itself.

use half::{bf16, f16};
use onnxd::tensor::data_type::DataType;
use serde_json::Value;

use crate::{harness::TestServer, identity::serve_identity};

const RIDE: &str = r#"{"PULocationID":100,"DOLocationID":200,"trip_distance":3.5}"#;

/// Returns the elements of `"y":[[…]]` as they were written.
fn written(text: &str) -> Vec<&str> {
    let (_, rest) = text.split_once(r#""y":[["#).expect("the answer has the output");
    let (row, _) = rest.split_once("]]").expect("the answer has one row");
    row.split(',').collect()
}

/// Sends one row of raw elements and returns the answer's text, which must be strict JSON.
async fn echo(server: &TestServer, elements: &str) -> String {
    let response = server.post("/predict", format!(r#"{{"inputs":{{"x":[[{elements}]]}}}}"#)).await;
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, 200, "{elements}: {text}");
    serde_json::from_str::<Value>(&text).expect("the answer is strict JSON");
    text
}

#[tokio::test]
async fn elements_of_every_type_come_back_as_they_went() {
    let cases = [
        (DataType::Bool, "true,false"),
        (DataType::Uint8, "0,255"),
        (DataType::Uint16, "0,65535"),
        (DataType::Uint32, "0,4294967295"),
        (DataType::Uint64, "0,18446744073709551615"),
        (DataType::Int8, "-128,127"),
        (DataType::Int16, "-32768,32767"),
        (DataType::Int32, "-2147483648,2147483647"),
        (DataType::Int64, "-9223372036854775808,9007199254740993,9223372036854775807"),
        (DataType::Bytes, r#""","a\"b\\","\n","é€😀""#),
    ];
    for (data_type, elements) in cases {
        let server = serve_identity(data_type, &[-1, -1]).await;
        let text = echo(&server, elements).await;
        assert!(text.contains(&format!(r#""outputs":{{"y":[[{elements}]]}}"#)), "{data_type}: {text}");
    }
}

#[tokio::test]
async fn tensors_of_every_rank_come_back_in_their_shape() {
    let cases: [(&[i64], &str); 4] = [
        (&[-1, -1, -1], "[[[1,2],[3,4],[5,6]]]"),
        (&[1, -1, 2, -1], "[[[[1],[2]],[[3],[4]]]]"),
        (&[-1, -1, -1], "[[],[]]"),
        (&[-1, 2], "[]"),
    ];
    for (dims, tensor) in cases {
        let server = serve_identity(DataType::Int64, dims).await;
        let response = server.post("/predict", format!(r#"{{"inputs":{{"x":{tensor}}}}}"#)).await;
        let text = response.text().await.unwrap();
        assert!(text.ends_with(&format!(r#""outputs":{{"y":{tensor}}}}}"#)), "{dims:?}: {text}");
    }
}

#[tokio::test]
async fn one_value_a_row_is_a_prediction_each() {
    for (dims, tensor, values) in
        [(&[][..], "7", &[7][..]), (&[3], "[1,2,3]", &[1, 2, 3]), (&[-1, 1], "[[1],[2]]", &[1, 2])]
    {
        let server = serve_identity(DataType::Int64, dims).await;
        let answer = server.predict("/predict", &format!(r#"{{"inputs":{{"x":{tensor}}}}}"#)).await;
        let rows = answer["predictions"].as_array().unwrap().iter().map(|row| row["prediction"].as_i64().unwrap());
        assert_eq!(rows.collect::<Vec<_>>(), values, "{dims:?}");
    }
}

#[tokio::test]
async fn floats_of_every_width_come_back_equal() {
    let cases = [
        (DataType::Fp16, "65504,-0.5,0.333251953125,0.00006103515625,5.9604645e-8"),
        (DataType::Bf16, "3.140625,-256,0.333984375,1e-38"),
        (DataType::Fp32, "5.1,16777216,-0.1,1.17549435e-38,3.4028235e38,1e-45"),
        (DataType::Fp64, "0.1,9007199254740993,2.2250738585072014e-308,1.7976931348623157e308,5e-324"),
    ];
    for (data_type, elements) in cases {
        let server = serve_identity(data_type, &[-1, -1]).await;
        let text = echo(&server, elements).await;
        let answered: Vec<_> = written(&text).into_iter().map(|element| narrowed(data_type, element)).collect();
        let sent: Vec<_> = elements.split(',').map(|element| narrowed(data_type, element)).collect();
        assert_eq!(answered, sent, "{data_type}: {text}");
    }
}

/// Returns the number that an element of this type is.
fn narrowed(data_type: DataType, element: &str) -> f64 {
    match data_type {
        DataType::Fp16 => f16::from_f64(element.parse().unwrap()).into(),
        DataType::Bf16 => bf16::from_f64(element.parse().unwrap()).into(),
        DataType::Fp32 => element.parse::<f32>().unwrap().into(),
        _ => element.parse().unwrap(),
    }
}

#[tokio::test]
async fn float32_leaves_with_the_fewest_digits_that_read_back() {
    let server = serve_identity(DataType::Fp32, &[-1, -1]).await;
    // A walk over the bit patterns, from subnormal to huge.
    let floats: Vec<f32> =
        (1..2_000_u32).map(|step| f32::from_bits(step * 1_073_741)).filter(|float| float.is_finite()).collect();
    let sent: Vec<_> = floats.iter().map(|float| format!("{float:e}")).collect();
    let text = echo(&server, &sent.join(",")).await;
    let answered = written(&text);
    assert_eq!(answered.len(), floats.len());
    let digits = |number: &str| {
        let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').len()
    };
    for ((float, sent), answered) in floats.iter().zip(&sent).zip(answered) {
        assert_eq!(answered.parse::<f32>().unwrap().to_bits(), float.to_bits(), "{answered} is not {float}");
        assert_eq!(digits(answered), digits(sent), "{answered} is longer than {sent}");
    }
}

#[tokio::test]
async fn probabilities_leave_as_float32_too() {
    let server = TestServer::serving("iris").await;
    let text = server.post("/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await.text().await.unwrap();
    let (_, rest) = text.split_once(r#""setosa":"#).unwrap();
    let number = rest.split(',').next().unwrap();
    assert_eq!(number, number.parse::<f32>().unwrap().to_string(), "{text}");
}

#[tokio::test]
async fn float_is_rounded_once_to_the_nearest() {
    let server = serve_identity(DataType::Fp32, &[-1, -1]).await;
    // Just above the middle of two floats: by way of a double it would be the middle, and go to the even one below.
    let text = echo(&server, "1.00000005960464477539062500000000001").await;
    assert_eq!(written(&text)[0].parse::<f32>().unwrap(), 1.0 + f32::EPSILON, "{text}");
}

#[tokio::test]
async fn whole_numbers_fit_an_integer_however_they_are_written() {
    let server = TestServer::serving("ride_duration").await;
    let expected = server.predict("/predict", RIDE).await["prediction"].clone();
    for number in ["100.0", "1e2", "1.0E+2", "1000e-1", "100.000000000000000000000000"] {
        let body = format!(r#"{{"PULocationID":{number},"DOLocationID":200,"trip_distance":3.5}}"#);
        assert_eq!(server.predict("/predict", &body).await["prediction"], expected, "{number}");
    }
}

#[tokio::test]
async fn integers_above_2_to_the_53_stay_exact() {
    let server = serve_identity(DataType::Int64, &[-1]).await;
    for integer in ["9007199254740993", "-9007199254740993", "9007199254740993.0", "9223372036854775807"] {
        let answer = server.predict("/predict", &format!(r#"{{"x":{integer}}}"#)).await;
        assert_eq!(answer["prediction"].to_string(), integer.trim_end_matches(".0"), "{integer}");
    }
}

#[tokio::test]
async fn large_integers_are_no_error() {
    let server = TestServer::serving("ride_duration").await;
    let body = r#"{"PULocationID":9007199254740993,"DOLocationID":9223372036854775807,"trip_distance":3.5}"#;
    assert!(server.predict("/predict", body).await["prediction"].is_f64());
}

#[tokio::test]
async fn fraction_into_an_integer_is_refused() {
    let server = TestServer::serving("ride_duration").await;
    for number in ["3.5", "1e-1", "0.0000000000000000000001", "9007199254740993.5"] {
        let body = format!(r#"{{"PULocationID":{number},"DOLocationID":200,"trip_distance":3.5}}"#);
        let error = server.refuse("/predict", body, 400).await;
        for part in ["PULocationID", "INT64", number] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn number_out_of_range_is_refused() {
    let cases = [
        (DataType::Int64, ["9223372036854775808", "-9223372036854775809", "1e400"]),
        (DataType::Uint8, ["256", "-1", "1e2000000000"]),
        (DataType::Int8, ["128", "-129", "1e3"]),
        (DataType::Uint64, ["18446744073709551616", "-1", "1e20"]),
        (DataType::Fp16, ["65520", "-1e5", "1e308"]),
        (DataType::Bf16, ["3.4e38", "-1e39", "1e308"]),
        (DataType::Fp32, ["3.5e38", "-1e39", "1e400"]),
        (DataType::Fp64, ["1e309", "-1e309", "1e400"]),
    ];
    for (data_type, numbers) in cases {
        let server = serve_identity(data_type, &[-1]).await;
        for number in numbers {
            let error = server.refuse("/predict", format!(r#"{{"x":{number}}}"#), 400).await;
            let said = error.contains(r#""x""#) && error.contains(number) && error.contains(data_type.name());
            assert!(said && error.contains("out of range"), "{data_type}: {error}");
        }
    }
}

#[tokio::test]
async fn number_beyond_all_doubles_is_refused_for_half_floats_too() {
    for data_type in [DataType::Fp16, DataType::Bf16] {
        let server = serve_identity(data_type, &[-1]).await;
        for number in ["1e309", "-1e309", "1e400"] {
            let error = server.refuse("/predict", format!(r#"{{"x":{number}}}"#), 400).await;
            assert!(error.contains("out of range"), "{data_type}: {error}");
        }
    }
}

#[tokio::test]
async fn numbers_too_small_for_a_float_are_zero() {
    let server = serve_identity(DataType::Fp32, &[-1]).await;
    for number in ["1e-400", "-1e-400", "0e400", "1e-2000000000"] {
        let answer = server.predict("/predict", &format!(r#"{{"x":{number}}}"#)).await;
        assert_eq!(answer["prediction"].as_f64(), Some(0.0), "{number}");
    }
}

#[tokio::test]
async fn null_and_nan_go_in_as_nan_and_come_out_as_null() {
    let server = serve_identity(DataType::Fp32, &[-1, -1]).await;
    let text = echo(&server, "null,NaN,Infinity,-Infinity,1.5").await;
    assert_eq!(written(&text), ["null", "null", "null", "null", "1.5"]);
}

#[tokio::test]
async fn missing_value_of_a_classifier_leaves_as_null() {
    let server = TestServer::serving("iris").await;
    for feature in ["null", "NaN"] {
        let body = format!(r#"{{"features":[5.1,3.5,1.4,{feature}]}}"#);
        let answer = server.predict("/predict", &body).await;
        let probabilities = answer["probabilities"].as_object().unwrap();
        assert!(probabilities.values().all(Value::is_null), "{answer}");
    }
}

#[tokio::test]
async fn infinities_are_taken_as_numbers() {
    let server = TestServer::serving("iris").await;
    for feature in ["Infinity", "-Infinity"] {
        let body = format!(r#"{{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":{feature}}}"#);
        server.predict("/predict", &body).await;
    }
}

#[tokio::test]
async fn null_is_an_error_where_the_type_has_no_missing_value() {
    for data_type in [DataType::Int64, DataType::Bool, DataType::Bytes, DataType::Uint8] {
        let server = serve_identity(data_type, &[-1]).await;
        let error = server.refuse("/predict", r#"{"x":null}"#, 400).await;
        assert!(error.contains(r#""x""#) && error.contains("null") && error.contains(data_type.name()), "{error}");
    }
}

#[tokio::test]
async fn nan_and_infinities_are_errors_for_integers() {
    let server = serve_identity(DataType::Int64, &[-1]).await;
    for token in ["NaN", "Infinity", "-Infinity"] {
        let error = server.refuse("/predict", format!(r#"{{"x":{token}}}"#), 400).await;
        assert!(error.contains("INT64") && error.contains(token), "{error}");
    }
}

#[tokio::test]
async fn no_type_is_converted_into_another() {
    let cases = [
        (DataType::Fp32, [r#""5.1""#, "true", "[1]", "{}"]),
        (DataType::Int64, [r#""5""#, "false", "[5]", "{}"]),
        (DataType::Bytes, ["5", "true", r#"["a"]"#, "{}"]),
        (DataType::Bool, ["0", r#""true""#, "[true]", "{}"]),
    ];
    for (data_type, values) in cases {
        let server = serve_identity(data_type, &[-1]).await;
        for value in values {
            let error = server.refuse("/predict", format!(r#"{{"x":{value}}}"#), 400).await;
            assert!(
                error.contains(r#""x""#) && error.contains("expected") && error.contains("got"),
                "{data_type} {value}: {error}"
            );
        }
    }
}
