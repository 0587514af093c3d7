//! A model version that is loaded.

use std::{
    any::Any,
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use futures_util::future::{Either, ready};
use serde_json::value::RawValue;

use crate::{
    batching::lane::Lane,
    error::{Error, Result},
    metrics::ModelMetrics,
    model::{
        manifest::Manifest,
        name::{ModelName, ModelVersion},
        onnx_file::OnnxFile,
        schema::Schema,
        task::Task,
    },
    request::{InferRequest, InferResponse, ValidRequest},
    serving::{
        empty::{Trials, Way},
        plan::Plan,
        probe::Profile,
    },
    tensor::tensor::Tensor,
};

/// A model version that is loaded, with everything a protocol asks of it.
#[derive(Debug)]
pub struct ServedModel {
    pub name: ModelName,
    pub version: ModelVersion,
    pub schema: Arc<Schema>,
    /// What the file says of itself.
    pub file: Arc<OnnxFile>,
    /// The memory that one element of its widest input takes, in bytes.
    pub element_bytes: usize,
    pub manifest: Manifest,
    /// A native request body that works when it is posted back; none where it would be too large to look at.
    pub example: Option<Box<RawValue>>,
    /// The time from opening the file to ready.
    pub load_time: Duration,
    pub metrics: Arc<ModelMetrics>,
    /// What it showed before it served.
    pub profile: Profile,
    /// How it is run, and why.
    pub plan: Plan,
    pub(super) lane: Lane,
    pub(super) attached: OnceLock<Box<dyn Any + Send + Sync>>,
    pub(super) trials: Trials,
}

impl ServedModel {
    /// Checks a request and queues it at once; the future waits for the answer. It is not run if `deadline` passes before its turn.
    ///
    /// # Errors
    /// `InvalidArgument` where it does not fit the signature, `Overloaded` where the queue is full, `Unavailable` where
    /// the model has failed; otherwise what the run gave.
    pub fn infer(
        &self,
        request: InferRequest,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<InferResponse>> + Send {
        let (request, lane) = match self.admit(request) {
            Ok(request) if request.inputs().iter().any(Tensor::is_empty) => match self.trials.way(&request) {
                Ok(Way::Usual) => (request, &self.lane),
                Ok(Way::Answer(answer)) => return Either::Right(ready(Ok(answer))),
                Ok(Way::Trial(lane)) => (request, lane),
                Err(error) => return Either::Right(ready(Err(error))),
            },
            Ok(request) => (request, &self.lane),
            Err(error) => return Either::Right(ready(Err(error))),
        };
        Either::Left(lane.run(request, deadline))
    }

    /// Tells whether axis 0 of every input counts rows: where rows are batched, or each has a prediction.
    pub fn counts_rows(&self) -> bool {
        let has_rows = self.schema.rows.as_ref().is_some_and(|rows| rows.fixed_rows.is_none());
        self.plan.lane.batched || has_rows && !matches!(self.schema.task, Task::Raw(_))
    }

    fn admit(&self, request: InferRequest) -> Result<ValidRequest> {
        let request = ValidRequest::new(request, &self.schema.signature)?;
        if self.schema.rows.is_some() {
            request.check_rows(&self.schema.signature)?;
        }
        request.check_shared_dims(&self.schema.shared_dims, &self.schema.signature)?;
        match self.failure() {
            None => Ok(request),
            Some(reason) => Err(Error::unavailable(format!("model {:?} has failed: {reason}", self.name.as_str()))),
        }
    }

    /// The one value that a protocol keeps with the model, made at the first call; it lives as long as the model.
    ///
    /// # Errors
    /// `Internal` where another type was attached before.
    pub fn attached<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Result<&T> {
        let value = self.attached.get_or_init(|| Box::new(make()));
        value.downcast_ref().ok_or_else(|| Error::internal("another type is attached to the model"))
    }

    /// Returns why the model does not serve now, if it does not: it has failed since it was loaded, or its processes are down.
    pub fn failure(&self) -> Option<Cow<'_, str>> {
        self.lane.failure()
    }
}
