//! Finds the node by which the cost of a run depends on the values of a model's inputs, and not on their shapes alone.
//!
//! Such a model runs for as long, and takes as much memory, as a client asks for: a loop that counts to an input, a tensor
//! whose size is an input. Measuring it on made-up inputs says nothing.

use std::collections::{HashMap, HashSet};

use super::proto::{Function, Graph, Node};

/// Operators that repeat a graph; how often may depend on what each pass computes.
const LOOPS: [&str; 6] = ["BeamSearch", "GreedySearch", "Loop", "Sampling", "Scan", "WhisperBeamSearch"];

/// Operators whose inputs at these places say how large their output is, or how much is to be computed.
const SIZES: [(&str, &[usize]); 21] = [
    ("AffineGrid", &[1]),
    ("BlackmanWindow", &[0]),
    ("CenterCropPad", &[1]),
    ("Col2Im", &[1, 2]),
    ("ConstantOfShape", &[0]),
    ("CropAndResize", &[3]),
    ("DFT", &[1]),
    ("Expand", &[1]),
    ("HammingWindow", &[0]),
    ("HannWindow", &[0]),
    ("If", &[0]),
    ("ImageDecoder", &[0]),
    ("MaxUnpool", &[2]),
    ("MelWeightMatrix", &[0, 1]),
    ("OneHot", &[1]),
    ("Pad", &[1]),
    ("Range", &[0, 1, 2]),
    ("Resize", &[1, 2, 3]),
    ("STFT", &[1, 3]),
    ("Tile", &[1, 2]),
    ("Upsample", &[1]),
];

/// Operators whose output tells of their input's shape, and not of its values.
const SHAPES: [&str; 2] = ["Shape", "Size"];

/// Returns the node that makes the cost depend on values, in words; `None` if no node does.
pub(super) fn culprit(graph: &Graph, functions: &[Function]) -> Option<String> {
    let mut search = Search { functions: HashMap::new(), calls: HashMap::new() };
    for function in functions {
        search.functions.insert((&function.domain, &function.name, &function.overload), function);
    }
    // An initializer may be declared as an input too, whose default it is then.
    let fixed: HashSet<&str> = graph.initializers.iter().map(|tensor| &*tensor.name).collect();
    let mut values = graph.inputs.iter().map(|input| &*input.name).filter(|name| !fixed.contains(name)).collect();
    search.nodes(&graph.nodes, &mut values)
}

/// The names of what depends on the inputs' values. Names are unique over a graph and all graphs inside.
type Values<'a> = HashSet<&'a str>;

/// A function by its place in memory, and which of its inputs depend on values.
type Called = (*const Function, Vec<bool>);

struct Search<'a> {
    functions: HashMap<(&'a str, &'a str, &'a str), &'a Function>,
    /// What each call that was looked into came to, so that functions that call each other often are looked into once.
    calls: HashMap<Called, Call>,
}

/// What came of looking into a call.
#[derive(Clone, Default)]
struct Call {
    culprit: Option<String>,
    /// Which of its outputs depend on values.
    outputs: Vec<bool>,
}

impl<'a> Search<'a> {
    /// Follows the values through nodes. Repeats until nothing changes, since nodes may stand in any order.
    fn nodes(&mut self, nodes: &'a [Node], values: &mut Values<'a>) -> Option<String> {
        loop {
            let before = values.len();
            for node in nodes {
                if let Some(culprit) = self.node(node, values) {
                    return Some(culprit);
                }
            }
            if values.len() == before {
                return None;
            }
        }
    }

    fn node(&mut self, node: &'a Node, values: &mut Values<'a>) -> Option<String> {
        let inputs: Vec<bool> = node.inputs.iter().map(|name| values.contains(&**name)).collect();
        if let Some(function) = self.functions.get(&(&*node.domain, &*node.op_type, &*node.overload)).copied() {
            let call = self.call(function, inputs);
            let outputs = node.outputs.iter().zip(call.outputs).filter(|(_, depends)| *depends);
            values.extend(outputs.map(|(name, _)| &**name));
            return call.culprit.map(|culprit| format!("{culprit} in {}", describe(node)));
        }
        if is_culprit(node, &inputs) {
            return Some(describe(node));
        }
        let mut depends = inputs.contains(&true) && !SHAPES.contains(&&*node.op_type);
        for attribute in &node.attributes {
            for graph in attribute.graph.iter().chain(&attribute.graphs) {
                if depends {
                    values.extend(graph.inputs.iter().map(|input| &*input.name));
                }
                if let Some(culprit) = self.nodes(&graph.nodes, values) {
                    return Some(culprit);
                }
                depends |= graph.outputs.iter().any(|output| values.contains(&*output.name));
            }
        }
        if depends {
            values.extend(node.outputs.iter().map(|name| &**name).filter(|name| !name.is_empty()));
        }
        None
    }

    fn call(&mut self, function: &'a Function, inputs: Vec<bool>) -> Call {
        let called = (std::ptr::from_ref(function), inputs.clone());
        if let Some(call) = self.calls.get(&called) {
            return call.clone();
        }
        // A function must not call itself; one that does ends here.
        self.calls.insert(called.clone(), Call::default());
        let named = function.inputs.iter().zip(inputs).filter(|(_, depends)| *depends);
        let mut values = named.map(|(name, _)| &**name).collect();
        let culprit = self.nodes(&function.nodes, &mut values);
        let outputs = function.outputs.iter().map(|name| values.contains(&**name)).collect();
        let call = Call { culprit, outputs };
        self.calls.insert(called, call.clone());
        call
    }
}

