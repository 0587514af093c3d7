//! Where the values of rows go: one matrix of a type, or a column for each input.

use std::mem;

use smallvec::SmallVec;

use crate::{
    error::Result,
    json::{
        element::{ReadElement, expected},
        fault::Fault,
        nested::{MIN_ELEMENT_BYTES, alike, read_list},
        reader::Reader,
        values::Values,
    },
    model::signature::TensorSpec,
    request::{InputTensor, InputTensors},
    tensor::shape::Shape,
};

/// A fault in a row, and the column where it is.
#[derive(Debug)]
pub struct Misfit {
    /// The column, unless the row as a whole is wrong.
    pub column: Option<usize>,
    pub fault: Fault,
}

impl Misfit {
    /// Makes the fault of a whole row.
    #[cold]
    pub fn whole(message: String) -> Self {
        Self { column: None, fault: Fault::value(message) }
    }

    /// Makes the fault of a row of so many values too few or too many.
    #[cold]
    pub fn wrong_length(expected: usize, got: usize) -> Self {
        let plural = if expected == 1 { "" } else { "s" };
        Self::whole(format!("Expected {expected} feature{plural}, but got {got}"))
    }
}

/// Takes the values of rows, one row after the other.
pub trait Sink {
    /// Returns the number of features in a row, where it is known by now.
    fn width(&self) -> Option<usize>;

    /// Says what is expected of a column's values.
    fn expected(&self, column: usize) -> String;

    /// Tells whether rows may be lists.
    fn takes_positional(&self) -> bool;

    /// Tells whether the value of a column is always a single element.
    fn takes_scalars(&self) -> bool {
        true
    }

    /// Reads a row that is a list.
    ///
    /// # Errors
    /// Those of its values, and where there are not as many of them as columns.
    fn read_positional(&mut self, reader: &mut Reader<'_>) -> Result<(), Misfit>;

    /// Makes place for a row whose columns then come one by one, each once.
    fn begin_row(&mut self);

    /// Reads the value of a column in the row that was begun last.
    ///
    /// # Errors
    /// Those of [`ReadElement::read`].
    fn read_at(&mut self, column: usize, reader: &mut Reader<'_>) -> Result<(), Fault>;

    /// Makes room for the rows in `remaining` bytes, if they are like the first, which took `read_bytes`.
    fn reserve_alike(&mut self, read_bytes: usize, remaining: usize);

    /// Makes the inputs of `rows` rows, and is empty then. They are large: put in their place, not returned.
    ///
    /// # Errors
    /// Those of [`ReadElement::into_tensor`].
    fn finish(&mut self, rows: usize, inputs: &mut InputTensors) -> Result<()>;
}

#[derive(Debug)]
pub struct Matrix<'s, T> {
    spec: &'s TensorSpec,
    width: Option<usize>,
    values: Vec<T>,
}

impl<'s, T: ReadElement> Matrix<'s, T> {
    /// Makes room for one row, as far as so many can be in the body's `remaining` bytes.
    pub fn new(spec: &'s TensorSpec, width: Option<usize>, remaining: usize) -> Self {
        let capacity = width.unwrap_or(0).min(remaining / MIN_ELEMENT_BYTES);
        Self { spec, width, values: Vec::with_capacity(capacity) }
    }
}

impl<T: ReadElement> Sink for Matrix<'_, T> {
    fn width(&self) -> Option<usize> {
        self.width
    }

    fn expected(&self, _: usize) -> String {
        expected(T::DATA_TYPE)
    }

    fn takes_positional(&self) -> bool {
        true
    }

    #[inline]
    fn read_positional(&mut self, reader: &mut Reader<'_>) -> Result<(), Misfit> {
        let start = self.values.len();
        let got = read_list(reader, self.width, &mut self.values)
            .map_err(|fault| Misfit { column: Some(self.values.len() - start), fault })?;
        match self.width {
            Some(width) if width == got => Ok(()),
            Some(width) => Err(Misfit::wrong_length(width, got)),
            None if got == 0 => Err(Misfit::whole("expected at least one feature, but got none".to_owned())),
            None => {
                self.width = Some(got);
                Ok(())
            }
        }
    }

    fn begin_row(&mut self) {
        // A row by name has as many columns as there are names, of which the body must give each: no more than fit in it.
        let length = self.values.len() + self.width.unwrap_or(0);
        self.values.resize(length, T::default());
    }

    #[inline]
    fn read_at(&mut self, column: usize, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let value = T::read(reader)?;
        let start = self.values.len() - self.width.unwrap_or(0);
        self.values[start + column] = value;
        Ok(())
    }

    fn reserve_alike(&mut self, read_bytes: usize, remaining: usize) {
        self.values.reserve(alike(self.values.len(), read_bytes, remaining));
    }

    fn finish(&mut self, rows: usize, inputs: &mut InputTensors) -> Result<()> {
        let shape = Shape::new(&[rows, self.width.unwrap_or(0)]);
        let tensor = T::into_tensor(shape, mem::take(&mut self.values))?;
        inputs.push(InputTensor { name: self.spec.name.clone(), tensor });
        Ok(())
    }
}

/// One input `[N, 1]` or `[N]` per feature.
#[derive(Debug)]
pub struct Columns<'s> {
    specs: &'s [TensorSpec],
    columns: SmallVec<[Values; 4]>,
}

impl<'s> Columns<'s> {
    /// Makes a column for each input.
    pub fn new(specs: &'s [TensorSpec]) -> Self {
        Self { specs, columns: specs.iter().map(|spec| Values::new(spec.data_type, 1)).collect() }
    }
}

impl Sink for Columns<'_> {
    fn width(&self) -> Option<usize> {
        Some(self.columns.len())
    }

    fn expected(&self, column: usize) -> String {
        expected(self.specs[column].data_type)
    }

    fn takes_positional(&self) -> bool {
        // Inputs are bound by name, never by position.
        self.columns.len() == 1
    }

    fn read_positional(&mut self, reader: &mut Reader<'_>) -> Result<(), Misfit> {
        let fail = |fault| Misfit { column: None, fault };
        if !reader.open_array().map_err(fail)? {
            return Err(Misfit::wrong_length(1, 0));
        }
        self.columns[0].read(reader).map_err(|fault| Misfit { column: Some(0), fault })?;
        match reader.more_elements().map_err(fail)? {
            false => Ok(()),
            true => Err(Misfit::wrong_length(1, reader.count_rest(1).map_err(fail)?)),
        }
    }

    fn begin_row(&mut self) {}

    #[inline]
    fn read_at(&mut self, column: usize, reader: &mut Reader<'_>) -> Result<(), Fault> {
        self.columns[column].read(reader)
    }

    fn reserve_alike(&mut self, read_bytes: usize, remaining: usize) {
        for column in &mut self.columns {
            column.reserve(alike(1, read_bytes, remaining));
        }
    }

    fn finish(&mut self, rows: usize, inputs: &mut InputTensors) -> Result<()> {
        for (spec, values) in self.specs.iter().zip(mem::take(&mut self.columns)) {
            let shape = if spec.rank() == Some(1) { Shape::new(&[rows]) } else { Shape::new(&[rows, 1]) };
            inputs.push(InputTensor { name: spec.name.clone(), tensor: values.into_tensor(shape)? });
        }
        Ok(())
    }
}
