//! `model.toml`: what an owner says of a model, over what the graph says.

use std::{collections::HashSet, io, path::Path};

use serde::Deserialize;

use crate::{
    error::{Error, Result},
    model::{name::ModelVersion, regular_file::read_text},
};

/// The longest `max_queue_delay_microseconds`: a batch that waits longer makes its requests late.
const MAX_QUEUE_DELAY_MICROSECONDS: u64 = 10_000_000;

/// The name of the file, beside the version folders.
pub const FILE_NAME: &str = "model.toml";

/// The largest `model.toml`: room for the names of [`MAX_NAMES`] features.
const MAX_BYTES: u64 = 16 << 20;
/// The most features or classes that can have names.
const MAX_NAMES: usize = 100_000;

/// The keys that an answer has of its own, so that no value can be answered under them too.
const ANSWER_KEYS: [&str; 10] = [
    "model",
    "model_version",
    "prediction_time",
    "prediction",
    "predictions",
    "prediction_index",
    "predicted_class_name",
    "labels",
    "probabilities",
    "outputs",
];

/// The settings of one model. Unknown keys are errors; everything has a default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    pub description: Option<String>,
    /// The version served when a request names none; the highest if absent.
    pub default_version: Option<u64>,
    pub features: Names,
    pub classes: Names,
    pub output: OutputSettings,
    pub batching: BatchingSettings,
    pub instances: InstanceSettings,
}

/// `[features]` or `[classes]`: names in column or class order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    pub names: Option<Vec<String>>,
}

/// `[output]`: which outputs mean what, where the graph leaves it open.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputSettings {
    /// The output that is the label.
    pub label: Option<String>,
    /// The output that has one number per class.
    pub probabilities: Option<String>,
    /// The key under which a regression's value is answered too.
    pub prediction_name: Option<String>,
}

/// `[batching]`: how requests wait for the model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchingSettings {
    /// Which lane; chosen by measurement if absent.
    pub lane: LaneChoice,
    /// Whether rows may share a run, in place of what the graph proves or a probe finds.
    pub independent_rows: Option<bool>,
    /// The most rows run at once.
    pub max_batch_size: usize,
    /// How long the oldest request may wait for company; 0 is never.
    pub max_queue_delay_microseconds: u64,
    /// The most requests that wait; one more is answered 429.
    pub max_queue_size: usize,
    /// The longest that a request may expect to wait during an overload; one more is answered 429. 0 bounds no wait.
    pub max_queue_wait_milliseconds: u64,
}

/// Which lane a model's requests take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LaneChoice {
    /// By what a run is measured to take.
    #[default]
    Auto,
    Inline,
    /// On threads of its own.
    Worker,
}

/// `[instances]`: how many copies of the model run, on how many threads each.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstanceSettings {
    /// The number of sessions; each holds the model's memory once more.
    pub count: usize,
    /// The threads one run uses.
    pub intra_op_threads: usize,
    /// Whether each session runs in a process of its own, so that a crash of native code ends only its own requests.
    pub isolate: bool,
}

impl LaneChoice {
    /// Returns the word for it in model.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Inline => "inline",
            Self::Worker => "worker",
        }
    }
}

impl Default for BatchingSettings {
    fn default() -> Self {
        Self {
            lane: LaneChoice::Auto,
            independent_rows: None,
            max_batch_size: 64,
            max_queue_delay_microseconds: 0,
            max_queue_size: 1024,
            max_queue_wait_milliseconds: 500,
        }
    }
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self { count: 1, intra_op_threads: 1, isolate: false }
    }
}

impl InstanceSettings {
    /// Says that the instances of `model` have more threads than the CPUs allow, with the remedy; `None` where they do not.
    pub fn oversubscription(&self, model: &str, cpus: usize) -> Option<String> {
        let Self { count, intra_op_threads, .. } = self;
        let threads = count * intra_op_threads;
        (threads > cpus).then(|| {
            format!(
                "model {model} runs on {threads} threads ({count} × {intra_op_threads}), but the CPUs allow {cpus}: lower \
                 count or intra_op_threads under [instances] in its model.toml"
            )
        })
    }
}

