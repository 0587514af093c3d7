//! `grpc-timeout`: how long a client waits.

use std::time::Duration;

use axum::http::HeaderMap;

use crate::error::{Error, Result};

const GRPC_TIMEOUT: &str = "grpc-timeout";
/// The most digits that the protocol allows.
const MAX_DIGITS: usize = 8;

/// Reads the header: up to eight digits and a unit, as in `500m`.
///
/// # Errors
/// `InvalidArgument` where it is something else.
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    match value.to_str().ok().and_then(parse) {
        Some(timeout) => Ok(Some(timeout)),
        None => Err(Error::invalid(format!(
            "{GRPC_TIMEOUT}: expected up to 8 digits and a unit (H, M, S, m, u or n), got {value:?}"
        ))),
    }
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=MAX_DIGITS).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("500m", Duration::from_millis(500)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for wrong in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "1 S", "5é"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
