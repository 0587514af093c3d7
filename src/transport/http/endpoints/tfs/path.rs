//! The paths: what `model:verb` means, and which model version a path is for.

use std::sync::Arc;

use axum::http::Request;

use crate::{
    error::{Error, ErrorKind, Result},
    protocol::tfs::verb::Verb,
    serving::{
        catalog::{ModelRef, VersionRef},
        served_model::ServedModel,
    },
    transport::http::pipeline::app::App,
};

/// Splits the last part of a path: `iris:predict`, whose verb may be written in any case.
///
/// # Errors
/// `Unimplemented` for `explain`; `InvalidArgument` for any other, or none.
pub fn split_verb<'a, B>(segment: &'a str, request: &Request<B>) -> Result<(&'a str, Verb)> {
    let (name, verb) = segment.rsplit_once(':').ok_or_else(|| malformed(request))?;
    match verb.to_ascii_lowercase().as_str() {
        "predict" => Ok((name, Verb::Predict)),
        "classify" => Ok((name, Verb::Classify)),
        "regress" => Ok((name, Verb::Regress)),
        "explain" => Err(Error::new(
            ErrorKind::Unimplemented,
            format!("{name}:explain: explanations are not supported, as there is no explainer; ask {name}:predict"),
        )),
        _ => Err(malformed(request)),
    }
}

/// Finds the model version of a path.
///
/// # Errors
/// `NotFound` as TensorFlow Serving says it, `Unavailable`, or `InvalidArgument` for a label, which no version has.
pub fn find<B>(app: &App, name: &str, version: VersionRef<'_>, request: &Request<B>) -> Result<Arc<ServedModel>> {
    let servable = match version {
        VersionRef::Default => format!("Latest({name})"),
        VersionRef::Number(number) if is_number(number) => format!("Specific({name}, {number})"),
        VersionRef::Number(_) => return Err(malformed(request)),
        VersionRef::Label(label) => {
            app.service.catalog().entry(name).map_err(|error| not_found(error, &format!("Latest({name})")))?;
            return Err(unknown_label(label));
        }
    };
    app.service.resolve(ModelRef { name: Some(name), version }).map_err(|error| not_found(error, &servable))
}

/// Tells whether a version is written as one.
pub fn is_number(version: &str) -> bool {
    !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
}

/// Makes the error of a path that is none of TensorFlow Serving's.
pub fn malformed<B>(request: &Request<B>) -> Error {
    Error::invalid(format!("Malformed request: {} {}", request.method(), request.uri().path()))
}

/// Makes the error of a label: onnxd's versions have none.
pub fn unknown_label(label: &str) -> Error {
    Error::invalid(format!(
        "Unrecognized servable version label: {label:?}: versions have no labels here; use /versions/N"
    ))
}

fn not_found(error: Error, servable: &str) -> Error {
    match error.kind() {
        ErrorKind::NotFound => error.context(format_args!("Servable not found for request: {servable}")),
        _ => error,
    }
}
