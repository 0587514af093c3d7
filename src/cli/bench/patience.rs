//! A time limit for one future after the other that costs a timer only now and then.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Instant,
};

use tokio::time::Sleep;

/// A timer that is set anew only when it goes off, and so costs nothing while answers come.
#[derive(Debug)]
pub(super) struct Patience(Pin<Box<Sleep>>);

impl Patience {
    /// Makes one whose first limit is at `deadline` or later.
    pub(super) fn new(deadline: Instant) -> Self {
        Self(Box::pin(tokio::time::sleep_until(deadline.into())))
    }

    /// Waits for a future until `deadline`, which must not be before the last one's; `None` when that has passed.
    pub(super) async fn until<T>(&mut self, deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            while self.0.as_mut().poll(context).is_ready() {
                if deadline <= Instant::now() {
                    return Poll::Ready(None);
                }
                self.0.as_mut().reset(deadline.into());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;

    #[tokio::test]
    async fn each_future_has_the_time_to_its_own_deadline() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let later = start + Duration::from_millis(20);
        assert_eq!(patience.until(later, async { 1 }).await, Some(1));
        assert_eq!(patience.until(later, pending::<()>()).await, None);
        assert!(Instant::now() >= later);
    }
}
