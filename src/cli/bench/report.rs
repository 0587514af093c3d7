//! What was measured, as the JSON that `onnxd bench --help` documents.

use serde::Serialize;

use crate::{
    cli::{
        bench::{
            load::Run,
            raw::{Raw, RawLoop},
            schedule::Extent,
            stages::Stages,
            tally::{Summary, Tally},
        },
        page,
    },
    error::{Error, Result},
};

/// From this share of its time on, the load generator may be what limits a closed loop.
const BUSY: f64 = 0.9;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The URL that was posted to.
    pub(super) target: String,
    /// The model that answered there, as far as it is known.
    pub(super) model: Option<String>,
    pub(super) version: Option<String>,
    /// The lane of its requests.
    pub(super) lane: Option<String>,
    /// Threads that made the load.
    pub(super) client_threads: usize,
    /// How long each run went on before it was counted.
    pub(super) warm_up_seconds: f64,
    /// How long it went on then.
    #[serde(skip)]
    pub(super) extent: Extent,
    pub(super) bodies: BodiesReport,
    /// The measurements, one after the other.
    pub(super) runs: Vec<RunReport>,
    /// The runtime without a server.
    pub(super) raw: Option<Raw>,
    /// What one should know when reading the numbers.
    pub(super) notes: Vec<String>,
}

/// The bodies that were posted.
#[derive(Debug, Serialize)]
pub(super) struct BodiesReport {
    pub(super) count: usize,
    pub(super) mean_bytes: f64,
    /// Their mean number of rows; none where it is not known of all.
    pub(super) mean_rows: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct RunReport {
    #[serde(rename = "loop")]
    pub(super) kind: &'static str,
    pub(super) connections: usize,
    /// Requests a second that were asked for.
    pub(super) rate: Option<f64>,
    pub(super) seconds: f64,
    /// Requests that were sent, or were due and could not be.
    pub(super) requests: u64,
    /// Those that were answered with success.
    pub(super) answered: u64,
    /// Of these, those within the measured time, by the second.
    pub(super) requests_per_second: f64,
    /// Their rows.
    pub(super) rows_per_second: Option<f64>,
    /// How long successful ones took.
    pub(super) latency: Option<Summary>,
    /// How long after they were due requests were sent.
    pub(super) send_delay: Option<Summary>,
    pub(super) errors: Vec<ErrorReport>,
    /// The share of its time that the busiest thread of the load was at work.
    pub(super) client_busy: f64,
    pub(super) server: Option<Stages>,
    /// Beside the runtime without a server.
    pub(super) raw_ratio: Option<RawRatio>,
    #[serde(skip)]
    pub(super) name: String,
    /// Whether some requests got no answer at all.
    #[serde(skip)]
    pub(super) has_unanswered: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct ErrorReport {
    /// The status of the answer; none where there was none.
    pub(super) status: Option<u16>,
    /// The code in the answer; without one `no_connection`, `connection_lost` or `timeout`.
    pub(super) code: Option<String>,
    pub(super) count: u64,
    pub(super) message: String,
    pub(super) latency: Option<Summary>,
}

/// Rows a second beside those of the runtime without a server.
#[derive(Debug, Serialize)]
pub(super) struct RawRatio {
    /// One request at a time.
    pub(super) single: f64,
    pub(super) best: f64,
}

impl RunReport {
    pub(super) fn new(run: Run, tally: &Tally, rows_are_known: bool, server: Option<Stages>) -> Self {
        let seconds = match run.extent {
            Extent::Time(time) => time.as_secs_f64(),
            Extent::Requests(_) => tally.span.as_secs_f64(),
        };
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let errors = tally.errors.iter().map(|(key, failures)| ErrorReport {
            status: key.status,
            code: key.code.clone(),
            count: failures.count,
            message: failures.message.clone(),
            latency: failures.latencies.summary(),
        });
        Self {
            kind: if run.rate.is_some() { "open" } else { "closed" },
            connections: run.connections,
            rate: run.rate,
            seconds,
            requests: tally.requests,
            answered: tally.requests - tally.failed(),
            requests_per_second: per_second(tally.answered_in_time),
            rows_per_second: rows_are_known.then(|| per_second(tally.rows_in_time)),
            latency: tally.latencies.summary(),
            send_delay: tally.send_delays.summary(),
            errors: errors.collect(),
            client_busy: tally.busy,
            server,
            raw_ratio: None,
            name: run.name(),
            has_unanswered: tally.has_unanswered(),
        }
    }

    /// Tells whether the daemon answered, and some with success.
    pub(super) fn is_good(&self) -> bool {
        self.answered > 0 && !self.has_unanswered
    }

    /// Counts the requests that failed.
    pub(super) fn failed(&self) -> u64 {
        self.requests - self.answered
    }

    /// Says what limits what its numbers mean; `None` where nothing does.
    fn caution(&self, threads: usize) -> Option<String> {
        let name = &self.name;
        match (self.rate, &self.send_delay, &self.latency) {
            (None, ..) if self.client_busy >= BUSY => {
                let share = self.client_busy * 100.0;
                let more = threads + 1;
                Some(format!(
                    "{name}: the load generator was busy {share:.0} % of the time: --threads {more} may show more"
                ))
            }
            (Some(_), Some(delay), Some(latency)) if delay.p99 > latency.p50 => Some(format!(
                "{name}: requests found all connections busy and were sent late, 1 % by more than {}: \
                 the server is too slow for the rate, or there are too few connections",
                page::duration(delay.p99)
            )),
            _ => None,
        }
    }
}

impl Report {
    /// Takes over what the runtime gives without a server, and sets every run beside it.
    pub(super) fn compare(&mut self, raw: Raw) {
        for run in &mut self.runs {
            let ratio = |rows: f64, raw: &RawLoop| rows / raw.rows_per_second;
            run.raw_ratio = run
                .rows_per_second
                .map(|rows| RawRatio { single: ratio(rows, &raw.single), best: ratio(rows, &raw.best) });
        }
        self.raw = Some(raw);
    }

    /// Notes what limits what the numbers mean.
    pub(super) fn note_cautions(&mut self) {
        let threads = self.client_threads;
        self.notes.extend(self.runs.iter().filter_map(|run| run.caution(threads)));
    }

    /// Tells whether every run is good.
    pub(super) fn is_good(&self) -> bool {
        self.runs.iter().all(RunReport::is_good)
    }

    /// Writes it as one JSON object.
    ///
    /// # Errors
    /// `Internal` where that fails, which a test would show.
    pub(super) fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(Error::internal)
    }
}
