//! All routes and all layers of the HTTP server.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, predicate::SizeAbove},
    cors::{AllowOrigin, CorsLayer},
    decompression::RequestDecompressionLayer,
};

use crate::{
    api::{
        error::ErrorResponse,
        http::{
            app::App,
            layers::{
                access_log::access_log,
                deadline::{X_REQUEST_TIMEOUT_MS, deadline},
                errors::{errors, from_panic},
                http_metrics::http_metrics,
                request_id::{X_REQUEST_ID, request_id},
            },
            native::{health, metrics, models, predict, welcome},
            openapi,
        },
    },
    config::ServerConfig,
    error::Error,
    serving::service::InferenceService,
};

/// Below this size an answer is not compressed: it fits one packet anyway.
const MIN_COMPRESSED_BYTES: u64 = 1024;

/// Makes the HTTP application.
pub fn router(service: &Arc<InferenceService>, config: &Arc<ServerConfig>) -> Router {
    let app = App::new(Arc::clone(service), Arc::clone(config));
    let routes = Router::new()
        .route("/", get(welcome::welcome))
        .route("/predict", post(predict::default_model))
        .route("/models", get(models::list))
        .route("/models/{model}", get(models::one))
        .route("/models/{model}/predict", post(predict::model))
        .route("/models/{model}/versions/{version}/predict", post(predict::version))
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .fallback(no_such_path)
        .with_state(app)
        .merge(openapi::routes(service));
    layered(routes, service, config)
}

/// Puts the layers around the routes; a request passes them from the first to the last.
fn layered(routes: Router, service: &Arc<InferenceService>, config: &Arc<ServerConfig>) -> Router {
    routes.layer(
        ServiceBuilder::new()
            .layer(from_fn(request_id))
            .layer(from_fn(access_log))
            .layer(from_fn_with_state(Arc::clone(service.metrics()), http_metrics))
            .layer(CompressionLayer::new().compress_when(SizeAbove::new(MIN_COMPRESSED_BYTES)))
            .layer(from_fn(errors))
            .layer(CatchPanicLayer::custom(from_panic))
            .option_layer(cors(config))
            .layer(from_fn_with_state(Arc::clone(config), deadline))
            // The limit on the body is counted by whoever reads it, after this layer: see `body::read`.
            .layer(RequestDecompressionLayer::new()),
    )
}

fn cors(config: &ServerConfig) -> Option<CorsLayer> {
    if config.http.cors_allow_origin.is_empty() {
        return None;
    }
    let origins = config.http.cors_allow_origin.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let allowed = if config.http.allows_any_origin() { AllowOrigin::any() } else { AllowOrigin::list(origins) };
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([header::CONTENT_TYPE, X_REQUEST_ID, HeaderName::from_static(X_REQUEST_TIMEOUT_MS)])
            .expose_headers([X_REQUEST_ID, header::RETRY_AFTER]),
    )
}

async fn no_such_path(request: Request) -> ErrorResponse {
    let (method, path) = (request.method(), request.uri().path());
    Error::not_found(format!("there is nothing at {method} {path}; see / and /docs")).into()
}
