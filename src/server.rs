//! The composition root: bind first, load, serve, drain.
//!
//! `main` and the tests start a server through the same two calls, [`bind`] and [`Server::run_until`].

mod http2;
mod idle;
mod listeners;
mod preface;

use std::{
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{
    http2::Http2,
    idle::IdleConnections,
    listeners::{Listeners, Port},
    preface::is_http2,
};
use crate::{
    config::ServerConfig,
    cpu::CpuBudget,
    engine::Engine,
    error::Result,
    model::repository::{self, FoundModel},
    serving::{loader::Loader, service::InferenceService},
    transport::{
        closing::ClosingStage,
        grpc::app::GrpcApp,
        http::{connection::serve::serve_connection, pipeline::activity::Activity, router::Http},
    },
};

/// How long an idle connection may still bring a request once the server drains. A client that just read an answer
/// sends its next request within this time, gets `connection: close` with the answer, and loses nothing.
const IDLE_LINGER: Duration = Duration::from_millis(500);
/// How long a request may still arrive once idle connections are closed. Nobody accepted it, so a client that stopped halfway
/// does not keep the server from ending.
const UNFINISHED_LINGER: Duration = Duration::from_millis(1500);
/// How long the listener must be quiet before it is closed, so that connections in its backlog are not reset.
const BACKLOG_QUIET: Duration = Duration::from_millis(10);
/// How long clients that keep connecting, or that wait for room, can put off that the listener is closed.
const BACKLOG_LIMIT: Duration = Duration::from_secs(1);
/// How long a model that is still being loaded may put off the end. Loading cannot be interrupted, and nobody waits for it.
const LOADER_PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait after the system refuses a connection for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Above the limit one connection in so many is accepted, up to a most: a probe is answered while idle connections are
/// being closed to make room.
const RESERVED_PART: usize = 8;
const MAX_RESERVED: usize = 64;

/// A server that has its ports and knows its models, but has not loaded them.
#[derive(Debug)]
pub struct Server {
    listeners: Listeners,
    address: SocketAddr,
    grpc_address: Option<SocketAddr>,
    config: Arc<ServerConfig>,
    service: Arc<InferenceService>,
    http: Http,
    grpc: GrpcApp,
    found: Vec<FoundModel>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every request that was accepted was answered.
    Drained,
    /// This many connections were cut off when the grace time ran out.
    CutOff(usize),
}

/// Takes the ports and lists the models. Loading begins with [`Server::run_until`]; until it is done, answers are 503.
///
/// # Errors
/// `InvalidArgument` or `NotFound` where a setting is wrong: the path, the default model, the address.
pub async fn bind(config: ServerConfig, engine: Arc<dyn Engine>) -> Result<Server> {
    let found = repository::find(&config.model_path, config.model_name.as_deref())?;
    warn_of_oversubscription(&found);
    let loader = Loader {
        inline_budget: config.limits.inline_budget,
        longest_run: config.limits.request_timeout,
        max_rows: config.limits.max_rows,
        ..Loader::new(engine, &config.memory)?
    };
    let service = Arc::new(InferenceService::new(&found, &config, loader)?);
    let config = Arc::new(config);
    let http = Http::new(&service, &config)?;
    let grpc = GrpcApp::new(&service, &config)?;
    let listeners = Listeners::bind(config.http.address(), config.http.grpc_address()).await?;
    let (address, grpc_address) = listeners.addresses()?;
    Ok(Server { listeners, address, grpc_address, config, service, http, grpc, found })
}

/// Warns of each model whose threads are more than the CPUs allow; it works, but slower than with fewer.
fn warn_of_oversubscription(found: &[FoundModel]) {
    let cpus = CpuBudget::of_this_process().threads;
    for model in found {
        let instances = model.files.as_ref().ok().map(|files| &files.manifest.instances);
        if let Some(warning) = instances.and_then(|instances| instances.oversubscription(model.name.as_str(), cpus)) {
            tracing::warn!(model = %model.name, cpus, "{warning}");
        }
    }
}

/// Returns how many connections are accepted above a limit.
pub fn reserved_connections(limit: usize) -> usize {
    (limit / RESERVED_PART).min(MAX_RESERVED)
}

impl Server {
    /// Returns the address that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address that was taken for gRPC alone, if it has one.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc_address
    }

    /// Returns the models and their state.
    pub fn service(&self) -> &Arc<InferenceService> {
        &self.service
    }

    /// Loads the models and serves until `shutdown` resolves, then drains.
    ///
    /// Draining: readiness turns 503 at once; the port stays open for the drain delay; then nothing new is accepted, and
    /// what is in flight is answered within the grace time.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Ending {
        let Self { listeners, address, grpc_address, config, service, http, grpc, found } = self;
        if let Some(address) = grpc_address {
            tracing::info!(address = %address, "gRPC on {address}");
        }
        tracing::info!(address = %address, "listening on http://{address}");
        let loader = {
            let service = Arc::clone(&service);
            tokio::task::spawn_blocking(move || service.load_all(&found))
        };
        let mut connections = Connections::new(http, grpc, &config);
        connections.accept_until(&listeners, shutdown).await;

        tracing::info!("draining: readiness is off, requests in flight are being answered");
        service.start_draining();
        let grace_ends = Instant::now() + config.limits.drain_delay + config.limits.shutdown_grace;
        connections.accept_until(&listeners, sleep(config.limits.drain_delay)).await;
        let left = || grace_ends.saturating_duration_since(Instant::now());
        // Half of a short grace time is left for those that are served.
        let _still_coming = timeout(BACKLOG_LIMIT.min(left() / 2), connections.empty_backlog(&listeners)).await;
        drop(listeners);
        let ending = connections.drain(grace_ends).await;

        if timeout(LOADER_PATIENCE.min(left()), loader).await.is_err() {
            tracing::warn!("a model was still being loaded when the server stopped");
        }
        match ending {
            Ending::Drained => tracing::info!("stopped: every accepted request was answered"),
            Ending::CutOff(count) => tracing::error!(count, "stopped: {count} connections were cut off"),
        }
        ending
    }
}

