//! How much the runtime may fold: it computes at load what follows from constants alone, however much that is.

use std::collections::HashMap;

use super::proto;

/// The least that one node may give, which shapes and masks need.
const LEAST_BYTES: u64 = 64 << 10;
/// What all nodes together may give, beside some times the constants of the file.
const TOTAL_BYTES: u64 = 512 << 20;
/// How much more than the file's constants may be folded: a cast from FP16 doubles them.
const GROWTH: u64 = 4;
const ELEMENT_BYTES: u64 = 8;

/// The most elements of each value that follows from constants alone; `None` where a node may give any number.
type Constants<'a> = HashMap<&'a str, Option<u64>>;

#[derive(Default)]
struct Estimate {
    largest: u64,
    constants: u64,
    folded: Vec<Option<u64>>,
}

/// Returns the most bytes that the folding of one node may give, so that all of a file that means no harm is folded, and all
/// that is folded of any other stays below some hundred megabytes.
pub(super) fn limit_bytes(graph: &proto::Graph) -> u64 {
    let mut estimate = Estimate::default();
    estimate.visit(graph, &Constants::new());
    let limit = estimate.largest.saturating_mul(GROWTH).max(LEAST_BYTES);
    let total = estimate.constants.saturating_mul(GROWTH).saturating_add(TOTAL_BYTES);
    let most = |bytes: &Option<u64>| bytes.map_or(limit, |bytes| bytes.min(limit));
    match estimate.folded.iter().map(most).fold(0, u64::saturating_add) > total {
        true => (total / estimate.folded.len() as u64).clamp(LEAST_BYTES.min(limit), limit),
        false => limit,
    }
}

impl Estimate {
    fn visit<'a>(&mut self, graph: &'a proto::Graph, outer: &Constants<'a>) {
        let mut known = outer.clone();
        for tensor in &graph.initializers {
            let count = elements(tensor);
            self.count_constant(count);
            known.insert(&tensor.name, Some(count));
        }
        for node in &graph.nodes {
            node.attributes
                .iter()
                .flat_map(|attribute| attribute.graph.iter().chain(&attribute.graphs))
                .for_each(|subgraph| self.visit(subgraph, &known));
            let inputs: Option<Vec<_>> =
                node.inputs.iter().filter(|name| !name.is_empty()).map(|name| known.get(&**name).copied()).collect();
            let Some(inputs) = inputs else { continue };
            let count = match &*node.op_type {
                "Constant" => {
                    let tensors = node.attributes.iter().filter_map(|attribute| attribute.tensor.as_ref());
                    let count = tensors.map(elements).max().unwrap_or(1);
                    self.count_constant(count);
                    Some(count)
                }
                op_type => {
                    let count = folded_elements(op_type, &inputs);
                    self.folded.push(count.map(|count| count.saturating_mul(ELEMENT_BYTES)));
                    count
                }
            };
            known.extend(node.outputs.iter().map(|output| (&**output, count)));
        }
    }

    fn count_constant(&mut self, elements: u64) {
        let bytes = elements.saturating_mul(ELEMENT_BYTES);
        self.largest = self.largest.max(bytes);
        self.constants = self.constants.saturating_add(bytes);
    }
}

fn elements(tensor: &proto::Tensor) -> u64 {
    tensor.dims.iter().fold(1_u64, |count, dim| count.saturating_mul(u64::try_from(*dim).unwrap_or(0)))
}

/// Returns the most elements that an operator gives for inputs of so many, where it follows from their number.
fn folded_elements(op_type: &str, inputs: &[Option<u64>]) -> Option<u64> {
    let (first, known) = (inputs.first().copied().flatten(), inputs.iter().copied().collect::<Option<Vec<_>>>());
    match op_type {
        "Shape" | "Size" => Some(16),
        "Cast" | "CastLike" | "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Transpose" | "Slice"
        | "Split" | "Neg" | "Abs" | "Sqrt" | "Reciprocal" | "Exp" | "Log" | "Erf" | "Tanh" | "Sigmoid" | "Relu"
        | "Not" | "Floor" | "Ceil" | "Round" | "Sign" | "Clip" | "Softmax" | "CumSum" | "Trilu" | "QuantizeLinear"
        | "DequantizeLinear" => first,
        name if name.starts_with("Reduce") => first,
        "Concat" => known.map(|counts| counts.into_iter().fold(0, u64::saturating_add)),
        // Values that are broadcast, and rows that are picked.
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "Pow" | "Min" | "Max" | "Equal" | "Less" | "LessOrEqual"
        | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Where" | "Gather" => {
            known.map(|counts| counts.into_iter().map(|count| count.max(1)).fold(1, u64::saturating_mul))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: &[(&str, &[&str], &str)], initializers: &[(&str, i64)]) -> proto::Graph {
        let node = |(op_type, inputs, output): &(&str, &[&str], &str)| proto::Node {
            op_type: (*op_type).to_owned(),
            inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
            outputs: vec![(*output).to_owned()],
            ..Default::default()
        };
        let initializer = |(name, count): &(&str, i64)| proto::Tensor {
            name: (*name).to_owned(),
            dims: vec![*count],
            ..Default::default()
        };
        proto::Graph {
            nodes: nodes.iter().map(node).collect(),
            initializers: initializers.iter().map(initializer).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn weights_that_are_laid_out_anew_are_folded_however_many_and_large() {
        let names: Vec<_> = (0..100).map(|index| (format!("w{index}"), format!("t{index}"))).collect();
        let inputs: Vec<_> = names.iter().map(|(weight, _)| [&**weight]).collect();
        let nodes: Vec<_> =
            names.iter().zip(&inputs).map(|((_, output), inputs)| ("Transpose", &inputs[..], &**output)).collect();
        let weights: Vec<_> = names.iter().map(|(weight, _)| (&**weight, 10_000_000)).collect();
        assert_eq!(limit_bytes(&graph(&nodes, &weights)), 4 * 80_000_000);
    }

    #[test]
    fn what_is_made_of_a_size_is_folded_only_while_it_is_small() {
        let one = graph(&[("ConstantOfShape", &["size"], "large")], &[("size", 1)]);
        assert_eq!(limit_bytes(&one), LEAST_BYTES);
        let nodes: Vec<(&str, &[&str], &str)> = vec![("Expand", &["one", "size"], "large"); 10_000];
        let many = graph(&nodes, &[("size", 1), ("one", 1_000_000)]);
        assert!(limit_bytes(&many) * 10_000 < 2 << 30, "{}", limit_bytes(&many));
        // Each doubles what the one before gave.
        let doubling: Vec<(&str, &[&str], &str)> = vec![("Concat", &["w", "w"], "w"); 10_000];
        let doubling = graph(&doubling, &[("w", 1_000_000)]);
        assert!(limit_bytes(&doubling) * 10_000 < 2 << 30, "{}", limit_bytes(&doubling));
    }

    #[test]
    fn what_depends_on_an_input_is_not_counted() {
        let nodes: Vec<(&str, &[&str], &str)> = vec![("Expand", &["x", "size"], "y"); 100_000];
        assert_eq!(limit_bytes(&graph(&nodes, &[("size", 1), ("w", 1 << 20)])), 32 << 20);
    }
}
