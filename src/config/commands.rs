//! The commands, and the settings of each.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, builder::NonEmptyStringValueParser};

use crate::config::{
    bench::{BENCH_HELP, BenchSettings},
    isolated::IsolatedSessionSettings,
    memory::MemorySettings,
    settings::{LogSettings, RuntimeSettings, ServerConfig},
    value::{host, port, positive_duration},
};

/// The parsed command line.
#[derive(Debug, Parser)]
#[command(name = "onnxd", version, arg_required_else_help = true)]
#[command(about = "Serves ONNX models over HTTP and gRPC: curl a row of features, get a prediction")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What onnxd can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What looks at models.
    #[command(flatten)]
    WithEngine(EngineCommand),
    /// Ask the onnxd of this machine whether it is ready; exits 0 or 1, for containers and scripts
    Healthcheck(HealthcheckSettings),
    /// Run one model for the onnxd that started this process
    #[command(hide = true)]
    IsolatedSession(IsolatedSessionSettings),
}

/// The commands that log, and that run models.
#[derive(Debug, Subcommand)]
pub enum EngineCommand {
    /// Serve a folder of models, or one .onnx file
    Serve(Box<ServerConfig>),
    /// Print a model's signature, features, labels and effective settings
    Inspect(InspectSettings),
    /// Load everything as serve would, warm up, run golden cases; exits 0 or 1
    Check(CheckSettings),
    /// Print what serve would use (CPUs, threads, ONNX Runtime, limits), and what is wrong with it
    Doctor(Box<DoctorSettings>),
    /// Load a running daemon, or a model that this process serves, and measure it
    #[command(after_long_help = BENCH_HELP)]
    Bench(Box<BenchSettings>),
}

impl EngineCommand {
    /// Returns the log settings of whichever command runs.
    pub fn log(&self) -> &LogSettings {
        match self {
            Self::Serve(config) => &config.log,
            Self::Inspect(settings) => &settings.log,
            Self::Check(settings) => &settings.log,
            Self::Doctor(settings) => &settings.server.log,
            Self::Bench(settings) => &settings.log,
        }
    }

    /// Returns the runtime settings of whichever command runs.
    pub fn runtime(&self) -> &RuntimeSettings {
        match self {
            Self::Serve(config) => &config.runtime,
            Self::Inspect(settings) => &settings.runtime,
            Self::Check(settings) => &settings.runtime,
            Self::Doctor(settings) => &settings.server.runtime,
            Self::Bench(settings) => &settings.runtime,
        }
    }

    /// Returns whether the command can do its work only with ONNX Runtime.
    pub fn needs_runtime(&self) -> bool {
        match self {
            Self::Serve(_) | Self::Inspect(_) | Self::Check(_) => true,
            // It tells of a missing runtime among the rest.
            Self::Doctor(_) => false,
            Self::Bench(settings) => settings.raw_path().is_some(),
        }
    }
}

/// The settings of `inspect`.
#[derive(Args, Clone, Debug)]
pub struct InspectSettings {
    /// Folder of models, or one .onnx file
    #[arg(value_name = "PATH")]
    pub model_path: PathBuf,
    /// Only this model of the folder
    #[arg(long, value_name = "MODEL", value_parser = NonEmptyStringValueParser::new())]
    pub model: Option<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// What is logged, and how.
    #[command(flatten)]
    pub log: LogSettings,
    /// Where ONNX Runtime is.
    #[command(flatten)]
    pub runtime: RuntimeSettings,
}

/// The settings of `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckSettings {
    /// Folder of models, or one .onnx file
    #[arg(value_name = "PATH", env = "MODEL_PATH", default_value = "models")]
    pub model_path: PathBuf,
    /// Model that answers POST /predict; checked to be there
    #[arg(long, value_name = "MODEL", env = "ONNXD_DEFAULT_MODEL")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub default_model: Option<String>,
    /// What is at PATH is one model, and this is its name, whatever its files and folders are called
    #[arg(long, value_name = "NAME", env = "ONNXD_MODEL_NAME")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub model_name: Option<String>,
    /// What models may take of the memory.
    #[command(flatten)]
    pub memory: MemorySettings,
    /// What is logged, and how.
    #[command(flatten)]
    pub log: LogSettings,
    /// Where ONNX Runtime is.
    #[command(flatten)]
    pub runtime: RuntimeSettings,
}

/// The settings of `doctor`: those of `serve`, to say what `serve` would do with them.
#[derive(Args, Clone, Debug)]
pub struct DoctorSettings {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// What `serve` would be given.
    #[command(flatten)]
    pub server: ServerConfig,
}

/// The settings of `healthcheck`: where `serve` was told to listen, from the same variables.
#[derive(Args, Clone, Debug)]
pub struct HealthcheckSettings {
    /// Address that serve listens on; of all addresses (0.0.0.0, ::) the loopback one is asked
    #[arg(long, env = "HOST", default_value = "0.0.0.0", value_parser = host)]
    pub host: String,
    /// Port that serve listens on
    #[arg(long, env = "PORT", default_value = "8000", value_parser = port)]
    pub port: u16,
    /// Ask only whether the process answers, not whether its models are ready
    #[arg(long)]
    pub live: bool,
    /// Longest to wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = positive_duration)]
    pub timeout: Duration,
}
