//! Models whose runs need as much memory as the input `n` says.

use super::{
    Attribute, BOOL, FLOAT, GRAPH_ATTRIBUTE, Graph, INT_ATTRIBUTE, INT64, Node, Tensor, ValueInfo, model, node, value,
};

/// A model of one input `n`, INT64 `[1]`.
pub struct Greedy {
    /// The operator that makes much of it.
    pub name: &'static str,
    /// The bytes of the file.
    pub file: Vec<u8>,
    /// A value for which a run needs gigabytes.
    pub huge: i64,
}

/// Returns a model for each operator that takes a size from a value, and for loops whose values grow.
pub fn all() -> Vec<Greedy> {
    const BILLION: i64 = 1_000_000_000;
    let floats = || value("y", FLOAT, &[-1]);
    let greedy = |name, nodes, output, huge| Greedy { name, file: of(nodes, output), huge };
    vec![
        greedy("ConstantOfShape", vec![node("ConstantOfShape", &["n"], &["y"])], floats(), BILLION),
        greedy("Expand", vec![zero(), node("Expand", &["zero", "n"], &["y"])], floats(), BILLION),
        greedy("Tile", vec![zero(), node("Tile", &["zero", "n"], &["y"])], floats(), BILLION),
        greedy(
            "Range",
            vec![scalar(), node("Range", &["none", "size", "one"], &["y"])],
            value("y", INT64, &[-1]),
            BILLION,
        ),
        greedy("OneHot", vec![node("OneHot", &["ones", "n", "pair"], &["y"])], value("y", INT64, &[-1, -1]), BILLION),
        greedy("Pad", vec![zero(), pads(), node("Pad", &["zero", "pads"], &["y"])], floats(), BILLION),
        greedy("HannWindow", vec![scalar(), node("HannWindow", &["size"], &["y"])], floats(), BILLION),
        greedy("doubling loop", vec![zero(), scalar(), doubling()], floats(), 40),
        greedy("collecting loop", vec![zero(), scalar(), collecting()], value("y", FLOAT, &[-1, -1]), 1 << 40),
        greedy(
            "intermediate value",
            vec![
                node("ConstantOfShape", &["n"], &["large"]),
                Node { attributes: vec![number("keepdims", 0)], ..node("ReduceSum", &["large"], &["y"]) },
            ],
            value("y", FLOAT, &[]),
            BILLION,
        ),
    ]
}

/// Returns a model that answers a row of one FP32 with `width` zeros.
pub fn widening(width: i64) -> Vec<u8> {
    model(Graph {
        nodes: vec![node("ConstantOfShape", &["shape"], &["weights"]), node("MatMul", &["x", "weights"], &["y"])],
        name: "widening".to_owned(),
        initializers: vec![integers("shape", &[2], &[1, width])],
        inputs: vec![value("x", FLOAT, &[-1, 1])],
        outputs: vec![value("y", FLOAT, &[-1, width])],
    })
}

fn of(nodes: Vec<Node>, output: ValueInfo) -> Vec<u8> {
    model(Graph {
        nodes,
        name: "greedy".to_owned(),
        initializers: vec![
            integers("none", &[], &[0]),
            integers("one", &[], &[1]),
            integers("ones", &[1], &[1]),
            integers("pair", &[2], &[0, 1]),
            integers("nothing", &[1], &[0]),
        ],
        inputs: vec![value("n", INT64, &[1])],
        outputs: vec![output],
    })
}

fn integers(name: &str, dims: &[i64], values: &[i64]) -> Tensor {
    Tensor {
        dims: dims.to_vec(),
        data_type: INT64,
        int64_data: values.to_vec(),
        name: name.to_owned(),
        ..Tensor::default()
    }
}

fn number(name: &str, integer: i64) -> Attribute {
    Attribute { name: name.to_owned(), integer, kind: INT_ATTRIBUTE, ..Attribute::default() }
}

/// `zero` = `[0.0]`
fn zero() -> Node {
    node("ConstantOfShape", &["ones"], &["zero"])
}

/// `size` = `n` as a scalar
fn scalar() -> Node {
    node("Squeeze", &["n"], &["size"])
}

/// `pads` = `[0, n]`
fn pads() -> Node {
    Node { attributes: vec![number("axis", 0)], ..node("Concat", &["nothing", "n"], &["pads"]) }
}

/// `y` = `zero`, doubled in length `size` times
fn doubling() -> Node {
    let double = Node { attributes: vec![number("axis", 0)], ..node("Concat", &["before", "before"], &["after"]) };
    looping(vec![double], &[], &["y"])
}

/// `y` = `zero + zero`, collected `size` times: computed, since the runtime would collect one value again and again
fn collecting() -> Node {
    let nodes = vec![node("Identity", &["before"], &["after"]), node("Add", &["before", "before"], &["seen"])];
    looping(nodes, &["seen"], &["last", "y"])
}

fn looping(mut nodes: Vec<Node>, collected: &[&str], outputs: &[&str]) -> Node {
    nodes.push(node("Identity", &["go_on"], &["goes_on"]));
    let of_rows = |name: &str| value(name, FLOAT, &[-1]);
    let body = Graph {
        nodes,
        name: "body".to_owned(),
        initializers: Vec::new(),
        inputs: vec![value("index", INT64, &[]), value("go_on", BOOL, &[]), of_rows("before")],
        outputs: [value("goes_on", BOOL, &[]), of_rows("after")]
            .into_iter()
            .chain(collected.iter().map(|name| of_rows(name)))
            .collect(),
    };
    let attribute =
        Attribute { name: "body".to_owned(), graph: Some(body), kind: GRAPH_ATTRIBUTE, ..Attribute::default() };
    Node { attributes: vec![attribute], ..node("Loop", &["size", "", "zero"], outputs) }
}

/// Returns `y = x + sum(zeros)`, where the zeros are so many, and follow from a constant.
pub fn folding(count: i64) -> Vec<u8> {
    model(Graph {
        nodes: vec![
            node("ConstantOfShape", &["shape"], &["zeros"]),
            node("Add", &["zeros", "zeros"], &["doubled"]),
            Node { attributes: vec![number("keepdims", 0)], ..node("ReduceSum", &["doubled"], &["sum"]) },
            node("Add", &["x", "sum"], &["y"]),
        ],
        name: "folding".to_owned(),
        initializers: vec![integers("shape", &[1], &[count])],
        inputs: vec![value("x", FLOAT, &[-1, 4])],
        outputs: vec![value("y", FLOAT, &[-1, 4])],
    })
}