fn is_culprit(node: &Node, inputs: &[bool]) -> bool {
    let sizes = SIZES.iter().find(|(op_type, _)| node.op_type == *op_type);
    let depends = |places: &[usize]| places.iter().any(|place| inputs.get(*place) == Some(&true));
    LOOPS.contains(&&*node.op_type) || sizes.is_some_and(|(_, places)| depends(places))
}

fn describe(node: &Node) -> String {
    match &*node.name {
        "" => node.op_type.clone(),
        name => format!("{} {name:?}", node.op_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx_file::proto::{Attribute, Tensor, ValueInfo};

    fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Node {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Node { inputs: owned(inputs), outputs: owned(outputs), op_type: op_type.to_owned(), ..Node::default() }
    }

    /// Makes a graph of an input `x` and an initializer `fixed`.
    fn graph(nodes: Vec<Node>) -> Graph {
        let input = |name: &str| ValueInfo { name: name.to_owned(), r#type: None };
        let fixed = Tensor { name: "fixed".to_owned(), ..Tensor::default() };
        Graph { nodes, initializers: vec![fixed], inputs: vec![input("x"), input("fixed")], ..Graph::default() }
    }

    fn culprit_of(nodes: Vec<Node>) -> Option<String> {
        culprit(&graph(nodes), &[])
    }

    #[test]
    fn sizes_from_values_are_found_and_sizes_from_shapes_are_not() {
        for (op_type, inputs) in [
            ("ConstantOfShape", &["?"][..]),
            ("Expand", &["fixed", "?"]),
            ("Range", &["fixed", "?", "fixed"]),
            ("Resize", &["fixed", "", "", "?"]),
            ("Tile", &["fixed", "?"]),
        ] {
            let of = |name: &'static str| {
                let inputs: Vec<_> = inputs.iter().map(|input| if *input == "?" { name } else { *input }).collect();
                let nodes = vec![
                    node("Cast", &["x"], &["values"]),
                    node("Shape", &["values"], &["shape"]),
                    node("Mul", &["shape", "fixed"], &["size"]),
                    node(op_type, &inputs, &["y"]),
                ];
                culprit_of(nodes)
            };
            assert_eq!(of("values"), Some(op_type.to_owned()), "{op_type}");
            assert_eq!(of("size"), None, "{op_type}");
            assert_eq!(of("fixed"), None, "{op_type}");
        }
        assert_eq!(culprit_of(vec![node("Expand", &["x", "fixed"], &["y"])]), None);
    }

    #[test]
    fn loops_are_found_by_name_also_inside_a_branch() {
        let named = Node { name: "count".to_owned(), ..node("Loop", &["x", "", "x"], &["y"]) };
        assert_eq!(culprit_of(vec![named.clone()]), Some("Loop \"count\"".to_owned()));
        let branch = Attribute { graph: Some(graph(vec![named])), ..Attribute::default() };
        let condition = Node { attributes: vec![branch], ..node("If", &["fixed"], &["y"]) };
        assert_eq!(culprit_of(vec![condition]), Some("Loop \"count\"".to_owned()));
        assert_eq!(culprit_of(vec![node("If", &["x"], &["y"])]), Some("If".to_owned()));
    }

    #[test]
    fn the_order_of_nodes_does_not_matter() {
        let nodes =
            vec![node("Expand", &["fixed", "b"], &["y"]), node("Abs", &["a"], &["b"]), node("Abs", &["x"], &["a"])];
        assert_eq!(culprit_of(nodes), Some("Expand".to_owned()));
    }

    #[test]
    fn functions_are_followed_with_what_each_call_passes() {
        let expanding = Function {
            name: "Grow".to_owned(),
            domain: "local".to_owned(),
            inputs: vec!["value".to_owned(), "size".to_owned()],
            outputs: vec!["grown".to_owned()],
            nodes: vec![node("Expand", &["value", "size"], &["grown"])],
            ..Function::default()
        };
        let call = |inputs: &[&str]| Node { domain: "local".to_owned(), ..node("Grow", inputs, &["y"]) };
        let of = |nodes: Vec<Node>| culprit(&graph(nodes), std::slice::from_ref(&expanding));
        assert_eq!(of(vec![call(&["x", "fixed"])]), None);
        assert_eq!(of(vec![call(&["fixed", "x"])]), Some("Expand in Grow".to_owned()));
        let through = vec![call(&["x", "fixed"]), node("Range", &["fixed", "y", "fixed"], &["z"])];
        assert_eq!(of(through), Some("Range".to_owned()));
    }

    #[test]
    fn functions_that_call_each_other_are_looked_into_once() {
        let name = |level: usize| format!("level{level}");
        let function = |level: usize| Function {
            name: name(level),
            inputs: vec!["a".to_owned()],
            outputs: vec!["b".to_owned()],
            nodes: vec![node(&name(level + 1), &["a"], &["c"]), node(&name(level + 1), &["c"], &["b"])],
            ..Function::default()
        };
        // Looked into at each call, they would be 2^64; the last calls the first.
        let mut functions: Vec<_> = (0..64).map(function).collect();
        functions.push(Function { nodes: vec![node(&name(0), &["a"], &["b"])], ..function(64) });
        assert_eq!(culprit(&graph(vec![node(&name(0), &["x"], &["y"])]), &functions), None);
    }
}
