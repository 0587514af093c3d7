//! TensorFlow Serving's operations: those of each model, and what is said of models.
//!
//! Must say what `tfs/decode` takes and `tfs/encode` writes; the tests hold them against each other.

use serde_json::{Map, Value, json};
use utoipa::openapi::{
    Content, ContentBuilder, HttpMethod, PathItem, RefOr, Required, Tag,
    example::ExampleBuilder,
    path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathsBuilder},
    request_body::RequestBodyBuilder,
    schema::{AnyOfBuilder, ObjectBuilder, OneOfBuilder, Schema, Type},
    tag::TagBuilder,
};

use crate::{
    error::ErrorKind,
    model::{
        rows::{Features, Layout},
        schema::Schema as ModelSchema,
        signature::{Dim, TensorSpec},
        task::Task,
    },
    protocol::tfs::decode::SIGNATURE,
    protocol::tfs::verb::Verb,
    serving::{catalog::Catalog, served_model::ServedModel},
    tensor::data_type::DataType,
    transport::http::openapi::{
        operations::{list_of, text},
        parts::{JSON, PREDICTION_ERRORS, error_reference, json_response, timeout_reference},
        predict::MAX_EXAMPLE_BYTES,
        request::any_of,
        values::{input, input_row, number, object, open_object, output, output_row, zero, zeros, zeros_of_row},
    },
};

const TAG: &str = "TensorFlow Serving";

/// Returns the tag of these operations.
pub(super) fn tag() -> Tag {
    let description = "TensorFlow Serving's REST API and KServe's first protocol, for clients that speak them.";
    TagBuilder::new().name(TAG).description(Some(description)).build()
}

/// Adds what can be asked of the model version at this path: `/v1/models/iris`.
pub(super) fn add_model(mut paths: PathsBuilder, served_model: &ServedModel, path: &str, suffix: &str) -> PathsBuilder {
    let schema = &served_model.schema;
    let verb = match &schema.task {
        Task::Classification(_) => Some(Verb::Classify),
        Task::Regression(regression) if regression.targets == 1 => Some(Verb::Regress),
        Task::Regression(_) | Task::MultiLabel(_) | Task::Raw(_) => None,
    };
    for verb in [Some(Verb::Predict), verb].into_iter().flatten() {
        let word = word(verb);
        let request = Content::new(Some(request(schema, verb)));
        let request = match example(served_model, verb) {
            Some(example) => {
                let example = ExampleBuilder::new().summary("A body that works").value(Some(example));
                ContentBuilder::from(request).examples_from_iter([("example", example)]).build()
            }
            None => request,
        };
        let operation = OperationBuilder::new()
            .tag(TAG)
            .operation_id(Some(format!("tfs_{word}_{suffix}")))
            .summary(Some(format!("{word} with {}, version {}", served_model.name, served_model.version)))
            .parameter_ref(timeout_reference())
            .request_body(Some(RequestBodyBuilder::new().required(Some(Required::True)).content(JSON, request).build()))
            .response("200", json_response("The answer.", Content::new(Some(answer(schema, verb)))));
        let errors = PREDICTION_ERRORS.iter().map(|kind| error_reference(*kind));
        let operation = errors.fold(operation, |operation, (status, error)| operation.response(status, error));
        paths = paths.path(format!("{path}:{word}"), PathItem::new(HttpMethod::Post, operation));
    }
    paths
}

/// Adds what is said of models.
pub(super) fn add_status(paths: PathsBuilder, catalog: &Catalog) -> PathsBuilder {
    let names: Vec<_> = catalog.entries().map(|(name, _)| name.as_str()).collect();
    let model_names = object([("models", list_of(text()).into())]);
    let model = path_parameter("model", text().enum_values(Some(names.clone())).into());
    let version = path_parameter("version", ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).into());
    let get = |id: &str, summary: &str, answer: ObjectBuilder| {
        let (status, internal) = error_reference(ErrorKind::Internal);
        OperationBuilder::new()
            .tag(TAG)
            .operation_id(Some(id))
            .summary(Some(summary))
            .response("200", json_response(summary, Content::new(Some(answer))))
            .response(status, internal)
    };
    let of_model = |operation: OperationBuilder, kinds: &[ErrorKind]| {
        let operation = operation.parameter(model.clone());
        kinds
            .iter()
            .map(|kind| error_reference(*kind))
            .fold(operation, |operation, (status, error)| operation.response(status, error))
    };
    const OF_STATUS: &[ErrorKind] = &[ErrorKind::InvalidArgument, ErrorKind::NotFound];
    const OF_METADATA: &[ErrorKind] = &[ErrorKind::InvalidArgument, ErrorKind::NotFound, ErrorKind::Unavailable];
    let item = |operation: OperationBuilder| PathItem::new(HttpMethod::Get, operation);
    paths
        .path("/v1/models", item(get("tfs_models", "The models' names, as KServe lists them", model_names)))
        .path(
            "/v1/models/{model}",
            item(of_model(get("tfs_status", "Tell how a model's versions are", status()), OF_STATUS)),
        )
        .path(
            "/v1/models/{model}/versions/{version}",
            item(of_model(get("tfs_version_status", "Tell how a version is", status()), OF_STATUS).parameter(version)),
        )
        .path(
            "/v1/models/{model}/metadata",
            item(of_model(get("tfs_metadata", "Tell a model's inputs and outputs", metadata()), OF_METADATA)),
        )
}

fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Predict => "predict",
        Verb::Classify => "classify",
        Verb::Regress => "regress",
    }
}

