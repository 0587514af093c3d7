//! `GET /docs`: Swagger UI, all of it from this binary.
//!
//! The page and the script that starts it are ours; Swagger UI's own files come from `utoipa-swagger-ui`, which has
//! them inside. Links are relative, so that the page works behind a proxy that serves it under a prefix.

use std::{
    io::Read as _,
    sync::{Arc, LazyLock},
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use flate2::read::GzDecoder;
use utoipa_swagger_ui::Config;

use crate::{
    edge::error::ErrorResponse,
    error::{Error, Result},
    transport::http::pipeline::{routes::Routes, url_path::UrlPath},
};

const PAGE: &str = include_str!("docs.html");
const START_SCRIPT: &str = include_str!("docs.js");

/// Nothing from elsewhere, no script in the page. Swagger UI sets styles of single elements.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// Long enough for a visit; a new onnxd may have a new Swagger UI under the same name.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("max-age=3600");

/// The files of Swagger UI that the page asks for; there are others that it does not need.
const ASSETS: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

/// Makes the routes of the page and its files.
pub(super) fn docs_routes() -> Routes {
    Routes::new()
        .route("/docs", get(page))
        .route("/docs/", get(async || Redirect::permanent("../docs")))
        .route("/docs/start.js", get(start_script))
        .route("/docs/{file}", get(asset))
}

async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)], Html(PAGE)).into_response()
}

async fn start_script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript")], START_SCRIPT).into_response()
}

async fn asset(UrlPath(file): UrlPath<String>, headers: HeaderMap) -> Result<Response, ErrorResponse> {
    let Some(name) = ASSETS.into_iter().find(|name| *name == file) else {
        return Err(Error::not_found(format!("there is no file {file:?} under /docs")).into());
    };
    Ok(stored(name, accepts_gzip(&headers))?)
}

/// Answers a file as it is stored, which is compressed, or plain where the client does not take that.
fn stored(name: &str, as_gzip: bool) -> Result<Response> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(Arc::default);
    let found =
        utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)).map_err(|error| Error::internal(error.to_string()))?;
    let Some(file) = found else { return Err(Error::internal(format!("utoipa-swagger-ui has no {name}"))) };
    let content_type = HeaderValue::from_str(&file.content_type).map_err(Error::internal)?;
    let bytes = match file.bytes {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, CACHE_CONTROL),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ];
    match (file.gzpipped, as_gzip) {
        (true, true) => Ok((headers, [(header::CONTENT_ENCODING, "gzip")], bytes).into_response()),
        (true, false) => {
            let mut plain = Vec::new();
            GzDecoder::new(&*bytes).read_to_end(&mut plain).map_err(Error::internal)?;
            Ok((headers, plain).into_response())
        }
        (false, _) => Ok((headers, bytes).into_response()),
    }
}

/// Tells whether gzip is among the encodings that the client takes, whatever its preferences.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let refused = |parameters: &str| parameters.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
    headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|coding| {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            matches!(name.trim(), "gzip" | "*") && !refused(parameters)
        })
    })
}
