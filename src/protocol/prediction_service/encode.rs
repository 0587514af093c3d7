//! Outputs to predictions, one a row: a class with its probabilities, labels with theirs, a value or several.

use std::{collections::HashMap, str};

use crate::{
    error::{Error, Result},
    json::write::Elements,
    model::{
        schema::Schema,
        task::{Classification, MultiLabel, Regression, Task},
    },
    protocol::{
        native::{
            encode_classes::ClassOutputs,
            encode_labels::{LabelOutputs, label_names},
            encode_outputs::{check_count, output_tensor},
        },
        proto::onnxd_v1::{PredictResponse, Prediction, Value, value::Kind},
    },
    request::InferResponse,
    serving::served_model::ServedModel,
};

/// Makes the answer.
///
/// # Errors
/// `InvalidArgument` where a label is not UTF-8; `Internal` where the outputs do not fit each other.
pub(crate) fn encode(model: &ServedModel, response: &InferResponse) -> Result<PredictResponse> {
    let predictions = match &model.schema.task {
        Task::Classification(classification) => classes(&model.schema, classification, response)?,
        Task::MultiLabel(multi_label) => labels(&model.schema, multi_label, response)?,
        Task::Regression(regression) => values(&model.schema, regression, response)?,
        Task::Raw(_) => return Err(Error::internal("predictions of a model that makes none")),
    };
    Ok(PredictResponse { model: model.name.to_string(), model_version: model.version.to_string(), predictions })
}

fn values(schema: &Schema, regression: &Regression, response: &InferResponse) -> Result<Vec<Prediction>> {
    let tensor = output_tensor(response, regression.value)?;
    let rows = tensor.shape().first().copied().unwrap_or(1);
    let targets = regression.targets;
    check_count(&schema.signature, regression.value, rows * targets, tensor.len())?;
    let elements = Elements::of(tensor);
    let prediction = |row: usize| match targets {
        1 => Ok(Prediction { prediction: Some(value(elements, row)?), ..Default::default() }),
        _ => {
            let values = (row * targets..(row + 1) * targets).map(|column| value(elements, column));
            Ok(Prediction { values: values.collect::<Result<_>>()?, ..Default::default() })
        }
    };
    (0..rows).map(prediction).collect()
}

fn labels(schema: &Schema, task: &MultiLabel, response: &InferResponse) -> Result<Vec<Prediction>> {
    let outputs = LabelOutputs::new(&schema.signature, response, task)?;
    let names = label_names(task, schema.classes.as_ref());
    let prediction = |row| {
        let probabilities = outputs.columns(row).map(|column| outputs.probabilities.double(column).unwrap_or(f64::NAN));
        Prediction {
            labels: outputs.labels(row).map(|label| names[label].clone()).collect(),
            probabilities: names.iter().cloned().zip(probabilities).collect(),
            ..Default::default()
        }
    };
    Ok((0..outputs.rows).map(prediction).collect())
}

fn classes(schema: &Schema, classification: &Classification, response: &InferResponse) -> Result<Vec<Prediction>> {
    let outputs = ClassOutputs::new(&schema.signature, response, classification)?;
    let classes = schema.classes.as_ref();
    let name = |index: usize| classes.and_then(|classes| classes.names.get(index)).map(ToString::to_string);
    // Where there are not as many numbers as classes, they are one a pair of classes, say.
    let is_named = classes.is_some_and(|classes| classes.names.len() == outputs.width);
    let column_names: Vec<_> = (0..outputs.width)
        .map(|column| name(column).filter(|_| is_named).unwrap_or_else(|| column.to_string()))
        .collect();
    let prediction = |row| {
        let index = outputs.class_index(row, classes);
        let prediction = match (outputs.label, index) {
            (Some(label), _) => Some(value(label, row)?),
            (None, Some(index)) => Some(Value { kind: i64::try_from(index).ok().map(Kind::Integer) }),
            (None, None) => None,
        };
        let class_name = index.and_then(name).or_else(|| prediction.as_ref().map(text)).unwrap_or_default();
        let probabilities = match outputs.probabilities(row) {
            Some((numbers, columns)) => {
                let probabilities = columns.map(|column| numbers.double(column).unwrap_or(f64::NAN));
                column_names.iter().cloned().zip(probabilities).collect()
            }
            None => HashMap::new(),
        };
        let class_index = index.and_then(|index| u32::try_from(index).ok());
        Ok(Prediction { prediction, class_name, class_index, probabilities, ..Default::default() })
    };
    (0..outputs.rows).map(prediction).collect()
}

fn value(elements: Elements<'_>, row: usize) -> Result<Value> {
    let kind = match elements {
        Elements::Bool(flags) => Kind::Flag(flags[row] != 0),
        Elements::Bytes(texts) => {
            let text = str::from_utf8(&texts[row]);
            Kind::Text(text.map_err(|_| Error::invalid("a string is not UTF-8, and has no form here"))?.to_owned())
        }
        numbers => match (numbers.integer(row), numbers.double(row)) {
            (Some(integer), _) => Kind::Integer(integer),
            (None, number) => Kind::Number(number.unwrap_or(f64::NAN)),
        },
    };
    Ok(Value { kind: Some(kind) })
}

/// Writes a label as the name of its class, where the classes have none.
fn text(value: &Value) -> String {
    match &value.kind {
        Some(Kind::Text(text)) => text.clone(),
        Some(Kind::Integer(integer)) => integer.to_string(),
        Some(Kind::Number(number)) => number.to_string(),
        Some(Kind::Flag(flag)) => flag.to_string(),
        None => String::new(),
    }
}
