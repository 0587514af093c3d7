//! Decimal to binary, correctly rounded: the nearest value of the element type itself, ties to even, never by way of a
//! wider type that has rounded already.
//!
//! Nearly every number is settled by one multiplication: `digits × 10^exponent` as a double is wrong by less than
//! one part in 2^51, so where both ends of that range round to the same element, that is the element. What is left
//! (numbers beside a halfway point, more than 19 digits, far exponents) goes through the standard library's parser.

use std::{
    cmp::Ordering,
    str::{self, FromStr},
};

use half::{bf16, f16};

use crate::json::{number::Decimal, reader::Reader};

/// One part in 2^50 less, and more: wider than the error of [`approximate`].
const BELOW: f64 = 1.0 - 1.0 / (1_u64 << 50) as f64;
const ABOVE: f64 = 1.0 + 1.0 / (1_u64 << 50) as f64;

/// The power of ten that [`POWERS`] begins with.
const LEAST_POWER: i64 = -64;

/// A float that a number can be rounded to.
pub(super) trait Round: Copy + PartialEq {
    /// Rounds once; right for a number that is exactly `value`, or on the same side of every halfway point.
    fn round(value: f64) -> Self;

    /// Rounds a number that [`approximate`] does not settle.
    fn settle(decimal: &Decimal<'_>) -> Self;
}

impl Round for f32 {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest is what is wanted")]
    fn round(value: f64) -> Self {
        value as Self
    }

    #[cold]
    fn settle(decimal: &Decimal<'_>) -> Self {
        parse(decimal)
    }
}

impl Round for f16 {
    fn round(value: f64) -> Self {
        Self::from_f32(round_to_odd(value))
    }

    #[cold]
    fn settle(decimal: &Decimal<'_>) -> Self {
        settle_half(decimal)
    }
}

impl Round for bf16 {
    fn round(value: f64) -> Self {
        Self::from_f32(round_to_odd(value))
    }

    #[cold]
    fn settle(decimal: &Decimal<'_>) -> Self {
        settle_half(decimal)
    }
}

/// Returns the nearest float of this type; infinite where it is out of range.
#[inline]
pub(super) fn nearest<F: Round>(decimal: &Decimal<'_>) -> F {
    if let Some(value) = approximate(decimal) {
        let (low, high) = (F::round(value * BELOW), F::round(value * ABOVE));
        if low == high {
            return low;
        }
    }
    F::settle(decimal)
}

/// Returns the nearest double; infinite where it is out of range.
#[inline]
pub(super) fn nearest_f64(decimal: &Decimal<'_>) -> f64 {
    const LARGEST_EXACT_POWER: i64 = 22;
    // Digits below 2^53 and powers of ten up to 22 are exact, so that one operation rounds once.
    if decimal.whole
        && decimal.digits < 1 << 53
        && (-LARGEST_EXACT_POWER..=LARGEST_EXACT_POWER).contains(&decimal.exponent)
    {
        let digits = decimal.digits as f64;
        let value = match decimal.exponent {
            exponent @ ..0 => digits / power_of_ten(-exponent),
            exponent => digits * power_of_ten(exponent),
        };
        return if decimal.negative { -value } else { value };
    }
    parse(decimal)
}

/// Returns the value to one part in 2^51, unless it is far out or has too many digits.
#[inline]
fn approximate(decimal: &Decimal<'_>) -> Option<f64> {
    let power = POWERS.get(usize::try_from(decimal.exponent.wrapping_sub(LEAST_POWER)).ok()?)?;
    // Signed, because that conversion is one instruction.
    let digits = i64::try_from(decimal.digits).ok().filter(|_| decimal.whole)?;
    let value = digits as f64 * power;
    Some(if decimal.negative { -value } else { value })
}

fn power_of_ten(exponent: i64) -> f64 {
    usize::try_from(exponent - LEAST_POWER).ok().and_then(|index| POWERS.get(index)).copied().unwrap_or(f64::NAN)
}

/// Settles a number for a 16-bit type by way of the double that is rounded to odd: neither it nor anything rounded
/// from it can lie on a halfway point that the number itself does not lie on.
fn settle_half<F: Round>(decimal: &Decimal<'_>) -> F {
    let value: f64 = parse(decimal);
    let (low, high) = (F::round(value * BELOW), F::round(value * ABOVE));
    if low == high {
        return low;
    }
    let bits = value.to_bits();
    let odd = match compare_magnitudes(decimal, value) {
        Ordering::Less if bits & 1 == 0 => bits - 1,
        Ordering::Greater if bits & 1 == 0 => bits + 1,
        _ => bits,
    };
    F::round(f64::from_bits(odd))
}

/// The standard library's parser, which rounds correctly.
#[cold]
fn parse<F: FromStr + Default>(decimal: &Decimal<'_>) -> F {
    // The text is a JSON number, which is a subset of what `parse` takes.
    str::from_utf8(decimal.text).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Narrows to a single of which the last bit says whether anything was lost: rounding it again is like rounding once.
#[expect(clippy::cast_possible_truncation, reason = "what is lost is put into the last bit")]
fn round_to_odd(value: f64) -> f32 {
    let single = value as f32;
    let lost = f64::from(single) - value;
    if lost == 0.0 || !value.is_finite() {
        return single;
    }
    let away = f64::from(single).abs() > value.abs();
    f32::from_bits((single.to_bits() - u32::from(away)) | 1)
}

/// Compares a number with `value`, both without their signs.
fn compare_magnitudes(decimal: &Decimal<'_>, value: f64) -> Ordering {
    // Enough places for the halfway points of the 16-bit types, which go down to 2^-134. Where more would be needed,
    // `value` lies on none of them, and either answer does.
    let exact = format!("{:.140e}", value.abs());
    let Ok(exact) = Reader::new(exact.as_bytes()).long_decimal() else {
        return Ordering::Equal;
    };
    let ((digits, exponent), (exact_digits, exact_exponent)) = (decimal.significant(), exact.significant());
    match (digits.is_empty(), exact_digits.is_empty()) {
        (false, false) => exponent.cmp(&exact_exponent).then_with(|| digits.cmp(&exact_digits)),
        (empty, exact_empty) => exact_empty.cmp(&empty),
    }
}

/// 10^-64 to 10^64, each correctly rounded.
#[rustfmt::skip]
static POWERS: [f64; 129] = [
    1e-64, 1e-63, 1e-62, 1e-61, 1e-60, 1e-59, 1e-58, 1e-57, 1e-56, 1e-55, 1e-54, 1e-53,
    1e-52, 1e-51, 1e-50, 1e-49, 1e-48, 1e-47, 1e-46, 1e-45, 1e-44, 1e-43, 1e-42, 1e-41,
    1e-40, 1e-39, 1e-38, 1e-37, 1e-36, 1e-35, 1e-34, 1e-33, 1e-32, 1e-31, 1e-30, 1e-29,
    1e-28, 1e-27, 1e-26, 1e-25, 1e-24, 1e-23, 1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17,
    1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5,
    1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7,
    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
    1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31,
    1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38, 1e39, 1e40, 1e41, 1e42, 1e43,
    1e44, 1e45, 1e46, 1e47, 1e48, 1e49, 1e50, 1e51, 1e52, 1e53, 1e54, 1e55,
    1e56, 1e57, 1e58, 1e59, 1e60, 1e61, 1e62, 1e63, 1e64,
];
