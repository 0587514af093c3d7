//! Requests on their way to a model and answers on their way back, in no protocol's words.

use std::{ops::Range, sync::Arc};

use smallvec::SmallVec;

use crate::{
    error::{Error, Result},
    model::signature::{SharedDim, Signature},
    tensor::tensor::Tensor,
};

/// Tensors in signature order; up to two, as a label and probabilities, do not allocate. More room would be moved about with
/// every request.
pub type Tensors = SmallVec<[Tensor; 2]>;

/// Named tensors, in any order.
pub type InputTensors = SmallVec<[InputTensor; 2]>;

/// What a protocol's decoder makes: named tensors. Knows nothing of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferRequest {
    /// The inputs, in any order.
    pub inputs: InputTensors,
}

/// A tensor and the name of the input it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct InputTensor {
    pub name: Arc<str>,
    pub tensor: Tensor,
}

/// A request that fits the model: all queues and sessions take no other.
#[derive(Clone, Debug)]
pub struct ValidRequest {
    inputs: Tensors,
    rows: usize,
}

/// What requests must have in common to be stacked: every dimension of every input but axis 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchKey(SmallVec<[usize; 4]>);

/// The outputs of a run, in signature order.
#[derive(Clone, Debug)]
pub struct InferResponse {
    /// One tensor per output of the signature.
    pub outputs: Tensors,
}

impl ValidRequest {
    /// Checks names, element types and shapes against the signature and puts the inputs in its order.
    ///
    /// # Errors
    /// `InvalidArgument` naming the input, what was expected and what came.
    pub fn new(request: InferRequest, signature: &Signature) -> Result<Self> {
        let inputs = match is_in_order(&request.inputs, signature) {
            true => request.inputs.into_iter().map(|input| input.tensor).collect(),
            false => put_in_order(request.inputs, signature)?,
        };
        for (input, spec) in inputs.iter().zip(&signature.inputs) {
            spec.check(input)?;
        }
        let rows = inputs.first().and_then(|input| input.shape().first().copied()).unwrap_or(1);
        Ok(Self { inputs, rows })
    }

    /// Checks that all inputs have the same number of rows, for a model whose inputs are rows of features: a column that
    /// is shorter than the others fits its own declaration, and the runtime fails only in the middle of the graph.
    ///
    /// # Errors
    /// `InvalidArgument` naming the input, how many rows were expected and how many came.
    pub fn check_rows(&self, signature: &Signature) -> Result<()> {
        for (input, spec) in self.inputs.iter().zip(&signature.inputs) {
            let rows = input.shape().first().copied().unwrap_or(1);
            if rows != self.rows {
                let (expected, first) = (self.rows, &signature.inputs[0].name);
                let plural = if expected == 1 { "" } else { "s" };
                return Err(Error::invalid(format!(
                    "input {:?}: expected {expected} row{plural}, as in input {first:?}, but got {rows}",
                    spec.name
                )));
            }
        }
        Ok(())
    }

    /// Checks that dimensions which share a symbol have one size.
    ///
    /// # Errors
    /// `InvalidArgument` naming input, axis and symbol, the size that was expected and the one that came.
    pub fn check_shared_dims(&self, shared_dims: &[SharedDim], signature: &Signature) -> Result<()> {
        for SharedDim { symbol, first, again } in shared_dims {
            let size = |(input, axis): (usize, usize)| self.inputs[input].shape()[axis];
            let (expected, got) = (size(*first), size(*again));
            if expected != got {
                let of_first = match first.0 == again.0 {
                    true => String::new(),
                    false => format!(" of input {:?}", signature.inputs[first.0].name),
                };
                return Err(Error::invalid(format!(
                    "input {:?}: expected {expected} on axis {} ({symbol:?}), as on axis {}{of_first}, but got {got}",
                    signature.inputs[again.0].name, again.1, first.1
                )));
            }
        }
        Ok(())
    }

    /// Returns what this request can be stacked by; `None` where its inputs do not all have the same number of rows.
    pub fn batch_key(&self) -> Option<BatchKey> {
        let mut key = SmallVec::new();
        for input in &self.inputs {
            let (rows, rest) = input.shape().split_first()?;
            if *rows != self.rows {
                return None;
            }
            // The rank tells where one input's dimensions end.
            key.push(rest.len());
            key.extend_from_slice(rest);
        }
        Some(BatchKey(key))
    }

