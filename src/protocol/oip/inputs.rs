//! The inputs of a request, checked against the model as they are declared and before their data is looked at.

use std::{fmt, sync::Arc};

use smallvec::{SmallVec, smallvec};

use crate::{
    error::{Error, Result},
    model::signature::{Signature, TensorSpec},
    request::{InferRequest, InputTensor},
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// The highest rank that a request may declare; models have less.
pub const MAX_RANK: usize = 64;

/// The most characters of a name that a message shows.
const MAX_SHOWN_CHARS: usize = 64;

/// The most dimensions that a message shows.
const MAX_SHOWN_DIMS: usize = 8;

/// The model that a request is for: its name, for messages, and what it takes and gives.
#[derive(Clone, Copy, Debug)]
pub struct Target<'m> {
    pub name: &'m str,
    pub signature: &'m Signature,
}

/// Collects the inputs of a request: [`Self::declare`] each, make its tensor, [`Self::push`] it, then [`Self::finish`].
#[derive(Debug)]
pub struct Inputs<'m> {
    target: Target<'m>,
    declared: SmallVec<[bool; 16]>,
    request: InferRequest,
}

/// An input that a request has declared, rightly: what is left is its data.
#[derive(Clone, Debug)]
pub struct DeclaredInput<'m> {
    target: Target<'m>,
    spec: &'m TensorSpec,
    shape: Shape,
    count: usize,
}

impl<'m> Inputs<'m> {
    /// Begins a request for a model.
    pub fn new(target: Target<'m>) -> Self {
        let declared = smallvec![false; target.signature.inputs.len()];
        Self { target, declared, request: InferRequest::default() }
    }

    /// Checks an input's name, element type and shape. Allocates nothing of the shape's size.
    ///
    /// # Errors
    /// `InvalidArgument` naming the input, what was expected and what came.
    pub fn declare(
        &mut self,
        name: &str,
        data_type: &str,
        dims: impl IntoIterator<Item = i64>,
    ) -> Result<DeclaredInput<'m>> {
        let Target { name: model, signature } = self.target;
        let Some(index) = signature.input_index(name) else {
            let (name, known) = (quoted(name), quoted_names(signature.inputs.iter().map(|input| &*input.name)));
            return Err(Error::invalid(format!(
                "unexpected inference input {name} for model '{model}', which takes {known}"
            )));
        };
        if std::mem::replace(&mut self.declared[index], true) {
            return Err(Error::invalid(format!("inference input '{name}' for model '{model}' is there twice")));
        }
        let spec = &signature.inputs[index];
        if data_type != spec.data_type.name() {
            return Err(Error::invalid(format!(
                "inference input '{name}' data-type is {}, but model '{model}' expects '{}'",
                quoted(data_type),
                spec.data_type
            )));
        }
        let shape = shape_of(name, dims)?;
        if !spec.admits(&shape) {
            return Err(Error::invalid(format!(
                "unexpected shape for input '{name}' for model '{model}'. Expected {}, got {}",
                Dims(&spec.protocol_dims()),
                Dims(&shape)
            )));
        }
        let size = spec.data_type.size().unwrap_or(1);
        let count = shape.element_count().filter(|count| count.checked_mul(size).is_some());
        let count = count.ok_or_else(|| {
            Error::invalid(format!("input '{name}': shape {} has more elements than fit in memory", Dims(&shape)))
        })?;
        Ok(DeclaredInput { target: self.target, spec, shape, count })
    }

    /// Adds the tensor of a declared input.
    pub fn push(&mut self, input: &DeclaredInput<'m>, tensor: Tensor) {
        self.request.inputs.push(InputTensor { name: Arc::clone(&input.spec.name), tensor });
    }

    /// Checks that no input is missing.
    ///
    /// # Errors
    /// `InvalidArgument` naming those that came and those that are missing.
    pub fn finish(self) -> Result<InferRequest> {
        let Target { name, signature } = self.target;
        if self.request.inputs.len() == signature.inputs.len() {
            return Ok(self.request);
        }
        let got = quoted_names(self.request.inputs.iter().map(|input| &*input.name));
        let missing = signature.inputs.iter().zip(&self.declared).filter(|(_, declared)| !**declared);
        let missing = quoted_names(missing.map(|(input, _)| &*input.name));
        Err(Error::invalid(format!(
            "expected {} inputs but got {} inputs for model '{name}'. Got input(s) [{got}], but missing required input(s) [{missing}]",
            signature.inputs.len(),
            self.request.inputs.len()
        )))
    }
}

