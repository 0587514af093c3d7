//! The rules of bodies, rows and names, one by one.

use crate::{
    model::{
        manifest::Manifest,
        onnx_file::OnnxFile,
        schema::Schema,
        signature::{Dim, OutputSpec, Signature, TensorSpec},
    },
    protocol::native::{decode::decode, envelope::Form},
    request::{InferRequest, ValidRequest},
    tensor::{data_type::DataType, shape::Shape},
};

/// A declared value; -1 is a dynamic dimension.
pub(super) fn spec(name: &str, data_type: DataType, dims: &[i64]) -> TensorSpec {
    let dims = dims.iter().map(|size| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed)).collect();
    TensorSpec { name: name.into(), data_type, dims: Some(dims) }
}

pub(super) fn schema(inputs: Vec<TensorSpec>, manifest: &str) -> Schema {
    let outputs = vec![OutputSpec { tensor: spec("y", DataType::Fp32, &[-1, 2]), map_keys: None }];
    let signature = Signature { inputs, outputs };
    Schema::new(signature, &Manifest::parse(manifest).unwrap(), &OnnxFile::default()).unwrap()
}

fn iris() -> Schema {
    let names = r#"features.names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]"#;
    schema(vec![spec("X", DataType::Fp32, &[-1, 4])], names)
}

pub(super) fn matrix(data_type: DataType, dims: &[i64]) -> Schema {
    schema(vec![spec("X", data_type, dims)], "")
}

fn columns() -> Schema {
    let inputs =
        [("zone", DataType::Int64, &[-1, 1][..]), ("km", DataType::Fp32, &[-1, 1]), ("note", DataType::Bytes, &[-1])];
    schema(inputs.map(|(name, data_type, dims)| spec(name, data_type, dims)).to_vec(), "")
}

fn text() -> Schema {
    schema(vec![spec("text", DataType::Bytes, &[-1, 1])], "")
}

pub(super) fn of_any_shape(data_type: DataType) -> Schema {
    schema(vec![TensorSpec { name: "x".into(), data_type, dims: None }], "")
}

