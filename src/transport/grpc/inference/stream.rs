//! `ModelStreamInfer`: requests in one stream, each answered once, in their order.

use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};
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
    transport::grpc::{
        app::{Closing, stopping},
        call::Caller,
        inference::infer::infer,
    },
};

/// The most requests of a stream that are under way at a time; while they are, no more of the stream is read.
const MAX_UNDER_WAY: usize = 64;
/// The parameter by which a client asks to be told which answer is a request's last.
const ENABLE_FINAL: &str = "triton_enable_empty_final_response";
/// The parameter that tells it.
const FINAL: &str = "triton_final_response";

/// The answers of a stream.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

/// Answers the requests of a stream until it ends, or until the server stops; what has been read by then is answered.
pub(super) fn answers(
    service: &Arc<InferenceService>,
    caller: Caller,
    messages: Streaming<ModelInferRequest>,
) -> Answers {
    let (service, closing) = (Arc::clone(service), caller.closing.clone());
    let answer = move |message: Result<ModelInferRequest, Status>| {
        let (service, caller) = (Arc::clone(&service), caller.clone());
        // Freed with this answer, not with the stream.
        let charge = caller.charge.split();
        async move {
            let answered = answer(&service, &caller, message?).await;
            drop(charge);
            Ok(answered)
        }
    };
    Box::pin(requests(messages, closing).map(answer).buffered(MAX_UNDER_WAY))
}

/// Reads the requests; the last item is an error where the stream does not end as its client meant it to.
fn requests(
    messages: Streaming<ModelInferRequest>,
    closing: Closing,
) -> impl Stream<Item = Result<ModelInferRequest, Status>> {
    stream::unfold(Some((messages, closing)), |open| async {
        let (mut messages, mut closing) = open?;
        let message = tokio::select! {
            biased;
            message = messages.message() => message,
            // A sender that is gone means the same: the server has ended.
            _told = closing.changed() => Err(stopping().into()),
        };
        match message.transpose()? {
            Ok(request) => Some((Ok(request), Some((messages, closing)))),
            Err(status) => Some((Err(status), None)),
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
