//! Every setting of the process: its flag, its environment variable, its default and its limits.
//!
//! The only reader of the command line and of the environment; everything else is handed what it
//! needs. A flag wins over its variable, a variable over the default; a variable that is set but
//! empty counts as unset. A new setting goes into the struct of its concern, with help that says
//! what it costs, and with a parser whose error says what was expected.

pub mod bench;
mod commands;
mod environment;
pub mod isolated;
mod library;
mod log;
pub mod memory;
mod settings;
mod testing;
mod usage;
mod value;

use std::env;

use self::usage::parse_from;
pub use self::{
    commands::{CheckSettings, Cli, Command, DoctorSettings, EngineCommand, HealthcheckSettings, InspectSettings},
    log::LogFilter,
    settings::{
        HttpSettings, LibraryCandidate, LibraryOrigin, LimitSettings, LogFormat, LogSettings, RuntimeSettings,
        ServerConfig,
    },
    usage::ParseOutcome,
    value::GrpcPort,
};

/// Reads the command line and the environment of this process.
pub fn parse() -> Result<Cli, ParseOutcome> {
    parse_from(&env::args_os().collect::<Vec<_>>())
}

/// Lists the `ONNXD_…` variables of the environment that no setting reads: misspelt, most likely.
///
/// Not an error, since Kubernetes sets some of its own for a service that is called `onnxd`.
pub fn unknown_variables() -> Vec<String> {
    environment::unknown_variables()
}

/// Returns whether the environment asks for plain output, by `NO_COLOR`.
pub fn is_colour_refused() -> bool {
    environment::variable("NO_COLOR").is_some()
}
