//! `x-request-id`: the client's own if it is sane, else a new one; on every request and every response.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a client, in bytes.
const MAX_ID_BYTES: usize = 128;

/// The id of a request.
#[derive(Clone, Debug)]
pub enum RequestId {
    Given(HeaderValue),
    Made(Uuid),
}

impl RequestId {
    /// Takes the client's own id, or makes one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(X_REQUEST_ID).filter(|id| is_sane(id)).cloned();
        given.map_or_else(|| Self::Made(Uuid::new_v4()), Self::Given)
    }

    /// Returns the id as text, for which `buffer`, of [`Uuid::encode_buffer`], has the room.
    pub fn as_str<'a>(&'a self, buffer: &'a mut [u8]) -> &'a str {
        match self {
            Self::Given(id) => id.to_str().unwrap_or_default(),
            Self::Made(id) => id.hyphenated().encode_lower(buffer),
        }
    }

    /// Returns the id as the value of the header.
    pub fn to_header(&self) -> HeaderValue {
        match self {
            Self::Given(id) => id.clone(),
            Self::Made(_) => {
                let mut buffer = Uuid::encode_buffer();
                let text = self.as_str(&mut buffer);
                HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("none"))
            }
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str(&mut Uuid::encode_buffer()))
    }
}

/// An id that is safe in a header, in a log line and in JSON.
fn is_sane(id: &HeaderValue) -> bool {
    let ok = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_are_safe_everywhere_are_taken_over() {
        let sane = |id: &str| HeaderValue::from_str(id).is_ok_and(|id| is_sane(&id));
        assert!(sane("abc-123") && sane("a.b:c/d+e=@_"));
        assert!(!sane("") && !sane("a b") && !sane("a\"b") && !sane(&"x".repeat(129)) && !sane("é"));
    }

    #[test]
    fn an_id_reads_the_same_in_the_header_and_in_the_log() {
        let made = RequestId::of(&HeaderMap::new());
        assert_eq!(made.to_header().len(), 36);
        assert_eq!(made.to_header(), made.to_string());
    }
}
