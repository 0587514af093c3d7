//! `x-request-id`: the client's own if it is sane, else a new one; on every request and every response.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    response::Response,
};
use uuid::Uuid;

/// The header's name.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a client, in bytes.
const MAX_ID_BYTES: usize = 128;

/// The id of a request, in its extensions.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Gives a request its id.
pub fn give(request: &mut Request) -> HeaderValue {
    let id = request.headers().get(X_REQUEST_ID).filter(|id| is_sane(id)).cloned().unwrap_or_else(new_id);
    request.extensions_mut().insert(RequestId(id.clone()));
    id
}

/// Gives the response the same id.
pub fn give_back(id: HeaderValue, mut response: Response) -> Response {
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

/// An id that is safe in a header, in a log line and in JSON.
fn is_sane(id: &HeaderValue) -> bool {
    let ok = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(ok)
}

fn new_id() -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    let text = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_are_safe_everywhere_are_taken_over() {
        let sane = |id: &str| HeaderValue::from_str(id).is_ok_and(|id| is_sane(&id));
        assert!(sane("abc-123") && sane("a.b:c/d+e=@_"));
        assert!(!sane("") && !sane("a b") && !sane("a\"b") && !sane(&"x".repeat(129)) && !sane("é"));
        assert_eq!(new_id().len(), 36);
    }
}
