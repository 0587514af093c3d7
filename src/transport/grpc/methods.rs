//! All methods that are served, read off the descriptors.

use std::{collections::HashMap, sync::Arc};

use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::{
    error::{Error, Result},
    metrics::{Metrics, methods::MethodMetrics},
    transport::http::pipeline::routes::NO_ROUTE,
};

#[derive(Debug)]
pub(super) struct Method {
    pub(super) service: String,
    /// The path of a request for it.
    pub(super) path: String,
    /// Whether an answer is a stream.
    pub(super) is_stream: bool,
    /// What is counted of it.
    pub(super) metrics: MethodMetrics,
}

/// The methods by their path; names of clients' own never become labels.
#[derive(Debug)]
pub(super) struct Methods {
    by_path: HashMap<String, Arc<Method>>,
    none: Arc<Method>,
}

impl Methods {
    /// Reads encoded descriptor sets.
    ///
    /// # Errors
    /// `Internal` where one is not well-formed.
    pub(super) fn of(descriptors: &[&[u8]], metrics: &Metrics) -> Result<Self> {
        let mut by_path = HashMap::new();
        for encoded in descriptors {
            let files = FileDescriptorSet::decode(*encoded).map_err(Error::internal)?;
            for file in files.file {
                for service in &file.service {
                    let service_name = format!("{}.{}", file.package(), service.name());
                    for method in &service.method {
                        let path = format!("/{service_name}/{}", method.name());
                        let method = Method {
                            service: service_name.clone(),
                            path: path.clone(),
                            is_stream: method.server_streaming(),
                            metrics: metrics.method(&service_name, method.name()),
                        };
                        by_path.insert(path, Arc::new(method));
                    }
                }
            }
        }
        let none = Method {
            service: NO_ROUTE.to_owned(),
            path: NO_ROUTE.to_owned(),
            is_stream: false,
            metrics: metrics.method(NO_ROUTE, NO_ROUTE),
        };
        Ok(Self { by_path, none: Arc::new(none) })
    }

    /// Finds a method by the path of a request.
    pub(super) fn find(&self, path: &str) -> Option<&Arc<Method>> {
        self.by_path.get(path)
    }

    /// Returns what stands for all methods that there are not.
    pub(super) fn none(&self) -> &Arc<Method> {
        &self.none
    }

    /// Tells whether there is a service of this name.
    pub(super) fn has_service(&self, name: &str) -> bool {
        self.by_path.values().any(|method| method.service == name)
    }
}
