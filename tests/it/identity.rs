//! Models that answer what they are given, of any element type: what is lost on the way was lost by us.

use std::fs;

use onnxd::tensor::data_type::DataType;
use tempfile::TempDir;

use crate::{harness::TestServer, onnx};

/// Serves `y = x` on ONNX Runtime; a dimension of -1 is dynamic.
///
/// A number of rank 1 is a feature, and the answer a regression's; of a higher rank, the answer is `outputs`.
pub async fn serve_identity(data_type: DataType, dims: &[i64]) -> TestServer {
    serve_file("identity.onnx", &onnx::identity(element_type(data_type), dims)).await
}

/// Serves a model of these bytes under the name `model`.
pub async fn serve_model(bytes: &[u8]) -> TestServer {
    serve_file("model.onnx", bytes).await
}

async fn serve_file(name: &str, bytes: &[u8]) -> TestServer {
    let folder = TempDir::new().expect("there is room for a folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("the file can be written");
    TestServer::start_with(path, |_config| {}).await.keeping(folder)
}

/// Returns the number that onnx.proto has for an element type.
pub fn element_type(data_type: DataType) -> i32 {
    match data_type {
        DataType::Fp32 => 1,
        DataType::Uint8 => 2,
        DataType::Int8 => 3,
        DataType::Uint16 => 4,
        DataType::Int16 => 5,
        DataType::Int32 => 6,
        DataType::Int64 => 7,
        DataType::Bytes => 8,
        DataType::Bool => 9,
        DataType::Fp16 => 10,
        DataType::Fp64 => 11,
        DataType::Uint32 => 12,
        DataType::Uint64 => 13,
        DataType::Bf16 => 16,
    }
}
