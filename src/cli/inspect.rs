//! `onnxd inspect`: what a model takes and answers, and where each of these facts was learnt.
//!
//! `sheet` lays a version out for people, with a command to try from `example`; `document` writes it as JSON.

mod document;
mod example;
mod sheet;
mod text;

use std::{process::ExitCode, sync::Arc};

use crate::{
    cli::{
        EXIT_FAILURE, EXIT_USAGE,
        candidate::Candidate,
        fail,
        inspect::document::Document,
        page::{Page, print},
    },
    config::{InspectSettings, memory::MemorySettings},
    engine::onnx_runtime::OrtEngine,
    error::{Error, Result},
    model::repository::{self, FoundModel},
    serving::{catalog::Catalog, loader::Loader},
};

/// Loads the models one by one and prints what is known of them. Blocks for as long as they take to load.
///
/// # Errors
/// `Internal` where a model's facts cannot be written as JSON, which a test would show.
pub fn run(settings: &InspectSettings, engine: Arc<OrtEngine>) -> Result<ExitCode> {
    let found = match find(settings) {
        Ok(found) => found,
        Err(error) => return Ok(fail(EXIT_USAGE, &error.to_string())),
    };
    let loader = Loader::new(engine, &MemorySettings::default())?;
    let mut documents = Vec::new();
    let mut page = Page::default();
    let mut exit_code = ExitCode::SUCCESS;
    for candidate in Candidate::of_all(found) {
        match (candidate.load(&loader), &candidate.files) {
            (Ok(model), Ok(files)) if settings.json => {
                documents.push(Document::ready(files, &model));
            }
            (Ok(model), Ok(files)) => {
                sheet::add_model(&mut page, &settings.model_path, files, &model);
            }
            (outcome, _) => {
                exit_code = ExitCode::from(EXIT_FAILURE);
                let reason = outcome.err().unwrap_or_default();
                match settings.json {
                    true => documents.push(Document::failed(&candidate, &reason)),
                    false => sheet::add_failure(&mut page, &candidate, &reason),
                }
            }
        }
    }
    match settings.json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(&documents).map_err(Error::internal)?)),
        false => page.print(),
    }
    Ok(exit_code)
}

/// Lists the models, or the one that was asked for.
fn find(settings: &InspectSettings) -> Result<Vec<FoundModel>> {
    let mut found = repository::scan(&settings.model_path)?;
    if let Some(name) = &settings.model {
        Catalog::new(&found, None)?.entry(name)?;
        found.retain(|model| model.name.as_str() == name);
    }
    Ok(found)
}
