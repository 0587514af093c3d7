//! All calls of the service.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use crate::{
    error::{Error, ErrorKind},
    protocol::{
        oip::{
            config, index, metadata,
            models::{find, is_ready},
            statistics,
        },
        oip_grpc::describe,
        proto::inference::{grpc_inference_service_server::GrpcInferenceService, *},
    },
    serving::service::InferenceService,
    transport::grpc::{
        call::Caller,
        inference::{
            infer::{given_version, infer},
            stream::{Answers, answers},
        },
    },
};

#[derive(Clone, Debug)]
pub(in crate::transport::grpc) struct OpenInference(pub(in crate::transport::grpc) Arc<InferenceService>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for OpenInference {
    type ModelStreamInferStream = Answers;

    async fn server_live(&self, _request: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _request: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        Ok(Response::new(ServerReadyResponse { ready: self.0.why_not_ready().is_none() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let ready = match is_ready(&self.0, &name, given_version(&version)?) {
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            ready => ready?,
        };
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(&self, _request: Request<ServerMetadataRequest>) -> Answer<ServerMetadataResponse> {
        Ok(Response::new(describe::server(&metadata::server())))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Answer<ModelMetadataResponse> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let version = given_version(&version)?;
        let model = find(&self.0, &name, version)?;
        Ok(Response::new(describe::model(metadata::model(&self.0, &model, version.is_some())?)))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(infer(&self.0, &caller, caller.deadline, request.into_inner()).await?))
    }

    async fn model_stream_infer(&self, request: Request<Streaming<ModelInferRequest>>) -> Answer<Answers> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(answers(&self.0, caller, request.into_inner())))
    }

    async fn model_config(&self, request: Request<ModelConfigRequest>) -> Answer<ModelConfigResponse> {
        let ModelConfigRequest { name, version } = request.into_inner();
        let model = find(&self.0, &name, given_version(&version)?)?;
        Ok(Response::new(ModelConfigResponse { config: Some(describe::config(config::model(&model))?) }))
    }

    async fn model_statistics(&self, request: Request<ModelStatisticsRequest>) -> Answer<ModelStatisticsResponse> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        let version = given_version(&version)?;
        let statistics = match (&*name, version) {
            ("", None) => statistics::all(&self.0),
            ("", Some(_)) => return Err(Error::invalid("expected a model beside its version, but got none").into()),
            (name, version) => {
                statistics::model(&self.0.catalog(), &*find(&self.0, name, version)?, version.is_some())?
            }
        };
        Ok(Response::new(describe::statistics(statistics)))
    }

    async fn repository_index(&self, request: Request<RepositoryIndexRequest>) -> Answer<RepositoryIndexResponse> {
        let RepositoryIndexRequest { repository_name, ready } = request.into_inner();
        if !repository_name.is_empty() {
            return Err(Error::invalid("repository_name: expected none, as there is one repository").into());
        }
        Ok(Response::new(describe::index(index::list(&self.0.catalog(), ready))))
    }

    async fn repository_model_load(
        &self,
        _request: Request<RepositoryModelLoadRequest>,
    ) -> Answer<RepositoryModelLoadResponse> {
        Err(index::control_is_off().into())
    }

    async fn repository_model_unload(
        &self,
        _request: Request<RepositoryModelUnloadRequest>,
    ) -> Answer<RepositoryModelUnloadResponse> {
        Err(index::control_is_off().into())
    }

    async fn system_shared_memory_status(
        &self,
        _request: Request<SystemSharedMemoryStatusRequest>,
    ) -> Answer<SystemSharedMemoryStatusResponse> {
        Err(no_shared_memory())
    }

    async fn system_shared_memory_register(
        &self,
        _request: Request<SystemSharedMemoryRegisterRequest>,
    ) -> Answer<SystemSharedMemoryRegisterResponse> {
        Err(no_shared_memory())
    }

    async fn system_shared_memory_unregister(
        &self,
        _request: Request<SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<SystemSharedMemoryUnregisterResponse> {
        Err(no_shared_memory())
    }

    async fn cuda_shared_memory_status(
        &self,
        _request: Request<CudaSharedMemoryStatusRequest>,
    ) -> Answer<CudaSharedMemoryStatusResponse> {
        Err(no_shared_memory())
    }

    async fn cuda_shared_memory_register(
        &self,
        _request: Request<CudaSharedMemoryRegisterRequest>,
    ) -> Answer<CudaSharedMemoryRegisterResponse> {
        Err(no_shared_memory())
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _request: Request<CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<CudaSharedMemoryUnregisterResponse> {
        Err(no_shared_memory())
    }

    async fn trace_setting(&self, _request: Request<TraceSettingRequest>) -> Answer<TraceSettingResponse> {
        Err(Status::unimplemented("tracing is not supported"))
    }

    async fn log_settings(&self, _request: Request<LogSettingsRequest>) -> Answer<LogSettingsResponse> {
        Err(Status::unimplemented("the log is set when the server starts: see --log-level"))
    }
}

fn no_shared_memory() -> Status {
    Status::unimplemented("shared memory is not supported: send tensors in the request")
}
