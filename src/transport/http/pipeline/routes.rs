//! Routes, with a second table of their templates: the layers around the router know by it which route a request has.
//!
//! axum tells the template of a route only inside of it, and layers that stand inside are cloned and boxed with each request.

use std::sync::Arc;

use axum::{Router, routing::MethodRouter};

use crate::{
    error::{Error, Result},
    metrics::{Metrics, routes::RouteMetrics},
};

/// What metrics and logs call a path that no route has.
pub const NO_ROUTE: &str = "unmatched";

/// A router, and the templates of its routes.
#[derive(Clone, Debug)]
pub struct Routes<S = ()> {
    router: Router<S>,
    templates: Vec<(String, Option<Wire>)>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self { router: Router::new(), templates: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Makes a router without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route; see [`Router::route`].
    pub fn route(self, template: &str, methods: MethodRouter<S>) -> Self {
        self.add(template, methods, None)
    }

    /// Adds a route whose POST is a prediction, which goes past the router.
    pub fn predicts(self, template: &str, methods: MethodRouter<S>, wire: Wire) -> Self {
        self.add(template, methods, Some(wire))
    }

    fn add(mut self, template: &str, methods: MethodRouter<S>, wire: Option<Wire>) -> Self {
        self.templates.push((template.to_owned(), wire));
        Self { router: self.router.route(template, methods), ..self }
    }

    /// Adds all routes of another; see [`Router::merge`].
    pub fn merge(mut self, other: Self) -> Self {
        self.templates.extend(other.templates);
        Self { router: self.router.merge(other.router), ..self }
    }

    /// Gives the routes the state that they need.
    pub fn with_state<T>(self, state: S) -> Routes<T> {
        Routes { router: self.router.with_state(state), templates: self.templates }
    }
}

impl Routes<()> {
    /// Returns the router, and the table of its routes.
    ///
    /// # Errors
    /// `Internal` where a template is not one.
    pub fn finish(self, metrics: &Metrics) -> Result<(Router, RouteTable)> {
        let mut table = matchit::Router::new();
        for (template, wire) in self.templates {
            let route = Route { metrics: metrics.route(&template), wire };
            table.insert(template, Arc::new(route)).map_err(Error::internal)?;
        }
        let unmatched = Route { metrics: metrics.route(NO_ROUTE), wire: None };
        Ok((self.router, RouteTable { table, unmatched: Arc::new(unmatched) }))
    }
}

/// The wire protocol of predictions that go past the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Native,
    OpenInference,
}

/// What is known of a route before the router.
#[derive(Debug)]
pub struct Route {
    /// What is counted of it.
    pub metrics: RouteMetrics,
    /// Of POST, if it is a prediction that goes past the router.
    pub wire: Option<Wire>,
}

/// Which route a path has.
#[derive(Clone, Debug)]
pub struct RouteTable {
    table: matchit::Router<Arc<Route>>,
    unmatched: Arc<Route>,
}

impl RouteTable {
    /// Returns the route of a path, as the router will find it.
    pub fn at(&self, path: &str) -> &Arc<Route> {
        self.table.at(path).map_or(&self.unmatched, |found| found.value)
    }
}
