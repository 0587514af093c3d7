//! The bodies of the Open Inference Protocol. Must say what `protocol/oip` and `protocol/oip_rest` read and write; the tests hold them
//! against each other.

use utoipa::openapi::{
    Ref, RefOr,
    schema::{
        AdditionalProperties, ArrayBuilder, ComponentsBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
    },
};

use crate::{
    tensor::data_type::DataType,
    transport::http::openapi::operations::{list_of, object, text},
};

/// The component of an inference request.
pub(super) const INFER_REQUEST: &str = "OipInferRequest";
/// The component of an inference answer.
pub(super) const INFER_RESPONSE: &str = "OipInferResponse";

pub(super) fn add_schemas(components: ComponentsBuilder) -> ComponentsBuilder {
    components
        .schema("OipServer", server())
        .schema("OipTensor", tensor())
        .schema("OipModel", model())
        .schema("OipConfig", config())
        .schema("OipDuration", duration())
        .schema("OipStatistics", statistics())
        .schema("OipIndexEntry", index_entry())
        .schema("OipData", data())
        .schema("OipParameters", parameters())
        .schema(INFER_REQUEST, infer_request())
        .schema(INFER_RESPONSE, infer_response())
}

fn of(component: &str) -> RefOr<Schema> {
    Ref::from_schema_name(component).into()
}

fn count() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0))
}

fn flag() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

fn data_type() -> ObjectBuilder {
    text().enum_values(Some(DataType::ALL.map(DataType::name)))
}

/// Makes a list of sizes; a declared one has -1 for any size.
fn shape(least: i32) -> ArrayBuilder {
    list_of(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)))
}

fn map_of(value: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::RefOr(value.into())))
}

fn server() -> ObjectBuilder {
    object([
        ("name", text().into()),
        ("version", text().description(Some("onnxd's own.")).into()),
        ("extensions", list_of(text()).description(Some("Those that work.")).into()),
    ])
}

fn tensor() -> ObjectBuilder {
    let shape = shape(-1).description(Some("-1 is any size."));
    object([("name", text().into()), ("datatype", data_type().into()), ("shape", shape.into())])
}

fn model() -> ObjectBuilder {
    let properties = map_of(text()).description(Some("`description`; `features` and `classes`, JSON lists of names."));
    object([
        ("name", text().into()),
        ("versions", list_of(text()).into()),
        ("platform", text().into()),
        ("inputs", list_of(of("OipTensor")).into()),
        ("outputs", list_of(of("OipTensor")).into()),
    ])
    .property("properties", properties)
}

fn config() -> ObjectBuilder {
    let tensor = || {
        let data_type = text().description(Some("TYPE_FP32 and so on."));
        object([("name", text().into()), ("data_type", data_type.into()), ("dims", shape(-1).into())])
    };
    let versions = object([("versions", list_of(count()).into())]);
    let instances = object([("name", text().into()), ("kind", text().into()), ("count", count().into())]);
    let queue = object([("max_queue_size", count().into())]);
    let batching = object([("max_queue_delay_microseconds", count().into()), ("default_queue_policy", queue.into())]);
    let batch_size = count().description(Some("0 where axis 0 does not count rows; more rows are split, not refused."));
    object([
        ("name", text().into()),
        ("platform", text().into()),
        ("backend", text().into()),
        ("version_policy", object([("specific", versions.into())]).into()),
        ("max_batch_size", batch_size.into()),
        ("input", list_of(tensor()).into()),
        ("output", list_of(tensor()).into()),
        ("instance_group", list_of(instances).into()),
        ("default_model_filename", text().into()),
        ("parameters", map_of(object([("string_value", text().into())])).into()),
        ("model_transaction_policy", object([("decoupled", flag().into())]).into()),
    ])
    .property("dynamic_batching", batching)
}

fn duration() -> ObjectBuilder {
    object([("count", count().into()), ("ns", count().into())])
}

fn statistics() -> ObjectBuilder {
    let durations = |names: &[&str]| {
        names
            .iter()
            .fold(ObjectBuilder::new(), |object, name| object.property(*name, of("OipDuration")).required(*name))
    };
    let whole = durations(&[
        "success",
        "fail",
        "queue",
        "compute_input",
        "compute_infer",
        "compute_output",
        "cache_hit",
        "cache_miss",
    ]);
    let by_size = durations(&["compute_input", "compute_infer", "compute_output"]);
    let by_size = by_size.property("batch_size", count()).required("batch_size");
    let model = object([
        ("name", text().into()),
        ("version", text().into()),
        ("last_inference", count().description(Some("In milliseconds since 1970; 0 for never.")).into()),
        ("inference_count", count().description(Some("Rows answered; requests where axis 0 counts none.")).into()),
        ("execution_count", count().description(Some("Runs of the model.")).into()),
        ("inference_stats", whole.into()),
        ("batch_stats", list_of(by_size).into()),
    ]);
    object([("model_stats", list_of(model).into())])
}

fn index_entry() -> ObjectBuilder {
    let state = text().enum_values(Some(["READY", "LOADING", "UNAVAILABLE"]));
    object([("name", text().into()), ("state", state.into()), ("reason", text().into())]).property("version", text())
}

fn data() -> Schema {
    let element = OneOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::Number)))
        .item(text())
        .item(flag())
        .item(ObjectBuilder::new().schema_type(SchemaType::new(Type::Null)))
        .item(ArrayBuilder::new().description(Some("The same again, nested deeper.")));
    ArrayBuilder::new().items(element).description(Some("Elements in row-major order, nested in whatever way.")).into()
}

fn parameters() -> ObjectBuilder {
    ObjectBuilder::new().description(Some("Those that are not known are passed over."))
}

fn infer_request() -> ObjectBuilder {
    let size = count().description(Some("The bytes after the JSON, instead of `data`."));
    let input = object([("name", text().into()), ("shape", shape(0).into()), ("datatype", data_type().into())])
        .property("data", of("OipData"))
        .property("parameters", parameters().property("binary_data_size", size));
    let classes = count().minimum(Some(1)).description(Some("So many of the highest values, as value:index:label."));
    let output = object([("name", text().into())])
        .property("parameters", parameters().property("binary_data", flag()).property("classification", classes));
    let timeout = count().description(Some("The request's own deadline, in microseconds; 0 is none."));
    let own = parameters().property("binary_data_output", flag()).property("timeout", timeout);
    object([("inputs", list_of(input).into())])
        .property("id", text())
        .property("outputs", list_of(output).description(Some("All where none is listed.")))
        .property("parameters", own)
}

fn infer_response() -> ObjectBuilder {
    let size = parameters().property("binary_data_size", count());
    let output = object([("name", text().into()), ("datatype", data_type().into()), ("shape", shape(0).into())])
        .property("data", of("OipData"))
        .property("parameters", size);
    object([("model_name", text().into()), ("model_version", text().into()), ("outputs", list_of(output).into())])
        .property("id", text())
}
