//! Between the runtime's values and types and ours.

use bytemuck::NoUninit;
use bytes::Bytes;
use ort::{
    session::SessionInputValue,
    value::{DynValue, MapValueType, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType},
};

use crate::{
    engine::{
        dims::{dims_of, shape_of},
        run_memory::{Charging, Held},
        strings,
    },
    error::{Error, Result},
    model::{
        onnx_file::OnnxFile,
        signature::{ClassLabel, Dim, OutputSpec, Signature, TensorSpec},
    },
    tensor::{
        data_type::DataType,
        shape::Shape,
        tensor::{Element, Tensor},
    },
};

/// Calls `$function::<T>(…)` with the Rust type of a numeric `$data_type`; BOOL and BYTES go to their own arms.
macro_rules! dispatch {
    ($data_type:expr, $function:ident($($argument:expr),*), bool: $bool:expr, bytes: $bytes:expr) => {
        match $data_type {
            DataType::Bool => $bool,
            DataType::Bytes => $bytes,
            DataType::Uint8 => $function::<u8>($($argument),*),
            DataType::Uint16 => $function::<u16>($($argument),*),
            DataType::Uint32 => $function::<u32>($($argument),*),
            DataType::Uint64 => $function::<u64>($($argument),*),
            DataType::Int8 => $function::<i8>($($argument),*),
            DataType::Int16 => $function::<i16>($($argument),*),
            DataType::Int32 => $function::<i32>($($argument),*),
            DataType::Int64 => $function::<i64>($($argument),*),
            DataType::Fp16 => $function::<half::f16>($($argument),*),
            DataType::Bf16 => $function::<half::bf16>($($argument),*),
            DataType::Fp32 => $function::<f32>($($argument),*),
            DataType::Fp64 => $function::<f64>($($argument),*),
        }
    };
}

/// Reads inputs and outputs off a session.
///
/// # Errors
/// `InvalidArgument` naming the input or output whose type cannot be served.
pub(super) fn signature(session: &ort::session::Session, file: &OnnxFile) -> Result<Signature> {
    let inputs = session.inputs().iter().map(|outlet| input_spec(outlet, file)).collect::<Result<_>>()?;
    let outputs = session.outputs().iter().map(|outlet| output_spec(outlet, file)).collect::<Result<_>>()?;
    Ok(Signature { inputs, outputs })
}

fn input_spec(outlet: &Outlet, file: &OnnxFile) -> Result<TensorSpec> {
    tensor_spec(outlet, file).ok_or_else(|| {
        Error::invalid(format!("input {:?} is {}: only tensors can be served", outlet.name(), outlet.dtype()))
    })
}

fn output_spec(outlet: &Outlet, file: &OnnxFile) -> Result<OutputSpec> {
    if let Some(tensor) = tensor_spec(outlet, file) {
        return Ok(OutputSpec { tensor, map_keys: None });
    }
    let is_zip_map = matches!(outlet.dtype(), ValueType::Sequence(inner) if matches!(**inner,
        ValueType::Map { key: TensorElementType::Int64 | TensorElementType::String, value: TensorElementType::Float32 }));
    match file.map_keys.get(outlet.name()) {
        Some(keys) if is_zip_map => Ok(OutputSpec {
            tensor: TensorSpec {
                name: outlet.name().into(),
                data_type: DataType::Fp32,
                dims: Some(vec![Dim::Dynamic(None), Dim::Fixed(keys.len())]),
            },
            map_keys: Some(keys.clone()),
        }),
        _ => Err(Error::invalid(format!(
            "output {:?} is {}: only tensors and ZipMap's sequences of maps can be served",
            outlet.name(),
            outlet.dtype()
        ))),
    }
}

fn tensor_spec(outlet: &Outlet, file: &OnnxFile) -> Option<TensorSpec> {
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else { return None };
    let dims = shape.iter().zip(dimension_symbols.iter()).map(|(size, symbol)| match usize::try_from(*size) {
        Ok(size) => Dim::Fixed(size),
        Err(_) => Dim::Dynamic(Some(symbol.as_str()).filter(|symbol| !symbol.is_empty()).map(Into::into)),
    });
    // The runtime shows a value of unknown rank as a scalar.
    let unknown_rank = shape.is_empty() && file.without_shape.contains(outlet.name());
    let dims = (!unknown_rank).then(|| dims.collect());
    Some(TensorSpec { name: outlet.name().into(), data_type: data_type(*ty)?, dims })
}

fn data_type(element: TensorElementType) -> Option<DataType> {
    Some(match element {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Bfloat16 => DataType::Bf16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::String => DataType::Bytes,
        // Complex, 8-bit float and sub-byte types have no name in any protocol.
        _ => return None,
    })
}

