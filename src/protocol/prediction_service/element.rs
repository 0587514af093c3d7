//! One value of a message to one element: by the rules that JSON has too, losslessly or not at all.

use std::fmt;

use bytes::Bytes;
use half::{bf16, f16};

use crate::{
    error::{Error, Result},
    json::{
        element::{ReadElement, expected},
        skip::shortened,
    },
    protocol::proto::onnxd_v1::{Value, value::Kind},
};

/// A value of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Number(f64),
    /// One of `named` or `values`.
    Value(&'a Value),
}

/// An element that a value can become; `None` where it cannot.
pub(super) trait FromCell: ReadElement {
    fn from_number(_number: f64) -> Option<Self> {
        None
    }

    fn from_integer(_integer: i64) -> Option<Self> {
        None
    }

    fn from_text(_text: &str) -> Option<Self> {
        None
    }

    fn from_flag(_flag: bool) -> Option<Self> {
        None
    }

    /// Converts a value.
    ///
    /// # Errors
    /// `InvalidArgument` saying what was expected and what came.
    fn from_cell(cell: Cell<'_>) -> Result<Self> {
        let element = match cell {
            Cell::Number(number) => Self::from_number(number),
            Cell::Value(value) => match &value.kind {
                Some(Kind::Number(number)) => Self::from_number(*number),
                Some(Kind::Integer(integer)) => Self::from_integer(*integer),
                Some(Kind::Text(text)) => Self::from_text(text),
                Some(Kind::Flag(flag)) => Self::from_flag(*flag),
                None => None,
            },
        };
        let misfit = || Error::invalid(format!("expected {}, but got {cell}", expected(Self::DATA_TYPE)));
        element.ok_or_else(misfit)
    }
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write_number(*number, f),
            Self::Value(value) => match &value.kind {
                Some(Kind::Number(number)) => write_number(*number, f),
                Some(Kind::Integer(integer)) => integer.fmt(f),
                Some(Kind::Text(text)) => write!(f, "{:?}", shortened(text)),
                Some(Kind::Flag(flag)) => flag.fmt(f),
                None => f.write_str("nothing"),
            },
        }
    }
}

/// Writes huge numbers with an exponent, as they would be typed.
fn write_number(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match number.abs() < 1e16 {
        true => write!(f, "{number}"),
        false => write!(f, "{number:?}"),
    }
}

macro_rules! floats {
    ($($rust:ty: $from_number:expr, $from_integer:expr;)+) => {
        $(impl FromCell for $rust {
            fn from_number(number: f64) -> Option<Self> {
                let nearest: $rust = $from_number(number);
                (nearest.is_infinite() == number.is_infinite()).then_some(nearest)
            }

            fn from_integer(integer: i64) -> Option<Self> {
                let nearest: $rust = $from_integer(integer);
                (!nearest.is_infinite()).then_some(nearest)
            }
        })+
    };
}

macro_rules! integers {
    ($($rust:ty),+) => {
        $(impl FromCell for $rust {
            fn from_number(number: f64) -> Option<Self> {
                whole(number)?.try_into().ok()
            }

            fn from_integer(integer: i64) -> Option<Self> {
                integer.try_into().ok()
            }
        })+
    };
}

floats! {
    f64: |number| number, |integer| integer as f64;
    f32: to_f32, |integer| integer as f32;
    f16: f16::from_f64, |integer| f16::from_f64(integer as f64);
    bf16: bf16::from_f64, |integer| bf16::from_f64(integer as f64);
}
integers! { u8, u16, u32, u64, i8, i16, i32, i64 }

impl FromCell for bool {
    fn from_flag(flag: bool) -> Option<Self> {
        Some(flag)
    }
}

impl FromCell for Bytes {
    fn from_text(text: &str) -> Option<Self> {
        Some(Self::copy_from_slice(text.as_bytes()))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest, as a number in JSON is rounded")]
fn to_f32(number: f64) -> f32 {
    number as f32
}

/// Returns a number that has no fraction.
#[expect(clippy::cast_possible_truncation, reason = "larger than any integer type stays so")]
fn whole(number: f64) -> Option<i128> {
    (number.fract() == 0.0).then_some(number as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number<T: FromCell>(number: f64) -> Option<T> {
        T::from_cell(Cell::Number(number)).ok()
    }

    #[test]
    fn numbers_convert_without_loss_or_not_at_all() {
        assert_eq!(number::<f32>(5.1), Some(5.1));
        assert!(number::<f32>(f64::NAN).is_some_and(f32::is_nan));
        assert_eq!(number::<f32>(f64::INFINITY), Some(f32::INFINITY));
        assert_eq!(number::<f32>(1e300), None);
        assert_eq!(number::<f16>(1e5), None);
        assert_eq!(number::<i64>(3.0), Some(3));
        assert_eq!(number::<i64>(3.5), None);
        assert_eq!(number::<i64>(f64::NAN), None);
        assert_eq!(number::<i64>(9.3e18), None);
        assert_eq!(number::<u64>(1.8e19), Some(18_000_000_000_000_000_000));
        assert_eq!(number::<i8>(128.0), None);
        assert_eq!(number::<bool>(1.0), None);
        assert_eq!(number::<Bytes>(1.0), None);
    }

    #[test]
    fn a_misfit_says_what_was_expected_and_what_came() {
        let value = |kind| Value { kind: Some(kind) };
        let cell = |value: Value| f32::from_cell(Cell::Value(&value)).unwrap_err().to_string();
        assert_eq!(cell(value(Kind::Text("a".into()))), "expected a number for FP32, but got \"a\"");
        assert_eq!(cell(value(Kind::Flag(true))), "expected a number for FP32, but got true");
        assert_eq!(cell(Value::default()), "expected a number for FP32, but got nothing");
        let exact = i64::from_cell(Cell::Value(&value(Kind::Integer(i64::MAX))));
        assert_eq!(exact.unwrap(), i64::MAX);
    }
}
