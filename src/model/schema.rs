//! A model's whole meaning: signature, rows, task and classes, and where each of them was learnt.

use std::{fmt, sync::Arc};

use crate::{
    error::{Error, Result},
    model::{
        manifest::{self, Manifest},
        observed::{ObservedOutputs, ObservedRun},
        onnx_file::OnnxFile,
        rows::Rows,
        signature::{Dim, SharedDim, Signature},
        task::{Classes, Evidence, Task},
    },
};

/// What every protocol needs to know of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub description: Option<String>,
    pub signature: Signature,
    /// How rows of features become inputs; `None` where inputs are not rows of features.
    pub rows: Option<Rows>,
    /// Dimensions of inputs that must agree, but for the axes of rows, whose check has words of its own.
    pub shared_dims: Vec<SharedDim>,
    /// What runs on made-up inputs showed of the outputs.
    pub observed: ObservedOutputs,
    pub task: Task,
    /// The classes of a classifier, where they are known before a run.
    pub classes: Option<Classes>,
    /// Where the above was learnt.
    pub sources: Sources,
}

/// Where a part of a schema was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Manifest,
    /// Said in the ONNX file's `metadata_props`.
    Metadata,
    /// Read off the graph: names, types, shapes, class labels.
    Graph,
    Unknown,
}

/// The source of each part of a schema that more than one source can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    pub features: Source,
    pub classes: Source,
    pub task: Source,
}

impl Schema {
    /// Returns the most rows of a request; inputs that are not rows have no limit.
    pub fn max_rows(&self) -> usize {
        self.rows.as_ref().map_or(usize::MAX, |rows| rows.max_rows)
    }

    /// Puts together what the manifest, the file's metadata and the graph say; the manifest wins, then the metadata.
    ///
    /// # Errors
    /// `InvalidArgument` where they contradict each other or the signature.
    pub fn new(signature: Signature, manifest: &Manifest, file: &OnnxFile) -> Result<Self> {
        Self::of_observed(signature, &[], manifest, file)
    }

    /// Does the same for a model that has run: where its outputs were not what the graph declares, the runs win.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub fn of_observed(
        mut signature: Signature,
        runs: &[ObservedRun],
        manifest: &Manifest,
        file: &OnnxFile,
    ) -> Result<Self> {
        let observed = ObservedOutputs::new(runs, &mut signature);
        let (feature_names, features_from) = given_names(manifest.features.names.as_ref(), file, &["onnxd.features"])?;
        let rows = Rows::infer(&signature, feature_names.as_deref())
            .map_err(|error| error.context(format!("features from {features_from}")))?;
        let (class_names, classes_from) =
            given_names(manifest.classes.names.as_ref(), file, &["onnxd.classes", "classes", "names"])?;
        let task = Task::infer(&Evidence {
            signature: &signature,
            observed: &observed,
            file,
            settings: &manifest.output,
            has_class_names: class_names.is_some(),
            is_rows: rows.is_some(),
        })?;
        let classes = classes(&signature, &task, class_names, file)
            .map_err(|error| error.context(format!("classes from {classes_from}")))?;
        let named_rows = rows.as_ref().is_some_and(|rows| rows.features.is_some());
        let sources = Sources {
            features: features_from.or_graph(named_rows),
            classes: classes_from.or_graph(classes.is_some()),
            task: if manifest.output == manifest::OutputSettings::default() { Source::Graph } else { Source::Manifest },
        };
        let mut shared_dims = signature.shared_dims();
        shared_dims.retain(|shared| rows.is_none() || (shared.first.1, shared.again.1) != (0, 0));
        Ok(Self {
            description: manifest.description.clone(),
            signature,
            rows,
            shared_dims,
            observed,
            task,
            classes,
            sources,
        })
    }

    /// Returns the names of an output's columns, where it has one value per class and the classes are known.
    pub fn class_names(&self, output: usize) -> Option<&[Arc<str>]> {
        let one_a_class = match &self.task {
            Task::Classification(task) => [task.probabilities, task.scores].contains(&Some(output)),
            Task::MultiLabel(task) => task.probabilities == output,
            Task::Regression(_) | Task::Raw(_) => false,
        };
        self.classes.as_ref().filter(|_| one_a_class).map(|classes| &classes.names[..])
    }
}