impl Manifest {
    /// Reads `folder/model.toml`, or returns the defaults where there is none. Blocks on the disk.
    ///
    /// # Errors
    /// `InvalidArgument` naming the file without the folders above the model's, the line and the key that is wrong.
    pub fn read(folder: &Path) -> Result<Self> {
        let shown = Path::new(folder.file_name().unwrap_or_default()).join(FILE_NAME);
        match read_text(&folder.join(FILE_NAME), MAX_BYTES) {
            Ok(text) => Self::parse(&text).map_err(|error| error.context(shown.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::invalid(format!("cannot read {}: {error}", shown.display()))),
        }
    }

    /// Parses the text of a `model.toml`.
    ///
    /// # Errors
    /// `InvalidArgument` naming the line and the key that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text).map_err(|error| describe_toml_error(text, &error))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        for (table, names) in [("features", &self.features), ("classes", &self.classes)] {
            check_names(names.names.as_deref().unwrap_or_default())
                .map_err(|error| error.context(format!("[{table}] names")))?;
        }
        if self.default_version.is_some_and(|version| ModelVersion::new(version).is_none()) {
            return Err(Error::invalid("default_version = 0: expected a positive integer"));
        }
        check_prediction_name(self.output.prediction_name.as_deref())?;
        let delay = self.batching.max_queue_delay_microseconds;
        if delay > MAX_QUEUE_DELAY_MICROSECONDS {
            return Err(Error::invalid(format!(
                "[batching] max_queue_delay_microseconds = {delay}: expected 0 to {MAX_QUEUE_DELAY_MICROSECONDS}"
            )));
        }
        if self.instances.isolate && self.batching.lane == LaneChoice::Inline {
            return Err(Error::invalid(
                "[batching] lane = \"inline\": expected \"auto\" or \"worker\", since [instances] isolate = true runs the \
                 model in another process",
            ));
        }
        let limits = [
            ("[batching] max_batch_size", self.batching.max_batch_size, 1 << 20),
            ("[batching] max_queue_size", self.batching.max_queue_size, 1 << 20),
            ("[instances] count", self.instances.count, 256),
            ("[instances] intra_op_threads", self.instances.intra_op_threads, 1024),
        ];
        for (key, value, most) in limits {
            if value == 0 || value > most {
                return Err(Error::invalid(format!("{key} = {value}: expected 1 to {most}")));
            }
        }
        Ok(())
    }
}

fn check_prediction_name(name: Option<&str>) -> Result<()> {
    let refuse = |why: &str| Err(Error::invalid(format!("[output] prediction_name = {:?}: {why}", name.unwrap_or(""))));
    match name {
        Some("") => refuse("expected a name, but it is empty"),
        Some(name) if ANSWER_KEYS.contains(&name) => {
            refuse(&format!("expected a name that an answer does not have already: none of {}", ANSWER_KEYS.join(", ")))
        }
        _ => Ok(()),
    }
}

/// Checks that names are not too many, not empty and each once; an empty list passes here.
///
/// # Errors
/// `InvalidArgument` naming the culprit.
pub fn check_names(names: &[String]) -> Result<()> {
    if names.len() > MAX_NAMES {
        return Err(Error::invalid(format!("expected at most {MAX_NAMES} names, but got {}", names.len())));
    }
    let mut seen = HashSet::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(Error::invalid(format!("name {index} is empty")));
        }
        if !seen.insert(name) {
            return Err(Error::invalid(format!("{name:?} is there twice")));
        }
    }
    Ok(())
}

