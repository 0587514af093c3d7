//! `onnxd inspect`: what a model takes and answers, and where each of these facts was learnt.
//!
//! `sheet` lays a version out for people, with a command to try from `example`; `document` writes it as JSON. What both
//! must work out first is here.

mod document;
mod example;
mod sheet;

use std::{fmt::Write as _, process::ExitCode, sync::Arc};

use crate::{
    cli::{
        EXIT_FAILURE, EXIT_USAGE,
        candidate::{Candidate, VersionFiles},
        fail,
        inspect::document::Document,
        page::{Page, print},
    },
    config::InspectSettings,
    engine::Engine,
    engine::ort::OrtEngine,
    error::{Error, Result},
    metrics::Metrics,
    model::{
        repository::{self, FoundModel},
        signature::{Dim, Signature, TensorSpec},
    },
    serving::{loader::Loader, registry::ModelRegistry},
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
    let loader = Loader { metrics: Arc::new(Metrics::new(engine.version())?), engine };
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
        ModelRegistry::new(&found, None)?.entry(name)?;
        found.retain(|model| model.name.as_str() == name);
    }
    Ok(found)
}

/// Returns the path at which a server answers for this version.
fn predict_path(name: &str, files: &VersionFiles) -> String {
    match files.is_default {
        true => format!("/models/{name}/predict"),
        false => format!("/models/{name}/versions/{}/predict", files.version),
    }
}

/// Tells from the signature whether requests could be stacked along axis 0, and why.
fn rows_along_axis_0(signature: &Signature) -> (bool, String) {
    let outputs = signature.outputs.iter().map(|output| ("output", &output.tensor));
    let mut tensors = signature.inputs.iter().map(|input| ("input", input)).chain(outputs);
    let is_stackable = |tensor: &TensorSpec| matches!(tensor.dims.as_deref(), Some([Dim::Dynamic(_), ..]));
    match tensors.find(|(_, tensor)| !is_stackable(tensor)) {
        None if signature.inputs.is_empty() => (false, "the model has no input".to_owned()),
        None => (true, "every input and output has a dynamic axis 0".to_owned()),
        Some((role, tensor)) => {
            let (name, shape) = (&tensor.name, shape_text(tensor));
            let reason = match tensor.dims.as_deref() {
                None => "may have any shape".to_owned(),
                Some([]) => "is a scalar".to_owned(),
                Some(_) => format!("is {shape}: its axis 0 is fixed"),
            };
            (false, format!("{role} {name:?} {reason}"))
        }
    }
}

/// Writes a shape with the graph's own names: `[N, 4]`, `[-1, 3]`; `any shape` of an unknown rank.
fn shape_text(tensor: &TensorSpec) -> String {
    let Some(dims) = &tensor.dims else {
        return "any shape".to_owned();
    };
    let mut text = String::from("[");
    for (index, dim) in dims.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _infallible = match dim {
            Dim::Fixed(size) => write!(text, "{comma}{size}"),
            Dim::Dynamic(Some(symbol)) => write!(text, "{comma}{symbol}"),
            Dim::Dynamic(None) => write!(text, "{comma}-1"),
        };
    }
    text.push(']');
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{model::signature::OutputSpec, tensor::data_type::DataType};

    pub(super) fn tensor(name: &str, dims: Option<Vec<Dim>>) -> TensorSpec {
        TensorSpec { name: name.into(), data_type: DataType::Fp32, dims }
    }

    #[test]
    fn batchability_names_the_tensor_that_stands_in_the_way() {
        let rows = |columns| Some(vec![Dim::Dynamic(Some("N".into())), Dim::Fixed(columns)]);
        let fixed = Some(vec![Dim::Fixed(1), Dim::Fixed(10)]);
        let cases = [
            (rows(4), rows(3), "every input and output has a dynamic axis 0"),
            (fixed.clone(), rows(3), r#"input "X" is [1, 10]: its axis 0 is fixed"#),
            (rows(4), fixed, r#"output "Y" is [1, 10]: its axis 0 is fixed"#),
            (rows(4), None, r#"output "Y" may have any shape"#),
            (Some(vec![]), rows(3), r#"input "X" is a scalar"#),
        ];
        for (input, output, expected) in cases {
            let output = OutputSpec { tensor: tensor("Y", output), map_keys: None };
            let signature = Signature { inputs: vec![tensor("X", input)], outputs: vec![output] };
            let (stackable, reason) = rows_along_axis_0(&signature);
            assert_eq!((stackable, &*reason), (reason.starts_with("every"), expected));
        }
    }

    #[test]
    fn shapes_have_the_graphs_own_names() {
        let dims = vec![Dim::Dynamic(Some("N".into())), Dim::Dynamic(None), Dim::Fixed(4)];
        assert_eq!(shape_text(&tensor("X", Some(dims))), "[N, -1, 4]");
        assert_eq!(shape_text(&tensor("X", Some(vec![]))), "[]");
        assert_eq!(shape_text(&tensor("X", None)), "any shape");
    }
}
