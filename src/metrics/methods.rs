//! What is counted of gRPC calls, a method at a time.

use std::{sync::OnceLock, time::Duration};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

/// The code of nearly every answer, whose counter is looked up once.
const USUAL_CODE: &str = "OK";

/// The counters of one method. Looking one up by its labels takes longer than counting, so each is looked up once.
#[derive(Debug)]
pub struct MethodMetrics {
    service: String,
    method: String,
    requests: IntCounterVec,
    durations: HistogramVec,
    usual: OnceLock<Usual>,
}

#[derive(Debug)]
struct Usual {
    answered: IntCounter,
    duration: Histogram,
}

impl MethodMetrics {
    pub(super) fn new(service: &str, method: &str, requests: IntCounterVec, durations: HistogramVec) -> Self {
        let (service, method) = (service.to_owned(), method.to_owned());
        Self { service, method, requests, durations, usual: OnceLock::new() }
    }

    /// Counts a call; `code` is as the protocol writes it.
    pub fn count(&self, code: &str, duration: Duration) {
        let (service, method) = (self.service.as_str(), self.method.as_str());
        let usual = self.usual.get_or_init(|| Usual {
            answered: self.requests.with_label_values(&[service, method, USUAL_CODE]),
            duration: self.durations.with_label_values(&[service, method]),
        });
        usual.duration.observe(duration.as_secs_f64());
        match code {
            USUAL_CODE => usual.answered.inc(),
            _ => self.requests.with_label_values(&[service, method, code]).inc(),
        }
    }
}
