//! How messages are read and written: by prost, off the event loop where that takes long.

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tokio::runtime::{Handle, RuntimeFlavor};
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::{
    protocol::message_memory::{next_field, of_message},
    serving::budget::CALL_CHARGE,
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
/// So many fields may be as short as they like: as many rows as a request has by default.
///
/// An input takes 312 bytes of memory, were it nothing but the two that say so: a message of 64 MiB could ask for 10 GB.
const MAX_SMALL_FIELDS: usize = 100_000;
/// How long the fields are on average of which there are more.
const MIN_FIELD_BYTES: usize = 8;

/// Reads messages of type `U` and writes those of type `T`.
#[derive(Clone, Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

#[derive(Clone, Debug)]
pub struct MessageEncoder<T>(PhantomData<T>);

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
        read(buffer).map(Some)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// Reads a message, of which one chunk has all bytes.
///
/// # Errors
/// `InvalidArgument` where it is none, or has so many fields that they would take far more memory than it is long.
pub fn read<U: Message + Default>(message: impl Buf) -> Result<U, Status> {
    // So few bytes take little time and, whatever is in them, little memory.
    if message.remaining() < OFFLOAD_BYTES {
        return parse(message);
    }
    let fields = Fields::of(message.chunk());
    fields.check(message.remaining())?;
    // Outside of a call nothing is charged: tests, and the load generator.
    if let Ok(charged) = CALL_CHARGE.try_with(|charge| charge.grow_now(of_message(message.chunk()))) {
        charged?;
    }
    let is_threaded = |handle: Handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread;
    match fields.parsed_bytes >= OFFLOAD_BYTES && Handle::try_current().is_ok_and(is_threaded) {
        true => tokio::task::block_in_place(|| parse(message)),
        false => parse(message),
    }
}

fn parse<U: Message + Default>(message: impl Buf) -> Result<U, Status> {
    U::decode(message).map_err(|error| Status::invalid_argument(format!("the message cannot be read: {error}")))
}

/// What a message is made of, before it is parsed.
#[derive(Debug)]
struct Fields {
    /// How many there are of those that have a length: strings, bytes, lists and messages.
    count: usize,
    /// How many bytes are parsed: all but those of `raw_input_contents`.
    parsed_bytes: usize,
}

impl Fields {
    /// Walks over the fields. A message that is not well-formed is refused by the parser where this stops; until then all
    /// the rest counts as parsed.
    fn of(message: &[u8]) -> Self {
        let (mut rest, mut count, mut sliced) = (message, 0, 0);
        while let Some((field, bytes)) = next_field(&mut rest) {
            count += usize::from(bytes.is_some());
            if field == SLICED_FIELD {
                sliced += bytes.unwrap_or(0);
            }
        }
        Self { count, parsed_bytes: message.len() - sliced }
    }

    fn check(&self, length: usize) -> Result<(), Status> {
        if self.count <= MAX_SMALL_FIELDS || length / self.count >= MIN_FIELD_BYTES {
            return Ok(());
        }
        Err(Status::invalid_argument(format!(
            "the message has {} fields in {length} bytes: expected at most {MAX_SMALL_FIELDS}, or {MIN_FIELD_BYTES} bytes \
             and more for each",
            self.count
        )))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::proto::inference::{
        InferTensorContents, ModelInferRequest, model_infer_request::InferInputTensor,
    };

    #[test]
    fn only_bytes_that_are_parsed_count() {
        let raw = Bytes::from(vec![0; 100_000]);
        let raw = ModelInferRequest { raw_input_contents: vec![raw.clone(), raw], ..Default::default() };
        assert!(Fields::of(&raw.encode_to_vec()).parsed_bytes < 100);
        let contents = InferTensorContents { fp32_contents: vec![1.0; 25_000], ..Default::default() };
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        let typed = ModelInferRequest { inputs: vec![input], ..Default::default() };
        assert!(Fields::of(&typed.encode_to_vec()).parsed_bytes > 100_000);
    }

    #[test]
    fn bytes_that_are_no_message_all_count() {
        for bytes in [&b"\xff\xff"[..], b"\x3a\xff\xff\xff\xff\x0f", b"\x08"] {
            assert_eq!(Fields::of(bytes).parsed_bytes, bytes.len());
        }
    }

    #[test]
    fn fields_of_nothing_are_counted_whatever_stands_before_them() {
        let inputs = b"\x2a\0".repeat(MAX_SMALL_FIELDS);
        let refuse = |message: &[u8]| read::<ModelInferRequest>(message).unwrap_err().message().to_owned();
        assert_eq!(read::<ModelInferRequest>(&inputs[..]).unwrap().inputs.len(), MAX_SMALL_FIELDS);
        // A number, eight bytes, four bytes, a group of nothing, one more input.
        for other in [&b"\x78\xff\x01"[..], b"\x79\0\0\0\0\0\0\0\0", b"\x7d\0\0\0\0", b"\x7b\x7c", b"\x2a\0"] {
            let error = refuse(&[other, &inputs, b"\x2a\0"].concat());
            let expected = MAX_SMALL_FIELDS + 1 + usize::from(other == b"\x2a\0");
            assert!(error.starts_with(&format!("the message has {expected} fields in ")), "{error}");
        }
        // Longer ones may be more.
        let names = b"\x2a\x06\x0a\x04name".repeat(MAX_SMALL_FIELDS + 1);
        assert_eq!(read::<ModelInferRequest>(&names[..]).unwrap().inputs.len(), MAX_SMALL_FIELDS + 1);
    }

    #[test]
    fn the_largest_field_takes_no_more_memory_than_is_reckoned_with() {
        assert!(size_of::<InferInputTensor>() <= 312, "{}", size_of::<InferInputTensor>());
    }
}
