//! The operations of the Open Inference Protocol, once for all models: their names are a parameter.

use serde_json::{Value, json};
use utoipa::openapi::{
    Content, ContentBuilder, HttpMethod, PathItem, Ref, Required, Response, Tag,
    example::ExampleBuilder,
    path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathsBuilder},
    request_body::{RequestBody, RequestBodyBuilder},
    schema::{ComponentsBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type},
    tag::TagBuilder,
};

use crate::{
    error::ErrorKind,
    protocol::oip_rest::binary::INFERENCE_HEADER_CONTENT_LENGTH,
    serving::{
        catalog::{Catalog, ModelRef},
        served_model::ServedModel,
    },
    tensor::data_type::DataType,
    transport::http::openapi::{
        open_inference_schemas::{INFER_REQUEST, INFER_RESPONSE, add_schemas},
        operations::{flag, list_of, object, text},
        parts::{JSON, PREDICTION_ERRORS, error_reference, json_response, own_error, response, timeout_reference},
    },
};

/// The operations' tag: no model has its name, for models' names have no spaces.
const TAG: &str = "Open Inference Protocol";
const OCTETS: &str = "application/octet-stream";
/// Larger tensors are not shown as an example.
const MAX_EXAMPLE_ELEMENTS: usize = 1024;

const INFER: &str = "Tensors in, tensors out. `data` may be flat or nested; answers are flat. `NaN`, `Infinity` and \
`-Infinity` are written as such, which is not JSON to the letter: ask for bytes where that matters. With \
inference-header-content-length, bytes follow the JSON: those of each input that has `binary_data_size`.";

/// Returns the tag of these operations.
pub(super) fn tag() -> Tag {
    let description = "The KServe V2 protocol, with Triton's extensions: binary tensors, classification, statistics.";
    TagBuilder::new().name(TAG).description(Some(description)).build()
}

/// Adds the operations and the schemas that they refer to.
pub(super) fn add(
    paths: PathsBuilder,
    components: ComponentsBuilder,
    catalog: &Catalog,
) -> (PathsBuilder, ComponentsBuilder) {
    let names: Vec<_> = catalog.entries().map(|(name, _)| name.as_str()).collect();
    let models = json_response("Their names.", Content::new(Some(object([("models", list_of(text()).into())]))));
    let paths = paths
        .path("/v2", get("v2_server", "Describe the server", answer("The server.", "OipServer")))
        .path("/v2/health/live", get("v2_live", "Tell whether the process lives", flag("It does.", "live")))
        .path("/v2/health/ready", ready())
        .path("/v2/models", get("v2_models", "List the models' names", models))
        .path(
            "/v2/models/stats",
            get("v2_all_stats", "Statistics of all models", answer("The statistics.", "OipStatistics")),
        );
    let paths = model_paths(paths, "/v2/models/{model}", "v2_model", &[parameter("model", &names)]);
    let version = ParameterBuilder::new()
        .name("version")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(text()))
        .build();
    let of_version = [parameter("model", &names), version];
    let paths = model_paths(paths, "/v2/models/{model}/versions/{version}", "v2_version", &of_version);
    let example = catalog.resolve(ModelRef::DEFAULT).ok().or_else(|| catalog.ready().next());
    let example = example.as_deref().and_then(example_body);
    let paths = paths
        .path("/v2/models/{model}/infer", infer("v2_model_infer", &of_version[..1], example.clone()))
        .path("/v2/models/{model}/versions/{version}/infer", infer("v2_version_infer", &of_version, example))
        .path("/v2/repository/index", index())
        .path("/v2/repository/models/{model}/load", control("v2_load", "Load a model: not enabled", &names))
        .path("/v2/repository/models/{model}/unload", control("v2_unload", "Unload a model: not enabled", &names));
    (paths, add_schemas(components))
}

/// Adds what there is to know of a model, or of a version of it.
fn model_paths(paths: PathsBuilder, path: &str, id: &str, parameters: &[Parameter]) -> PathsBuilder {
    let of_model = |id: String, summary: &str, answer: Response| {
        let operation = with_errors(operation(&id, summary, answer), &[ErrorKind::NotFound, ErrorKind::Unavailable]);
        PathItem::new(HttpMethod::Get, operation.parameters(Some(parameters.to_vec())))
    };
    let ready = object([("name", text().into()), ("ready", ObjectBuilder::new().schema_type(Type::Boolean).into())]);
    let ready = json_response("It is.", Content::new(Some(ready)));
    paths
        .path(path, of_model(id.to_owned(), "Describe the model", answer("The model.", "OipModel")))
        .path(format!("{path}/ready"), of_model(format!("{id}_ready"), "Tell whether the model is ready", ready))
        .path(
            format!("{path}/config"),
            of_model(format!("{id}_config"), "Triton's configuration of the model", answer("It.", "OipConfig")),
        )
        .path(
            format!("{path}/stats"),
            of_model(format!("{id}_stats"), "Statistics of the model", answer("The statistics.", "OipStatistics")),
        )
}

