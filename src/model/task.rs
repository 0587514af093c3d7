//! What a model's outputs mean: classes, labels, values, or just tensors.

use std::sync::Arc;

use crate::{
    error::{Error, Result},
    model::{
        manifest::OutputSettings,
        observed::{ObservedOutput, ObservedOutputs, RowLayout},
        onnx_file::OnnxFile,
        signature::{ClassLabel, OutputSpec, Signature},
    },
    tensor::data_type::DataType,
};

/// What the outputs mean. Indices are into `Signature::outputs`.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// The model says which class a row belongs to.
    Classification(Classification),
    /// The model says of each of several labels whether a row has it.
    MultiLabel(MultiLabel),
    /// The model gives one number a row, or several.
    Regression(Regression),
    /// Anything else, and why: the outputs are answered as they are.
    Raw(String),
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

/// The outputs of a classifier whose classes do not exclude each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiLabel {
    /// The output that has 1 for each label that a row has, and 0 for the others.
    pub indicators: usize,
    /// The output that has one probability per label in each row.
    pub probabilities: usize,
    /// Labels in a row, at least two.
    pub width: usize,
    /// The other outputs, which are answered as they are.
    pub others: Vec<usize>,
}

/// The output of a regression model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The output that is the value.
    pub value: usize,
    pub targets: usize,
    /// The key under which the value is answered as well as under `prediction`.
    pub prediction_name: Option<Arc<str>>,
}

/// What a task is worked out from.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Names, types and shapes, corrected by what was observed.
    pub signature: &'a Signature,
    /// What runs on made-up inputs showed; empty where there was none.
    pub observed: &'a ObservedOutputs,
    /// What the graph says of the outputs' origin.
    pub file: &'a OnnxFile,
    pub settings: &'a OutputSettings,
    /// Lets a lone `[N, C]` float output count as scores.
    pub has_class_names: bool,
    /// Says that the inputs are rows of features, without which a label alone may be anything, as a detector's is.
    pub is_rows: bool,
}

impl Task {
    /// Works the task out: from `[output]` of the model.toml where that speaks, else from the outputs' names and types, and
    /// from the shapes that they had.
    ///
    /// # Errors
    /// `InvalidArgument` where `[output]` names an output that the model has not, or that cannot be what it is named.
    pub fn infer(evidence: &Evidence<'_>) -> Result<Self> {
        let Evidence { signature, settings, .. } = *evidence;
        let all = || 0..signature.outputs.len();
        let named_label = evidence.named("label", settings.label.as_deref(), |output| {
            evidence.is_label(output) || evidence.is_indicator(output).is_some()
        })?;
        let named_probabilities = evidence
            .named("probabilities", settings.probabilities.as_deref(), |output| evidence.is_one_a_class(output))?;
        let probabilities =
            named_probabilities.or_else(|| all().find(|output| evidence.looks_like_probabilities(*output)));
        if let Some(multi_label) = evidence.multi_label(named_label, probabilities) {
            return Self::MultiLabel(multi_label).without(settings);
        }
        if let Some(output) = named_label.filter(|output| !evidence.is_label(*output)) {
            return Err(Error::invalid(format!(
                "[output] label = {:?}: {}",
                signature.outputs[output].tensor.name,
                evidence.why_no_labels(output)
            )));
        }
        let label = named_label
            .or_else(|| all().find(|output| evidence.is_label(*output) && evidence.is_called_label(*output)))
            .filter(|_| named_label.is_some() || probabilities.is_some() || evidence.is_rows);
        let scores = match (label, probabilities, signature.outputs.len()) {
            (None, None, 1) if evidence.has_class_names && evidence.is_one_a_class(0) => Some(0),
            _ => None,
        };
        if label.or(probabilities).or(scores).is_none() {
            return evidence.infer_regression();
        }
        let others = evidence.all_but([label, probabilities]);
        Self::Classification(Classification { label, probabilities, scores, others }).without(settings)
    }

