//! Outputs to the answer's body: what the model says of each row, or its tensors as they are.

use std::sync::Arc;

use jiff::fmt::{StdIoWrite, temporal::DateTimePrinter};

use crate::{
    error::{Error, Result},
    json::write::{write_string, write_tensor},
    model::{
        name::{ModelName, ModelVersion},
        schema::Schema,
        task::Task,
    },
    protocol::native::{encode_outputs::key, encode_rows::RowEncoder, envelope::Form},
    request::InferResponse,
};

/// RFC 3339 with milliseconds and `Z`.
const TIME: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// Room for names, version, time and the keys around the predictions.
const FRAME_BYTES: usize = 160;

/// Writes answers of one model version. Made once when it is loaded, with all that is the same in every answer.
#[derive(Debug)]
pub struct Encoder {
    schema: Arc<Schema>,
    head: Vec<u8>,
    /// What an answer of rows consists of; `None` for a model that is neither classifier nor regression.
    rows: Option<RowEncoder>,
    output_keys: Vec<Vec<u8>>,
    /// The outputs that are answered as they are: all of a model that is neither, and what a classifier gives beside.
    as_they_are: Vec<usize>,
}

impl Encoder {
    /// Prepares the parts of every answer of this model version.
    pub fn new(schema: Arc<Schema>, model: &ModelName, version: ModelVersion) -> Self {
        let mut head = b"{\"model\":".to_vec();
        write_string(&mut head, model.as_str());
        head.extend_from_slice(b",\"model_version\":");
        write_string(&mut head, &version.to_string());
        head.extend_from_slice(b",\"prediction_time\":\"");
        let rows = match &schema.task {
            Task::Classification(classification) => {
                Some(RowEncoder::classification(classification.clone(), schema.classes.as_ref()))
            }
            Task::MultiLabel(multi_label) => {
                Some(RowEncoder::multi_label(multi_label.clone(), schema.classes.as_ref()))
            }
            Task::Regression(regression) => Some(RowEncoder::regression(regression)),
            Task::Raw(_) => None,
        };
        let output_keys = schema.signature.outputs.iter().map(|output| key(&output.tensor.name)).collect();
        let as_they_are = match &schema.task {
            Task::Classification(classification) => classification.others.clone(),
            Task::MultiLabel(multi_label) => multi_label.others.clone(),
            Task::Regression(_) => Vec::new(),
            Task::Raw(_) => (0..schema.signature.outputs.len()).collect(),
        };
        Self { schema, head, rows, output_keys, as_they_are }
    }

    /// Writes the answer: an object for one row, a list of objects under `predictions` for rows, and under `outputs` the
    /// tensors that are neither label, probabilities nor value. `time` is when the prediction was made.
    ///
    /// # Errors
    /// `InvalidArgument` where an output has strings that are not UTF-8; `Internal` where the outputs do not fit each
    /// other or the form.
    pub fn encode(&self, response: &InferResponse, form: Form, time: jiff::Timestamp) -> Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(FRAME_BYTES + self.rows.as_ref().map_or(0, RowEncoder::usual_bytes));
        buffer.extend_from_slice(&self.head);
        TIME.print_timestamp(&time, StdIoWrite(&mut buffer)).map_err(Error::internal)?;
        buffer.push(b'"');
        if let Some(rows) = &self.rows {
            rows.encode(&mut buffer, &self.schema.signature, response, form)?;
        }
        if !self.as_they_are.is_empty() {
            self.encode_outputs(&mut buffer, response)?;
        }
        buffer.push(b'}');
        Ok(buffer)
    }

    fn encode_outputs(&self, buffer: &mut Vec<u8>, response: &InferResponse) -> Result<()> {
        if response.outputs.len() != self.output_keys.len() {
            return Err(Error::internal(format!(
                "expected {} outputs, but got {}",
                self.output_keys.len(),
                response.outputs.len()
            )));
        }
        buffer.extend_from_slice(b",\"outputs\":{");
        for (place, index) in self.as_they_are.iter().copied().enumerate() {
            if place > 0 {
                buffer.push(b',');
            }
            buffer.extend_from_slice(&self.output_keys[index]);
            let name = &self.schema.signature.outputs[index].tensor.name;
            write_tensor(buffer, &response.outputs[index])
                .map_err(|error| error.context(format_args!("output {name:?}")))?;
        }
        buffer.push(b'}');
        Ok(())
    }
}
