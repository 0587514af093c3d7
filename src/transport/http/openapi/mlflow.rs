//! MLflow's operations: `/invocations` of the default model, `/ping`, `/version`.
//!
//! Must say what `mlflow/decode` takes and `mlflow/encode` writes; the tests hold them against each other.

use serde_json::{Map, Value, json};
use utoipa::openapi::{
    Content, ContentBuilder, HttpMethod, PathItem, RefOr, Required, Tag,
    example::ExampleBuilder,
    path::{OperationBuilder, PathsBuilder},
    request_body::RequestBodyBuilder,
    schema::{AnyOfBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType},
    tag::TagBuilder,
};

use crate::{
    error::ErrorKind,
    model::{
        schema::Schema as ModelSchema,
        signature::{OutputSpec, TensorSpec},
    },
    serving::served_model::ServedModel,
    transport::http::openapi::{
        operations::{list_of, text},
        parts::{JSON, PREDICTION_ERRORS, error_reference, json_response, response, timeout_reference},
        predict::MAX_EXAMPLE_BYTES,
        request::any_of,
        values::{input, input_row, number, object, open_object, output, output_row, zeros},
    },
};

const TAG: &str = "MLflow";

/// Returns the tag of these operations.
pub(super) fn tag() -> Tag {
    let description = "MLflow's scoring protocol, for its callers. Errors have `error_code` and `message` too.";
    TagBuilder::new().name(TAG).description(Some(description)).build()
}

/// Adds `/invocations`, which asks the default model.
pub(super) fn add_invocations(paths: PathsBuilder, served_model: &ServedModel) -> PathsBuilder {
    let schema = &served_model.schema;
    let mut json_body = ContentBuilder::new().schema(Some(request(schema)));
    if let Some(value) = example(served_model) {
        let example = ExampleBuilder::new().summary("A body that works").value(Some(value));
        json_body = json_body.examples_from_iter([("example", example)]);
    }
    let csv = text().description(Some("A line with the columns' names, then a line a row."));
    let body = RequestBodyBuilder::new()
        .required(Some(Required::True))
        .content(JSON, json_body.build())
        .content("text/csv", Content::new(Some(csv)))
        .build();
    let summary = format!("Ask {}, version {}, as MLflow", served_model.name, served_model.version);
    let operation = OperationBuilder::new()
        .tag(TAG)
        .operation_id(Some("mlflow_invocations"))
        .summary(Some(summary))
        .description(Some("Tables are answered as a list of records, tensors as tensors by name."))
        .parameter_ref(timeout_reference())
        .request_body(Some(body))
        .response("200", json_response("The predictions.", Content::new(Some(answer(schema)))));
    let errors = PREDICTION_ERRORS.iter().map(|kind| error_reference(*kind));
    let operation = errors.fold(operation, |operation, (status, error)| operation.response(status, error));
    paths.path("/invocations", PathItem::new(HttpMethod::Post, operation))
}

pub(super) fn add_probes(paths: PathsBuilder) -> PathsBuilder {
    let get = |id: &str, summary: &str| {
        let (status, internal) = error_reference(ErrorKind::Internal);
        let operation = OperationBuilder::new().tag(TAG).operation_id(Some(id)).summary(Some(summary));
        operation.response(status, internal)
    };
    let errors = [ErrorKind::NotFound, ErrorKind::Unavailable].map(error_reference);
    let ping = response("It does; the body is an empty line.").content(JSON, ContentBuilder::new().build());
    let ping = get("mlflow_ping", "Tell whether the default model serves").response("200", ping.build());
    let ping = errors.into_iter().fold(ping, |ping, (status, error)| ping.response(status, error));
    let version = response("onnxd's version.").content("text/plain", Content::new(Some(text())));
    let version = get("mlflow_version", "Tell the server's version").response("200", version.build());
    paths.path("/ping", PathItem::new(HttpMethod::Get, ping)).path("/version", PathItem::new(HttpMethod::Get, version))
}

