//! Which outputs a request wants, and in what form; and the outputs of a run in that form.

use std::{num::NonZeroUsize, sync::Arc};

use smallvec::{SmallVec, smallvec};

use crate::{
    error::{Error, Result},
    model::schema::Schema,
    protocol::oip::{
        classification,
        inputs::{Target, quoted, quoted_names},
    },
    request::InferResponse,
    tensor::tensor::Tensor,
};

/// What a request says of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputRequest {
    /// The highest values, so many of them, as `value:index:label` instead of the output itself.
    pub classification: Option<NonZeroUsize>,
    /// Whether it is wanted as bytes, where the transport leaves the choice.
    pub binary: bool,
}

/// The outputs that a request wants. Those that it lists, or all where it lists none; answered in signature order.
#[derive(Clone, Debug)]
pub struct Outputs(SmallVec<[Option<OutputRequest>; 4]>);

/// An output on its way out.
#[derive(Clone, Debug)]
pub struct AnsweredOutput {
    pub name: Arc<str>,
    /// What the run gave, or BYTES where a classification was asked for.
    pub tensor: Tensor,
    /// Whether it is wanted as bytes.
    pub binary: bool,
}

/// The outputs of an answer; up to four do not allocate.
pub type AnsweredOutputs = SmallVec<[AnsweredOutput; 4]>;

impl Outputs {
    pub fn none(target: Target<'_>) -> Self {
        Self(smallvec![None; target.signature.outputs.len()])
    }

    /// Adds an output that the request lists.
    ///
    /// # Errors
    /// `InvalidArgument` where there is no such output, it is listed already, or it has no classes to tell.
    pub fn add(&mut self, target: Target<'_>, name: &str, request: OutputRequest) -> Result<()> {
        let Target { name: model, signature } = target;
        let Some(index) = signature.output_index(name) else {
            let known = quoted_names(signature.outputs.iter().map(|output| &*output.tensor.name));
            let name = quoted(name);
            return Err(Error::invalid(format!(
                "unexpected inference output {name} for model '{model}', which gives {known}"
            )));
        };
        if request.classification.is_some() {
            classification::check(&signature.outputs[index].tensor)?;
        }
        match self.0[index].replace(request) {
            None => Ok(()),
            Some(_) => Err(Error::invalid(format!("inference output '{name}' for model '{model}' is there twice"))),
        }
    }

    /// Wants all outputs, as bytes or not, where none has been added.
    #[must_use]
    pub fn or_all(mut self, binary: bool) -> Self {
        if self.0.iter().all(Option::is_none) {
            self.0.fill(Some(OutputRequest { classification: None, binary }));
        }
        self
    }

    /// Tells whether an output is wanted, and how; by its place in the signature.
    pub fn get(&self, index: usize) -> Option<OutputRequest> {
        self.0.get(index).copied().flatten()
    }

    /// Takes what is wanted from the outputs of a run. `batched` says that axis 0 counts rows, each with its own classes.
    ///
    /// # Errors
    /// `InvalidArgument` where a classification would have too many elements.
    pub fn answer(&self, schema: &Schema, batched: bool, response: InferResponse) -> Result<AnsweredOutputs> {
        let mut answered = AnsweredOutputs::new();
        for (index, (tensor, spec)) in response.outputs.into_iter().zip(&schema.signature.outputs).enumerate() {
            let Some(request) = self.get(index) else { continue };
            let tensor = match request.classification {
                None => tensor,
                Some(most) => classification::classify(&tensor, most, batched, schema.class_names(index))
                    .map_err(|error| error.context(format_args!("output '{}'", spec.tensor.name)))?,
            };
            answered.push(AnsweredOutput { name: Arc::clone(&spec.tensor.name), tensor, binary: request.binary });
        }
        Ok(answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::signature::{Dim, OutputSpec, Signature, TensorSpec},
        tensor::data_type::DataType,
    };

    fn signature() -> Signature {
        let output = |name: &str, data_type| OutputSpec {
            tensor: TensorSpec { name: name.into(), data_type, dims: Some(vec![Dim::Fixed(3)]) },
            map_keys: None,
        };
        let outputs = vec![output("scores", DataType::Fp32), output("text", DataType::Bytes)];
        Signature { inputs: Vec::new(), outputs }
    }

    #[test]
    fn outputs_that_are_not_listed_are_wanted_only_where_none_is() {
        let signature = signature();
        let target = Target { name: "m", signature: &signature };
        let all = Outputs::none(target).or_all(true);
        assert!([0, 1].iter().all(|index| all.get(*index).is_some_and(|request| request.binary)));
        let mut some = Outputs::none(target);
        some.add(target, "text", OutputRequest::default()).unwrap();
        let some = some.or_all(true);
        assert_eq!((some.get(0), some.get(1)), (None, Some(OutputRequest::default())));
    }

    #[test]
    fn outputs_that_cannot_be_answered_are_refused() {
        let signature = signature();
        let target = Target { name: "m", signature: &signature };
        let mut outputs = Outputs::none(target);
        let mut refuse = |name: &str, request| outputs.add(target, name, request).unwrap_err().to_string();
        assert_eq!(
            refuse("o", OutputRequest::default()),
            "unexpected inference output 'o' for model 'm', which gives 'scores','text'"
        );
        let classes = OutputRequest { classification: NonZeroUsize::new(1), binary: false };
        assert!(refuse("text", classes).contains("BYTES"));
        outputs.add(target, "scores", classes).unwrap();
        let twice = outputs.add(target, "scores", classes).unwrap_err();
        assert_eq!(twice.message(), "inference output 'scores' for model 'm' is there twice");
    }
}
