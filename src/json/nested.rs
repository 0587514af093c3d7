//! Nested lists to a tensor: the shape is found in the nesting, checked against what is declared while it is read.

use smallvec::SmallVec;

use crate::{
    error::{self, Error},
    json::{
        base64::TextOrBase64,
        element::{ReadElement, expected, with_element},
        fault::Fault,
        reader::{Kind, Reader},
        skip::MAX_DEPTH,
    },
    model::signature::{Dim, TensorSpec},
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// The fewest bytes an element of a list takes: a digit and a comma. No list has more elements than its text allows.
pub const MIN_ELEMENT_BYTES: usize = 2;

/// Reads the value of an input: lists nested as deep as its rank, each of its declared length.
///
/// A list without elements ends the shape: its inner dimensions are the declared ones, or 0 where they are dynamic.
///
/// # Errors
/// `InvalidArgument`, naming the index where the value is ragged or an element is not of the input's type.
pub fn read_tensor(reader: &mut Reader<'_>, spec: &TensorSpec) -> error::Result<Tensor> {
    with_element!(spec.data_type, T => {
        let (shape, values) = read_nested::<T>(reader, spec.dims.as_deref())
            .map_err(|fault| Error::from(fault.context(format_args!("input {:?}", spec.name))))?;
        T::into_tensor(shape, values)
    })
}

/// Reads the value of an input as those write it who do not count an innermost axis of size 1: `[1, 2]` for `[-1, 1]`,
/// and `[[1], [2]]` for `[-1]`. A string may be `{"b64": "…"}`.
///
/// # Errors
/// Those of [`read_tensor`].
pub fn read_tensor_loosely(reader: &mut Reader<'_>, spec: &TensorSpec) -> Result<Tensor, Fault> {
    let dims = spec.dims.as_deref();
    match (dims, reader.count_opening_brackets()?) {
        (Some([outer @ .., Dim::Fixed(1)]), depth) if depth == outer.len() => {
            let tensor = read_of_dims(reader, spec, Some(outer))?;
            let shape = tensor.shape().iter().copied().chain([1]).collect();
            tensor.reshaped(shape).map_err(into_fault)
        }
        (Some(dims), depth) if depth == dims.len() + 1 && depth > 1 => {
            let dims: SmallVec<[Dim; 4]> = dims.iter().cloned().chain([Dim::Fixed(1)]).collect();
            let tensor = read_of_dims(reader, spec, Some(&dims))?;
            let shape = tensor.shape()[..dims.len() - 1].iter().copied().collect();
            tensor.reshaped(shape).map_err(into_fault)
        }
        (dims, _) => read_of_dims(reader, spec, dims),
    }
}

fn read_of_dims(reader: &mut Reader<'_>, spec: &TensorSpec, dims: Option<&[Dim]>) -> Result<Tensor, Fault> {
    match spec.data_type {
        DataType::Bytes => read_as::<TextOrBase64>(reader, dims),
        other => with_element!(other, T => read_as::<T>(reader, dims)),
    }
}

fn read_as<T: ReadElement>(reader: &mut Reader<'_>, dims: Option<&[Dim]>) -> Result<Tensor, Fault> {
    let (shape, values) = read_nested::<T>(reader, dims)?;
    T::into_tensor(shape, values).map_err(into_fault)
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn into_fault(error: Error) -> Fault {
    Fault::value(error.message())
}

/// Reads nested lists of elements in row-major order. `dims` are the declared ones, `None` where not even the rank is.
///
/// # Errors
/// A fault of value that names the index, as in `at [0][2]: expected 4 values, but got 3`, or of syntax.
pub fn read_nested<T: ReadElement>(reader: &mut Reader<'_>, dims: Option<&[Dim]>) -> Result<(Shape, Vec<T>), Fault> {
    let sizes: SmallVec<[Option<usize>; 4]> = match dims {
        Some(dims) => dims.iter().map(Dim::fixed).collect(),
        None => SmallVec::from_elem(None, reader.count_opening_brackets()?),
    };
    let declared = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(size.unwrap_or(1)));
    let most = reader.remaining() / MIN_ELEMENT_BYTES + 1;
    let values = Vec::with_capacity(declared.map_or(most, |count| count.min(most)));
    let mut nested = Nested { sizes, indices: SmallVec::new(), values, is_alone: true };
    nested.read(reader)?;
    let shape = nested.sizes.iter().map(|size| size.unwrap_or(0)).collect();
    Ok((shape, nested.values))
}

/// Reads the elements of one list, of which `[` is next, up to `limit` of them onto `values`; where there are more,
/// only counts them. Returns how many there are.
///
/// # Errors
/// Those of the elements, without a place: the index is the number of elements that were pushed.
#[inline]
pub fn read_list<T: ReadElement>(
    reader: &mut Reader<'_>,
    limit: Option<usize>,
    values: &mut Vec<T>,
) -> Result<usize, Fault> {
    if !reader.open_array()? {
        return Ok(0);
    }
    let start = values.len();
    let end = limit.map_or(usize::MAX, |limit| start.saturating_add(limit));
    while values.len() < end {
        values.push(T::read(reader)?);
        if !reader.more_elements()? {
            return Ok(values.len() - start);
        }
    }
    reader.count_rest(values.len() - start)
}

/// A tensor in the making, or several of one shape, one after the other.
pub(super) struct Nested<T> {
    /// The size of each axis, as declared or as the first list of the axis had it.
    pub(super) sizes: SmallVec<[Option<usize>; 4]>,
    /// Where the list that is being read stands in those around it.
    indices: SmallVec<[usize; 4]>,
    pub(super) values: Vec<T>,
    /// Whether the rest of the body is this tensor's, so that room can be made for it.
    is_alone: bool,
}

impl<T: ReadElement> Nested<T> {
    /// Begins tensors that are to be read one after the other, with other things between them.
    pub(super) fn among_others(sizes: SmallVec<[Option<usize>; 4]>) -> Self {
        Self { sizes, indices: SmallVec::new(), values: Vec::new(), is_alone: false }
    }

    /// Reads one tensor; where it is faulty, none must be read after it.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match self.sizes.len() {
            0 => self.values.push(T::read(reader)?),
            rank => self.read_axis(reader, rank)?,
        }
        Ok(())
    }

    /// Reads a list whose elements have `rank - 1` axes. The recursion is as deep as the rank.
    fn read_axis(&mut self, reader: &mut Reader<'_>, rank: usize) -> Result<(), Fault> {
        if reader.kind()? != Kind::Array {
            let expected = match rank {
                1 => format!("a list, each element {}", expected(T::DATA_TYPE)),
                rank => format!("lists nested {rank} deep, each element {}", expected(T::DATA_TYPE)),
            };
            return Err(self.located(reader.mismatch(&expected)));
        }
        let axis = self.sizes.len() - rank;
        let found = match rank {
            1 => self.read_innermost(reader, axis)?,
            _ => self.read_lists(reader, axis, rank)?,
        };
        let size = *self.sizes[axis].get_or_insert(found);
        if found != size {
            let (noun, plural) = (if rank == 1 { "value" } else { "list" }, if size == 1 { "" } else { "s" });
            return Err(self.located(Fault::ragged(format!("expected {size} {noun}{plural}, but got {found}"))));
        }
        Ok(())
    }

    fn read_lists(&mut self, reader: &mut Reader<'_>, axis: usize, rank: usize) -> Result<usize, Fault> {
        let mut more = reader.open_array()?;
        let mut found = 0;
        let start = reader.position();
        while more {
            if Some(found) == self.sizes[axis] {
                return reader.count_rest(found);
            }
            if axis == 0 && self.is_alone {
                reader.check_more_rows(found)?;
            }
            self.indices.push(found);
            self.read_axis(reader, rank - 1)?;
            self.indices.pop();
            found += 1;
            more = reader.more_elements()?;
            if axis == 0 && found == 1 && self.is_alone {
                self.reserve_alike(reader, start);
            }
        }
        Ok(found)
    }

    fn read_innermost(&mut self, reader: &mut Reader<'_>, axis: usize) -> Result<usize, Fault> {
        let start = self.values.len();
        let are_rows = axis == 0 && self.is_alone && self.sizes[axis].is_none();
        let limit = if are_rows { Some(reader.max_rows) } else { self.sizes[axis] };
        let found = read_list(reader, limit, &mut self.values).map_err(|fault| {
            self.indices.push(self.values.len() - start);
            self.located(fault)
        })?;
        match are_rows && found > reader.max_rows {
            true => Err(Fault::too_many_rows(reader.max_rows, found)),
            false => Ok(found),
        }
    }

    /// Makes room for what is left of the body if it is like what has been read since `start`.
    fn reserve_alike(&mut self, reader: &Reader<'_>, start: usize) {
        let read_bytes = (reader.position() - start).max(1);
        self.values.reserve(alike(self.values.len(), read_bytes, reader.remaining()));
    }

    fn located(&self, fault: Fault) -> Fault {
        if self.indices.is_empty() {
            return fault;
        }
        let path: String = self.indices.iter().map(|index| format!("[{index}]")).collect();
        fault.context(format_args!("at {path}"))
    }
}

/// Estimates the elements in `remaining` bytes from the `count` that took `read_bytes`; at most what can be in them.
pub fn alike(count: usize, read_bytes: usize, remaining: usize) -> usize {
    let estimate = (remaining / read_bytes.max(1) + 1).saturating_mul(count);
    estimate.min(remaining / MIN_ELEMENT_BYTES + 1)
}

impl Reader<'_> {
    /// Counts the `[` that stand next, which is the rank of the value if it is well-formed.
    pub(super) fn count_opening_brackets(&mut self) -> Result<usize, Fault> {
        self.peek();
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let brackets = rest.iter().filter(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
        match brackets.take(MAX_DEPTH + 1).take_while(|byte| **byte == b'[').count() {
            deep if deep > MAX_DEPTH => Err(Fault::value(format!("expected at most {MAX_DEPTH} levels of nesting"))),
            rank => Ok(rank),
        }
    }
}
