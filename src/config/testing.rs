//! A configuration for tests.

use std::{path::PathBuf, time::Duration};

use crate::config::{
    GrpcPort, HttpSettings, LimitSettings, LogFilter, LogFormat, LogSettings, RuntimeSettings, ServerConfig,
    environment::variable, memory::MemorySettings,
};

/// How long a server waits for anything: longer than any test. A limit in time that a busy machine can reach would make
/// tests fail that are not about it.
const PATIENCE: Duration = Duration::from_secs(300);

impl ServerConfig {
    /// Makes a config for tests: free ports of 127.0.0.1, small sizes, no access log, and all the time in the world.
    ///
    /// Of the environment only `ORT_DYLIB_PATH` is read.
    pub fn for_testing(model_path: impl Into<PathBuf>) -> Self {
        Self {
            model_path: model_path.into(),
            default_model: None,
            model_name: None,
            http: HttpSettings {
                host: "127.0.0.1".to_owned(),
                port: 0,
                grpc_port: GrpcPort(Some(0)),
                threads: Some(2),
                cors_allow_origin: Vec::new(),
            },
            limits: LimitSettings {
                max_body_bytes: 4 << 20,
                max_buffered_bytes: Some(64 << 20),
                request_timeout: PATIENCE,
                max_rows: 10_000,
                max_in_flight: 4096,
                inline_budget: Duration::from_micros(500),
                keep_alive: PATIENCE,
                max_connections: 256,
                drain_delay: Duration::ZERO,
                shutdown_grace: PATIENCE,
            },
            memory: MemorySettings::default(),
            log: LogSettings {
                level: LogFilter::default(),
                format: Some(LogFormat::Text),
                access_log: false,
                buffer_lines: 1024,
            },
            runtime: RuntimeSettings { onnxruntime: variable("ORT_DYLIB_PATH").map(PathBuf::from) },
        }
    }
}
