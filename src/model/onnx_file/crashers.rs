//! Nodes that can end the process, by what clients send.
//!
//! ONNX Runtime does not guard some operators. Their list is from `fuzz/operators`, which searches for them. A request whose
//! own tensors have no elements is tried in another process before it runs; so a node that crashes on no elements is listed
//! here only where values decide the size of its operand, as in `Slice` with ends from an input.

use std::collections::{HashMap, HashSet};

use crate::model::onnx_file::proto::{Attribute, Graph, Node};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The smallest integer by -1.
    Division,
    NoElements,
    /// A frame of no length.
    Frame,
}

/// The operators that are known to crash.
const KNOWN: [(&str, Cause); 15] = [
    ("Div", Cause::Division),
    ("Mod", Cause::Division),
    ("Attention", Cause::NoElements),
    ("Conv", Cause::NoElements),
    ("ConvTranspose", Cause::NoElements),
    ("FeatureVectorizer", Cause::NoElements),
    ("GRU", Cause::NoElements),
    ("InstanceNormalization", Cause::NoElements),
    ("LSTM", Cause::NoElements),
    ("NonMaxSuppression", Cause::NoElements),
    ("QuantizeLinear", Cause::NoElements),
    ("RNN", Cause::NoElements),
    ("STFT", Cause::NoElements),
    ("STFT", Cause::Frame),
    ("Unique", Cause::NoElements),
];

/// The operators of which a value decides the size of the output, with the operands whose values do; none is any.
const SIZED_BY_VALUES: [(&str, &[usize]); 17] = [
    ("Compress", &[]),
    ("ConstantOfShape", &[]),
    ("Expand", &[1]),
    ("NonMaxSuppression", &[]),
    ("NonZero", &[]),
    ("OneHot", &[1]),
    ("Pad", &[1]),
    ("Range", &[]),
    ("Reshape", &[1]),
    ("Resize", &[1, 2, 3]),
    ("Slice", &[1, 2, 3, 4]),
    ("Split", &[1]),
    ("StringSplit", &[]),
    ("Tile", &[1]),
    ("TopK", &[1]),
    ("Unique", &[]),
    ("Upsample", &[1]),
];

/// TensorProto.DataType of signed integers.
const INT32: i32 = 6;
const INT64: i32 = 7;
const FLOAT: i32 = 1;
const BOOL: i32 = 9;

/// Names the nodes that can end the process, as `Div "scale/div"`, with the reason.
pub(super) fn find(graph: &Graph) -> Vec<String> {
    let mut search = Search::default();
    let constants: HashSet<&str> = graph.initializers.iter().map(|tensor| &*tensor.name).collect();
    for input in graph.inputs.iter().filter(|input| !constants.contains(&*input.name)) {
        search.by_values.insert(input.name.clone());
        let element = input.r#type.as_ref().and_then(|kind| kind.tensor.as_ref()).map_or(0, |tensor| tensor.element);
        search.elements.insert(input.name.clone(), element);
    }
    search.visit(graph);
    search.found
}

/// What is known of the values so far; nodes come in the order in which they run.
#[derive(Default)]
struct Search {
    /// Values that depend on an input's values.
    by_values: HashSet<String>,
    /// Values whose size depends on an input's values.
    by_size: HashSet<String>,
    /// Element types; 0 is unknown.
    elements: HashMap<String, i32>,
    found: Vec<String>,
}

impl Search {
    fn visit(&mut self, graph: &Graph) {
        self.elements.extend(graph.initializers.iter().map(|tensor| (tensor.name.clone(), tensor.data_type)));
        graph.nodes.iter().for_each(|node| self.visit_node(node));
    }

