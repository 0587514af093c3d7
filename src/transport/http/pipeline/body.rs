//! Reading a request's body: at most so many bytes, counted after decompression, in at most so much time.

use axum::body::Bytes;
use bytes::BytesMut;
use futures_util::FutureExt as _;
use http_body_util::BodyExt;
use hyper::body::Body as _;

use crate::{
    error::{Error, ErrorKind, Result},
    serving::budget::{Budget, Charge, UNFINISHED_BYTES},
    transport::http::pipeline::arrival::RequestBody,
};

/// After so many bytes, which take less than half a millisecond to decompress, reading a body lets others have their turn.
const TURN_BYTES: usize = 256 * 1024;
/// A body up to this size that arrives whole is charged by its length alone.
const SMALL_BYTES: usize = 64 * 1024;
/// The fewest bytes that an element takes in a body: a digit and a comma.
const MIN_ELEMENT_BYTES: usize = 2;

/// What bounds the memory of a body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits<'a> {
    /// `--max-body-bytes`.
    pub max_body_bytes: usize,
    /// `--max-buffered-bytes`, which all bodies share.
    pub budget: &'a Budget,
    /// The memory that an element of the tensor takes which the body becomes, in bytes.
    pub element_bytes: usize,
}

/// A body that is still to be read, without the rest of its request, which would only be carried about.
#[derive(Debug)]
pub struct UnreadBody(pub RequestBody);

impl UnreadBody {
    /// Reads the whole body, and charges the budget for it and for the tensors that it becomes. What did not arrive by the
    /// deadline is the deadline layer's to refuse.
    ///
    /// # Errors
    /// `PayloadTooLarge` over a limit, `Overloaded` where the budget has no room, `InvalidArgument` where the body breaks
    /// off or is not what its `content-encoding` says.
    #[expect(clippy::manual_async_fn, reason = "arguments of an async function lie in its future twice")]
    pub fn read(mut self, limits: BodyLimits<'_>) -> impl Future<Output = Result<(Bytes, Charge<'_>)>> + Send {
        // Most bodies come in one piece, and what is kept for others would be moved about with each request.
        async move {
            let declared = self.0.size_hint().exact().and_then(|length| usize::try_from(length).ok());
            if let Some(declared) = declared.filter(|length| *length > limits.max_body_bytes) {
                return Err(too_large(limits.max_body_bytes, Some(declared)));
            }
            // A body that is not there yet is charged before it is waited for.
            let first = match self.0.frame().now_or_never() {
                Some(Some(frame)) => frame.map_err(|error| unreadable(&error))?.into_data().unwrap_or_default(),
                Some(None) => return Ok((Bytes::new(), limits.budget.empty_charge())),
                None => Bytes::new(),
            };
            if self.0.is_end_stream() && first.len() <= SMALL_BYTES.min(limits.max_body_bytes) {
                let bytes = first.len() + first.len() / MIN_ELEMENT_BYTES * limits.element_bytes;
                if let Some(charge) = limits.budget.try_charge(bytes) {
                    return Ok((first, charge));
                }
            }
            Box::pin(collect(self.0, first, limits, declared)).await
        }
    }
}

