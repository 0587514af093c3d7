//! The greps behind "What must never be" in ARCHITECTURE.md. Each shows that it would find an offender.

use std::{fs, path::Path};

/// The longest file, in lines.
const MAX_LINES: usize = 400;
/// How far above its block a SAFETY comment may begin, in lines.
const MAX_SAFETY_DISTANCE: usize = 4;

/// The road, from left to right: a module imports only what stands to its right.
const ROAD: [&str; 14] = [
    "main",
    "cli",
    "server",
    "transport",
    "edge",
    "protocol",
    "json",
    "serving",
    "batching",
    "engine",
    "request",
    "model",
    "tensor",
    "error",
];
/// The modules beside the road, with what they may import; what stands left of `model` may import them.
const BESIDE: [(&str, &[&str]); 4] = [
    ("config", &["cpu", "error"]),
    ("cpu", &["error"]),
    ("logging", &["config", "error"]),
    ("metrics", &["model", "error"]),
];

/// A source file: its path under `src/`, and its text.
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || place.ends_with('/') && self.path.starts_with(place))
    }

    /// Returns the lines without their comments, numbered from 1.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, code_of(line)))
    }

    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }
}

/// Cuts a comment off a line. An address in a string has its slashes after a colon.
fn code_of(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                sources.push(Source { path: name, text: fs::read_to_string(path).unwrap() });
            }
        }
    }
    sources
}

/// Lists every line outside `places` whose code has one of `words` as a whole word.
fn outside(sources: &[Source], places: &[&str], words: &[&str]) -> Vec<String> {
    let elsewhere = sources.iter().filter(|source| !source.is_in(places));
    let offends = |line: &str| words.iter().any(|word| has_word(line, word));
    elsewhere
        .flat_map(|source| {
            source
                .code()
                .filter(|(_, line)| offends(line))
                .map(|(number, line)| format!("{}:{number}: {line}", source.path))
        })
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    // The hyphen keeps `unsafe-inline` of a header from being a word of Rust.
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        !(before.ends_with(is_part) || after.starts_with(is_part) && word.ends_with(is_part))
    })
}

/// Asserts that the code keeps a rule, and that the same grep finds `offender` in a file of `place`.
fn keeps(rule: impl Fn(&[Source]) -> Vec<String>, place: &str, offender: &str) {
    let offence = Source { path: place.to_owned(), text: offender.to_owned() };
    assert!(!rule(&[offence]).is_empty(), "the grep would not find {offender:?} in {place}");
    let sources = sources();
    assert!(sources.len() > 30, "only {} files were found", sources.len());
    let offenders = rule(&sources);
    assert!(offenders.is_empty(), "{offenders:#?}");
}

#[test]
fn only_transport_edge_and_server_name_axum() {
    let rule = |sources: &[Source]| {
        outside(sources, &["transport/", "edge/", "protocol/codec.rs", "server.rs", "server/"], &["axum", "tonic"])
    };
    keeps(rule, "serving/service.rs", "use axum::Json;");
}

#[test]
fn only_transport_and_edge_name_status_codes() {
    let rule = |sources: &[Source]| outside(sources, &["transport/", "edge/"], &["StatusCode"]);
    keeps(rule, "server.rs", "    let status = StatusCode::OK;");
}

#[test]
fn only_engine_names_ort() {
    // The crate's log target in a string is not the crate.
    let rule = |sources: &[Source]| {
        let mut offenders = outside(sources, &["engine/"], &["ort::"]);
        offenders.retain(|line| !line.contains("\"ort::"));
        offenders
    };
    keeps(rule, "batching/worker.rs", "    session: ort::session::Session,");
}

#[test]
fn only_config_reads_the_environment() {
    let words = ["env::var", "env::vars", "env::var_os", "env::vars_os", "env::args", "env::args_os"];
    let rule = |sources: &[Source]| outside(sources, &["config.rs", "config/"], &words);
    keeps(rule, "logging.rs", "    let level = std::env::var(\"LEVEL\");");
}

#[test]
fn only_config_declares_flags() {
    let rule =
        |sources: &[Source]| outside(sources, &["config.rs", "config/"], &["clap::Args", "clap::Parser", "#[arg"]);
    keeps(rule, "cli/bench.rs", "    #[arg(long)]");
}

#[test]
fn only_metrics_names_prometheus() {
    let rule = |sources: &[Source]| outside(sources, &["metrics.rs", "metrics/"], &["prometheus"]);
    keeps(rule, "serving/loader.rs", "use prometheus::IntCounter;");
}

#[test]
fn unsafe_stands_only_in_engine_and_main() {
    let rule = |sources: &[Source]| outside(sources, &["engine/", "main.rs"], &["unsafe"]);
    keeps(rule, "json/number.rs", "    let digit = unsafe { bytes.get_unchecked(0) };");
}

#[test]
fn every_unsafe_block_says_why_it_is_safe() {
    keeps(without_safety, "engine/convert.rs", "fn first() {\n    let first = unsafe { bytes.get_unchecked(0) };\n}");
}