    fn visit_node(&mut self, node: &Node) {
        self.found.extend(self.cause(node).map(|why| format!("{} {:?} ({why})", node.op_type, title(node))));
        let subgraphs = node.attributes.iter().flat_map(|attribute| attribute.graph.iter().chain(&attribute.graphs));
        let depends = |known: &HashSet<String>, input: &String| !input.is_empty() && known.contains(input);
        let mut by_values = node.inputs.iter().any(|input| depends(&self.by_values, input));
        let mut by_size = node.inputs.iter().any(|input| depends(&self.by_size, input)) || self.sizes_output(node);
        for subgraph in subgraphs {
            // What a body is given depends on what its node is given; what it takes from outside is known already.
            let given = subgraph.inputs.iter().map(|input| input.name.clone());
            if by_values {
                self.by_values.extend(given.clone());
            }
            if by_size {
                self.by_size.extend(given);
            }
            self.visit(subgraph);
            by_values |= subgraph.outputs.iter().any(|output| self.by_values.contains(&output.name));
            by_size |= subgraph.outputs.iter().any(|output| self.by_size.contains(&output.name));
        }
        // A shape is never -1, and never without elements but for a scalar's.
        let is_shape = matches!(&*node.op_type, "Shape" | "Size");
        let element = self.element_of(node);
        for output in node.outputs.iter().filter(|output| !output.is_empty()) {
            if by_values && !is_shape {
                self.by_values.insert(output.clone());
            }
            if by_size && !is_shape {
                self.by_size.insert(output.clone());
            }
            self.elements.insert(output.clone(), element);
        }
    }

    /// Says why this node can end the process, if it can.
    fn cause(&self, node: &Node) -> Option<&'static str> {
        let mut known = KNOWN.iter().filter(|(operator, _)| *operator == node.op_type);
        known.find_map(|(_, cause)| self.applies(*cause, node))
    }

    fn applies(&self, cause: Cause, node: &Node) -> Option<&'static str> {
        let depends = |index: usize| node.inputs.get(index).is_some_and(|input| self.by_values.contains(input));
        match cause {
            Cause::Frame => (depends(1) || depends(3)).then_some("a frame of length 0, which depends on an input"),
            Cause::Division => {
                let divisor = node.inputs.get(1).filter(|divisor| self.by_values.contains(*divisor))?;
                let is_integer = [INT32, INT64].contains(self.elements.get(divisor)?);
                is_integer.then_some("the smallest integer by -1, its divisor depends on an input")
            }
            Cause::NoElements => {
                let is_sized = node.inputs.iter().any(|input| self.by_size.contains(input));
                is_sized.then_some("no elements, the size of an operand depends on an input's values")
            }
        }
    }

    fn sizes_output(&self, node: &Node) -> bool {
        let Some((_, operands)) = SIZED_BY_VALUES.iter().find(|(operator, _)| *operator == node.op_type) else {
            return false;
        };
        let counts = |index: &usize| operands.is_empty() || operands.contains(index);
        let mut inputs = node.inputs.iter().enumerate().filter(|(index, _)| counts(index));
        inputs.any(|(_, input)| self.by_values.contains(input))
    }

    /// Returns the element type of a node's outputs: that of its first operand, unless the operator says otherwise.
    fn element_of(&self, node: &Node) -> i32 {
        let attribute = |name: &str| node.attributes.iter().find(|attribute| attribute.name == name);
        match &*node.op_type {
            "Cast" => attribute("to").map_or(0, |to: &Attribute| i32::try_from(to.integer).unwrap_or(0)),
            "Constant" => {
                attribute("value").and_then(|value| value.tensor.as_ref()).map_or(0, |tensor| tensor.data_type)
            }
            "ConstantOfShape" => {
                attribute("value").and_then(|value| value.tensor.as_ref()).map_or(FLOAT, |tensor| tensor.data_type)
            }
            "ArgMax" | "ArgMin" | "NonMaxSuppression" | "NonZero" | "Shape" | "Size" => INT64,
            "And" | "Equal" | "Greater" | "GreaterOrEqual" | "IsInf" | "IsNaN" | "Less" | "LessOrEqual" | "Not"
            | "Or" => BOOL,
            "Where" => self.known_element(node.inputs.get(1)),
            _ => self.known_element(node.inputs.first()),
        }
    }

    fn known_element(&self, name: Option<&String>) -> i32 {
        name.and_then(|name| self.elements.get(name)).copied().unwrap_or(0)
    }
}

