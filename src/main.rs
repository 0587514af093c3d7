//! The `onnxd` program: from the command line to the exit code.

use std::{env, process::ExitCode, sync::Arc};

use onnxd::{
    cli,
    config::{self, Command, EngineCommand},
    engine::onnx_runtime::OrtEngine,
    logging,
};

fn main() -> ExitCode {
    let cli = match config::parse() {
        Ok(cli) => cli,
        Err(outcome) => return cli::answer(&outcome),
    };
    match cli.command {
        Command::WithEngine(command) => run_with_engine(command),
        Command::Healthcheck(settings) => cli::finish(cli::healthcheck::run(&settings)),
        Command::IsolatedSession(settings) => {
            disable_runtime_telemetry();
            cli::finish(cli::isolated_session::run(&settings))
        }
    }
}

fn run_with_engine(command: EngineCommand) -> ExitCode {
    disable_runtime_telemetry();
    let log_guard = match logging::init(command.log()) {
        Ok(guard) => guard,
        Err(error) => return cli::finish(Err(error)),
    };
    let engine = OrtEngine::new(&command.runtime().library_candidates());
    let engine = match engine {
        Err(error) if command.needs_runtime() => return cli::without_runtime(&error),
        engine => engine.map(Arc::new),
    };
    cli::finish(cli::run(command, engine, log_guard))
}

/// Keeps ONNX Runtime from reporting over the network, which official builds do from 1.29 on.
///
/// The library looks for the variable when its environment is made, before any call could turn
/// telemetry off. Called before the first thread is started.
#[expect(unsafe_code, reason = "the library offers no other way, and setting a variable is unsafe")]
fn disable_runtime_telemetry() {
    // SAFETY: nothing reads or writes the environment at the same time, for the process has one
    // thread: this comes before the log's, the runtime's and the server's are started.
    unsafe { env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}
