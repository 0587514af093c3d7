//! The same model on the same bodies without a server: `Session::run` in a loop.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    cli::{
        bench::{
            bodies::RequestBody,
            tally::{Latencies, Summary},
        },
        candidate::{Candidate, VersionFiles},
    },
    engine::{Engine, LoadOptions, Session, run_memory::RunMemory},
    error::{Error, Result},
    model::{
        manifest::{BatchingSettings, InstanceSettings, Manifest},
        onnx_file::independence::Independence,
        repository,
        schema::Schema,
        staged::StagedModel,
    },
    protocol::native::decode::decode,
    request::{Tensors, ValidRequest},
    serving::probe::probe,
    tensor::tensor::Tensor,
};

/// How long the search for the best batch may take before it goes on to a larger one.
const SEARCH: Duration = Duration::from_secs(2);
/// How long each batch is run in that search.
const TRIAL: Duration = Duration::from_millis(50);

/// What the runtime gives without a server.
#[derive(Debug, Serialize)]
pub(super) struct Raw {
    /// Copies of the model that run side by side.
    pub(super) sessions: usize,
    pub(super) intra_op_threads: usize,
    /// One request at a time.
    pub(super) single: RawLoop,
    /// So many rows at a time that most of them are run; the same as `single` where batches gain nothing.
    pub(super) best: RawLoop,
}

/// What runs in a loop gave.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RawLoop {
    /// The mean of the rows of a run.
    pub(super) rows_per_run: f64,
    /// Rows a second, over all sessions.
    pub(super) rows_per_second: f64,
    /// How long a run takes.
    pub(super) latency: Option<Summary>,
}

/// The versions of the one model at a path.
#[derive(Debug)]
pub(super) struct RawModel(Vec<VersionFiles>);

impl RawModel {
    /// Looks what there is.
    ///
    /// # Errors
    /// `InvalidArgument` where there is no model, or more than one.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let found = repository::scan(path)?;
        if let [first, _, ..] = &found[..] {
            let (path, count, first) = (path.display(), found.len(), &first.name);
            return Err(Error::invalid(format!("{path} has {count} models: name one, as {path}/{first}")));
        }
        let candidates = Candidate::of_all(found);
        candidates.into_iter().map(|candidate| candidate.files).collect::<Result<_>>().map(Self)
    }

    /// Runs a version in loops of `time`: the one that is named, if it is there, else the default. Blocks.
    ///
    /// # Errors
    /// Where it cannot be loaded, where a body does not fit it, and where a run fails.
    pub(super) fn measure(
        &self,
        version: Option<&str>,
        engine: &dyn Engine,
        bodies: &[RequestBody],
        time: Duration,
    ) -> Result<Raw> {
        let named = |files: &&VersionFiles| version.is_some_and(|version| files.version.to_string() == version);
        let default = || self.0.iter().find(|files| files.is_default);
        let files = self.0.iter().find(named).or_else(default).ok_or_else(|| Error::not_found("it has no version"))?;
        let manifest = &*files.manifest;
        let staged = StagedModel::open(&files.path, u64::MAX)?;
        let file = &staged.file;
        let InstanceSettings { count: instances, intra_op_threads, .. } = manifest.instances;
        let run_memory = RunMemory::unlimited();
        let options = LoadOptions { instances, intra_op_threads, file, run_memory, isolation: None };
        let mut sessions = engine.load(staged.path(), &options)?;
        let session = sessions.first_mut().ok_or_else(|| Error::internal("no instance was asked for"))?;
        let schema = Schema::new(session.signature().clone(), manifest, file)?;
        let requests = valid_requests(&schema, bodies)?;
        let batches = best_batch(&mut **session, &requests, &file.independence, manifest)?;

        let inputs: Vec<_> = requests.iter().map(|request| Tensors::from(request.inputs())).collect();
        let rows = requests.iter().map(ValidRequest::rows).sum::<usize>() as f64 / requests.len() as f64;
        let single = drive(&mut sessions, &inputs, rows, time)?;
        let best = match batches {
            Some((rows, batch)) => drive(&mut sessions, &[batch], rows as f64, time)?,
            None => single.clone(),
        };
        let best = if best.rows_per_second > single.rows_per_second { best } else { single.clone() };
        Ok(Raw { sessions: sessions.len(), intra_op_threads, single, best })
    }
}

fn valid_requests(schema: &Schema, bodies: &[RequestBody]) -> Result<Vec<ValidRequest>> {
    let valid = |body: &RequestBody| ValidRequest::new(decode(schema, &body.bytes)?.request, &schema.signature);
    bodies.iter().map(valid).collect()
}

