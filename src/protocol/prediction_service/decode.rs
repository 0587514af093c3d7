//! Rows of a message to tensors: one matrix, or a column each.

use std::collections::HashMap;

use crate::{
    error::{Error, Result},
    json::element::{ReadElement, with_element},
    model::{
        rows::{Features, Layout, Rows},
        schema::Schema,
        signature::TensorSpec,
        task::Task,
    },
    protocol::{
        native::decode_messages::unknown_feature,
        prediction_service::element::{Cell, FromCell},
        proto::onnxd_v1::{PredictRequest, Row, Value},
    },
    request::{InferRequest, InputTensor},
    tensor::{shape::Shape, tensor::Tensor},
};

/// Makes tensors of the rows.
///
/// # Errors
/// `InvalidArgument` naming the row and the feature, what was expected and what came.
pub fn decode(schema: &Schema, message: &PredictRequest) -> Result<InferRequest> {
    let rows = match (&schema.rows, &schema.task) {
        (Some(_), Task::Raw(reason)) => {
            return Err(not_for_this(&format!("the model is neither a classifier nor a regression: {reason}")));
        }
        (Some(rows), _) => rows,
        (None, _) => return Err(not_for_this("the model's inputs are not rows of features")),
    };
    let table = Table::new(schema, rows, message)?;
    let specs = &schema.signature.inputs;
    let mut request = InferRequest::default();
    match (rows.layout, &specs[..]) {
        (Layout::Matrix { .. }, [spec, ..]) => {
            let tensor = with_element!(spec.data_type, T => table.matrix::<T>()?);
            request.inputs.push(InputTensor { name: spec.name.clone(), tensor });
        }
        _ => {
            for (column, spec) in specs.iter().enumerate() {
                let tensor = with_element!(spec.data_type, T => table.column::<T>(column, spec)?);
                request.inputs.push(InputTensor { name: spec.name.clone(), tensor });
            }
        }
    }
    Ok(request)
}

/// The rows of a message, each known to have as many values as there are features.
struct Table<'a> {
    features: Option<&'a Features>,
    rows: Vec<RowCells<'a>>,
    width: usize,
    /// Whether the message has rows, so that messages name the row.
    many: bool,
}

