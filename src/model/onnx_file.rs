//! What the ONNX file itself says that ONNX Runtime does not tell: opsets, metadata, class labels, external data.
//!
//! `proto` has the messages of the file that are asked for here; prost passes over the rest, and the weights stay where
//! they are in the file's bytes.

mod crashers;
mod folding;
pub mod independence;
mod proto;
mod value_dependent;
pub mod weights;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use prost::Message;

use crate::{
    error::{Error, Result},
    model::{onnx_file::independence::Independence, signature::ClassLabel},
};

/// Facts of an ONNX file, read without ONNX Runtime.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnnxFile {
    /// SHA-256 of the file and its external data, in hexadecimal; it can be computed from the files.
    pub sha256: String,
    /// The size of the file and its external data, in bytes.
    pub size_bytes: u64,
    pub ir_version: i64,
    /// Operator set versions by domain; the default domain is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// Who wrote the file, as `skl2onnx 1.20.0`; empty if it does not say.
    pub producer: String,
    pub metadata: HashMap<String, String>,
    /// Files of external data, as the graph names them, relative to the model's folder.
    pub external_data: BTreeSet<String>,
    /// By output: the class labels that it takes its values from, in class order, where the graph says so.
    pub class_labels: HashMap<String, Vec<ClassLabel>>,
    /// Outputs whose values a regressor of `ai.onnx.ml` gives.
    pub regressors: HashSet<String>,
    /// By output: the keys of its maps, in the order that ZipMap declares.
    pub map_keys: HashMap<String, Vec<ClassLabel>>,
    /// Inputs and outputs for which the graph declares no shape; ONNX Runtime cannot tell them from scalars.
    pub without_shape: HashSet<String>,
    /// Whether every dimension of every input is fixed.
    pub fixed_shapes: bool,
    /// The node that makes the cost of a run depend on the values of its inputs, and not on their shapes alone; `None` if
    /// no node does.
    pub cost_depends_on: Option<String>,
    /// Whether the rows of a batch depend on each other.
    pub independence: Independence,
    /// The most bytes that folding one node of constants may give.
    pub folding_limit_bytes: u64,
    /// Whether some node has a graph of its own, as If and Loop do.
    pub has_subgraphs: bool,
    /// Nodes that can end the process by what clients send, each with the reason.
    pub crashers: Vec<String>,
}

impl OnnxFile {
    /// Reads the facts off the bytes of a file.
    ///
    /// # Errors
    /// `InvalidArgument` where they are not an ONNX model.
    pub fn parse(bytes: &Bytes) -> Result<Self> {
        let model = proto::Model::decode(bytes.clone())
            .map_err(|error| Error::invalid(format!("not an ONNX model: {error}")))?;
        let Some(graph) = &model.graph else {
            return Err(Error::invalid("not an ONNX model: it has no graph"));
        };
        let mut file = Self {
            size_bytes: bytes.len() as u64,
            ir_version: model.ir_version,
            opsets: model.opsets.iter().map(|opset| (domain_name(&opset.domain), opset.version)).collect(),
            producer: format!("{} {}", model.producer_name, model.producer_version).trim().to_owned(),
            metadata: model.metadata.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect(),
            without_shape: graph
                .inputs
                .iter()
                .chain(&graph.outputs)
                .filter(|value| value.lacks_shape())
                .map(|value| value.name.clone())
                .collect(),
            fixed_shapes: graph.inputs.iter().all(proto::ValueInfo::is_fixed),
            cost_depends_on: value_dependent::culprit(graph, &model.functions),
            independence: Independence::of(&model, graph),
            folding_limit_bytes: folding::limit_bytes(graph),
            crashers: crashers::find(graph),
            ..Self::default()
        };
        file.visit_graph(graph);
        let labels = |output: &proto::ValueInfo| Some((output.name.clone(), labels_of(graph, &output.name)?));
        file.class_labels = graph.outputs.iter().filter_map(labels).collect();
        let names = graph.outputs.iter().map(|output| &output.name);
        file.regressors = names.filter(|name| is_of_regressors(graph, name)).cloned().collect();
        model.functions.iter().flat_map(|function| &function.nodes).for_each(|node| file.visit_node(node));
        Ok(file)
    }

