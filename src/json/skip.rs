//! Values that are not kept: read past, counted, or shown in a message.

use crate::json::{
    fault::Fault,
    reader::{Kind, Reader},
};

/// The deepest nesting of anything that is read without being declared so deep.
pub const MAX_DEPTH: usize = 32;

/// The most characters of a value that a message shows.
const MAX_SHOWN_CHARS: usize = 40;

/// The most characters of a name that a message shows.
const MAX_SHOWN_CHARS_OF_NAME: usize = 64;

impl Reader<'_> {
    /// Reads past one value, checking its syntax.
    ///
    /// # Errors
    /// A fault of syntax, or of value where it is nested deeper than [`MAX_DEPTH`].
    pub fn skip(&mut self) -> Result<(), Fault> {
        self.skip_at(0)
    }

    /// Reads a number, `null`, `true`, `false`, `NaN` or `Infinity`, and returns it as it was written.
    ///
    /// # Errors
    /// A fault of syntax where none stands next.
    pub fn scalar_text(&mut self) -> Result<String, Fault> {
        self.peek();
        let start = self.position;
        self.skip_scalar()?;
        Ok(String::from_utf8_lossy(&self.bytes[start..self.position]).into_owned())
    }

    /// Reads the rest of an array whose first `count` elements have been read and tells how many it has in all.
    /// What was read last must have been a comma.
    ///
    /// # Errors
    /// Those of [`Reader::skip`].
    #[cold]
    pub fn count_rest(&mut self, mut count: usize) -> Result<usize, Fault> {
        loop {
            self.skip()?;
            count += 1;
            if !self.more_elements()? {
                return Ok(count);
            }
        }
    }

    /// Checks that a list of which `rows` have been read, and more follow, may have so many rows.
    ///
    /// # Errors
    /// A fault with the number of rows, or those of [`Reader::skip`].
    #[inline]
    pub fn check_more_rows(&mut self, rows: usize) -> Result<(), Fault> {
        match rows < self.max_rows {
            true => Ok(()),
            false => Err(self.too_many_rows(rows)?),
        }
    }

    #[cold]
    pub(super) fn too_many_rows(&mut self, rows: usize) -> Result<Fault, Fault> {
        let max_rows = self.max_rows;
        self.count_rest(rows).map(|rows| Fault::too_many_rows(max_rows, rows))
    }

    /// Makes the fault of a value that is not what was expected; reads the value to show it.
    #[cold]
    pub fn mismatch(&mut self, expected: &str) -> Fault {
        match self.describe() {
            Ok(got) => Fault::value(format!("expected {expected}, but got {got}")),
            Err(fault) => fault,
        }
    }

    /// Reads a scalar to its text, or looks at a container, for a message.
    fn describe(&mut self) -> Result<String, Fault> {
        match self.kind()? {
            Kind::Array => Ok("a list".to_owned()),
            Kind::Object => Ok("an object".to_owned()),
            Kind::Scalar | Kind::String => {
                let start = self.position;
                self.skip()?;
                Ok(shortened(&String::from_utf8_lossy(&self.bytes[start..self.position])))
            }
        }
    }

    fn skip_at(&mut self, depth: usize) -> Result<(), Fault> {
        match self.kind()? {
            Kind::Scalar => self.skip_scalar(),
            Kind::String => self.raw_string()?.check(),
            Kind::Array | Kind::Object if depth == MAX_DEPTH => {
                Err(Fault::value(format!("expected at most {MAX_DEPTH} levels of nesting, but got more")))
            }
            Kind::Array => {
                let mut more = self.open_array()?;
                while more {
                    self.skip_at(depth + 1)?;
                    more = self.more_elements()?;
                }
                Ok(())
            }
            Kind::Object => {
                let mut more = self.open_object()?;
                while more {
                    self.key()?.check()?;
                    self.skip_at(depth + 1)?;
                    more = self.more_members()?;
                }
                Ok(())
            }
        }
    }

    fn skip_scalar(&mut self) -> Result<(), Fault> {
        if matches!(self.byte(), b'-' | b'0'..=b'9') {
            return match self.take_word("-Infinity") {
                true => Ok(()),
                false => self.decimal().map(|_| ()),
            };
        }
        match ["null", "true", "false", "NaN", "Infinity"].iter().any(|word| self.take_word(word)) {
            true => Ok(()),
            false => Err(self.unexpected("a value")),
        }
    }
}

/// Cuts what a message quotes to a length that is good to read.
pub fn shortened(text: &str) -> String {
    cut(text, MAX_SHOWN_CHARS)
}

/// Cuts a name that may be the model's own, and is then to be read in full, or a client's of any length.
pub fn shortened_name(name: &str) -> String {
    cut(name, MAX_SHOWN_CHARS_OF_NAME)
}

fn cut(text: &str, most_chars: usize) -> String {
    match text.char_indices().nth(most_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
