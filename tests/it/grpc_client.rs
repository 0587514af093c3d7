//! A gRPC client, and verbs to talk by it.

use std::{net::SocketAddr, time::Duration};

use onnxd::protocol::proto::{
    inference::{ModelInferRequest, ModelInferResponse, model_infer_request::InferInputTensor},
    onnxd_v1::{PredictRequest, PredictResponse},
};
use prost::Message;
use tonic::{
    Code, Request, Response, Status, Streaming,
    client::Grpc,
    codec::CompressionEncoding,
    codegen::tokio_stream::Stream,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::harness::{PATIENCE, TestServer};

/// The path of `ModelInfer`.
pub const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
/// The path of `ModelStreamInfer`.
pub const MODEL_STREAM_INFER: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
/// The path of `Predict`.
pub const PREDICT: &str = "/onnxd.v1.PredictionService/Predict";

/// A connection to a server.
#[derive(Clone)]
pub struct Client(Channel);

impl Client {
    /// Connects to the gRPC port.
    pub async fn of(server: &TestServer) -> Self {
        Self::at(server.grpc_address.expect("the server has a gRPC port")).await
    }

    /// Connects to a port.
    pub async fn at(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("the address is one");
        Self(endpoint.timeout(PATIENCE).connect().await.expect("the server accepts"))
    }

    /// Makes a call with all that its request has.
    pub async fn call<Q, A>(&self, path: &'static str, request: Request<Q>) -> Result<Response<A>, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.call_with(path, request, |grpc| grpc).await
    }

    /// Makes a call with settings of its own.
    pub async fn call_with<Q, A>(
        &self,
        path: &'static str,
        request: Request<Q>,
        change: impl FnOnce(Grpc<Channel>) -> Grpc<Channel>,
    ) -> Result<Response<A>, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = change(Grpc::new(self.0.clone()).max_decoding_message_size(usize::MAX));
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        grpc.unary(request, http::uri::PathAndQuery::from_static(path), ProstCodec::<Q, A>::default()).await
    }

    /// Makes a call that must succeed.
    pub async fn ask<Q, A>(&self, path: &'static str, message: Q) -> A
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.call(path, Request::new(message)).await.expect("the call succeeds").into_inner()
    }

    /// Makes a call that must fail with this code, and returns the message.
    pub async fn refuse<Q, A>(&self, path: &'static str, message: Q, code: Code) -> String
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let outcome = self.call::<Q, A>(path, Request::new(message)).await;
        let status = outcome.err().expect("the call fails");
        assert_eq!(status.code(), code, "{status}");
        status.message().to_owned()
    }

    /// Opens a stream of requests and answers.
    pub async fn stream<Q, A>(
        &self,
        path: &'static str,
        requests: Request<impl Stream<Item = Q> + Send + 'static>,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = http::uri::PathAndQuery::from_static(path);
        Ok(grpc.streaming(requests, path, ProstCodec::<Q, A>::default()).await?.into_inner())
    }

    /// Asks for predictions.
    pub async fn predict(&self, request: PredictRequest) -> PredictResponse {
        self.ask(PREDICT, request).await
    }

    /// Runs a model.
    pub async fn infer(&self, request: ModelInferRequest) -> ModelInferResponse {
        self.ask(MODEL_INFER, request).await
    }

    /// Runs a model on a request that must be refused as wrong, and returns the message.
    pub async fn refuse_infer(&self, request: ModelInferRequest) -> String {
        self.refuse::<_, ModelInferResponse>(MODEL_INFER, request, Code::InvalidArgument).await
    }
}

/// Posts a body that may be no message at all, with headers beside the usual ones, to be answered by nothing but an error.
pub async fn post_raw(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> (Code, String) {
    let request = http2().post(format!("http://{address}{path}")).header("content-type", "application/grpc");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.header("te", "trailers").body(body).send().await.expect("the server answers");
    let status = Status::from_header_map(response.headers()).expect("an error says its code in a header");
    (status.code(), status.message().to_owned())
}

/// Returns a client of HTTP/2 that asks nobody whether the server speaks it.
pub fn http2() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().timeout(PATIENCE);
    client.build().expect("the client's settings are right")
}

/// Writes a message as it goes over the wire, with its length before it.
pub fn framed(message: &impl Message) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.encoded_len()).expect("it is small").to_be_bytes());
    frame.extend_from_slice(&message.encode_to_vec());
    frame
}

/// Compresses requests, and accepts compressed answers.
pub fn compressed(encoding: CompressionEncoding) -> impl FnOnce(Grpc<Channel>) -> Grpc<Channel> {
    move |grpc| grpc.send_compressed(encoding).accept_compressed(encoding)
}

/// Makes a request that has only so much time.
pub fn within<Q>(message: Q, time: Duration) -> Request<Q> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}

/// A request for a row of iris, raw.
pub fn iris_request() -> ModelInferRequest {
    let input = InferInputTensor {
        name: "features".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1, 4],
        ..Default::default()
    };
    ModelInferRequest {
        model_name: "iris".to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![le_bytes(&[5.1, 3.5, 1.4, 0.2])],
        ..Default::default()
    }
}

/// Writes numbers as they are sent raw.
pub fn le_bytes(values: &[f32]) -> bytes::Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
