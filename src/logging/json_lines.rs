//! A log line as one JSON object.
//!
//! What tracing-subscriber's own JSON format gives, flattened; it writes every quote by itself through several adapters, and a line
//! of the access log takes it as long as a prediction by a small model.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormattedFields,
        format::{FormatEvent, JsonFields, Writer},
    },
    registry::LookupSpan,
};

/// About as much as a line of the access log takes, which fits a small allocation.
const LINE_BYTES: usize = 512;

/// Writes `timestamp`, `level`, the event's fields, `target`, and `span`, which is the innermost one that the event is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLines;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for JsonLines {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line(Vec::with_capacity(LINE_BYTES));
        line.0.push(b'{');
        line.entry("timestamp", &format_args!("{:.6}", Timestamp::now()));
        line.entry("level", event.metadata().level().as_str());
        event.record(&mut line);
        line.entry("target", event.metadata().target());
        if let Some(span) = context.parent_span() {
            line.key("span");
            line.0.extend_from_slice(b"{");
            line.entry("name", span.name());
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                // An object by itself, whose braces are here already.
                let inside = fields.fields.strip_prefix('{').and_then(|fields| fields.strip_suffix('}'));
                if let Some(fields) = inside.filter(|fields| !fields.is_empty()) {
                    line.0.push(b',');
                    line.0.extend_from_slice(fields.as_bytes());
                }
            }
            line.0.push(b'}');
        }
        line.0.extend_from_slice(b"}\n");
        writer.write_str(std::str::from_utf8(&line.0).map_err(|_| fmt::Error)?)
    }
}

/// A line that is being written.
struct Line(Vec<u8>);

impl Line {
    /// Writes the name of an entry, after a comma where one stood before it. Names stand in the code that logs, ours or a
    /// library's, as identifiers, which have nothing to be escaped.
    fn key(&mut self, name: &str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn entry(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.key(name);
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.extend_from_slice(b"null");
        }
    }

    fn field(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        self.entry(field.name().trim_start_matches("r#"), value);
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, &format_args!("{value:?}"));
    }
}
