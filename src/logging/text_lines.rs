//! One line for each event of the text format.
//!
//! A message may quote text of a client. Written as it is, a line break in it would begin a line that nobody logged.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Makes writers that write each event as one line.
#[derive(Clone, Debug)]
pub(super) struct TextLines<W>(pub(super) W);

/// The writer of [`TextLines`]; takes a whole event at a time.
#[derive(Debug)]
pub(super) struct TextLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for TextLines<W> {
    type Writer = TextLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        TextLine(self.0.make_writer())
    }
}

impl<W: Write> Write for TextLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = event.strip_suffix(b"\n").unwrap_or(event);
        if !line.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return self.0.write(event);
        }
        let mut escaped = Vec::with_capacity(event.len() + 16);
        for byte in line {
            match byte {
                b'\n' => escaped.extend_from_slice(b"\\n"),
                b'\r' => escaped.extend_from_slice(b"\\r"),
                byte => escaped.push(*byte),
            }
        }
        escaped.push(b'\n');
        self.0.write_all(&escaped).map(|()| event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
