//! What `serve` would find: the runtime, the machine, the limits, and the `models`.

use std::{fs, io, net::TcpListener, process::Command};

use serde::Serialize;

use crate::{
    cli::doctor::models::{self, ModelsFacts},
    config::{self, HttpSettings, LimitSettings, ServerConfig, memory::MemorySettings},
    cpu::CpuBudget,
    engine::onnx_runtime::OrtEngine,
    error::{Error, Result},
    serving::budget::buffered_bytes,
};

/// The locale that a model with a StringNormalizer asks for unless it names another.
pub(super) const LOCALE: &str = "en_US.UTF-8";

#[derive(Debug, Default, Serialize)]
pub(super) struct Facts {
    pub(super) version: &'static str,
    pub(super) onnxruntime: Option<RuntimeFacts>,
    pub(super) telemetry: &'static str,
    pub(super) cpus: CpuFacts,
    pub(super) memory_limit: Option<MemoryFacts>,
    pub(super) http: HttpFacts,
    pub(super) limits: ServerLimits,
    pub(super) models: ModelsFacts,
    /// Whether [`LOCALE`] is installed, where that can be told.
    pub(super) locale_installed: Option<bool>,
    pub(super) unknown_variables: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct RuntimeFacts {
    pub(super) version: String,
    pub(super) path: String,
    pub(super) origin: String,
}

/// How many CPUs there are, and how many the process may use.
#[derive(Debug, Default, Serialize)]
pub(super) struct CpuFacts {
    pub(super) online: Option<usize>,
    pub(super) affinity: usize,
    pub(super) quota: Option<QuotaFacts>,
    /// The threads that keep busy what is allowed.
    pub(super) usable: usize,
}

/// The tightest CPU quota, and the file that says so.
#[derive(Debug, Serialize)]
pub(super) struct QuotaFacts {
    pub(super) cpus: f64,
    pub(super) source: String,
}

/// The tightest memory limit, and the file that says so.
#[derive(Debug, Serialize)]
pub(super) struct MemoryFacts {
    pub(super) bytes: u64,
    pub(super) source: String,
}

/// Where HTTP and gRPC would be served, on how many threads.
#[derive(Debug, Default, Serialize)]
pub(super) struct HttpFacts {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_port_taken: bool,
    /// The port of gRPC alone, if it has one.
    pub(super) grpc_port: Option<u16>,
    pub(super) is_grpc_port_taken: bool,
    pub(super) threads: usize,
}

/// The limits of the server, and the system's that stands above one of them.
#[derive(Debug, Default, Serialize)]
pub(super) struct ServerLimits {
    pub(super) max_body_bytes: usize,
    /// The limit of all bodies together: the setting or its default.
    pub(super) max_buffered_bytes: usize,
    /// The limit of all runs together: the setting or its default.
    pub(super) max_run_memory_bytes: u64,
    /// The limit of one model: the setting or its default.
    pub(super) max_model_bytes: u64,
    pub(super) request_timeout_seconds: f64,
    pub(super) keep_alive_seconds: f64,
    pub(super) max_connections: usize,
    pub(super) max_open_files: Option<u64>,
    pub(super) drain_delay_seconds: f64,
    pub(super) shutdown_grace_seconds: f64,
}

/// Looks around. The second result says what would keep `serve` from working.
pub(super) fn gather(config: &ServerConfig, engine: Result<&OrtEngine, &Error>) -> (Facts, Vec<String>) {
    let mut problems = Vec::new();
    let budget = CpuBudget::of_this_process();
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION"),
        onnxruntime: engine.map_err(|error| problems.push(error.to_string())).ok().map(runtime_facts),
        telemetry: "off",
        http: http_facts(&config.http, budget.threads, &mut problems),
        limits: server_limits(&config.limits, &config.memory),
        models: models::look_at(config, &mut problems),
        locale_installed: locale_installed(),
        unknown_variables: config::unknown_variables(),
        memory_limit: budget
            .memory
            .as_ref()
            .map(|memory| MemoryFacts { bytes: memory.bytes, source: memory.source.display().to_string() }),
        cpus: cpu_facts(&budget),
    };
    (facts, problems)
}

