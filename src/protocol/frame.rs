//! Tables with named columns to a model's inputs: MLflow's data frames, and the examples of TensorFlow Serving.
//!
//! The columns of an input `[N, F]` are found by the features' names, or are taken in their order where they have none of
//! them. Every other input is a column of its own, found by the input's name.

use std::sync::Arc;

use crate::{
    error::{Error, Result},
    json::{
        element::with_element,
        fault::Fault,
        keys::{Keys, Unknown, listed, read_cell},
        reader::{Kind, Reader},
        sinks::{Matrix, Misfit, Sink},
        skip::{shortened, shortened_name},
        stack::Stacks,
    },
    model::{
        rows::{Features, Layout},
        schema::Schema,
        signature::TensorSpec,
    },
    request::InputTensors,
    tensor::data_type::DataType,
};

/// A table that is being read, row by row.
pub struct Frame<'s> {
    schema: &'s Schema,
    sink: Box<dyn Sink + 's>,
    /// The column of the sink that each column of the table fills; `None` where it is passed over.
    columns: Vec<Option<usize>>,
    /// The names of the table's columns, where it has any.
    names: Option<Vec<Arc<str>>>,
    /// Whether the columns are the sink's, in its order, so that a row can be read as a whole.
    is_in_order: bool,
    rows: usize,
}

/// Where the columns of a table go.
struct Binding {
    columns: Vec<Option<usize>>,
    is_in_order: bool,
    /// Whether each column is an input, and not a feature of the only one.
    by_input: bool,
}

