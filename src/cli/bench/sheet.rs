//! What was measured, laid out for people.

use crate::cli::{
    bench::{
        raw::{Raw, RawLoop},
        report::{ErrorReport, RawRatio, Report, RunReport},
        schedule::Extent,
        stages::Stages,
        tally::Summary,
    },
    page::{Page, count, duration, short},
};

pub(super) fn page(report: &Report) -> Page {
    let mut page = Page::default();
    page.heading(&report.target);
    if let (Some(model), Some(version)) = (&report.model, &report.version) {
        let lane = report.lane.as_ref().map_or_else(String::new, |lane| format!(", {lane} lane"));
        page.entry("model", &format!("{model} {version}{lane}"));
    }
    page.entry("bodies", &bodies(report));
    page.entry("load", &load(report));
    page.numbers("answers with success", &latencies(&report.runs));
    page.numbers("on the server, mean of a request", &stages(&report.runs));
    if let Some(raw) = &report.raw {
        page.numbers(&raw_title(raw), &raw_rows(raw));
        page.numbers("rows/s of the server divided by those of the raw runtime", &ratios(&report.runs));
    }
    let failures: Vec<_> =
        report.runs.iter().flat_map(|run| run.errors.iter().map(|error| failure(run, error))).collect();
    if !failures.is_empty() {
        page.heading("errors");
        failures.iter().for_each(|failure| page.paragraph(failure));
    }
    if !report.notes.is_empty() {
        page.heading("notes");
        report.notes.iter().for_each(|note| page.paragraph(note));
    }
    page
}

fn bodies(report: &Report) -> String {
    let bodies = &report.bodies;
    let (number, mean) = match bodies.count {
        1 => ("one".to_owned(), ""),
        count => (count.to_string(), ", on average"),
    };
    let rows = match bodies.mean_rows {
        Some(1.0) => "1 row".to_owned(),
        Some(rows) => format!("{} rows", short(rows)),
        None => "unknown rows".to_owned(),
    };
    format!("{number}, {:.0} bytes and {rows}{mean}", bodies.mean_bytes)
}

fn load(report: &Report) -> String {
    let kind = match report.runs.first().is_some_and(|run| run.rate.is_some()) {
        true => "open loop, latency counts from when a request is due",
        false => "closed loop",
    };
    let extent = match report.extent {
        Extent::Time(time) => duration(time.as_secs_f64()),
        Extent::Requests(requests) => format!("{requests} requests"),
    };
    let threads = count(report.client_threads, "client thread");
    format!("{kind}; {extent} after {} of warm-up; {threads}", duration(report.warm_up_seconds))
}

fn latencies(runs: &[RunReport]) -> Vec<Vec<String>> {
    let row = |run: &RunReport| {
        let mut cells = vec![short(run.requests_per_second), run.rows_per_second.map_or_else(unknown, short)];
        cells.extend(durations(run.latency.as_ref()));
        cells.push(run.failed().to_string());
        cells
    };
    table(runs, &["req/s", "rows/s", "mean", "p50", "p90", "p99", "p99.9", "max", "errors"], row)
}

/// Makes a row of each run, after a first row of names; begins it with what tells the runs apart.
fn table(runs: &[RunReport], names: &[&str], cells: impl Fn(&RunReport) -> Vec<String>) -> Vec<Vec<String>> {
    let is_open = runs.iter().any(|run| run.rate.is_some());
    let keys: &[&str] = if is_open { &["conn", "rate"] } else { &["conn"] };
    let head = keys.iter().chain(names).map(ToString::to_string).collect();
    let row = |run: &RunReport| {
        let key = [run.connections.to_string()].into_iter().chain(run.rate.map(short));
        key.chain(cells(run)).collect()
    };
    [head].into_iter().chain(runs.iter().map(row)).collect()
}

fn durations(latency: Option<&Summary>) -> [String; 6] {
    match latency {
        Some(Summary { mean, p50, p90, p99, p99_9, max }) => {
            [mean, p50, p90, p99, p99_9, max].map(|seconds| duration(*seconds))
        }
        None => [(); 6].map(|()| unknown()),
    }
}

fn unknown() -> String {
    "-".to_owned()
}

/// Lays out what the server measured; nothing where it did not tell.
fn stages(runs: &[RunReport]) -> Vec<Vec<String>> {
    if runs.iter().all(|run| run.server.is_none()) {
        return Vec::new();
    }
    let row = |run: &RunReport| {
        let stage = |stage: fn(&Stages) -> Option<f64>| run.server.as_ref().and_then(stage);
        let times = [stage(|s| s.decode), stage(|s| s.queue), stage(|s| s.compute), stage(|s| s.encode)];
        let times = times.into_iter().map(|time| time.map_or_else(unknown, duration));
        times.chain([stage(|s| s.batch_rows).map_or_else(unknown, short)]).collect()
    };
    table(runs, &["decode", "queue", "compute", "encode", "rows/run"], row)
}

/// Lays out how the runs stand beside the runtime alone.
fn ratios(runs: &[RunReport]) -> Vec<Vec<String>> {
    let row = |run: &RunReport| {
        let ratio = |ratio: fn(&RawRatio) -> f64| run.raw_ratio.as_ref().map(ratio).map_or_else(unknown, short);
        vec![ratio(|ratio| ratio.single), ratio(|ratio| ratio.best)]
    };
    table(runs, &["single", "best"], row)
}

fn raw_title(raw: &Raw) -> String {
    let (sessions, threads) = (count(raw.sessions, "session"), count(raw.intra_op_threads, "thread"));
    format!("raw Session::run in a loop, without a server, {sessions} of {threads}")
}

fn raw_rows(raw: &Raw) -> Vec<Vec<String>> {
    let head = ["batch", "rows/run", "rows/s", "mean", "p50", "p90", "p99", "p99.9", "max"];
    let row = |name: &str, raw: &RawLoop| {
        let mut cells = vec![name.to_owned(), short(raw.rows_per_run), short(raw.rows_per_second)];
        cells.extend(durations(raw.latency.as_ref()));
        cells
    };
    vec![head.map(str::to_owned).to_vec(), row("single", &raw.single), row("best", &raw.best)]
}

fn failure(run: &RunReport, error: &ErrorReport) -> String {
    let status = error.status.map(|status| status.to_string());
    let words: Vec<_> = status.iter().chain(&error.code).map(String::as_str).collect();
    let took = error.latency.as_ref().map_or_else(String::new, |latency| format!(" (p99 {})", duration(latency.p99)));
    format!("{}: {} × {}{took}: {}", run.name, error.count, words.join(" "), error.message)
}
