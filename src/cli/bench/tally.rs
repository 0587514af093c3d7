//! What came of requests: latencies, and errors by what they were.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    cli::bench::client::Answer,
    error::{Error, Result},
};

/// The longest latency that is told apart from longer ones.
const MAX_NANOSECONDS: u64 = 3_600_000_000_000;
/// Significant digits of a percentile.
const DIGITS: u8 = 3;
/// The longest error message that is kept, in characters.
const MAX_MESSAGE_LENGTH: usize = 200;

#[derive(Debug)]
pub(super) enum Outcome {
    /// With an answer, whatever it says.
    Answered(Answer),
    Unanswered(Unanswered, String),
}

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// There was no connection to be had.
    NoConnection,
    /// The connection was lost with the request on it.
    Lost,
    TimedOut,
}

impl Unanswered {
    fn code(self) -> &'static str {
        match self {
            Self::NoConnection => "no_connection",
            Self::Lost => "connection_lost",
            Self::TimedOut => "timeout",
        }
    }
}

/// Durations, in a histogram of three digits.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

/// What is said of durations, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) mean: f64,
    pub(super) p50: f64,
    /// Nine of ten are not longer.
    pub(super) p90: f64,
    /// 99 % are not longer.
    pub(super) p99: f64,
    /// 99.9 % are not longer.
    pub(super) p99_9: f64,
    pub(super) max: f64,
}

impl Latencies {
    /// Makes an empty histogram.
    ///
    /// # Errors
    /// `Internal` where its bounds are not valid, which a test would show.
    pub(super) fn new() -> Result<Self> {
        Histogram::new_with_max(MAX_NANOSECONDS, DIGITS).map(Self).map_err(Error::internal)
    }

    pub(super) fn record(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Takes all of `other` in.
    ///
    /// # Errors
    /// Never: both have the same bounds.
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        self.0.add(&other.0).map_err(Error::internal)
    }

    /// Returns what is said of them; `None` where there are none.
    pub(super) fn summary(&self) -> Option<Summary> {
        let seconds = |nanoseconds: f64| nanoseconds / 1e9;
        let quantile = |quantile| seconds(self.0.value_at_quantile(quantile) as f64);
        (!self.0.is_empty()).then(|| Summary {
            mean: seconds(self.0.mean()),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max: seconds(self.0.max() as f64),
        })
    }
}

/// What errors are told apart by: the status, none without an answer, and the code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ErrorKey {
    /// The status of the answer.
    pub(super) status: Option<u16>,
    /// The code in its body, or why there was no answer.
    pub(super) code: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Failures {
    pub(super) count: u64,
    pub(super) message: String,
    pub(super) latencies: Latencies,
}

/// What came of the requests of a measurement, or of one thread's.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Requests that were sent, or were due and could not be.
    pub(super) requests: u64,
    /// How long successful ones took.
    pub(super) latencies: Latencies,
    /// How long after they were due requests were sent.
    pub(super) send_delays: Latencies,
    /// Successful ones that were answered in the measured time.
    pub(super) answered_in_time: u64,
    /// Their rows, as far as they are known.
    pub(super) rows_in_time: u64,
    pub(super) errors: BTreeMap<ErrorKey, Failures>,
    /// From the start to the last answer.
    pub(super) span: Duration,
    /// The share of the time that the busiest thread was at work.
    pub(super) busy: f64,
}

