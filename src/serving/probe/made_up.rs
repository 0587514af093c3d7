//! Made-up rows: tame ones, on which most models run, and hostile ones, on which rows would show that they meet.

use fastrand::Rng;
use half::{bf16, f16};

use crate::{
    error::{Error, Result},
    model::signature::{Signature, TensorSpec},
    request::Tensors,
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// The most elements of a made-up input.
const MAX_ELEMENTS: usize = 1 << 26;
/// The length of a long text, in bytes.
const LONG_TEXT: usize = 4096;

/// What the elements of a row are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Floats in [0, 1), integers 0 and 1 (they may be indices), words.
    Tame,
    /// Floats of 1e-30 and either sign, the integer 0, empty texts.
    Tiny,
    /// Floats of 1e3 and either sign, integers of 7 bits and either sign, texts of several words.
    Large,
    /// Floats of 1e30 and either sign, integers over their whole range, long texts.
    Huge,
    /// NaN among tame floats, the least integer, texts of other alphabets.
    Nan,
    /// Infinities among tame floats, the greatest integer.
    Infinite,
    Zero,
}

pub(super) const HOSTILE: [Manner; 6] =
    [Manner::Tiny, Manner::Large, Manner::Huge, Manner::Nan, Manner::Infinite, Manner::Zero];

/// Makes up one row: axis 0 is 1 where it is open, other open dimensions are of `size`.
pub(super) fn single(signature: &Signature, size: usize, manner: Manner, rng: &mut Rng) -> Result<Tensors> {
    signature.inputs.iter().map(|input| made_up(input, size, manner, rng)).collect()
}

/// Puts rows together, in their order.
pub(super) fn stack(rows: &[&Tensors]) -> Result<Tensors> {
    let inputs = rows.first().map_or(0, |row| row.len());
    (0..inputs).map(|index| Tensor::concat(&rows.iter().map(|row| &row[index]).collect::<Vec<_>>())).collect()
}

fn made_up(input: &TensorSpec, size: usize, manner: Manner, rng: &mut Rng) -> Result<Tensor> {
    let dims = input.dims.iter().flatten().enumerate();
    let shape: Shape = dims.map(|(axis, dim)| dim.fixed().unwrap_or(if axis == 0 { 1 } else { size })).collect();
    let count = shape.element_count().filter(|count| *count <= MAX_ELEMENTS);
    let count = count.ok_or_else(|| Error::invalid(format!("{shape} is too large to make up")))?;
    macro_rules! floats {
        ($from:expr) => {
            Tensor::from_vec(shape, (0..count).map(|_| $from(float(manner, rng))).collect())
        };
    }
    macro_rules! integers {
        ($integer:ty) => {
            Tensor::from_vec(
                shape,
                (0..count)
                    .map(|_| match manner {
                        Manner::Tame => rng.u8(0..2) as $integer,
                        Manner::Tiny | Manner::Zero => 0,
                        Manner::Large => rng.i8(..) as $integer,
                        Manner::Huge => rng.u64(..) as $integer,
                        Manner::Nan => <$integer>::MIN,
                        Manner::Infinite => <$integer>::MAX,
                    })
                    .collect(),
            )
        };
    }
    #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
    match input.data_type {
        DataType::Bool => Tensor::from_bools(shape, (0..count).map(|_| rng.bool()).collect()),
        DataType::Bytes => Tensor::from_strings(shape, (0..count).map(|_| text(manner, rng).into()).collect()),
        DataType::Uint8 => integers!(u8),
        DataType::Uint16 => integers!(u16),
        DataType::Uint32 => integers!(u32),
        DataType::Uint64 => integers!(u64),
        DataType::Int8 => integers!(i8),
        DataType::Int16 => integers!(i16),
        DataType::Int32 => integers!(i32),
        DataType::Int64 => integers!(i64),
        DataType::Fp16 => floats!(f16::from_f64),
        DataType::Bf16 => floats!(bf16::from_f64),
        DataType::Fp32 => floats!(|value: f64| value as f32),
        DataType::Fp64 => floats!(|value: f64| value),
    }
}

fn float(manner: Manner, rng: &mut Rng) -> f64 {
    let signed = |rng: &mut Rng| rng.f64() * 2.0 - 1.0;
    let among = |special: f64, rng: &mut Rng| match rng.u8(0..4) {
        0 => special,
        1 => -special,
        _ => rng.f64(),
    };
    match manner {
        Manner::Tame => rng.f64(),
        Manner::Tiny => signed(rng) * 1e-30,
        Manner::Large => signed(rng) * 1e3,
        Manner::Huge => signed(rng) * 1e30,
        Manner::Nan => among(f64::NAN, rng),
        Manner::Infinite => among(f64::INFINITY, rng),
        Manner::Zero => 0.0,
    }
}

fn text(manner: Manner, rng: &mut Rng) -> String {
    const WORDS: [&str; 6] = ["a", "row", "of", "made", "up", "words"];
    let mut word = || WORDS[rng.usize(..WORDS.len())];
    match manner {
        Manner::Tame | Manner::Infinite => word().to_owned(),
        Manner::Tiny | Manner::Zero => String::new(),
        Manner::Large => [word(), word(), word(), word(), word()].join(" "),
        Manner::Huge => word().repeat(LONG_TEXT / 2),
        Manner::Nan => "ЖÄ字🙂 ".to_owned() + word(),
    }
}
