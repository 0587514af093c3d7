//! The parameters of a path, and what is said of one that is no text.

use axum::{
    extract::{FromRequestParts, Path, path::ErrorKind, rejection::PathRejection},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::{edge::error::ErrorResponse, error::Error};

/// The percent-decoded parameters of the route, as [`Path`] has them, but refused in words of ours.
#[derive(Debug)]
pub struct UrlPath<T>(pub T);

impl<T, S> FromRequestParts<S> for UrlPath<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ErrorResponse> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(parameters)) => Ok(Self(parameters)),
            Err(rejection) => Err(describe(rejection, parts.uri.path()).into()),
        }
    }
}

/// What a path names, where it names them after `models` and `versions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    pub model: Option<&'a str>,
    pub version: Option<&'a str>,
}

/// Reads the names from a path that a route has and that has no percent signs.
pub fn named(path: &str) -> Named<'_> {
    let mut segments = path.split('/');
    let model = segments.find(|segment| *segment == "models").and_then(|_| segments.next());
    let version = segments.next().filter(|segment| *segment == "versions").and_then(|_| segments.next());
    Named { model, version }
}

fn describe(rejection: PathRejection, path: &str) -> Error {
    match rejection {
        PathRejection::FailedToDeserializePathParams(rejection)
            if matches!(rejection.kind(), ErrorKind::InvalidUtf8InPathParam { .. }) =>
        {
            Error::invalid(format!("the path {path:?} is not UTF-8 once its percent signs are decoded"))
        }
        rejection => Error::internal(rejection),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_router_reads_them() {
        for (path, model, version) in [
            ("/predict", None, None),
            ("/models/iris/predict", Some("iris"), None),
            ("/models//predict", Some(""), None),
            ("/models/iris/versions/2/predict", Some("iris"), Some("2")),
            ("/models/iris/versions//predict", Some("iris"), Some("")),
            ("/models/models/versions/versions/predict", Some("models"), Some("versions")),
            ("/v2/models/versions/infer", Some("versions"), None),
            ("/v2/models/a.b-c/versions/10/infer", Some("a.b-c"), Some("10")),
        ] {
            assert_eq!(named(path), Named { model, version }, "{path}");
        }
    }
}
