//! Where log events go: to stderr, as text or JSON, through a bounded buffer and a thread of its own.
//!
//! Whoever logs never waits for stderr: when the buffer is full, lines are dropped and counted. A
//! JSON line has the fields of its event beside its own `timestamp`, `level`, `target`, `message`
//! and `span`, so no event may call a field so. Knows nothing of what is logged, but for two
//! targets: the access log has one to be turned off by, and `ort` is quieter than the rest.

mod json_lines;
mod panics;
mod text_lines;

use std::io::{self, BufWriter, IsTerminal, Write};

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{self, MakeWriter, format::JsonFields},
    layer::SubscriberExt,
    registry::Registry,
    util::SubscriberInitExt,
};

use self::{json_lines::JsonLines, text_lines::TextLines};
use crate::{
    config::{self, LogFormat, LogSettings},
    error::{Error, Result},
};

/// The target of the access log's events; `--access-log off` filters by it.
pub const ACCESS_TARGET: &str = "onnxd::access";

/// Keeps the log going; dropped, it writes what is still buffered, for at most about a second.
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
    dropped_lines: ErrorCounter,
}

impl LogGuard {
    /// Returns the counter of lines that were dropped because stderr was too slow; it goes on counting.
    pub fn dropped_lines(&self) -> ErrorCounter {
        self.dropped_lines.clone()
    }
}

/// Makes `settings` the log of the whole process, panics included; fails if it has one already.
pub fn init(settings: &LogSettings) -> Result<LogGuard> {
    let is_terminal = io::stderr().is_terminal();
    let by_place = if is_terminal { LogFormat::Text } else { LogFormat::Json };
    let format = settings.format.unwrap_or(by_place);
    let is_coloured = is_terminal && !config::is_colour_refused();
    let filter = EnvFilter::try_new(directives(settings)).map_err(Error::internal)?;
    let (writer, guard) = buffered(io::stderr(), settings.buffer_lines);
    subscriber(filter, format, is_coloured, writer).try_init().map_err(Error::internal)?;
    panics::log_all();
    Ok(guard)
}

/// Puts a buffer of `lines` lines and a thread between whoever logs and `writer`.
fn buffered(writer: impl Write + Send + 'static, lines: usize) -> (NonBlocking, LogGuard) {
    // The thread flushes whenever it has caught up; until then lines share a system call.
    let writer = BufWriter::with_capacity(64 << 10, writer);
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(lines);
    let (writer, worker) = builder.thread_name("onnxd-log").finish(writer);
    let dropped_lines = writer.error_counter();
    (writer, LogGuard { _worker: worker, dropped_lines })
}

/// Writes the filter for `EnvFilter`, where of two directives for one target the later wins.
fn directives(settings: &LogSettings) -> String {
    let level = settings.level.as_str();
    // ONNX Runtime tells of every node it optimises; whoever wants that names it: `ort=debug`.
    let is_verbose = level.split(',').any(|word| matches!(word, "info" | "debug" | "trace"));
    let quiet_runtime = if is_verbose { "ort=warn," } else { "" };
    match settings.access_log {
        true => format!("{quiet_runtime}{level}"),
        false => format!("{quiet_runtime}{level},{ACCESS_TARGET}=off"),
    }
}