/// Lends a tensor to the runtime, without a copy but for strings.
///
/// # Errors
/// `Internal` where the runtime refuses it.
pub(super) fn to_runtime(tensor: &Tensor) -> Result<SessionInputValue<'_>> {
    dispatch!(tensor.data_type(), lend(tensor), bool: lend_bools(tensor), bytes: strings::to_runtime(tensor))
}

fn lend<T: Element + PrimitiveTensorElementType + Clone + std::fmt::Debug>(
    tensor: &Tensor,
) -> Result<SessionInputValue<'_>> {
    let values = tensor.as_slice::<T>().ok_or_else(|| Error::internal("a tensor is not of its own type"))?;
    let value = TensorRef::from_array_view((dims_of(tensor.shape())?, values)).map_err(Error::internal)?;
    Ok(value.into())
}

fn lend_bools(tensor: &Tensor) -> Result<SessionInputValue<'_>> {
    let bytes = tensor.as_bools().ok_or_else(|| Error::internal("a tensor is not of its own type"))?;
    let values: &[bool] =
        bytemuck::checked::try_cast_slice(bytes).map_err(|_| Error::invalid("BOOL elements are the bytes 0 and 1"))?;
    let value = TensorRef::from_array_view((dims_of(tensor.shape())?, values)).map_err(Error::internal)?;
    Ok(value.into())
}

/// Copies an output out of the runtime; maps become an FP32 `[N, C]` tensor whose columns are in the order of their keys.
///
/// What a copy takes, and what its text will take, is charged to the run's memory until the tensor is dropped.
///
/// # Errors
/// `Internal` where the value is not what the signature declares; those of [`Charging::hold_answer`].
pub(super) fn from_runtime(value: &DynValue, spec: &OutputSpec, charging: &Charging) -> Result<Tensor> {
    if let Some(keys) = &spec.map_keys {
        return from_maps(value, keys, charging);
    }
    dispatch!(
        spec.tensor.data_type,
        copy(value, charging),
        bool: copy_bools(value, charging),
        bytes: strings::from_runtime(value, charging)
    )
}

/// Elements that are charged to the memory of runs.
struct Elements<T> {
    values: Vec<T>,
    _held: Held,
}

impl<T: NoUninit> AsRef<[u8]> for Elements<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.values)
    }
}

fn copy<T: Element + PrimitiveTensorElementType + Clone>(value: &DynValue, charging: &Charging) -> Result<Tensor> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(Error::internal)?;
    hold(T::DATA_TYPE, shape, values, charging)
}

fn copy_bools(value: &DynValue, charging: &Charging) -> Result<Tensor> {
    let (shape, values) = value.try_extract_tensor::<bool>().map_err(Error::internal)?;
    hold(DataType::Bool, shape, values, charging)
}

fn hold<T: NoUninit + Send>(data_type: DataType, shape: &[i64], values: &[T], charging: &Charging) -> Result<Tensor> {
    let held = charging.hold_answer(size_of_val(values), values.len())?;
    let elements = Elements { values: values.to_vec(), _held: held };
    Tensor::from_bytes(data_type, shape_of(shape)?, Bytes::from_owner(elements))
}

fn from_maps(value: &DynValue, keys: &[ClassLabel], charging: &Charging) -> Result<Tensor> {
    let by_text = matches!(keys.first(), Some(ClassLabel::Text(_)));
    let rows: Vec<Vec<(ClassLabel, f32)>> = if by_text {
        let maps = value.try_extract_sequence::<MapValueType<String, f32>>().map_err(Error::internal)?;
        maps.iter()
            .map(|map| labelled(map.try_extract_key_values::<String, f32>(), |key| ClassLabel::Text(key.into())))
            .collect::<Result<_>>()?
    } else {
        let maps = value.try_extract_sequence::<MapValueType<i64, f32>>().map_err(Error::internal)?;
        maps.iter()
            .map(|map| labelled(map.try_extract_key_values::<i64, f32>(), ClassLabel::Integer))
            .collect::<Result<_>>()?
    };
    let mut values = vec![f32::NAN; rows.len() * keys.len()];
    for (row, entries) in values.chunks_exact_mut(keys.len()).zip(&rows) {
        for (label, probability) in entries {
            let column = keys.iter().position(|key| key == label);
            row[column.ok_or_else(|| Error::internal(format!("the map has an undeclared key {label}")))?] =
                *probability;
        }
    }
    let held = charging.hold_answer(size_of_val(&*values), values.len())?;
    let elements = Bytes::from_owner(Elements { values, _held: held });
    Tensor::from_bytes(DataType::Fp32, Shape::new(&[rows.len(), keys.len()]), elements)
}

fn labelled<K>(entries: ort::Result<Vec<(K, f32)>>, label: impl Fn(K) -> ClassLabel) -> Result<Vec<(ClassLabel, f32)>> {
    let entries = entries.map_err(Error::internal)?;
    Ok(entries.into_iter().map(|(key, value)| (label(key), value)).collect())
}
