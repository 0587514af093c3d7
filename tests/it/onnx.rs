//! Small ONNX models, written by the tests themselves: with external data, and with runs that do not end.
//!
//! The messages are a subset of onnx.proto; field numbers are onnx.proto's.

use prost::Message as _;

const FLOAT: i32 = 1;
const INT32: i32 = 6;
const INT64: i32 = 7;
const BOOL: i32 = 9;
const EXTERNAL: i32 = 1;
const GRAPH_ATTRIBUTE: i32 = 5;
const INT_ATTRIBUTE: i32 = 2;
const INTS_ATTRIBUTE: i32 = 7;

/// Returns `y = x + weights` for four features, with the weights in another file: 16 bytes of FP32.
pub fn adding_external(location: &str) -> Vec<u8> {
    let weights = Tensor {
        dims: vec![1, 4],
        data_type: FLOAT,
        name: "weights".to_owned(),
        external_data: vec![Entry { key: "location".to_owned(), value: location.to_owned() }],
        data_location: EXTERNAL,
        ..Tensor::default()
    };
    model(Graph {
        nodes: vec![node("Add", &["x", "weights"], &["y"])],
        name: "adding".to_owned(),
        initializers: vec![weights],
        inputs: vec![value("x", FLOAT, &[-1, 4])],
        outputs: vec![value("y", FLOAT, &[-1, 4])],
    })
}

/// Returns `y = x` for an element type, by its number in onnx.proto, and dimensions of which -1 is dynamic.
pub fn identity(element_type: i32, dims: &[i64]) -> Vec<u8> {
    identity_declaring(element_type, dims, dims)
}

/// Returns the same with another shape declared for its output, as some exporters do.
pub fn identity_declaring(element_type: i32, dims: &[i64], output_dims: &[i64]) -> Vec<u8> {
    model(Graph {
        nodes: vec![node("Identity", &["x"], &["y"])],
        name: "identity".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("x", element_type, dims)],
        outputs: vec![value("y", element_type, output_dims)],
    })
}

/// A value that goes through a model as it is.
#[derive(Clone, Copy, Debug)]
pub struct Through<'a> {
    /// The name of the input.
    pub input: &'a str,
    /// The name of the output.
    pub output: &'a str,
    /// The element type, by its number in onnx.proto.
    pub element_type: i32,
    /// The dimensions, of which -1 is dynamic.
    pub dims: &'a [i64],
}

/// Returns a model through which all of these values go.
pub fn all_through(values: &[Through<'_>]) -> Vec<u8> {
    let declare = |name: fn(&Through<'_>) -> String| {
        values.iter().map(move |through| value(&name(through), through.element_type, through.dims)).collect()
    };
    model(Graph {
        nodes: values.iter().map(|through| node("Identity", &[through.input], &[through.output])).collect(),
        name: "through".to_owned(),
        initializers: Vec::new(),
        inputs: declare(|through| through.input.to_owned()),
        outputs: declare(|through| through.output.to_owned()),
    })
}

/// Returns `y = mean(x)` over the rows: one row, or none if `keeps_rows` is not.
pub fn mean_of_rows(keeps_rows: bool) -> Vec<u8> {
    let out: &[i64] = if keeps_rows { &[1, 4] } else { &[4] };
    model(Graph {
        nodes: vec![over_rows("ReduceMean", "y", keeps_rows)],
        name: "mean".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("x", FLOAT, &[-1, 4])],
        outputs: vec![value("y", FLOAT, out)],
    })
}

/// Returns `y = x - least(x)` over the rows, for INT64 `[N, 1]`.
pub fn minus_least_row() -> Vec<u8> {
    model(Graph {
        nodes: vec![over_rows("ReduceMin", "least", true), node("Sub", &["x", "least"], &["y"])],
        name: "minus_least".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("x", INT64, &[-1, 1])],
        outputs: vec![value("y", INT64, &[-1, 1])],
    })
}

/// Returns `y = (x - mean(x)) / (x - mean(x))` over the rows: a row alone is no number, rows together are.
pub fn normalized_over_rows() -> Vec<u8> {
    model(Graph {
        nodes: vec![
            over_rows("ReduceMean", "mean", true),
            node("Sub", &["x", "mean"], &["centred"]),
            node("Div", &["centred", "centred"], &["y"]),
        ],
        name: "normalized".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("x", FLOAT, &[-1, 4])],
        outputs: vec![value("y", FLOAT, &[-1, 4])],
    })
}

/// Returns a model that sorts its rows, which are of one value.
pub fn sorting_rows() -> Vec<u8> {
    model(Graph {
        nodes: vec![node("Unique", &["x"], &["y"])],
        name: "sorting".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("x", FLOAT, &[-1])],
        outputs: vec![value("y", FLOAT, &[-1])],
    })
}

/// Returns `quotient = dividend / divisor` for INT32 `[N, 1]`. ONNX Runtime divides the smallest integer by -1 as the CPU
/// does, which ends the process.
pub fn dividing() -> Vec<u8> {
    model(Graph {
        nodes: vec![node("Div", &["dividend", "divisor"], &["quotient"])],
        name: "dividing".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("dividend", INT32, &[-1, 1]), value("divisor", INT32, &[-1, 1])],
        outputs: vec![value("quotient", INT32, &[-1, 1])],
    })
}

