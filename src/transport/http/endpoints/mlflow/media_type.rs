//! Which content types `/invocations` takes.

use axum::http::{HeaderMap, header};

use crate::error::{Error, ErrorKind, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    Json,
    Csv,
}

impl MediaType {
    /// Reads the `content-type` header.
    ///
    /// # Errors
    /// `UnsupportedMediaType`, in MLflow's words, for other types, other encodings of text, and parameters.
    pub fn of(headers: &HeaderMap) -> Result<Self> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Self::Json) };
        let value = String::from_utf8_lossy(value.as_bytes());
        let mut parts = value.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        for parameter in parts.filter(|parameter| !parameter.is_empty()) {
            let (name, charset) = parameter.split_once('=').unwrap_or((parameter, ""));
            if !name.eq_ignore_ascii_case("charset") {
                return Err(unsupported(format!("Unrecognized content type parameters: {name}")));
            }
            if !charset.trim_matches('"').eq_ignore_ascii_case("utf-8") {
                return Err(unsupported("The scoring server only supports UTF-8".to_owned()));
            }
        }
        match &*media_type {
            "application/json" => Ok(Self::Json),
            "text/csv" => Ok(Self::Csv),
            _ => Err(unsupported(format!(
                "This predictor only supports the following content types: Types: ['text/csv', 'application/json']. Got '{value}'"
            ))),
        }
    }
}

fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::UnsupportedMediaType, message)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(value: &'static str) -> Result<MediaType, String> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
        MediaType::of(&headers).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn json_and_csv_in_utf_8_are_known() {
        assert_eq!(MediaType::of(&HeaderMap::new()).ok(), Some(MediaType::Json));
        for json in [
            "application/json",
            "application/json; charset=utf-8",
            "Application/JSON;charset=\"UTF-8\"",
            "application/json;",
        ] {
            assert_eq!(of(json), Ok(MediaType::Json), "{json}");
        }
        assert_eq!(of("text/csv; charset=UTF-8"), Ok(MediaType::Csv));
    }

    #[test]
    fn everything_else_is_refused_in_mlflows_words() {
        for (value, expected) in [
            ("application/json; charset=latin-1", "The scoring server only supports UTF-8"),
            ("application/json; format=pandas-split", "Unrecognized content type parameters: format"),
            ("text/csv; header=present", "Unrecognized content type parameters: header"),
            ("application/x-www-form-urlencoded", "This predictor only supports the following content types"),
            ("application/vnd.apache.parquet", "This predictor only supports the following content types"),
            ("", "This predictor only supports the following content types"),
        ] {
            assert!(of(value).is_err_and(|message| message.starts_with(expected)), "{value}");
        }
    }
}