fn path_parameter(name: &str, schema: Schema) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
        .build()
}

fn request(schema: &ModelSchema, verb: Verb) -> RefOr<Schema> {
    let signature_name = || text().enum_values(Some(["", SIGNATURE, verb.method()]));
    let with = |key: &str, value: RefOr<Schema>| open_object([(key, value)]).title(Some(key));
    if verb != Verb::Predict {
        return with("examples", list_of(example_row(schema)).min_items(Some(1)).into())
            .property("signature_name", signature_name())
            .into();
    }
    let inputs = &schema.signature.inputs;
    let named = object(inputs.iter().map(|spec| (&*spec.name, input_row(spec))));
    let mut instances: Vec<RefOr<Schema>> = vec![list_of(named).min_items(Some(1)).into()];
    let by_name = open_object(inputs.iter().map(|spec| (&*spec.name, input(spec))));
    let mut tensors: Vec<RefOr<Schema>> = vec![by_name.into()];
    if let [only] = &inputs[..] {
        instances.push(list_of(input_row(only)).min_items(Some(1)).into());
        tensors.push(input(only));
    }
    AnyOfBuilder::new()
        .item(with("instances", any_of(instances)).property("signature_name", signature_name()))
        .item(with("inputs", any_of(tensors)).property("signature_name", signature_name()))
        .into()
}

/// Returns the schema of an example: its features by name, or the only input as a whole.
fn example_row(schema: &ModelSchema) -> RefOr<Schema> {
    let inputs = &schema.signature.inputs;
    let whole = || object(inputs.iter().map(|spec| (&*spec.name, input_row(spec))));
    let rows = schema.rows.as_ref();
    match rows.and_then(|rows| Some((rows.layout, rows.features.as_ref()?))) {
        Some((Layout::Matrix { .. }, features)) => {
            let value = input_row(&TensorSpec { dims: Some(vec![Dim::Dynamic(None)]), ..inputs[0].clone() });
            let by_name = object(features.names().iter().map(|name| (&**name, value.clone())));
            any_of(vec![by_name.into(), whole().into()])
        }
        _ => whole().into(),
    }
}

fn answer(schema: &ModelSchema, verb: Verb) -> RefOr<Schema> {
    let outputs = &schema.signature.outputs;
    match verb {
        Verb::Predict => {
            let (rows, columns) = match &outputs[..] {
                [only] => (output_row(only), output(only)),
                _ => (
                    object(outputs.iter().map(|spec| (&*spec.tensor.name, output_row(spec)))).into(),
                    object(outputs.iter().map(|spec| (&*spec.tensor.name, output(spec)))).into(),
                ),
            };
            let rows = object([("predictions", list_of(rows).into())]).description(Some("The answer to `instances`."));
            let columns = object([("outputs", columns)]).description(Some("The answer to `inputs`."));
            OneOfBuilder::new().item(rows).item(columns).into()
        }
        Verb::Classify => {
            let pair = list_of(any_of(vec![text().into(), number(DataType::Fp32).into()]))
                .min_items(Some(2))
                .max_items(Some(2))
                .description(Some("A class and its score."));
            object([("results", list_of(list_of(pair)).into())]).into()
        }
        Verb::Regress => {
            let data_type = outputs.first().map_or(DataType::Fp32, |output| output.tensor.data_type);
            object([("results", list_of(number(data_type)).into())]).into()
        }
    }
}

/// Makes a body that works, unless it would be too large to look at.
fn example(served_model: &ServedModel, verb: Verb) -> Option<Value> {
    let schema = &served_model.schema;
    served_model.example.as_deref().filter(|example| example.get().len() <= MAX_EXAMPLE_BYTES)?;
    let inputs = &schema.signature.inputs;
    let by_name = |value: fn(&TensorSpec) -> Option<Value>| -> Option<Map<_, _>> {
        inputs.iter().map(|spec| Some((spec.name.to_string(), value(spec)?))).collect()
    };
    if verb != Verb::Predict {
        let features = schema.rows.as_ref().and_then(|rows| rows.features.as_ref()).map(Features::names);
        let row = match (features, &inputs[..]) {
            (Some(names), [input]) => {
                names.iter().map(|name| (name.to_string(), zero(input.data_type))).collect::<Map<_, _>>()
            }
            _ => by_name(zeros_of_row)?,
        };
        return Some(json!({"examples": [row]}));
    }
    match (by_name(zeros_of_row), &inputs[..]) {
        (Some(_), [only]) => Some(json!({"instances": [zeros_of_row(only)?]})),
        (Some(row), _) => Some(json!({"instances": [row]})),
        (None, _) => Some(json!({"inputs": by_name(|spec| Some(zeros(spec)))?})),
    }
}

fn status() -> ObjectBuilder {
    let state = text().enum_values(Some(["LOADING", "AVAILABLE", "END"]));
    let error = object([("error_code", text().into()), ("error_message", text().into())]);
    let version = object([("version", text().into()), ("state", state.into()), ("status", error.into())]);
    object([
        ("name", text().into()),
        ("ready", ObjectBuilder::new().schema_type(Type::Boolean).into()),
        ("model_version_status", list_of(version).into()),
    ])
}

fn metadata() -> ObjectBuilder {
    let spec = object([("name", text().into()), ("signature_name", text().into()), ("version", text().into())]);
    let definition = open_object([("signature_def", ObjectBuilder::new().into())]);
    object([("model_spec", spec.into()), ("metadata", object([("signature_def", definition.into())]).into())])
}
