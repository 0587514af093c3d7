//! The one door that every protocol goes through.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use arc_swap::{ArcSwap, Guard};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    config::{LimitSettings, ServerConfig},
    error::{Error, ErrorKind, Result},
    metrics::Metrics,
    model::repository::FoundModel,
    request::InferRequest,
    serving::{
        budget::{Budget, buffered_bytes},
        catalog::{Catalog, ModelRef, ModelState},
        loader::Loader,
        reaper::Reaper,
        served_model::ServedModel,
    },
};

/// The models of a server and its own state: what all protocols share.
pub struct InferenceService {
    catalog: ArcSwap<Catalog>,
    /// Locked while the next catalog is made.
    reaper: Mutex<Reaper>,
    loader: Loader,
    draining: AtomicBool,
    loaded: watch::Sender<bool>,
    changed: watch::Sender<()>,
    limits: LimitSettings,
    in_flight: AtomicUsize,
    budget: Arc<Budget>,
    up_since: Timestamp,
    started: Instant,
}

impl InferenceService {
    /// Makes a service over the models found; none is loaded yet.
    ///
    /// # Errors
    /// `NotFound` where the default model is not among them.
    pub fn new(found: &[FoundModel], config: &ServerConfig, loader: Loader) -> Result<Self> {
        Ok(Self {
            catalog: ArcSwap::from_pointee(Catalog::new(found, config.default_model.as_deref())?),
            reaper: Mutex::default(),
            loader,
            draining: AtomicBool::new(false),
            loaded: watch::Sender::new(false),
            changed: watch::Sender::new(()),
            limits: config.limits.clone(),
            in_flight: AtomicUsize::new(0),
            budget: Arc::new(Budget::new(buffered_bytes(&config.limits))),
            up_since: Timestamp::now(),
            started: Instant::now(),
        })
    }

    /// Loads all models, one after the other. Blocks; stops between two models once the server drains.
    pub fn load_all(&self, found: &[FoundModel]) {
        self.loader.load_all(
            found,
            || self.is_draining(),
            |name, version, state| self.update(|catalog| catalog.with_version(name, version, state)),
        );
        self.loaded.send_replace(true);
        self.changed.send_replace(());
    }

    /// Waits until every model is ready or failed.
    pub async fn loaded(&self) {
        let mut loaded = self.loaded.subscribe();
        // The sender is a field of this service, so it cannot be gone.
        let _never = loaded.wait_for(|loaded| *loaded).await;
    }

    /// Tells when readiness may have changed: a model was loaded, or the server drains. Of a model that fails later, as its
    /// runs may, this says nothing.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Swaps the catalog for the next one. Requests keep the models that they have resolved; a model that the next catalog
    /// does not list is freed on a thread of its own, after its last request. Blocks while another call makes its catalog.
    pub fn update(&self, next: impl FnOnce(&Catalog) -> Catalog) {
        let mut reaper = self.reaper.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.catalog.load_full();
        let next = Arc::new(next(&before));
        let listed: HashSet<_> = next.loaded().map(Arc::as_ptr).collect();
        let retired = before.loaded().filter(|model| !listed.contains(&Arc::as_ptr(model))).cloned().collect();
        self.catalog.store(next);
        reaper.retire(retired);
        self.changed.send_replace(());
    }

    /// Finds a model version that serves; see [`Catalog::resolve`].
    ///
    /// # Errors
    /// `NotFound` or `Unavailable`.
    pub fn resolve(&self, model: ModelRef<'_>) -> Result<Arc<ServedModel>> {
        self.catalog.load().resolve(model)
    }

    /// Returns the budget of bytes that all request bodies share.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Takes a place among the predictions in flight.
    ///
    /// # Errors
    /// `Overloaded` where all are taken.
    pub fn enter(&self) -> Result<Place<'_>> {
        let place = Place(&self.in_flight);
        let most = self.limits.max_in_flight;
        if self.in_flight.fetch_add(1, Ordering::AcqRel) < most {
            return Ok(place);
        }
        let message = format!("{most} predictions are in flight (--max-in-flight); retry later");
        Err(Error::new(ErrorKind::Overloaded, message))
    }

    /// Checks that a request has not too many rows, where axis 0 counts rows: where rows are batched, and in protocols of
    /// rows (`is_of_rows`) where each has a prediction.
    ///
    /// # Errors
    /// `PayloadTooLarge` where it has more than `--max-rows`.
    pub fn check_rows(&self, model: &ServedModel, request: &InferRequest, is_of_rows: bool) -> Result<()> {
        let max_rows = self.limits.max_rows;
        let rows = request.inputs.first().and_then(|input| input.tensor.shape().first().copied()).unwrap_or(1);
        if rows <= max_rows || !(model.plan.lane.batched || is_of_rows && model.counts_rows()) {
            return Ok(());
        }
        Err(Error::too_many_rows(max_rows, rows))
    }

    /// The models and their states at this moment. Not to be held across an await.
    pub fn catalog(&self) -> Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.loader.metrics
    }

    /// Writes the metrics, with the states of the models as they are now.
    ///
    /// # Errors
    /// `Internal` where they cannot be written.
    pub fn render_metrics(&self) -> Result<Vec<u8>> {
        let is_ready = |state| matches!(state, ModelState::Ready(_));
        let catalog = self.catalog();
        self.metrics().render(catalog.states().map(|(name, version, state)| (name.clone(), version, is_ready(state))))
    }

    /// Turns readiness off. Requests are still answered.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.changed.send_replace(());
    }

    /// Tells whether the server is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Returns why requests should not come here now, or `None` when they should. Computed, never stored.
    pub fn why_not_ready(&self) -> Option<String> {
        if self.is_draining() {
            return Some("draining: the server is about to stop".to_owned());
        }
        let mut reasons = Vec::new();
        for (name, version, state) in self.catalog().states() {
            let what = version.map_or_else(|| name.to_string(), |version| format!("{name} version {version}"));
            match state {
                ModelState::Ready(_) => {}
                ModelState::Loading => reasons.push(format!("model {what} is loading")),
                ModelState::Failed(reason) => reasons.push(format!("model {what} has failed: {reason}")),
            }
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Returns when the service was made.
    pub fn up_since(&self) -> Timestamp {
        self.up_since
    }

    /// Returns for how long the service has been there, in seconds.
    pub fn uptime_seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

/// One prediction's place among those in flight; dropping it frees the place.
#[derive(Debug)]
pub struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for InferenceService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InferenceService").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}
