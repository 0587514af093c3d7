//! The pull reader: whoever calls says what should come next.
//!
//! Holds the body and a position, nothing else; it does not allocate. Every method skips the whitespace before what it
//! reads. Strings are checked for UTF-8 where they are read; outside strings nothing but ASCII is let through.

use bytes::Bytes;

use crate::json::{fault::Fault, string::RawString};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// U+FEFF in UTF-8: some editors begin every file with it, and RFC 8259 allows to pass over it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads one JSON document, a token at a time.
#[derive(Debug)]
pub struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) position: usize,
    shared: Option<Bytes>,
    /// The most rows that a list of them may have.
    pub(super) max_rows: usize,
}

/// What kind of value stands next, as its first byte tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number, `null`, `true`, `false`, `NaN` or `Infinity`.
    Scalar,
    String,
    Array,
    Object,
}

impl<'a> Reader<'a> {
    /// Makes a reader that stands at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, shared: None, max_rows: usize::MAX }
    }

    /// Makes a reader of a request's body. A byte order mark at its start is passed over, and not counted where a message
    /// names a byte.
    ///
    /// # Errors
    /// A fault of syntax where there is nothing in it.
    pub fn of_body(body: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Self::new(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body));
        match reader.is_at_end() {
            true => Err(Fault::empty()),
            false => Ok(reader),
        }
    }

    /// Makes a reader as [`Self::of_body`] does, of bytes that can be shared: strings are then slices of them, without any
    /// copy.
    ///
    /// # Errors
    /// The same.
    pub fn of_shared_body(body: &'a Bytes) -> Result<Self, Fault> {
        let reader = Self::of_body(body)?;
        let shared = body.slice_ref(reader.bytes);
        Ok(Self { shared: Some(shared), ..reader })
    }

    /// Sets the most rows that a list of them may have. A longer one is refused before its rows take memory.
    pub fn limit_rows(&mut self, max_rows: usize) {
        self.max_rows = max_rows;
    }

    /// Returns how many bytes have been read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns how many bytes are still to be read.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Tells what kind of value stands next, without reading it.
    ///
    /// # Errors
    /// A fault of syntax where no value begins here.
    #[inline(always)]
    pub fn kind(&mut self) -> Result<Kind, Fault> {
        match self.peek() {
            b'"' => Ok(Kind::String),
            b'[' => Ok(Kind::Array),
            b'{' => Ok(Kind::Object),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I' => Ok(Kind::Scalar),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Tells whether nothing but whitespace is left.
    pub fn is_at_end(&mut self) -> bool {
        self.peek();
        self.remaining() == 0
    }

    /// Tells what kind of value the list that stands next begins with, without reading it; `None` for an empty one.
    ///
    /// # Errors
    /// A fault of syntax where no `[` stands next, or no value after it.
    pub fn first_element_kind(&mut self) -> Result<Option<Kind>, Fault> {
        let start = self.position;
        let kind = match self.open_array()? {
            true => Some(self.kind()?),
            false => None,
        };
        self.position = start;
        Ok(kind)
    }

    /// Returns a reader that stands at the beginning of the same document.
    #[must_use]
    pub fn rewound(&self) -> Self {
        Self::new(self.bytes)
    }

    /// Returns a reader of the same document that stands where this one stood when its position was `position`.
    #[must_use]
    pub fn at(&self, position: usize) -> Self {
        Self { bytes: self.bytes, position, shared: self.shared.clone(), max_rows: self.max_rows }
    }

    /// Reads `null` if it stands next.
    pub fn take_null(&mut self) -> bool {
        self.peek() == b'n' && self.take_word("null")
    }

    /// Reads `[` and tells whether elements follow; reads `]` too where none do.
    ///
    /// # Errors
    /// A fault of syntax where no `[` stands next.
    #[inline]
    pub fn open_array(&mut self) -> Result<bool, Fault> {
        self.expect(b'[', "\"[\"")?;
        Ok(!self.take(b']'))
    }

    /// Reads `,` and says true, or `]` and says false.
    ///
    /// # Errors
    /// A fault of syntax where neither stands next.
    #[inline]
    pub fn more_elements(&mut self) -> Result<bool, Fault> {
        match self.peek() {
            b',' => {
                self.position += 1;
                Ok(true)
            }
            b']' => {
                self.position += 1;
                Ok(false)
            }
            _ => Err(self.unexpected("\",\" or \"]\"")),
        }
    }

    /// Reads `{` and tells whether members follow; reads `}` too where none do.
    ///
    /// # Errors
    /// A fault of syntax where no `{` stands next.
    #[inline]
    pub fn open_object(&mut self) -> Result<bool, Fault> {
        self.expect(b'{', "\"{\"")?;
        Ok(!self.take(b'}'))
    }

    /// Reads a key and the colon after it.
    ///
    /// # Errors
    /// A fault of syntax.
    #[inline]
    pub fn key(&mut self) -> Result<RawString<'a>, Fault> {
        if self.peek() != b'"' {
            return Err(self.unexpected("a key in double quotes"));
        }
        let key = self.raw_string()?;
        self.expect(b':', "\":\"")?;
        Ok(key)
    }

    /// Reads `,` and says true, or `}` and says false.
    ///
    /// # Errors
    /// A fault of syntax where neither stands next.
    #[inline]
    pub fn more_members(&mut self) -> Result<bool, Fault> {
        match self.peek() {
            b',' => {
                self.position += 1;
                Ok(true)
            }
            b'}' => {
                self.position += 1;
                Ok(false)
            }
            _ => Err(self.unexpected("\",\" or \"}\"")),
        }
    }

    /// Reads a string, checked but not yet unescaped.
    ///
    /// # Errors
    /// A fault of value where something else stands next, of syntax where it is malformed.
    #[inline]
    pub fn string(&mut self) -> Result<RawString<'a>, Fault> {
        match self.peek() {
            b'"' => self.raw_string(),
            _ => Err(self.mismatch("a string")),
        }
    }

    /// Reads a string of which the opening quote stands next.
    #[inline]
    pub(super) fn raw_string(&mut self) -> Result<RawString<'a>, Fault> {
        let start = self.position + 1;
        let mut at = start;
        let mut escapes = 0;
        loop {
            at = self.next_special(at);
            match self.bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escapes += 1;
                    at += 2;
                }
                Some(_) => {
                    return Err(Fault::syntax("a control character in a string, which must be escaped,", at));
                }
                None => {
                    return Err(Fault::syntax("expected the end of a string, but got the end", self.bytes.len()));
                }
            }
        }
        self.position = at + 1;
        Ok(RawString::new(&self.bytes[start..at], escapes, start))
    }

    /// Returns the first quote, backslash or control character at or after `at`, or the end.
    #[inline]
    fn next_special(&self, mut at: usize) -> usize {
        while let Some(chunk) = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            // A byte's high bit marks it; marks above the first may be wrong, which does not matter.
            let quotes = word ^ (ONES * u64::from(b'"'));
            let backslashes = word ^ (ONES * u64::from(b'\\'));
            let marks = (quotes.wrapping_sub(ONES) & !quotes
                | backslashes.wrapping_sub(ONES) & !backslashes
                | word.wrapping_sub(ONES * 0x20) & !word)
                & HIGH_BITS;
            if marks != 0 {
                return at + marks.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        let rest = self.bytes.get(at..).unwrap_or_default();
        at + rest.iter().position(special).unwrap_or(rest.len())
    }

    /// Checks that nothing but whitespace is left.
    ///
    /// # Errors
    /// A fault of syntax.
    pub fn finish(&mut self) -> Result<(), Fault> {
        match self.is_at_end() {
            true => Ok(()),
            false => Err(self.unexpected("nothing more")),
        }
    }

    /// Makes the fault of text that cannot stand here.
    #[cold]
    pub fn unexpected(&self, expected: &str) -> Fault {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let shown = &rest[..rest.len().min(4)];
        let valid = shown.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let got = match (shown.first(), valid.chars().next()) {
            (None, _) => "the end".to_owned(),
            (Some(_), Some(char)) => format!("{char:?}"),
            (Some(byte), None) => format!("0x{byte:02x}, which is not UTF-8,"),
        };
        Fault::syntax(format!("expected {expected}, but got {got}"), self.position)
    }

    /// Returns the body as shared bytes, copied the first time: strings are then slices of it.
    pub(super) fn shared(&mut self) -> &Bytes {
        self.shared.get_or_insert_with(|| Bytes::copy_from_slice(self.bytes))
    }

    /// Skips whitespace and returns the byte that stands next, 0 at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        let mut byte = self.byte();
        while matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            self.position += 1;
            byte = self.byte();
        }
        byte
    }

    /// Returns the byte that stands next, 0 at the end; a NUL may stand nowhere, so that the two need no telling apart.
    #[inline]
    pub(super) fn byte(&self) -> u8 {
        self.bytes.get(self.position).copied().unwrap_or(0)
    }

    /// Tells whether `word` stands next.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.bytes[self.position..].starts_with(word.as_bytes())
    }

    /// Reads `word` if it stands next.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.position += word.len();
        }
        found
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.position += usize::from(found);
        found
    }

    #[inline]
    fn expect(&mut self, byte: u8, expected: &str) -> Result<(), Fault> {
        match self.take(byte) {
            true => Ok(()),
            false => Err(self.unexpected(expected)),
        }
    }
}