/// Returns an LSTM over `x`, FP32 `[steps, batch, 2]`. ONNX Runtime aborts where the batch is empty.
pub fn lstm() -> Vec<u8> {
    let weights = |name: &str, dims: &[i64]| Tensor {
        dims: dims.to_vec(),
        data_type: FLOAT,
        raw_data: vec![0; dims.iter().product::<i64>() as usize * 4],
        name: name.to_owned(),
        ..Tensor::default()
    };
    let size = Attribute { name: "hidden_size".to_owned(), integer: 1, kind: INT_ATTRIBUTE, ..Attribute::default() };
    model(Graph {
        nodes: vec![Node { attributes: vec![size], ..node("LSTM", &["x", "w", "r"], &["", "y"]) }],
        name: "lstm".to_owned(),
        initializers: vec![weights("w", &[1, 4, 2]), weights("r", &[1, 4, 1])],
        inputs: vec![value("x", FLOAT, &[-1, -1, 2])],
        outputs: vec![value("y", FLOAT, &[1, -1, 1])],
    })
}

/// Returns `y = reshape(x)` from `[N, columns]` to rows of `width`.
pub fn reshaping(columns: i64, width: i64) -> Vec<u8> {
    let shape = Tensor {
        dims: vec![2],
        data_type: INT64,
        int64_data: vec![-1, width],
        name: "shape".to_owned(),
        ..Tensor::default()
    };
    model(Graph {
        nodes: vec![node("Reshape", &["x", "shape"], &["y"])],
        name: "reshaping".to_owned(),
        initializers: vec![shape],
        inputs: vec![value("x", FLOAT, &[-1, columns])],
        outputs: vec![value("y", FLOAT, &[-1, width])],
    })
}

fn over_rows(op_type: &str, output: &str, keeps_rows: bool) -> Node {
    let attributes = vec![
        Attribute { name: "axes".to_owned(), integers: vec![0], kind: INTS_ATTRIBUTE, ..Attribute::default() },
        Attribute {
            name: "keepdims".to_owned(),
            integer: keeps_rows.into(),
            kind: INT_ATTRIBUTE,
            ..Attribute::default()
        },
    ];
    Node { attributes, ..node(op_type, &["x"], &[output]) }
}

/// Returns a model that counts to its input `count`, one by one: as slow as a client wants.
pub fn counting() -> Vec<u8> {
    model(Graph {
        nodes: vec![looping(&["count", "", "count"])],
        name: "counting".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("count", INT64, &[1])],
        outputs: vec![value("counted", INT64, &[1])],
    })
}

/// Returns a model whose every run takes years, the first one included, with which loading ends.
pub fn endless() -> Vec<u8> {
    let years = Tensor {
        dims: vec![1],
        data_type: INT64,
        int64_data: vec![i64::MAX],
        name: "years".to_owned(),
        ..Tensor::default()
    };
    model(Graph {
        nodes: vec![looping(&["years", "", "x"])],
        name: "endless".to_owned(),
        initializers: vec![years],
        inputs: vec![value("x", INT64, &[1])],
        outputs: vec![value("counted", INT64, &[1])],
    })
}

fn looping(inputs: &[&str]) -> Node {
    let body = Graph {
        nodes: vec![node("Identity", &["go_on"], &["goes_on"]), node("Identity", &["before"], &["after"])],
        name: "body".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("index", INT64, &[]), value("go_on", BOOL, &[]), value("before", INT64, &[1])],
        outputs: vec![value("goes_on", BOOL, &[]), value("after", INT64, &[1])],
    };
    let attribute =
        Attribute { name: "body".to_owned(), graph: Some(body), kind: GRAPH_ATTRIBUTE, ..Attribute::default() };
    Node { attributes: vec![attribute], ..node("Loop", inputs, &["counted"]) }
}

fn model(graph: Graph) -> Vec<u8> {
    let opset = OperatorSet { domain: String::new(), version: 17 };
    Model { ir_version: 8, producer_name: "onnxd's tests".to_owned(), graph: Some(graph), opsets: vec![opset] }
        .encode_to_vec()
}

fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Node { inputs: owned(inputs), outputs: owned(outputs), op_type: op_type.to_owned(), attributes: Vec::new() }
}

/// A dimension of -1 is dynamic.
fn value(name: &str, data_type: i32, dims: &[i64]) -> ValueInfo {
    let dim = |size: &i64| match *size {
        -1 => Dimension { value: None, name: None },
        size => Dimension { value: Some(size), name: None },
    };
    let shape = TensorShape { dims: dims.iter().map(dim).collect() };
    let tensor = TensorType { data_type, shape: Some(shape) };
    ValueInfo { name: name.to_owned(), r#type: Some(Type { tensor: Some(tensor) }) }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opsets: Vec<OperatorSet>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    outputs: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    integer: i64,
    #[prost(message, optional, tag = "6")]
    graph: Option<Graph>,
    #[prost(int64, repeated, tag = "8")]
    integers: Vec<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(int64, repeated, tag = "7")]
    int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<Type>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    data_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShape>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    dims: Vec<Dimension>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}
