//! What a model takes and gives: names, element types and dimensions.

use std::{fmt, sync::Arc};

use crate::{
    error::{Error, Result},
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// What a string takes beside its text: 32 bytes in a tensor, and 32 more in the runtime.
const STRING_ELEMENT_BYTES: usize = 64;

/// One dimension of a declared shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    Fixed(usize),
    /// Any size; the graph may have given it a name, such as `N`.
    Dynamic(Option<Arc<str>>),
}

/// A declared input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// The name in the graph.
    pub name: Arc<str>,
    pub data_type: DataType,
    /// The dimensions, or `None` where the graph declares not even the rank.
    pub dims: Option<Vec<Dim>>,
}

/// A class label, as a graph declares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClassLabel {
    Integer(i64),
    Text(Arc<str>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct OutputSpec {
    /// Name, element type and dimensions. A sequence of maps (ZipMap) is declared here as the FP32 `[-1, C]`
    /// tensor that the engine turns it into.
    pub tensor: TensorSpec,
    /// For a sequence of maps: its keys, in the order of the tensor's columns.
    pub map_keys: Option<Vec<ClassLabel>>,
}

/// Two dimensions of inputs that the graph gives one symbol, so that they have one size in every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedDim {
    pub symbol: Arc<str>,
    /// Input and axis that have it first.
    pub first: (usize, usize),
    /// Input and axis that have it again.
    pub again: (usize, usize),
}

/// The inputs and outputs of a model, in the graph's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signature {
    /// The inputs a request must give (initializers are not among them).
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<OutputSpec>,
}

impl Signature {
    /// Returns the index of the input of this name.
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|input| &*input.name == name)
    }

    /// Returns the index of the output of this name.
    pub fn output_index(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| &*output.tensor.name == name)
    }

    /// Returns the dimensions of inputs that repeat a symbol.
    pub fn shared_dims(&self) -> Vec<SharedDim> {
        let mut firsts: Vec<(&Arc<str>, (usize, usize))> = Vec::new();
        let mut shared = Vec::new();
        for (input, spec) in self.inputs.iter().enumerate() {
            for (axis, dim) in spec.dims.iter().flatten().enumerate() {
                let Dim::Dynamic(Some(symbol)) = dim else { continue };
                match firsts.iter().find(|(known, _)| *known == symbol) {
                    Some((_, first)) => {
                        shared.push(SharedDim { symbol: Arc::clone(symbol), first: *first, again: (input, axis) });
                    }
                    None => firsts.push((symbol, (input, axis))),
                }
            }
        }
        shared
    }

    /// Returns the memory that an element of the widest input takes in a tensor, in bytes.
    pub fn widest_element_bytes(&self) -> usize {
        let bytes_of = |input: &TensorSpec| input.data_type.size().unwrap_or(STRING_ELEMENT_BYTES);
        self.inputs.iter().map(bytes_of).max().unwrap_or(0)
    }

    /// Returns the inputs' names for a message: `"a", "b"`.
    pub fn input_names(&self) -> String {
        let names: Vec<_> = self.inputs.iter().map(|input| format!("{:?}", input.name)).collect();
        names.join(", ")
    }
}

impl OutputSpec {
    /// Tells whether the graph declares one element a row.
    pub fn declares_one_a_row(&self) -> bool {
        let dims = self.tensor.dims.as_deref();
        self.map_keys.is_none() && matches!(dims, Some([] | [_] | [_, Dim::Fixed(1)]))
    }
}

impl TensorSpec {
    /// Checks element type and shape of a value for this input.
    ///
    /// # Errors
    /// `InvalidArgument`: `input "image": expected FP32 [-1, 3, 224, 224], got FP32 [1, 224, 224, 3]`.
    pub fn check(&self, tensor: &Tensor) -> Result<()> {
        if tensor.data_type() == self.data_type && self.admits(tensor.shape()) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "input {:?}: expected {self}, got {} {}",
            self.name,
            tensor.data_type(),
            tensor.shape()
        )))
    }

    /// Tells whether a value of this shape fits the declared dimensions.
    pub fn admits(&self, shape: &Shape) -> bool {
        let Some(dims) = &self.dims else { return true };
        dims.len() == shape.len()
            && dims.iter().zip(shape.iter()).all(|(dim, size)| match dim {
                Dim::Fixed(fixed) => fixed == size,
                Dim::Dynamic(_) => true,
            })
    }

    /// Returns the declared rank, if there is one.
    pub fn rank(&self) -> Option<usize> {
        self.dims.as_ref().map(Vec::len)
    }

    /// Returns the dimensions as the Open Inference Protocol writes them: -1 for a dynamic one; `[]` for an unknown rank.
    pub fn protocol_dims(&self) -> Vec<i64> {
        self.dims.iter().flatten().map(Dim::protocol_value).collect()
    }
}

impl Dim {
    /// Returns the size, or `None` where it is dynamic.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(size) => Some(*size),
            Self::Dynamic(_) => None,
        }
    }

    fn protocol_value(&self) -> i64 {
        self.fixed().map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for TensorSpec {
    /// Writes `FP32 [-1, 4]`, or `FP32 of any shape`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.dims {
            Some(_) => write!(f, "{} {:?}", self.data_type, self.protocol_dims()),
            None => write!(f, "{} of any shape", self.data_type),
        }
    }
}

impl fmt::Display for ClassLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(label) => label.fmt(f),
            Self::Text(label) => f.write_str(label),
        }
    }
}
