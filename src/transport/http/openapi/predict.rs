//! The predict operations of one model version, and the components that they refer to.

use serde_json::{Value, json, value::RawValue};
use utoipa::openapi::{
    Content, ContentBuilder, HttpMethod, PathItem, Ref, RefOr, Required,
    example::ExampleBuilder,
    path::{Operation, OperationBuilder, PathsBuilder},
    request_body::{RequestBody, RequestBodyBuilder},
    schema::ComponentsBuilder,
};

use crate::{
    model::{name::ModelVersion, rows::Features, task::Task},
    serving::served_model::ServedModel,
    transport::http::openapi::{
        parts::{JSON, PREDICTION_ERRORS, Part, component_key, error_reference, json_response, timeout_reference},
        request, response,
    },
};

/// Longer examples are not shown: the page would be slow, and nobody reads them.
pub(super) const MAX_EXAMPLE_BYTES: usize = 32 * 1024;
/// Of longer lists, a description has the beginning.
const MAX_LISTED_NAMES: usize = 32;

/// A model version as the document shows it.
#[derive(Clone, Copy)]
pub(super) struct Described<'a> {
    pub(super) served_model: &'a ServedModel,
    /// The version, where its components and paths must be told from those of the model's default version.
    pub(super) version: Option<ModelVersion>,
}

impl Described<'_> {
    /// Adds the schemas of requests and answers.
    pub(super) fn add_components(self, components: ComponentsBuilder) -> ComponentsBuilder {
        let schema = &self.served_model.schema;
        let request = request::body(schema, &self.reference(Part::Row));
        let (name, version) = (&self.served_model.name, self.served_model.version);
        let response = response::body(schema, name, version, &self.reference(Part::Prediction));
        let own = [
            (Part::Request, Some(request)),
            (Part::Row, request::row_by_name(schema).map(RefOr::T)),
            (Part::Response, Some(response.into())),
            (Part::Prediction, response::prediction(schema).map(RefOr::T)),
        ];
        let own = own.into_iter().filter_map(|(part, schema)| Some((self.key(part), schema?)));
        components.schemas_from_iter(own)
    }

    /// Adds a `POST` at this path. Operation ids are unique if `operation_id` is.
    pub(super) fn add_path(self, paths: PathsBuilder, path: &str, operation_id: &str) -> PathsBuilder {
        paths.path(path, PathItem::new(HttpMethod::Post, self.operation(operation_id)))
    }

    fn operation(self, operation_id: &str) -> Operation {
        let (name, version) = (&self.served_model.name, self.served_model.version);
        let answer = Content::new(Some(self.reference(Part::Response)));
        let operation = OperationBuilder::new()
            .tag(name.as_str())
            .operation_id(Some(operation_id))
            .summary(Some(format!("Predict with {name}, version {version}")))
            .description(Some(self.describe()))
            .parameter_ref(timeout_reference())
            .request_body(Some(self.request_body()))
            .response("200", json_response("The prediction, or the predictions.", answer));
        let errors = PREDICTION_ERRORS.iter().map(|kind| error_reference(*kind));
        errors.fold(operation, |operation, (status, reference)| operation.response(status, reference)).build()
    }

    fn request_body(self) -> RequestBody {
        let content = ContentBuilder::new().schema(Some(self.reference(Part::Request)));
        let examples = self
            .examples()
            .into_iter()
            .map(|(key, summary, value)| (key, ExampleBuilder::new().summary(summary).value(Some(value))));
        RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content(JSON, content.examples_from_iter(examples).build())
            .build()
    }

    /// Returns bodies that work when they are posted: their keys, in whose order they are shown, what they are, and they.
    pub(super) fn examples(self) -> Vec<(&'static str, &'static str, Value)> {
        let text = self.served_model.example.as_deref().map(RawValue::get);
        let parsed =
            text.filter(|text| text.len() <= MAX_EXAMPLE_BYTES).and_then(|text| serde_json::from_str(text).ok());
        let Some(example) = parsed else { return Vec::new() };
        let rows = rows_of(&example).filter(|_| self.takes_any_number_of_rows());
        let mut examples = vec![("example", "A body that works", example)];
        examples.extend(rows.map(|rows| ("rows", "The same row twice, as a list of rows", rows)));
        examples
    }

    fn takes_any_number_of_rows(self) -> bool {
        self.served_model.schema.rows.as_ref().is_some_and(|rows| rows.fixed_rows.is_none())
    }

    fn describe(self) -> String {
        let schema = &self.served_model.schema;
        let mut paragraphs: Vec<String> = schema.description.iter().cloned().collect();
        paragraphs.push(match &schema.task {
            Task::Classification(_) => "A classification: the answer is a class.".to_owned(),
            Task::MultiLabel(_) => "A multi-label classification: the answer is the labels that hold.".to_owned(),
            Task::Regression(regression) if regression.targets > 1 => {
                format!("A regression of {} targets: the answer is a list of numbers.", regression.targets)
            }
            Task::Regression(_) => "A regression: the answer is a number.".to_owned(),
            Task::Raw(reason) => format!("The answer is the model's output tensors: {reason}."),
        });
        let features = schema.rows.as_ref().and_then(|rows| rows.features.as_ref()).map(Features::names);
        paragraphs.extend(features.map(|names| format!("Features: {}.", listed(names))));
        paragraphs.extend(schema.classes.as_ref().map(|classes| format!("Classes: {}.", listed(&classes.names))));
        if self.examples().is_empty() {
            paragraphs.push("The inputs are too large to show an example here.".to_owned());
        }
        paragraphs.join("\n\n")
    }

    fn reference(self, part: Part) -> Ref {
        Ref::from_schema_name(self.key(part))
    }

    fn key(self, part: Part) -> String {
        component_key(part, &self.served_model.name, self.version)
    }
}

/// Makes a list of rows of an example that is one row.
fn rows_of(example: &Value) -> Option<Value> {
    let members = example.as_object()?;
    let row = match (members.get("features"), members.len()) {
        (Some(Value::Array(values)), 1) if values.iter().any(|value| value.is_array() || value.is_object()) => {
            return None;
        }
        (Some(row @ (Value::Array(_) | Value::Object(_))), 1) => row,
        _ if members
            .get("instances")
            .or(members.get("inputs"))
            .is_some_and(|value| value.is_array() || value.is_object()) =>
        {
            return None;
        }
        _ => example,
    };
    Some(json!({"features": [row, row]}))
}

fn listed(names: &[std::sync::Arc<str>]) -> String {
    let shown = names.iter().take(MAX_LISTED_NAMES).map(|name| format!("`{name}`"));
    let mut list: Vec<_> = shown.collect();
    if names.len() > MAX_LISTED_NAMES {
        list.push(format!("… ({} in all)", names.len()));
    }
    list.join(", ")
}
