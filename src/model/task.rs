//! What a model's outputs mean: classes, a value, or just tensors.

use std::sync::Arc;

use crate::{
    error::{Error, Result},
    model::{
        manifest::OutputSettings,
        signature::{ClassLabel, OutputSpec, Signature},
    },
    tensor::data_type::DataType,
};

/// What the outputs mean. Indices are into `Signature::outputs`.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// The model says which class a row belongs to.
    Classification(Classification),
    /// The model gives one number a row.
    Regression(Regression),
    /// Anything else: the outputs are answered as they are.
    Raw,
}

/// The outputs of a classifier; at least one of the first three is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classification {
    /// The output that is the label: integers or strings, one a row.
    pub label: Option<usize>,
    /// The output that has one probability per class in each row.
    pub probabilities: Option<usize>,
    /// Where there is neither: the output of one score per class, of which the largest says the class.
    pub scores: Option<usize>,
    /// The outputs that are none of these (scores included), which are answered as they are.
    pub others: Vec<usize>,
}

/// The output of a regression model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The output that is the value, one a row.
    pub value: usize,
    /// The key under which the value is answered as well as under `prediction`.
    pub prediction_name: Option<Arc<str>>,
}

impl Task {
    /// Works the task out: from `[output]` of the model.toml where that speaks, else from the outputs' names, types and
    /// shapes. `is_rows` says that the inputs are rows of features, without which a label alone may be anything, as a
    /// detector's is; `has_class_names` lets a lone `[N, C]` float output count as scores.
    ///
    /// # Errors
    /// `InvalidArgument` where `[output]` names an output that is not there or cannot be what it is said to be.
    pub fn infer(
        signature: &Signature,
        settings: &OutputSettings,
        has_class_names: bool,
        is_rows: bool,
    ) -> Result<Self> {
        let find = |fits: fn(&OutputSpec) -> bool| signature.outputs.iter().position(fits);
        let named_label = named_output(signature, "label", settings.label.as_deref(), is_label)?;
        let named_probabilities =
            named_output(signature, "probabilities", settings.probabilities.as_deref(), is_one_a_class)?;
        let probabilities = named_probabilities.or_else(|| find(looks_like_probabilities));
        let label = named_label
            .or_else(|| find(looks_like_label))
            .filter(|_| named_label.is_some() || probabilities.is_some() || is_rows);
        let scores = match (label, probabilities, &signature.outputs[..]) {
            (None, None, [output]) if has_class_names && is_one_a_class(output) => Some(0),
            _ => None,
        };
        if label.or(probabilities).or(scores).is_none() {
            return Self::infer_regression(signature, settings);
        }
        if settings.prediction_name.is_some() {
            return Err(Error::invalid(
                "[output] prediction_name is for regression, but the outputs are those of a classifier",
            ));
        }
        let others = (0..signature.outputs.len()).filter(|index| ![label, probabilities].contains(&Some(*index)));
        Ok(Self::Classification(Classification { label, probabilities, scores, others: others.collect() }))
    }

    fn infer_regression(signature: &Signature, settings: &OutputSettings) -> Result<Self> {
        match (&signature.outputs[..], &settings.prediction_name) {
            ([output], name) if is_value(output) => {
                Ok(Self::Regression(Regression { value: 0, prediction_name: name.as_deref().map(Into::into) }))
            }
            (_, None) => Ok(Self::Raw),
            (_, Some(_)) => Err(Error::invalid(
                "[output] prediction_name is for regression: expected one numeric output with one value a row",
            )),
        }
    }

    /// Returns the word for this task: `classification`, `regression` or `raw`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Classification(_) => "classification",
            Self::Regression(_) => "regression",
            Self::Raw => "raw",
        }
    }
}

/// The classes of a classifier, in the order of its probabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    /// The names, which key the probabilities in an answer.
    pub names: Vec<Arc<str>>,
    /// The labels that the graph declares for them, where it does; as many as names.
    pub labels: Option<Vec<ClassLabel>>,
}

impl Classes {
    /// Returns the class index of an integer label: its place among the graph's labels, else the label itself.
    pub fn index_of_integer(&self, label: i64) -> Option<usize> {
        match &self.labels {
            Some(labels) => labels.iter().position(|known| *known == ClassLabel::Integer(label)),
            None => usize::try_from(label).ok().filter(|index| *index < self.names.len()),
        }
    }

    /// Returns the class index of a string label: its place among the graph's labels, else among the names.
    pub fn index_of_text(&self, label: &str) -> Option<usize> {
        let is_label = |known: &ClassLabel| matches!(known, ClassLabel::Text(text) if &**text == label);
        let among_labels = self.labels.as_ref().and_then(|labels| labels.iter().position(is_label));
        among_labels.or_else(|| self.names.iter().position(|name| &**name == label))
    }
}

fn named_output(
    signature: &Signature,
    role: &str,
    name: Option<&str>,
    fits: impl Fn(&OutputSpec) -> bool,
) -> Result<Option<usize>> {
    let Some(name) = name else { return Ok(None) };
    let Some(index) = signature.output_index(name) else {
        let names: Vec<_> = signature.outputs.iter().map(|output| format!("{:?}", output.tensor.name)).collect();
        return Err(Error::invalid(format!(
            "[output] {role} = {name:?}: the model has no such output; it has {}",
            names.join(", ")
        )));
    };
    let output = &signature.outputs[index];
    if fits(output) {
        return Ok(Some(index));
    }
    Err(Error::invalid(format!("[output] {role} = {name:?}: {} cannot be the {role}", output.tensor)))
}

fn is_label(output: &OutputSpec) -> bool {
    let data_type = output.tensor.data_type;
    one_a_row(output) && (data_type.is_integer() || matches!(data_type, DataType::Bytes | DataType::Bool))
}

/// An output that nobody has named counts as the label by what it is called, as exporters call it.
fn looks_like_label(output: &OutputSpec) -> bool {
    let name = output.tensor.name.to_ascii_lowercase();
    let called_so = name.contains("label") || name.contains("class");
    is_label(output) && (called_so || output.tensor.data_type == DataType::Int64 && name.starts_with("pred"))
}

/// ZipMap gives probabilities; of other outputs only the name tells them from margins, distances and boxes.
fn looks_like_probabilities(output: &OutputSpec) -> bool {
    let called_so = output.tensor.name.to_ascii_lowercase().contains("prob");
    output.map_keys.is_some() || called_so && is_one_a_class(output)
}

fn is_one_a_class(output: &OutputSpec) -> bool {
    let several = match output.tensor.dims.as_deref() {
        Some([_, classes]) => classes.fixed() != Some(1),
        None => true,
        Some(_) => false,
    };
    output.map_keys.is_some() || output.tensor.data_type.is_float() && several
}

fn is_value(output: &OutputSpec) -> bool {
    let data_type = output.tensor.data_type;
    one_a_row(output) && (data_type.is_float() || data_type.is_integer())
}

fn one_a_row(output: &OutputSpec) -> bool {
    let dims = output.tensor.dims.as_deref();
    output.map_keys.is_none() && matches!(dims, Some([] | [_]))
        || matches!(dims, Some([_, width]) if width.fixed() == Some(1))
}
