//! The settings of `bench`: what is loaded, with what, how hard and for how long.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use http::{HeaderName, HeaderValue, Uri};

use crate::config::{
    memory::MemorySettings,
    settings::{HttpSettings, LimitSettings, LogSettings, RuntimeSettings, ServerConfig},
    value::{
        GrpcPort, connection_count, duration_or_zero, header, positive_duration, request_count, request_rate,
        thread_count,
    },
};

/// Connections of a closed loop, where none are asked for.
const CLOSED_LOOP_CONNECTIONS: usize = 8;
/// Connections of an open loop, where none are asked for: as many requests can be under way at a time.
const OPEN_LOOP_CONNECTIONS: usize = 128;

/// What is said of `bench` at the end of its long help.
pub(super) const BENCH_HELP: &str = "\
Closed loop (the default): each connection sends its next request when it has its answer, so a slow server is asked
less. Open loop (--rate): requests are due at even intervals, whatever the server does; latency counts from when a
request was due, not from when it could be sent, so that waiting caused by the server is never left out (no coordinated
omission). A request that waits longer than --timeout counts as an error.

Latencies are those of answers with a status of 2xx; other answers are counted, with latencies of their own, under
errors. Exits 0; 1 if a request got no answer at all (no connection, a lost one, a timeout), if none succeeded, or if
there was nothing to load; 64 if a setting is wrong.

Every request that was sent is waited for; requests_per_second and rows_per_second count the answers that came within
the measured time. The limits and the log set here are those of the server, where MODEL is served by this process.

--json prints one object. All times are in seconds, and what is not known is null:
  target, model, version, lane, client_threads, warm_up_seconds, notes: [text]
  bodies: {count, mean_bytes, mean_rows}
  runs: one for each of --connections and --rate:
    loop (\"closed\" or \"open\"), connections, rate, seconds, requests, answered, requests_per_second, rows_per_second
    latency, send_delay (from due to sent; open loop only): {mean, p50, p90, p99, p99_9, max}
    errors: [{status, code, count, message, latency}], client_busy (0 to 1, and near 1 in any open loop)
    server: {decode, queue, compute, encode: mean seconds of a request; batch_rows: mean rows of a run}
    raw_ratio: {single, best}: rows_per_second divided by that of raw
  raw: Session::run without a server, {sessions, intra_op_threads}, and in
    single (one request at a time) and best (the best batch): {rows_per_run, rows_per_second, latency}";

/// The settings of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchSettings {
    /// http://HOST:PORT of a running daemon, with /models/NAME or a whole predict path behind it if
    /// need be; or a model's folder or .onnx file, which is served in this process to be measured
    #[arg(value_name = "URL|MODEL")]
    pub target: BenchTarget,
    /// Connections, each with one request under way at a time; several, as in 1,8,32, are measured
    /// one after the other [default: 8; 128 with --rate]
    #[arg(short, long, value_name = "COUNT", value_delimiter = ',', value_parser = connection_count)]
    pub connections: Vec<usize>,
    /// How long each is measured
    #[arg(short, long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub duration: Duration,
    /// Send exactly so many requests instead
    #[arg(short = 'n', long, value_name = "COUNT", conflicts_with = "duration", value_parser = request_count)]
    pub requests: Option<u64>,
    /// Open loop: requests a second, sent when they are due and not when the server is done with the
    /// last. Keeps a CPU busy, to be on time; several, as in 1000,2000, are measured one after the other
    #[arg(short, long, value_name = "RATE", value_delimiter = ',', value_parser = request_rate)]
    pub rate: Vec<f64>,
    /// How long the same load runs before each measurement without being counted
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration_or_zero)]
    pub warm_up: Duration,
    /// Longest to wait for an answer; then it is an error and the connection is closed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    pub timeout: Duration,
    /// File of request bodies, one JSON document after the other, used in turn; - or @- is stdin
    /// [default: the example that GET /models/NAME answers]
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub body: Option<PathBuf>,
    /// Request body, as it is
    #[arg(long, value_name = "JSON")]
    pub data: Option<String>,
    /// Header to send along, as "name: value"; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The model's folder or file, where the target is a URL: it is then run without a server too, to
    /// compare with
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Threads that make the load; one does for most servers
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = thread_count)]
    pub threads: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Where MODEL is served: threads that serve HTTP [default: the CPUs this process may use]
    #[arg(long, value_name = "COUNT", env = "ONNXD_HTTP_THREADS", value_parser = thread_count)]
    pub http_threads: Option<usize>,
    /// Where MODEL is served: what is refused, and when.
    #[command(flatten)]
    pub limits: LimitSettings,
    /// What is logged, and how.
    #[command(flatten)]
    pub log: LogSettings,
    /// Where ONNX Runtime is.
    #[command(flatten)]
    pub runtime: RuntimeSettings,
}