impl Source {
    fn or_graph(self, found: bool) -> Self {
        match self {
            Self::Unknown if found => Self::Graph,
            known => known,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "model.toml",
            Self::Metadata => "metadata",
            Self::Graph => "graph",
            Self::Unknown => "unknown",
        })
    }
}

/// Takes names from the manifest, else from the first of `keys` that the metadata has.
fn given_names(
    from_manifest: Option<&Vec<String>>,
    file: &OnnxFile,
    keys: &[&str],
) -> Result<(Option<Vec<String>>, Source)> {
    if let Some(names) = from_manifest {
        return Ok((Some(names.clone()), Source::Manifest));
    }
    for key in keys {
        let Some(text) = file.metadata.get(*key) else { continue };
        match parse_metadata_names(text) {
            Some(names) => {
                manifest::check_names(&names).map_err(|error| error.context(format!("metadata {key:?}")))?;
                return Ok((Some(names), Source::Metadata));
            }
            // Only keys of our own must be well-formed: other tools may use the common words for other things.
            None if key.starts_with("onnxd.") => {
                return Err(Error::invalid(format!("metadata {key:?}: expected a JSON list of strings, got {text:?}")));
            }
            None => {}
        }
    }
    Ok((None, Source::Unknown))
}

/// Reads `["a","b"]`, or Ultralytics' `{0: 'a', 1: 'b'}`.
fn parse_metadata_names(text: &str) -> Option<Vec<String>> {
    if let Ok(names) = serde_json::from_str(text) {
        return Some(names);
    }
    let entries = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut names = Vec::new();
    for entry in entries.split(", ") {
        let (index, name) = entry.split_once(':')?;
        if index.trim().trim_matches(['\'', '"']).parse() != Ok(names.len()) {
            return None;
        }
        names.push(name.trim().trim_matches(['\'', '"']).to_owned());
    }
    Some(names)
}

/// Reconciles class names with the labels in the graph and the width of the probabilities. `None` where neither names nor
/// labels are known: then classes go by their numbers.
fn classes(signature: &Signature, task: &Task, names: Option<Vec<String>>, file: &OnnxFile) -> Result<Option<Classes>> {
    let (one_a_class, label) = match task {
        Task::Classification(task) => (task.probabilities.or(task.scores), task.label),
        Task::MultiLabel(task) => (Some(task.probabilities), None),
        Task::Regression(_) | Task::Raw(_) => return Ok(None),
    };
    let output = |index: Option<usize>| index.map(|index| &signature.outputs[index]);
    let one_a_class = output(one_a_class);
    let labels = one_a_class.and_then(|output| output.map_keys.clone()).or_else(|| {
        let label = output(label)?;
        file.class_labels.get(&*label.tensor.name).cloned()
    });
    let declared_width =
        one_a_class.and_then(|output| output.tensor.dims.as_deref()).and_then(|dims| dims.last()).and_then(Dim::fixed);
    let count = labels.as_ref().map(Vec::len).or(declared_width);
    if let (Some(names), Some(count)) = (&names, count)
        && names.len() != count
    {
        return Err(Error::invalid(format!("expected {count} class names, one a class, but got {}", names.len())));
    }
    let names: Option<Vec<Arc<str>>> = match (names, &labels) {
        (Some(names), _) => Some(names.into_iter().map(Into::into).collect()),
        (None, Some(labels)) => Some(labels.iter().map(|label| label.to_string().into()).collect()),
        (None, None) => None,
    };
    Ok(names.map(|names| Classes { names, labels }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_are_read_as_exporters_write_them() {
        let read = |text: &str| parse_metadata_names(text);
        assert_eq!(read(r#"["a", "b"]"#).unwrap(), ["a", "b"]);
        assert_eq!(read("{0: 'person', 1: 'traffic light'}").unwrap(), ["person", "traffic light"]);
        assert_eq!(read(r#"{"0": "a", "1": "b"}"#).unwrap(), ["a", "b"]);
        for other in ["a,b", "{1: 'a'}", "3", "[1]", "{}"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
