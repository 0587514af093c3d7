//! ONNX models written as text, for tests of what graphs say.
//!
//! ```text
//! w = f32[4,3]                      constants: dimensions, then values; random ones where none follow
//! axes = i64[1] 0
//! h = MatMul(x, w)                  nodes; `domain.Operator` for another domain, an empty input for an absent one
//! y, _ = TopK(h, k) axis=-1         attributes: integers, `1.5` floats, `0:1` lists, `"text"`, `@body`
//! graph body(a) -> b:               what follows is a subgraph
//! function local.Twice(a) -> b:     what follows is a function of the model
//! ```

use fastrand::Rng;
use prost::Message as _;

use crate::onnx::{
    Attribute, Dimension, Function, Graph, Model, Node, OperatorSet, Tensor, TensorShape, TensorType, Type, ValueInfo,
};

/// A model's inputs, as `"x f32 [N,4]; ids i64 [N,S]"`, its outputs, as `"y, z"`, and its text.
pub fn model(opset: i64, inputs: &str, outputs: &str, text: &str) -> Vec<u8> {
    let sections = sections(text);
    let main = Graph {
        name: "main".to_owned(),
        inputs: inputs.split(';').map(|input| declared(input.trim())).collect(),
        outputs: names(outputs).into_iter().map(untyped).collect(),
        ..graph(&sections[0].lines, &sections)
    };
    let domains = ["ai.onnx.ml", "com.microsoft", "local", "custom"];
    let opsets = |version: i64| {
        let other = |domain: &&str| OperatorSet {
            domain: (*domain).to_owned(),
            version: if *domain == "ai.onnx.ml" { 3 } else { 1 },
        };
        let mut opsets: Vec<_> = domains.iter().map(other).collect();
        opsets.push(OperatorSet { domain: String::new(), version });
        opsets
    };
    let functions = sections.iter().filter_map(|section| {
        let (domain, name) = section.name.strip_prefix("function ")?.split_once('.')?;
        let body = graph(&section.lines, &sections);
        Some(Function {
            name: name.to_owned(),
            domain: domain.to_owned(),
            inputs: section.inputs.clone(),
            outputs: section.outputs.clone(),
            nodes: body.nodes,
            opsets: opsets(opset),
        })
    });
    let producer_name = "onnxd's tests".to_owned();
    let functions = functions.collect();
    Model { ir_version: 8, producer_name, graph: Some(main), opsets: opsets(opset), functions }.encode_to_vec()
}

struct Section<'a> {
    name: &'a str,
    inputs: Vec<String>,
    outputs: Vec<String>,
    lines: Vec<&'a str>,
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections = vec![Section { name: "", inputs: Vec::new(), outputs: Vec::new(), lines: Vec::new() }];
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let is_head = line.starts_with("graph ") || line.starts_with("function ");
        match line.strip_suffix(':').filter(|_| is_head) {
            Some(head) => {
                let (name, rest) = head.split_once('(').expect("a head has inputs");
                let (inputs, outputs) = rest.split_once(") -> ").expect("a head has outputs");
                let (inputs, outputs) = (names(inputs), names(outputs));
                sections.push(Section { name, inputs, outputs, lines: Vec::new() });
            }
            None => sections.last_mut().expect("there is a first").lines.push(line),
        }
    }
    sections
}

fn graph(lines: &[&str], sections: &[Section<'_>]) -> Graph {
    let mut graph = Graph { name: "graph".to_owned(), ..Graph::default() };
    for line in lines {
        let (left, right) = line.split_once(" = ").expect("a line has a `=`");
        match right.split_once('(').filter(|(operator, _)| !operator.contains('[')) {
            Some((operator, rest)) => {
                let (inputs, attributes) = rest.split_once(')').expect("a call ends");
                let (domain, operator) = operator.rsplit_once('.').unwrap_or(("", operator));
                graph.nodes.push(Node {
                    inputs: if inputs.is_empty() {
                        Vec::new()
                    } else {
                        inputs.split(',').map(|name| name.trim().to_owned()).collect()
                    },
                    outputs: names(left),
                    op_type: operator.to_owned(),
                    domain: domain.to_owned(),
                    name: String::new(),
                    attributes: attributes.split_whitespace().map(|text| attribute(text, sections)).collect(),
                });
            }
            None => graph.initializers.push(constant(left, right)),
        }
    }
    graph
}

fn names(text: &str) -> Vec<String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| if name == "_" { String::new() } else { name.to_owned() }).collect()
}

