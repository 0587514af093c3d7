//! Rows of features to tensors: positional or by name, into one matrix or into a column each.

use crate::{
    error::{Error, Result},
    json::{
        element::with_element,
        fault::Fault,
        reader::{Kind, Reader},
        sinks::{Columns, Matrix, Misfit, Sink},
        string::RawString,
    },
    model::{
        rows::{Features, Layout, Rows},
        schema::Schema,
    },
    protocol::native::{
        decode_messages,
        envelope::{Form, close_envelope, is_envelope},
    },
    request::InputTensors,
};

/// What the body's first key says that follows.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    /// `"features":` one row or rows.
    Features,
    /// `"instances":` rows.
    Instances,
    /// One row by name, of which the first key has been read.
    Flat(RawString<'a>),
}

/// Reads the rows of a body to its end and adds the inputs that they make.
pub(super) fn read_rows<'a>(
    schema: &Schema,
    rows: &Rows,
    reader: &mut Reader<'a>,
    body: Body<'a>,
    inputs: &mut InputTensors,
) -> Result<Form> {
    match (rows.layout, &schema.signature.inputs[..]) {
        (Layout::Matrix { width }, [spec, ..]) => with_element!(spec.data_type, T => {
            let matrix = Matrix::<T>::new(spec, width, reader.remaining());
            Table::new(schema, rows, matrix).read(reader, body, inputs)
        }),
        (_, specs) => Table::new(schema, rows, Columns::new(specs)).read(reader, body, inputs),
    }
}

/// Rows in the making.
struct Table<'s, S> {
    schema: &'s Schema,
    fixed_rows: Option<usize>,
    features: Option<&'s Features>,
    sink: S,
    /// Complete rows.
    rows: usize,
    /// Whether the body is a list of rows, so that messages name the row.
    many: bool,
    /// One for each feature, once there are rows by name.
    places: Vec<Place>,
}

/// Two things that there are as many of as features.
struct Place {
    /// The column of the key that stood in this place of the row before: the next row most likely has the same order.
    column: usize,
    /// The number, from 1, of the last row that has the feature of this column.
    seen_in_row: usize,
}

impl<'s, S: Sink> Table<'s, S> {
    fn new(schema: &'s Schema, rows: &'s Rows, sink: S) -> Self {
        Self {
            schema,
            fixed_rows: rows.fixed_rows,
            features: rows.features.as_ref(),
            sink,
            rows: 0,
            many: false,
            places: Vec::new(),
        }
    }

