//! All services, and what happens to every call: its id, its deadline, what is counted and logged, panics.

use std::{error::Error as _, future::pending, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use hyper::Request;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Code, Status, codec::CompressionEncoding, service::Routes};
use tonic_health::pb::{self as health_pb, health_server::HealthServer};
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span};

use crate::{
    config::ServerConfig,
    edge::{
        error::of_panic,
        prediction::Deadline,
        request_id::{RequestId, X_REQUEST_ID},
    },
    error::{Error, ErrorKind, Result},
    protocol::proto::{
        self, inference::grpc_inference_service_server::GrpcInferenceServiceServer,
        onnxd_v1::prediction_service_server::PredictionServiceServer,
    },
    serving::{
        budget::{Budget, CALL_CHARGE, SharedCharge},
        service::InferenceService,
    },
    transport::{
        closing::{Closing, stopping},
        decompression::Coding,
        grpc::{
            answer_body::{AnswerBody, End, code_in},
            arriving::Arriving,
            call::{Call, Caller},
            health::Health,
            inference::service::OpenInference,
            methods::{Method, Methods},
            predict::Predictions,
            request_body::{ChargedBody, decompressed},
            timeout::grpc_timeout,
        },
        http::pipeline::layers::access_log,
    },
};

/// What a request for gRPC has as its content type, alone or followed by the form of its messages.
const CONTENT_TYPE: &[u8] = b"application/grpc";
/// How a request's messages are compressed, and how an answer's may be.
const GRPC_ENCODING: &str = "grpc-encoding";
const GRPC_ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// The streams that end by themselves when the server stops, after what is under way.
const ENDING_BY_THEMSELVES: [&str; 1] = ["/inference.GRPCInferenceService/ModelStreamInfer"];

/// The gRPC application; cheap to clone.
#[derive(Clone, Debug)]
pub struct GrpcApp {
    routes: Router,
    methods: Arc<Methods>,
    request_timeout: Duration,
    max_body_bytes: usize,
    budget: Arc<Budget>,
}

/// Tells whether a request is for gRPC.
pub fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let suffix = content_type.and_then(|value| value.strip_prefix(CONTENT_TYPE));
    suffix.is_some_and(|suffix| matches!(suffix.first(), None | Some(b'+' | b';')))
}

/// Sets the limit on messages and the codings of a generated server.
macro_rules! with_limits {
    ($server:expr, $config:expr) => {{
        let mut server = $server.max_decoding_message_size($config.limits.max_body_bytes);
        for coding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate, CompressionEncoding::Zstd] {
            server = server.accept_compressed(coding).send_compressed(coding);
        }
        server
    }};
}

impl GrpcApp {
    /// Makes the application.
    ///
    /// # Errors
    /// `Internal` where the descriptors are not well-formed, which every test would show.
    pub fn new(service: &Arc<InferenceService>, config: &ServerConfig) -> Result<Self> {
        let descriptors = [proto::DESCRIPTORS, health_pb::FILE_DESCRIPTOR_SET];
        let of_reflection =
            [tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET];
        let methods = Arc::new(Methods::of(&[&descriptors[..], &of_reflection[..]].concat(), service.metrics())?);
        // It spawns a task a stream, which ends with its stream.
        let reflection = || {
            let register = tonic_reflection::server::Builder::register_encoded_file_descriptor_set;
            descriptors
                .iter()
                .fold(tonic_reflection::server::Builder::configure(), |builder, set| register(builder, set))
        };
        let health = Health { service: Arc::clone(service), methods: Arc::clone(&methods) };
        let predictions = PredictionServiceServer::new(Predictions(Arc::clone(service)));
        let inference = GrpcInferenceServiceServer::new(OpenInference(Arc::clone(service)));
        let routes = Routes::new(with_limits!(inference, config))
            .add_service(with_limits!(predictions, config))
            .add_service(with_limits!(HealthServer::new(health), config))
            .add_service(with_limits!(reflection().build_v1().map_err(Error::internal)?, config))
            .add_service(with_limits!(reflection().build_v1alpha().map_err(Error::internal)?, config));
        Ok(Self {
            routes: routes.prepare().into_axum_router(),
            methods,
            request_timeout: config.limits.request_timeout,
            max_body_bytes: config.limits.max_body_bytes,
            budget: Arc::clone(service.budget()),
        })
    }