impl<'s> Frame<'s> {
    /// Begins a table with these columns; without names they are taken in their order. `remaining` are the bytes that
    /// the rows are in.
    ///
    /// # Errors
    /// A fault of value where the names are not those of the model.
    pub fn new(schema: &'s Schema, names: Option<Vec<Arc<str>>>, remaining: usize) -> Result<Self, Fault> {
        let binding = match &names {
            Some(names) => bind(schema, names)?,
            None => in_order(schema)?,
        };
        let specs = &schema.signature.inputs;
        let sink: Box<dyn Sink + 's> = match (matrix_width(schema), &specs[..]) {
            (Some(width), [spec]) if !binding.by_input => {
                let width = width.or(names.as_ref().map(Vec::len));
                with_element!(spec.data_type, T => Box::new(Matrix::<T>::new(spec, width, remaining)))
            }
            _ => Box::new(Stacks::new(specs)),
        };
        let Binding { columns, is_in_order, .. } = binding;
        Ok(Self { schema, sink, columns, names, is_in_order, rows: 0 })
    }

    /// Reads a list of rows: of lists of values, or of objects whose first has the names of the columns.
    ///
    /// # Errors
    /// Those of the columns and the values, with the row.
    pub fn read_records(schema: &'s Schema, reader: &mut Reader<'_>, inputs: &mut InputTensors) -> Result<()> {
        if reader.first_element_kind()? != Some(Kind::Object) {
            let mut frame = Self::new(schema, None, reader.remaining())?;
            frame.read_rows(reader)?;
            return frame.finish(inputs);
        }
        let names = names_of_first(reader.at(reader.position()))?;
        let mut frame = Self::new(schema, Some(names), reader.remaining())?;
        frame.read_named_rows(reader)?;
        frame.finish(inputs)
    }

    /// Reads a list of rows, each a list of values.
    ///
    /// # Errors
    /// Those of the values, with the row, and where a row has not as many of them as there are columns.
    pub fn read_rows(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        self.read_list(reader, Self::read_row)
    }

    fn read_named_rows(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        // Columns that no input has the name of are passed over, also where only some rows have them.
        let unknown = if self.columns.contains(&None) { Unknown::Skipped } else { Unknown::Refused };
        let mut keys = Keys::new(self.names.clone().unwrap_or_default(), self.columns.clone(), unknown);
        self.read_list(reader, |frame, reader| {
            if reader.kind()? != Kind::Object {
                return Err(
                    frame.located(Misfit { column: None, fault: reader.mismatch("an object, as the first row is") })
                );
            }
            keys.read_row(reader, &mut *frame.sink).map_err(|misfit| frame.located(misfit))?;
            frame.rows += 1;
            Ok(())
        })
    }

    fn read_list(
        &mut self,
        reader: &mut Reader<'_>,
        mut read_row: impl FnMut(&mut Self, &mut Reader<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut more = reader.open_array()?;
        let start = reader.position();
        while more {
            read_row(self, reader)?;
            more = reader.more_elements()?;
            if more {
                reader.check_more_rows(self.rows)?;
            }
            if self.rows == 1 {
                self.sink.reserve_alike(reader.position() - start, reader.remaining());
            }
        }
        Ok(())
    }

    /// Reads a row that is a list of values.
    ///
    /// # Errors
    /// Those of [`Frame::read_rows`].
    pub fn read_row(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if reader.kind()? != Kind::Array {
            return Err(self.located(Misfit { column: None, fault: reader.mismatch("a row: a list of values") }));
        }
        let read = match self.is_in_order && self.sink.takes_scalars() {
            true => self.sink.read_positional(reader),
            false => self.read_values(reader),
        };
        read.map_err(|misfit| self.located(misfit))?;
        self.rows += 1;
        Ok(())
    }

    fn read_values(&mut self, reader: &mut Reader<'_>) -> Result<(), Misfit> {
        let whole = |fault| Misfit { column: None, fault };
        self.sink.begin_row();
        let mut more = reader.open_array().map_err(whole)?;
        let mut count = 0;
        while more {
            match self.columns.get(count) {
                Some(Some(column)) => read_cell(reader, *column, &mut *self.sink)
                    .map_err(|fault| Misfit { column: Some(*column), fault })?,
                Some(None) => reader.skip().map_err(whole)?,
                None => return Err(Misfit::wrong_length(self.columns.len(), reader.count_rest(count).map_err(whole)?)),
            }
            count += 1;
            more = reader.more_elements().map_err(whole)?;
        }
        match count == self.columns.len() {
            true => Ok(()),
            false => Err(Misfit::wrong_length(self.columns.len(), count)),
        }
    }

    /// Makes the inputs of the rows that have been read.
    ///
    /// # Errors
    /// `InvalidArgument` where there are none, or another number than the model takes.
    pub fn finish(mut self, inputs: &mut InputTensors) -> Result<()> {
        if self.rows == 0 {
            return Err(Error::invalid("expected at least one row, but got none"));
        }
        self.sink.finish(self.rows, inputs)
    }

    /// Returns how many rows have been read.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns how many columns the table has, where that is known.
    pub fn width(&self) -> Option<usize> {
        match self.is_in_order {
            true => self.sink.width(),
            false => Some(self.columns.len()),
        }
    }

    /// Returns the element type of a column of the table; `None` where it is passed over, or is one too many.
    pub fn data_type(&self, column: usize) -> Option<DataType> {
        let inputs = &self.schema.signature.inputs;
        match (self.is_in_order, self.columns.get(column)) {
            (true, _) => inputs.first().map(|input| input.data_type),
            (false, Some(Some(column))) => inputs.get(*column).or(inputs.first()).map(|input| input.data_type),
            (false, _) => None,
        }
    }

    /// Says where a misfit is: `row 3, column "petal_width": …`.
    #[cold]
    fn located(&self, misfit: Misfit) -> Fault {
        let Misfit { column, fault } = misfit;
        let column = column.map(|column| {
            let place = match self.is_in_order {
                true => Some(column),
                false => self.columns.iter().position(|filled| *filled == Some(column)),
            };
            match place.and_then(|place| self.names.as_ref()?.get(place)) {
                Some(name) => format!(", column {:?}", shortened_name(name)),
                None => format!(", column {column}"),
            }
        });
        fault.context(format_args!("row {}{}", self.rows, column.unwrap_or_default()))
    }
}

/// Reads the keys of the first object of a list.
fn names_of_first(mut reader: Reader<'_>) -> Result<Vec<Arc<str>>, Fault> {
    let mut names = Vec::new();
    let mut more = reader.open_array()? && reader.open_object()?;
    while more {
        names.push(reader.key()?.decode()?.into());
        reader.skip()?;
        more = reader.more_members()?;
    }
    Ok(names)
}

