//! The settings of `serve`, a struct for each concern; other commands share some of them.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};

use crate::config::{
    log::LogFilter,
    memory::MemorySettings,
    value::{
        GrpcPort, connection_count, cors_origin, duration_or_zero, grpc_port, host, line_count, on_or_off, port,
        positive_duration, row_count, short_duration, size_bytes, thread_count,
    },
};

/// The settings of `serve`: all that `server::bind` needs.
#[derive(Args, Clone, Debug)]
pub struct ServerConfig {
    /// Folder of models, or one .onnx file
    #[arg(value_name = "PATH", env = "MODEL_PATH", default_value = "models")]
    pub model_path: PathBuf,
    /// Model that answers POST /predict; needed only where several are served
    #[arg(long, value_name = "MODEL", env = "ONNXD_DEFAULT_MODEL")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub default_model: Option<String>,
    /// What is at PATH is one model, and this is its name, whatever its files and folders are called
    #[arg(long, value_name = "NAME", env = "ONNXD_MODEL_NAME")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub model_name: Option<String>,
    /// Where to listen, and for whom.
    #[command(flatten)]
    pub http: HttpSettings,
    /// What is refused, and when.
    #[command(flatten)]
    pub limits: LimitSettings,
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

/// Where the HTTP server listens, and for whom.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpSettings {
    /// Address or host name to listen on; 127.0.0.1 keeps other machines out, :: takes IPv6 too
    #[arg(long, env = "HOST", default_value = "0.0.0.0", value_parser = host)]
    pub host: String,
    /// Port to listen on; 0 takes any free one, which the log then names
    #[arg(long, env = "PORT", default_value = "8000", value_parser = port)]
    pub port: u16,
    /// Port for gRPC alone; 0 takes any free one, off takes none. gRPC is answered on the HTTP port too
    #[arg(long, env = "ONNXD_GRPC_PORT", default_value = "8001", value_parser = grpc_port)]
    pub grpc_port: GrpcPort,
    /// Threads that serve HTTP and run small models [default: the CPUs this process may use]
    #[arg(long = "http-threads", value_name = "COUNT", env = "ONNXD_HTTP_THREADS")]
    #[arg(value_parser = thread_count)]
    pub threads: Option<usize>,
    /// Web origins whose pages may call this server, comma-separated; * is any [default: none]
    #[arg(long, value_name = "ORIGIN", env = "ONNXD_CORS_ALLOW_ORIGIN")]
    #[arg(value_delimiter = ',', value_parser = cors_origin)]
    pub cors_allow_origin: Vec<String>,
}

impl HttpSettings {
    /// Returns host and port as `TcpListener::bind` takes them; a name may resolve to several addresses.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Returns host and port of gRPC alone, if it has one.
    pub fn grpc_address(&self) -> Option<(&str, u16)> {
        self.grpc_port.0.map(|port| (&*self.host, port))
    }

    /// Returns whether pages of any origin may call the server: `*` is among the origins.
    pub fn allows_any_origin(&self) -> bool {
        self.cors_allow_origin.iter().any(|origin| origin == "*")
    }
}