impl Tally {
    /// Makes a tally of nothing.
    ///
    /// # Errors
    /// Those of [`Latencies::new`].
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            requests: 0,
            latencies: Latencies::new()?,
            send_delays: Latencies::new()?,
            answered_in_time: 0,
            rows_in_time: 0,
            errors: BTreeMap::new(),
            span: Duration::ZERO,
            busy: 0.0,
        })
    }

    /// Counts a request that failed.
    ///
    /// # Errors
    /// Those of [`Latencies::new`].
    pub(super) fn record_failure(&mut self, outcome: Outcome, latency: Duration) -> Result<()> {
        let (key, message) = describe(outcome);
        if !self.errors.contains_key(&key) {
            let message = message.chars().take(MAX_MESSAGE_LENGTH).collect();
            self.errors.insert(key.clone(), Failures { count: 0, message, latencies: Latencies::new()? });
        }
        if let Some(failures) = self.errors.get_mut(&key) {
            failures.count += 1;
            failures.latencies.record(latency);
        }
        Ok(())
    }

    /// Takes another thread's tally in.
    ///
    /// # Errors
    /// Those of [`Latencies::merge`].
    pub(super) fn merge(&mut self, other: Self) -> Result<()> {
        self.requests += other.requests;
        self.latencies.merge(&other.latencies)?;
        self.send_delays.merge(&other.send_delays)?;
        self.answered_in_time += other.answered_in_time;
        self.rows_in_time += other.rows_in_time;
        self.span = self.span.max(other.span);
        self.busy = self.busy.max(other.busy);
        for (key, failures) in other.errors {
            match self.errors.get_mut(&key) {
                Some(known) => {
                    known.count += failures.count;
                    known.latencies.merge(&failures.latencies)?;
                }
                None => {
                    self.errors.insert(key, failures);
                }
            }
        }
        Ok(())
    }

    /// Counts the requests that failed.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().map(|failures| failures.count).sum()
    }

    /// Tells whether some got no answer at all.
    pub(super) fn has_unanswered(&self) -> bool {
        self.errors.keys().any(|key| key.status.is_none())
    }
}

/// The body of an error, as far as it is one of onnxd's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: Option<String>,
    code: Option<String>,
}

fn describe(outcome: Outcome) -> (ErrorKey, String) {
    match outcome {
        Outcome::Answered(Answer { status, body }) => {
            let ErrorBody { error, code } = serde_json::from_slice(&body).unwrap_or_default();
            (ErrorKey { status: Some(status), code }, error.unwrap_or_else(|| text_of(&body)))
        }
        Outcome::Unanswered(reason, message) => {
            (ErrorKey { status: None, code: Some(reason.code().to_owned()) }, message)
        }
    }
}

fn text_of(body: &Bytes) -> String {
    String::from_utf8_lossy(body).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &'static str) -> Outcome {
        Outcome::Answered(Answer { status, body: Bytes::from_static(body.as_bytes()) })
    }

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut latencies = Latencies::new().unwrap();
        assert_eq!(latencies.summary(), None);
        for milliseconds in 1..=1000 {
            latencies.record(Duration::from_millis(milliseconds));
        }
        let Summary { mean, p50, p90, p99, p99_9, max } = latencies.summary().unwrap();
        for (got, expected) in [(mean, 0.5005), (p50, 0.5), (p90, 0.9), (p99, 0.99), (p99_9, 0.999), (max, 1.0)] {
            assert!((got / expected - 1.0).abs() <= 1e-3, "{got} is not {expected}");
        }
    }

    #[test]
    fn what_is_longer_than_an_hour_counts_as_an_hour() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(Duration::from_hours(20));
        let max = latencies.summary().unwrap().max;
        assert!((max / 3600.0 - 1.0).abs() < 1e-3, "{max}");
    }

    #[test]
    fn errors_are_told_apart_by_status_and_code_and_keep_their_first_message() {
        let mut tally = Tally::new().unwrap();
        let mut other = Tally::new().unwrap();
        let moment = Duration::from_millis(1);
        tally.record_failure(answered(400, r#"{"error":"first","code":"invalid_argument"}"#), moment).unwrap();
        tally.record_failure(answered(502, "<html>"), moment).unwrap();
        other.record_failure(answered(400, r#"{"error":"second","code":"invalid_argument"}"#), moment).unwrap();
        other.record_failure(Outcome::Unanswered(Unanswered::TimedOut, String::new()), moment).unwrap();
        assert!(!tally.has_unanswered());
        tally.merge(other).unwrap();
        assert!(tally.has_unanswered());
        let errors = tally
            .errors
            .iter()
            .map(|(key, failures)| (key.status, key.code.as_deref(), failures.count, failures.message.as_str()));
        let expected = [
            (None, Some("timeout"), 1, ""),
            (Some(400), Some("invalid_argument"), 2, "first"),
            (Some(502), None, 1, "<html>"),
        ];
        assert_eq!(errors.collect::<Vec<_>>(), expected);
        assert_eq!(tally.failed(), 4);
    }
}
