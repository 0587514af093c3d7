//! What the ONNX file itself says that ONNX Runtime does not tell: opsets, metadata, class labels, external data.
//!
//! `proto` has the messages of the file that are asked for here; prost passes over the rest, and the weights stay where
//! they are in the file's bytes.

mod crashers;
mod proto;
pub mod weights;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    model::signature::ClassLabel,
};

/// Facts of an ONNX file, read without ONNX Runtime.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnnxFile {
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The size of the file, in bytes.
    pub size_bytes: u64,
    /// The IR version.
    pub ir_version: i64,
    /// Operator set versions by domain; the default domain is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// Who wrote the file, as `skl2onnx 1.20.0`; empty if it does not say.
    pub producer: String,
    /// `metadata_props`.
    pub metadata: HashMap<String, String>,
    /// Files of external data, as the graph names them, relative to the model's folder.
    pub external_data: BTreeSet<String>,
    /// By output: the class labels that it takes its values from, in class order, where the graph says so.
    pub class_labels: HashMap<String, Vec<ClassLabel>>,
    /// By output: the keys of its maps, in the order that ZipMap declares.
    pub map_keys: HashMap<String, Vec<ClassLabel>>,
    /// Inputs and outputs for which the graph declares no shape; ONNX Runtime cannot tell them from scalars.
    pub without_shape: HashSet<String>,
    /// Whether every dimension of every input is fixed.
    pub fixed_shapes: bool,
    /// Whether some node has a graph of its own, as If and Loop do.
    pub has_subgraphs: bool,
    /// Nodes that can end the process by what clients send, each with the reason.
    pub crashers: Vec<String>,
}

impl OnnxFile {
    /// Reads the file and checks that its external data lies in its own folder. Blocks on the disk.
    ///
    /// The bytes are dropped again before this returns, so that they are never in memory beside the loaded model.
    ///
    /// # Errors
    /// `InvalidArgument` where the file cannot be read, is not ONNX, or refers to data outside its folder.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            fs::read(path).map_err(|error| Error::invalid(format!("cannot read {}: {error}", path.display())))?.into();
        let file = Self::parse(&bytes).map_err(|error| error.context(path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for location in &file.external_data {
            check_external_data(folder, location).map_err(|error| error.context(path.display()))?;
        }
        Ok(file)
    }

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
            sha256: hex_sha256(bytes),
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
            crashers: crashers::find(graph),
            ..Self::default()
        };
        file.visit_graph(graph);
        let labels = |output: &proto::ValueInfo| Some((output.name.clone(), labels_of(graph, &output.name)?));
        file.class_labels = graph.outputs.iter().filter_map(labels).collect();
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

/// Checks that the file of `location` lies in `folder`: no absolute path, no `..`, and no link that leads out.
/// A hard link is refused because nothing tells where else the same file lies.
fn check_external_data(folder: &Path, location: &str) -> Result<()> {
    use std::path::Component;
    let refuse = |why: &str| Err(Error::invalid(format!("external data {location:?} {why}")));
    let relative = Path::new(location);
    if !relative.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir)) {
        return refuse("is outside the model's folder");
    }
    let (Ok(folder), Ok(file)) = (folder.canonicalize(), folder.join(relative).canonicalize()) else {
        return refuse("is not there");
    };
    if !file.starts_with(folder) {
        return refuse("is a link out of the model's folder");
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&file.metadata().map_err(Error::internal)?) > 1 {
        return refuse("is a hard link");
    }
    Ok(())
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _infallible = write!(hex, "{byte:02x}");
        hex
    })
}

fn domain_name(domain: &str) -> String {
    if domain.is_empty() { "ai.onnx".to_owned() } else { domain.to_owned() }
}

/// Follows a value back to where its class labels are declared: to a classifier's attribute, or to the table that
/// `ArrayFeatureExtractor` picks them from, as skl2onnx writes classifiers that have no operator of their own.
fn labels_of(graph: &proto::Graph, output: &str) -> Option<Vec<ClassLabel>> {
    // Steps that pass values on as they are, or in another type or shape.
    const PASSED_ON: [&str; 6] = ["Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"];
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

    #[test]
    #[cfg(unix)]
    fn external_data_must_lie_in_the_models_folder() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("model");
        fs::create_dir(&folder).unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        fs::write(folder.join("weights"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("soft")).unwrap();
        fs::hard_link(outside.path().join("secret"), folder.join("hard")).unwrap();

        assert!(check_external_data(&folder, "weights").is_ok());
        let absolute = outside.path().join("secret");
        for (location, why) in [
            ("../secret", "is outside"),
            (absolute.to_str().unwrap(), "is outside"),
            ("soft", "is a link out"),
            ("hard", "is a hard link"),
            ("absent", "is not there"),
        ] {
            let error = check_external_data(&folder, location).unwrap_err();
            assert!(error.message().contains(why), "{location}: {error}");
        }
    }
}
