//! `onnxd serve`: serves until SIGTERM, SIGINT or SIGQUIT.

#[cfg(not(unix))]
#[path = "serve/console.rs"]
mod signals;
#[cfg(unix)]
mod signals;

use std::{process::ExitCode, sync::Arc};

use tokio::runtime::{self, Runtime};

use self::signals::Signals;
use crate::{
    cli::{EXIT_FAILURE, EXIT_SUCCESS, EXIT_USAGE, fail},
    config::{self, ServerConfig},
    cpu::CpuBudget,
    engine::Engine,
    error::{Error, ErrorKind, Result},
    logging::LogGuard,
    server::{self, Ending, Server},
};

/// Serves until the first signal, and drains. A second signal ends the process at once, if it comes at least a second later.
/// Blocks, and returns only where it could not serve.
///
/// # Errors
/// `Internal` where the system gives no threads or no signals.
pub fn run(config: ServerConfig, engine: Arc<dyn Engine>, log_guard: LogGuard) -> Result<ExitCode> {
    for variable in config::unknown_variables() {
        tracing::warn!("the environment variable {variable} is set, but onnxd has no such setting");
    }
    let signals = Signals::listen(config.limits.drain_delay + config.limits.shutdown_grace)?;
    let runtime = runtime(&config)?;
    let server = match runtime.block_on(server::bind(config, engine)) {
        Ok(server) => server,
        Err(error) if matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::NotFound) => {
            return Ok(fail(EXIT_USAGE, &error.to_string()));
        }
        Err(error) => return Err(error),
    };
    server.service().metrics().watch_log(log_guard.dropped_lines());
    // Kept to the end: dropping the last one waits for runs, also for those that nobody waits for any more.
    let _service = Arc::clone(server.service());
    let code = runtime.block_on(serve(server, &signals));
    exit_now(code, log_guard)
}

/// Makes the event loops that a server runs on.
///
/// # Errors
/// `Internal` where the system gives no threads.
pub(super) fn runtime(config: &ServerConfig) -> Result<Runtime> {
    let threads = config.http.threads.unwrap_or_else(|| CpuBudget::of_this_process().threads);
    let builder = &mut runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name("http").enable_all().build().map_err(Error::internal)
}

/// Serves until the signals say stop, and returns the exit code.
async fn serve(server: Server, signals: &Signals) -> u8 {
    tokio::select! {
        ending = server.run_until(signals.drain()) => match ending {
            Ending::Drained => EXIT_SUCCESS,
            Ending::CutOff(_) => EXIT_FAILURE,
        },
        code = signals.end() => code,
    }
}

/// Ends the process without destructors: they would wait for a run or a load that the grace time was too short for.
#[expect(
    clippy::disallowed_methods,
    clippy::exit,
    reason = "what is still running cannot be cancelled, and nobody waits for it"
)]
fn exit_now(code: u8, log_guard: LogGuard) -> ! {
    // Writes what is in the log's buffer.
    drop(log_guard);
    std::process::exit(code.into())
}
