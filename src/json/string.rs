//! Strings, unescaped only where they have escapes.

use std::{borrow::Cow, str};

use crate::json::fault::Fault;

/// What stands between two quotes, as it was written.
#[derive(Clone, Copy, Debug)]
pub struct RawString<'a> {
    bytes: &'a [u8],
    /// A count, not a flag: a value without padding is copied in whole words.
    escapes: usize,
    offset: usize,
}

impl<'a> RawString<'a> {
    /// `bytes` begin at `offset` of the body, and have so many `escapes`.
    pub(super) fn new(bytes: &'a [u8], escapes: usize, offset: usize) -> Self {
        Self { bytes, escapes, offset }
    }

    /// Tells whether this is `text`. Malformed escapes and UTF-8 make it different, not faulty.
    #[inline]
    pub fn is(&self, text: &str) -> bool {
        match self.escapes {
            0 => self.bytes == text.as_bytes(),
            _ => self.decode().is_ok_and(|decoded| decoded == text),
        }
    }

    /// Returns the text, unescaped and checked.
    ///
    /// # Errors
    /// A fault of syntax: not UTF-8, an unknown escape, half a surrogate pair.
    pub fn decode(&self) -> Result<Cow<'a, str>, Fault> {
        let text = str::from_utf8(self.bytes)
            .map_err(|error| Fault::syntax("text that is not UTF-8", self.offset + error.valid_up_to()))?;
        match self.escapes {
            0 => Ok(Cow::Borrowed(text)),
            _ => self.unescape(text).map(Cow::Owned),
        }
    }

    /// Checks what [`RawString::decode`] checks.
    ///
    /// # Errors
    /// The same.
    pub fn check(&self) -> Result<(), Fault> {
        self.decode().map(|_| ())
    }

    /// Returns where in the body the text begins, if it is there as it is meant.
    pub(super) fn place(&self) -> Option<std::ops::Range<usize>> {
        (self.escapes == 0).then_some(self.offset..self.offset + self.bytes.len())
    }

    fn unescape(&self, text: &str) -> Result<String, Fault> {
        let mut unescaped = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(length) = rest.find('\\') {
            unescaped.push_str(&rest[..length]);
            let escape = &rest[length..];
            let (char, length) = unescape_one(escape)
                .map_err(|reason| Fault::syntax(reason, self.offset + text.len() - escape.len()))?;
            unescaped.push(char);
            rest = &escape[length..];
        }
        unescaped.push_str(rest);
        Ok(unescaped)
    }
}

/// Returns the character that `escape` begins with, and the length of its text.
fn unescape_one(escape: &str) -> Result<(char, usize), &'static str> {
    let simple = match escape.as_bytes().get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unescape_unicode(escape),
        _ => return Err("an unknown escape in a string"),
    };
    Ok((simple, 2))
}

fn unescape_unicode(escape: &str) -> Result<(char, usize), &'static str> {
    let unit = |text: &str| -> Option<u32> {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)
    };
    let first = unit(escape).ok_or("expected four hexadecimal digits after \\u")?;
    if let Some(char) = char::from_u32(first) {
        return Ok((char, 6));
    }
    let second = escape.get(6..).and_then(unit).filter(|second| (0xdc00..0xe000).contains(second));
    match second {
        Some(second) if first < 0xdc00 => {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            char::from_u32(code).map(|char| (char, 12)).ok_or("a surrogate pair that is no character")
        }
        _ => Err("a lone surrogate in a string"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::reader::Reader;

    fn read(json: &str) -> Result<String, String> {
        let mut reader = Reader::new(json.as_bytes());
        let text = reader.string().and_then(|raw| raw.decode()).map_err(|fault| fault.to_string())?;
        reader.finish().map_err(|fault| fault.to_string())?;
        Ok(text.into_owned())
    }

    #[test]
    fn escapes_are_decoded() {
        let cases = [
            (r#""""#, ""),
            (r#""plain text, longer than a word""#, "plain text, longer than a word"),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""\u0000\u00e9\u20AC\ud83d\ude00""#, "\0é€😀"),
            ("\"é€😀\"", "é€😀"),
            (r#""before\\""#, "before\\"),
        ];
        for (json, text) in cases {
            assert_eq!(read(json).as_deref(), Ok(text), "{json}");
        }
    }

    #[test]
    fn malformed_strings_are_faults_with_their_place() {
        let cases = [
            (r#""\x""#, "an unknown escape in a string at byte 1"),
            (r#""ab\u12g4""#, "expected four hexadecimal digits after \\u at byte 3"),
            (r#""\u+123""#, "expected four hexadecimal digits after \\u at byte 1"),
            (r#""\ud800""#, "a lone surrogate in a string at byte 1"),
            (r#""\ud800\u0041""#, "a lone surrogate in a string at byte 1"),
            (r#""\udc00\ud800""#, "a lone surrogate in a string at byte 1"),
            ("\"a\nb\"", "a control character in a string, which must be escaped, at byte 2"),
            (r#""abc"#, "expected the end of a string, but got the end at byte 4"),
            (r#""abcdefgh\"#, "expected the end of a string, but got the end at byte 10"),
        ];
        for (json, reason) in cases {
            assert_eq!(read(json), Err(format!("Request must be JSON: {reason}")), "{json}");
        }
        let mut reader = Reader::new(b"\"ab\xff\"");
        let fault = reader.string().unwrap().decode().unwrap_err();
        assert_eq!(fault.to_string(), "Request must be JSON: text that is not UTF-8 at byte 3");
    }

    #[test]
    fn comparing_looks_through_escapes() {
        let mut reader = Reader::new(br#""a\u0062c""#);
        assert!(reader.string().unwrap().is("abc"));
        let mut reader = Reader::new(br#""a\"""#);
        let raw = reader.string().unwrap();
        assert!(raw.is("a\"") && !raw.is("a\\\""));
    }
}
