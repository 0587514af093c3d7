//! How messages are read and written: by prost, off the event loop where that takes long.

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tokio::runtime::{Handle, RuntimeFlavor};
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// From this many bytes on, reading a message takes the event loop longer than it may be held, unless most of them are
/// only sliced.
const OFFLOAD_BYTES: usize = 64 * 1024;
/// Room for a message before its length is known; most are small.
const BUFFER_BYTES: usize = 1024;
/// From this many bytes on, answers are passed on before the next is written.
const YIELD_BYTES: usize = 32 * 1024;
/// The number of `raw_input_contents`, whose bytes are only sliced.
const SLICED_FIELD: u64 = 7;

/// Reads messages of type `U` and writes those of type `T`.
#[derive(Clone, Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

/// Writes messages.
#[derive(Clone, Debug)]
pub struct MessageEncoder<T>(PhantomData<T>);

/// Reads messages.
#[derive(Clone, Debug)]
pub struct MessageDecoder<U>(PhantomData<U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = MessageEncoder<T>;
    type Decoder = MessageDecoder<U>;

    fn encoder(&mut self) -> MessageEncoder<T> {
        MessageEncoder(PhantomData)
    }

    fn decoder(&mut self) -> MessageDecoder<U> {
        MessageDecoder(PhantomData)
    }
}

impl<T: Message> Encoder for MessageEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        message.encode(buffer).map_err(|error| Status::from_error(Box::new(error)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl<U: Message + Default> Decoder for MessageDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let takes_long = buffer.remaining() >= OFFLOAD_BYTES && parsed_bytes(buffer.chunk()) >= OFFLOAD_BYTES;
        let has_other_threads = || Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
        let decoded = match takes_long && has_other_threads() {
            true => tokio::task::block_in_place(|| U::decode(buffer)),
            false => U::decode(buffer),
        };
        decoded.map(Some).map_err(|error| Status::invalid_argument(format!("the message cannot be read: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// Returns how many bytes of a message are parsed: all but those of `raw_input_contents`.
fn parsed_bytes(message: &[u8]) -> usize {
    let mut rest = message;
    let mut sliced = 0;
    // A message that is not well-formed is refused by the parser; until then all of it counts.
    while let (Ok(tag), Ok(length)) = (read_varint(&mut rest), read_varint(&mut rest)) {
        let (field, wire_type) = (tag >> 3, tag & 7);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if wire_type != 2 || length > rest.len() {
            break;
        }
        rest.advance(length);
        if field == SLICED_FIELD {
            sliced += length;
        }
    }
    message.len() - sliced
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64, prost::DecodeError> {
    prost::encoding::decode_varint(bytes)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::api::grpc::proto::inference::{
        InferTensorContents, ModelInferRequest, model_infer_request::InferInputTensor,
    };

    #[test]
    fn only_bytes_that_are_parsed_count() {
        let raw = Bytes::from(vec![0; 100_000]);
        let raw = ModelInferRequest { raw_input_contents: vec![raw.clone(), raw], ..Default::default() };
        assert!(parsed_bytes(&raw.encode_to_vec()) < 100);
        let contents = InferTensorContents { fp32_contents: vec![1.0; 25_000], ..Default::default() };
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        let typed = ModelInferRequest { inputs: vec![input], ..Default::default() };
        assert!(parsed_bytes(&typed.encode_to_vec()) > 100_000);
    }

    #[test]
    fn bytes_that_are_no_message_all_count() {
        for bytes in [&b"\xff\xff"[..], b"\x3a\xff\xff\xff\xff\x0f", b"\x08"] {
            assert_eq!(parsed_bytes(bytes), bytes.len());
        }
    }
}
