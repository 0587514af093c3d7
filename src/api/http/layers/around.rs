//! A layer made of two functions: one looks at the request before, the other at the response after.
//!
//! `axum::middleware::from_fn` does the same, but boxes a future per request and layer; here the futures lie in each other.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{extract::Request, response::Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

/// Makes a layer that calls `before` with each request, and `after` with its response and what `before` returned.
pub fn around<B, A>(before: B, after: A) -> Around<B, A> {
    Around { before, after }
}

/// The layer that [`around`] makes.
#[derive(Clone, Copy, Debug)]
pub struct Around<B, A> {
    before: B,
    after: A,
}

impl<S, B: Clone, A: Clone> Layer<S> for Around<B, A> {
    type Service = AroundService<S, B, A>;

    fn layer(&self, inner: S) -> Self::Service {
        AroundService { inner, before: self.before.clone(), after: self.after.clone() }
    }
}

/// The service of [`Around`].
#[derive(Clone, Copy, Debug)]
pub struct AroundService<S, B, A> {
    inner: S,
    before: B,
    after: A,
}

impl<S, B, A, T> Service<Request> for AroundService<S, B, A>
where
    S: Service<Request, Response = Response>,
    B: Fn(&mut Request) -> T,
    A: Fn(T, Response) -> Response + Clone,
{
    type Response = Response;
    type Error = S::Error;
    type Future = AroundFuture<S::Future, A, T>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let seen = (self.before)(&mut request);
        AroundFuture { response: self.inner.call(request), after: self.after.clone(), seen: Some(seen) }
    }
}

pin_project! {
    /// The response to come, and what is to be done with it.
    #[derive(Debug)]
    pub struct AroundFuture<F, A, T> {
        #[pin]
        response: F,
        after: A,
        seen: Option<T>,
    }
}

impl<F, E, A, T> Future for AroundFuture<F, A, T>
where
    F: Future<Output = Result<Response, E>>,
    A: Fn(T, Response) -> Response,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(context))?;
        Poll::Ready(Ok(match this.seen.take() {
            Some(seen) => (this.after)(seen, response),
            None => response,
        }))
    }
}
