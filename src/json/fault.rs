//! What is wrong with a body: its JSON, or a value in it.

use std::fmt;

use crate::error::Error;

/// The reason a body was refused. One word in size, so that reading a number stays in registers.
#[derive(Debug)]
pub struct Fault(Box<Kind>);

#[derive(Debug)]
enum Kind {
    Empty,
    Syntax { reason: String, offset: usize },
    Value { message: String, is_ragged: bool },
    TooManyRows { max_rows: usize, rows: usize },
}

impl Fault {
    /// Makes the fault of a body without anything in it.
    #[cold]
    pub fn empty() -> Self {
        Self(Box::new(Kind::Empty))
    }

    /// Makes the fault of text that is not JSON; `offset` counts bytes from 0.
    #[cold]
    pub fn syntax(reason: impl Into<String>, offset: usize) -> Self {
        Self(Box::new(Kind::Syntax { reason: reason.into(), offset }))
    }

    /// Makes the fault of JSON that says the wrong thing: what was expected, what came.
    #[cold]
    pub fn value(message: impl Into<String>) -> Self {
        Self(Box::new(Kind::Value { message: message.into(), is_ragged: false }))
    }

    /// Makes the fault of value of a list that is not as long as the lists beside it, or as is declared.
    #[cold]
    pub fn ragged(message: impl Into<String>) -> Self {
        Self(Box::new(Kind::Value { message: message.into(), is_ragged: true }))
    }

    /// Makes the fault of more rows than the reader's limit.
    #[cold]
    pub fn too_many_rows(max_rows: usize, rows: usize) -> Self {
        Self(Box::new(Kind::TooManyRows { max_rows, rows }))
    }

    /// Tells whether a list was of the wrong length.
    pub fn is_ragged(&self) -> bool {
        matches!(&*self.0, Kind::Value { is_ragged: true, .. })
    }

    /// Puts where it happened before the message, as in `row 3: …`. Faults of syntax have their offset instead.
    #[cold]
    #[must_use]
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        if let Kind::Value { message, .. } = &mut *self.0 {
            *message = format!("{place}: {message}");
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Empty => f.write_str("Request must be JSON: the body is empty"),
            Kind::Syntax { reason, offset } => {
                write!(f, "Request must be JSON: {reason} at byte {offset}")
            }
            Kind::Value { message, .. } => f.write_str(message),
            Kind::TooManyRows { max_rows, rows } => write!(f, "{}", Error::too_many_rows(*max_rows, *rows).message()),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match *fault.0 {
            Kind::TooManyRows { max_rows, rows } => Self::too_many_rows(max_rows, rows),
            _ => Self::invalid(fault.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_of_value_take_a_place() {
        let value = Fault::value("expected a string, but got 3").context("row 2");
        assert_eq!(Error::from(value).message(), "row 2: expected a string, but got 3");
        let syntax = Fault::syntax("unexpected end", 17).context("row 2");
        assert_eq!(Error::from(syntax).message(), "Request must be JSON: unexpected end at byte 17");
        assert_eq!(Fault::empty().to_string(), "Request must be JSON: the body is empty");
    }
}
