//! Values that come one a row, among the values of other inputs, put together along a new first axis.

use std::mem;

use smallvec::SmallVec;

use crate::{
    error::Result,
    json::{
        base64::TextOrBase64,
        element::{ReadElement, expected, with_element},
        fault::Fault,
        nested::{Nested, alike},
        reader::{Kind, Reader},
        sinks::{Misfit, Sink},
    },
    model::signature::{Dim, TensorSpec},
    request::{InputTensor, InputTensors},
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// One value a row for each input: of any shape, the same in every row.
///
/// An input `[N, 1]` takes `1` and `[1]` as its value, and so does an input `[N]`. A string may be `{"b64": "…"}`.
pub struct Stacks<'s> {
    specs: &'s [TensorSpec],
    stacks: SmallVec<[Box<dyn Stack>; 4]>,
}

impl<'s> Stacks<'s> {
    /// Makes an empty stack for each input.
    pub fn new(specs: &'s [TensorSpec]) -> Self {
        Self { specs, stacks: specs.iter().map(stack).collect() }
    }
}

impl Sink for Stacks<'_> {
    fn width(&self) -> Option<usize> {
        Some(self.specs.len())
    }

    fn expected(&self, column: usize) -> String {
        self.specs[column].to_string()
    }

    fn takes_positional(&self) -> bool {
        // Inputs are bound by name, never by position.
        self.specs.len() == 1
    }

    fn takes_scalars(&self) -> bool {
        false
    }

    fn read_positional(&mut self, reader: &mut Reader<'_>) -> Result<(), Misfit> {
        self.read_at(0, reader).map_err(|fault| Misfit { column: Some(0), fault })
    }

    fn begin_row(&mut self) {}

    #[inline]
    fn read_at(&mut self, column: usize, reader: &mut Reader<'_>) -> Result<(), Fault> {
        self.stacks[column].read(reader)
    }

    fn reserve_alike(&mut self, read_bytes: usize, remaining: usize) {
        for stack in &mut self.stacks {
            stack.reserve_alike(read_bytes, remaining);
        }
    }

    fn finish(&mut self, rows: usize, inputs: &mut InputTensors) -> Result<()> {
        for (spec, stack) in self.specs.iter().zip(mem::take(&mut self.stacks)) {
            let mut tensor = stack.finish(rows)?;
            // A scalar has no axis for rows: one row is it.
            if spec.rank() == Some(0) && rows == 1 && tensor.shape().len() == 1 {
                tensor = tensor.reshaped(Shape::new(&[]))?;
            }
            inputs.push(InputTensor { name: spec.name.clone(), tensor });
        }
        Ok(())
    }
}

/// The values of one input, of a type that is known only when a request comes.
trait Stack {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault>;

    fn reserve_alike(&mut self, read_bytes: usize, remaining: usize);

    fn finish(self: Box<Self>, rows: usize) -> Result<Tensor>;
}

fn stack(spec: &TensorSpec) -> Box<dyn Stack> {
    match spec.data_type {
        DataType::Bytes => Box::new(StackOf::<TextOrBase64>::new(spec)),
        other => with_element!(other, T => Box::new(StackOf::<T>::new(spec))),
    }
}

struct StackOf<T> {
    /// The values; `None` until the first tells the rank, where none is declared.
    nested: Option<Nested<T>>,
    /// Whether a value has just one element, so that brackets around it mean nothing.
    is_single: bool,
}

impl<T: ReadElement> StackOf<T> {
    fn new(spec: &TensorSpec) -> Self {
        // Where there is no axis for rows, the value as a whole is the row's.
        let value_dims = spec.dims.as_deref().map(|dims| dims.split_first().map_or(dims, |(_, value)| value));
        Self {
            nested: value_dims.map(|dims| Nested::among_others(dims.iter().map(Dim::fixed).collect())),
            is_single: value_dims.is_some_and(|dims| dims.iter().all(|dim| dim.fixed() == Some(1))),
        }
    }

    fn read_single(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let mut depth = 0;
        while reader.kind()? == Kind::Array {
            if depth > self.nested.as_ref().map_or(0, |nested| nested.sizes.len()) || !reader.open_array()? {
                return Err(Fault::ragged(format!("expected one value, {}, but got a list", expected(T::DATA_TYPE))));
            }
            depth += 1;
        }
        let value = T::read(reader)?;
        for _ in 0..depth {
            if reader.more_elements()? {
                return Err(Fault::ragged(format!("expected one value, {}, but got more", expected(T::DATA_TYPE))));
            }
        }
        if let Some(nested) = &mut self.nested {
            nested.values.push(value);
        }
        Ok(())
    }
}

impl<T: ReadElement> Stack for StackOf<T> {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if self.is_single {
            return self.read_single(reader);
        }
        let nested = match &mut self.nested {
            Some(nested) => nested,
            unknown => {
                let rank = reader.count_opening_brackets()?;
                unknown.insert(Nested::among_others(SmallVec::from_elem(None, rank)))
            }
        };
        nested.read(reader)
    }

    fn reserve_alike(&mut self, read_bytes: usize, remaining: usize) {
        if let Some(nested) = &mut self.nested {
            nested.values.reserve(alike(nested.values.len(), read_bytes, remaining));
        }
    }

    fn finish(self: Box<Self>, rows: usize) -> Result<Tensor> {
        let Some(nested) = self.nested else { return T::into_tensor(Shape::new(&[rows]), Vec::new()) };
        let sizes = nested.sizes.iter().map(|size| size.unwrap_or(0));
        T::into_tensor([rows].into_iter().chain(sizes).collect(), nested.values)
    }
}
