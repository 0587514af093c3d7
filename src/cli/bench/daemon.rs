//! A server in this process, for a model that is to be measured.

use std::{path::Path, sync::Arc};

use http::Uri;
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

use crate::{
    cli::serve,
    config::bench::BenchSettings,
    engine::Engine,
    error::{Error, Result},
    server::{self, Ending},
    serving::service::InferenceService,
};

/// A server on a free port of 127.0.0.1, with threads of its own.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) url: Uri,
    runtime: Runtime,
    service: Arc<InferenceService>,
    stop: oneshot::Sender<()>,
    run: JoinHandle<Ending>,
}

impl Daemon {
    /// Starts to serve, and returns when the model is loaded or has failed. Blocks.
    ///
    /// # Errors
    /// Those of [`server::bind`].
    pub(super) fn start(path: &Path, settings: &BenchSettings, engine: Arc<dyn Engine>) -> Result<Self> {
        let config = settings.server(path.to_owned());
        let runtime = serve::runtime(&config)?;
        let server = runtime.block_on(server::bind(config, engine))?;
        let url = format!("http://{}", server.address()).parse().map_err(Error::internal)?;
        let service = Arc::clone(server.service());
        let (stop, stopped) = oneshot::channel();
        let run = runtime.spawn(server.run_until(async {
            // A sender that is gone means the same.
            let _dropped = stopped.await;
        }));
        runtime.block_on(service.loaded());
        Ok(Self { url, runtime, service, stop, run })
    }

    /// Stops it, and waits until it has let go of the model. Blocks.
    ///
    /// # Errors
    /// `Internal` where it panicked.
    pub(super) fn stop(self) -> Result<()> {
        let Self { url: _, runtime, service, stop, run } = self;
        // A receiver that is gone has ended already.
        let _ended = stop.send(());
        runtime.block_on(run).map_err(Error::internal)?;
        // Dropping the last one waits for runs.
        drop(service);
        Ok(())
    }
}
