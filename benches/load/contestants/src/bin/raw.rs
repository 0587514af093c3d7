//! Raw `Session::run` in a loop on one thread: what the runtime itself gives, by batch size.
//!
//! Prints one JSON object a batch size: rows a second, seconds of CPU a row, percentiles of a run.
//! The session is set up as onnxd sets up its own. Input tensors are made once, before the loop.

use std::{
    fs,
    time::{Duration, Instant},
};

use contestants::{Failure, argument, percentile};
use ort::{environment::Environment, session::Session, value::Tensor};
use serde_json::{Value, json};

fn main() -> Result<(), Failure> {
    let environment = ort::init_from(argument::<String>("onnxruntime")?)?.with_telemetry(false).build()?;
    let batches = argument::<String>("batches")?;
    let seconds = Duration::from_secs_f64(argument("seconds")?);
    let row = serde_json::from_slice::<Value>(&fs::read(argument::<String>("row")?)?)?;
    let mut session = open(&environment, &argument::<String>("model")?)?;
    for batch in batches.split(',') {
        println!("{}", measure(&mut session, &row["inputs"][0], batch.parse()?, seconds)?);
    }
    Ok(())
}

fn open(environment: &Environment, model: &str) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?
        .commit_from_file(model)
}

/// Runs `rows` copies of the row (an Open Inference input) until the time is up, at least twice.
fn measure(session: &mut Session, row: &Value, rows: usize, limit: Duration) -> Result<Value, Failure> {
    let input = ort::inputs![stacked(row, rows)?];
    session.run(&input[..])?;
    let (mut times_ms, cpu_before, start) = (Vec::new(), cpu_seconds()?, Instant::now());
    while start.elapsed() < limit || times_ms.len() < 2 {
        let begin = Instant::now();
        std::hint::black_box(session.run(&input[..])?);
        times_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu_before);
    let all_rows = (times_ms.len() * rows) as f64;
    times_ms.sort_by(f64::total_cmp);
    Ok(json!({
        "batch": rows,
        "seconds": elapsed,
        "rows_per_second": all_rows / elapsed,
        "cpu_seconds": cpu,
        "rows": all_rows,
        "p50_ms": percentile(&times_ms, 0.5),
        "p99_ms": percentile(&times_ms, 0.99),
        "peak_kib": peak_kib()?,
    }))
}

fn stacked(row: &Value, rows: usize) -> Result<ort::session::SessionInputValue<'static>, Failure> {
    let numbers = row["data"].as_array().ok_or("the row has no data")?;
    let mut shape = serde_json::from_value::<Vec<i64>>(row["shape"].clone())?;
    shape[0] = i64::try_from(rows)?;
    Ok(if row["datatype"] == "INT64" {
        let row = numbers.iter().filter_map(Value::as_i64).collect::<Vec<_>>();
        Tensor::from_array((shape, row.repeat(rows)))?.into()
    } else {
        let row = numbers.iter().filter_map(Value::as_f64).map(|number| number as f32).collect::<Vec<_>>();
        Tensor::from_array((shape, row.repeat(rows)))?.into()
    })
}

/// Returns this process's CPU time so far, of all its threads, to the kernel's 10 ms.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').ok_or("odd /proc/self/stat")?.1.split_whitespace().collect::<Vec<_>>();
    let ticks = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}

/// Returns the most memory this process ever had resident.
fn peak_kib() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
