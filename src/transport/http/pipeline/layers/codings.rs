//! Compression, for those requests that have to do with it.
//!
//! tower-http's layers wrap every body, compressed or not. A request that neither is compressed nor asks for a compressed
//! answer, as most small predictions are, goes past them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use futures_util::{
    TryStreamExt as _,
    future::{BoxFuture, ready},
};
use http_body_util::BodyDataStream;
use pin_project_lite::pin_project;
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _};
use tower_http::compression::{
    CompressionLayer,
    predicate::{Predicate, SizeAbove},
};

use crate::transport::{
    decompression::Coding,
    http::pipeline::{
        arrival::{Arrival, CalledBody, RequestBody},
        layers::pieces::in_pieces,
    },
};

/// Below this size an answer is not compressed: it fits one packet anyway.
const MIN_COMPRESSED_BYTES: u64 = 1024;

/// The names in `accept-encoding` by which an answer may be compressed.
const ACCEPTED_CODINGS: [&str; 4] = ["gzip", "x-gzip", "zstd", "*"];

/// The names that a content coding comes under, with the one that tower-http knows.
const KNOWN_CODINGS: [(&str, &str); 5] =
    [("gzip", "gzip"), ("x-gzip", "gzip"), ("deflate", "deflate"), ("zstd", "zstd"), ("identity", "identity")];

/// Understands compressed requests (gzip, deflate, zstd) and compresses answers (gzip, zstd) for clients that accept it.
/// The limit on the body is counted by whoever reads it, inside of this layer: see `UnreadBody::read`.
#[derive(Clone, Copy, Debug)]
pub struct CodingsLayer;

impl<S> Layer<S> for CodingsLayer {
    type Service = Codings<S>;

    fn layer(&self, plain: S) -> Codings<S> {
        Codings { plain }
    }
}

#[derive(Clone, Debug)]
pub struct Codings<S> {
    plain: S,
}

impl<S> Service<Arrival> for Codings<S>
where
    S: Service<Arrival, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = EitherWay<S::Future, BoxFuture<'static, Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.plain.poll_ready(context)
    }

    fn call(&mut self, mut arrival: Arrival) -> Self::Future {
        normalise(arrival.headers_mut());
        let headers = arrival.headers();
        match headers.contains_key(header::ACCEPT_ENCODING) || headers.contains_key(header::CONTENT_ENCODING) {
            true => EitherWay::Coded { response: coded(self.plain.clone(), arrival) },
            false => EitherWay::Plain { response: self.plain.call(arrival) },
        }
    }
}

/// Answers a request through tower-http's layers.
fn coded<S>(plain: S, mut arrival: Arrival) -> BoxFuture<'static, Result<Response, S::Error>>
where
    S: Service<Arrival, Response = Response> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    let accepted = arrival.headers().get_all(header::ACCEPT_ENCODING);
    let may_compress = accepted.iter().any(|value| ACCEPTED_CODINGS.iter().any(|name| names(value, name)));
    accept_as_it_is(arrival.headers_mut());
    let arrival = match decompressed(arrival) {
        Ok(arrival) => arrival,
        Err(refusal) => return Box::pin(ready(Ok(refusal))),
    };
    let coded = ServiceBuilder::new()
        .map_response(IntoResponse::into_response)
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(MIN_COMPRESSED_BYTES).and(may_be_compressed)))
        // Compressing takes long; sending as it is does not.
        .map_response(move |response: Response| if may_compress { response.map(in_pieces) } else { response })
        .service(plain);
    Box::pin(coded.oneshot(arrival))
}

/// Decompresses the body of a request that says it is compressed.
///
/// # Errors
/// The answer 415 for a coding that is not known; its body is written by the layer of errors.
#[expect(clippy::result_large_err, reason = "the error is the answer")]
fn decompressed(mut arrival: Arrival) -> Result<Arrival, Response> {
    let Some(value) = arrival.headers_mut().remove(header::CONTENT_ENCODING) else { return Ok(arrival) };
    if value == "identity" {
        return Ok(arrival);
    }
    let Some(coding) = Coding::named(value.as_bytes()) else {
        let known = (header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, zstd"));
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, [known]).into_response());
    };
    arrival.headers_mut().remove(header::CONTENT_LENGTH);
    Ok(arrival.map(|CalledBody { call, body }| {
        let compressed = BodyDataStream::new(body).map_err(io::Error::other);
        let body = RequestBody::Boxed(Body::from_stream(coding.decompress(compressed)));
        CalledBody { call, body }
    }))
}

/// Left in the extensions of a response that must stay as it is, because there are clients that accept compressed answers
/// without understanding them.
#[derive(Clone, Copy, Debug)]
pub struct Uncompressed;

/// Tells whether a response may be compressed. Errors never are: their bodies are written outside of this layer.
fn may_be_compressed(_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions) -> bool {
    extensions.get::<Uncompressed>().is_none()
}

/// Tells whether a list of codings names this one.
fn names(list: &HeaderValue, coding: &str) -> bool {
    let mut names = list.as_bytes().split(|byte| matches!(byte, b',' | b';'));
    names.any(|name| name.trim_ascii().eq_ignore_ascii_case(coding.as_bytes()))
}

/// Accepts the answer as it is, with the least preference. Without it, a client that refuses every coding would get 406
/// after a run that was counted as a success.
///
/// It goes first in the list. `insert_mult` would do this in one call, but it panics where a header has three values.
fn accept_as_it_is(headers: &mut HeaderMap) {
    if !headers.contains_key(header::ACCEPT_ENCODING) {
        return;
    }
    let others: Vec<_> = headers.get_all(header::ACCEPT_ENCODING).iter().cloned().collect();
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity;q=0.001"));
    for other in others {
        headers.append(header::ACCEPT_ENCODING, other);
    }
}

/// Writes a known content coding as tower-http knows it: the names have no case, and `x-gzip` means `gzip` (RFC 9110,
/// section 8.4.1).
fn normalise(headers: &mut HeaderMap) {
    let Some(value) = headers.get_mut(header::CONTENT_ENCODING) else { return };
    let known = KNOWN_CODINGS.iter().find(|(name, _)| value.as_bytes().eq_ignore_ascii_case(name.as_bytes()));
    if let Some((_, name)) = known {
        *value = HeaderValue::from_static(name);
    }
}

pin_project! {
    /// The response to come, by either way.
    #[project = EitherProjection]
    #[derive(Debug)]
    pub enum EitherWay<P, C> {
        Plain {
            #[pin]
            response: P,
        },
        Coded {
            #[pin]
            response: C,
        },
    }
}

impl<P: Future, C: Future<Output = P::Output>> Future for EitherWay<P, C> {
    type Output = P::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            EitherProjection::Plain { response } => response.poll(context),
            EitherProjection::Coded { response } => response.poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_coding_is_kept_in_its_order() {
        for count in 1..6 {
            let names: Vec<_> = (0..count).map(|index| format!("coding-{index}")).collect();
            let mut headers = HeaderMap::new();
            for name in &names {
                headers.append(header::ACCEPT_ENCODING, name.parse().unwrap());
            }
            accept_as_it_is(&mut headers);
            let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().map(|value| value.to_str().unwrap());
            let expected = ["identity;q=0.001"].into_iter().chain(names.iter().map(String::as_str));
            assert_eq!(accepted.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }
}
