//! The server's own operations: models, health, metrics.

use utoipa::openapi::{
    Content, HttpMethod, PathItem, Ref, RefOr, Required, Response, Tag,
    path::{OperationBuilder, ParameterBuilder, ParameterIn, PathsBuilder},
    schema::{
        AdditionalProperties, ArrayBuilder, ComponentsBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat,
        SchemaType, Type,
    },
    tag::TagBuilder,
};

use crate::{
    error::ErrorKind,
    metrics::Metrics,
    serving::catalog::Catalog,
    transport::http::openapi::{
        element::nullable,
        parts::{error_reference, json_response, response},
    },
};

/// The operations' tag: no model has its name, for models' names have no spaces.
const TAG: &str = "Models and health";

/// Returns the tag of these operations.
pub(super) fn tag() -> Tag {
    TagBuilder::new().name(TAG).description(Some("What is served, and how the server is.")).build()
}

/// Adds the operations and the schemas that they refer to.
pub(super) fn add(
    paths: PathsBuilder,
    components: ComponentsBuilder,
    catalog: &Catalog,
) -> (PathsBuilder, ComponentsBuilder) {
    let components = components
        .schema("Model", model())
        .schema("ModelList", model_list())
        .schema("Tensor", tensor_details())
        .schema("Health", health());
    let names = catalog.entries().map(|(name, _)| name.as_str());
    let paths = paths
        .path(
            "/models",
            get("list_models", "List the models", answer("All models, also those that do not serve.", "ModelList")),
        )
        .path("/models/{model}", one_model(names.collect()))
        .path("/health", health_path())
        .path("/health/live", get("live", "Tell whether the process lives", flag("It does.", "live")))
        .path("/health/ready", ready_path())
        .path("/metrics", get("metrics", "Metrics for Prometheus", metrics()))
        .path("/openapi.json", get("openapi", "This document", any_json("The document.")));
    (paths, components)
}

fn get(operation_id: &str, summary: &str, answer: Response) -> PathItem {
    PathItem::new(HttpMethod::Get, operation(operation_id, summary, answer))
}

fn operation(operation_id: &str, summary: &str, answer: Response) -> OperationBuilder {
    let (status, internal) = error_reference(ErrorKind::Internal);
    OperationBuilder::new()
        .tag(TAG)
        .operation_id(Some(operation_id))
        .summary(Some(summary))
        .response("200", answer)
        .response(status, internal)
}

fn one_model(names: Vec<&str>) -> PathItem {
    let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    let parameter = ParameterBuilder::new()
        .name("model")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(name));
    let (status, not_found) = error_reference(ErrorKind::NotFound);
    let operation =
        operation("get_model", "Describe a model", answer("The model, with an example that works.", "Model"));
    PathItem::new(HttpMethod::Get, operation.parameter(parameter).response(status, not_found))
}

fn health_path() -> PathItem {
    let operation = operation("health", "Tell how each model is", answer("Every model serves.", "Health"));
    let unhealthy = answer("The server is about to stop, or a model does not serve; `reason` says which.", "Health");
    PathItem::new(HttpMethod::Get, operation.response("503", unhealthy))
}

fn ready_path() -> PathItem {
    let operation = operation("ready", "Tell whether requests should come here", flag("They should.", "ready"));
    let (status, unavailable) = error_reference(ErrorKind::Unavailable);
    PathItem::new(HttpMethod::Get, operation.response(status, unavailable))
}

fn answer(description: &str, component: &str) -> Response {
    json_response(description, Content::new(Some(Ref::from_schema_name(component))))
}

pub(super) fn flag(description: &str, key: &str) -> Response {
    let yes = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true]));
    let body = ObjectBuilder::new().property(key, yes).required(key);
    json_response(description, Content::new(Some(body)))
}

fn any_json(description: &str) -> Response {
    json_response(description, Content::new(Some(ObjectBuilder::new())))
}