impl DeclaredInput<'_> {
    pub fn model(&self) -> &str {
        self.target.name
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub fn data_type(&self) -> DataType {
        self.spec.data_type
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the product of the dimensions, which in bytes fits in memory.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// Takes dimensions over, none of which may be negative.
fn shape_of(input: &str, dims: impl IntoIterator<Item = i64>) -> Result<Shape> {
    let mut sizes: SmallVec<[usize; 8]> = SmallVec::new();
    for dim in dims {
        if sizes.len() == MAX_RANK {
            return Err(Error::invalid(format!("input '{input}': expected at most {MAX_RANK} dimensions")));
        }
        let size = usize::try_from(dim);
        sizes.push(size.map_err(|_| {
            Error::invalid(format!("input '{input}': expected dimensions of 0 and more in its shape, but got {dim}"))
        })?);
    }
    Ok(Shape::new(&sizes))
}

/// Writes a name from a request as the protocol's messages quote it, cut to a length that is good to read.
pub fn quoted(name: &str) -> String {
    format!("'{}'", shown(name))
}

/// Writes a name from a request like [`quoted`], without the quotes.
pub(super) fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Lists names as the protocol's messages do: `'a','b'`.
pub(super) fn quoted_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(quoted).collect();
    names.join(",")
}

/// Writes dimensions as the protocol's messages have them: `[-1,4]`.
pub(super) struct Dims<'a, T>(pub(super) &'a [T]);

impl<T: fmt::Display> fmt::Display for Dims<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, dim) in self.0.iter().take(MAX_SHOWN_DIMS).enumerate() {
            write!(f, "{}{dim}", if index == 0 { "" } else { "," })?;
        }
        f.write_str(if self.0.len() > MAX_SHOWN_DIMS { ",…]" } else { "]" })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{model::signature::Dim, protocol::oip::raw};

    fn signature() -> Signature {
        let spec = |name: &str, data_type, dims: &[Dim]| TensorSpec {
            name: name.into(),
            data_type,
            dims: Some(dims.to_vec()),
        };
        let rows = [Dim::Dynamic(None), Dim::Fixed(4)];
        let inputs =
            vec![spec("x", DataType::Fp32, &rows), spec("any", DataType::Int64, &vec![Dim::Dynamic(None); 10])];
        Signature { inputs, outputs: Vec::new() }
    }

    #[test]
    fn what_does_not_fit_is_refused_in_the_words_that_clients_look_for() {
        let signature = signature();
        let refuse = |name: &str, data_type: &str, dims: &[i64]| {
            let mut inputs = Inputs::new(Target { name: "m", signature: &signature });
            inputs.declare(name, data_type, dims.iter().copied()).unwrap_err().to_string()
        };
        assert_eq!(refuse("z", "FP32", &[1, 4]), "unexpected inference input 'z' for model 'm', which takes 'x','any'");
        assert_eq!(
            refuse("x", "INT32", &[1, 4]),
            "inference input 'x' data-type is 'INT32', but model 'm' expects 'FP32'"
        );
        assert!(refuse("x", "fp32", &[1, 4]).contains("data-type is 'fp32'"));
        assert_eq!(
            refuse("x", "FP32", &[1, 5]),
            "unexpected shape for input 'x' for model 'm'. Expected [-1,4], got [1,5]"
        );
        assert_eq!(
            refuse("x", "FP32", &[-1, 4]),
            "input 'x': expected dimensions of 0 and more in its shape, but got -1"
        );
        assert_eq!(refuse("x", "FP32", &[1; 65]), "input 'x': expected at most 64 dimensions");
        assert!(refuse("any", "INT64", &[1 << 31; 10]).contains("more elements than fit in memory"));
        assert!(refuse("any", "INT64", &[1; 64]).ends_with("got [1,1,1,1,1,1,1,1,…]"));
    }

    #[test]
    fn every_input_must_be_there_once() {
        let signature = signature();
        let mut inputs = Inputs::new(Target { name: "m", signature: &signature });
        let input = inputs.declare("x", "FP32", [0, 4]).unwrap();
        inputs.push(&input, raw::read(&input, Bytes::new()).unwrap());
        let twice = inputs.declare("x", "FP32", [0, 4]).unwrap_err();
        assert_eq!(twice.message(), "inference input 'x' for model 'm' is there twice");
        assert_eq!(
            inputs.finish().unwrap_err().message(),
            "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['x'], but missing required input(s) ['any']"
        );
    }

    #[test]
    fn names_in_messages_are_short_and_printable() {
        assert_eq!(quoted("a\n"), "'a\\n'");
        assert_eq!(quoted(&"é".repeat(1000)).chars().count(), 67);
    }
}
