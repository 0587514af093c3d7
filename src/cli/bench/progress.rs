//! A progress bar on stderr, where that is a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::bench::schedule::Extent,
    error::{Error, Result},
};

/// A bar for one part of the work; gone when dropped.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    extent: Extent,
    started: Instant,
}

impl Progress {
    /// Shows an empty bar. On anything but a terminal nothing is ever shown.
    ///
    /// # Errors
    /// `Internal` where its template is wrong, which a test would show.
    pub(super) fn new(title: String, extent: Extent) -> Result<Self> {
        let length = match extent {
            Extent::Time(time) => milliseconds(time),
            Extent::Requests(requests) => requests,
        };
        let bar = ProgressBar::new(length).with_prefix(title);
        bar.set_style(ProgressStyle::with_template("{prefix} [{bar:30}] {msg}").map_err(Error::internal)?);
        bar.tick();
        Ok(Self { bar, extent, started: Instant::now() })
    }

    /// Shows how far it is, with `done` requests answered.
    pub(super) fn show(&self, done: u64) {
        self.bar.set_position(match self.extent {
            Extent::Time(_) => milliseconds(self.started.elapsed()),
            Extent::Requests(_) => done,
        });
        let rate = done as f64 / self.started.elapsed().as_secs_f64();
        self.bar.set_message(format!("{done} requests, {rate:.0}/s"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_can_be_made_and_shown() {
        let progress = Progress::new("8 connections".to_owned(), Extent::Requests(10)).unwrap();
        progress.show(5);
        assert_eq!(progress.bar.position(), 5);
    }
}
