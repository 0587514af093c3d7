//! The commands of `onnxd`, one file each, what they share (`candidate`, `page`), and the exit code that each end has.
//!
//! A command prints what it was asked for on stdout and returns; what went wrong, it returns as an
//! error, which is printed here as one line on stderr.

pub mod bench;
mod candidate;
pub mod check;
pub mod doctor;
pub mod healthcheck;
pub mod inspect;
pub mod isolated_session;
mod page;
pub mod serve;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use crate::{
    config::{EngineCommand, ParseOutcome},
    engine::onnx_runtime::OrtEngine,
    error::{Error, Result},
    logging::LogGuard,
};

/// The exit code of a command that did what it was asked for.
pub const EXIT_SUCCESS: u8 = 0;
/// The exit code of a command that failed.
pub const EXIT_FAILURE: u8 = 1;
/// The exit code of a wrong setting: `EX_USAGE` of sysexits.h.
pub const EXIT_USAGE: u8 = 64;
/// The exit code of a missing or unfit ONNX Runtime library: `EX_UNAVAILABLE` of sysexits.h.
pub const EXIT_UNAVAILABLE: u8 = 69;

/// Runs the command. `engine` is missing where there is no usable ONNX Runtime, which the doctor puts up with, and
/// `bench` where it has nothing to run itself.
///
/// # Errors
/// What the command says of why it could not do what it was asked for.
pub fn run(command: EngineCommand, engine: Result<Arc<OrtEngine>>, log_guard: LogGuard) -> Result<ExitCode> {
    match command {
        EngineCommand::Serve(config) => serve::run(*config, engine?, log_guard),
        EngineCommand::Inspect(settings) => inspect::run(&settings, engine?),
        EngineCommand::Check(settings) => check::run(&settings, engine?),
        EngineCommand::Doctor(settings) => doctor::run(&settings, engine.as_deref()),
        EngineCommand::Bench(settings) => bench::run(&settings, engine.as_ref().ok()),
    }
}

/// Prints why there is no command to run, and returns the exit code for it.
pub fn answer(outcome: &ParseOutcome) -> ExitCode {
    match outcome {
        // Whoever closed the pipe, as `head` does, wants no more of it: that is no failure.
        ParseOutcome::Answer(text) => {
            let _ = text.print();
            ExitCode::SUCCESS
        }
        ParseOutcome::NoCommand(help) => {
            let _ = help.print();
            ExitCode::from(EXIT_USAGE)
        }
        ParseOutcome::Usage(line) => fail(EXIT_USAGE, line),
    }
}

/// Returns the exit code of a finished command, and prints its error if it failed.
pub fn finish(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| fail(EXIT_FAILURE, &error.to_string()))
}

/// Prints that there is no ONNX Runtime to run models with, and returns the exit code for it.
pub fn without_runtime(error: &Error) -> ExitCode {
    fail(EXIT_UNAVAILABLE, &error.to_string())
}

fn fail(code: u8, message: &str) -> ExitCode {
    // A stderr that is gone must not turn the exit code into a panic's.
    let _ = writeln!(io::stderr(), "onnxd: {}", one_line(message));
    ExitCode::from(code)
}

/// Keeps a message of several lines, as ONNX Runtime has them, on one.
fn one_line(message: &str) -> String {
    let lines: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_exit_code() {
        let usage = ParseOutcome::Usage("--port: expected a port".to_owned());
        let cases = [
            (answer(&usage), 64),
            (finish(Ok(ExitCode::SUCCESS)), 0),
            (finish(Ok(ExitCode::from(EXIT_FAILURE))), 1),
            (finish(Err(Error::not_found("no such file"))), 1),
            (without_runtime(&Error::unavailable("no library")), 69),
        ];
        for (code, expected) in cases {
            assert_eq!(code, ExitCode::from(expected));
        }
    }

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        assert_eq!(one_line("model \"iris\":\n  bad graph\n\n  at node 3\n"), "model \"iris\":; bad graph; at node 3");
    }
}
