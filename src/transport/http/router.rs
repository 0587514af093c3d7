//! All routes and all layers of the HTTP server.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, Method, header},
    response::Response,
    routing::{any, get, post},
};
use hyper::{Request, body::Incoming};
use tower::{Service, ServiceBuilder};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    config::ServerConfig,
    edge::{error::ErrorResponse, request_id::X_REQUEST_ID},
    error::{Error, Result},
    protocol::oip_rest::binary::INFERENCE_HEADER_CONTENT_LENGTH,
    serving::service::InferenceService,
    transport::http::{
        dispatch::Dispatch,
        endpoints::{
            mlflow,
            native::{health, metrics, models, predict, welcome},
            oip::{self},
            tfs,
        },
        openapi,
        pipeline::activity::Activity,
        pipeline::{
            app::App,
            call::X_REQUEST_TIMEOUT_MS,
            layers::{
                access_log::SpanLayer,
                calls::CallLayer,
                codings::CodingsLayer,
                deadline::{ConnectionTimer, DeadlineLayer},
                panics::PanicLayer,
            },
            routes::{RouteTable, Routes, Wire},
        },
    },
};

/// The HTTP application: what the connections share.
#[derive(Debug)]
pub struct Http {
    dispatch: Dispatch,
    routes: Arc<RouteTable>,
    service: Arc<InferenceService>,
    cors: Option<CorsLayer>,
    request_timeout: Duration,
    /// How many bytes of a body are read and dropped after its request was answered.
    pub max_unread_bytes: usize,
}

impl Http {
    /// Makes the application.
    ///
    /// # Errors
    /// `Internal` where a route is wrong.
    pub fn new(service: &Arc<InferenceService>, config: &Arc<ServerConfig>) -> Result<Self> {
        let app = App::new(Arc::clone(service), Arc::clone(config));
        let routes = Routes::new()
            .route("/", get(welcome::welcome))
            .predicts("/predict", post(predict::default_model), Wire::Native)
            .route("/models", get(models::list))
            .route("/models/{model}", get(models::one))
            .predicts("/models/{model}/predict", post(predict::model), Wire::Native)
            .predicts("/models/{model}/versions/{version}/predict", post(predict::version), Wire::Native)
            .route("/health", get(health::health))
            .route("/health/live", get(health::live))
            .route("/health/ready", get(health::ready))
            .route("/metrics", get(metrics::metrics))
            .merge(open_inference())
            .merge(tensorflow_serving())
            .route("/invocations", post(mlflow::invocations::invocations))
            .route("/ping", get(mlflow::probes::ping))
            .route("/version", get(mlflow::probes::version))
            .with_state(app.clone())
            .merge(openapi::routes(service));
        let (router, routes) = routes.finish(service.metrics())?;
        Ok(Self {
            dispatch: Dispatch { app, router: router.fallback(no_such_path) },
            routes: Arc::new(routes),
            service: Arc::clone(service),
            cors: cors(config),
            request_timeout: config.limits.request_timeout,
            // A client that sends somewhat more than it may must see its 413, too.
            max_unread_bytes: config.limits.max_body_bytes.saturating_mul(2),
        })
    }

    /// Puts the layers around the routes, for one connection; a request passes them from the first to the last.
    pub fn service(
        &self,
        timer: ConnectionTimer,
        activity: Arc<Activity>,
    ) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Send + use<> {
        let calls = CallLayer {
            routes: Arc::clone(&self.routes),
            limit: self.request_timeout,
            service: Arc::clone(&self.service),
            activity: Arc::clone(&activity),
        };
        ServiceBuilder::new()
            .layer(calls)
            .layer(SpanLayer)
            .layer(PanicLayer)
            .option_layer(self.cors.clone())
            .layer(DeadlineLayer { timer, activity })
            .layer(CodingsLayer)
            .service(self.dispatch.clone())
    }
}

/// The Open Inference Protocol, with Triton's extensions and KServe's list of models.
fn open_inference() -> Routes<App> {
    Routes::new()
        .route("/v2", get(oip::models::server))
        .route("/v2/health/live", get(health::live))
        .route("/v2/health/ready", get(health::ready))
        .route("/v2/models", get(oip::models::list))
        .route("/v2/models/stats", get(oip::models::all_stats))
        .route("/v2/models/{model}", get(oip::models::metadata))
        .route("/v2/models/{model}/ready", get(oip::models::ready))
        .route("/v2/models/{model}/config", get(oip::models::config))
        .route("/v2/models/{model}/stats", get(oip::models::stats))
        .predicts("/v2/models/{model}/infer", post(oip::infer::model), Wire::OpenInference)
        .route("/v2/models/{model}/versions/{version}", get(oip::models::metadata_of_version))
        .route("/v2/models/{model}/versions/{version}/ready", get(oip::models::ready_version))
        .route("/v2/models/{model}/versions/{version}/config", get(oip::models::config_of_version))
        .route("/v2/models/{model}/versions/{version}/stats", get(oip::models::stats_of_version))
        .predicts("/v2/models/{model}/versions/{version}/infer", post(oip::infer::version), Wire::OpenInference)
        .route("/v2/repository/index", post(oip::control::index))
        .route("/v2/repository/models/{model}/load", post(oip::control::refuse))
        .route("/v2/repository/models/{model}/unload", post(oip::control::refuse))
}

/// TensorFlow Serving's protocol and KServe's first. `{model}` may have a verb: `iris:predict`.
fn tensorflow_serving() -> Routes<App> {
    Routes::new()
        .route("/v1/models", get(tfs::status::list))
        .route("/v1/models/{model}", get(tfs::status::model).post(tfs::predict::model))
        .route("/v1/models/{model}/metadata", get(tfs::metadata::model))
        .route("/v1/models/{model}/versions/{version}", get(tfs::status::version).post(tfs::predict::version))
        .route("/v1/models/{model}/versions/{version}/metadata", get(tfs::metadata::version))
        .route("/v1/models/{model}/labels/{label}", get(tfs::status::label).post(tfs::predict::label))
        .route("/v1/models/{model}/labels/{label}/metadata", get(tfs::status::label))
        .route("/v1/{*path}", any(tfs::predict::no_such_path))
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
            .allow_headers([header::CONTENT_TYPE, X_REQUEST_ID, X_REQUEST_TIMEOUT_MS, INFERENCE_HEADER_CONTENT_LENGTH])
            .expose_headers([X_REQUEST_ID, header::RETRY_AFTER, INFERENCE_HEADER_CONTENT_LENGTH]),
    )
}

async fn no_such_path(request: axum::extract::Request) -> ErrorResponse {
    let (method, path) = (request.method(), request.uri().path());
    Error::not_found(format!("there is nothing at {method} {path}; see / and /docs")).into()
}
