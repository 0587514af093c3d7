//! `GET /v1/models/{model}/metadata`: inputs and outputs as TensorFlow's signature.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::{
    edge::error::ErrorResponse,
    error::Result,
    model::signature::{Dim, TensorSpec},
    protocol::tfs::decode::{PREDICT_METHOD, SIGNATURE},
    serving::{catalog::VersionRef, served_model::ServedModel},
    tensor::data_type::DataType,
    transport::http::{
        endpoints::tfs::path::find,
        pipeline::{app::App, url_path::UrlPath},
    },
};

pub async fn model(
    State(app): State<App>,
    UrlPath(name): UrlPath<String>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    Ok(Json(metadata(&*find(&app, &name, VersionRef::Default, &request)?)).into_response())
}

pub async fn version(
    State(app): State<App>,
    UrlPath((name, number)): UrlPath<(String, String)>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    Ok(Json(metadata(&*find(&app, &name, VersionRef::Number(&number), &request)?)).into_response())
}

fn metadata(model: &ServedModel) -> Value {
    let signature = &model.schema.signature;
    let inputs = tensors(signature.inputs.iter());
    let outputs = tensors(signature.outputs.iter().map(|output| &output.tensor));
    let definition = json!({ SIGNATURE: {"inputs": inputs, "outputs": outputs, "method_name": PREDICT_METHOD} });
    json!({
        "model_spec": {
            "name": model.name.as_str(),
            "signature_name": "",
            "version": model.version.to_string(),
        },
        "metadata": {"signature_def": {"signature_def": definition}},
    })
}

fn tensors<'a>(specs: impl Iterator<Item = &'a TensorSpec>) -> Map<String, Value> {
    specs.map(|spec| (spec.name.to_string(), tensor(spec))).collect()
}

fn tensor(spec: &TensorSpec) -> Value {
    let dims = spec.dims.iter().flatten().zip(spec.protocol_dims()).map(|(dim, size)| {
        let name = match dim {
            Dim::Dynamic(Some(name)) => name,
            Dim::Dynamic(None) | Dim::Fixed(_) => "",
        };
        // 64-bit integers are strings in the JSON of protocol buffers.
        json!({"size": size.to_string(), "name": name})
    });
    json!({
        "dtype": data_type_name(spec.data_type),
        "tensor_shape": {"dim": dims.collect::<Vec<_>>(), "unknown_rank": spec.dims.is_none()},
        "name": &*spec.name,
    })
}

fn data_type_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "DT_BOOL",
        DataType::Uint8 => "DT_UINT8",
        DataType::Uint16 => "DT_UINT16",
        DataType::Uint32 => "DT_UINT32",
        DataType::Uint64 => "DT_UINT64",
        DataType::Int8 => "DT_INT8",
        DataType::Int16 => "DT_INT16",
        DataType::Int32 => "DT_INT32",
        DataType::Int64 => "DT_INT64",
        DataType::Fp16 => "DT_HALF",
        DataType::Bf16 => "DT_BFLOAT16",
        DataType::Fp32 => "DT_FLOAT",
        DataType::Fp64 => "DT_DOUBLE",
        DataType::Bytes => "DT_STRING",
    }
}
