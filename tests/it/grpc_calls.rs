//! What there is to know of the server and its models: the calls beside `ModelInfer`, health and reflection.

use std::sync::Arc;

use onnxd::{protocol::proto::inference::*, server::Ending};
use tokio::sync::mpsc;
use tonic::{Code, Request, codegen::tokio_stream::wrappers::ReceiverStream};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

use crate::{
    fake_engine::{FakeEngine, fake_repository},
    fake_server::Fake,
    grpc_client::{Client, iris_request},
    harness::{TestServer, until, within_patience},
};

macro_rules! path {
    ($method:literal) => {
        concat!("/inference.GRPCInferenceService/", $method)
    };
}

fn name(name: &str) -> String {
    name.to_owned()
}

#[tokio::test]
async fn server_and_models_tell_whether_they_are_ready() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    assert!(client.ask::<_, ServerLiveResponse>(path!("ServerLive"), ServerLiveRequest {}).await.live);
    assert!(client.ask::<_, ServerReadyResponse>(path!("ServerReady"), ServerReadyRequest {}).await.ready);
    for (model, version, expected) in [("iris", "", true), ("iris", "1", true), ("iris", "2", false), ("x", "", false)]
    {
        let request = ModelReadyRequest { name: name(model), version: name(version) };
        let answer: ModelReadyResponse = client.ask(path!("ModelReady"), request).await;
        assert_eq!(answer.ready, expected, "{model} {version}");
    }
    let request = ModelReadyRequest { name: name("iris"), version: name("v1") };
    client.refuse::<_, ModelReadyResponse>(path!("ModelReady"), request, Code::InvalidArgument).await;
}

#[tokio::test]
async fn a_model_that_is_loading_is_not_ready() {
    let (engine, models) = (FakeEngine::new(), fake_repository(&["fake"], ""));
    engine.0.close_load();
    let server = TestServer::start_loading(Arc::new(engine.clone()), models.path(), |_config| {}).await;
    let client = Client::of(&server).await;
    assert!(!client.ask::<_, ServerReadyResponse>(path!("ServerReady"), ServerReadyRequest {}).await.ready);
    let request = ModelReadyRequest { name: name("fake"), ..Default::default() };
    assert!(!client.ask::<_, ModelReadyResponse>(path!("ModelReady"), request).await.ready);
    let request = ModelInferRequest { model_name: name("fake"), ..Default::default() };
    client.refuse::<_, ModelInferResponse>(path!("ModelInfer"), request, Code::Unavailable).await;
    engine.0.open_load();
}

#[tokio::test]
async fn metadata_tells_types_and_shapes() {
    let server = TestServer::start().await;
    let client = Client::of(&server).await;
    let of_server: ServerMetadataResponse = client.ask(path!("ServerMetadata"), ServerMetadataRequest {}).await;
    assert_eq!((&*of_server.name, &*of_server.version), ("onnxd", env!("CARGO_PKG_VERSION")));
    assert!(of_server.extensions.contains(&name("statistics")));
    let request = ModelMetadataRequest { name: name("ride_duration"), ..Default::default() };
    let model: ModelMetadataResponse = client.ask(path!("ModelMetadata"), request).await;
    assert_eq!((&model.versions[..], &*model.platform), (&[name("1")][..], "onnxruntime_onnx"));
    let inputs: Vec<_> = model.inputs.iter().map(|input| (&*input.name, &*input.datatype, &input.shape[..])).collect();
    assert_eq!(inputs[0], ("PULocationID", "INT64", &[-1, 1][..]));
    assert_eq!((inputs.len(), model.outputs.len()), (3, 1));
    for (model, version, code) in
        [("x", "", Code::NotFound), ("iris", "7", Code::NotFound), ("iris", "x", Code::InvalidArgument)]
    {
        let request = ModelMetadataRequest { name: name(model), version: name(version) };
        client.refuse::<_, ModelMetadataResponse>(path!("ModelMetadata"), request, code).await;
    }
}

