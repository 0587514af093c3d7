//! Numbers taken apart, eight digits at a time.

use crate::json::{fault::Fault, reader::Reader};

/// The most digits that always fit in a `u64`.
const MAX_DIGITS: usize = 19;
/// Past this an exponent is only known to be huge.
pub(super) const MAX_EXPONENT: i64 = 1 << 40;

const POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// A number as it was written: `±digits × 10^exponent`, and its text for what does not fit in that.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a> {
    /// Whether a minus sign stands before it.
    pub negative: bool,
    /// The digits before and after the point as one integer; meaningless unless `whole`.
    pub digits: u64,
    pub exponent: i64,
    /// Whether `digits` has all of them.
    pub whole: bool,
    /// The number as it was written.
    pub text: &'a [u8],
}

impl Decimal<'_> {
    /// Returns the significant digits, as text without leading or trailing zeros, and the power of ten of the first.
    pub(super) fn significant(&self) -> (Vec<u8>, i64) {
        let mantissa = self.text.split(|byte| byte | 0x20 == b'e').next().unwrap_or_default();
        let mut digits: Vec<u8> = mantissa.iter().filter(|byte| byte.is_ascii_digit()).copied().collect();
        let leading_zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading_zeros);
        let places = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        digits.truncate(digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1));
        (digits, self.exponent.saturating_add(places - 1))
    }
}

/// Eight bytes of text: the values of those that are digits, and a mark in the high bit of each that is not.
#[derive(Clone, Copy)]
struct Word {
    bytes: u64,
    values: u64,
    marks: u64,
}

impl Word {
    #[inline]
    fn new(bytes: u64) -> Self {
        let values = bytes ^ 0x3030_3030_3030_3030;
        let marks = (((values & 0x7f7f_7f7f_7f7f_7f7f) + 0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
        Self { bytes, values, marks }
    }

    /// Returns the integer that the digits in the first `bits` bits make, less than 64.
    #[inline]
    fn leading_digits(&self, bits: u32) -> u64 {
        // In two steps, because there may be no digits, and a shift by 64 is none.
        eight_digits(self.values << (63 - bits) << 1)
    }

    /// Returns the byte that begins at bit `shift`.
    #[inline]
    fn byte_at(&self, shift: u32) -> u8 {
        (self.bytes >> shift).to_le_bytes()[0]
    }
}

/// Returns the integer that eight digit values make, the first in the lowest byte.
#[inline]
fn eight_digits(values: u64) -> u64 {
    const MASK: u64 = 0x0000_00ff_0000_00ff;
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let low = (pairs & MASK).wrapping_mul(0x000f_4240_0000_0064);
    let high = (pairs >> 16 & MASK).wrapping_mul(0x0000_2710_0000_0001);
    low.wrapping_add(high) >> 32
}

impl<'a> Reader<'a> {
    /// Reads a number, by JSON's grammar to the letter.
    ///
    /// # Errors
    /// A fault of syntax where it is none.
    #[inline]
    pub fn decimal(&mut self) -> Result<Decimal<'a>, Fault> {
        match self.short_decimal() {
            Some(decimal) => Ok(decimal),
            None => self.long_decimal(),
        }
    }

    /// Reads a number as numbers mostly are: up to seven digits before the point, 19 in all, no exponent. Returns
    /// `None`, having read nothing, where something else stands next, which may be a number all the same.
    #[inline(always)]
    pub(super) fn short_decimal(&mut self) -> Option<Decimal<'a>> {
        let at = self.position + usize::from(self.byte() == b'-');
        let word = self.bytes.get(at..)?.first_chunk::<8>()?;
        self.decimal_in(at, Word::new(u64::from_le_bytes(*word)))
    }