/// The values of one row.
enum RowCells<'a> {
    Numbers(&'a [f64]),
    Values(&'a [Value]),
    Named(Vec<&'a Value>),
}

impl<'a> Table<'a> {
    fn new(schema: &'a Schema, rows: &'a Rows, message: &'a PredictRequest) -> Result<Self> {
        let alone = [&message.features.is_empty(), &message.named.is_empty(), &message.values.is_empty()];
        let features = rows.features.as_ref();
        let one = || RowCells::new(features, &message.features, &message.named, &message.values);
        let many = |row: &'a Row| RowCells::new(features, &row.features, &row.named, &row.values);
        let cells = match (alone.iter().all(|empty| **empty), &message.rows[..]) {
            (true, []) => return Err(Error::invalid("expected features, named, values or rows, but got none")),
            (false, []) => vec![one()?],
            (true, rows) => {
                let located =
                    |(index, row): (usize, _)| many(row).map_err(|error| error.context(format_args!("row {index}")));
                rows.iter().enumerate().map(located).collect::<Result<_>>()?
            }
            (false, _) => return Err(Error::invalid("expected one row or rows, but got both")),
        };
        let is_many = !message.rows.is_empty();
        if let Some(expected) = rows.fixed_rows.filter(|expected| *expected != cells.len()) {
            let plural = if expected == 1 { "" } else { "s" };
            return Err(Error::invalid(format!("expected {expected} row{plural}, but got {}", cells.len())));
        }
        let width = rows.width(&schema.signature).unwrap_or_else(|| cells.first().map_or(0, RowCells::len));
        let table = Self { features, rows: cells, width, many: is_many };
        table.check(rows.layout)?;
        Ok(table)
    }

    /// Checks the length of each row, and that columns of several inputs come by name.
    fn check(&self, layout: Layout) -> Result<()> {
        for (index, row) in self.rows.iter().enumerate() {
            if layout == Layout::Columns && self.width > 1 && !matches!(row, RowCells::Named(_)) {
                let names = self.features.map_or_else(String::new, quoted_names);
                return Err(self.located(index, None, &format!("expected the features by name: {names}")));
            }
            if row.len() != self.width {
                let plural = if self.width == 1 { "" } else { "s" };
                let message = format!("expected {} feature{plural}, but got {}", self.width, row.len());
                return Err(self.located(index, None, &message));
            }
        }
        Ok(())
    }

    fn matrix<T: FromCell>(&self) -> Result<Tensor> {
        let mut values = Vec::with_capacity(self.rows.len() * self.width);
        for row in 0..self.rows.len() {
            for column in 0..self.width {
                values.push(self.element::<T>(row, column)?);
            }
        }
        T::into_tensor(Shape::new(&[self.rows.len(), self.width]), values)
    }

    fn column<T: FromCell + ReadElement>(&self, column: usize, spec: &TensorSpec) -> Result<Tensor> {
        let count = self.rows.len();
        let values = (0..count).map(|row| self.element::<T>(row, column)).collect::<Result<_>>()?;
        let shape = if spec.rank() == Some(1) { Shape::new(&[count]) } else { Shape::new(&[count, 1]) };
        T::into_tensor(shape, values)
    }

    fn element<T: FromCell>(&self, row: usize, column: usize) -> Result<T> {
        let cell = self.rows[row].cell(column);
        T::from_cell(cell).map_err(|error| self.located(row, Some(column), error.message()))
    }

    /// Says where a misfit is: `row 3, feature "petal_width": …`.
    fn located(&self, row: usize, column: Option<usize>, message: &str) -> Error {
        let name = |column: usize| self.features.and_then(|features| features.names().get(column));
        let feature = column.map(|column| match name(column) {
            Some(name) => format!("feature {name:?}"),
            None => format!("feature {column}"),
        });
        let place: Vec<_> = self.many.then(|| format!("row {row}")).into_iter().chain(feature).collect();
        match place.is_empty() {
            true => Error::invalid(message),
            false => Error::invalid(message).context(place.join(", ")),
        }
    }
}

impl<'a> RowCells<'a> {
    /// Takes the one field that is not empty.
    fn new(
        features: Option<&Features>,
        numbers: &'a [f64],
        named: &'a HashMap<String, Value>,
        values: &'a [Value],
    ) -> Result<Self> {
        match (numbers, named.is_empty(), values) {
            (numbers, true, []) => Ok(Self::Numbers(numbers)),
            ([], true, values) => Ok(Self::Values(values)),
            ([], false, []) => Self::by_name(features, named),
            _ => Err(Error::invalid("expected one of features, named and values, but got several")),
        }
    }

    fn by_name(features: Option<&Features>, named: &'a HashMap<String, Value>) -> Result<Self> {
        let Some(features) = features else {
            return Err(Error::invalid("expected features or values, as the features have no names, but got named"));
        };
        if let Some(unknown) = named.keys().find(|name| features.column(name).is_none()) {
            return Err(Error::invalid(unknown_feature(features.names(), unknown)));
        }
        let missing = |name: &str| Error::invalid(format!("feature {name:?} is missing"));
        let find = |name| named.get(name).ok_or_else(|| missing(name));
        Ok(Self::Named(features.names().iter().map(|name| find(&**name)).collect::<Result<_>>()?))
    }

    fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Values(values) => values.len(),
            Self::Named(values) => values.len(),
        }
    }

    fn cell(&self, column: usize) -> Cell<'a> {
        match self {
            Self::Numbers(numbers) => Cell::Number(numbers[column]),
            Self::Values(values) => Cell::Value(&values[column]),
            Self::Named(values) => Cell::Value(values[column]),
        }
    }
}

fn quoted_names(features: &Features) -> String {
    let names: Vec<_> = features.names().iter().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

fn not_for_this(reason: &str) -> Error {
    Error::invalid(format!("{reason}: ask inference.GRPCInferenceService, which takes tensors by name"))
}
