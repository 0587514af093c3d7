//! The body of a gRPC request: charged as it is received, and decompressed in pieces before tonic sees it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{Body, Bytes},
};
use bytes::{BufMut as _, BytesMut};
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;

use crate::{
    error::Result,
    serving::budget::{SharedCharge, UNFINISHED_BYTES},
    transport::{decompression::Coding, grpc::arriving::Arriving},
};

/// A message has its flag and its length before it.
const HEADER_BYTES: usize = 5;
/// So many bytes of a call are charged for what their message may become; larger messages are looked at when they are
/// parsed.
const SMALL_BYTES: usize = 64 * 1024;
/// The memory that a byte of a small message may become: itself, and a number of eight bytes.
const SMALL_FACTOR: usize = 9;
/// After so many decompressed bytes others have their turn.
const TURN_BYTES: usize = 256 * 1024;

type Wait = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A request's body whose bytes are charged before tonic sees them.
pub(super) struct ChargedBody {
    body: Arriving,
    charge: Arc<SharedCharge>,
    received: usize,
    is_unfinished: bool,
    /// The frame that waits for room.
    waiting: Option<(Wait, Bytes)>,
}

impl ChargedBody {
    pub(super) fn new(body: Arriving, charge: Arc<SharedCharge>) -> Self {
        Self { body, charge, received: 0, is_unfinished: false, waiting: None }
    }

    /// Charges a frame, or begins to wait for room.
    fn charge(&mut self, data: Bytes) -> Option<Bytes> {
        let small = data.len().min(SMALL_BYTES.saturating_sub(self.received));
        self.received = self.received.saturating_add(data.len());
        let bytes = data.len() + small * (SMALL_FACTOR - 1);
        let is_small = self.received <= SMALL_BYTES && self.body.is_end_stream();
        if self.charge.try_grow(bytes) || is_small && self.charge.try_grow_small(bytes) {
            return Some(data);
        }
        let charge = Arc::clone(&self.charge);
        self.waiting = Some((Box::pin(async move { charge.grow(bytes).await }), data));
        None
    }
}

impl HttpBody for ChargedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if let Some((wait, _)) = &mut this.waiting {
                let room = ready!(wait.as_mut().poll(context));
                let data = this.waiting.take().map(|(_, data)| data).unwrap_or_default();
                return Poll::Ready(Some(room.map(|()| Frame::data(data)).map_err(|error| Status::from(error).into())));
            }
            let frame = match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if this.is_unfinished => return Poll::Pending,
                Poll::Pending => {
                    this.is_unfinished = true;
                    return match this.charge.grow_now(UNFINISHED_BYTES) {
                        Ok(()) => Poll::Pending,
                        Err(error) => Poll::Ready(Some(Err(Status::from(error).into()))),
                    };
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    if let Some(data) = this.charge(data) {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.waiting {
            None => self.body.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

/// Decompresses the messages of a body that are compressed. tonic would do so on the event loop, all at once.
pub(super) fn decompressed(body: ChargedBody, coding: Coding, max_message_bytes: usize) -> Body {
    let messages = Messages { body, coding, max_message_bytes, buffer: BytesMut::new() };
    let frames = stream::unfold(Some(messages), |open| async {
        let mut messages = open?;
        match messages.next().await {
            Ok(Some(message)) => Some((Ok(Frame::data(message)), Some(messages))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Body::new(StreamBody::new(frames))
}

struct Messages {
    body: ChargedBody,
    coding: Coding,
    max_message_bytes: usize,
    buffer: BytesMut,
}

impl Messages {
    /// Returns the next message with its header, or whatever is left where the body breaks off, which tonic refuses.
    async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        if !self.fill(HEADER_BYTES).await? {
            return Ok((!self.buffer.is_empty()).then(|| self.buffer.split().freeze()));
        }
        let is_compressed = self.buffer[0] == 1;
        let length = self.buffer[1..HEADER_BYTES].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if length > self.max_message_bytes {
            return Err(Status::out_of_range("the message is too long").into());
        }
        if !self.fill(HEADER_BYTES + length).await? {
            return Ok(Some(self.buffer.split().freeze()));
        }
        let message = self.buffer.split_to(HEADER_BYTES + length).freeze();
        match is_compressed {
            true => self.decompress(message.slice(HEADER_BYTES..)).await.map(Some),
            false => Ok(Some(message)),
        }
    }

    /// Reads until so many bytes are there; `false` where the body ends before.
    async fn fill(&mut self, length: usize) -> Result<bool, BoxError> {
        while self.buffer.len() < length {
            match self.body.frame().await.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.buffer.extend_from_slice(&data),
                Some(Err(_trailers)) => {}
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn decompress(&mut self, message: Bytes) -> Result<Bytes, BoxError> {
        let mut whole = BytesMut::zeroed(HEADER_BYTES);
        let mut bytes_in_turn = 0;
        let mut pieces = self.coding.decompress(stream::once(async { Ok(message) }));
        while let Some(piece) = pieces.next().await {
            let piece =
                piece.map_err(|error| Status::invalid_argument(format!("the message cannot be read: {error}")))?;
            // Twice: tonic copies it once more.
            self.body.charge.grow(2 * piece.len()).await.map_err(Status::from)?;
            whole.extend_from_slice(&piece);
            if whole.len() - HEADER_BYTES > self.max_message_bytes {
                return Err(Status::out_of_range("the message is too long").into());
            }
            bytes_in_turn += piece.len();
            if bytes_in_turn >= TURN_BYTES {
                bytes_in_turn = 0;
                tokio::task::yield_now().await;
            }
        }
        let length =
            u32::try_from(whole.len() - HEADER_BYTES).map_err(|_| Status::out_of_range("the message is too long"))?;
        (&mut whole[1..HEADER_BYTES]).put_u32(length);
        Ok(whole.freeze())
    }
}
