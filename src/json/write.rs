//! Tensors, numbers and strings to JSON. What JSON has no number for leaves as `null`, which is always valid, or as the
//! tokens that some protocols have for it.
//!
//! Numbers leave with the fewest digits that read back to the same element, integers with all of theirs.

use std::{convert::Infallible, str};

use bytes::Bytes;
use half::{bf16, f16};

use crate::{
    error::{Error, Result},
    json::base64::write_base64,
    tensor::{data_type::DataType, tensor::Tensor},
};

/// Room that a number with the comma after it usually needs.
const USUAL_ELEMENT_BYTES: usize = 12;

/// What writing a number returns: nothing to look at after each.
const NEVER_FAILS: Result<(), Infallible> = Ok(());

/// How a protocol writes what there is more than one way to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Numbers that are not finite.
    pub not_finite: NotFinite,
    pub strings: Strings,
}

/// How elements of type BYTES are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strings {
    /// As text, which they must be.
    #[default]
    Text,
    Base64,
}

/// How a number that is not finite is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotFinite {
    #[default]
    Null,
    /// As `NaN`, `Infinity` or `-Infinity`: not JSON, but what Python's parser and many others read back.
    Token,
}

macro_rules! elements {
    ($($data_type:ident($rust:ty)),+ $(,)?) => {
        /// The elements of a tensor as what they are; BOOL is bytes 0 and 1.
        #[derive(Clone, Copy, Debug)]
        pub enum Elements<'a> {
            /// Bytes 0 and 1.
            Bool(&'a [u8]),
            Bytes(&'a [Bytes]),
            $(
                #[doc = concat!("Elements of type `", stringify!($rust), "`.")]
                $data_type(&'a [$rust]),
            )+
        }

        impl<'a> Elements<'a> {
            /// Looks at the elements of a tensor.
            pub fn of(tensor: &'a Tensor) -> Self {
                match tensor.data_type() {
                    DataType::Bool => Self::Bool(tensor.as_bools().unwrap_or_default()),
                    DataType::Bytes => Self::Bytes(tensor.as_strings().unwrap_or_default()),
                    $(DataType::$data_type => Self::$data_type(tensor.as_slice().unwrap_or_default()),)+
                }
            }

            /// Writes the element at `index`, which must be there.
            ///
            /// # Errors
            /// `InvalidArgument` where it is a string that is not UTF-8.
            #[inline]
            pub fn write(self, index: usize, buffer: &mut Vec<u8>) -> Result<()> {
                match self {
                    Self::Bool(values) => write_bool(buffer, values[index] != 0),
                    Self::Bytes(values) => return write_bytes(buffer, &values[index]),
                    $(Self::$data_type(values) => values[index].write(buffer),)+
                }
                Ok(())
            }

            /// Returns the number at `index`, which must be there, rounded to a double; `None` for a string.
            #[inline]
            pub fn double(self, index: usize) -> Option<f64> {
                match self {
                    Self::Bool(values) => Some(f64::from(values[index])),
                    Self::Bytes(_) => None,
                    $(Self::$data_type(values) => Some(values[index].to_double()),)+
                }
            }

            /// Returns the integer or BOOL at `index`, which must be there; `None` where it is something else or does not fit.
            #[inline]
            pub fn integer(self, index: usize) -> Option<i64> {
                match self {
                    Self::Bool(values) => Some(i64::from(values[index])),
                    Self::Bytes(_) => None,
                    $(Self::$data_type(values) => values[index].to_integer(),)+
                }
            }

            /// Writes the elements of a row, which must be there: lists nested as deep as `dims` is long, of so many elements.
            ///
            /// # Errors
            /// `InvalidArgument` where there is text that is not UTF-8.
            pub fn write_row(self, row: usize, dims: &[usize], buffer: &mut Vec<u8>, style: Style) -> Result<()> {
                let length: usize = dims.iter().product();
                let row = row * length..(row + 1) * length;
                match self {
                    Self::Bool(values) => Self::Bool(&values[row]).write_lists(dims, buffer, style),
                    Self::Bytes(values) => Self::Bytes(&values[row]).write_lists(dims, buffer, style),
                    $(Self::$data_type(values) => Self::$data_type(&values[row]).write_lists(dims, buffer, style),)+
                }
            }

            fn write_lists(self, dims: &[usize], buffer: &mut Vec<u8>, style: Style) -> Result<()> {
                match self {
                    Self::Bool(values) => {
                        let Ok(()) = write_lists(buffer, dims, values, &|buffer, value| {
                            write_bool(buffer, *value != 0);
                            NEVER_FAILS
                        });
                    }
                    Self::Bytes(values) => {
                        write_lists(buffer, dims, values, &|buffer, value| match style.strings {
                            Strings::Text => write_bytes(buffer, value),
                            Strings::Base64 => {
                                write_base64(buffer, value);
                                Ok(())
                            }
                        })?;
                    }
                    $(Self::$data_type(values) => {
                        let Ok(()) = write_lists(buffer, dims, values, &|buffer, value| {
                            value.write_as(buffer, style.not_finite);
                            NEVER_FAILS
                        });
                    })+
                }
                Ok(())
            }
        }
    };
}

elements! {
    Uint8(u8), Uint16(u16), Uint32(u32), Uint64(u64),
    Int8(i8), Int16(i16), Int32(i32), Int64(i64),
    Fp16(f16), Bf16(bf16), Fp32(f32), Fp64(f64),
}

/// A number that can be written.
pub trait Number {
    fn write_as(&self, buffer: &mut Vec<u8>, not_finite: NotFinite);

    /// Writes it, as `null` where it is not finite.
    #[inline]
    fn write(&self, buffer: &mut Vec<u8>) {
        self.write_as(buffer, NotFinite::Null);
    }

    /// Returns it as a double, rounded where it must be.
    fn to_double(&self) -> f64;

    /// Returns an integer that fits, and no float.
    fn to_integer(&self) -> Option<i64>;
}

macro_rules! write_integers {
    ($($rust:ty),+) => {
        $(impl Number for $rust {
            #[inline]
            fn write_as(&self, buffer: &mut Vec<u8>, _: NotFinite) {
                buffer.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }

            fn to_double(&self) -> f64 {
                *self as f64
            }

            fn to_integer(&self) -> Option<i64> {
                (*self).try_into().ok()
            }
        })+
    };
}

macro_rules! write_floats {
    ($($rust:ty),+) => {
        $(impl Number for $rust {
            #[inline]
            fn write_as(&self, buffer: &mut Vec<u8>, not_finite: NotFinite) {
                match self.is_finite() {
                    true => buffer.extend_from_slice(zmij::Buffer::new().format_finite(*self).as_bytes()),
                    false => write_not_finite(buffer, self.to_double(), not_finite),
                }
            }

            fn to_double(&self) -> f64 {
                f64::from(*self)
            }

            fn to_integer(&self) -> Option<i64> {
                None
            }
        })+
    };
}

write_integers! { u8, u16, u32, u64, i8, i16, i32, i64, usize }
write_floats! { f32, f64 }

macro_rules! write_halves {
    ($($rust:ty),+) => {
        $(impl Number for $rust {
            fn write_as(&self, buffer: &mut Vec<u8>, not_finite: NotFinite) {
                self.to_f32().write_as(buffer, not_finite);
            }

            fn to_double(&self) -> f64 {
                self.to_f64()
            }

            fn to_integer(&self) -> Option<i64> {
                None
            }
        })+
    };
}

write_halves! { f16, bf16 }

/// Writes a tensor as nested lists, row by row; a scalar as a single value.
///
/// # Errors
/// `InvalidArgument` where a string is not UTF-8, which JSON cannot carry.
pub fn write_tensor(buffer: &mut Vec<u8>, tensor: &Tensor) -> Result<()> {
    write_tensor_as(buffer, tensor, Style::default())
}

/// Writes a tensor as [`write_tensor`] does, in a protocol's own way.
///
/// # Errors
/// `InvalidArgument` where there is text that is not UTF-8.
pub fn write_tensor_as(buffer: &mut Vec<u8>, tensor: &Tensor, style: Style) -> Result<()> {
    buffer.reserve(tensor.len().saturating_mul(USUAL_ELEMENT_BYTES));
    Elements::of(tensor).write_lists(tensor.shape(), buffer, style)
}

/// Writes a tensor as one list, row by row, with tokens for what is not finite.
///
/// # Errors
/// `InvalidArgument` where a string is not UTF-8, which JSON cannot carry.
pub fn write_flat(buffer: &mut Vec<u8>, tensor: &Tensor) -> Result<()> {
    buffer.reserve(tensor.len().saturating_mul(USUAL_ELEMENT_BYTES));
    let style = Style { not_finite: NotFinite::Token, ..Style::default() };
    Elements::of(tensor).write_lists(&[tensor.len()], buffer, style)
}

#[cold]
fn write_not_finite(buffer: &mut Vec<u8>, value: f64, not_finite: NotFinite) {
    buffer.extend_from_slice(match not_finite {
        NotFinite::Null => b"null",
        NotFinite::Token if value.is_nan() => b"NaN",
        NotFinite::Token if value > 0.0 => b"Infinity",
        NotFinite::Token => b"-Infinity",
    });
}

pub fn write_bool(buffer: &mut Vec<u8>, value: bool) {
    buffer.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Writes a string in quotes, escaped.
pub fn write_string(buffer: &mut Vec<u8>, text: &str) {
    const HEXADECIMAL: [u8; 16] = *b"0123456789abcdef";
    buffer.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(length) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        buffer.extend_from_slice(&rest[..length]);
        match rest[length] {
            b'\n' => buffer.extend_from_slice(b"\\n"),
            b'\r' => buffer.extend_from_slice(b"\\r"),
            b'\t' => buffer.extend_from_slice(b"\\t"),
            special @ (b'"' | b'\\') => buffer.extend_from_slice(&[b'\\', special]),
            control => {
                buffer.extend_from_slice(b"\\u00");
                buffer.push(HEXADECIMAL[usize::from(control >> 4)]);
                buffer.push(HEXADECIMAL[usize::from(control & 15)]);
            }
        }
        rest = &rest[length + 1..];
    }
    buffer.extend_from_slice(rest);
    buffer.push(b'"');
}

/// Writes an element of type BYTES.
fn write_bytes(buffer: &mut Vec<u8>, value: &[u8]) -> Result<()> {
    let text = str::from_utf8(value).map_err(|error| {
        Error::invalid(format!(
            "expected a string that is UTF-8, as JSON needs, but got {} bytes that are not from byte {}",
            value.len(),
            error.valid_up_to()
        ))
    })?;
    write_string(buffer, text);
    Ok(())
}

/// Writes `values` as lists nested as deep as there are `dims`. The recursion is as deep as the tensor's rank.
fn write_lists<T, E>(
    buffer: &mut Vec<u8>,
    dims: &[usize],
    values: &[T],
    write: &impl Fn(&mut Vec<u8>, &T) -> Result<(), E>,
) -> Result<(), E> {
    let Some((size, inner)) = dims.split_first() else {
        return values.first().map_or(Ok(()), |value| write(buffer, value));
    };
    buffer.push(b'[');
    if inner.is_empty() {
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                buffer.push(b',');
            }
            write(buffer, value)?;
        }
    } else {
        let length = values.len() / (*size).max(1);
        for index in 0..*size {
            if index > 0 {
                buffer.push(b',');
            }
            write_lists(buffer, inner, &values[index * length..(index + 1) * length], write)?;
        }
    }
    buffer.push(b']');
    Ok(())
}
