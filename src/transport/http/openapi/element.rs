//! Schemas of elements and of nested arrays of them.

use utoipa::openapi::{
    RefOr,
    schema::{Array, ArrayBuilder, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type},
};

use crate::{
    model::signature::{Dim, TensorSpec},
    tensor::data_type::DataType,
};

/// Above this many elements the sizes of a tensor are only described: a page that makes up an example from the schema
/// would otherwise write all of them.
const MAX_BOUNDED_ELEMENTS: usize = 4096;

/// Returns the schema of one element as it is answered: without bounds, which its type has anyway.
pub(super) fn answered(data_type: DataType) -> Object {
    let mut element = element(data_type);
    (element.minimum, element.maximum) = (None, None);
    element
}

/// Returns the schema of one element as it is taken.
pub(super) fn element(data_type: DataType) -> Object {
    let element = ObjectBuilder::new().description(Some(describe(data_type)));
    match data_type {
        DataType::Bool => element.schema_type(Type::Boolean).build(),
        DataType::Bytes => element.schema_type(Type::String).build(),
        DataType::Fp16 => bounded(element, half::f16::MAX.to_f64()).build(),
        DataType::Bf16 => bounded(element, half::bf16::MAX.to_f64()).build(),
        DataType::Fp32 => number(bounded(element, f32::MAX.into()), KnownFormat::Float),
        DataType::Fp64 => number(element, KnownFormat::Double),
        DataType::Uint8 => integer(element, "uint8", u8::MIN, u8::MAX),
        DataType::Uint16 => integer(element, "uint16", u16::MIN, u16::MAX),
        DataType::Uint32 => integer(element, "uint32", u32::MIN, u32::MAX),
        DataType::Uint64 => integer(element, "uint64", u64::MIN, u64::MAX),
        DataType::Int8 => integer(element, "int8", i8::MIN, i8::MAX),
        DataType::Int16 => integer(element, "int16", i16::MIN, i16::MAX),
        DataType::Int32 => integer(element, "int32", i32::MIN, i32::MAX),
        DataType::Int64 => integer(element, "int64", i64::MIN, i64::MAX),
    }
}

/// Returns the schema of a tensor as nested arrays of `element`; any value where the graph declares no rank.
pub(super) fn tensor(spec: &TensorSpec, element: impl Into<Schema>) -> Schema {
    let description = format!("{spec}{}", dynamic_names(spec));
    let Some(dims) = &spec.dims else {
        return ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some(description)).into();
    };
    let elements = dims.iter().filter_map(Dim::fixed).fold(1, usize::saturating_mul);
    let bounded = elements <= MAX_BOUNDED_ELEMENTS;
    let innermost = element.into();
    let nested = dims.iter().rev().fold(innermost, |items, dim| array(items, dim.fixed().filter(|_| bounded)).into());
    match nested {
        Schema::Array(array) => Schema::Array(ArrayBuilder::from(array).description(Some(description)).build()),
        scalar => scalar,
    }
}

/// Returns the schema of a list of this many items, or of any number.
pub(super) fn array(items: impl Into<RefOr<Schema>>, size: Option<usize>) -> Array {
    ArrayBuilder::new().items(items.into()).min_items(size).max_items(size).build()
}

/// Makes a type that may also be null.
pub(super) fn nullable(schema_type: Type) -> SchemaType {
    SchemaType::Array(vec![schema_type, Type::Null])
}

fn describe(data_type: DataType) -> String {
    match data_type {
        DataType::Bytes => "A string (BYTES).".to_owned(),
        float if float.is_float() => format!("{float}; null stands for NaN, a missing value."),
        other => other.to_string(),
    }
}

/// Makes a number of at most this magnitude.
fn bounded(element: ObjectBuilder, magnitude: f64) -> ObjectBuilder {
    element.schema_type(nullable(Type::Number)).minimum(Some(-magnitude)).maximum(Some(magnitude))
}

fn number(element: ObjectBuilder, format: KnownFormat) -> Object {
    element.schema_type(nullable(Type::Number)).format(Some(SchemaFormat::KnownFormat(format))).build()
}

fn integer<N: Into<utoipa::Number>>(element: ObjectBuilder, format: &str, minimum: N, maximum: N) -> Object {
    let format = SchemaFormat::Custom(format.to_owned());
    element.schema_type(Type::Integer).format(Some(format)).minimum(Some(minimum)).maximum(Some(maximum)).build()
}

/// Names the dynamic dimensions that have a name: `, where -1 is N`.
fn dynamic_names(spec: &TensorSpec) -> String {
    let names = spec.dims.iter().flatten().filter_map(|dim| match dim {
        Dim::Dynamic(Some(name)) => Some(&**name),
        Dim::Dynamic(None) | Dim::Fixed(_) => None,
    });
    let names: Vec<_> = names.collect();
    if names.is_empty() { String::new() } else { format!(", where -1 is {}", names.join(", ")) }
}