/// What is benched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BenchTarget {
    /// A daemon that runs already.
    Url(Uri),
    /// A model to serve.
    Path(PathBuf),
}

impl BenchSettings {
    /// Returns the numbers of connections to measure, one after the other.
    pub fn connections(&self) -> Vec<usize> {
        match (self.connections.is_empty(), self.rate.is_empty()) {
            (false, _) => self.connections.clone(),
            (true, true) => vec![CLOSED_LOOP_CONNECTIONS],
            (true, false) => vec![OPEN_LOOP_CONNECTIONS],
        }
    }

    /// Returns where the model lies that is run without a server, if there is one to run.
    pub fn raw_path(&self) -> Option<&PathBuf> {
        match &self.target {
            BenchTarget::Path(path) => Some(self.model.as_ref().unwrap_or(path)),
            BenchTarget::Url(_) => self.model.as_ref(),
        }
    }

    /// Returns what `serve` would be told to serve a model with these settings on a free port of this machine alone.
    pub fn server(&self, model_path: PathBuf) -> ServerConfig {
        let http = HttpSettings {
            host: "127.0.0.1".to_owned(),
            port: 0,
            grpc_port: GrpcPort(None),
            threads: self.http_threads,
            cors_allow_origin: Vec::new(),
        };
        ServerConfig {
            model_path,
            default_model: None,
            model_name: None,
            http,
            limits: self.limits.clone(),
            memory: MemorySettings::default(),
            log: self.log.clone(),
            runtime: self.runtime.clone(),
        }
    }
}

impl FromStr for BenchTarget {
    type Err = String;

    /// Reads a URL, with or without `http://` before HOST:PORT; anything else is a path.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "http://HOST:PORT with a path behind it, or the path of a model";
        let has_port = |text: &str| {
            let authority = text.split('/').next().unwrap_or_default();
            authority.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        let url = match text.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => text.to_owned(),
            Some(("https", _)) => return Err(format!("{expected}: https is not spoken, so ask the daemon itself")),
            Some(_) => return Err(expected.to_owned()),
            None if has_port(text) => format!("http://{text}"),
            None if text.is_empty() => return Err(expected.to_owned()),
            None => return Ok(Self::Path(text.into())),
        };
        let uri = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        uri.map(Self::Url).ok_or_else(|| expected.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_urls_or_paths() {
        let urls = [
            ("http://localhost:8000", "http://localhost:8000/"),
            ("HTTP://h", "http://h/"),
            ("localhost:8000/models/iris", "http://localhost:8000/models/iris"),
            ("[::1]:8000", "http://[::1]:8000/"),
            ("http://h:1/models/iris/predict?x=1", "http://h:1/models/iris/predict?x=1"),
        ];
        for (text, url) in urls {
            assert_eq!(text.parse(), Ok(BenchTarget::Url(url.parse().unwrap())), "{text}");
        }
        for path in ["models/iris", "wine.onnx", "./h:80/x", "C:\\models", "h:70000", ":80"] {
            assert_eq!(path.parse(), Ok(BenchTarget::Path(path.into())), "{path}");
        }
        for bad in ["", "https://h", "ftp://h", "http://", "http:///predict", "http://h h"] {
            assert!(bad.parse::<BenchTarget>().is_err(), "{bad}");
        }
    }
}
