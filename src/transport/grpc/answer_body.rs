//! The body of an answer, whose trailers say how a call ended.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    http::HeaderMap,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{Code, Status};

use crate::{
    serving::budget::{CALL_CHARGE, SharedCharge},
    transport::grpc::call::Call,
};

/// What ends a stream that would go on.
pub(super) type End = Pin<Box<dyn Future<Output = Status> + Send>>;

pin_project! {
    /// A body that tells its call the code in its trailers, and that ends when it is told to.
    pub(super) struct AnswerBody {
        #[pin]
        body: Body,
        call: Call,
        end: Option<End>,
        // Of a stream, whose messages are read while it is answered.
        charge: Option<Arc<SharedCharge>>,
        ended: bool,
    }
}

impl AnswerBody {
    pub(super) fn new(body: Body, call: Call, end: Option<(End, Arc<SharedCharge>)>) -> Self {
        let (end, charge) = end.unzip();
        Self { body, call, end, charge, ended: false }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        let polled = match this.charge {
            Some(charge) => CALL_CHARGE.sync_scope(Arc::clone(charge), || this.body.poll_frame(context)),
            None => this.body.poll_frame(context),
        };
        match (polled, this.end) {
            (Poll::Ready(frame), _) => {
                if let Some(trailers) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref()) {
                    this.call.set_code(code_in(trailers).unwrap_or(Code::Unknown));
                }
                Poll::Ready(frame)
            }
            (Poll::Pending, Some(end)) => end.as_mut().poll(context).map(|status| {
                *this.ended = true;
                this.call.set_code(status.code());
                Some(Ok(Frame::trailers(trailers_of(&status))))
            }),
            (Poll::Pending, None) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Returns the code in trailers, or in the headers of an answer that is nothing but an error.
pub(super) fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

fn trailers_of(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let _never_too_many = status.add_header(&mut trailers);
    trailers
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").field("call", &self.call).field("ended", &self.ended).finish_non_exhaustive()
    }
}