    fn read<'a>(mut self, reader: &mut Reader<'a>, body: Body<'a>, inputs: &mut InputTensors) -> Result<Form> {
        let form = match body {
            Body::Features => {
                let form = self.read_features(reader)?;
                close_envelope(reader, "features")?;
                form
            }
            Body::Instances => {
                self.read_list_of_rows(reader, "instances")?;
                close_envelope(reader, "instances")?;
                Form::Many
            }
            Body::Flat(key) => {
                self.read_by_name(reader, Some(key))?;
                Form::One
            }
        };
        match self.fixed_rows {
            Some(expected) if expected != self.rows => {
                let plural = if expected == 1 { "" } else { "s" };
                Err(Error::invalid(format!("expected {expected} row{plural}, but got {}", self.rows)))
            }
            _ => self.sink.finish(self.rows, inputs).map(|()| form),
        }
    }

    fn read_features(&mut self, reader: &mut Reader<'_>) -> Result<Form, Fault> {
        match reader.kind()? {
            Kind::Object => self.read_by_name(reader, None).map(|()| Form::One),
            Kind::Array => match reader.first_element_kind()? {
                Some(Kind::Array | Kind::Object) => self.read_list_of_rows(reader, "features").map(|()| Form::Many),
                Some(Kind::Scalar | Kind::String) | None => self.read_positional(reader).map(|()| Form::One),
            },
            Kind::Scalar | Kind::String => Err(reader.mismatch("a list or an object").context("\"features\"")),
        }
    }

    fn read_list_of_rows(&mut self, reader: &mut Reader<'_>, name: &str) -> Result<(), Fault> {
        if reader.kind()? != Kind::Array {
            return Err(reader.mismatch("a list of rows").context(format_args!("{name:?}")));
        }
        if !reader.open_array()? {
            return Err(Fault::value(format!("{name:?}: expected at least one row, but got none")));
        }
        self.many = true;
        let start = reader.position();
        loop {
            match reader.kind()? {
                Kind::Array => self.read_positional(reader)?,
                Kind::Object => self.read_by_name(reader, None)?,
                Kind::Scalar | Kind::String if self.sink.width() == Some(1) => {
                    self.read_scalar(reader)?;
                }
                Kind::Scalar | Kind::String => return Err(self.not_a_row(reader)),
            }
            if !reader.more_elements()? {
                return Ok(());
            }
            reader.check_more_rows(self.rows)?;
            if self.rows == 1 {
                self.sink.reserve_alike(reader.position() - start, reader.remaining());
            }
        }
    }

    fn read_positional(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if !self.sink.takes_positional() {
            let example = decode_messages::example(self.schema);
            let message = format!("expected the features by name, such as {example}, but got a list");
            return Err(self.located(Misfit { column: None, fault: Fault::value(message) }));
        }
        self.sink.read_positional(reader).map_err(|misfit| self.located(misfit))?;
        self.rows += 1;
        Ok(())
    }

    fn read_scalar(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        self.sink.begin_row();
        self.sink.read_at(0, reader).map_err(|fault| self.located(Misfit { column: Some(0), fault }))?;
        self.rows += 1;
        Ok(())
    }

    /// Reads an object, or what follows its first key.
    fn read_by_name<'a>(&mut self, reader: &mut Reader<'a>, first: Option<RawString<'a>>) -> Result<(), Fault> {
        let Some(features) = self.features else {
            return Err(self.without_names());
        };
        let names = features.names();
        if self.places.is_empty() {
            self.places = (0..names.len()).map(|column| Place { column, seen_in_row: 0 }).collect();
        }
        self.sink.begin_row();
        let row = self.rows + 1;
        let mut count = 0;
        let is_flat = first.is_some();
        let mut more = is_flat || reader.open_object()?;
        let mut key = first;
        while more {
            let key = match key.take() {
                Some(key) => key,
                None => reader.key()?,
            };
            let column = match self.places.get(count) {
                Some(place) if key.is(&names[place.column]) => place.column,
                _ => self.find_column(features, &key, count, is_flat.then_some(&mut *reader))?,
            };
            if self.places[column].seen_in_row == row {
                return Err(self.located(Misfit::whole(format!("duplicate key {:?}", names[column]))));
            }
            self.places[column].seen_in_row = row;
            let read = self.sink.read_at(column, reader);
            read.map_err(|fault| self.located(Misfit { column: Some(column), fault }))?;
            count += 1;
            more = reader.more_members()?;
        }
        if let Some(column) = self.places.iter().position(|place| place.seen_in_row != row) {
            let message = format!("expected {}, but it is missing", self.sink.expected(column));
            return Err(self.located(Misfit { column: Some(column), fault: Fault::value(message) }));
        }
        self.rows += 1;
        Ok(())
    }

    /// Finds the column of a key that is not where it was in the row before, and remembers it for the next.
    ///
    /// `flat` stands behind the key, if the row is the body itself.
    #[inline(never)]
    fn find_column(
        &mut self,
        features: &Features,
        key: &RawString<'_>,
        count: usize,
        flat: Option<&mut Reader<'_>>,
    ) -> Result<usize, Fault> {
        let name = key.decode()?;
        let Some(column) = features.column(&name) else {
            let mut message = decode_messages::unknown_feature(features.names(), &name);
            if flat.is_some_and(is_meant_as_envelope) {
                message.push_str("; rows stand under \"features\" or \"instances\", tensors under \"inputs\", alone");
            }
            return Err(self.located(Misfit::whole(message)));
        };
        if let Some(place) = self.places.get_mut(count) {
            place.column = column;
        }
        Ok(column)
    }

    /// Says where a misfit is: `row 3, feature "petal_width": …`.
    #[cold]
    fn located(&self, misfit: Misfit) -> Fault {
        let feature =
            misfit.column.map(|column| match self.features.and_then(|features| features.names().get(column)) {
                Some(name) => format!("feature {name:?}"),
                None => format!("feature {column}"),
            });
        match (self.many.then_some(self.rows), feature) {
            (Some(row), Some(feature)) => misfit.fault.context(format_args!("row {row}, {feature}")),
            (Some(row), None) => misfit.fault.context(format_args!("row {row}")),
            (None, Some(feature)) => misfit.fault.context(feature),
            (None, None) => misfit.fault,
        }
    }

    #[cold]
    fn not_a_row(&self, reader: &mut Reader<'_>) -> Fault {
        let expected = match (self.sink.takes_positional(), self.features) {
            (true, Some(_)) => "a row: a list or an object",
            (true, None) => "a row: a list",
            (false, _) => "a row: an object",
        };
        self.located(Misfit { column: None, fault: reader.mismatch(expected) })
    }

    #[cold]
    fn without_names(&self) -> Fault {
        let message = match self.sink.width() {
            Some(width) => {
                format!("expected a list of {width} values, as the features have no names, but got an object")
            }
            None => "expected a list of values, as the features have no names, but got an object".to_owned(),
        };
        self.located(Misfit::whole(message))
    }
}

/// Tells whether a body that was taken for one row is none: no feature is a list or an object, and none stands beside
/// an envelope. `reader` stands behind the key that is unknown.
#[cold]
fn is_meant_as_envelope(reader: &mut Reader<'_>) -> bool {
    if reader.kind().is_ok_and(|kind| matches!(kind, Kind::Array | Kind::Object)) {
        return true;
    }
    let mut next_key = || -> Result<Option<RawString<'_>>, Fault> {
        reader.skip()?;
        reader.more_members()?.then(|| reader.key()).transpose()
    };
    while let Ok(Some(key)) = next_key() {
        if is_envelope(&key) {
            return true;
        }
    }
    false
}
