//! Rows that are objects: their keys to columns, in any order, each once.

use std::{collections::HashMap, sync::Arc};

use crate::json::{
    fault::Fault,
    reader::Reader,
    sinks::{Misfit, Sink},
    skip::{shortened, shortened_name},
    string::RawString,
};

/// The most names that a message lists.
const MAX_LISTED_NAMES: usize = 16;

/// The keys that rows have, and where the value of each goes.
pub struct Keys {
    names: Vec<Arc<str>>,
    /// The column of the sink that each key fills; `None` where its value is passed over.
    columns: Vec<Option<usize>>,
    /// What is done with a key that has no name here.
    unknown: Unknown,
    /// The key that stood in each place of the row before: the next row most likely has the same order.
    order: Vec<usize>,
    /// The number, from 1, of the last row that has each key.
    seen_in_row: Vec<usize>,
    rows: usize,
    /// Made when a key is not where it was in the row before.
    by_name: Option<HashMap<Arc<str>, usize>>,
}

/// What is done with keys that no name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    Refused,
    Skipped,
}

impl Keys {
    /// Takes names, which must differ, with the column that each fills.
    pub fn new(names: Vec<Arc<str>>, columns: Vec<Option<usize>>, unknown: Unknown) -> Self {
        let count = names.len();
        let (order, seen_in_row) = ((0..count).collect(), vec![0; count]);
        Self { names, columns, unknown, order, seen_in_row, rows: 0, by_name: None }
    }

    /// Takes names, which must differ, each of which fills the column of its place.
    pub fn of_columns(names: Vec<Arc<str>>) -> Self {
        let columns = (0..names.len()).map(Some).collect();
        Self::new(names, columns, Unknown::Refused)
    }

    /// Returns the name of a column.
    pub fn name_of(&self, column: usize) -> Option<&str> {
        let key = self.columns.iter().position(|filled| *filled == Some(column))?;
        self.names.get(key).map(|name| &**name)
    }

    /// Reads one row, which must be an object that fills every column.
    ///
    /// # Errors
    /// Those of the values; and where a key is unknown, there twice, or missing.
    pub fn read_row(&mut self, reader: &mut Reader<'_>, sink: &mut dyn Sink) -> Result<(), Misfit> {
        let whole = |fault| Misfit { column: None, fault };
        self.rows += 1;
        sink.begin_row();
        let mut place = 0;
        let mut more = reader.open_object().map_err(whole)?;
        while more {
            let key = reader.key().map_err(whole)?;
            match self.find(&key, place)? {
                Some(found) => self.read_value(found, reader, sink)?,
                None => reader.skip().map_err(whole)?,
            }
            place += 1;
            more = reader.more_members().map_err(whole)?;
        }
        let is_missing = |key: &usize| self.seen_in_row[*key] != self.rows && self.columns[*key].is_some();
        match (0..self.names.len()).find(is_missing) {
            None => Ok(()),
            Some(key) => Err(Misfit::whole(format!("key {:?} is missing", shortened_name(&self.names[key])))),
        }
    }

    fn read_value(&mut self, key: usize, reader: &mut Reader<'_>, sink: &mut dyn Sink) -> Result<(), Misfit> {
        if self.seen_in_row[key] == self.rows {
            return Err(Misfit::whole(format!("duplicate key {:?}", shortened_name(&self.names[key]))));
        }
        self.seen_in_row[key] = self.rows;
        match self.columns[key] {
            Some(column) => read_cell(reader, column, sink).map_err(|fault| Misfit { column: Some(column), fault }),
            None => reader.skip().map_err(|fault| Misfit { column: None, fault }),
        }
    }

    fn find(&mut self, key: &RawString<'_>, place: usize) -> Result<Option<usize>, Misfit> {
        match self.order.get(place) {
            Some(expected) if key.is(&self.names[*expected]) => Ok(Some(*expected)),
            _ => self.look_up(key, place),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, key: &RawString<'_>, place: usize) -> Result<Option<usize>, Misfit> {
        let name = key.decode().map_err(|fault| Misfit { column: None, fault })?;
        let names = &self.names;
        let by_name = self.by_name.get_or_insert_with(|| names.iter().cloned().zip(0..).collect());
        match by_name.get(&*name) {
            Some(found) => {
                if let Some(order) = self.order.get_mut(place) {
                    *order = *found;
                }
                Ok(Some(*found))
            }
            None if self.unknown == Unknown::Skipped => Ok(None),
            None => Err(Misfit::whole(format!("unknown key {:?}: expected {}", shortened(&name), listed(&self.names)))),
        }
    }
}

/// Reads the value of a column in the row that was begun last; brackets around a single value mean nothing.
///
/// # Errors
/// Those of [`Sink::read_at`].
pub fn read_cell(reader: &mut Reader<'_>, column: usize, sink: &mut dyn Sink) -> Result<(), Fault> {
    if !sink.takes_scalars() || reader.peek() != b'[' {
        return sink.read_at(column, reader);
    }
    if !reader.open_array()? {
        return Err(Fault::ragged("expected one value, but got an empty list"));
    }
    sink.read_at(column, reader)?;
    match reader.more_elements()? {
        false => Ok(()),
        true => Err(Fault::ragged(format!("expected one value, but got {}", reader.count_rest(1)?))),
    }
}

/// Lists names for a message, the first of many.
pub fn listed(names: &[Arc<str>]) -> String {
    let mut list: Vec<_> =
        names.iter().take(MAX_LISTED_NAMES).map(|name| format!("{:?}", shortened_name(name))).collect();
    if names.len() > MAX_LISTED_NAMES {
        list.push(format!("… ({} in all)", names.len()));
    }
    list.join(", ")
}
