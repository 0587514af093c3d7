//! One value of JSON to one element: the rules by which numbers convert, losslessly or not at all.

use bytes::Bytes;
use half::{bf16, f16};

use crate::{
    error,
    json::{fault::Fault, float, number::Decimal, reader::Reader, skip},
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// An element that can be read from JSON; `bool` is BOOL and [`Bytes`] is BYTES.
pub trait ReadElement: Clone + Default + 'static {
    /// The element type this is.
    const DATA_TYPE: DataType;

    /// Reads one value.
    ///
    /// # Errors
    /// A fault of value where it is of another kind, not whole for an integer, or out of range.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault>;

    /// Puts elements together, without copying them.
    ///
    /// # Errors
    /// Those of [`Tensor::from_vec`].
    fn into_tensor(shape: Shape, values: Vec<Self>) -> error::Result<Tensor>;
}

/// Says what is expected for an element type: `a number for FP32`.
pub fn expected(data_type: DataType) -> String {
    match data_type {
        DataType::Bool => "true or false for BOOL".to_owned(),
        DataType::Bytes => "a string for BYTES".to_owned(),
        float if float.is_float() => format!("a number for {float}"),
        integer => format!("a whole number for {integer}"),
    }
}

/// Runs `$body` with the type `$element` being the Rust type of `$data_type`.
macro_rules! with_element {
    ($data_type:expr, $element:ident => $body:expr) => {{
        use $crate::tensor::data_type::DataType;
        match $data_type {
            DataType::Bool => {
                type $element = bool;
                $body
            }
            DataType::Uint8 => {
                type $element = u8;
                $body
            }
            DataType::Uint16 => {
                type $element = u16;
                $body
            }
            DataType::Uint32 => {
                type $element = u32;
                $body
            }
            DataType::Uint64 => {
                type $element = u64;
                $body
            }
            DataType::Int8 => {
                type $element = i8;
                $body
            }
            DataType::Int16 => {
                type $element = i16;
                $body
            }
            DataType::Int32 => {
                type $element = i32;
                $body
            }
            DataType::Int64 => {
                type $element = i64;
                $body
            }
            DataType::Fp16 => {
                type $element = half::f16;
                $body
            }
            DataType::Bf16 => {
                type $element = half::bf16;
                $body
            }
            DataType::Fp32 => {
                type $element = f32;
                $body
            }
            DataType::Fp64 => {
                type $element = f64;
                $body
            }
            DataType::Bytes => {
                type $element = bytes::Bytes;
                $body
            }
        }
    }};
}
pub(crate) use with_element;

macro_rules! read_numbers {
    ($read:ident: $($rust:ty => $data_type:ident),+ $(,)?) => {
        $(impl ReadElement for $rust {
            const DATA_TYPE: DataType = DataType::$data_type;

            #[inline(always)]
            fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
                $read(reader)
            }

            fn into_tensor(shape: Shape, values: Vec<Self>) -> error::Result<Tensor> {
                Tensor::from_vec(shape, values)
            }
        })+
    };
}

read_numbers! { read_float: f16 => Fp16, bf16 => Bf16, f32 => Fp32, f64 => Fp64 }
read_numbers! { read_integer:
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
}

impl ReadElement for bool {
    const DATA_TYPE: DataType = DataType::Bool;

    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        reader.peek();
        if reader.take_word("true") {
            return Ok(true);
        }
        match reader.take_word("false") {
            true => Ok(false),
            false => Err(reader.mismatch(&expected(Self::DATA_TYPE))),
        }
    }

    fn into_tensor(shape: Shape, values: Vec<Self>) -> error::Result<Tensor> {
        Tensor::from_bools(shape, values)
    }
}

impl ReadElement for Bytes {
    const DATA_TYPE: DataType = DataType::Bytes;

    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        if reader.peek() != b'"' {
            return Err(reader.mismatch(&expected(Self::DATA_TYPE)));
        }
        let raw = reader.raw_string()?;
        let text = raw.decode()?;
        Ok(match raw.place() {
            Some(place) => reader.shared().slice(place),
            None => Self::copy_from_slice(text.as_bytes()),
        })
    }

    fn into_tensor(shape: Shape, values: Vec<Self>) -> error::Result<Tensor> {
        Tensor::from_strings(shape, values)
    }
}

/// A float type: how a number becomes one, and what JSON has no numbers for.
trait Float: ReadElement + Copy {
    const NAN: Self;
    const INFINITY: Self;
    const NEGATIVE_INFINITY: Self;