    /// Returns a request of some of the rows, sharing the data.
    ///
    /// # Errors
    /// `Internal` where an input has not so many rows.
    pub fn rows_of(&self, range: Range<usize>) -> Result<Self> {
        let inputs = self.inputs.iter().map(|input| input.rows(range.clone())).collect::<Result<_>>()?;
        Ok(Self { inputs, rows: range.len() })
    }

    /// Returns the inputs in signature order.
    pub fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// Returns the size of axis 0 of the first input, or 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// Tells whether the inputs are those of the signature, in its order, as nearly all requests have them.
fn is_in_order(inputs: &[InputTensor], signature: &Signature) -> bool {
    inputs.len() == signature.inputs.len()
        && inputs.iter().zip(&signature.inputs).all(|(input, spec)| input.name == spec.name)
}

fn put_in_order(inputs: InputTensors, signature: &Signature) -> Result<Tensors> {
    let mut slots: SmallVec<[Option<Tensor>; 2]> = SmallVec::from_elem(None, signature.inputs.len());
    for input in inputs {
        let Some(index) = signature.input_index(&input.name) else {
            return Err(Error::invalid(format!(
                "unknown input {:?}: the model has {}",
                input.name,
                signature.input_names()
            )));
        };
        if slots[index].replace(input.tensor).is_some() {
            return Err(Error::invalid(format!("input {:?} is there twice", input.name)));
        }
    }
    let missing =
        |name: &str| Error::invalid(format!("missing input {name:?}: the model needs {}", signature.input_names()));
    let named = slots.into_iter().zip(&signature.inputs);
    named.map(|(slot, spec)| slot.ok_or_else(|| missing(&spec.name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::signature::{Dim, TensorSpec},
        tensor::{data_type::DataType, shape::Shape},
    };

    /// A request of inputs with so many columns each, for a model of `a` with one column and `b` with two.
    fn valid(inputs: &[(&str, usize)]) -> Result<Vec<usize>> {
        let spec = |name: &str, columns| TensorSpec {
            name: name.into(),
            data_type: DataType::Fp32,
            dims: Some(vec![Dim::Dynamic(None), Dim::Fixed(columns)]),
        };
        let signature = Signature { inputs: vec![spec("a", 1), spec("b", 2)], outputs: Vec::new() };
        let input = |(name, columns): &(&str, usize)| InputTensor {
            name: (*name).into(),
            tensor: Tensor::zeros(DataType::Fp32, Shape::new(&[3, *columns])).unwrap(),
        };
        let request = ValidRequest::new(InferRequest { inputs: inputs.iter().map(input).collect() }, &signature)?;
        assert_eq!(request.rows(), 3);
        Ok(request.inputs.iter().map(|input| input.shape()[1]).collect())
    }

    #[test]
    fn inputs_of_any_order_are_put_into_the_signatures() {
        assert_eq!(valid(&[("a", 1), ("b", 2)]).unwrap(), [1, 2]);
        assert_eq!(valid(&[("b", 2), ("a", 1)]).unwrap(), [1, 2]);
    }

    #[test]
    fn misfit_is_named_in_any_order() {
        let cases: [(&[_], &str); 8] = [
            (&[], "missing input \"a\": the model needs \"a\", \"b\""),
            (&[("b", 2)], "missing input \"a\": the model needs \"a\", \"b\""),
            (&[("a", 1)], "missing input \"b\": the model needs \"a\", \"b\""),
            (&[("a", 1), ("c", 2)], "unknown input \"c\": the model has \"a\", \"b\""),
            (&[("a", 1), ("b", 2), ("b", 2)], "input \"b\" is there twice"),
            (&[("a", 1), ("a", 1)], "input \"a\" is there twice"),
            (&[("a", 1), ("b", 3)], "input \"b\": expected FP32 [-1, 2], got FP32 [3, 3]"),
            (&[("b", 3), ("a", 1)], "input \"b\": expected FP32 [-1, 2], got FP32 [3, 3]"),
        ];
        for (inputs, expected) in cases {
            assert_eq!(valid(inputs).unwrap_err().message(), expected, "{inputs:?}");
        }
    }
}