fn metrics() -> Response {
    let text = Content::new(Some(ObjectBuilder::new().schema_type(Type::String)));
    response("Prometheus' text format.").content(Metrics::CONTENT_TYPE, text).build()
}

pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn text_or_null() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(nullable(Type::String))
}

fn state() -> ObjectBuilder {
    text().enum_values(Some(["loading", "ready", "failed"]))
}

pub(super) fn list_of(items: impl Into<RefOr<Schema>>) -> ArrayBuilder {
    ArrayBuilder::new().items(items.into())
}

/// Makes an object in which all these properties are required.
pub(super) fn object<const N: usize>(properties: [(&str, RefOr<Schema>); N]) -> ObjectBuilder {
    properties
        .into_iter()
        .fold(ObjectBuilder::new(), |object, (name, schema)| object.property(name, schema).required(name))
}

fn model_list() -> ObjectBuilder {
    object([("models", list_of(Ref::from_schema_name("Model")).into()), ("default_model", text_or_null().into())])
}

fn model() -> ObjectBuilder {
    let version = object([("version", text().into()), ("state", state().into())])
        .property("reason", text())
        .property("sha256", text().description(Some("Of the ONNX file.")));
    let tensors = || list_of(Ref::from_schema_name("Tensor"));
    let example = ObjectBuilder::new().description(Some("A body for the model's predict endpoint that works."));
    object([
        ("name", text().into()),
        ("state", state().into()),
        ("version", text_or_null().description(Some("The default version.")).into()),
        ("versions", list_of(version).into()),
    ])
    .description(Some("A model; the keys that are not required are there once it serves."))
    .property("reason", text().description(Some("Why it does not serve.")))
    .property("description", text())
    .property("task", text().enum_values(Some(["classification", "multi_label", "regression", "raw"])))
    .property("task_reason", text().description(Some("Why the outputs are answered as they are, where they are.")))
    .property("inputs", tensors())
    .property("outputs", tensors())
    .property("features", list_of(text()))
    .property("classes", list_of(text()))
    .property("prediction_name", text())
    .property("execution", execution())
    .property("example", example)
}

fn execution() -> ObjectBuilder {
    let count = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    let microseconds = ObjectBuilder::new().schema_type(SchemaType::new(Type::Number));
    let run = object([("rows", count().into()), ("microseconds", microseconds.into())]);
    object([
        ("lane", text().enum_values(Some(["inline", "worker"])).into()),
        ("lane_reason", text().into()),
        ("batched", ObjectBuilder::new().schema_type(Type::Boolean).into()),
        ("batching_reason", text().into()),
        ("row_independence", text().enum_values(Some(["proven", "mixed", "unknown"])).into()),
        ("max_batch_rows", count().into()),
        ("instances", count().into()),
        ("intra_op_threads", count().into()),
        ("isolated", ObjectBuilder::new().schema_type(Type::Boolean).into()),
        ("measured", list_of(run).into()),
    ])
    .description(Some("How the model is run, and why."))
}

fn tensor_details() -> ObjectBuilder {
    let size = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(-1));
    object([
        ("name", text().into()),
        (
            "datatype",
            text().description(Some("As the Open Inference Protocol writes it: FP32, INT64, BYTES, …")).into(),
        ),
        ("shape", list_of(size).description(Some("-1 is any size.")).into()),
    ])
}

fn health() -> ObjectBuilder {
    let time = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let model = object([("state", state().into()), ("version", text_or_null().into())]).property("reason", text());
    let models = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::RefOr(model.into())));
    object([
        ("status", text().enum_values(Some(["healthy", "unhealthy"])).into()),
        ("models", models.into()),
        ("model_version", text_or_null().description(Some("The default model's version.")).into()),
        ("service_up_since", time.into()),
        ("uptime_seconds", ObjectBuilder::new().schema_type(SchemaType::new(Type::Number)).into()),
        ("version", text().description(Some("onnxd's own.")).into()),
    ])
    .property("reason", text())
}
