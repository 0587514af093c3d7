//! The weights of an ONNX file that several instances of its model can share.

use std::{collections::HashSet, fs, path::Path};

use bytes::Bytes;
use prost::Message;

use super::proto;
use crate::error::{Error, Result};

/// Smaller ones are not worth a name of their own.
const MIN_BYTES: usize = 4096;
/// `TensorProto.DataType`
const FLOAT: i32 = 1;

#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Its name in the graph.
    pub name: String,
    pub dims: Vec<i64>,
    /// Its values, row by row.
    pub values: Vec<f32>,
}

/// Reads the matrices by which a model multiplies, where they lie in the file itself. Blocks on the disk.
///
/// The runtime lays these out anew and needs them no more as they were. What it folds or lays out in another way before,
/// as it does the weights of convolutions, it cannot share.
///
/// # Errors
/// `InvalidArgument` where the file cannot be read or is not an ONNX model.
pub fn read_matrices(path: &Path) -> Result<Vec<Matrix>> {
    let unreadable = |error: &dyn std::fmt::Display| Error::invalid(format!("cannot read {}: {error}", path.display()));
    let bytes: Bytes = fs::read(path).map_err(|error| unreadable(&error))?.into();
    let model = proto::Model::decode(bytes).map_err(|error| unreadable(&error))?;
    Ok(model.graph.as_ref().map(matrices).unwrap_or_default())
}

fn matrices(graph: &proto::Graph) -> Vec<Matrix> {
    let products = graph.nodes.iter().filter(|node| matches!(&*node.op_type, "MatMul" | "Gemm"));
    let factors: HashSet<&str> = products.filter_map(|node| node.inputs.get(1)).map(String::as_str).collect();
    // A client may send a value of its own in place of one that is an input too.
    let is_input = |name: &str| graph.inputs.iter().any(|input| input.name == name);
    let is_shared = |tensor: &&proto::Tensor| {
        factors.contains(&*tensor.name) && !is_input(&tensor.name) && tensor.raw_data.len() >= MIN_BYTES
    };
    graph.initializers.iter().filter(is_shared).filter_map(matrix).collect()
}

fn matrix(tensor: &proto::Tensor) -> Option<Matrix> {
    let count = tensor.dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(usize::try_from(*dim).ok()?))?;
    let (values, rest) = tensor.raw_data.as_chunks();
    let is_whole = rest.is_empty() && values.len() == count;
    (tensor.data_type == FLOAT && tensor.dims.len() == 2 && is_whole).then(|| Matrix {
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
        values: values.iter().map(|raw| f32::from_le_bytes(*raw)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, dims: &[i64], bytes: usize) -> proto::Tensor {
        let raw_data = vec![1; bytes].into();
        proto::Tensor { name: name.to_owned(), dims: dims.to_vec(), data_type: FLOAT, raw_data, ..Default::default() }
    }

    fn node(op_type: &str, inputs: &[&str]) -> proto::Node {
        let inputs = inputs.iter().map(|name| (*name).to_owned()).collect();
        proto::Node { op_type: op_type.to_owned(), inputs, ..Default::default() }
    }

    #[test]
    fn matrices_are_what_is_multiplied_by_and_is_large_and_whole() {
        let graph = proto::Graph {
            nodes: vec![
                node("MatMul", &["x", "factor"]),
                node("Gemm", &["x", "cut_off", "bias"]),
                node("Gemm", &["x", "input"]),
                node("MatMul", &["x", "small"]),
                node("MatMul", &["x", "integers"]),
                node("Add", &["x", "added"]),
            ],
            initializers: vec![
                tensor("factor", &[32, 32], 4096),
                tensor("cut_off", &[32, 33], 4096),
                tensor("input", &[32, 32], 4096),
                tensor("small", &[8, 8], 256),
                proto::Tensor { data_type: 6, ..tensor("integers", &[32, 32], 4096) },
                tensor("added", &[32, 32], 4096),
                tensor("bias", &[32, 32], 4096),
            ],
            inputs: vec![proto::ValueInfo { name: "input".to_owned(), r#type: None }],
            ..Default::default()
        };
        let found = matrices(&graph);
        assert_eq!(found.iter().map(|matrix| &*matrix.name).collect::<Vec<_>>(), ["factor"]);
        assert_eq!((&*found[0].dims, found[0].values.len()), (&[32, 32][..], 1024));
    }
}