fn subscriber<W>(filter: EnvFilter, format: LogFormat, is_coloured: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => fmt::layer().with_writer(TextLines(writer)).with_ansi(is_coloured).boxed(),
        LogFormat::Json => {
            fmt::layer().with_writer(writer).fmt_fields(JsonFields::new()).event_format(JsonLines).boxed()
        }
    };
    Registry::default().with(layer).with(filter)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;
    use crate::config::ServerConfig;

    fn settings(level: &str, access_log: bool) -> LogSettings {
        let settings = ServerConfig::for_testing("models").log;
        LogSettings { level: level.parse().expect("a filter"), access_log, ..settings }
    }

    /// Returns what is written while `log` runs.
    fn written(settings: &LogSettings, format: LogFormat, log: impl FnOnce()) -> String {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let filter = EnvFilter::new(directives(settings));
        let subscriber = subscriber(filter, format, false, Lines(lines.clone()));
        tracing::subscriber::with_default(subscriber, log);
        let lines = lines.lock().expect("no writer panics").clone();
        String::from_utf8(lines).expect("text")
    }

    #[derive(Clone)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panics").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_json_line_has_the_fields_of_event_and_span() {
        let line = written(&settings("info", true), LogFormat::Json, || {
            let _span = tracing::info_span!("request", request_id = "r-1").entered();
            let (shown, debugged) = (tracing::field::display("a \"b\"\n"), tracing::field::debug("\u{1}"));
            tracing::info!(
                target: ACCESS_TARGET,
                status = 200, model = "iris", ok = true, below = -1, ms = 0.5, none = f64::NAN, shown, debugged,
                "POST /predict"
            );
        });
        assert!(line.ends_with("}\n"), "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!((&line["ok"], &line["below"], &line["ms"]), (&true.into(), &(-1).into(), &0.5.into()));
        assert!(line["none"].is_null());
        assert_eq!((&line["shown"], &line["debugged"]), (&"a \"b\"\n".into(), &"\"\\u{1}\"".into()));
        let timestamp = line["timestamp"].as_str().expect("a timestamp");
        assert!(timestamp.parse::<jiff::Timestamp>().is_ok(), "{timestamp}");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], ACCESS_TARGET);
        assert_eq!(line["message"], "POST /predict");
        assert_eq!(line["status"], 200);
        assert_eq!(line["model"], "iris");
        assert_eq!(line["span"], serde_json::json!({"name": "request", "request_id": "r-1"}));
    }

    #[test]
    fn every_value_makes_a_json_line() {
        let line = written(&settings("info", true), LogFormat::Json, || {
            let error: &(dyn std::error::Error + 'static) = &io::Error::other("broken\r\n");
            tracing::info!(
                r#type = "a\u{0}\u{7f}\u{2028}\\/\"",
                "log.target" = "b",
                huge = u128::MAX,
                endless = f64::INFINITY,
                error
            );
        });
        let line: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!((&line["type"], &line["log.target"]), (&"a\u{0}\u{7f}\u{2028}\\/\"".into(), &"b".into()));
        assert_eq!((&line["huge"], &line["error"]), (&u128::MAX.to_string().into(), &"broken\r\n".into()));
        assert!(line["endless"].is_null());
    }

    #[test]
    fn the_span_of_a_json_line_is_the_innermost_of_its_event() {
        let lines = written(&settings("info", true), LogFormat::Json, || {
            let _outer = tracing::info_span!("outer", a = 1).entered();
            let other = tracing::info_span!("other", text = "{\"", none = f64::NAN, later = tracing::field::Empty);
            other.record("later", 2);
            let _inner = tracing::info_span!("inner").entered();
            tracing::info!("in inner");
            tracing::info!(parent: &other, "in other");
            tracing::info!(parent: None::<tracing::Id>, "in none");
        });
        let spans: Vec<serde_json::Value> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("one JSON object")["span"].take())
            .collect();
        let other = serde_json::json!({"name": "other", "text": "{\"", "none": null, "later": 2});
        assert_eq!(spans, [serde_json::json!({"name": "inner"}), other, serde_json::Value::Null]);
    }

    #[test]
    fn a_text_line_is_plain_where_colours_are_off() {
        let line = written(&settings("info", true), LogFormat::Text, || {
            tracing::info!(port = 1, "listening");
        });
        assert!(line.ends_with("listening port=1\n"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }

    #[test]
    fn an_event_with_line_breaks_is_one_text_line() {
        let line = written(&settings("info", true), LogFormat::Text, || {
            tracing::error!("cannot run: \r\n2026-01-01T00:00:00Z  INFO onnxd: forged\n");
        });
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.ends_with("cannot run: \\r\\n2026-01-01T00:00:00Z  INFO onnxd: forged\\n\n"), "{line}");
    }

    #[test]
    fn the_access_log_can_be_off_alone() {
        let log = || {
            assert!(!tracing::enabled!(target: "onnxd::access", tracing::Level::INFO));
            tracing::info!(target: ACCESS_TARGET, "request");
            tracing::info!("listening");
        };
        let text = written(&settings("info", false), LogFormat::Text, log);
        assert!(text.contains("listening") && !text.contains("request"), "{text}");
    }

    #[test]
    fn the_runtime_is_quiet_unless_asked_for() {
        let cases = [
            ("info", "warn"),
            ("trace", "warn"),
            ("debug,ort=info", "warn info"),
            ("error", ""),
            ("off", ""),
            ("off,onnxd=debug", ""),
            ("warn", "warn"),
        ];
        for (level, expected) in cases {
            let text = written(&settings(level, true), LogFormat::Text, || {
                tracing::warn!(target: "ort::logging", "<warn>");
                tracing::info!(target: "ort::logging", "<info>");
            });
            let seen = ["warn", "info"].into_iter().filter(|word| text.contains(&format!("<{word}>")));
            assert_eq!(seen.collect::<Vec<_>>().join(" "), expected, "{level}");
        }
    }

    /// A writer that waits to be let go on, as stderr does when nobody reads it.
    struct Stalled(mpsc::Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // A closed channel lets everything through.
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_stderr_costs_lines_and_no_time() {
        let (release, stalled) = mpsc::sync_channel(0);
        let (mut writer, guard) = buffered(Stalled(stalled), 4);
        // Larger than the write buffer, so that the first line stalls the thread.
        let line = vec![b'x'; 128 << 10];
        // Nothing is released before all is written: a write that waited would wait for ever.
        for _ in 0..10 {
            writer.write_all(&line).expect("a lossy write succeeds");
        }
        // Four wait in the buffer, and one at most is with the thread.
        let dropped = guard.dropped_lines().dropped_lines();
        assert!((5..=6).contains(&dropped), "{dropped}");
        drop(release);
    }
}
