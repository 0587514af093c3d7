//! What a model's predict endpoint answers.
//!
//! Must say what `native/encode` writes; the tests hold the two against each other.

use utoipa::openapi::{
    Ref,
    schema::{
        AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type,
    },
};

use crate::{
    model::{
        name::{ModelName, ModelVersion},
        schema::Schema as ModelSchema,
        task::{Classes, Classification, MultiLabel, Regression, Task},
    },
    tensor::data_type::DataType,
    transport::http::openapi::element::{answered, array, nullable, tensor},
};

/// Of more classes than this, a description names none, and the probabilities' keys are not declared one by one.
const MAX_DECLARED_CLASSES: usize = 256;

/// Returns the schema of one prediction, or nothing for a model that answers tensors.
pub(super) fn prediction(schema: &ModelSchema) -> Option<Schema> {
    match &schema.task {
        Task::Classification(task) => Some(classification(ObjectBuilder::new(), schema, task).into()),
        Task::MultiLabel(task) => Some(multi_label(ObjectBuilder::new(), schema, task).into()),
        Task::Regression(task) => Some(regression(ObjectBuilder::new(), schema, task).into()),
        Task::Raw(_) => None,
    }
}

/// Returns the schema of the answer. `prediction` refers to the schema of one prediction, which [`prediction`] gives.
pub(super) fn body(schema: &ModelSchema, name: &ModelName, version: ModelVersion, prediction: &Ref) -> Schema {
    let one = match &schema.task {
        Task::Raw(_) => return outputs(schema, name, version).into(),
        Task::MultiLabel(task) => multi_label(head(name, version), schema, task),
        Task::Classification(task) => classification(head(name, version), schema, task),
        Task::Regression(task) => regression(head(name, version), schema, task),
    };
    let one = with_others(one, schema);
    let predictions = ArrayBuilder::new().items(prediction.clone()).description(Some("One a row, in the rows' order."));
    let many = head(name, version)
        .title(Some("predictions"))
        .description(Some("The answer to rows, or to inputs."))
        .property("predictions", predictions)
        .required("predictions");
    let many = with_others(many, schema);
    let one = one.title(Some("prediction")).description(Some("The answer to one row."));
    OneOfBuilder::new().item(one).item(many).into()
}

fn head(name: &ModelName, version: ModelVersion) -> ObjectBuilder {
    let text = |only: String| ObjectBuilder::new().schema_type(Type::String).enum_values(Some([only]));
    let time = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("When the answer was made: RFC 3339, UTC."));
    ObjectBuilder::new()
        .property("model", text(name.to_string()))
        .required("model")
        .property("model_version", text(version.to_string()))
        .required("model_version")
        .property("prediction_time", time)
        .required("prediction_time")
}

fn classification(object: ObjectBuilder, schema: &ModelSchema, task: &Classification) -> ObjectBuilder {
    let label = match task.label {
        Some(label) => ObjectBuilder::from(answered(schema.signature.outputs[label].tensor.data_type)),
        None => ObjectBuilder::new().schema_type(nullable(Type::Integer)),
    };
    let label = label.description(Some("The class that the model predicts, as the model says it."));
    let count = schema.classes.as_ref().map(|classes| classes.names.len());
    let index = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(count.map(|count| count.saturating_sub(1)))
        .description(Some("The class's place among the classes, from 0; left out where the label is none of them."));
    let class_name = ObjectBuilder::new()
        .schema_type(if task.label.is_some() { Type::String.into() } else { nullable(Type::String) })
        .description(Some(describe_class_name(schema.classes.as_ref())));
    let object = object
        .property("prediction", label)
        .required("prediction")
        .property("prediction_index", index)
        .property("predicted_class_name", class_name)
        .required("predicted_class_name");
    match task.probabilities {
        None => object,
        Some(output) => {
            let data_type = schema.signature.outputs[output].tensor.data_type;
            object
                .property("probabilities", probabilities(schema.classes.as_ref(), data_type))
                .required("probabilities")
        }
    }
}

fn describe_class_name(classes: Option<&Classes>) -> String {
    match classes.map(|classes| &classes.names[..]) {
        Some(names) if names.len() <= MAX_DECLARED_CLASSES => format!("One of: {}.", names.join(", ")),
        Some(_) | None => "The name of the class.".to_owned(),
    }
}

fn probabilities(classes: Option<&Classes>, data_type: DataType) -> Schema {
    let number = answered(data_type);
    let object = ObjectBuilder::new().description(Some("One number a class, by the class's name."));
    match classes.map(|classes| &classes.names[..]) {
        Some(names) if names.len() <= MAX_DECLARED_CLASSES => {
            let declare = |object: ObjectBuilder, name| object.property(name, number.clone()).required(name);
            let object = names.iter().map(|name| &**name).fold(object, declare);
            object.additional_properties(Some(AdditionalProperties::FreeForm(false))).into()
        }
        Some(_) | None => object.additional_properties(Some(Schema::from(number))).into(),
    }
}

fn multi_label(object: ObjectBuilder, schema: &ModelSchema, task: &MultiLabel) -> ObjectBuilder {
    let data_type = |output: usize| schema.signature.outputs[output].tensor.data_type;
    let classes = schema.classes.as_ref();
    let label = ObjectBuilder::new().schema_type(Type::String).description(Some(describe_class_name(classes)));
    let labels = ArrayBuilder::new().items(label).description(Some("The names of the labels that hold."));
    object
        .property("prediction", array(answered(data_type(task.indicators)), Some(task.width)))
        .required("prediction")
        .property("labels", labels)
        .required("labels")
        .property("probabilities", probabilities(classes, data_type(task.probabilities)))
        .required("probabilities")
}

fn regression(object: ObjectBuilder, schema: &ModelSchema, task: &Regression) -> ObjectBuilder {
    let number = answered(schema.signature.outputs[task.value].tensor.data_type);
    let value: Schema = match task.targets {
        1 => number.into(),
        targets => array(number, Some(targets)).into(),
    };
    let object = object.property("prediction", value.clone()).required("prediction");
    match task.prediction_name.as_deref().filter(|name| *name != "prediction") {
        Some(name) => object.property(name, value).required(name),
        None => object,
    }
}

/// Adds the outputs that a classifier gives beside label and probabilities.
fn with_others(object: ObjectBuilder, schema: &ModelSchema) -> ObjectBuilder {
    match &schema.task {
        Task::Classification(Classification { others, .. }) | Task::MultiLabel(MultiLabel { others, .. })
            if !others.is_empty() =>
        {
            with_tensors(object, schema, others)
        }
        _ => object,
    }
}

fn outputs(schema: &ModelSchema, name: &ModelName, version: ModelVersion) -> ObjectBuilder {
    let all: Vec<_> = (0..schema.signature.outputs.len()).collect();
    with_tensors(head(name, version), schema, &all)
}

fn with_tensors(object: ObjectBuilder, schema: &ModelSchema, outputs: &[usize]) -> ObjectBuilder {
    let outputs = outputs.iter().map(|index| &schema.signature.outputs[*index].tensor);
    let tensors = outputs.fold(ObjectBuilder::new(), |object, spec| {
        object.property(&*spec.name, tensor(spec, answered(spec.data_type))).required(&*spec.name)
    });
    let tensors = tensors.additional_properties(Some(AdditionalProperties::FreeForm(false)));
    object
        .property("outputs", tensors.description(Some("Tensors by output name, as nested arrays.")))
        .required("outputs")
}