    /// Answers a call. Dropping the future, or the answer's body, cancels it.
    pub async fn answer(self, request: Request<Arriving>, closing: Closing) -> Response {
        if !is_grpc(&request) {
            let expected = "expected gRPC: content-type application/grpc";
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, expected).into_response();
        }
        let id = RequestId::of(request.headers());
        let method = self.methods.find(request.uri().path());
        let mut call = Call::new(Arc::clone(method.unwrap_or(self.methods.none())), id.clone());
        let (mut response, end) = match method {
            Some(method) => self.dispatch(request, method, &mut call, closing).await,
            None => (no_such_method(request.uri().path()).into_http(), None),
        };
        self.correct(&mut response, &call);
        if let Some(code) = code_in(response.headers()) {
            call.set_code(code);
        }
        response.headers_mut().insert(X_REQUEST_ID, id.to_header());
        response.map(|body| Body::new(AnswerBody::new(body, call, end)))
    }

    /// Hands the request to its service within the time it has.
    async fn dispatch(
        &self,
        request: Request<Arriving>,
        method: &Method,
        call: &mut Call,
        closing: Closing,
    ) -> (Response, Option<(End, Arc<SharedCharge>)>) {
        let asked = match grpc_timeout(request.headers()) {
            Ok(asked) => asked,
            Err(error) => return (Status::from(error).into_http(), None),
        };
        let allowed = asked.map_or(self.request_timeout, |asked| asked.min(self.request_timeout));
        let now = Instant::now();
        let deadline = Deadline { at: now + allowed, allowed };
        let charge = Arc::new(SharedCharge::new(Arc::clone(&self.budget)));
        let caller = Caller::new(deadline, closing.clone(), Arc::clone(&charge));
        call.watch(&caller);
        let mut request = self.charged(request, &charge);
        request.extensions_mut().insert(caller);
        compress_like_the_request(request.headers_mut());
        // A stream goes on for as long as its client wants; only each of its requests has the usual time.
        let closing = (!ENDING_BY_THEMSELVES.contains(&&*method.path)).then_some(closing);
        let asked = asked.map(|allowed| Deadline { at: now + allowed, allowed });
        let end = method.is_stream.then(|| (end_of_stream(asked, closing), Arc::clone(&charge)));
        let span = match access_log::is_on() {
            true => tracing::info_span!("request", request_id = %call.id()),
            false => Span::none(),
        };
        let answer = CALL_CHARGE.scope(charge, self.routes.clone().oneshot(request));
        let answer = AssertUnwindSafe(answer).catch_unwind().instrument(span);
        let response = match timeout_at(deadline.at, answer).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(panic)) => Status::from(of_panic(&*panic)).into_http(),
            Err(_elapsed) => Status::from(deadline.passed()).into_http(),
        };
        (response, end)
    }

    /// Charges the request's body as it is received, and decompresses its messages.
    fn charged(&self, request: Request<Arriving>, charge: &Arc<SharedCharge>) -> Request<Body> {
        let coding = request.headers().get(GRPC_ENCODING).and_then(|name| Coding::named(name.as_bytes()));
        request.map(|body| {
            let body = ChargedBody::new(body, Arc::clone(charge));
            match coding {
                Some(coding) => decompressed(body, coding, self.max_body_bytes),
                None => Body::new(body),
            }
        })
    }

    /// Gives what tonic itself refuses the code that the same has elsewhere, and logs what is our own fault.
    fn correct(&self, response: &mut Response, call: &Call) {
        let Some(status) = response.extensions().get::<Status>() else { return };
        let corrected = match status.code() {
            Code::OutOfRange => Status::from(Error::new(
                ErrorKind::PayloadTooLarge,
                format!("expected messages of at most {} bytes (--max-body-bytes)", self.max_body_bytes),
            )),
            Code::Internal if let Some(error) = status.source() => {
                let id = call.id();
                tracing::error!(request_id = %id, "request {id} failed: {error}");
                return;
            }
            // The protocol wants that code for a message that says it is compressed where its headers do not.
            Code::Internal if status.message().starts_with("protocol error") => return,
            Code::Internal => Status::invalid_argument(status.message()),
            // The message broke off: its client is gone.
            Code::Unknown => Status::cancelled(status.message()),
            _ => return,
        };
        *response = corrected.into_http();
    }
}

/// Lets tonic compress the answer only for a client that compresses, and in the same way, as other servers of gRPC do.
///
/// Most clients say that they accept compressed answers, whether they want any or not, and small ones cost more than they
/// save: a compressor takes hundreds of KiB of memory for each.
fn compress_like_the_request(headers: &mut HeaderMap) {
    match headers.get(GRPC_ENCODING).cloned() {
        Some(coding) => _ = headers.insert(GRPC_ACCEPT_ENCODING, coding),
        None => _ = headers.remove(GRPC_ACCEPT_ENCODING),
    }
}

/// Resolves when a stream must end that its service would not.
fn end_of_stream(deadline: Option<Deadline>, closing: Option<Closing>) -> End {
    let at_deadline = async move {
        match deadline {
            Some(deadline) => {
                sleep_until(deadline.at).await;
                deadline.passed()
            }
            None => pending().await,
        }
    };
    let at_closing = async move {
        match closing {
            Some(mut closing) => {
                // A sender that is gone means the same: the server has ended.
                let _told = closing.changed().await;
                stopping()
            }
            None => pending().await,
        }
    };
    Box::pin(async move {
        tokio::select! {
            error = at_deadline => error.into(),
            error = at_closing => error.into(),
        }
    })
}

fn no_such_method(path: &str) -> Status {
    let message = format!("there is no method {path:?}; server reflection lists those that there are");
    Error::new(ErrorKind::Unimplemented, message).into()
}