/// Puts the frames of a body together, of which the first may be there; a body of one frame is not copied.
///
/// A buffer that grows is copied, and copying megabytes takes longer than the event loop may be held. So a body of declared
/// length gets its room at once, which costs no memory before it is written to, and any other is kept in pieces.
async fn collect<'a>(
    mut body: RequestBody,
    mut first: Bytes,
    limits: BodyLimits<'a>,
    declared: Option<usize>,
) -> Result<(Bytes, Charge<'a>)> {
    let mut charge = limits.budget.empty_charge();
    charge.grow(UNFINISHED_BYTES + memory_of(&first, limits.element_bytes)).await?;
    let (mut piece, mut pieces) = (BytesMut::new(), Vec::new());
    let (mut length, mut bytes_in_turn) = (first.len(), 0);
    loop {
        if length > limits.max_body_bytes {
            return Err(too_large(limits.max_body_bytes, None));
        }
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame.map_err(|error| unreadable(&error))?.into_data() else { continue };
        charge.grow(memory_of(&data, limits.element_bytes)).await?;
        length += data.len();
        if length == data.len() {
            first = data;
            continue;
        }
        if declared.is_none() && piece.len() + data.len() > TURN_BYTES {
            pieces.push(std::mem::take(&mut piece).freeze());
        }
        if piece.is_empty() {
            piece.reserve(declared.unwrap_or(TURN_BYTES.min(length * 2)));
        }
        piece.extend_from_slice(&std::mem::take(&mut first));
        piece.extend_from_slice(&data);
        bytes_in_turn += data.len();
        if bytes_in_turn >= TURN_BYTES {
            bytes_in_turn = 0;
            // A small compressed body holds megabytes that are there without any waiting: unless it gives way, the event
            // loop answers nobody until all of them are decompressed.
            tokio::task::yield_now().await;
        }
    }
    let whole = match pieces.is_empty() {
        true if piece.is_empty() => first,
        true => piece.freeze(),
        false => {
            pieces.push(piece.freeze());
            tokio::task::spawn_blocking(move || join(pieces, length)).await.map_err(Error::internal)?
        }
    };
    Ok((whole, charge))
}

/// Returns the memory that a part of a body takes together with the elements in it, which commas and lines separate.
fn memory_of(data: &[u8], element_bytes: usize) -> usize {
    let separators = data.iter().filter(|byte| matches!(byte, b',' | b'\n')).count();
    data.len() + separators * element_bytes
}

/// Lays the pieces end to end; each is given back once it is copied.
fn join(pieces: Vec<Bytes>, length: usize) -> Bytes {
    let mut whole = BytesMut::with_capacity(length);
    pieces.into_iter().for_each(|piece| whole.extend_from_slice(&piece));
    whole.freeze()
}

fn too_large(max_body_bytes: usize, declared: Option<usize>) -> Error {
    let came = declared.map_or_else(String::new, |declared| format!(", but the body has {declared}"));
    Error::new(
        ErrorKind::PayloadTooLarge,
        format!("expected at most {max_body_bytes} bytes (--max-body-bytes, counted after decompression){came}"),
    )
}

fn unreadable(error: &(dyn std::error::Error + Send + Sync)) -> Error {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = cause.to_string();
        source = cause.source();
    }
    Error::invalid(format!("the request body cannot be read: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::poll_fn, pin::pin};

    use axum::body::Body;
    use futures_util::stream;

    use super::*;

    /// Reads a body whose frames are all there, and returns it with how often the event loop had its turn.
    async fn read_counting_turns(frames: Vec<Bytes>) -> (Bytes, usize) {
        let body = Body::from_stream(stream::iter(frames.into_iter().map(Ok::<_, Infallible>)));
        let budget = Budget::new(1 << 30);
        let limits = BodyLimits { max_body_bytes: usize::MAX, budget: &budget, element_bytes: 8 };
        let mut reading = pin!(UnreadBody(RequestBody::Boxed(body)).read(limits));
        let mut turns = 0;
        let read = poll_fn(|context| {
            turns += 1;
            reading.as_mut().poll(context)
        });
        let (whole, charge) = read.await.unwrap();
        assert!(budget.used() >= whole.len());
        drop(charge);
        assert_eq!(budget.used(), 0);
        (whole, turns)
    }

    #[tokio::test]
    async fn large_body_that_is_there_gives_way_while_it_is_read() {
        let frame = Bytes::from(vec![b' '; 4096]);
        let (whole, turns) = read_counting_turns(vec![frame; 1024]).await;
        assert_eq!(whole.len(), 4 << 20);
        assert!(turns >= (4 << 20) / TURN_BYTES, "{turns} turns");
    }

    #[tokio::test]
    async fn frames_are_put_together_in_their_order() {
        for count in [0, 1, 2, 300] {
            let frames: Vec<_> = (0..count).map(|index: u16| Bytes::from(index.to_le_bytes().repeat(2500))).collect();
            let whole = frames.concat();
            assert_eq!(read_counting_turns(frames).await.0, whole, "{count} frames");
        }
    }
}