/// Says in one line what toml says in several: the line number, then the fault with the key's name.
fn describe_toml_error(text: &str, error: &toml::de::Error) -> Error {
    let message = error.message().replace('\n', " ");
    match error.span() {
        Some(span) => {
            let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
            Error::invalid(format!("line {line}: {message}"))
        }
        None => Error::invalid(message),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_key_of_the_contract_is_read() {
        let manifest = Manifest::parse(
            r#"
            description = "Fisher's iris"
            default_version = 2
            [features]
            names = ["a", "b"]
            [classes]
            names = ["x"]
            [output]
            label = "label"
            probabilities = "probabilities"
            prediction_name = "duration"
            [batching]
            independent_rows = true
            max_batch_size = 8
            max_queue_delay_microseconds = 50
            max_queue_size = 16
            max_queue_wait_milliseconds = 250
            [instances]
            count = 2
            intra_op_threads = 3
            isolate = true
            "#,
        )
        .unwrap();
        assert_eq!(manifest.features.names.unwrap(), ["a", "b"]);
        assert_eq!(manifest.batching.independent_rows, Some(true));
        assert_eq!(manifest.batching.max_queue_size, 16);
        assert_eq!(manifest.batching.max_queue_wait_milliseconds, 250);
        assert_eq!(manifest.instances, InstanceSettings { count: 2, intra_op_threads: 3, isolate: true });
    }

    #[test]
    fn a_wrong_file_is_described_by_line_and_key() {
        let message = |text: &str| Manifest::parse(text).unwrap_err().message().to_owned();
        let misspelt = message("[batching]\nmax_batchsize = 3");
        assert!(misspelt.starts_with("line 2: unknown field `max_batchsize`"), "{misspelt}");
        assert!(message("[features]\nnames = 3").starts_with("line 2: invalid type"));
        assert_eq!(message("[instances]\ncount = 0"), "[instances] count = 0: expected 1 to 256");
        assert_eq!(
            message("[batching]\nmax_queue_delay_microseconds = 10_000_001"),
            "[batching] max_queue_delay_microseconds = 10000001: expected 0 to 10000000"
        );
        assert_eq!(message("[classes]\nnames = [\"a\", \"a\"]"), "[classes] names: \"a\" is there twice");
        assert!(message("a = = 2").starts_with("line 1: "));
        let inline = message("[batching]\nlane = \"inline\"\n[instances]\nisolate = true");
        assert!(inline.starts_with("[batching] lane = \"inline\": expected \"auto\" or \"worker\""), "{inline}");
    }

    #[test]
    fn prediction_name_is_a_key_that_is_free() {
        let parse = |name: &str| Manifest::parse(&format!("[output]\nprediction_name = {name:?}"));
        assert!(parse("duration").is_ok());
        let empty = parse("").unwrap_err();
        assert_eq!(empty.message(), "[output] prediction_name = \"\": expected a name, but it is empty");
        for taken in ANSWER_KEYS {
            let message = parse(taken).unwrap_err().message().to_owned();
            let expected =
                format!("[output] prediction_name = {taken:?}: expected a name that an answer does not have");
            assert!(message.starts_with(&expected), "{message}");
        }
    }

    #[test]
    fn more_threads_than_cpus_are_warned_of_with_the_remedy() {
        let instances = InstanceSettings { count: 2, intra_op_threads: 3, isolate: false };
        assert_eq!(instances.oversubscription("iris", 6), None);
        let warning = instances.oversubscription("iris", 5).unwrap();
        assert!(warning.starts_with("model iris runs on 6 threads (2 × 3), but the CPUs allow 5: lower"), "{warning}");
    }

    #[test]
    fn the_folders_above_the_model_are_nobodys_business() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(FILE_NAME), "[batchin]").unwrap();
        let message = Manifest::read(root.path()).unwrap_err().message().to_owned();
        let folder = root.path().file_name().unwrap().to_str().unwrap();
        assert!(message.starts_with(&format!("{folder}/model.toml: line 1: ")), "{message}");
    }
}