    /// Checks that a classifier is not told to name a regression's value.
    fn without(self, settings: &OutputSettings) -> Result<Self> {
        match settings.prediction_name {
            None => Ok(self),
            Some(_) => Err(Error::invalid(
                "[output] prediction_name is for regression, but the outputs are those of a classifier",
            )),
        }
    }

    /// Returns the word for this task: `classification`, `multi_label`, `regression` or `raw`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Classification(_) => "classification",
            Self::MultiLabel(_) => "multi_label",
            Self::Regression(_) => "regression",
            Self::Raw(_) => "raw",
        }
    }

    /// Returns why the model answers its outputs as they are, if it does.
    pub fn why_raw(&self) -> Option<&str> {
        match self {
            Self::Raw(reason) => Some(reason),
            Self::Classification(_) | Self::MultiLabel(_) | Self::Regression(_) => None,
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

impl Evidence<'_> {
    /// Finds zeros and ones beside as many probabilities.
    fn multi_label(&self, named_label: Option<usize>, probabilities: Option<usize>) -> Option<MultiLabel> {
        let called = || (0..self.signature.outputs.len()).find(|output| self.is_called_label(*output));
        let (indicators, probabilities) = (named_label.or_else(called)?, probabilities?);
        let width = self.is_indicator(indicators).filter(|width| self.width(probabilities) == Some(*width))?;
        let others = self.all_but([Some(indicators), Some(probabilities)]);
        Some(MultiLabel { indicators, probabilities, width, others })
    }

    fn all_but(&self, known: [Option<usize>; 2]) -> Vec<usize> {
        (0..self.signature.outputs.len()).filter(|output| !known.contains(&Some(*output))).collect()
    }

    fn why_no_labels(&self, output: usize) -> String {
        format!(
            "{} has several labels a row, but no output has as many probabilities",
            self.signature.outputs[output].tensor
        )
    }

    fn infer_regression(&self) -> Result<Task> {
        let name = self.settings.prediction_name.as_deref();
        let reason = match &self.signature.outputs[..] {
            [output] => {
                let data_type = output.tensor.data_type;
                match self.width(0).filter(|width| *width > 0 && (data_type.is_float() || data_type.is_integer())) {
                    Some(targets) if targets == 1 || name.is_some() || self.is_regressor(0) => {
                        let prediction_name = name.map(Into::into);
                        return Ok(Task::Regression(Regression { value: 0, targets, prediction_name }));
                    }
                    width => self.why_no_value(output, width),
                }
            }
            outputs => {
                let labels = (0..outputs.len())
                    .find(|output| self.is_called_label(*output) && self.is_indicator(*output).is_some());
                match labels {
                    Some(output) => format!("output {:?}: {}", outputs[output].tensor.name, self.why_no_labels(output)),
                    None => {
                        format!("none of its {} outputs is a label or probabilities by name and shape", outputs.len())
                    }
                }
            }
        };
        match name {
            None => Ok(Task::Raw(reason)),
            Some(_) => Err(Error::invalid(format!(
                "[output] prediction_name is for regression: expected one numeric output with a row's values, but {reason}"
            ))),
        }
    }

    fn why_no_value(&self, output: &OutputSpec, width: Option<usize>) -> String {
        let spec = &output.tensor;
        match (self.layout(0), width) {
            (Some(RowLayout::None(one, two)), _) => format!(
                "output {:?} has the shape {one} for one row and {two} for two, so axis 0 does not count rows",
                spec.name
            ),
            (_, Some(width)) => format!(
                "output {:?} has {width} values a row: [output] prediction_name in model.toml makes them a regression, \
                 [classes] names the scores of classes",
                spec.name
            ),
            _ => format!("output {:?} is {spec}", spec.name),
        }
    }

    /// Tells whether several values a row are those of a regression: a regressor of the graph gives them, or the exporter
    /// took them for one value.
    fn is_regressor(&self, output: usize) -> bool {
        let declares_one = self.observed.get(output).is_some_and(|observed| observed.declares_one_a_row);
        declares_one || self.file.regressors.contains(&*self.signature.outputs[output].tensor.name)
    }

    fn named(&self, role: &str, name: Option<&str>, fits: impl Fn(usize) -> bool) -> Result<Option<usize>> {
        let Some(name) = name else { return Ok(None) };
        let Some(index) = self.signature.output_index(name) else {
            let names: Vec<_> =
                self.signature.outputs.iter().map(|output| format!("{:?}", output.tensor.name)).collect();
            return Err(Error::invalid(format!(
                "[output] {role} = {name:?}: the model has no such output; it has {}",
                names.join(", ")
            )));
        };
        if fits(index) {
            return Ok(Some(index));
        }
        let output = &self.signature.outputs[index].tensor;
        Err(Error::invalid(format!("[output] {role} = {name:?}: {output} cannot be the {role}")))
    }

    fn layout(&self, output: usize) -> Option<&RowLayout> {
        self.observed.get(output)?.layout.as_ref()
    }

    /// Returns how many elements an output has in each row, if it is `[N]` or `[N, C]` by what was observed, else by what
    /// is declared.
    fn width(&self, output: usize) -> Option<usize> {
        match self.layout(output) {
            Some(RowLayout::Rows(row)) if row.len() <= 1 => row.first().copied().unwrap_or(Some(1)),
            Some(_) => None,
            None => match self.signature.outputs[output].tensor.dims.as_deref()? {
                [] | [_] => Some(1),
                [_, width] => width.fixed(),
                _ => None,
            },
        }
    }

    fn is_one_a_row(&self, output: usize) -> bool {
        let spec = &self.signature.outputs[output];
        spec.map_keys.is_none()
            && (self.width(output) == Some(1) || self.layout(output) == Some(&RowLayout::OneElement))
    }

    fn is_label(&self, output: usize) -> bool {
        let data_type = self.signature.outputs[output].tensor.data_type;
        self.is_one_a_row(output) && (data_type.is_integer() || matches!(data_type, DataType::Bytes | DataType::Bool))
    }

    /// Returns the width of an output of several zeros and ones a row, which only a run can show.
    fn is_indicator(&self, output: usize) -> Option<usize> {
        let observed = self.observed.get(output).filter(|ObservedOutput { is_indicator, .. }| *is_indicator);
        observed?.layout.as_ref().and_then(|_| self.width(output)).filter(|width| *width > 1)
    }

    /// An output that nobody has named counts as the label by what it is called, as exporters call it.
    fn is_called_label(&self, output: usize) -> bool {
        let output = &self.signature.outputs[output].tensor;
        let name = output.name.to_ascii_lowercase();
        let called_so = name.contains("label") || name.contains("class");
        let is_of_labels =
            output.data_type.is_integer() || matches!(output.data_type, DataType::Bytes | DataType::Bool);
        is_of_labels && (called_so || output.data_type == DataType::Int64 && name.starts_with("pred"))
    }

    /// ZipMap gives probabilities; of other outputs only the name tells them from margins, distances and boxes.
    fn looks_like_probabilities(&self, output: usize) -> bool {
        let spec = &self.signature.outputs[output];
        let called_so = spec.tensor.name.to_ascii_lowercase().contains("prob");
        (spec.map_keys.is_some() || called_so) && self.is_one_a_class(output)
    }

    fn is_one_a_class(&self, output: usize) -> bool {
        let spec = &self.signature.outputs[output];
        let is_matrix = match (self.layout(output), spec.tensor.dims.as_deref()) {
            (Some(RowLayout::Rows(row)), _) => row.len() == 1 && row[0] != Some(1),
            (Some(_), _) => return false,
            (None, Some([_, classes])) => classes.fixed() != Some(1),
            (None, None) => true,
            (None, Some(_)) => false,
        };
        spec.map_keys.is_some() || spec.tensor.data_type.is_float() && is_matrix
    }
}
