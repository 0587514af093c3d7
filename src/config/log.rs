//! Log levels and filters as people write them.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// A log filter known to be well-formed: levels, overall and by target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Returns the filter in the syntax of `tracing_subscriber::EnvFilter`, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A span filter may hold commas and equals signs of its own: only EnvFilter can read it.
        let directives = if text.contains(['[', '{']) {
            Some(text.to_owned())
        } else {
            let directives = text.split(',').map(|directive| log_directive(directive.trim()));
            directives.collect::<Option<Vec<_>>>().map(|directives| directives.join(","))
        };
        directives
            .filter(|directives| EnvFilter::try_new(directives).is_ok())
            .map(Self)
            .ok_or_else(|| "off, error, warn, info, debug or trace, or a filter such as info,onnxd=debug".to_owned())
    }
}

/// Normalises `level` or `target=level`; a lone word that is no level would else pass as a target.
fn log_directive(text: &str) -> Option<String> {
    match text.rsplit_once('=') {
        Some((target, level)) => Some(format!("{target}={}", log_level(level)?)),
        None => log_level(text).map(str::to_owned),
    }
}

/// Names a level as `tracing` does; understands what Python's `logging` calls it.
fn log_level(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Some("off"),
        "error" | "critical" | "fatal" => Some("error"),
        "warn" | "warning" => Some("warn"),
        "info" => Some("info"),
        "debug" => Some("debug"),
        "trace" | "notset" => Some("trace"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_levels_are_read_as_python_users_write_them() {
        let cases = [
            ("INFO", Some("info")),
            ("Warning", Some("warn")),
            ("CRITICAL", Some("error")),
            ("info, onnxd::access=DEBUG", Some("info,onnxd::access=debug")),
            ("info,[request{model=iris}]=debug", Some("info,[request{model=iris}]=debug")),
            ("inof", None),
            ("onnxd=loud", None),
            ("20", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let filter = text.parse::<LogFilter>().ok();
            assert_eq!(filter.as_ref().map(LogFilter::as_str), expected, "{text:?}");
        }
    }
}
