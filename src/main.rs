//! The `onnxd` program: from the command line to the exit code.

use std::{env, process::ExitCode, sync::Arc};

use onnxd::{cli, config, engine::onnx_runtime::OrtEngine, logging};

fn main() -> ExitCode {
    let cli = match config::parse() {
        Ok(cli) => cli,
        Err(outcome) => return cli::answer(&outcome),
    };
    disable_runtime_telemetry();
    let log_guard = match logging::init(cli.log()) {
        Ok(guard) => guard,
        Err(error) => return cli::finish(Err(error)),
    };
    let engine = OrtEngine::new(&cli.runtime().library_candidates());
    let engine = match engine {
        Err(error) if cli.needs_runtime() => return cli::without_runtime(&error),
        engine => engine.map(Arc::new),
    };
    cli::finish(cli::run(cli.command, engine, log_guard))
}

/// Keeps ONNX Runtime from reporting over the network, which official builds do from 1.29 on.
///
/// The library looks for the variable when its environment is made, before any call could turn
/// telemetry off. `main` calls this before it starts the first thread.
#[expect(unsafe_code, reason = "the library offers no other way, and setting a variable is unsafe")]
fn disable_runtime_telemetry() {
    // SAFETY: nothing reads or writes the environment at the same time, for the process has one
    // thread: this comes before the log's, the runtime's and the server's are started.
    unsafe { env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}