    fn nearest(decimal: &Decimal<'_>) -> Self;
    fn is_infinite(self) -> bool;
}

macro_rules! floats {
    ($($rust:ty: $nearest:path),+ $(,)?) => {
        $(impl Float for $rust {
            const NAN: Self = <$rust>::NAN;
            const INFINITY: Self = <$rust>::INFINITY;
            const NEGATIVE_INFINITY: Self = <$rust>::NEG_INFINITY;

            #[inline]
            fn nearest(decimal: &Decimal<'_>) -> Self {
                $nearest(decimal)
            }

            #[inline]
            fn is_infinite(self) -> bool {
                <$rust>::is_infinite(self)
            }
        })+
    };
}

floats! { f16: float::nearest, bf16: float::nearest, f32: float::nearest, f64: float::nearest_f64 }

#[inline(always)]
fn read_float<F: Float>(reader: &mut Reader<'_>) -> Result<F, Fault> {
    reader.peek();
    match reader.short_decimal() {
        Some(decimal) => round(&decimal),
        None => read_float_slow(reader),
    }
}

#[inline(never)]
fn read_float_slow<F: Float>(reader: &mut Reader<'_>) -> Result<F, Fault> {
    if reader.byte() == b'-' && reader.take_word("-Infinity") {
        return Ok(F::NEGATIVE_INFINITY);
    }
    if matches!(reader.byte(), b'-' | b'0'..=b'9') {
        return round(&reader.long_decimal()?);
    }
    // A missing value is NaN to every model that knows missing values.
    if reader.take_word("null") || reader.take_word("NaN") {
        return Ok(F::NAN);
    }
    match reader.take_word("Infinity") {
        true => Ok(F::INFINITY),
        false => Err(reader.mismatch(&expected(F::DATA_TYPE))),
    }
}

#[inline(always)]
fn round<F: Float>(decimal: &Decimal<'_>) -> Result<F, Fault> {
    let value = F::nearest(decimal);
    match value.is_infinite() {
        false => Ok(value),
        true => Err(out_of_range(decimal, F::DATA_TYPE)),
    }
}

#[inline]
fn read_integer<I: ReadElement + TryFrom<i128>>(reader: &mut Reader<'_>) -> Result<I, Fault> {
    reader.peek();
    let decimal = match reader.short_decimal() {
        Some(decimal) => decimal,
        None if matches!(reader.byte(), b'-' | b'0'..=b'9') && !reader.is_word("-Infinity") => reader.long_decimal()?,
        None => return Err(reader.mismatch(&expected(I::DATA_TYPE))),
    };
    let magnitude = match decimal.exponent {
        0 if decimal.whole => decimal.digits,
        _ => whole_number(&decimal, I::DATA_TYPE)?,
    };
    let value = if decimal.negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    I::try_from(value).map_err(|_| out_of_range(&decimal, I::DATA_TYPE))
}

/// Returns the magnitude of a number that is whole however it is written, as `3.0` and `3e0` are.
#[inline(never)]
fn whole_number(decimal: &Decimal<'_>, data_type: DataType) -> Result<u64, Fault> {
    let power = decimal.exponent.unsigned_abs().try_into().ok().and_then(|power| 10_u64.checked_pow(power));
    if let Some(power) = power.filter(|_| decimal.whole) {
        if decimal.exponent >= 0 {
            return decimal.digits.checked_mul(power).ok_or_else(|| out_of_range(decimal, data_type));
        }
        return match decimal.digits % power {
            0 => Ok(decimal.digits / power),
            _ => Err(not_whole(decimal, data_type)),
        };
    }
    let (digits, exponent) = decimal.significant();
    let places = exponent.saturating_add(1);
    match usize::try_from(places) {
        _ if digits.is_empty() => Ok(0),
        Ok(places) if places < digits.len() => Err(not_whole(decimal, data_type)),
        Err(_) => Err(not_whole(decimal, data_type)),
        Ok(places) => {
            let digits = digits.iter().map(|digit| u64::from(digit - b'0')).chain(std::iter::repeat(0));
            let magnitude = digits
                .take(places.min(21))
                .try_fold(0_u64, |magnitude, digit| magnitude.checked_mul(10)?.checked_add(digit));
            magnitude.ok_or_else(|| out_of_range(decimal, data_type))
        }
    }
}

#[cold]
fn not_whole(decimal: &Decimal<'_>, data_type: DataType) -> Fault {
    Fault::value(format!("expected {}, but got {}", expected(data_type), shown(decimal)))
}

#[cold]
fn out_of_range(decimal: &Decimal<'_>, data_type: DataType) -> Fault {
    Fault::value(format!("expected {}, but {} is out of range for {data_type}", expected(data_type), shown(decimal)))
}

fn shown(decimal: &Decimal<'_>) -> String {
    skip::shortened(&String::from_utf8_lossy(decimal.text))
}
