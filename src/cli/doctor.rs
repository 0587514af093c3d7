//! `onnxd doctor`: what `serve` would use with the same settings, and what is wrong with it.
//!
//! `facts` and `models` look around, `advice` judges what was seen, `sheet` lays both out for people. No model is loaded.

mod advice;
mod facts;
mod models;
mod sheet;

use std::process::ExitCode;

use serde::Serialize;

use crate::{
    cli::{
        EXIT_FAILURE,
        doctor::facts::{Facts, gather},
        one_line,
        page::print,
    },
    config::DoctorSettings,
    engine::onnx_runtime::OrtEngine,
    error::{Error, Result},
};

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    facts: Facts,
    /// What would keep `serve` from working.
    problems: Vec<String>,
    /// What would make it work worse than it could.
    warnings: Vec<String>,
}

/// Prints the settings in force and what is wrong with them. `engine` is the runtime, or why there is none.
///
/// # Errors
/// `Internal` where the facts cannot be written as JSON, which a test would show.
pub fn run(settings: &DoctorSettings, engine: Result<&OrtEngine, &Error>) -> Result<ExitCode> {
    let (facts, problems) = gather(&settings.server, engine);
    let problems: Vec<_> = problems.iter().map(|problem| one_line(problem)).collect();
    let report = Report { warnings: advice::warnings(&facts), problems, facts };
    match settings.json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(&report).map_err(Error::internal)?)),
        false => sheet::page(&report).print(),
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}
