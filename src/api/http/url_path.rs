//! The parameters of a path, and what is said of one that is no text.

use axum::{
    extract::{FromRequestParts, Path, path::ErrorKind, rejection::PathRejection},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::{api::error::ErrorResponse, error::Error};

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
