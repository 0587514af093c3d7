//! Reading a request's body: at most so many bytes, counted after decompression, in at most so much time.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;

use crate::{
    api::http::layers::deadline::Deadline,
    error::{Error, ErrorKind, Result},
};

/// Reads the whole body.
///
/// # Errors
/// `PayloadTooLarge` over the limit, `RequestTimeout` where it did not arrive by the deadline, `InvalidArgument` where it
/// breaks off or is not what its `content-encoding` says.
pub async fn read(headers: &HeaderMap, body: Body, max_body_bytes: usize, deadline: Deadline) -> Result<Bytes> {
    let declared = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    if declared.is_some_and(|length| length > max_body_bytes) {
        return Err(refuse_declared(headers, body, max_body_bytes, declared.unwrap_or_default(), deadline).await);
    }
    let collected = tokio::time::timeout_at(deadline.at, Limited::new(body, max_body_bytes).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(max_body_bytes, None)),
        Ok(Err(error)) => Err(unreadable(&*error)),
        Err(_elapsed) => Err(Error::new(
            ErrorKind::RequestTimeout,
            format!("the request body did not arrive within {:?}", deadline.allowed),
        )),
    }
}

/// Lets a client that is already sending finish, as far as the same limit again, so that it reads the answer instead of
/// a reset connection. One that asked first (`expect: 100-continue`) is answered at once.
async fn refuse_declared(
    headers: &HeaderMap,
    mut body: Body,
    max_body_bytes: usize,
    declared: usize,
    deadline: Deadline,
) -> Error {
    let mut left = if headers.contains_key(header::EXPECT) { 0 } else { max_body_bytes };
    let drain = async {
        while left > 0 {
            let Some(Ok(frame)) = body.frame().await else { return };
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    let _gave_up = tokio::time::timeout_at(deadline.at, drain).await;
    too_large(max_body_bytes, Some(declared))
}

fn too_large(max_body_bytes: usize, declared: Option<usize>) -> Error {
    let came = declared.map_or_else(String::new, |declared| format!(", but the body has {declared}"));
    Error::new(
        ErrorKind::PayloadTooLarge,
        format!("expected at most {max_body_bytes} bytes (--max-body-bytes, counted after decompression){came}"),
    )
}

fn unreadable(error: &(dyn std::error::Error + Send + Sync)) -> Error {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = cause.to_string();
        source = cause.source();
    }
    Error::invalid(format!("the request body cannot be read: {reason}"))
}