fn request(schema: &ModelSchema) -> RefOr<Schema> {
    let inputs = &schema.signature.inputs;
    let cell = || ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some("A value."));
    let columns = list_of(text()).description(Some(describe_columns(schema)));
    let split = object([("data", list_of(list_of(cell())).min_items(Some(1)).into())])
        .property("columns", columns)
        .property("index", list_of(cell()));
    let record = open_object([]).description(Some(describe_columns(schema)));
    let records = list_of(any_of(vec![record.into(), list_of(cell()).into()])).min_items(Some(1));
    let by_name = object(inputs.iter().map(|spec| (&*spec.name, input(spec))));
    let row_by_name = object(inputs.iter().map(|spec| (&*spec.name, input_row(spec))));
    let (mut tensors, mut instances): (Vec<RefOr<Schema>>, Vec<RefOr<Schema>>) =
        (vec![by_name.into()], vec![list_of(row_by_name).min_items(Some(1)).into()]);
    if let [only] = &inputs[..] {
        tensors.push(input(only));
        instances.push(list_of(input_row(only)).min_items(Some(1)).into());
    }
    let forms: [(&str, RefOr<Schema>); 4] = [
        ("dataframe_split", split.into()),
        ("dataframe_records", records.into()),
        ("instances", any_of(instances)),
        ("inputs", any_of(tensors)),
    ];
    let params = || ObjectBuilder::new().description(Some("Ignored: an ONNX model has no parameters."));
    forms
        .into_iter()
        .map(|(key, value)| open_object([(key, value)]).title(Some(key)).property("params", params()))
        .fold(AnyOfBuilder::new(), AnyOfBuilder::item)
        .into()
}

fn describe_columns(schema: &ModelSchema) -> String {
    match (&schema.rows, &schema.signature.inputs[..]) {
        (Some(rows), [_]) if rows.features.is_some() => {
            "The features, by their names in any order, or by names of your own in the features' order.".to_owned()
        }
        (_, [_]) => "The features in their order, under any names.".to_owned(),
        _ => "The inputs, by their names; other columns are passed over.".to_owned(),
    }
}

fn answer(schema: &ModelSchema) -> RefOr<Schema> {
    let outputs = &schema.signature.outputs;
    let tensors = object(outputs.iter().map(|spec| (&*spec.tensor.name, tensor(spec))));
    let record = object(outputs.iter().map(|spec| (&*spec.tensor.name, cell(spec))));
    let predictions = OneOfBuilder::new()
        .item(tensors.description(Some("The answer to tensors.")))
        .item(list_of(record).description(Some("The answer to a table.")));
    object([("predictions", Schema::from(predictions).into())]).into()
}

fn tensor(spec: &OutputSpec) -> RefOr<Schema> {
    match map(spec) {
        Some(map) => list_of(map).into(),
        None => output(spec),
    }
}

/// Returns the schema of an output in one record: a scalar where it is of one element.
fn cell(spec: &OutputSpec) -> RefOr<Schema> {
    let scalar = || number(spec.tensor.data_type).into();
    map(spec).unwrap_or_else(|| any_of(vec![scalar(), output_row(spec)]))
}

/// Returns the schema of one of a sequence of maps.
fn map(spec: &OutputSpec) -> Option<RefOr<Schema>> {
    let labels: Vec<_> = spec.map_keys.as_ref()?.iter().map(ToString::to_string).collect();
    Some(object(labels.iter().map(|label| (&**label, number(spec.tensor.data_type).into()))).into())
}

fn example(served_model: &ServedModel) -> Option<Value> {
    served_model.example.as_deref().filter(|example| example.get().len() <= MAX_EXAMPLE_BYTES)?;
    let by_name = |spec: &TensorSpec| (spec.name.to_string(), zeros(spec));
    let inputs: Map<_, _> = served_model.schema.signature.inputs.iter().map(by_name).collect();
    Some(json!({"inputs": inputs}))
}