    fn visit_graph(&mut self, graph: &proto::Graph) {
        let sparse = graph.sparse_initializers.iter().flat_map(|sparse| [&sparse.values, &sparse.indices]).flatten();
        graph.initializers.iter().chain(sparse).for_each(|tensor| self.visit_tensor(tensor));
        graph.nodes.iter().for_each(|node| self.visit_node(node));
    }

    fn visit_node(&mut self, node: &proto::Node) {
        for attribute in &node.attributes {
            attribute.tensor.iter().chain(&attribute.tensors).for_each(|tensor| self.visit_tensor(tensor));
            for graph in attribute.graph.iter().chain(&attribute.graphs) {
                self.has_subgraphs = true;
                self.visit_graph(graph);
            }
        }
        if let ("ZipMap", [output], Some(keys)) = (&*node.op_type, &node.outputs[..], class_labels(node)) {
            self.map_keys.insert(output.clone(), keys);
        }
    }

    fn visit_tensor(&mut self, tensor: &proto::Tensor) {
        let location = tensor.external_data.iter().find(|entry| entry.key == "location");
        self.external_data.extend(location.map(|entry| entry.value.clone()));
    }
}

fn domain_name(domain: &str) -> String {
    if domain.is_empty() { "ai.onnx".to_owned() } else { domain.to_owned() }
}

/// Operators that pass values on as they are, or in another type or shape.
const PASSED_ON: [&str; 6] = ["Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"];

/// The most values that are followed back from an output to regressors.
const MAX_FOLLOWED: usize = 1000;

/// Tells whether a value comes from regressors alone, one or several side by side.
fn is_of_regressors(graph: &proto::Graph, output: &str) -> bool {
    let mut open = vec![output];
    let mut followed = HashSet::new();
    while let Some(name) = open.pop() {
        if !followed.insert(name) {
            continue;
        }
        let node = graph.nodes.iter().find(|node| node.outputs.iter().any(|output| output == name));
        match node.map(|node| (&*node.op_type, &node.inputs[..])) {
            Some(("LinearRegressor" | "SVMRegressor" | "TreeEnsembleRegressor", _)) => {}
            _ if followed.len() > MAX_FOLLOWED => return false,
            Some(("Concat", inputs)) => open.extend(inputs.iter().map(String::as_str)),
            Some((step, [input, ..])) if PASSED_ON.contains(&step) => open.push(input),
            _ => return false,
        }
    }
    true
}

/// Follows a value back to where its class labels are declared: to a classifier's attribute, or to the table that
/// `ArrayFeatureExtractor` picks them from, as skl2onnx writes classifiers that have no operator of their own.
fn labels_of(graph: &proto::Graph, output: &str) -> Option<Vec<ClassLabel>> {
    let mut name = output;
    // A graph has no circles, but a file may say anything.
    for _ in 0..graph.nodes.len() {
        let node = graph.nodes.iter().find(|node| node.outputs.iter().any(|output| output == name))?;
        let source = node.inputs.first();
        match &*node.op_type {
            step if PASSED_ON.contains(&step) => name = source?,
            "ArrayFeatureExtractor" => {
                let table = graph.initializers.iter().find(|tensor| Some(&tensor.name) == source)?;
                return table.labels();
            }
            // A classifier's first output is the label, the second its scores.
            _ if node.outputs.first().is_some_and(|first| first == name) => return class_labels(node),
            _ => return None,
        }
    }
    None
}

/// Returns the labels that an `ai.onnx.ml` classifier or ZipMap declares; the attribute's name varies by operator.
fn class_labels(node: &proto::Node) -> Option<Vec<ClassLabel>> {
    let attribute = node.attributes.iter().find(|attribute| attribute.name.starts_with("classlabels_"))?;
    let labels: Vec<_> = match attribute.integers.is_empty() {
        true => attribute.strings.iter().map(|text| proto::text_label(text)).collect(),
        false => attribute.integers.iter().copied().map(ClassLabel::Integer).collect(),
    };
    (!labels.is_empty()).then_some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_onnx_is_refused() {
        for bytes in [&b""[..], b"not a model", b"\xff\xff\xff\xff", b"{\"json\": true}"] {
            let error = OnnxFile::parse(&Bytes::from_static(bytes)).unwrap_err();
            assert!(error.message().starts_with("not an ONNX model"), "{error}");
        }
    }
}