fn runtime_facts(engine: &OrtEngine) -> RuntimeFacts {
    let library = engine.library();
    RuntimeFacts {
        version: library.version.clone(),
        path: library.path.display().to_string(),
        origin: library.origin.to_string(),
    }
}

fn cpu_facts(budget: &CpuBudget) -> CpuFacts {
    let stat = fs::read_to_string("/proc/stat").ok();
    CpuFacts {
        online: stat.as_deref().map(online_cpus).filter(|online| *online > 0),
        affinity: budget.affinity,
        quota: budget
            .quota
            .as_ref()
            .map(|quota| QuotaFacts { cpus: quota.cpus, source: quota.source.display().to_string() }),
        usable: budget.threads,
    }
}

/// Counts the CPUs of `/proc/stat`, which has a line `cpu` for all and a line `cpu0` for each that is online.
fn online_cpus(stat: &str) -> usize {
    let is_cpu =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    stat.lines().filter(is_cpu).count()
}

fn http_facts(settings: &HttpSettings, usable: usize, problems: &mut Vec<String>) -> HttpFacts {
    let (host, port) = settings.address();
    // Held while the next is tried, for they may be the same.
    let http = TcpListener::bind((host, port));
    let grpc = settings.grpc_address().map(TcpListener::bind);
    HttpFacts {
        host: host.to_owned(),
        port,
        is_port_taken: is_taken(&http, (host, port), problems),
        grpc_port: settings.grpc_address().map(|(_, port)| port),
        is_grpc_port_taken: grpc
            .zip(settings.grpc_address())
            .is_some_and(|(bound, address)| is_taken(&bound, address, problems)),
        threads: settings.threads.unwrap_or(usable),
    }
}

/// Tells whether somebody else listens there; whatever else keeps us from it is a problem.
fn is_taken(bound: &io::Result<TcpListener>, (host, port): (&str, u16), problems: &mut Vec<String>) -> bool {
    match bound {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => true,
        Err(error) => {
            problems.push(format!("cannot listen on {host}:{port}: {error}"));
            false
        }
    }
}

fn server_limits(limits: &LimitSettings, memory: &MemorySettings) -> ServerLimits {
    ServerLimits {
        max_body_bytes: limits.max_body_bytes,
        max_buffered_bytes: buffered_bytes(limits),
        max_run_memory_bytes: memory.run_bytes() as u64,
        max_model_bytes: memory.model_bytes() as u64,
        request_timeout_seconds: limits.request_timeout.as_secs_f64(),
        keep_alive_seconds: limits.keep_alive.as_secs_f64(),
        max_connections: limits.max_connections,
        max_open_files: fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(max_open_files),
        drain_delay_seconds: limits.drain_delay.as_secs_f64(),
        shutdown_grace_seconds: limits.shutdown_grace.as_secs_f64(),
    }
}

/// Reads the soft limit of `/proc/self/limits`; `None` where there is none.
fn max_open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Asks the system for its locales; it may have no such command.
fn locale_installed() -> Option<bool> {
    let output = Command::new("locale").arg("-a").output().ok()?;
    let names = String::from_utf8_lossy(&output.stdout).to_lowercase();
    Some(names.lines().any(|name| name.replace('-', "") == LOCALE.to_lowercase().replace('-', "")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GrpcPort;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(online_cpus("cpu  1 2\ncpu0 1\ncpu11 1\nctxt 5\ncpufreq 1\n"), 2);
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(max_open_files(limits), Some(1024));
        assert_eq!(max_open_files("Max open files            unlimited            unlimited            files\n"), None);
        assert_eq!(max_open_files(""), None);
    }

    #[test]
    fn a_taken_port_is_seen() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, free) = (taken.local_addr().unwrap().port(), ServerConfig::for_testing("models").http);
        let mut problems = Vec::new();
        let mut look = |settings| {
            let facts = http_facts(&settings, 3, &mut problems);
            (facts.is_port_taken, facts.is_grpc_port_taken)
        };
        assert_eq!(look(free.clone()), (false, false));
        assert_eq!(look(HttpSettings { port, ..free.clone() }), (true, false));
        assert_eq!(look(HttpSettings { grpc_port: GrpcPort(Some(port)), ..free.clone() }), (false, true));
        assert_eq!(look(HttpSettings { grpc_port: GrpcPort(None), ..free }), (false, false));
        assert!(problems.is_empty());
    }
}
