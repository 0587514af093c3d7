//! `onnxd bench`: loads a running daemon, or a model that it serves itself, and tells how fast it answers.
//!
//! `target` finds out what is asked, `bodies` with what; `load` sends it as `schedule` says, each connection a `client`;
//! `tally` counts, `stages` reads the daemon's own measures, `raw` runs the model without a server; `report` and `sheet`
//! tell of it, as JSON and for people.

mod bodies;
mod client;
mod daemon;
mod load;
mod patience;
mod progress;
mod raw;
mod report;
mod schedule;
mod sheet;
mod stages;
mod tally;
mod target;

use std::{process::ExitCode, sync::Arc, time::Duration};

use http::{Method, Uri};

use crate::{
    cli::{
        EXIT_FAILURE, EXIT_USAGE,
        bench::{
            bodies::RequestBody,
            daemon::Daemon,
            load::{Load, PreparedRequest, Run},
            progress::Progress,
            raw::RawModel,
            report::{BodiesReport, Report, RunReport},
            schedule::Extent,
            stages::{Counters, Stages},
            target::{Host, ModelFacts, Route},
        },
        fail, one_line,
        page::print,
    },
    config::bench::{BenchSettings, BenchTarget},
    engine::onnx_runtime::OrtEngine,
    error::{Error, ErrorKind, Result},
};

/// The longest that the runtime is run without a server, for each number.
const RAW_TIME: Duration = Duration::from_secs(2);

/// What the settings name on this machine.
struct Prepared {
    bodies: Option<Vec<RequestBody>>,
    raw_model: Option<RawModel>,
    daemon: Option<Daemon>,
}

