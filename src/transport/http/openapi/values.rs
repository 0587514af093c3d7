//! Values as the protocols of other servers have them: tensors without their rows, tokens for NaN, base64, zeros to try.

use serde_json::{Value, json};
use utoipa::openapi::{
    RefOr,
    schema::{AdditionalProperties, AnyOfBuilder, ObjectBuilder, Schema},
};

use crate::{
    json::base64::B64,
    model::signature::{Dim, OutputSpec, TensorSpec},
    tensor::data_type::DataType,
    transport::http::openapi::{
        element::{answered, element, tensor},
        operations::text,
        request::any_of,
    },
};

const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw](==)?|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=?)?$";

/// Returns the schema of the value of an input: of all its rows.
pub(super) fn input(spec: &TensorSpec) -> RefOr<Schema> {
    let exact = tensor(spec, taken(spec.data_type));
    match spec.dims.as_deref() {
        Some([outer @ .., Dim::Fixed(1)]) if !outer.is_empty() => {
            any_of(vec![exact.into(), tensor(&of_dims(spec, outer), taken(spec.data_type)).into()])
        }
        _ => exact.into(),
    }
}

/// Returns the schema of the value that an input has in one row.
pub(super) fn input_row(spec: &TensorSpec) -> RefOr<Schema> {
    let row = tensor(&row_spec(spec), taken(spec.data_type));
    match spec.dims.as_deref() {
        Some([_, inner @ ..]) if !inner.is_empty() && inner.iter().all(|dim| dim.fixed() == Some(1)) => {
            any_of(vec![row.into(), taken(spec.data_type).into()])
        }
        _ => row.into(),
    }
}

/// Returns the schema of an output as it is answered: of all its rows.
pub(super) fn output(spec: &OutputSpec) -> RefOr<Schema> {
    tensor(&spec.tensor, given(spec)).into()
}

/// Returns the schema of the value that an output has in one row.
pub(super) fn output_row(spec: &OutputSpec) -> RefOr<Schema> {
    tensor(&row_spec(&spec.tensor), given(spec)).into()
}

/// Returns the schema of a number as it is answered.
pub(super) fn number(data_type: DataType) -> Schema {
    let mut number = answered(data_type);
    if data_type.is_float() {
        number.description =
            Some(format!("{data_type}; may be NaN, Infinity or -Infinity, which strict JSON has not."));
    }
    number.into()
}

/// Makes an object of these properties, all required and no others.
pub(super) fn object<'a>(properties: impl IntoIterator<Item = (&'a str, RefOr<Schema>)>) -> ObjectBuilder {
    open_object(properties).additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// Makes an object of these properties, all required, beside which there may be others.
pub(super) fn open_object<'a>(properties: impl IntoIterator<Item = (&'a str, RefOr<Schema>)>) -> ObjectBuilder {
    let declare =
        |object: ObjectBuilder, (name, schema): (&str, RefOr<Schema>)| object.property(name, schema).required(name);
    properties.into_iter().fold(ObjectBuilder::new(), declare)
}

/// Makes zeros in the shape of an input, with 1 for what is dynamic.
pub(super) fn zeros(spec: &TensorSpec) -> Value {
    nested_zeros(spec.data_type, spec.dims.as_deref().unwrap_or_default())
}

/// Makes zeros in the shape of one row of an input; `None` where it has no rows.
pub(super) fn zeros_of_row(spec: &TensorSpec) -> Option<Value> {
    let (_, row) = spec.dims.as_deref()?.split_first()?;
    Some(nested_zeros(spec.data_type, row))
}

pub(super) fn zero(data_type: DataType) -> Value {
    match data_type {
        DataType::Bool => json!(false),
        DataType::Bytes => json!("text"),
        float if float.is_float() => json!(0.0),
        _ => json!(0),
    }
}

fn nested_zeros(data_type: DataType, dims: &[Dim]) -> Value {
    dims.iter().rev().fold(zero(data_type), |inner, dim| vec![inner; dim.fixed().unwrap_or(1)].into())
}

/// Returns the schema of an element as it is taken: of a string, also in base64.
fn taken(data_type: DataType) -> Schema {
    match data_type {
        DataType::Bytes => {
            let base64 = object([(B64, text().pattern(Some(BASE64)).description(Some("In base64.")).into())]);
            AnyOfBuilder::new().item(element(data_type)).item(base64).into()
        }
        other => element(other).into(),
    }
}

fn given(output: &OutputSpec) -> Schema {
    number(output.tensor.data_type)
}

fn row_spec(spec: &TensorSpec) -> TensorSpec {
    match spec.dims.as_deref().map(<[Dim]>::split_first) {
        Some(Some((_, row))) => of_dims(spec, row),
        Some(None) | None => spec.clone(),
    }
}

fn of_dims(spec: &TensorSpec, dims: &[Dim]) -> TensorSpec {
    TensorSpec { name: spec.name.clone(), data_type: spec.data_type, dims: Some(dims.to_vec()) }
}
