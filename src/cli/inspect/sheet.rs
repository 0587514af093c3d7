//! A model version laid out for people.

use std::path::Path;

use crate::{
    cli::{
        candidate::{Candidate, VersionFiles},
        inspect::{example::command, text::shape_text},
        page::Page,
    },
    error::size,
    model::{
        manifest::Manifest,
        rows::Layout,
        schema::{Schema, Source},
        signature::TensorSpec,
        task::Task,
    },
    serving::served_model::ServedModel,
};

/// With more inputs than this of one type and shape, only their names are listed.
const MAX_LIKE_TENSORS: usize = 4;

/// Adds what is known of a version that was loaded.
pub(super) fn add_model(page: &mut Page, repository: &Path, files: &VersionFiles, model: &ServedModel) {
    let schema = &*model.schema;
    let default = if files.is_default { " (default)" } else { "" };
    page.heading(&format!("{} version {}{default}", model.name, model.version));
    page.entry("description", schema.description.as_deref().unwrap_or_default());
    add_file(page, files, model);
    let outputs: Vec<_> = schema.signature.outputs.iter().map(|output| &output.tensor).collect();
    add_tensors(page, "inputs", &schema.signature.inputs.iter().collect::<Vec<_>>());
    add_tensors(page, "outputs", &outputs);
    add_features(page, schema);
    page.entry("task", &task(schema));
    add_classes(page, schema);
    let plan = &model.plan;
    page.entry("lane", &format!("{}: {}", plan.lane.kind.name(), plan.lane_reason));
    let rows = plan.lane.limits.max_batch_rows;
    page.entry("batching", &format!("{}; at most {rows} rows in a run", plan.batching_reason));
    add_timings(page, model);
    add_settings(page, &model.manifest);
    page.block("try it:", &command(repository, files, model));
}

/// Adds why a version, or a model as a whole, cannot be served.
pub(super) fn add_failure(page: &mut Page, candidate: &Candidate, reason: &str) {
    match &candidate.files {
        Ok(files) => {
            page.heading(&format!("{} version {}", candidate.name, files.version));
            page.entry_lines("file", &[files.path.display().to_string()]);
        }
        Err(_) => page.heading(candidate.name.as_str()),
    }
    page.entry("cannot serve", reason);
}

fn add_file(page: &mut Page, files: &VersionFiles, model: &ServedModel) {
    let file = &model.file;
    page.entry_lines("file", &[files.path.display().to_string()]);
    let short_hash: String = file.sha256.chars().take(12).collect();
    page.entry("size", &format!("{}, sha256 {short_hash}…", size(file.size_bytes)));
    page.list("external data", &file.external_data.iter().collect::<Vec<_>>(), "");
    let opsets: Vec<_> = file.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
    let producer = if file.producer.is_empty() { "an unnamed producer" } else { &file.producer };
    page.entry("made by", &format!("{producer}; opset {}; IR version {}", opsets.join(", "), file.ir_version));
}

fn add_tensors(page: &mut Page, label: &str, tensors: &[&TensorSpec]) {
    let like = |tensor: &TensorSpec| (tensor.data_type.name(), shape_text(tensor));
    if tensors.len() > MAX_LIKE_TENSORS && tensors.iter().all(|tensor| like(tensor) == like(tensors[0])) {
        let names: Vec<_> = tensors.iter().map(|tensor| &*tensor.name).collect();
        let (data_type, shape) = like(tensors[0]);
        return page.list(label, &names, &format!("each {data_type} {shape}"));
    }
    let rows = tensors.iter().map(|tensor| {
        let (data_type, shape) = like(tensor);
        vec![tensor.name.to_string(), data_type.to_owned(), shape]
    });
    page.table(label, &rows.collect::<Vec<_>>());
}

fn add_features(page: &mut Page, schema: &Schema) {
    let Some(rows) = &schema.rows else {
        return page.entry("features", "none: the inputs are not rows of features");
    };
    let source = schema.sources.features;
    match (&rows.features, rows.layout) {
        (Some(_), Layout::Columns) if source == Source::Graph => {
            page.entry("features", "the inputs, by their names (graph)");
        }
        (Some(features), _) => page.list("features", features.names(), &source.to_string()),
        (None, _) => {
            let width = rows.width(&schema.signature).map_or("any number of".to_owned(), |width| width.to_string());
            page.entry("features", &format!("{width}, without names"));
        }
    }
}

fn task(schema: &Schema) -> String {
    let name = |index: usize| schema.signature.outputs.get(index).map_or("", |output| &output.tensor.name);
    let meaning: Vec<_> = match &schema.task {
        Task::Classification(classification) => {
            let label = classification.label.map(|index| format!("label is {:?}", name(index)));
            let probabilities =
                classification.probabilities.map(|index| format!("probabilities are {:?}", name(index)));
            label.into_iter().chain(probabilities).collect()
        }
        Task::Regression(regression) => {
            let key = regression.prediction_name.as_ref().map(|key| format!("answered as {key:?} too"));
            let value = match regression.targets {
                1 => format!("value is {:?}", name(regression.value)),
                targets => format!("{targets} values are {:?}", name(regression.value)),
            };
            [value].into_iter().chain(key).collect()
        }
        Task::MultiLabel(multi_label) => vec![
            format!("labels are {:?}", name(multi_label.indicators)),
            format!("probabilities are {:?}", name(multi_label.probabilities)),
        ],
        Task::Raw(reason) => vec![format!("the outputs are answered as they are: {reason}")],
    };
    format!("{}: {} ({})", schema.task.name(), meaning.join(", "), schema.sources.task)
}

fn add_classes(page: &mut Page, schema: &Schema) {
    match (&schema.task, &schema.classes) {
        (Task::Classification(_) | Task::MultiLabel(_), None) => {
            page.entry("classes", "unknown: [classes] names in model.toml would name them");
        }
        (_, None) => {}
        (_, Some(classes)) => {
            page.list("classes", &classes.names, &schema.sources.classes.to_string());
            let labels = classes.labels.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
            if labels.iter().zip(&classes.names).any(|(label, name)| label != &**name) {
                page.list("labels", &labels, "graph");
            }
        }
    }
}

fn add_timings(page: &mut Page, model: &ServedModel) {
    let timings = model.profile.timings.iter().map(|timing| format!("{} in {:?}", timing.rows, timing.time));
    let timings: Vec<_> = timings.collect();
    if !timings.is_empty() {
        page.entry("measured", &format!("rows run {}", timings.join(", ")));
    }
}

fn add_settings(page: &mut Page, manifest: &Manifest) {
    let (batching, instances) = (&manifest.batching, &manifest.instances);
    let lines = [
        ("[batching] lane", batching.lane.name().to_owned()),
        ("[batching] max_batch_size", batching.max_batch_size.to_string()),
        ("[batching] max_queue_delay_microseconds", batching.max_queue_delay_microseconds.to_string()),
        ("[batching] max_queue_size", batching.max_queue_size.to_string()),
        ("[batching] max_queue_wait_milliseconds", batching.max_queue_wait_milliseconds.to_string()),
        ("[instances] count", instances.count.to_string()),
        ("[instances] intra_op_threads", instances.intra_op_threads.to_string()),
        ("[instances] isolate", instances.isolate.to_string()),
    ];
    let declared = batching.independent_rows.map(|rows| ("[batching] independent_rows", rows.to_string()));
    let lines: Vec<_> = lines.into_iter().chain(declared).map(|(key, value)| format!("{key} = {value}")).collect();
    page.entry_lines("settings", &lines);
}