/// The open connections; each is a task that is awaited before the server ends.
struct Connections {
    tasks: JoinSet<()>,
    http: Arc<Http>,
    grpc: GrpcApp,
    config: Arc<ServerConfig>,
    closing: watch::Sender<ClosingStage>,
    idle: IdleConnections,
}

impl Connections {
    fn new(http: Http, grpc: GrpcApp, config: &Arc<ServerConfig>) -> Self {
        Self {
            tasks: JoinSet::new(),
            http: Arc::new(http),
            grpc,
            config: Arc::clone(config),
            closing: watch::Sender::new(ClosingStage::Open),
            idle: IdleConnections::default(),
        }
    }

    /// Accepts connections until `stop` resolves. Above the limit, and when the system has no descriptors left, the longest
    /// idle ones are closed.
    async fn accept_until(&mut self, listeners: &Listeners, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let limit = self.config.limits.max_connections;
            let has_room = self.tasks.len() < limit.saturating_add(reserved_connections(limit));
            tokio::select! {
                biased;
                () = &mut stop => return,
                Some(_finished) = self.tasks.join_next() => {}
                accepted = listeners.accept(), if has_room => match accepted {
                    Ok((stream, port)) => {
                        self.serve(stream, port);
                        self.evict_above_limit();
                    }
                    Err(error) => {
                        tracing::warn!("cannot accept a connection: {error}");
                        self.idle.evict(1);
                        let _pause_or_room = timeout(ACCEPT_PAUSE, self.tasks.join_next()).await;
                    }
                },
                () = sleep(ACCEPT_PAUSE), if !has_room => self.idle.evict(1),
            }
        }
    }

    /// Asks the longest idle connections to close once there are more than the limit.
    fn evict_above_limit(&mut self) {
        let surplus = self.open().saturating_sub(self.config.limits.max_connections);
        if surplus > 0 {
            self.idle.evict(surplus);
        }
    }

    /// Accepts what the system has already accepted for us: those clients may have sent whole requests.
    async fn empty_backlog(&mut self, listeners: &Listeners) {
        while let Ok(Ok((stream, port))) = timeout(BACKLOG_QUIET, listeners.accept()).await {
            self.room().await;
            self.serve(stream, port);
        }
    }

    /// Waits until there is room for one more connection, while the server drains. Idle ones give way, after their moment.
    async fn room(&mut self) {
        if self.open() < self.config.limits.max_connections {
            return;
        }
        if timeout(IDLE_LINGER, self.tasks.join_next()).await.is_err() {
            self.closing.send_replace(ClosingStage::Idle);
            let _finished = self.tasks.join_next().await;
        }
    }

    fn serve(&mut self, stream: TcpStream, port: Port) {
        let (http, keep_alive) = (Arc::clone(&self.http), self.config.limits.keep_alive);
        let mut closing = self.closing.subscribe();
        let activity = Arc::new(Activity::new());
        self.idle.add(&activity);
        let http2 =
            Http2 { http: (port == Port::Http).then(|| Arc::clone(&http)), grpc: self.grpc.clone(), keep_alive };
        self.tasks.spawn(async move {
            let speaks_http2 = async { port == Port::Grpc || is_http2(&stream).await.unwrap_or(false) };
            let speaks_http2 = tokio::select! {
                speaks_http2 = timeout(keep_alive, speaks_http2) => speaks_http2,
                // Nothing has come, or the server has ended.
                _told = closing.changed() => return,
                () = activity.evicted() => return,
            };
            match speaks_http2 {
                Ok(false) => serve_connection(stream, http, activity, closing, keep_alive).await,
                // Large, and not what most connections are.
                Ok(true) => Box::pin(http2.serve(stream, activity, closing)).await,
                Err(_nothing_came) => {}
            }
        });
    }

    /// Waits until all connections are done. Idle ones get a moment for a request that is on its way, and requests that have
    /// begun to arrive get a moment to arrive whole.
    async fn drain(mut self, grace_ends: Instant) -> Ending {
        let left = || grace_ends.saturating_duration_since(Instant::now());
        // Half of a short grace time is left for the idle ones to end, which are not cut off.
        let _still_open = timeout(IDLE_LINGER.min(left() / 2), self.all_done()).await;
        self.closing.send_replace(ClosingStage::Idle);
        let _still_open = timeout(UNFINISHED_LINGER.min(left() / 2), self.all_done()).await;
        self.closing.send_replace(ClosingStage::Unfinished);
        match timeout(left(), self.all_done()).await {
            Ok(()) => Ending::Drained,
            Err(_) => {
                let count = self.open();
                self.tasks.shutdown().await;
                Ending::CutOff(count)
            }
        }
    }

    /// Counts the connections that are open, after forgetting those that are done.
    fn open(&mut self) -> usize {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.len()
    }

    async fn all_done(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
