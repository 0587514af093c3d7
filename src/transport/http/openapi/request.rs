//! What a model's predict endpoint accepts: the forms of the native API, restricted to those that fit the model.
//!
//! Must say what `native/decode` does; the tests hold the two against each other.

use utoipa::openapi::{
    Ref, RefOr,
    schema::{AdditionalProperties, AnyOfBuilder, ArrayBuilder, Object, ObjectBuilder, Schema},
};

use crate::{
    model::{
        rows::{Features, Layout, Rows},
        schema::Schema as ModelSchema,
        signature::TensorSpec,
    },
    transport::http::openapi::element::{array, element, tensor},
};

/// Returns the schema of the body. `row` refers to the schema of a row by name, which [`row_by_name`] gives.
pub(super) fn body(schema: &ModelSchema, row: &Ref) -> RefOr<Schema> {
    let mut forms: Vec<RefOr<Schema>> = Vec::new();
    if let Some(rows) = &schema.rows {
        let kinds = RowKinds::new(schema, rows, row);
        let one_row = rows.fixed_rows.is_none_or(|rows| rows == 1);
        if one_row {
            forms.extend(kinds.by_name.clone());
        }
        forms
            .push(envelope("features", "One row, or a list of rows.", kinds.features(one_row, rows.fixed_rows)).into());
        let instances = list(any_of(kinds.all()), rows.fixed_rows);
        forms.push(envelope("instances", "A list of rows.", instances).into());
    }
    forms.push(envelope("inputs", "Tensors by input name, as nested arrays.", inputs(schema)).into());
    any_of(forms)
}

/// Returns the schema of one row by name, or nothing where the features have no names.
pub(super) fn row_by_name(schema: &ModelSchema) -> Option<Schema> {
    let rows = schema.rows.as_ref()?;
    let names = rows.features.as_ref().map(Features::names)?;
    let object = ObjectBuilder::new()
        .description(Some("One row: each feature by its name, in any order."))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let inputs = &schema.signature.inputs;
    let object = names.iter().enumerate().fold(object, |object, (column, name)| {
        let input = match rows.layout {
            Layout::Matrix { .. } => &inputs[0],
            Layout::Columns => &inputs[column],
        };
        object.property(&**name, element(input.data_type)).required(&**name)
    });
    Some(object.into())
}

/// The ways to write a row that a model takes.
struct RowKinds {
    by_name: Option<RefOr<Schema>>,
    positional: Option<RefOr<Schema>>,
    /// The only feature, without a list around it; stands only in `instances`.
    scalar: Option<RefOr<Schema>>,
}

impl RowKinds {
    fn new(schema: &ModelSchema, rows: &Rows, row: &Ref) -> Self {
        let width = rows.width(&schema.signature);
        let takes_positional = rows.layout != Layout::Columns || width == Some(1);
        let value = element(schema.signature.inputs[0].data_type);
        let described = |array| ArrayBuilder::from(array).description(Some(describe_positional(rows))).build();
        Self {
            by_name: rows.features.is_some().then(|| row.clone().into()),
            positional: takes_positional.then(|| described(array(value.clone(), width)).into()),
            scalar: (width == Some(1)).then(|| value.into()),
        }
    }

    fn all(&self) -> Vec<RefOr<Schema>> {
        [&self.by_name, &self.positional, &self.scalar].into_iter().flatten().cloned().collect()
    }

    /// Returns the schema of what stands under `features`.
    fn features(&self, one_row: bool, fixed_rows: Option<usize>) -> RefOr<Schema> {
        let rows = || [&self.positional, &self.by_name].into_iter().flatten().cloned();
        let mut kinds: Vec<_> = rows().filter(|_| one_row).collect();
        kinds.push(list(any_of(rows().collect()), fixed_rows));
        any_of(kinds)
    }
}

fn describe_positional(rows: &Rows) -> String {
    match rows.features.as_ref().map(Features::names) {
        Some(names) if names.len() <= MAX_LISTED_NAMES => format!("One row, in this order: {}.", names.join(", ")),
        Some(_) | None => "One row, in the order of the model's features.".to_owned(),
    }
}

/// Longer lists of names are left out of descriptions; the row by name has them all.
const MAX_LISTED_NAMES: usize = 64;

fn list(row: RefOr<Schema>, fixed_rows: Option<usize>) -> RefOr<Schema> {
    let rows = ArrayBuilder::new().items(row).min_items(Some(fixed_rows.unwrap_or(1))).max_items(fixed_rows);
    rows.description(Some("Rows.")).into()
}

fn inputs(schema: &ModelSchema) -> RefOr<Schema> {
    let object = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let specs = schema.signature.inputs.iter();
    let declare = |object: ObjectBuilder, spec: &TensorSpec| {
        object.property(&*spec.name, tensor(spec, element(spec.data_type))).required(&*spec.name)
    };
    specs.fold(object, declare).into()
}

/// Makes an object of this one key.
fn envelope(key: &str, description: &str, value: RefOr<Schema>) -> Object {
    ObjectBuilder::new()
        .title(Some(key))
        .description(Some(description))
        .property(key, value)
        .required(key)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .build()
}

/// Makes a schema of several, of which one must fit; the only one as it is.
pub(super) fn any_of(schemas: Vec<RefOr<Schema>>) -> RefOr<Schema> {
    match <[_; 1]>::try_from(schemas) {
        Ok([only]) => only,
        Err(schemas) => schemas.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).into(),
    }
}
