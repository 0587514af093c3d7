//! `ModelStreamInfer`: requests in one stream, each answered once, in their order.

use std::{future::ready, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio::{
    sync::mpsc::{OwnedPermit, Sender, channel},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tonic::{Status, Streaming};

use crate::{
    edge::{
        error::{of_panic, told},
        prediction::Deadline,
    },
    error::{ErrorKind, Result},
    protocol::proto::inference::{
        InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
        infer_parameter::ParameterChoice,
    },
    serving::service::InferenceService,
    transport::{
        closing::{Closing, stopping},
        grpc::{call::Caller, inference::infer::infer},
    },
};

/// The most requests of a stream that are under way, or whose answers the client has not read; while they are, no more of the
/// stream is read.
const MAX_UNDER_WAY: usize = 64;
/// The parameter by which a client asks to be told which answer is a request's last.
const ENABLE_FINAL: &str = "triton_enable_empty_final_response";
/// The parameter that tells it.
const FINAL: &str = "triton_final_response";

/// The answers of a stream.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

/// The place that a request's answer has among those that the client has not read yet.
type Place = OwnedPermit<Result<ModelStreamInferResponse, Status>>;

/// Answers the requests of a stream until it ends, or until the server stops; what has been read by then is answered.
///
/// The requests run in a task of their own: the client decides when its answers are read, but a request may have the turn of
/// its lane, and must not keep it for that long. Dropping the answers ends the task.
pub(super) fn answers(
    service: &Arc<InferenceService>,
    caller: Caller,
    messages: Streaming<ModelInferRequest>,
) -> Answers {
    let (service, closing) = (Arc::clone(service), caller.closing.clone());
    let answer = move |(place, message): (Place, Result<ModelInferRequest, Status>)| {
        let (service, caller) = (Arc::clone(&service), caller.clone());
        // Freed with this answer, not with the stream.
        let charge = caller.charge.split();
        async move {
            let answer = match message {
                Ok(request) => Ok(answer(&service, &caller, request).await),
                Err(status) => Err(status),
            };
            drop(charge);
            (place, answer)
        }
    };
    let send = |(place, answer): (Place, Result<ModelStreamInferResponse, Status>)| {
        place.send(answer);
        ready(())
    };
    let (places, answers) = channel(MAX_UNDER_WAY);
    let mut task = JoinSet::new();
    task.spawn(requests(messages, closing, places).map(answer).buffered(MAX_UNDER_WAY).for_each(send));
    Box::pin(stream::unfold((answers, task), |(mut answers, task)| async {
        let answer = answers.recv().await?;
        Some((answer, (answers, task)))
    }))
}

/// Reads the requests, each once there is a place for its answer. The last item is an error if the stream does not end as its
/// client meant it to.
fn requests(
    messages: Streaming<ModelInferRequest>,
    closing: Closing,
    places: Sender<Result<ModelStreamInferResponse, Status>>,
) -> impl Stream<Item = (Place, Result<ModelInferRequest, Status>)> {
    stream::unfold(Some((messages, closing, places)), |open| async {
        let (mut messages, mut closing, places) = open?;
        // An error means that the client has left.
        let place = places.clone().reserve_owned().await.ok()?;
        let message = tokio::select! {
            biased;
            message = messages.message() => message,
            // A sender that is gone means the same: the server has ended.
            _told = closing.changed() => Err(stopping().into()),
        };
        match message.transpose()? {
            Ok(request) => Some(((place, Ok(request)), Some((messages, closing, places)))),
            Err(status) => Some(((place, Err(status)), None)),
        }
    })
}

/// Answers one request; an error is an answer too, which leaves the stream open.
async fn answer(service: &InferenceService, caller: &Caller, request: ModelInferRequest) -> ModelStreamInferResponse {
    let wants_final = request.parameters.get(ENABLE_FINAL).is_some_and(is_true);
    let id = request.id.clone();
    let allowed = caller.deadline.allowed;
    let deadline = Deadline { at: Instant::now() + allowed, allowed };
    let outcome = AssertUnwindSafe(infer(service, caller, deadline, request)).catch_unwind();
    let outcome = match timeout_at(deadline.at, outcome).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(of_panic(&*panic)),
        Err(_elapsed) => Err(deadline.passed()),
    };
    let (mut response, error_message) = match outcome {
        Ok(response) => (response, String::new()),
        Err(error) => {
            if error.kind() == ErrorKind::Internal {
                tracing::error!("request {id:?} of a stream failed: {error}");
            }
            // The id tells the client which of its requests that was.
            (ModelInferResponse { id, ..Default::default() }, told(error.message()).into_owned())
        }
    };
    if wants_final {
        let yes = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
        response.parameters.insert(FINAL.to_owned(), yes);
    }
    ModelStreamInferResponse { error_message, infer_response: Some(response) }
}

fn is_true(parameter: &InferParameter) -> bool {
    parameter.parameter_choice == Some(ParameterChoice::BoolParam(true))
}
