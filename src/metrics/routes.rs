//! What is counted of HTTP requests, a route at a time.

use std::{sync::OnceLock, time::Duration};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

/// The status of nearly every answer, whose counter is looked up once.
const USUAL_STATUS: u16 = 200;

/// Methods are the client's to invent; labels are not.
const METHODS: [&str; 8] = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "other"];

/// The counters of one route. Looking one up by its labels takes longer than counting, so each is looked up once.
#[derive(Debug)]
pub struct RouteMetrics {
    path: String,
    requests: IntCounterVec,
    duration: HistogramVec,
    methods: [OnceLock<Usual>; METHODS.len()],
}

#[derive(Debug)]
struct Usual {
    answered: IntCounter,
    duration: Histogram,
}

impl RouteMetrics {
    pub(super) fn new(path: &str, requests: IntCounterVec, duration: HistogramVec) -> Self {
        Self { path: path.to_owned(), requests, duration, methods: [const { OnceLock::new() }; METHODS.len()] }
    }

    /// Returns the route's template, as `/models/{model}`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Counts a request. A method that is none of the standard ones is counted as `other`.
    pub fn count(&self, method: &str, status: u16, duration: Duration) {
        let index = METHODS.iter().position(|label| *label == method).unwrap_or(METHODS.len() - 1);
        let (method, path) = (METHODS[index], self.path.as_str());
        let usual = self.methods[index].get_or_init(|| Usual {
            answered: self.requests.with_label_values(&[method, path, itoa::Buffer::new().format(USUAL_STATUS)]),
            duration: self.duration.with_label_values(&[method, path]),
        });
        usual.duration.observe(duration.as_secs_f64());
        match status {
            USUAL_STATUS => usual.answered.inc(),
            _ => self.requests.with_label_values(&[method, path, itoa::Buffer::new().format(status)]).inc(),
        }
    }
}
