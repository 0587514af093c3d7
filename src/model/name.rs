//! Names and versions of models, parsed once at the edge.

use std::{borrow::Borrow, fmt, num::NonZeroU64, str::FromStr, sync::Arc};

use crate::error::Error;

/// The longest name a model may have, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// A model's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(Arc<str>);

impl ModelName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the valid name that is most like `text`, by which a model whose name is not valid can be spoken of.
    pub fn nearest(text: &str) -> Self {
        let replaced = text.chars().map(|c| if is_ok_inside(c) { c } else { '-' });
        let name: String = replaced.skip_while(|c| !c.is_ascii_alphanumeric()).take(MAX_NAME_BYTES).collect();
        Self(if name.is_empty() { "unnamed".into() } else { name.into() })
    }

    /// Returns the nearest valid name to `text` that is not taken: it is numbered from 2 where others have it.
    pub fn nearest_free(text: &str, is_taken: impl Fn(&Self) -> bool) -> Self {
        let nearest = Self::nearest(text);
        let mut free = nearest.clone();
        let mut number = 2_u64;
        while is_taken(&free) {
            let suffix = format!("-{number}");
            let kept = nearest.0.len().min(MAX_NAME_BYTES - suffix.len());
            free = Self(format!("{}{suffix}", &nearest.0[..kept]).into());
            number += 1;
        }
        free
    }
}

fn is_ok_inside(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && name.len() <= MAX_NAME_BYTES && name.chars().all(is_ok_inside) {
            return Ok(Self(name.into()));
        }
        Err(Error::invalid(format!(
            "{name:?} is not a model name: expected a letter or digit, then up to 127 letters, digits, dots, underscores and hyphens"
        )))
    }
}

impl Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A model's version: a positive integer. Versions order by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelVersion(NonZeroU64);

impl ModelVersion {
    /// The version of a model that is a bare file.
    pub const ONE: Self = Self(NonZeroU64::MIN);

    /// Returns version `number`, or `None` for 0.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    pub fn number(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for ModelVersion {
    type Err = Error;

    /// Parses decimal digits without sign or leading zero.
    fn from_str(version: &str) -> Result<Self, Error> {
        let digits = !version.starts_with('0') && version.bytes().all(|byte| byte.is_ascii_digit());
        match version.parse() {
            Ok(number) if digits => Ok(Self(number)),
            _ => Err(Error::invalid(format!(
                "{version:?} is not a version: expected a positive integer without leading zeros"
            ))),
        }
    }
}

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_or_labels_of_trouble_are_refused() {
        for good in ["iris", "a", "0", "resnet-50.v1_x", &"a".repeat(128)] {
            assert_eq!(good.parse::<ModelName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "é", "a\0", &"a".repeat(129)] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_name_has_a_valid_one_near_it() {
        for (text, nearest) in [("iris", "iris"), ("my model (2)", "my-model--2-"), ("_é", "unnamed"), ("", "unnamed")]
        {
            assert_eq!(ModelName::nearest(text).as_str(), nearest);
            assert!(nearest.parse::<ModelName>().is_ok());
        }
    }

    #[test]
    fn a_name_that_is_taken_is_numbered() {
        let taken = ["a-b", "a-b-2"];
        let free = ModelName::nearest_free("a b", |name| taken.contains(&name.as_str()));
        assert_eq!(free.as_str(), "a-b-3");
        let long = "é".repeat(3) + &"a".repeat(200);
        let free = ModelName::nearest_free(&long, |name| !name.as_str().ends_with("-2"));
        assert_eq!(free.as_str().parse::<ModelName>().unwrap(), free);
    }

    #[test]
    fn versions_are_positive_integers_and_order_by_number() {
        let version = |text: &str| text.parse::<ModelVersion>();
        assert!(version("10").unwrap() > version("9").unwrap());
        for bad in ["0", "01", "+1", "-1", "1.0", "", "v1", "99999999999999999999"] {
            assert!(version(bad).is_err(), "{bad:?}");
        }
    }
}
