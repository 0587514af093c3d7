//! `onnxd check`: loads every model version as `serve` would, warms it up and runs its golden cases. For CI.

use std::{process::ExitCode, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, value::RawValue};
use tokio::runtime::{self, Runtime};

use crate::{
    cli::{
        EXIT_FAILURE, EXIT_USAGE,
        candidate::Candidate,
        fail, one_line,
        page::{count, print},
    },
    config::CheckSettings,
    engine::onnx_runtime::OrtEngine,
    error::{Error, Result},
    model::{
        golden::{self, GoldenCase},
        repository::{self, FoundModel},
    },
    protocol::native::{
        decode::{Decoded, decode},
        encode::Encoder,
    },
    serving::{catalog::Catalog, loader::Loader, served_model::ServedModel},
};

/// Checks all models and prints a line for each. Blocks for as long as they take to load and run.
///
/// # Errors
/// `Internal` where the system gives no runtime.
pub fn run(settings: &CheckSettings, engine: Arc<OrtEngine>) -> Result<ExitCode> {
    let found = match find(settings) {
        Ok(found) => found,
        Err(error) => return Ok(fail(EXIT_USAGE, &error.to_string())),
    };
    let loader = Loader::new(engine, &settings.memory)?;
    let runtime = runtime::Builder::new_current_thread().build().map_err(Error::internal)?;
    let candidates = Candidate::of_all(found);
    let mut failed = 0;
    for candidate in &candidates {
        let verdict = examine(candidate, &loader, &runtime);
        failed += usize::from(verdict.is_err());
        print(&verdict_lines(&candidate.title(), &verdict));
    }
    print(&summary(candidates.len(), failed));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// Lists the models, and checks that the default model is among them.
fn find(settings: &CheckSettings) -> Result<Vec<FoundModel>> {
    let found = repository::find(&settings.model_path, settings.model_name.as_deref())?;
    Catalog::new(&found, settings.default_model.as_deref())?;
    Ok(found)
}

/// What is said of a model version that is good.
struct Passed {
    task: &'static str,
    golden_cases: usize,
}

/// Loads a version and runs it; on failure returns every reason.
fn examine(candidate: &Candidate, loader: &Loader, runtime: &Runtime) -> Result<Passed, Vec<String>> {
    let model = candidate.load(loader).map_err(|reason| vec![reason])?;
    let files = candidate.files.as_ref().map_err(|error| vec![error.to_string()])?;
    let cases = golden::read_beside(&files.path).map_err(|error| vec![error.to_string()])?;
    let encoder = Encoder::new(Arc::clone(&model.schema), &model.name, model.version);
    let ask = |body: &str| runtime.block_on(answer(&model, &encoder, body));

    let example = model.example.as_deref().map(RawValue::get);
    let warm_up = example.and_then(|example| ask(example).err()).map(|error| format!("warm-up: {error}"));
    let numbered = (1..).zip(&cases);
    let golden = numbered.filter_map(|(number, case)| golden_failure(number, case, ask(case.request.get())));
    let failures: Vec<_> = warm_up.into_iter().chain(golden).collect();
    if failures.is_empty() {
        return Ok(Passed { task: model.schema.task.name(), golden_cases: cases.len() });
    }
    Err(failures)
}

/// Takes the way of a request without HTTP: the native protocol's decoder, the model, the encoder.
async fn answer(model: &ServedModel, encoder: &Encoder, body: &str) -> Result<Value> {
    let Decoded { request, form } = decode(&model.schema, body.as_bytes())?;
    let response = model.infer(request, None).await?;
    let json = encoder.encode(&response, form, Timestamp::now())?;
    serde_json::from_slice(&json).map_err(Error::internal)
}

fn golden_failure(number: usize, case: &GoldenCase, answer: Result<Value>) -> Option<String> {
    let failure = match answer {
        Ok(got) => golden::first_difference(&case.response, &got, case.tolerance)?,
        Err(error) => error.to_string(),
    };
    let source = match case.source.as_str() {
        "" => String::new(),
        source => format!(" ({source})"),
    };
    Some(format!("golden case {number}{source}: {failure}"))
}

fn verdict_lines(title: &str, verdict: &Result<Passed, Vec<String>>) -> String {
    match verdict {
        Ok(Passed { task, golden_cases: 0 }) => format!("ok    {title}: {task}, no golden cases\n"),
        Ok(Passed { task, golden_cases }) => {
            format!("ok    {title}: {task}, {}\n", count(*golden_cases, "golden case"))
        }
        Err(reasons) => match &reasons[..] {
            [reason] => format!("FAIL  {title}: {}\n", one_line(reason)),
            reasons => {
                let lines = reasons.iter().map(|reason| format!("\n        {}", one_line(reason)));
                format!("FAIL  {title}: {}{}\n", count(reasons.len(), "failure"), lines.collect::<String>())
            }
        },
    }
}

fn summary(all: usize, failed: usize) -> String {
    match failed {
        0 => format!("{}: all good\n", count(all, "model")),
        failed => format!("{failed} of {} failed\n", count(all, "model")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn case() -> GoldenCase {
        serde_json::from_value(json!({"source": "scikit-learn", "request": {}, "response": {"prediction": 1}})).unwrap()
    }

    #[test]
    fn a_golden_case_that_fails_is_named_with_its_source() {
        assert_eq!(golden_failure(3, &case(), Ok(json!({"prediction": 1, "model": "iris"}))), None);
        let differs = golden_failure(3, &case(), Ok(json!({"prediction": 2}))).unwrap();
        assert_eq!(differs, "golden case 3 (scikit-learn): prediction: expected 1, got 2");
        let refused = golden_failure(4, &case(), Err(Error::invalid("expected 4 features"))).unwrap();
        assert_eq!(refused, "golden case 4 (scikit-learn): expected 4 features");
    }

    #[test]
    fn each_model_has_a_line_and_each_failure_is_named() {
        let passed = |golden_cases| Ok(Passed { task: "regression", golden_cases });
        assert_eq!(verdict_lines("a 1", &passed(10)), "ok    a 1: regression, 10 golden cases\n");
        assert_eq!(verdict_lines("a 1", &passed(0)), "ok    a 1: regression, no golden cases\n");
        assert_eq!(verdict_lines("b 1", &Err(vec!["bad\ngraph".to_owned()])), "FAIL  b 1: bad; graph\n");
        let two = Err(vec!["one".to_owned(), "two".to_owned()]);
        assert_eq!(verdict_lines("b 1", &two), "FAIL  b 1: 2 failures\n        one\n        two\n");
    }

    #[test]
    fn the_summary_counts() {
        assert_eq!(summary(6, 0), "6 models: all good\n");
        assert_eq!(summary(1, 0), "1 model: all good\n");
        assert_eq!(summary(7, 3), "3 of 7 models failed\n");
    }
}