/// What the server refuses or gives up on: every bound on a client, and on stopping.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct LimitSettings {
    /// Largest request body, after decompression; larger is answered 413
    #[arg(long, value_name = "SIZE", env = "ONNXD_MAX_BODY_BYTES", default_value = "64MiB")]
    #[arg(value_parser = size_bytes)]
    pub max_body_bytes: usize,
    /// Most bytes of memory for all request bodies together and the tensors decoded from them. A body waits
    /// a second for room, then is answered 429; one that alone needs more is answered 413
    /// [default: a quarter of the memory limit]
    #[arg(long, value_name = "SIZE", env = "ONNXD_MAX_BUFFERED_BYTES", value_parser = size_bytes)]
    pub max_buffered_bytes: Option<usize>,
    /// Longest a request may take from its head to its answer; then it is answered 504 and is not
    /// run. Longer lets a backlog grow, shorter fails slow models
    #[arg(long, value_name = "DURATION", env = "ONNXD_REQUEST_TIMEOUT", default_value = "30s")]
    #[arg(value_parser = positive_duration)]
    pub request_timeout: Duration,
    /// Longest a connection may go without a whole request head, idle between requests or slow in
    /// sending one, or without taking any more of its answer. Keep it above your load balancer's
    /// own idle time, or that one answers 502 now and then
    #[arg(long, value_name = "DURATION", env = "ONNXD_KEEP_ALIVE", default_value = "75s")]
    #[arg(value_parser = positive_duration)]
    pub keep_alive: Duration,
    /// Most rows of one request; more are answered 413. A small body can ask for many, and each costs
    /// a run and its share of the answer
    #[arg(long, value_name = "COUNT", env = "ONNXD_MAX_ROWS", default_value = "100000")]
    #[arg(value_parser = row_count)]
    pub max_rows: usize,
    /// Most predictions between body and answer, over all models; one more is answered 429
    #[arg(long, value_name = "COUNT", env = "ONNXD_MAX_IN_FLIGHT", default_value = "4096")]
    #[arg(value_parser = connection_count)]
    pub max_in_flight: usize,
    /// Longest that a batch of a small model may hold the event loop; models whose runs take longer
    /// get threads of their own. Longer batches more, and delays everyone else by as much
    #[arg(long, value_name = "DURATION", env = "ONNXD_INLINE_BUDGET", default_value = "500us")]
    #[arg(value_parser = short_duration)]
    pub inline_budget: Duration,
    /// Most connections at a time; above that, the longest idle ones are closed. Each costs a file
    /// descriptor and its buffers, so the system's limit on open files must be higher
    #[arg(long, value_name = "COUNT", env = "ONNXD_MAX_CONNECTIONS", default_value = "10000")]
    #[arg(value_parser = connection_count)]
    pub max_connections: usize,
    /// How long to go on serving after SIGTERM while readiness says 503, so that load balancers
    /// look away first. Lengthens every stop by as much
    #[arg(long, value_name = "DURATION", env = "ONNXD_DRAIN_DELAY", default_value = "0s")]
    #[arg(value_parser = duration_or_zero)]
    pub drain_delay: Duration,
    /// Longest that stopping may wait for requests in flight; what is left then is cut off
    #[arg(long, value_name = "DURATION", env = "ONNXD_SHUTDOWN_GRACE", default_value = "30s")]
    #[arg(value_parser = duration_or_zero)]
    pub shutdown_grace: Duration,
}

/// What is logged, and how. Logs go to stderr.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogSettings {
    /// off, error, warn, info, debug or trace, also by target: info,onnxd=debug
    #[arg(long = "log-level", value_name = "LEVEL", env = "LOG_LEVEL", default_value = "info")]
    pub level: LogFilter,
    /// Form of a log line [default: text on a terminal, else json]
    #[arg(long = "log-format", value_name = "FORMAT", env = "ONNXD_LOG_FORMAT")]
    #[arg(value_enum, ignore_case = true)]
    pub format: Option<LogFormat>,
    /// Whether each request is logged, on or off; off saves CPU under load
    #[arg(long, value_name = "ON|OFF", env = "ONNXD_ACCESS_LOG", default_value = "on")]
    #[arg(action = clap::ArgAction::Set, value_parser = on_or_off)]
    pub access_log: bool,
    /// Log lines held while stderr is slow; further ones are dropped and counted. Each costs its
    /// length in memory
    #[arg(long = "log-buffer-lines", value_name = "COUNT", env = "ONNXD_LOG_BUFFER_LINES")]
    #[arg(default_value = "16384", value_parser = line_count)]
    pub buffer_lines: usize,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for log collectors.
    Json,
}

/// Where ONNX Runtime is.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "ONNX Runtime")]
pub struct RuntimeSettings {
    /// The ONNX Runtime library to load [default: beside onnxd, ../lib, .onnxruntime, the system's]
    #[arg(long, value_name = "FILE", env = "ORT_DYLIB_PATH")]
    pub onnxruntime: Option<PathBuf>,
}

/// A place where the ONNX Runtime library may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryCandidate {
    /// The file; a bare name where the system's loader is to search for it.
    pub path: PathBuf,
    /// What made it a candidate.
    pub origin: LibraryOrigin,
}

/// What makes a file a candidate for the ONNX Runtime library; displays as words for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LibraryOrigin {
    /// Named by flag or variable.
    Setting,
    /// In the folder of the executable.
    BesideExecutable,
    /// In `../lib` of the executable's folder.
    LibFolder,
    /// In the folder of the source tree that `make fetch` fills.
    FetchFolder,
    /// Wherever the system's loader finds it.
    SystemLoader,
}