/// Finds the batch of the requests' rows that takes least time per row; `None` where their rows cannot be batched.
fn best_batch(
    session: &mut dyn Session,
    requests: &[ValidRequest],
    independence: &Independence,
    manifest: &Manifest,
) -> Result<Option<(usize, Tensors)>> {
    let key = requests.first().and_then(ValidRequest::batch_key);
    let alike: Vec<_> = requests.iter().filter(|request| request.rows() > 0 && request.batch_key() == key).collect();
    let settings = BatchingSettings { max_batch_size: 1, ..manifest.batching.clone() };
    if key.is_none() || alike.is_empty() || probe(session, independence, &settings).batching.is_err() {
        return Ok(None);
    }
    let (started, mut best) = (Instant::now(), None);
    let sizes = std::iter::successors(Some(1), |rows| Some(rows * 2));
    for rows in sizes.take_while(|rows| *rows <= manifest.batching.max_batch_size) {
        let batch = stack(&alike, rows)?;
        let per_row = trial(session, &batch)? / rows as f64;
        if best.as_ref().is_none_or(|(least, _, _)| per_row < *least) {
            best = Some((per_row, rows, batch));
        }
        if started.elapsed() > SEARCH {
            break;
        }
    }
    Ok(best.map(|(_, rows, batch)| (rows, batch)))
}

/// Stacks so many rows, those of the requests in turn.
fn stack(requests: &[&ValidRequest], rows: usize) -> Result<Tensors> {
    let (mut stacked, mut count) = (Vec::new(), 0);
    for request in requests.iter().cycle() {
        stacked.push(request.inputs());
        count += request.rows();
        if count >= rows {
            break;
        }
    }
    let inputs = stacked.first().map_or(0, |inputs| inputs.len());
    let column = |index: usize| stacked.iter().map(|inputs| &inputs[index]).collect::<Vec<_>>();
    (0..inputs).map(|index| Tensor::concat(&column(index))?.rows(0..rows)).collect()
}

/// Returns the seconds of a run.
fn trial(session: &mut dyn Session, batch: &Tensors) -> Result<f64> {
    session.run(batch)?;
    let (started, mut runs) = (Instant::now(), 0.0);
    while runs < 2.0 || started.elapsed() < TRIAL {
        session.run(batch)?;
        runs += 1.0;
    }
    Ok(started.elapsed().as_secs_f64() / runs)
}

/// Runs all sessions at once, each on a thread of its own, with the inputs in turn.
fn drive(sessions: &mut [Box<dyn Session>], inputs: &[Tensors], rows_per_run: f64, time: Duration) -> Result<RawLoop> {
    let parts = thread::scope(|scope| {
        let start = |session| {
            let builder = thread::Builder::new().name("raw".to_owned());
            builder.spawn_scoped(scope, move || run_in_loop(session, inputs, time)).map_err(Error::internal)
        };
        let handles = sessions.iter_mut().map(start).collect::<Result<Vec<_>>>()?;
        let join = |handle: thread::ScopedJoinHandle<'_, Result<(Latencies, f64)>>| {
            handle.join().map_err(|_panic| Error::internal("a run panicked"))?
        };
        handles.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let mut latencies = Latencies::new()?;
    for (part, _) in &parts {
        latencies.merge(part)?;
    }
    let runs_per_second: f64 = parts.iter().map(|(_, runs_per_second)| runs_per_second).sum();
    Ok(RawLoop { rows_per_run, rows_per_second: runs_per_second * rows_per_run, latency: latencies.summary() })
}

/// Returns how long runs take, and how many a second there are.
fn run_in_loop(session: &mut Box<dyn Session>, inputs: &[Tensors], time: Duration) -> Result<(Latencies, f64)> {
    let (mut latencies, mut runs) = (Latencies::new()?, 0.0);
    for input in inputs {
        session.run(input)?;
    }
    let started = Instant::now();
    let mut now = started;
    // Whole rounds, so that the rows of a run are what they are on the mean.
    while now - started < time {
        for input in inputs {
            let before = now;
            session.run(input)?;
            now = Instant::now();
            latencies.record(now - before);
            runs += 1.0;
        }
    }
    Ok((latencies, runs / (now - started).as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::signature::{Dim, Signature, TensorSpec},
        request::{InferRequest, InputTensor},
        tensor::{data_type::DataType, shape::Shape},
    };

    fn request(values: &[i64]) -> ValidRequest {
        let tensor = TensorSpec { name: "x".into(), data_type: DataType::Int64, dims: Some(vec![Dim::Dynamic(None)]) };
        let signature = Signature { inputs: vec![tensor], outputs: Vec::new() };
        let tensor = Tensor::from_vec(Shape::new(&[values.len()]), values.to_vec()).unwrap();
        let inputs = [InputTensor { name: "x".into(), tensor }].into_iter().collect();
        ValidRequest::new(InferRequest { inputs }, &signature).unwrap()
    }

    #[test]
    fn a_batch_has_the_rows_of_the_requests_in_turn() {
        let requests = [request(&[1, 2]), request(&[3])];
        for (rows, expected) in [(1, vec![1]), (3, vec![1, 2, 3]), (7, vec![1, 2, 3, 1, 2, 3, 1])] {
            let stacked = stack(&requests.iter().collect::<Vec<_>>(), rows).unwrap();
            assert_eq!(stacked[0].as_slice::<i64>().unwrap(), expected, "{rows}");
        }
    }
}
