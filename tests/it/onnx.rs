//! Small ONNX models, written by the tests themselves: with external data, and with runs that do not end.
//!
//! The messages are a subset of onnx.proto; field numbers are onnx.proto's.

pub mod greedy;

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
        raw_data: vec![0; dims.iter().map(|dim| usize::try_from(*dim).unwrap()).product::<usize>() * size_of::<f32>()],
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

/// Returns `y = op_type(a, b)`. A dimension is a size, a symbol, or without a name (`""`).
pub fn of_two(op_type: &str, element_type: i32, a: &[&str], b: &[&str], y: &[&str]) -> Vec<u8> {
    model(Graph {
        nodes: vec![node(op_type, &["a", "b"], &["y"])],
        name: "of_two".to_owned(),
        initializers: Vec::new(),
        inputs: vec![symbolic("a", element_type, a), symbolic("b", element_type, b)],
        outputs: vec![symbolic("y", element_type, y)],
    })
}

/// Returns an FP32 tensor of zeros whose shape is the input `x`.
pub fn zeros_of_shape() -> Vec<u8> {
    model(Graph {
        nodes: vec![node("ConstantOfShape", &["x"], &["y"])],
        name: "of_shape".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("x", INT64, &[2])],
        outputs: vec![value("y", FLOAT, &[-1, -1])],
    })
}

/// Returns `y = x` for FP32 `[N, 2]`, which declares `[N, 1]`, as skl2onnx does of forests with two targets.
pub fn declaring_one_of_two() -> Vec<u8> {
    let kept = Tensor {
        dims: vec![2],
        data_type: INT64,
        int64_data: vec![1, 1],
        name: "kept".to_owned(),
        ..Tensor::default()
    };
    let to_bool = integer_attribute("to", BOOL.into());
    // The runtime does not infer how many columns are kept, and so believes the declaration.
    let compress = Node { attributes: vec![integer_attribute("axis", 1)], ..node("Compress", &["x", "mask"], &["y"]) };
    model(Graph {
        nodes: vec![Node { attributes: vec![to_bool], ..node("Cast", &["kept"], &["mask"]) }, compress],
        name: "declaring".to_owned(),
        initializers: vec![kept],
        inputs: vec![value("x", FLOAT, &[-1, 2])],
        outputs: vec![value("y", FLOAT, &[-1, 1])],
    })
}

/// Returns a classifier whose three labels do not exclude each other: those of the columns over 0.
pub fn multi_label() -> Vec<u8> {
    let to_integers = integer_attribute("to", INT64.into());
    model(Graph {
        nodes: vec![
            node("Sigmoid", &["x"], &["probabilities"]),
            node("Sign", &["x"], &["sign"]),
            node("Relu", &["sign"], &["positive"]),
            Node { attributes: vec![to_integers], ..node("Cast", &["positive"], &["label"]) },
        ],
        name: "multi_label".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("x", FLOAT, &[-1, 3])],
        outputs: vec![value("label", INT64, &[-1, 3]), value("probabilities", FLOAT, &[-1, 3])],
    })
}

fn integer_attribute(name: &str, integer: i64) -> Attribute {
    Attribute { name: name.to_owned(), integer, kind: INT_ATTRIBUTE, ..Attribute::default() }
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

/// Returns a model that selects among `count` boxes, each against all others, in one operator: slow, and nothing ends a run.
pub fn selecting() -> Vec<u8> {
    let integers = |name: &str, dims: &[i64], values: &[i64]| Tensor {
        dims: dims.to_vec(),
        data_type: INT64,
        int64_data: values.to_vec(),
        name: name.to_owned(),
        ..Tensor::default()
    };
    let integer = |name: &str, value: i64| {
        vec![Attribute { name: name.to_owned(), integer: value, kind: INT_ATTRIBUTE, ..Attribute::default() }]
    };
    let half =
        Tensor { dims: vec![1], data_type: FLOAT, float_data: vec![0.5], name: "half".to_owned(), ..Tensor::default() };
    model(Graph {
        nodes: vec![
            node("Squeeze", &["count"], &["end"]),
            node("Range", &["zero", "end", "one"], &["index"]),
            Node { attributes: integer("to", FLOAT.into()), ..node("Cast", &["index"], &["place"]) },
            node("Reshape", &["place", "column"], &["low"]),
            node("Add", &["low", "half"], &["high"]),
            Node { attributes: integer("axis", 2), ..node("Concat", &["low", "low", "high", "high"], &["boxes"]) },
            node("Reshape", &["place", "row"], &["scores"]),
            node("NonMaxSuppression", &["boxes", "scores", "all", "half"], &["selected"]),
        ],
        name: "selecting".to_owned(),
        initializers: vec![
            integers("zero", &[], &[0]),
            integers("one", &[], &[1]),
            integers("column", &[3], &[1, -1, 1]),
            integers("row", &[3], &[1, 1, -1]),
            integers("all", &[1], &[i64::MAX]),
            half,
        ],
        inputs: vec![value("count", INT64, &[1])],
        outputs: vec![value("selected", INT64, &[-1, 3])],
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
    let producer_name = "onnxd's tests".to_owned();
    Model { ir_version: 8, producer_name, graph: Some(graph), opsets: vec![opset], functions: Vec::new() }
        .encode_to_vec()
}

fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Node { inputs: owned(inputs), outputs: owned(outputs), op_type: op_type.to_owned(), ..Node::default() }
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

fn symbolic(name: &str, data_type: i32, dims: &[&str]) -> ValueInfo {
    let dim = |dim: &&str| match dim.parse() {
        Ok(size) => Dimension { value: Some(size), name: None },
        Err(_) => Dimension { value: None, name: Some((*dim).to_owned()).filter(|name| !name.is_empty()) },
    };
    let shape = TensorShape { dims: dims.iter().map(dim).collect() };
    ValueInfo {
        name: name.to_owned(),
        r#type: Some(Type { tensor: Some(TensorType { data_type, shape: Some(shape) }) }),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Model {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub opsets: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<Function>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Function {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "4")]
    pub inputs: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub outputs: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    pub nodes: Vec<Node>,
    #[prost(message, repeated, tag = "9")]
    pub opsets: Vec<OperatorSet>,
    #[prost(string, tag = "10")]
    pub domain: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct OperatorSet {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializers: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub outputs: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    #[prost(string, repeated, tag = "1")]
    pub inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub domain: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, tag = "2")]
    pub float: f32,
    #[prost(int64, tag = "3")]
    pub integer: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub string: Vec<u8>,
    #[prost(message, optional, tag = "6")]
    pub graph: Option<Graph>,
    #[prost(float, repeated, tag = "7")]
    pub floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub integers: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub strings: Vec<Vec<u8>>,
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorType {
    #[prost(int32, tag = "1")]
    pub data_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShape>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dimension>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}