/// Measures and prints the numbers. `engine` is there wherever [`crate::config::EngineCommand::needs_runtime`] says so.
/// Blocks for as long as that takes.
///
/// # Errors
/// `Unavailable` or `NotFound` where there is nothing to load.
pub fn run(settings: &BenchSettings, engine: Option<&Arc<OrtEngine>>) -> Result<ExitCode> {
    let prepared = match prepare(settings, engine) {
        Ok(prepared) => prepared,
        Err(error) if matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::NotFound) => {
            return Ok(fail(EXIT_USAGE, &error.to_string()));
        }
        Err(error) => return Err(error),
    };
    let Prepared { bodies, raw_model, daemon } = prepared;
    let uri = match (&settings.target, &daemon) {
        (_, Some(daemon)) => daemon.url.clone(),
        (BenchTarget::Url(uri), None) => uri.clone(),
        (BenchTarget::Path(_), None) => return Err(Error::internal("there is no runtime to serve with")),
    };
    let (mut report, bodies) = measure(settings, &uri, bodies)?;
    if let Some(daemon) = daemon {
        daemon.stop()?;
        report.notes.push("served by this process: the load has taken its share of the same CPUs".to_owned());
    }
    if let (Some(raw_model), Some(engine)) = (raw_model, engine) {
        let time = RAW_TIME.min(settings.duration);
        let progress = Progress::new("raw".to_owned(), Extent::Time(time))?;
        match raw_model.measure(report.version.as_deref(), &**engine, &bodies, time) {
            Ok(raw) => report.compare(raw),
            Err(error) => report.notes.push(one_line(&format!("nothing to compare with: {error}"))),
        }
        drop(progress);
    }
    report.note_cautions();
    match settings.json {
        true => print(&format!("{}\n", report.json()?)),
        false => sheet::page(&report).print(),
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// Reads the bodies, looks for the model, and serves it where it is the target.
fn prepare(settings: &BenchSettings, engine: Option<&Arc<OrtEngine>>) -> Result<Prepared> {
    let bodies = RequestBody::given(settings)?;
    let raw_model = settings.raw_path().map(|path| RawModel::find(path)).transpose()?;
    let daemon = match (&settings.target, engine) {
        (BenchTarget::Path(path), Some(engine)) => Some(Daemon::start(path, settings, Arc::clone(engine) as _)?),
        _ => None,
    };
    Ok(Prepared { bodies, raw_model, daemon })
}

/// Finds out what to send, and sends it in every way that was asked for. Returns the bodies too.
fn measure(settings: &BenchSettings, uri: &Uri, given: Option<Vec<RequestBody>>) -> Result<(Report, Vec<RequestBody>)> {
    let (host, route) = (Host::new(uri, settings)?, Route::of(uri));
    let mut notes = Vec::new();
    let facts = match (host.model(&route.model), &given) {
        // With a body at hand, the server need not be one of ours.
        (Err(error), Some(_)) if error.kind() == ErrorKind::NotFound => {
            notes.push(one_line(&error.to_string()));
            None
        }
        (facts, _) => facts?,
    };
    let bodies = bodies(given, facts.as_ref())?;
    let load = Arc::new(Load {
        address: host.address,
        requests: prepare_requests(&host, &route, &bodies)?,
        timeout: settings.timeout,
        threads: settings.threads,
    });
    let mut report = Report {
        target: host.url(&route.path),
        model: facts.as_ref().map(|facts| facts.name.clone()),
        version: facts.as_ref().map(|facts| facts.version.clone()),
        lane: facts.as_ref().and_then(|facts| facts.lane.clone()),
        client_threads: settings.threads,
        warm_up_seconds: settings.warm_up.as_secs_f64(),
        extent: extent(settings),
        bodies: describe(&bodies),
        runs: Vec::new(),
        raw: None,
        notes,
    };
    let rows_are_known = report.bodies.mean_rows.is_some();
    for run in runs(settings) {
        report.runs.push(measure_run(settings, &host, &load, facts.as_ref(), run, rows_are_known)?);
    }
    Ok((report, bodies))
}

/// Lists what is to be measured: every number of connections, at every rate.
fn runs(settings: &BenchSettings) -> Vec<Run> {
    let rates: Vec<_> = match settings.rate.is_empty() {
        true => vec![None],
        false => settings.rate.iter().copied().map(Some).collect(),
    };
    let connections = settings.connections();
    let at = |rate| {
        connections.iter().map(move |connections| Run { connections: *connections, rate, extent: extent(settings) })
    };
    rates.into_iter().flat_map(at).collect()
}

fn extent(settings: &BenchSettings) -> Extent {
    settings.requests.map_or(Extent::Time(settings.duration), Extent::Requests)
}

fn measure_run(
    settings: &BenchSettings,
    host: &Host,
    load: &Arc<Load>,
    facts: Option<&ModelFacts>,
    run: Run,
    rows_are_known: bool,
) -> Result<RunReport> {
    let title = run.name();
    if !settings.warm_up.is_zero() {
        let warm_up = Run { extent: Extent::Time(settings.warm_up), ..run };
        load::send(load, warm_up, &Progress::new(format!("{title}, warm-up"), warm_up.extent)?)?;
    }
    let before = counters(host, facts);
    let tally = load::send(load, run, &Progress::new(title, run.extent)?)?;
    let after = counters(host, facts);
    let server = before.zip(after).map(|(before, after)| after.since(&before)).filter(Stages::is_something);
    Ok(RunReport::new(run, &tally, rows_are_known, server))
}

/// Reads what the daemon counts; `None` where it does not tell.
fn counters(host: &Host, facts: Option<&ModelFacts>) -> Option<Counters> {
    let facts = facts?;
    let answer = host.get("/metrics").ok().filter(client::Answer::is_good)?;
    let text = std::str::from_utf8(&answer.body).ok()?;
    Some(Counters::read(text, &facts.name, &facts.version))
}

fn bodies(given: Option<Vec<RequestBody>>, facts: Option<&ModelFacts>) -> Result<Vec<RequestBody>> {
    match (given, facts) {
        (Some(bodies), _) => Ok(bodies),
        (None, Some(ModelFacts { example: Some(example), .. })) => Ok(vec![RequestBody::new(example.clone())]),
        (None, Some(facts)) => Err(Error::unavailable(format!(
            "the inputs of {:?} are too large for an example: give a body with --body or --data",
            facts.name
        ))),
        (None, None) => Err(Error::unavailable("there is no example for this path: give a body with --body or --data")),
    }
}

fn prepare_requests(host: &Host, route: &Route, bodies: &[RequestBody]) -> Result<Vec<PreparedRequest>> {
    let prepare = |body: &RequestBody| {
        let request = host.request(Method::POST, &route.path, body.bytes.clone())?;
        Ok(PreparedRequest { request, rows: body.rows })
    };
    bodies.iter().map(prepare).collect()
}

fn describe(bodies: &[RequestBody]) -> BodiesReport {
    let count = bodies.len();
    let mean = |total: u64| total as f64 / count as f64;
    let bytes: usize = bodies.iter().map(|body| body.bytes.len()).sum();
    let rows: Option<u64> = bodies.iter().map(|body| body.rows).sum();
    BodiesReport { count, mean_bytes: mean(bytes as u64), mean_rows: rows.map(mean) }
}
