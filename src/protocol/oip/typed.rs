//! Values as lists of a wider type, as gRPC's `InferTensorContents` has them: narrowed without loss or refused.

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    protocol::oip::inputs::DeclaredInput,
    tensor::{
        data_type::DataType,
        tensor::{Element, Tensor},
    },
};

/// The values of an input, in the list that its element type has.
#[derive(Debug)]
pub enum Contents {
    Bool(Vec<bool>),
    Int(Vec<i32>),
    Int64(Vec<i64>),
    Uint(Vec<u32>),
    Uint64(Vec<u64>),
    Fp32(Vec<f32>),
    Fp64(Vec<f64>),
    /// BYTES.
    Bytes(Vec<Bytes>),
}

impl DeclaredInput<'_> {
    /// Makes the tensor of typed values; those of a type's own width are not copied.
    ///
    /// # Errors
    /// `InvalidArgument` where they are not as many as the shape says, of another type's list, or out of range.
    pub fn typed(&self, contents: Contents) -> Result<Tensor> {
        let got = contents.len();
        if got != self.count() {
            return Err(Error::invalid(format!(
                "input '{}': expected {} values for its shape, but got {got}",
                self.name(),
                self.count()
            )));
        }
        let shape = self.shape().clone();
        match (self.data_type(), contents) {
            (DataType::Bool, Contents::Bool(values)) => Tensor::from_bools(shape, values),
            (DataType::Bytes, Contents::Bytes(values)) => Tensor::from_strings(shape, values),
            (DataType::Int8, Contents::Int(values)) => self.narrow::<i8, _>(values),
            (DataType::Int16, Contents::Int(values)) => self.narrow::<i16, _>(values),
            (DataType::Int32, Contents::Int(values)) => Tensor::from_vec(shape, values),
            (DataType::Int64, Contents::Int64(values)) => Tensor::from_vec(shape, values),
            (DataType::Uint8, Contents::Uint(values)) => self.narrow::<u8, _>(values),
            (DataType::Uint16, Contents::Uint(values)) => self.narrow::<u16, _>(values),
            (DataType::Uint32, Contents::Uint(values)) => Tensor::from_vec(shape, values),
            (DataType::Uint64, Contents::Uint64(values)) => Tensor::from_vec(shape, values),
            (DataType::Fp32, Contents::Fp32(values)) => Tensor::from_vec(shape, values),
            (DataType::Fp64, Contents::Fp64(values)) => Tensor::from_vec(shape, values),
            (data_type, contents) => Err(Error::invalid(format!(
                "input '{}': {data_type} does not travel in {}; {}",
                self.name(),
                contents.name(),
                where_it_travels(data_type)
            ))),
        }
    }

    fn narrow<T: Element + TryFrom<S>, S: Copy + std::fmt::Display>(&self, values: Vec<S>) -> Result<Tensor> {
        let narrow = |value: S| {
            T::try_from(value).map_err(|_| {
                Error::invalid(format!("input '{}': {value} is out of range for {}", self.name(), T::DATA_TYPE))
            })
        };
        Tensor::from_vec(self.shape().clone(), values.into_iter().map(narrow).collect::<Result<_>>()?)
    }
}

impl Contents {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Int64(values) => values.len(),
            Self::Uint(values) => values.len(),
            Self::Uint64(values) => values.len(),
            Self::Fp32(values) => values.len(),
            Self::Fp64(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool_contents",
            Self::Int(_) => "int_contents",
            Self::Int64(_) => "int64_contents",
            Self::Uint(_) => "uint_contents",
            Self::Uint64(_) => "uint64_contents",
            Self::Fp32(_) => "fp32_contents",
            Self::Fp64(_) => "fp64_contents",
            Self::Bytes(_) => "bytes_contents",
        }
    }
}

fn where_it_travels(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "expected bool_contents",
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "expected int_contents",
        DataType::Int64 => "expected int64_contents",
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 => "expected uint_contents",
        DataType::Uint64 => "expected uint64_contents",
        DataType::Fp32 => "expected fp32_contents",
        DataType::Fp64 => "expected fp64_contents",
        DataType::Bytes => "expected bytes_contents",
        DataType::Fp16 | DataType::Bf16 => "expected it in raw_input_contents",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::signature::{Dim, Signature, TensorSpec},
        protocol::oip::inputs::{Inputs, Target},
    };

    fn typed(data_type: DataType, contents: Contents) -> Result<Tensor> {
        let spec = TensorSpec { name: "x".into(), data_type, dims: Some(vec![Dim::Fixed(2)]) };
        let signature = Signature { inputs: vec![spec], outputs: Vec::new() };
        let mut inputs = Inputs::new(Target { name: "m", signature: &signature });
        inputs.declare("x", data_type.name(), [2])?.typed(contents)
    }

    #[test]
    fn narrow_types_ride_in_wide_lists() {
        let tensor = typed(DataType::Int8, Contents::Int(vec![-128, 127])).unwrap();
        assert_eq!(tensor.as_slice::<i8>().unwrap(), [-128, 127]);
        let tensor = typed(DataType::Uint16, Contents::Uint(vec![0, 65535])).unwrap();
        assert_eq!(tensor.as_slice::<u16>().unwrap(), [0, 65535]);
        let tensor = typed(DataType::Bytes, Contents::Bytes(vec!["a\0".into(), "".into()])).unwrap();
        assert_eq!(tensor.as_strings().unwrap(), ["a\0", ""]);
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        let refuse = |data_type, contents| typed(data_type, contents).unwrap_err().to_string();
        assert_eq!(refuse(DataType::Int8, Contents::Int(vec![0, 300])), "input 'x': 300 is out of range for INT8");
        assert_eq!(
            refuse(DataType::Fp32, Contents::Fp32(vec![1.0])),
            "input 'x': expected 2 values for its shape, but got 1"
        );
        assert_eq!(
            refuse(DataType::Fp32, Contents::Fp64(vec![1.0; 2])),
            "input 'x': FP32 does not travel in fp64_contents; expected fp32_contents"
        );
        assert!(refuse(DataType::Fp16, Contents::Fp32(vec![1.0; 2])).ends_with("expected it in raw_input_contents"));
    }
}
