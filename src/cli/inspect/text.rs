//! Paths and shapes as `inspect` writes them.

use std::fmt::Write as _;

use crate::{
    cli::candidate::VersionFiles,
    model::signature::{Dim, TensorSpec},
};

/// Returns the path at which a server answers for this version.
pub(super) fn predict_path(name: &str, files: &VersionFiles) -> String {
    match files.is_default {
        true => format!("/models/{name}/predict"),
        false => format!("/models/{name}/versions/{}/predict", files.version),
    }
}

/// Writes a shape with the graph's own names: `[N, 4]`, `[-1, 3]`; `any shape` of an unknown rank.
pub(super) fn shape_text(tensor: &TensorSpec) -> String {
    let Some(dims) = &tensor.dims else {
        return "any shape".to_owned();
    };
    let mut text = String::from("[");
    for (index, dim) in dims.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _infallible = match dim {
            Dim::Fixed(size) => write!(text, "{comma}{size}"),
            Dim::Dynamic(Some(symbol)) => write!(text, "{comma}{symbol}"),
            Dim::Dynamic(None) => write!(text, "{comma}-1"),
        };
    }
    text.push(']');
    text
}

#[cfg(test)]
pub(super) fn tensor(name: &str, dims: Option<Vec<Dim>>) -> TensorSpec {
    TensorSpec { name: name.into(), data_type: crate::tensor::data_type::DataType::Fp32, dims }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_the_graphs_own_names() {
        let dims = vec![Dim::Dynamic(Some("N".into())), Dim::Dynamic(None), Dim::Fixed(4)];
        assert_eq!(shape_text(&tensor("X", Some(dims))), "[N, -1, 4]");
        assert_eq!(shape_text(&tensor("X", Some(vec![]))), "[]");
        assert_eq!(shape_text(&tensor("X", None)), "any shape");
    }
}
