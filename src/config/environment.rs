//! The process's environment: what is set there, and what is set in vain.

use std::{
    collections::HashSet,
    env,
    ffi::{OsStr, OsString},
};

use clap::CommandFactory;

use crate::config::commands::Cli;

/// Lists the `ONNXD_…` variables that no setting reads and that Kubernetes does not set.
pub(super) fn unknown_variables() -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let variables = env::vars_os();
    unknown_among(variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value))))
}

/// Returns whether a variable is set, be it to nothing.
pub(super) fn is_set(name: &OsStr) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let value = env::var_os(name);
    value.is_some()
}

/// Returns the value of a variable that is set and not empty.
pub(super) fn variable(name: impl AsRef<OsStr>) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let value = env::var_os(name);
    value.filter(|value| !value.is_empty())
}

fn unknown_among(variables: impl Iterator<Item = (String, OsString)>) -> Vec<String> {
    let command = Cli::command();
    let arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let known: HashSet<&OsStr> = arguments.filter_map(clap::Arg::get_env).collect();
    let is_from_kubernetes = |name: &str, value: &OsStr| {
        let is_url = value.to_string_lossy().contains("://");
        name.contains("_SERVICE_") || name.contains("_PORT_") || name.ends_with("_PORT") && is_url
    };
    variables
        .filter(|(name, _)| name.starts_with("ONNXD_") && !known.contains(OsStr::new(name)))
        .filter(|(name, value)| !is_from_kubernetes(name, value))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_found_and_kubernetes_own_are_not() {
        let variables = [
            ("ONNXD_MAX_BODY_BYTE", "1"),
            ("ONNXD_MAX_BODY_BYTES", "1"),
            ("ONNXD_PORT", "9000"),
            ("ONNXD_GRPC_PORT", "tcp://10.0.0.1:8001"),
            ("ONNXD_SERVICE_HOST", "10.0.0.1"),
            ("ONNXD_PORT_8000_TCP_ADDR", "10.0.0.1"),
            ("PATH", "/bin"),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        assert_eq!(unknown_among(variables), ["ONNXD_MAX_BODY_BYTE", "ONNXD_PORT"]);
    }
}
