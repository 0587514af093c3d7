//! What can go wrong, in words that no protocol owns.
//!
//! An [`Error`] is a kind, a message for the person who sent the request, and optionally a source
//! that only the log may show. Which HTTP status or gRPC code a kind becomes is decided in
//! `edge/error.rs` and nowhere else. New kinds are added only when a caller must act differently on them.

use std::{error, fmt, fmt::Write as _};

/// The result of anything in onnxd that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a failure means to whoever asked; the taxonomy every protocol maps from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong: not JSON, wrong names, shape, type or value.
    InvalidArgument,
    /// No such path, model or version.
    NotFound,
    /// The body is larger than the configured limit.
    PayloadTooLarge,
    /// The request did not arrive in time; the client was too slow.
    RequestTimeout,
    /// The body is of a kind that this path does not take.
    UnsupportedMediaType,
    /// The model's queue is full.
    Overloaded,
    /// The model is loading or has failed, or the server is draining.
    Unavailable,
    /// The deadline passed before an answer was ready.
    DeadlineExceeded,
    /// What could be served, but is not on this server, and will not be.
    NotEnabled,
    /// A part of a protocol that onnxd does not have.
    Unimplemented,
    /// Our fault; the message says nothing of the inside.
    Internal,
    /// The process that ran the model ended: what was in its run must not be run again.
    Crashed,
}

/// A failure: kind and message for the client, source for the log.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error whose `message` the client may read: lower case, no full stop, names included.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Makes the error of a wrong request: says what was expected and what came.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Makes the error of a request with more rows than `--max-rows`.
    pub fn too_many_rows(max_rows: usize, rows: usize) -> Self {
        Self::new(
            ErrorKind::PayloadTooLarge,
            format!("expected at most {max_rows} rows (--max-rows), but got {rows}: send them in several requests"),
        )
    }

    /// Makes the error of something that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Makes the error of a model or server that does not serve now, with the reason.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Makes the error of what this server does not do, with the reason.
    pub fn not_enabled(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotEnabled, message)
    }

    /// Makes an internal error: `cause` goes to the log, the client reads only "internal error".
    pub fn internal(cause: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Internal, "internal error").with_source(cause)
    }

    /// Attaches the cause, which is logged and never sent to a client.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts `context` and a colon before the message, as in `model "iris": …`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Returns what the failure means.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the text for the client.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Writes a size as people read it: `64 MiB`, `1.4 KiB`, `12 bytes`.
pub fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let mut text = String::new();
    let _infallible = match units.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(*unit) => {
            write!(text, "{} {name}", bytes / unit)
        }
        Some((name, unit)) => write!(text, "{:.1} {name}", bytes as f64 / *unit as f64),
        None => write!(text, "{bytes} bytes"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        let cases = [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1500, "1.5 KiB"),
            (64 << 20, "64 MiB"),
            (3 << 29, "1.5 GiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }
}
