//! What the daemon itself measured, read from its metrics before and after.

use serde::Serialize;

/// The counters of one model that are of interest, at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counters {
    decode: Total,
    queue: Total,
    compute: Total,
    encode: Total,
    batch_rows: Total,
}

/// The sum and the count of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Total {
    sum: f64,
    count: f64,
}

/// Means over a measurement, in seconds and in rows; none where nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Stages {
    /// Reading and checking a request's body.
    pub(super) decode: Option<f64>,
    pub(super) queue: Option<f64>,
    /// The run that a request was part of.
    pub(super) compute: Option<f64>,
    pub(super) encode: Option<f64>,
    /// Rows of a run.
    pub(super) batch_rows: Option<f64>,
}

impl Counters {
    /// Reads Prometheus' text format. What is not there counts as nothing.
    pub(super) fn read(text: &str, model: &str, version: &str) -> Self {
        let mut counters = Self::default();
        for line in text.lines() {
            let Some((name, labels, value)) = sample(line) else { continue };
            let has = |label: &str, wanted: &str| label_of(labels, label) == Some(wanted);
            if !has("model", model) || !has("version", version) {
                continue;
            }
            if let Some(part) = name.strip_prefix("prediction_stage_seconds_") {
                match label_of(labels, "stage") {
                    Some("decode") => counters.decode.set(part, value),
                    Some("queue") => counters.queue.set(part, value),
                    Some("compute") => counters.compute.set(part, value),
                    Some("encode") => counters.encode.set(part, value),
                    _ => {}
                }
            } else if let Some(part) = name.strip_prefix("prediction_batch_rows_") {
                counters.batch_rows.set(part, value);
            }
        }
        counters
    }

    /// Returns the means of what came after `before`.
    pub(super) fn since(&self, before: &Self) -> Stages {
        Stages {
            decode: self.decode.mean_since(before.decode),
            queue: self.queue.mean_since(before.queue),
            compute: self.compute.mean_since(before.compute),
            encode: self.encode.mean_since(before.encode),
            batch_rows: self.batch_rows.mean_since(before.batch_rows),
        }
    }
}

impl Stages {
    /// Tells whether anything was measured.
    pub(super) fn is_something(&self) -> bool {
        self.decode.is_some()
    }
}

impl Total {
    fn set(&mut self, part: &str, value: f64) {
        match part {
            "sum" => self.sum = value,
            "count" => self.count = value,
            _ => {}
        }
    }

    fn mean_since(self, before: Self) -> Option<f64> {
        let count = self.count - before.count;
        (count > 0.0).then(|| (self.sum - before.sum) / count)
    }
}

/// Takes a line of one series apart into name, labels and value.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{')?;
    Some((name, labels.strip_suffix('}')?, value.parse().ok()?))
}

/// Finds a label. Names of models and versions need no escapes, and those of stages have none.
fn label_of<'a>(labels: &'a str, wanted: &str) -> Option<&'a str> {
    labels.split("\",").find_map(|pair| {
        let (label, value) = pair.split_once("=\"")?;
        (label == wanted).then(|| value.trim_end_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"# TYPE prediction_stage_seconds histogram
prediction_stage_seconds_bucket{model="iris",stage="queue",version="1",le="0.5"} 9
prediction_stage_seconds_sum{model="iris",stage="queue",version="1"} 1.5
prediction_stage_seconds_count{model="iris",stage="queue",version="1"} 2
prediction_stage_seconds_sum{model="iris",stage="queue",version="2"} 70
prediction_stage_seconds_sum{model="other",stage="queue",version="1"} 80
prediction_batch_rows_sum{model="iris",version="1"} 10
prediction_batch_rows_count{model="iris",version="1"} 10
process_open_fds 5
"#;

    #[test]
    fn means_are_of_what_came_between_two_scrapes_and_of_one_version() {
        let after = BEFORE.replace("} 1.5", "} 2.5").replace("} 2\n", "} 6\n").replace("} 10\n", "} 18\n");
        let after =
            after.replace(r#"rows_count{model="iris",version="1"} 18"#, r#"rows_count{model="iris",version="1"} 12"#);
        let read = |text| Counters::read(text, "iris", "1");
        let expected = Stages { decode: None, queue: Some(0.25), compute: None, encode: None, batch_rows: Some(4.0) };
        assert_eq!(read(&after).since(&read(BEFORE)), expected);
    }

    #[test]
    fn another_servers_metrics_have_nothing_to_say() {
        let nothing = Counters::read("http_requests_total 5\nnonsense", "iris", "1");
        assert_eq!(nothing, Counters::default());
        assert_eq!(nothing.since(&nothing).queue, None);
    }
}
