//! `grpc.health.v1.Health`: readiness, as Kubernetes' gRPC probes and load balancers ask for it.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server};

use crate::{error::Error, serving::service::InferenceService, transport::grpc::methods::Methods};

/// How often a watch looks whether a model has failed since it was loaded, of which nothing else tells.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The service. Each of the services is as ready as the server.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) service: Arc<InferenceService>,
    pub(super) methods: Arc<Methods>,
}

impl Health {
    fn status_of(&self, name: &str) -> ServingStatus {
        match self.service.why_not_ready() {
            _ if !name.is_empty() && !self.methods.has_service(name) => ServingStatus::ServiceUnknown,
            None => ServingStatus::Serving,
            Some(_reason) => ServingStatus::NotServing,
        }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        match self.status_of(&name) {
            ServingStatus::ServiceUnknown => Err(Error::not_found(format!("there is no service {name:?}")).into()),
            status => Ok(Response::new(HealthCheckResponse { status: status.into() })),
        }
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let (health, changes) = (self.clone(), self.service.changes());
        let statuses = stream::unfold((None, changes), move |(last, mut changes)| {
            let (health, name) = (health.clone(), name.clone());
            async move {
                loop {
                    let status = health.status_of(&name);
                    if last != Some(status) {
                        return Some((Ok(HealthCheckResponse { status: status.into() }), (Some(status), changes)));
                    }
                    // The sender is a field of the service, so it cannot be gone.
                    let _changed_or_not = tokio::time::timeout(LOOK_INTERVAL, changes.changed()).await;
                }
            }
        });
        Ok(Response::new(Box::pin(statuses)))
    }
}
