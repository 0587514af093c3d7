//! All routes and all layers of the HTTP server.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, header},
    routing::{get, post},
};
use tower::ServiceBuilder;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    api::{
        error::ErrorResponse,
        http::{
            app::App,
            layers::{
                access_log::{self, SpanLayer},
                around::around,
                codings::CodingsLayer,
                deadline::{DeadlineLayer, X_REQUEST_TIMEOUT_MS},
                errors, http_metrics,
                panics::PanicLayer,
                request_id::{self, X_REQUEST_ID},
            },
            native::{health, metrics, models, predict, welcome},
            openapi,
        },
    },
    config::ServerConfig,
    error::Error,
    serving::service::InferenceService,
};

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
    let metrics = Arc::clone(service.metrics());
    let see = move |request: &mut Request| http_metrics::see(&metrics, request);
    routes.layer(
        ServiceBuilder::new()
            .layer(around(request_id::give, request_id::give_back))
            .layer(around(access_log::see, access_log::write))
            .layer(SpanLayer)
            .layer(around(see, http_metrics::count))
            .layer(around(errors::see, errors::describe))
            .layer(PanicLayer)
            .option_layer(cors(config))
            .layer(DeadlineLayer { limit: config.limits.request_timeout })
            .layer(CodingsLayer),
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