/// Returns the width of the only input, if it is `[N, F]`.
#[expect(clippy::option_option, reason = "no matrix, and one of unknown width, are different things")]
fn matrix_width(schema: &Schema) -> Option<Option<usize>> {
    match schema.rows.as_ref()?.layout {
        Layout::Matrix { width } => Some(width),
        Layout::Columns => None,
    }
}

/// Takes the columns in their order, as tables without names have them.
fn in_order(schema: &Schema) -> Result<Binding, Fault> {
    let inputs = &schema.signature.inputs;
    match matrix_width(schema) {
        Some(_) => Ok(Binding { columns: Vec::new(), is_in_order: true, by_input: false }),
        None if inputs.len() == 1 => Ok(Binding { columns: vec![Some(0)], is_in_order: false, by_input: true }),
        None => Err(Fault::value(format!(
            "expected columns with the names of the model's inputs, {}, but got columns without names",
            listed(&names(inputs))
        ))),
    }
}

fn bind(schema: &Schema, given: &[Arc<str>]) -> Result<Binding, Fault> {
    let mut sorted: Vec<_> = given.iter().collect();
    sorted.sort_unstable();
    if let Some([name, _]) = sorted.array_windows().find(|[one, next]| one == next) {
        return Err(Fault::value(format!("duplicate column {:?}", shortened(name))));
    }
    let inputs = &schema.signature.inputs;
    match (matrix_width(schema), &inputs[..]) {
        // The column is the input as a whole.
        (Some(width), [input]) if width != Some(1) && *given == [input.name.clone()] => {
            Ok(Binding { columns: vec![Some(0)], is_in_order: false, by_input: true })
        }
        (Some(width), _) => {
            let features = schema.rows.as_ref().and_then(|rows| rows.features.as_ref());
            bind_features(features, width, given)
        }
        (None, [_]) if given.len() == 1 => Ok(Binding { columns: vec![Some(0)], is_in_order: false, by_input: true }),
        (None, inputs) => bind_inputs(inputs, given),
    }
}

fn bind_features(features: Option<&Features>, width: Option<usize>, given: &[Arc<str>]) -> Result<Binding, Fault> {
    let column = |name: &Arc<str>| features.and_then(|features| features.column(name));
    let columns: Vec<_> = given.iter().map(column).collect();
    let known = columns.iter().flatten().count();
    if let Some(width) = width.filter(|width| *width != given.len()) {
        let plural = if width == 1 { "" } else { "s" };
        return Err(Fault::value(format!(
            "Expected {width} column{plural}, but got {}: {}",
            given.len(),
            listed(given)
        )));
    }
    if known == 0 {
        return Ok(Binding { columns: (0..given.len()).map(Some).collect(), is_in_order: true, by_input: false });
    }
    let (unknown, names) = (columns.iter().position(Option::is_none), features.map_or(&[][..], Features::names));
    match unknown {
        None => {
            let is_in_order = columns.iter().enumerate().all(|(place, column)| *column == Some(place));
            Ok(Binding { columns, is_in_order, by_input: false })
        }
        Some(place) => Err(Fault::value(format!(
            "unknown column {:?} beside {known} known: expected {}",
            shortened(&given[place]),
            listed(names)
        ))),
    }
}

fn bind_inputs(inputs: &[TensorSpec], given: &[Arc<str>]) -> Result<Binding, Fault> {
    let columns: Vec<_> = given.iter().map(|name| inputs.iter().position(|input| input.name == *name)).collect();
    match (0..inputs.len()).find(|input| !columns.contains(&Some(*input))) {
        None => Ok(Binding { columns, is_in_order: false, by_input: true }),
        Some(missing) => Err(Fault::value(format!(
            "column {:?} is missing: expected {}, but got {}",
            inputs[missing].name,
            listed(&names(inputs)),
            listed(given)
        ))),
    }
}

fn names(inputs: &[TensorSpec]) -> Vec<Arc<str>> {
    inputs.iter().map(|input| input.name.clone()).collect()
}
