//! What the bench programs share: reading `--name value` arguments, and percentiles.

use std::{env, error::Error, str::FromStr};

/// An error that is only printed.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Returns the value of `--name`.
///
/// # Errors
/// Names the argument that is absent, or that cannot be read.
pub fn argument<T: FromStr>(name: &str) -> Result<T, Failure> {
    let flag = format!("--{name}");
    let value =
        env::args().skip_while(|argument| *argument != flag).nth(1).ok_or_else(|| format!("{flag} is missing"))?;
    value.parse().map_err(|_| format!("{flag} {value}: cannot be read").into())
}

/// Returns the value below which `share` (0 to 1) of the ascending `sorted` values are; 0 if there are none.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}