#[tokio::test]
async fn configuration_is_tritons() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let request = ModelConfigRequest { name: name("iris"), ..Default::default() };
    let answer: ModelConfigResponse = client.ask(path!("ModelConfig"), request).await;
    let config = answer.config.unwrap();
    assert_eq!((&*config.name, config.max_batch_size, &*config.backend), ("iris", 64, "onnxruntime"));
    assert_eq!((config.input[0].data_type(), &config.input[0].dims[..]), (DataType::TypeFp32, &[4][..]));
    assert!(!config.model_transaction_policy.unwrap().decoupled);
}

#[tokio::test]
async fn statistics_count_what_was_asked() {
    let server = TestServer::start().await;
    let client = Client::of(&server).await;
    for _ in 0..3 {
        client.infer(iris_request()).await;
    }
    client.refuse_infer(ModelInferRequest { inputs: Vec::new(), ..iris_request() }).await;
    let request = ModelStatisticsRequest { name: name("iris"), ..Default::default() };
    let answer: ModelStatisticsResponse = client.ask(path!("ModelStatistics"), request).await;
    let [iris] = &answer.model_stats[..] else { panic!("one version: {answer:?}") };
    let stats = iris.inference_stats.as_ref().unwrap();
    let (success, fail) = (stats.success.as_ref().unwrap(), stats.fail.as_ref().unwrap());
    assert_eq!((success.count, fail.count, iris.inference_count), (3, 1, 3));
    assert!(success.ns > 0 && stats.compute_infer.as_ref().unwrap().ns > 0 && iris.last_inference > 0);
    let all: ModelStatisticsResponse = client.ask(path!("ModelStatistics"), ModelStatisticsRequest::default()).await;
    assert_eq!(all.model_stats.len(), 6);
}

#[tokio::test]
async fn the_repository_is_listed_and_not_changed() {
    let server = TestServer::start().await;
    let client = Client::of(&server).await;
    let index: RepositoryIndexResponse = client.ask(path!("RepositoryIndex"), RepositoryIndexRequest::default()).await;
    assert_eq!(index.models.len(), 6);
    assert!(index.models.iter().all(|model| (&*model.version, &*model.state) == ("1", "READY")));
    let load = RepositoryModelLoadRequest { model_name: name("iris"), ..Default::default() };
    let load = client.call::<_, RepositoryModelLoadResponse>(path!("RepositoryModelLoad"), Request::new(load)).await;
    let status = load.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("not enabled"), "{status}");
    // Unlike other errors of this code: it will be no different later.
    assert!(!status.metadata().contains_key("grpc-retry-pushback-ms"));
    let unload = RepositoryModelUnloadRequest { model_name: name("iris"), ..Default::default() };
    client.refuse::<_, RepositoryModelUnloadResponse>(path!("RepositoryModelUnload"), unload, Code::Unavailable).await;
    let other = RepositoryIndexRequest { repository_name: name("other"), ..Default::default() };
    let error =
        client.refuse::<_, RepositoryIndexResponse>(path!("RepositoryIndex"), other, Code::InvalidArgument).await;
    assert_eq!(error, "repository_name: expected none, as there is one repository");
}

#[tokio::test]
async fn what_is_asked_of_no_model_is_refused() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let version_alone = ModelStatisticsRequest { version: name("1"), ..Default::default() };
    let path = path!("ModelStatistics");
    let error = client.refuse::<_, ModelStatisticsResponse>(path, version_alone, Code::InvalidArgument).await;
    assert_eq!(error, "expected a model beside its version, but got none");
    for (model, version, code) in [
        ("x", "", Code::NotFound),
        ("iris", "9", Code::NotFound),
        ("", "", Code::NotFound),
        ("iris", "latest", Code::InvalidArgument),
    ] {
        let (name, version) = (name(model), name(version));
        let request = ModelMetadataRequest { name: name.clone(), version: version.clone() };
        client.refuse::<_, ModelMetadataResponse>(path!("ModelMetadata"), request, code).await;
        let request = ModelConfigRequest { name: name.clone(), version: version.clone() };
        client.refuse::<_, ModelConfigResponse>(path!("ModelConfig"), request, code).await;
        if !name.is_empty() {
            let request = ModelStatisticsRequest { name, version };
            client.refuse::<_, ModelStatisticsResponse>(path!("ModelStatistics"), request, code).await;
        }
    }
}