/// Decodes, and checks on the way that what is accepted is valid.
pub(super) fn accept(schema: &Schema, body: &str) -> (InferRequest, Form) {
    let decoded = decode(schema, body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
    ValidRequest::new(decoded.request.clone(), &schema.signature).unwrap();
    (decoded.request, decoded.form)
}

pub(super) fn refuse(schema: &Schema, body: impl AsRef<[u8]>) -> String {
    let body = body.as_ref();
    match decode(schema, body) {
        Ok(_) => panic!("{} is accepted", String::from_utf8_lossy(body)),
        Err(error) => error.message().to_owned(),
    }
}

pub(super) fn fp32(request: &InferRequest) -> (&[usize], &[f32]) {
    let tensor = &request.inputs[0].tensor;
    (tensor.shape(), tensor.as_slice().unwrap())
}

#[test]
fn every_body_of_the_contract_is_read() {
    let by_name = r#"{"petal_width":0.2,"sepal_length":5.1,"petal_length":1.4,"sepal_width":3.5}"#;
    let row = "[5.1,3.5,1.4,0.2]";
    let cases = [
        (format!(r#"{{"features":{row}}}"#), 1, Form::One),
        (format!(r#"{{"features":[{row}]}}"#), 1, Form::Many),
        (format!(r#" {{ "features" : [ {row} , {row} ] }} "#), 2, Form::Many),
        (format!(r#"{{"features":{by_name}}}"#), 1, Form::One),
        (format!(r#"{{"features":[{by_name},{by_name},{row}]}}"#), 3, Form::Many),
        (by_name.to_owned(), 1, Form::One),
        (format!(r#"{{"instances":[{row}]}}"#), 1, Form::Many),
        (format!(r#"{{"instances":[{by_name},{row}]}}"#), 2, Form::Many),
        (format!(r#"{{"inputs":{{"X":[{row},{row}]}}}}"#), 2, Form::Many),
    ];
    for (body, rows, form) in cases {
        let (request, got_form) = accept(&iris(), &body);
        assert_eq!(got_form, form, "{body}");
        assert_eq!(fp32(&request), (&[rows, 4][..], &[5.1, 3.5, 1.4, 0.2].repeat(rows)[..]), "{body}");
        assert_eq!(&*request.inputs[0].name, "X");
    }
}

#[test]
fn columns_are_bound_by_name_each_with_its_type() {
    let body =
        r#"{"instances":[{"zone":9007199254740993,"km":0.1,"note":"a"},{"note":"\u0000é","km":null,"zone":-3.0}]}"#;
    let (request, form) = accept(&columns(), body);
    assert_eq!(form, Form::Many);
    let [zone, km, note] = [0, 1, 2].map(|index| &request.inputs[index].tensor);
    assert_eq!(
        (zone.shape(), zone.as_slice::<i64>().unwrap()),
        (&Shape::new(&[2, 1]), &[9_007_199_254_740_993, -3][..])
    );
    assert_eq!(km.as_slice::<f32>().unwrap()[0], 0.1);
    assert!(km.as_slice::<f32>().unwrap()[1].is_nan());
    assert_eq!(note.shape(), &Shape::new(&[2]));
    assert_eq!(note.as_strings().unwrap(), ["a", "\0é"]);
    let (request, form) = accept(&columns(), r#"{"km":1,"zone":2,"note":""}"#);
    assert_eq!((request.inputs.len(), form), (3, Form::One));
    let example = r#"expected the features by name, such as {"zone": 0, "km": 0.0, "note": "text"}, but got a list"#;
    assert_eq!(refuse(&columns(), r#"{"features":[1,2,"a"]}"#), example);
    assert_eq!(refuse(&columns(), r#"{"instances":[[1,2,"a"]]}"#), format!("row 0: {example}"));
}

#[test]
fn a_lone_column_may_be_positional() {
    for (body, count, form) in [
        (r#"{"features":["a"]}"#, 1, Form::One),
        (r#"{"features":[["a"],["b"]]}"#, 2, Form::Many),
        (r#"{"instances":["a","b",["c"],{"text":"d"}]}"#, 4, Form::Many),
        (r#"{"text":"a"}"#, 1, Form::One),
        (r#"{"inputs":{"text":[["a"]]}}"#, 1, Form::Many),
    ] {
        let (request, got_form) = accept(&text(), body);
        let strings = request.inputs[0].tensor.as_strings().unwrap();
        assert_eq!((strings.len(), got_form), (count, form), "{body}");
        assert_eq!(strings, &["a", "b", "c", "d"][..count]);
    }
    assert_eq!(refuse(&text(), r#"{"features":["a","b"]}"#), "Expected 1 feature, but got 2");
    assert_eq!(refuse(&text(), r#"{"features":[]}"#), "Expected 1 feature, but got 0");
    assert_eq!(refuse(&text(), r#"{"features":[["a"],["b","c"]]}"#), "row 1: Expected 1 feature, but got 2");
    assert_eq!(refuse(&text(), r#"{"features":"a"}"#), r#""features": expected a list or an object, but got "a""#);
}

#[test]
fn rows_that_do_not_fit_are_named() {
    let (named, nameless) = (iris(), matrix(DataType::Fp32, &[-1, 4]));
    let cases = [
        (&named, r#"{"features":[1,2,3]}"#, "Expected 4 features, but got 3"),
        (&named, r#"{"features":[1,2,3,4,5,"six"]}"#, "Expected 4 features, but got 6"),
        (&named, r#"{"features":[]}"#, "Expected 4 features, but got 0"),
        (&named, r#"{"features":[[1,2,3,4],[1,2,3,4],[1]]}"#, "row 2: Expected 4 features, but got 1"),
        (&named, r#"{"features":[[1,2,3,4],[]]}"#, "row 1: Expected 4 features, but got 0"),
        (
            &named,
            r#"{"instances":[[1,2,3,4],[1,2,3,"abc"]]}"#,
            r#"row 1, feature "petal_width": expected a number for FP32, but got "abc""#,
        ),
        (
            &named,
            r#"{"features":[1,2,3,"5.1"]}"#,
            r#"feature "petal_width": expected a number for FP32, but got "5.1""#,
        ),
        (&named, r#"{"features":[1,[2],3,4]}"#, r#"feature "sepal_width": expected a number for FP32, but got a list"#),
        (&named, r#"{"features":[1,true,3,4]}"#, r#"feature "sepal_width": expected a number for FP32, but got true"#),
        (&nameless, r#"{"features":[1,2,{},4]}"#, "feature 2: expected a number for FP32, but got an object"),
        (
            &nameless,
            r#"{"features":[[1,2,3,4],[1,2,"a",4]]}"#,
            r#"row 1, feature 2: expected a number for FP32, but got "a""#,
        ),
    ];
    for (schema, body, message) in cases {
        assert_eq!(refuse(schema, body), message, "{body}");
    }
}

#[test]
fn what_is_no_row_is_named() {
    let (named, nameless) = (iris(), matrix(DataType::Fp32, &[-1, 4]));
    let cases = [
        (&named, r#"{"instances":[1,2]}"#, "row 0: expected a row: a list or an object, but got 1"),
        (&named, r#"{"instances":[[1,2,3,4],"a"]}"#, "row 1: expected a row: a list or an object, but got \"a\""),
        (&named, r#"{"instances":[]}"#, r#""instances": expected at least one row, but got none"#),
        (&named, r#"{"instances":{"a":1}}"#, r#""instances": expected a list of rows, but got an object"#),
        (&named, r#"{"features":5.1}"#, r#""features": expected a list or an object, but got 5.1"#),
        (
            &nameless,
            r#"{"features":{"a":1}}"#,
            "expected a list of 4 values, as the features have no names, but got an object",
        ),
    ];
    for (schema, body, message) in cases {
        assert_eq!(refuse(schema, body), message, "{body}");
    }
}

#[test]
fn names_that_do_not_fit_are_named() {
    let cases = [
        (
            r#"{"sepal_length":1,"sepal_width":2,"petal_length":3}"#,
            r#"feature "petal_width": expected a number for FP32, but it is missing"#,
        ),
        (
            r#"{"instances":[{"sepal_length":1,"sepal_width":2,"petal_length":3,"petal_width":4},{"sepal_width":1}]}"#,
            r#"row 1, feature "sepal_length": expected a number for FP32, but it is missing"#,
        ),
        (
            r#"{"sepal_length":1,"petal_widht":2}"#,
            r#"unknown feature "petal_widht": expected "sepal_length", "sepal_width", "petal_length", "petal_width"; did you mean "petal_width"?"#,
        ),
        (
            r#"{"features":[{"x":1}]}"#,
            r#"row 0: unknown feature "x": expected "sepal_length", "sepal_width", "petal_length", "petal_width""#,
        ),
        (r#"{"sepal_length":1,"sepal_length":2}"#, r#"duplicate key "sepal_length""#),
        (r#"{"sepal_length":1,"sepal_width":2,"sepal_length":2}"#, r#"duplicate key "sepal_length""#),
        (r#"{"features":{"sepal_length":"a"}}"#, r#"feature "sepal_length": expected a number for FP32, but got "a""#),
    ];
    for (body, message) in cases {
        assert_eq!(refuse(&iris(), body), message, "{body}");
    }
}

#[test]
fn envelopes_that_do_not_fit_are_named() {
    let cases = [
        (r#"{"features":[1,2,3,4],"features":[1,2,3,4]}"#, r#"duplicate key "features""#),
        (r#"{"features":[1,2,3,4],"x":1}"#, r#"unexpected key "x" beside "features", which must stand alone"#),
        (
            r#"{"instances":[[1,2,3,4]],"inputs":1}"#,
            r#"unexpected key "inputs" beside "instances", which must stand alone"#,
        ),
        (r#"{"inputs":{"X":[[1,2,3,4]]},"id":"a"}"#, r#"unexpected key "id" beside "inputs", which must stand alone"#),
        (r#"{"inputs":{"X":[[1,2,3,4]],"X":[[1,2,3,4]]}}"#, r#"duplicate key "X" in "inputs""#),
        (r#"{"inputs":{"Y":[[1,2,3,4]]}}"#, r#"unknown input "Y": expected "X" FP32 [-1, 4]"#),
        (r#"{"inputs":{}}"#, r#"input "X": expected FP32 [-1, 4], but it is missing"#),
        (r#"{"inputs":[1]}"#, r#""inputs": expected an object with "X" FP32 [-1, 4], but got a list"#),
    ];
    for (body, message) in cases {
        assert_eq!(refuse(&iris(), body), message, "{body}");
    }
    assert_eq!(
        refuse(&matrix(DataType::Fp32, &[-1, 2]), r#"{"a":1}"#),
        r#"unknown key "a": expected "features", "instances" or "inputs", as in {"features": [0.0, 0.0]}"#
    );
    let raw = matrix(DataType::Fp32, &[-1, 1, 2, 2]);
    assert_eq!(
        refuse(&raw, r#"{"image":1}"#),
        r#"unknown key "image": expected "inputs", as in {"inputs": {"X": [[[[0.0, …]]]]}} with "X" FP32 [-1, 1, 2, 2]"#
    );
    assert_eq!(
        refuse(&raw, r#"{"features":[1]}"#),
        r#"unexpected key "features": the model's inputs are not rows of features; expected "inputs", as in {"inputs": {"X": [[[[0.0, …]]]]}} with "X" FP32 [-1, 1, 2, 2]"#
    );
}

#[test]
fn a_body_that_is_no_row_is_told_of_the_envelopes() {
    let hint = r#"; rows stand under "features" or "instances", tensors under "inputs", alone"#;
    for (name, body) in [
        ("data", r#"{"data":[[1,2,3,4]]}"#),
        ("data", r#"{"data":{"sepal_length":1}}"#),
        ("id", r#"{"id":"a","features":[1,2,3,4]}"#),
        ("id", r#"{"id":7,"more":null,"instances":[[1,2,3,4]]}"#),
        ("features", r#"{"sepal_length":1,"features":[1]}"#),
    ] {
        let message = refuse(&iris(), body);
        assert!(message.starts_with(&format!("unknown feature {name:?}: expected \"sepal_length\"")), "{message}");
        assert!(message.ends_with(hint), "{message}");
    }
    for body in [r#"{"id":7}"#, r#"{"id":7,"sepal_length":1}"#, r#"{"features":{"id":[1]}}"#, r#"{"id":7,"features":"#]
    {
        let message = refuse(&iris(), body);
        assert_eq!(message.contains("tensors under"), body.ends_with(':'), "{message}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let (request, form) = accept(&iris(), "\u{feff}{\"features\":[1,2,3,4]}");
    assert_eq!((fp32(&request).1, form), (&[1.0, 2.0, 3.0, 4.0][..], Form::One));
    assert_eq!(refuse(&iris(), "\u{feff}"), "Request must be JSON: the body is empty");
    assert!(refuse(&iris(), "\u{feff}\u{feff}{}").starts_with("Request must be JSON"));
}

#[test]
fn an_example_that_one_value_would_fill_is_whole() {
    let scalar = schema(vec![spec("x", DataType::Int64, &[])], "");
    assert!(refuse(&scalar, "{}").contains(r#"such as {"inputs": {"x": 0}}, but"#));
    let two = vec![spec("a", DataType::Fp32, &[-1, 1, 3]), spec("b", DataType::Int64, &[-1, 1, 1])];
    let example =
        r#"{"inputs": {"a": [[[0.0, …]]], "b": [[[0]]]}} with "a" FP32 [-1, 1, 3], "b" INT64 [-1, 1, 1], but"#;
    let message = refuse(&schema(two, ""), "{}");
    assert!(message.contains(example), "{message}");
}

#[test]
fn escaped_keys_are_the_same_keys() {
    let (request, _) =
        accept(&iris(), r#"{"sepal\u005flength":1,"sepal_width":2,"petal_length":3,"\u0070etal_width":4}"#);
    assert_eq!(fp32(&request).1, [1.0, 2.0, 3.0, 4.0]);
    let odd = schema(vec![spec("X", DataType::Fp32, &[-1, 2])], r#"features.names = ['a"b', 'c\']"#);
    let (request, _) = accept(&odd, r#"{"c\\":2,"a\"b":1}"#);
    assert_eq!(fp32(&request).1, [1.0, 2.0]);
}

#[test]
fn a_feature_may_be_named_like_an_envelope() {
    let odd = schema(vec![spec("X", DataType::Fp32, &[-1, 2])], r#"features.names = ["features", "inputs"]"#);
    for body in [r#"{"features":1,"inputs":2}"#, r#"{"inputs":2,"features":1}"#, r#"{"features":[1,2]}"#] {
        let (request, form) = accept(&odd, body);
        assert_eq!((fp32(&request).1, form), (&[1.0, 2.0][..], Form::One), "{body}");
    }
}

#[test]
fn the_first_row_sets_an_open_width() {
    let open = matrix(DataType::Fp32, &[-1, -1]);
    let (request, _) = accept(&open, r#"{"features":[[1,2,3],[4,5,6]]}"#);
    assert_eq!(fp32(&request), (&[2, 3][..], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]));
    assert_eq!(refuse(&open, r#"{"features":[[1,2,3],[4,5]]}"#), "row 1: Expected 3 features, but got 2");
    assert_eq!(refuse(&open, r#"{"features":[]}"#), "expected at least one feature, but got none");
}

#[test]
fn a_fixed_number_of_rows_is_kept() {
    let one = matrix(DataType::Fp32, &[1, 2]);
    assert_eq!(accept(&one, r#"{"features":[1,2]}"#).1, Form::One);
    assert_eq!(accept(&one, r#"{"features":[[1,2]]}"#).1, Form::Many);
    assert_eq!(refuse(&one, r#"{"features":[[1,2],[1,2],[1,2]]}"#), "expected 1 row, but got 3");
    assert_eq!(refuse(&matrix(DataType::Fp32, &[3, 2]), r#"{"features":[1,2]}"#), "expected 3 rows, but got 1");
}

#[test]
fn bodies_that_are_not_json_are_told_so() {
    let cases = [
        ("", "Request must be JSON: the body is empty"),
        (" \n", "Request must be JSON: the body is empty"),
        ("features=5.1", "Request must be JSON: expected a value, but got 'f' at byte 0"),
        ("{", "Request must be JSON: expected a key in double quotes, but got the end at byte 1"),
        (r#"{"features":[1,2,3,4]"#, r#"Request must be JSON: expected "," or "}", but got the end at byte 21"#),
        (r#"{"features":[1,2,3,4]} x"#, "Request must be JSON: expected nothing more, but got 'x' at byte 23"),
        (r#"{"features":[1,2,3,4]}{}"#, "Request must be JSON: expected nothing more, but got '{' at byte 22"),
        (r#"{"features":[1,2,3,4,]}"#, "Request must be JSON: expected a value, but got ']' at byte 21"),
        (r#"{"features":[1,,3,4]}"#, "Request must be JSON: expected a value, but got ',' at byte 15"),
        (r#"{'features':[1]}"#, "Request must be JSON: expected a key in double quotes, but got '\\'' at byte 1"),
        (r#"{"features" [1]}"#, r#"Request must be JSON: expected ":", but got '[' at byte 12"#),
    ];
    for (body, message) in cases {
        assert_eq!(refuse(&iris(), body), message, "{body}");
    }
}

#[test]
fn numbers_and_documents_that_are_not_json_are_told_so() {
    let example = r#"expected an object such as {"features": [0.0, 0.0, 0.0, 0.0]}"#;
    let cases = [
        (r#"{"features":[01,2,3,4]}"#, "Request must be JSON: a number that begins with 0 at byte 13"),
        (r#"{"features":[+1,2,3,4]}"#, "Request must be JSON: expected a value, but got '+' at byte 13"),
        (r#"{"features":[.5,2,3,4]}"#, "Request must be JSON: expected a value, but got '.' at byte 13"),
        (r#"{"features":[1.,2,3,4]}"#, "Request must be JSON: expected a digit, but got ',' at byte 15"),
        (r#"{"features":[0x1,2,3,4]}"#, r#"Request must be JSON: expected "," or "]", but got 'x' at byte 14"#),
        (r#"{"features":["\ud800",2,3,4]}"#, "Request must be JSON: a lone surrogate in a string at byte 14"),
        ("[5.1,3.5", r#"Request must be JSON: expected "," or "]", but got the end at byte 8"#),
        ("[5.1,3.5,1.4,0.2]", &format!("{example}, but got a list")),
        ("\"text\"", &format!("{example}, but got \"text\"")),
        ("5.1", &format!("{example}, but got 5.1")),
        ("{}", &format!("{example}, but got an empty one")),
    ];
    for (body, message) in cases {
        assert_eq!(refuse(&iris(), body), message, "{body}");
    }
    let not_utf8 = refuse(&iris(), b"{\"fe\xffatures\":1}");
    assert_eq!(not_utf8, "Request must be JSON: text that is not UTF-8 at byte 4");
    let not_utf8 = refuse(&iris(), b"{\"features\":[\xff]}");
    assert_eq!(not_utf8, "Request must be JSON: expected a value, but got 0xff, which is not UTF-8, at byte 13");
    let deep = format!(r#"{{"features":[1,2,3,4,{}]}}"#, "[".repeat(100_000));
    assert!(refuse(&iris(), deep).contains("at most 32 levels of nesting"));
}