/// Exporters may leave a node's name out; its first output has one.
fn title(node: &Node) -> &str {
    if node.name.is_empty() { node.outputs.first().map_or("", String::as_str) } else { &node.name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx_file::proto::{Tensor, TensorType, Type, ValueInfo};

    fn input(name: &str, element: i32) -> ValueInfo {
        let tensor = Some(TensorType { element, shape: None });
        ValueInfo { name: name.to_owned(), r#type: Some(Type { tensor }) }
    }

    fn node(op_type: &str, inputs: &[&str], output: &str) -> Node {
        Node {
            op_type: op_type.to_owned(),
            inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
            outputs: vec![output.to_owned()],
            ..Node::default()
        }
    }

    fn found(nodes: Vec<Node>) -> Vec<String> {
        let constant = Tensor { name: "constant".to_owned(), data_type: INT64, ..Tensor::default() };
        let inputs = vec![input("i", INT64), input("f", FLOAT)];
        let titles = find(&Graph { nodes, inputs, initializers: vec![constant], ..Graph::default() });
        titles.iter().map(|title| title.split(" (").next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn integer_division_is_found_where_its_divisor_depends_on_an_input() {
        assert_eq!(found(vec![node("Div", &["constant", "i"], "y")]), ["Div \"y\""]);
        assert_eq!(found(vec![node("Neg", &["i"], "n"), node("Mod", &["constant", "n"], "y")]), ["Mod \"y\""]);
        for harmless in [&["i", "constant"][..], &["f", "f"]] {
            assert!(found(vec![node("Div", harmless, "y")]).is_empty(), "{harmless:?}");
        }
        assert!(found(vec![node("Shape", &["f"], "s"), node("Div", &["constant", "s"], "y")]).is_empty());
    }

    #[test]
    fn operators_that_need_elements_are_found_where_values_decide_the_size() {
        let lstm = |input| node("LSTM", &[input, "constant"], "y");
        assert!(found(vec![lstm("f")]).is_empty());
        assert_eq!(found(vec![node("Slice", &["f", "constant", "i"], "s"), lstm("s")]), ["LSTM \"y\""]);
        assert!(found(vec![node("Slice", &["f", "constant", "constant"], "s"), lstm("s")]).is_empty());
        assert_eq!(found(vec![node("NonZero", &["f"], "n"), node("Relu", &["n"], "r"), lstm("r")]), ["LSTM \"y\""]);
    }

    #[test]
    fn nodes_of_subgraphs_are_found() {
        let body = Graph {
            nodes: vec![node("Div", &["constant", "i"], "inner")],
            outputs: vec![input("inner", INT64)],
            ..Graph::default()
        };
        let attribute = Attribute { name: "then_branch".to_owned(), graph: Some(body), ..Attribute::default() };
        let branching = Node { attributes: vec![attribute], ..node("If", &["constant"], "y") };
        assert_eq!(found(vec![branching]), ["Div \"inner\""]);
    }

    #[test]
    fn every_operator_that_the_search_found_is_known() {
        let list = include_str!("../../../fuzz/operators/crashers.txt");
        let is_known = |(operator, kind): &(&str, &str)| {
            KNOWN.iter().any(|(known, cause)| known == operator && (*cause == Cause::NoElements) == (*kind == "empty"))
        };
        let lines = list.lines().filter(|line| !line.starts_with('#'));
        let found: Vec<(&str, &str)> = lines
            .map(|line| line.split_once('\t').unwrap())
            .map(|(operator, rest)| (operator, rest.split('\t').next().unwrap()))
            .collect();
        assert!(found.len() >= 10, "{found:?}");
        let missing: Vec<_> = found.iter().filter(|line| !is_known(line)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
