//! `onnxd isolated-session`: the process that runs an isolated model. onnxd starts it, nobody else.

use std::{io, process::ExitCode};

use tracing::level_filters::LevelFilter;

use crate::{
    config::{LibraryCandidate, LibraryOrigin, isolated::IsolatedSessionSettings},
    engine::onnx_runtime::OrtEngine,
    error::Result,
};

/// Runs one model until the parent is gone.
///
/// # Errors
/// `Unavailable` where ONNX Runtime cannot be loaded; `Internal` where no onnxd started this process.
pub fn run(settings: &IsolatedSessionSettings) -> Result<ExitCode> {
    // Written at once, since a crash takes no notice of buffers. The parent adds time, level and model.
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(io::stderr).with_ansi(false);
    log.without_time().with_level(false).with_target(false).init();
    let library = LibraryCandidate { path: settings.onnxruntime.clone(), origin: LibraryOrigin::Setting };
    let engine = OrtEngine::new(&[library])?;
    serve(&engine)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(target_os = "linux")]
fn serve(engine: &OrtEngine) -> Result<()> {
    crate::engine::isolation::child::serve(engine)
}

#[cfg(not(target_os = "linux"))]
fn serve(_engine: &OrtEngine) -> Result<()> {
    Err(crate::error::Error::internal("isolation needs Linux"))
}
