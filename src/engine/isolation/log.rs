//! What a child writes to stderr, as lines of the parent's log.

use std::{
    io::{BufRead, BufReader, Read},
    net::Shutdown,
    os::unix::net::UnixStream,
    thread::{Builder, JoinHandle},
};

use crate::error::{Error, Result};

/// The longest piece that becomes one line of the log, in bytes.
const MAX_LINE: u64 = 4096;

/// A thread that logs what comes.
pub(super) struct LogThread {
    stream: UnixStream,
    thread: JoinHandle<()>,
}

impl LogThread {
    /// # Errors
    /// `Internal` where the system gives no thread.
    pub(super) fn start(stream: UnixStream, model: String) -> Result<Self> {
        let reader = BufReader::new(stream.try_clone().map_err(Error::internal)?);
        let forward =
            move || forward(reader, |line| tracing::warn!(model = %model, "process of model {model}: {line}"));
        let thread = Builder::new().name("isolate-log".to_owned()).spawn(forward).map_err(Error::internal)?;
        Ok(Self { stream, thread })
    }

    /// Logs what has come and ends, also where another process still holds the other end.
    pub(super) fn finish(self) {
        // What has come can still be read.
        let _closed = self.stream.shutdown(Shutdown::Read);
        let _panicked = self.thread.join();
    }
}

fn forward(mut reader: impl BufRead, log: impl Fn(&str)) {
    let mut line = Vec::new();
    while reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().replace(char::is_control, "?");
        if !text.is_empty() {
            log(&text);
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn every_line_is_logged_without_what_would_break_it() {
        let lines = RefCell::new(Vec::new());
        let long = "x".repeat(5000);
        let text = [b"one\r\n\n\x1b[31mtwo\xff\n", long.as_bytes(), b"\nlast"].concat();
        forward(&text[..], |line| lines.borrow_mut().push(line.to_owned()));
        let lines = lines.into_inner();
        assert_eq!(lines[..2], ["one", "?[31mtwo\u{fffd}"]);
        assert_eq!(lines[2..].iter().map(String::len).collect::<Vec<_>>(), [4096, 904, 4]);
    }
}
