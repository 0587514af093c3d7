//! `ModelStreamInfer`: one answer a request, in their order, errors inside the stream.

use std::collections::HashMap;

use onnxd::{
    protocol::proto::inference::{
        InferParameter, ModelInferRequest, ModelStreamInferResponse, infer_parameter::ParameterChoice,
    },
    server::Ending,
};
use tokio::sync::mpsc;
use tonic::{Code, Request, Streaming, codegen::tokio_stream::wrappers::ReceiverStream};

use crate::{
    fake_engine::Run,
    fake_server::Fake,
    grpc_client::{Client, MODEL_STREAM_INFER, within},
    grpc_fake::tensors,
    harness::{until, within_patience},
};

/// A stream whose requests a test sends one by one.
struct Stream {
    requests: mpsc::Sender<ModelInferRequest>,
    answers: Streaming<ModelStreamInferResponse>,
}

impl Stream {
    async fn open(client: &Client) -> Self {
        let (requests, received) = mpsc::channel(64);
        let answers = client.stream(MODEL_STREAM_INFER, Request::new(ReceiverStream::new(received))).await.unwrap();
        Self { requests, answers }
    }

    async fn send(&self, request: ModelInferRequest) {
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> ModelStreamInferResponse {
        within_patience(self.answers.message()).await.unwrap().expect("there is one more answer")
    }
}

/// Returns the id of an answer.
fn id(answer: &ModelStreamInferResponse) -> &str {
    &answer.infer_response.as_ref().expect("every answer says for which request it is").id
}

/// Returns the value of an answer.
fn value(answer: &ModelStreamInferResponse) -> f32 {
    let raw = &answer.infer_response.as_ref().unwrap().raw_output_contents[0];
    f32::from_le_bytes(raw[..].try_into().unwrap())
}

#[tokio::test]
async fn requests_are_answered_in_their_order_and_run_together() {
    let fake = Fake::start("", |_config| {}).await;
    let mut stream = Stream::open(&Client::of(&fake.server).await).await;
    fake.control.close_gate();
    for index in 0..16_u8 {
        stream.send(tensors(&index.to_string(), f32::from(index))).await;
    }
    fake.until_in_flight(16).await;
    fake.control.open_gate();
    for index in 0..16_u8 {
        let answer = stream.next().await;
        assert_eq!((id(&answer), value(&answer)), (&*index.to_string(), f32::from(index)));
        assert!(answer.infer_response.unwrap().parameters.is_empty());
    }
    assert!(fake.runs() < 16, "{:?}", fake.rows());
    drop(stream.requests);
    assert!(stream.answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn an_error_is_an_answer_and_the_stream_goes_on() {
    let fake = Fake::start("", |_config| {}).await;
    let mut stream = Stream::open(&Client::of(&fake.server).await).await;
    stream.send(ModelInferRequest { model_name: "nope".to_owned(), id: "1".to_owned(), ..Default::default() }).await;
    stream.send(ModelInferRequest { inputs: Vec::new(), ..tensors("2", 0.0) }).await;
    stream.send(tensors("3", 7.0)).await;
    let answer = stream.next().await;
    assert_eq!((id(&answer), &*answer.error_message), ("1", "Request for unknown model: 'nope' is not found"));
    let answer = stream.next().await;
    assert!(id(&answer) == "2" && answer.error_message.starts_with("expected 2 inputs but got 0"), "{answer:?}");
    let answer = stream.next().await;
    assert_eq!((id(&answer), &*answer.error_message, value(&answer)), ("3", "", 7.0));
    fake.control.set_run(Run::Fail);
    stream.send(tensors("4", 1.0)).await;
    assert_eq!(stream.next().await.error_message, "internal error");
    fake.control.set_run(Run::Panic);
    stream.send(tensors("5", 1.0)).await;
    assert_eq!(stream.next().await.error_message, "internal error");
}

#[tokio::test]
async fn final_answers_are_marked_where_that_is_asked_for() {
    let fake = Fake::start("", |_config| {}).await;
    let mut stream = Stream::open(&Client::of(&fake.server).await).await;
    let yes = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    let parameters: HashMap<_, _> = [("triton_enable_empty_final_response".to_owned(), yes.clone())].into();
    stream.send(ModelInferRequest { parameters, ..tensors("1", 1.0) }).await;
    let answer = stream.next().await.infer_response.unwrap();
    assert_eq!(answer.parameters, [("triton_final_response".to_owned(), yes)].into());
}

#[tokio::test]
async fn a_request_of_a_stream_has_the_usual_time() {
    let fake = Fake::start("", |config| config.limits.request_timeout = std::time::Duration::from_millis(50)).await;
    let mut stream = Stream::open(&Client::of(&fake.server).await).await;
    fake.control.close_gate();
    stream.send(tensors("1", 1.0)).await;
    assert_eq!(stream.next().await.error_message, "there was no answer within 50ms");
    fake.control.open_gate();
    // The time is short, and its clock runs on a busy machine too.
    loop {
        stream.send(tensors("2", 1.0)).await;
        let answer = stream.next().await;
        if answer.error_message.is_empty() {
            assert_eq!(value(&answer), 1.0);
            return;
        }
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_client_says() {
    let fake = Fake::start("", |_config| {}).await;
    let client = Client::of(&fake.server).await;
    let (_requests, received) = mpsc::channel::<ModelInferRequest>(1);
    let request = within(ReceiverStream::new(received), std::time::Duration::from_millis(100));
    // Whichever notices first, the client or the server, and perhaps before the stream is open.
    let status = match client.stream::<_, ModelStreamInferResponse>(MODEL_STREAM_INFER, request).await {
        Ok(mut answers) => within_patience(answers.message()).await.unwrap_err(),
        Err(status) => status,
    };
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
}

#[tokio::test]
async fn a_stream_ends_with_the_server_after_what_is_under_way() {
    let mut fake = Fake::start("", |_config| {}).await;
    let mut stream = Stream::open(&Client::of(&fake.server).await).await;
    fake.control.close_gate();
    stream.send(tensors("1", 7.0)).await;
    fake.until_running(1).await;
    fake.server.start_stopping();
    until(async || fake.server.service.is_draining()).await;
    fake.control.open_gate();
    assert_eq!(value(&stream.next().await), 7.0);
    let status = within_patience(stream.answers.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server is about to stop"));
    assert_eq!(fake.server.stop().await, Ending::Drained);
}
