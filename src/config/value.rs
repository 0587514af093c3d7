//! How the text of a setting becomes its value. An error says what was expected: it follows "expected".

use std::{net::IpAddr, time::Duration};

use http::{HeaderName, HeaderValue};
use jiff::SignedDuration;

/// The port for gRPC alone; `None` where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcPort(pub Option<u16>);

/// The longest duration a setting may have; anything longer is a slip of the unit.
const MAX_DURATION: Duration = Duration::from_hours(24);
/// The most requests a second that can be asked for, which no single client sends.
const MAX_RATE: f64 = 1e7;
/// The largest size a setting may have, in bytes.
const MAX_SIZE_BYTES: usize = 1 << 40;

pub(super) fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let is_name_character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = !text.is_empty() && text.chars().all(is_name_character);
    if is_name || bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    Err("an IP address or a host name, without a port".to_owned())
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port from 0 to 65535".to_owned())
}

pub(super) fn grpc_port(text: &str) -> Result<GrpcPort, String> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Ok(GrpcPort(None)),
        number => {
            number.parse().map(|port| GrpcPort(Some(port))).map_err(|_| "a port from 0 to 65535, or off".to_owned())
        }
    }
}

pub(super) fn thread_count(text: &str) -> Result<usize, String> {
    count(text, 1024)
}

pub(super) fn connection_count(text: &str) -> Result<usize, String> {
    count(text, 1_000_000)
}

pub(super) fn row_count(text: &str) -> Result<usize, String> {
    count(text, 1_000_000_000)
}

pub(super) fn line_count(text: &str) -> Result<usize, String> {
    count(text, 1_000_000)
}

fn count(text: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("a number from 1 to {most}"))
}

pub(super) fn request_count(text: &str) -> Result<u64, String> {
    count(text, 1_000_000_000_000).map(|count| count as u64)
}

pub(super) fn request_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= MAX_RATE);
    rate.ok_or_else(|| format!("requests a second, over 0 and up to {MAX_RATE}"))
}

pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parse = || {
        let (name, value) = text.split_once(':')?;
        Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
    };
    parse().ok_or_else(|| "a header as in \"name: value\"".to_owned())
}

pub(super) fn size_bytes(text: &str) -> Result<usize, String> {
    let suffix_start = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(suffix_start);
    let unit = match suffix.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    };
    let number: Option<usize> = digits.parse().ok();
    let size = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    size.filter(|size| (1..=MAX_SIZE_BYTES).contains(size))
        .ok_or_else(|| "a size from 1 byte to 1024GiB, plain or with KiB, MiB or GiB".to_owned())
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text)
        .filter(|duration| *duration >= Duration::from_millis(1))
        .ok_or_else(|| "a duration from 1ms to 24h, such as 500ms, 30s or 2m".to_owned())
}

pub(super) fn short_duration(text: &str) -> Result<Duration, String> {
    duration(text)
        .filter(|duration| (Duration::from_micros(1)..=Duration::from_secs(1)).contains(duration))
        .ok_or_else(|| "a duration from 1us to 1s, such as 500us or 2ms".to_owned())
}

pub(super) fn duration_or_zero(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "a duration from 0s to 24h, such as 500ms, 30s or 2m".to_owned())
}

fn duration(text: &str) -> Option<Duration> {
    // A plain number means seconds.
    let signed: Option<SignedDuration> = match text.parse::<f64>() {
        Ok(_) => format!("{text}s").parse().ok(),
        Err(_) => text.parse().ok(),
    };
    signed.and_then(|signed| Duration::try_from(signed).ok()).filter(|duration| *duration <= MAX_DURATION)
}

pub(super) fn cors_origin(text: &str) -> Result<String, String> {
    let is_origin = || {
        let uri: http::Uri = text.parse().ok()?;
        // What is more than scheme and authority, a path or a slash, no browser would ever send.
        (text == format!("{}://{}", uri.scheme()?, uri.authority()?)).then_some(())
    };
    if text == "*" || is_origin().is_some() {
        return Ok(text.to_owned());
    }
    Err("* or an origin such as https://example.org, without a path or a slash at its end".to_owned())
}

pub(super) fn on_or_off(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err("on or off".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_a_unit_or_mean_seconds() {
        let cases = [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("2m", Some(120_000)),
            ("1h 30m", Some(5_400_000)),
            ("30", Some(30_000)),
            ("0.5", Some(500)),
            ("24h", Some(86_400_000)),
            ("25h", None),
            ("0", None),
            ("0s", None),
            ("-1", None),
            ("1us", None),
            ("inf", None),
            ("NaN", None),
            ("1e3", None),
            ("99999999999999999999", None),
            ("soon", None),
            ("", None),
        ];
        for (text, milliseconds) in cases {
            let expected = milliseconds.map(Duration::from_millis);
            assert_eq!(positive_duration(text).ok(), expected, "{text:?}");
        }
        assert_eq!(duration_or_zero("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn rates_and_headers_are_what_http_can_take() {
        assert_eq!(request_rate("0.5"), Ok(0.5));
        assert_eq!(request_rate("1e4"), Ok(10_000.0));
        for bad in ["0", "-1", "NaN", "inf", "1e8", "fast"] {
            assert!(request_rate(bad).is_err(), "{bad}");
        }
        let expected = (HeaderName::from_static("x-request-timeout-ms"), HeaderValue::from_static("50"));
        assert_eq!(header("X-Request-Timeout-Ms: 50"), Ok(expected));
        for bad in ["", "name", ": value", "na me: value", "name: a\nb"] {
            assert!(header(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_take_binary_units_or_mean_bytes() {
        let cases = [
            ("1", Some(1)),
            ("4096", Some(4096)),
            ("1KiB", Some(1 << 10)),
            ("64 MiB", Some(64 << 20)),
            ("2gib", Some(2 << 30)),
            ("0", None),
            ("-1", None),
            ("64MB", None),
            ("1.5MiB", None),
            ("MiB", None),
            ("2000GiB", None),
            ("18446744073709551615KiB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size_bytes(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn hosts_and_origins_come_without_port_and_path() {
        for good in ["0.0.0.0", "::", "[::1]", "localhost", "my-host.example"] {
            assert!(host(good).is_ok(), "{good}");
        }
        for bad in ["", "0.0.0.0:80", "http://localhost", "a b", "[localhost]"] {
            assert!(host(bad).is_err(), "{bad}");
        }
        for good in ["*", "https://a.example", "http://localhost:3000"] {
            assert!(cors_origin(good).is_ok(), "{good}");
        }
        for bad in ["", "a.example", "https://a.example/", "https://a.example/x"] {
            assert!(cors_origin(bad).is_err(), "{bad}");
        }
    }
}