fn attribute(text: &str, sections: &[Section<'_>]) -> Attribute {
    let (name, value) = text.split_once('=').expect("an attribute has a value");
    let base = Attribute { name: name.to_owned(), ..Attribute::default() };
    if let Some(body) = value.strip_prefix('@') {
        let name = format!("graph {body}");
        let section = sections.iter().find(|section| section.name == name).expect("the body is there");
        let body = Graph {
            inputs: section.inputs.iter().cloned().map(untyped).collect(),
            outputs: section.outputs.iter().cloned().map(untyped).collect(),
            ..graph(&section.lines, sections)
        };
        return Attribute { graph: Some(body), kind: 5, ..base };
    }
    if let Some(text) = value.strip_prefix('"') {
        let texts: Vec<_> = text.trim_end_matches('"').split(':').map(|text| text.as_bytes().to_vec()).collect();
        return match &texts[..] {
            [only] => Attribute { string: only.clone(), kind: 3, ..base },
            _ => Attribute { strings: texts, kind: 8, ..base },
        };
    }
    let parts: Vec<_> = value.split(':').collect();
    match (&parts[..], value.contains('.')) {
        ([only], true) => Attribute { float: only.parse().expect("a float"), kind: 1, ..base },
        ([only], false) => Attribute { integer: only.parse().expect("an integer"), kind: 2, ..base },
        (parts, true) => {
            Attribute { floats: parts.iter().map(|part| part.parse().expect("a float")).collect(), kind: 6, ..base }
        }
        (parts, false) => {
            let integers = parts.iter().filter(|part| !part.is_empty());
            Attribute { integers: integers.map(|part| part.parse().expect("an integer")).collect(), kind: 7, ..base }
        }
    }
}

fn element_type(name: &str) -> i32 {
    match name {
        "f32" => 1,
        "u8" => 2,
        "i8" => 3,
        "i32" => 6,
        "i64" => 7,
        "text" => 8,
        "bool" => 9,
        _ => panic!("{name} is no element type here"),
    }
}

fn constant(name: &str, text: &str) -> Tensor {
    let (kind, rest) = text.split_once('[').expect("a constant has dimensions");
    let (dims, values) = rest.split_once(']').expect("dimensions end");
    let dims: Vec<i64> =
        dims.split(',').filter(|dim| !dim.is_empty()).map(|dim| dim.parse().expect("a size")).collect();
    let count = usize::try_from(dims.iter().product::<i64>()).expect("a size");
    let mut rng = Rng::with_seed(name.bytes().map(u64::from).sum());
    let given: Vec<f32> = values.split_whitespace().map(|value| value.parse().expect("a number")).collect();
    let value = |index: usize, random: f32| given.get(index).copied().unwrap_or(random);
    let mut tensor = Tensor { dims, data_type: element_type(kind), name: name.to_owned(), ..Tensor::default() };
    #[expect(clippy::cast_possible_truncation, reason = "the values are small")]
    match kind {
        "f32" => tensor.float_data = (0..count).map(|index| value(index, rng.f32() * 2.0 - 1.0)).collect(),
        "i64" if given.is_empty() => tensor.int64_data = vec![0; count],
        "i64" => tensor.int64_data = values.split_whitespace().map(|value| value.parse().expect("a number")).collect(),
        _ => tensor.int32_data = (0..count).map(|index| value(index, f32::from(rng.u8(0..100))) as i32).collect(),
    }
    tensor
}

/// `x f32 [N,4]`
fn declared(text: &str) -> ValueInfo {
    let mut words = text.split_whitespace();
    let (name, kind, dims) = (words.next(), words.next(), words.next());
    let dim = |text: &str| match text.parse() {
        Ok(size) => Dimension { value: Some(size), name: None },
        Err(_) => Dimension { value: None, name: Some(text.to_owned()) },
    };
    let dims = dims.expect("dimensions").trim_matches(['[', ']']).split(',').filter(|dim| !dim.is_empty()).map(dim);
    let shape = TensorShape { dims: dims.collect() };
    let tensor = TensorType { data_type: element_type(kind.expect("a type")), shape: Some(shape) };
    ValueInfo { name: name.expect("a name").to_owned(), r#type: Some(Type { tensor: Some(tensor) }) }
}

fn untyped(name: String) -> ValueInfo {
    ValueInfo { name, r#type: None }
}