fn without_safety(sources: &[Source]) -> Vec<String> {
    let mut offenders = Vec::new();
    for source in sources {
        let lines: Vec<_> = source.text.lines().collect();
        let blocks = source.code().filter(|(_, line)| has_word(line, "unsafe") && line.contains('{'));
        for (number, line) in blocks {
            let above = &lines[(number - 1).saturating_sub(MAX_SAFETY_DISTANCE)..number];
            if !above.iter().any(|line| line.trim_start().starts_with("// SAFETY: ")) {
                offenders.push(format!("{}:{number}: {line}", source.path));
            }
        }
    }
    offenders
}

#[test]
fn only_the_table_turns_a_kind_into_a_status() {
    let rule = |sources: &[Source]| {
        let mut offenders = outside(sources, &["edge/error.rs"], &["ErrorKind::"]);
        let is_status = |line: &String| {
            line.split("ErrorKind::").skip(1).any(|rest| rest.contains("StatusCode::") || names_a_status(rest))
        };
        offenders.retain(is_status);
        offenders
    };
    keeps(
        rule,
        "transport/http/endpoints/native/predict.rs",
        "        ErrorKind::Overloaded => StatusCode::TOO_MANY_REQUESTS,",
    );
    keeps(rule, "serving/service.rs", "        ErrorKind::Overloaded => 429,");
}

/// Tells whether a match arm gives a number that HTTP has for an error.
fn names_a_status(arm: &str) -> bool {
    let value = arm.split_once("=>").map_or("", |(_, value)| value.trim_start_matches([' ', '(']));
    value.starts_with(['4', '5']) && value.len() >= 3 && value.as_bytes()[..3].iter().all(u8::is_ascii_digit)
}

#[test]
fn no_file_is_too_long() {
    let rule = |sources: &[Source]| {
        let lengths = sources.iter().map(|source| (&source.path, source.text.lines().count()));
        lengths.filter(|(_, lines)| *lines > MAX_LINES).map(|(path, lines)| format!("{path}: {lines} lines")).collect()
    };
    keeps(rule, "transport/http/router.rs", &"\n".repeat(MAX_LINES + 1));
}

#[test]
fn imports_run_to_the_right() {
    keeps(backward_imports, "model/schema.rs", "use crate::{\n    edge::error::ErrorResponse,\n    error::Error,\n};");
    keeps(backward_imports, "request.rs", "    let state: crate::serving::catalog::ModelState = x;");
    keeps(backward_imports, "config.rs", "use crate::metrics::Metrics;");
}

#[test]
fn every_module_stands_in_the_drawing() {
    keeps(unknown_modules, "util.rs", "");
}

#[test]
fn no_module_re_exports_another() {
    // A module may gather what its own parts define; that leaves the drawing as it is.
    let rule = |sources: &[Source]| {
        let mut offenders = outside(sources, &[], &["pub use"]);
        offenders.retain(|line| !line.contains("pub use self::"));
        offenders
    };
    keeps(rule, "lib.rs", "pub use tensor::shape::Shape;");
}

fn unknown_modules(sources: &[Source]) -> Vec<String> {
    let is_known = |module| module == "lib" || ROAD.contains(&module) || BESIDE.iter().any(|(name, _)| *name == module);
    sources.iter().filter(|source| !is_known(source.module())).map(|source| source.path.clone()).collect()
}

fn backward_imports(sources: &[Source]) -> Vec<String> {
    let mut offenders = Vec::new();
    for source in sources {
        let text: String = source.code().flat_map(|(_, line)| [line, "\n"]).collect();
        let imports = imported_modules(&text);
        let backward = imports.into_iter().filter(|import| !may_import(source.module(), import));
        offenders.extend(backward.map(|import| format!("{} imports {import}", source.path)));
    }
    offenders
}

fn may_import(module: &str, import: &str) -> bool {
    let place = |name| ROAD.iter().position(|module| *module == name);
    let is_beside = |name| BESIDE.iter().find(|(module, _)| *module == name);
    match (place(module), is_beside(module)) {
        _ if module == import || module == "lib" => true,
        (Some(from), _) if is_beside(import).is_some() => from < ROAD.len() - 3,
        (Some(from), _) => place(import).is_some_and(|to| from < to),
        (None, Some((_, allowed))) => allowed.contains(&import),
        (None, None) => false,
    }
}

/// Lists the modules after each `crate::`, also those in braces.
fn imported_modules(text: &str) -> Vec<&str> {
    let first_name =
        |path: &'_ str| path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().len();
    let mut modules = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            modules.push(&rest[..first_name(rest)]);
            continue;
        };
        let (mut depth, mut starts) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => starts = true,
                c if starts && c.is_alphanumeric() => {
                    modules.push(&group[at..at + first_name(&group[at..])]);
                    starts = false;
                }
                _ => {}
            }
        }
    }
    modules
}