    /// Reads a number whose digits begin at `at` with those of `word`.
    #[inline(always)]
    fn decimal_in(&mut self, at: usize, word: Word) -> Option<Decimal<'a>> {
        let start = self.position;
        // A mark is the highest bit of its byte, so 7 less is where the byte begins and the number of bits before it.
        let integer_bits = word.marks.trailing_zeros().wrapping_sub(7);
        if !(8..64 - 7).contains(&integer_bits) || (integer_bits > 8 && self.bytes[at] == b'0') {
            return None;
        }
        let (packed, digit_bits, end_bits);
        if word.byte_at(integer_bits) == b'.' {
            end_bits = (word.marks & (word.marks - 1)).trailing_zeros().wrapping_sub(7);
            if word.marks & (word.marks - 1) == 0 {
                return self.long_fraction(start, at + integer_bits as usize / 8, word.leading_digits(integer_bits));
            }
            if end_bits < integer_bits + 16 {
                return None;
            }
            let integer = (1_u64 << integer_bits) - 1;
            packed = word.values & integer | word.values >> 8 & !integer;
            digit_bits = end_bits - 8;
        } else {
            packed = word.values;
            end_bits = integer_bits;
            digit_bits = integer_bits;
        }
        if word.byte_at(end_bits) | 0x20 == b'e' {
            return None;
        }
        self.position = at + end_bits as usize / 8;
        Some(Decimal {
            negative: at > start,
            digits: eight_digits(packed << (64 - digit_bits)),
            exponent: -i64::from((digit_bits - integer_bits) / 8),
            whole: true,
            text: &self.bytes[start..self.position],
        })
    }

    /// Reads the rest of a number from the point at `point`, whose fraction has at most 23 digits; `None` where it has more,
    /// or an exponent, or too many digits in all, or where the body ends too soon to tell.
    #[inline(always)]
    fn long_fraction(&mut self, start: usize, point: usize, integer: u64) -> Option<Decimal<'a>> {
        let fraction = self.bytes.get(point + 1..)?.first_chunk::<24>()?;
        let ([first, second, third], _) = fraction.as_chunks::<8>() else {
            return None;
        };
        let (mut digits, mut count, mut last) = (integer, 0, Word::new(u64::from_le_bytes(*first)));
        for next in [second, third] {
            if last.marks != 0 {
                break;
            }
            digits = digits.wrapping_mul(100_000_000).wrapping_add(eight_digits(last.values));
            count += 8;
            last = Word::new(u64::from_le_bytes(*next));
        }
        let bits = last.marks.trailing_zeros().wrapping_sub(7);
        if bits >= 64 - 7 || last.byte_at(bits) | 0x20 == b'e' {
            return None;
        }
        digits = digits.wrapping_mul(POWERS[(bits / 8) as usize & 7]).wrapping_add(last.leading_digits(bits));
        count += bits as usize / 8;
        let integer_digits = if integer == 0 { 0 } else { point - start };
        if integer_digits + count > MAX_DIGITS {
            return None;
        }
        self.position = point + 1 + count;
        let exponent = -i64::try_from(count).unwrap_or(0);
        let text = &self.bytes[start..self.position];
        Some(Decimal { negative: text[0] == b'-', digits, exponent, whole: true, text })
    }

    pub(super) fn long_decimal(&mut self) -> Result<Decimal<'a>, Fault> {
        let start = self.position;
        let negative = self.byte() == b'-';
        let first = start + usize::from(negative);
        // Near the end of the body there are no eight bytes to look at.
        if self.bytes.len() - first.min(self.bytes.len()) < 8
            && let Some(decimal) = self.decimal_in(first, Word::new(self.last_word(first)))
        {
            return Ok(decimal);
        }
        self.position = first;
        let (mut digits, mut exponent) = (0, 0);
        let mut count = self.digit_run(&mut digits)?;
        if count > 1 && self.bytes[first] == b'0' {
            return Err(Fault::syntax("a number that begins with 0", first));
        }
        if self.byte() == b'.' {
            self.position += 1;
            let fraction = self.digit_run(&mut digits)?;
            count += fraction;
            exponent = -i64::try_from(fraction).unwrap_or(i64::MAX);
        }
        let mantissa = &self.bytes[first..self.position];
        if self.byte() | 0x20 == b'e' {
            exponent += self.exponent()?;
        }
        let whole = count <= MAX_DIGITS || significant_digits(mantissa) <= MAX_DIGITS;
        Ok(Decimal { negative, digits, exponent, whole, text: &self.bytes[start..self.position] })
    }

    /// Reads digits, at least one, onto `digits` (wrapping where they are too many) and returns how many there were.
    #[inline]
    fn digit_run(&mut self, digits: &mut u64) -> Result<usize, Fault> {
        let start = self.position;
        loop {
            let word = Word::new(self.padded_word(self.position));
            if word.marks == 0 {
                *digits = digits.wrapping_mul(100_000_000).wrapping_add(eight_digits(word.values));
                self.position += 8;
                continue;
            }
            let bits = word.marks.trailing_zeros() - 7;
            let count = bits as usize / 8;
            if count > 0 {
                *digits = digits.wrapping_mul(POWERS[count & 7]).wrapping_add(word.leading_digits(bits));
                self.position += count;
            }
            return match self.position - start {
                0 => Err(self.unexpected("a digit")),
                count => Ok(count),
            };
        }
    }

    /// Reads `e` and what follows it.
    #[cold]
    fn exponent(&mut self) -> Result<i64, Fault> {
        self.position += 1;
        let negative = self.byte() == b'-';
        self.position += usize::from(negative || self.byte() == b'+');
        let first = self.position;
        let mut digits = 0;
        self.digit_run(&mut digits)?;
        let significant = significant_digits(&self.bytes[first..self.position]);
        let exponent = match significant > 12 {
            true => MAX_EXPONENT,
            false => i64::try_from(digits).unwrap_or(MAX_EXPONENT).min(MAX_EXPONENT),
        };
        Ok(if negative { -exponent } else { exponent })
    }

    /// Returns the eight bytes at `at`, with zeros after the end.
    #[inline]
    fn padded_word(&self, at: usize) -> u64 {
        match self.bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => self.last_word(at),
        }
    }

    #[inline(never)]
    fn last_word(&self, at: usize) -> u64 {
        let rest = self.bytes.get(at..).unwrap_or_default();
        match self.bytes.last_chunk::<8>() {
            Some(chunk) if !rest.is_empty() => u64::from_le_bytes(*chunk) >> (64 - 8 * rest.len()),
            _ => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        }
    }
}

/// Counts the digits from the first that is not 0.
#[cold]
fn significant_digits(mantissa: &[u8]) -> usize {
    mantissa.iter().filter(|byte| byte.is_ascii_digit()).skip_while(|byte| **byte == b'0').count()
}