fn get(id: &str, summary: &str, answer: Response) -> PathItem {
    PathItem::new(HttpMethod::Get, operation(id, summary, answer))
}

fn operation(id: &str, summary: &str, answer: Response) -> OperationBuilder {
    let operation = OperationBuilder::new().tag(TAG).operation_id(Some(id)).summary(Some(summary));
    with_errors(operation.response("200", answer), &[ErrorKind::Internal])
}

fn with_errors(operation: OperationBuilder, kinds: &[ErrorKind]) -> OperationBuilder {
    kinds
        .iter()
        .map(|kind| error_reference(*kind))
        .fold(operation, |operation, (status, reference)| operation.response(status, reference))
}

fn answer(description: &str, component: &str) -> Response {
    json_response(description, Content::new(Some(Ref::from_schema_name(component))))
}

fn ready() -> PathItem {
    let operation = operation("v2_ready", "Tell whether requests should come here", flag("They should.", "ready"));
    PathItem::new(HttpMethod::Get, with_errors(operation, &[ErrorKind::Unavailable]))
}

fn parameter(name: &str, values: &[&str]) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(text().enum_values(Some(values.to_vec()))))
        .build()
}

fn infer(id: &str, parameters: &[Parameter], example: Option<Value>) -> PathItem {
    let octets = || {
        let bytes = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
        Content::new(Some(bytes))
    };
    let json = ContentBuilder::new().schema(Some(Ref::from_schema_name(INFER_REQUEST)));
    let examples =
        example.map(|value| ("example", ExampleBuilder::new().summary("A body that works").value(Some(value))));
    let json = json.examples_from_iter(examples).build();
    let body = RequestBodyBuilder::new().required(Some(Required::True)).content(JSON, json);
    let answer = response("The outputs.")
        .content(JSON, Content::new(Some(Ref::from_schema_name(INFER_RESPONSE))))
        .content(OCTETS, octets())
        .build();
    let header = ParameterBuilder::new()
        .name(INFERENCE_HEADER_CONTENT_LENGTH.as_str())
        .parameter_in(ParameterIn::Header)
        .description(Some("How long the JSON is that bytes follow; 0 for bytes alone."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0))));
    let operation = with_errors(operation(id, "Infer", answer), PREDICTION_ERRORS)
        .description(Some(INFER))
        .parameters(Some(parameters.to_vec()))
        .parameter(header)
        .parameter_ref(timeout_reference())
        .request_body(Some(body.content(OCTETS, octets()).build()));
    PathItem::new(HttpMethod::Post, operation)
}

fn index() -> PathItem {
    let list = json_response("The models.", Content::new(Some(list_of(Ref::from_schema_name("OipIndexEntry")))));
    let only_ready =
        ObjectBuilder::new().schema_type(Type::Boolean).description(Some("Leave out what does not serve."));
    let body = ObjectBuilder::new().property("ready", only_ready);
    let body: RequestBody = RequestBodyBuilder::new().content(JSON, Content::new(Some(body))).build();
    let errors = [
        ErrorKind::InvalidArgument,
        ErrorKind::RequestTimeout,
        ErrorKind::PayloadTooLarge,
        ErrorKind::UnsupportedMediaType,
    ];
    let operation = with_errors(operation("v2_index", "List the models and their states", list), &errors);
    PathItem::new(HttpMethod::Post, operation.request_body(Some(body)))
}

fn control(id: &str, summary: &str, names: &[&str]) -> PathItem {
    let (status, not_enabled) = own_error(ErrorKind::NotEnabled);
    let operation = OperationBuilder::new()
        .tag(TAG)
        .operation_id(Some(id))
        .summary(Some(summary))
        .parameter(parameter("model", names))
        .response(status, not_enabled);
    PathItem::new(HttpMethod::Post, with_errors(operation, &[ErrorKind::Internal]))
}

/// Returns a request of zeros, dynamic dimensions being 1; none where that would be too large to look at.
fn example_body(served_model: &ServedModel) -> Option<Value> {
    let inputs = served_model.schema.signature.inputs.iter().map(|spec| {
        let shape: Vec<usize> = spec.dims.iter().flatten().map(|dim| dim.fixed().unwrap_or(1)).collect();
        let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
        let count = count.filter(|count| *count <= MAX_EXAMPLE_ELEMENTS)?;
        let zero = match spec.data_type {
            DataType::Bool => json!(false),
            DataType::Bytes => json!("text"),
            float if float.is_float() => json!(0.0),
            _ => json!(0),
        };
        Some(json!({"name": *spec.name, "shape": shape, "datatype": spec.data_type.name(), "data": vec![zero; count]}))
    });
    Some(json!({"inputs": inputs.collect::<Option<Vec<_>>>()?}))
}