#[tokio::test]
async fn what_is_not_supported_is_unimplemented() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    for path in [
        path!("SystemSharedMemoryStatus"),
        path!("SystemSharedMemoryRegister"),
        path!("SystemSharedMemoryUnregister"),
        path!("CudaSharedMemoryStatus"),
        path!("CudaSharedMemoryRegister"),
        path!("CudaSharedMemoryUnregister"),
        path!("TraceSetting"),
        path!("LogSettings"),
        path!("NoSuchMethod"),
        "/no.such.Service/Method",
    ] {
        let error = client.refuse::<(), ()>(path, (), Code::Unimplemented).await;
        let expected =
            ["shared memory is not supported", "tracing is not supported", "--log-level", "there is no method"];
        assert!(expected.iter().any(|expected| error.contains(expected)), "{path}: {error}");
    }
}

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

fn health_of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: name(service) }
}

#[tokio::test]
async fn health_is_readiness() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    for service in ["", "inference.GRPCInferenceService", "onnxd.v1.PredictionService", "grpc.health.v1.Health"] {
        let answer: HealthCheckResponse = client.ask(CHECK, health_of(service)).await;
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    client.refuse::<_, HealthCheckResponse>(CHECK, health_of("no.such.Service"), Code::NotFound).await;
}

#[tokio::test]
async fn a_watch_sees_loading_serving_and_draining() {
    let (engine, models) = (FakeEngine::new(), fake_repository(&["fake"], ""));
    engine.0.close_load();
    let mut server = TestServer::start_loading(Arc::new(engine.clone()), models.path(), |_config| {}).await;
    let client = Client::of(&server).await;
    let once = Request::new(futures_util::stream::once(async { health_of("") }));
    let mut watch = client.stream::<_, HealthCheckResponse>(WATCH, once).await.unwrap();
    let mut next = async || within_patience(watch.message()).await.map(|answer| answer.map(|answer| answer.status()));
    assert_eq!(next().await.unwrap(), Some(ServingStatus::NotServing));
    engine.0.open_load();
    assert_eq!(next().await.unwrap(), Some(ServingStatus::Serving));
    server.start_stopping();
    assert_eq!(next().await.unwrap(), Some(ServingStatus::NotServing));
    // It would go on for ever.
    assert_eq!(next().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(server.stop().await, Ending::Drained);
}

#[tokio::test]
async fn a_watch_sees_a_model_fail() {
    let fake = Fake::start("", |_config| {}).await;
    let client = Client::of(&fake.server).await;
    let once = |service| Request::new(futures_util::stream::once(async move { health_of(service) }));
    let mut watch = client.stream::<_, HealthCheckResponse>(WATCH, once("")).await.unwrap();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    fake.control.set_run(crate::fake_engine::Run::Panic);
    fake.post().await;
    until(async || fake.server.service.why_not_ready().is_some()).await;
    assert_eq!(within_patience(watch.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let mut unknown = client.stream::<_, HealthCheckResponse>(WATCH, once("no.such.Service")).await.unwrap();
    assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn reflection_lists_all_services() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        // The messages of both versions are the same.
        let (send, requests) = mpsc::channel(2);
        let ask = |request| ServerReflectionRequest { message_request: Some(request), ..Default::default() };
        send.send(ask(MessageRequest::ListServices(String::new()))).await.unwrap();
        send.send(ask(MessageRequest::FileContainingSymbol(name("inference.GRPCInferenceService")))).await.unwrap();
        let stream = Request::new(ReceiverStream::new(requests));
        let mut answers = client.stream::<_, ServerReflectionResponse>(path, stream).await.unwrap();
        let listed = answers.message().await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
        let services: Vec<_> = listed.service.iter().map(|service| &*service.name).collect();
        for expected in ["inference.GRPCInferenceService", "onnxd.v1.PredictionService", "grpc.health.v1.Health"] {
            assert!(services.contains(&expected), "{services:?}");
        }
        let file = answers.message().await.unwrap().unwrap().message_response.unwrap();
        assert!(matches!(file, MessageResponse::FileDescriptorResponse(_)), "{file:?}");
    }
}
