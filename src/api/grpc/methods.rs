//! All methods that are served, read off the descriptors.

use std::{collections::HashMap, sync::Arc};

use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::error::{Error, Result};

/// One method.
#[derive(Debug)]
pub(super) struct Method {
    /// The service's full name.
    pub(super) service: String,
    /// The method's name.
    pub(super) name: String,
    /// The path of a request for it.
    pub(super) path: String,
    /// Whether an answer is a stream.
    pub(super) is_stream: bool,
}

/// The methods by their path; names of clients' own never become labels.
#[derive(Debug)]
pub(super) struct Methods(HashMap<String, Arc<Method>>);

impl Methods {
    /// Reads encoded descriptor sets.
    ///
    /// # Errors
    /// `Internal` where one is not well-formed.
    pub(super) fn of(descriptors: &[&[u8]]) -> Result<Self> {
        let mut methods = HashMap::new();
        for encoded in descriptors {
            let files = FileDescriptorSet::decode(*encoded).map_err(Error::internal)?;
            for file in files.file {
                for service in &file.service {
                    let service_name = format!("{}.{}", file.package(), service.name());
                    for method in &service.method {
                        let path = format!("/{service_name}/{}", method.name());
                        let method = Method {
                            service: service_name.clone(),
                            name: method.name().to_owned(),
                            path: path.clone(),
                            is_stream: method.server_streaming(),
                        };
                        methods.insert(path, Arc::new(method));
                    }
                }
            }
        }
        Ok(Self(methods))
    }

    /// Finds a method by the path of a request.
    pub(super) fn find(&self, path: &str) -> Option<&Arc<Method>> {
        self.0.get(path)
    }

    /// Tells whether there is a service of this name.
    pub(super) fn has_service(&self, name: &str) -> bool {
        self.0.values().any(|method| method.service == name)
    }
}
