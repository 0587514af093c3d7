//! `ModelInfer`: typed and raw contents, outputs, parameters, and every refusal.

use std::collections::HashMap;

use bytes::Bytes;
use onnxd::{
    protocol::proto::inference::{
        InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
        infer_parameter::ParameterChoice,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    },
    tensor::data_type::DataType,
};
use tonic::Code;

use crate::{
    grpc_client::{Client, MODEL_INFER, iris_request, le_bytes},
    harness::TestServer,
    identity::serve_identity,
};

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(choice) }
}

fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor { name: name.into(), datatype: datatype.into(), shape: shape.to_vec(), ..Default::default() }
}

/// A request for a model that answers what it is given.
fn echo(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> ModelInferRequest {
    let input = InferInputTensor { contents, ..input("x", datatype, shape) };
    ModelInferRequest { model_name: "identity".to_owned(), inputs: vec![input], ..Default::default() }
}

fn echo_raw(datatype: &str, shape: &[i64], raw: &[u8]) -> ModelInferRequest {
    let raw_input_contents = vec![Bytes::copy_from_slice(raw)];
    ModelInferRequest { raw_input_contents, ..echo(datatype, shape, None) }
}

fn wanting(outputs: &[(&str, Option<ParameterChoice>)]) -> Vec<InferRequestedOutputTensor> {
    let wanted = |(name, classes): &(&str, Option<ParameterChoice>)| InferRequestedOutputTensor {
        name: (*name).to_owned(),
        parameters: classes.iter().cloned().map(|choice| ("classification".to_owned(), parameter(choice))).collect(),
    };
    outputs.iter().map(wanted).collect()
}

/// Reads strings as they are answered raw.
fn strings(raw: &[u8]) -> Vec<String> {
    let mut rest = raw;
    let mut strings = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (string, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        strings.push(String::from_utf8(string.to_vec()).unwrap());
        rest = after;
    }
    strings
}

#[tokio::test]
async fn answers_are_raw_and_name_model_version_and_id() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let response = client.infer(ModelInferRequest { id: "a-7".to_owned(), ..iris_request() }).await;
    assert_eq!((&*response.model_name, &*response.model_version, &*response.id), ("iris", "1", "a-7"));
    let outputs: Vec<_> = response.outputs.iter().map(|output| (&*output.name, &*output.datatype)).collect();
    assert_eq!(outputs, [("label", "INT64"), ("probabilities", "FP32")]);
    assert_eq!((&response.outputs[0].shape[..], &response.outputs[1].shape[..]), (&[1][..], &[1, 3][..]));
    assert!(response.outputs.iter().all(|output| output.contents.is_none()));
    assert_eq!(response.raw_output_contents[0], 0_i64.to_le_bytes().to_vec());
    assert_eq!(response.raw_output_contents[1].len(), 12);
}

#[tokio::test]
async fn every_type_comes_back_as_it_went_raw() {
    for data_type in DataType::ALL {
        let server = serve_identity(data_type, &[-1, 2]).await;
        let client = Client::of(&server).await;
        let raw = match data_type.size() {
            Some(size) => [1, 0].repeat(size),
            None => b"\x04\0\0\0a\0\xff\xfe\0\0\0\0".to_vec(),
        };
        let response = client.infer(echo_raw(data_type.name(), &[1, 2], &raw)).await;
        assert_eq!(response.raw_output_contents, [raw], "{data_type}");
        assert_eq!(response.outputs[0].datatype, data_type.name());
    }
}

#[tokio::test]
async fn every_type_but_half_floats_may_be_typed() {
    let list = InferTensorContents::default;
    let cases: [(DataType, InferTensorContents, Vec<u8>); 12] = [
        (DataType::Bool, InferTensorContents { bool_contents: vec![true, false], ..list() }, vec![1, 0]),
        (DataType::Int8, InferTensorContents { int_contents: vec![-128, 127], ..list() }, vec![0x80, 0x7f]),
        (DataType::Int16, InferTensorContents { int_contents: vec![-2, 1], ..list() }, vec![0xfe, 0xff, 1, 0]),
        (DataType::Int32, InferTensorContents { int_contents: vec![1, 2], ..list() }, vec![1, 0, 0, 0, 2, 0, 0, 0]),
        (
            DataType::Int64,
            InferTensorContents { int64_contents: vec![i64::MAX, 1], ..list() },
            [i64::MAX, 1].iter().flat_map(|value| value.to_le_bytes()).collect(),
        ),
        (DataType::Uint8, InferTensorContents { uint_contents: vec![0, 255], ..list() }, vec![0, 255]),
        (DataType::Uint16, InferTensorContents { uint_contents: vec![65535, 1], ..list() }, vec![255, 255, 1, 0]),
        (DataType::Uint32, InferTensorContents { uint_contents: vec![1, 2], ..list() }, vec![1, 0, 0, 0, 2, 0, 0, 0]),
        (
            DataType::Uint64,
            InferTensorContents { uint64_contents: vec![u64::MAX, 1], ..list() },
            [u64::MAX, 1].iter().flat_map(|value| value.to_le_bytes()).collect(),
        ),
        (
            DataType::Fp32,
            InferTensorContents { fp32_contents: vec![f32::NAN, -0.0], ..list() },
            [f32::NAN, -0.0].iter().flat_map(|value| value.to_le_bytes()).collect(),
        ),
        (
            DataType::Fp64,
            InferTensorContents { fp64_contents: vec![f64::INFINITY, 0.1], ..list() },
            [f64::INFINITY, 0.1].iter().flat_map(|value| value.to_le_bytes()).collect(),
        ),
        (
            DataType::Bytes,
            InferTensorContents { bytes_contents: vec![Bytes::from_static(b"a\0b"), Bytes::new()], ..list() },
            b"\x03\0\0\0a\0b\0\0\0\0".to_vec(),
        ),
    ];
    for (data_type, contents, raw) in cases {
        let server = serve_identity(data_type, &[-1, 2]).await;
        let client = Client::of(&server).await;
        let response = client.infer(echo(data_type.name(), &[1, 2], Some(contents))).await;
        assert_eq!(response.raw_output_contents, [raw], "{data_type}");
    }
}

#[tokio::test]
async fn typed_values_of_another_types_list_are_refused() {
    let floats = InferTensorContents { fp32_contents: vec![1.0; 2], ..Default::default() };
    let integers = InferTensorContents { int_contents: vec![1; 2], ..Default::default() };
    for (data_type, contents, expected) in [
        (DataType::Bool, &integers, "BOOL does not travel in int_contents; expected bool_contents"),
        (DataType::Uint8, &integers, "UINT8 does not travel in int_contents; expected uint_contents"),
        (DataType::Uint32, &integers, "UINT32 does not travel in int_contents; expected uint_contents"),
        (DataType::Uint64, &integers, "UINT64 does not travel in int_contents; expected uint64_contents"),
        (DataType::Int64, &integers, "INT64 does not travel in int_contents; expected int64_contents"),
        (DataType::Int8, &floats, "INT8 does not travel in fp32_contents; expected int_contents"),
        (DataType::Fp64, &floats, "FP64 does not travel in fp32_contents; expected fp64_contents"),
        (DataType::Bytes, &floats, "BYTES does not travel in fp32_contents; expected bytes_contents"),
        // There is no list for half floats.
        (DataType::Fp16, &floats, "FP16 does not travel in fp32_contents; expected it in raw_input_contents"),
        (DataType::Bf16, &floats, "BF16 does not travel in fp32_contents; expected it in raw_input_contents"),
    ] {
        let server = serve_identity(data_type, &[-1, 2]).await;
        let request = echo(data_type.name(), &[1, 2], Some(contents.clone()));
        let error = Client::of(&server).await.refuse_infer(request).await;
        assert_eq!(error, format!("input 'x': {expected}"));
    }
}

#[tokio::test]
async fn scalars_and_empty_tensors_are_served() {
    let server = serve_identity(DataType::Fp32, &[]).await;
    let response = Client::of(&server).await.infer(echo_raw("FP32", &[], &7_f32.to_le_bytes())).await;
    assert_eq!((&response.outputs[0].shape[..], response.raw_output_contents[0].len()), (&[][..], 4));
    let server = serve_identity(DataType::Fp32, &[-1, 4]).await;
    let client = Client::of(&server).await;
    for contents in [None, Some(InferTensorContents::default())] {
        let response = client.infer(echo("FP32", &[0, 4], contents)).await;
        assert_eq!(
            (&response.outputs[0].shape[..], &response.raw_output_contents[..]),
            (&[0, 4][..], &[Bytes::new()][..])
        );
    }
    let response = client.infer(echo_raw("FP32", &[0, 4], b"")).await;
    assert_eq!(response.raw_output_contents, [Bytes::new()]);
}

#[tokio::test]
async fn outputs_that_are_asked_for_are_the_only_ones() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let response = client.infer(ModelInferRequest { outputs: wanting(&[("label", None)]), ..iris_request() }).await;
    assert_eq!(response.outputs.iter().map(|output| &*output.name).collect::<Vec<_>>(), ["label"]);
    assert_eq!(response.raw_output_contents.len(), 1);
    let classes = wanting(&[("probabilities", Some(ParameterChoice::Int64Param(2)))]);
    let response = client.infer(ModelInferRequest { outputs: classes, ..iris_request() }).await;
    assert_eq!((&*response.outputs[0].datatype, &response.outputs[0].shape[..]), ("BYTES", &[1, 2][..]));
    assert_eq!(strings(&response.raw_output_contents[0]), ["0.979701:0:setosa", "0.020299:1:versicolor"]);
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_passed_over() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let parameters = [
        ("priority", ParameterChoice::Uint64Param(1)),
        ("sequence_id", ParameterChoice::Int64Param(0)),
        ("timeout", ParameterChoice::Int64Param(10_000_000)),
        ("my own", ParameterChoice::StringParam("a".to_owned())),
    ];
    let parameters: HashMap<_, _> =
        parameters.into_iter().map(|(name, choice)| (name.to_owned(), parameter(choice))).collect();
    client.infer(ModelInferRequest { parameters, ..iris_request() }).await;
}

#[tokio::test]
async fn contents_that_do_not_fit_are_refused() {
    let server = serve_identity(DataType::Fp32, &[-1, 4]).await;
    let client = Client::of(&server).await;
    let list = |values: usize| InferTensorContents { fp32_contents: vec![1.0; values], ..Default::default() };
    let raw = Bytes::from_static(&[0; 16]);
    let cases = [
        (echo("FP32", &[1, 4], None), "unable to find data for input tensor 'x' for model 'identity'"),
        (echo("FP32", &[1, 4], Some(list(0))), "unable to find data for input tensor 'x'"),
        (echo("FP32", &[1, 4], Some(list(3))), "input 'x': expected 4 values for its shape, but got 3"),
        (
            echo("FP32", &[1, 4], Some(InferTensorContents { fp64_contents: vec![1.0], ..list(4) })),
            "input 'x': expected one list in its contents, but got several",
        ),
        (
            echo("FP32", &[1, 4], Some(InferTensorContents { fp64_contents: vec![1.0; 4], ..list(0) })),
            "input 'x': FP32 does not travel in fp64_contents; expected fp32_contents",
        ),
        (
            ModelInferRequest { raw_input_contents: vec![raw.clone()], ..echo("FP32", &[1, 4], Some(list(4))) },
            "input 'x': contents field must not be specified when using raw_input_contents",
        ),
        (
            ModelInferRequest { raw_input_contents: vec![raw.clone(); 2], ..echo("FP32", &[1, 4], None) },
            "raw_input_contents: expected 1 buffers, one an input, but got 2",
        ),
        (
            ModelInferRequest { inputs: Vec::new(), ..echo_raw("FP32", &[1, 4], &raw) },
            "raw_input_contents: expected 0 buffers, one an input, but got 1",
        ),
        (echo_raw("FP32", &[1, 4], &raw[..15]), "input byte size mismatch for input 'x'"),
        (echo_raw("FP32", &[1, 4], &[0; 17]), "input byte size mismatch for input 'x'"),
        (
            echo_raw("INT32", &[1, 4], &raw),
            "inference input 'x' data-type is 'INT32', but model 'identity' expects 'FP32'",
        ),
        (echo_raw("fp32", &[1, 4], &raw), "inference input 'x' data-type is 'fp32'"),
        (echo_raw("FP32", &[4], &raw), "unexpected shape for input 'x' for model 'identity'. Expected [-1,4], got [4]"),
        (echo_raw("FP32", &[-1, 4], &raw), "input 'x': expected dimensions of 0 and more in its shape, but got -1"),
        (echo_raw("FP32", &[i64::MAX, 4], &raw), "input 'x': shape [9223372036854775807,4] has more elements than fit"),
        (echo_raw("FP32", &[1 << 40, 4], &raw), "input byte size mismatch for input 'x'"),
        (
            echo("FP32", &[1 << 40, 4], Some(list(4))),
            "input 'x': expected 4398046511104 values for its shape, but got 4",
        ),
        (
            ModelInferRequest { inputs: Vec::new(), ..echo("FP32", &[], None) },
            "expected 1 inputs but got 0 inputs for model 'identity'",
        ),
    ];
    for (request, expected) in cases {
        let error = client.refuse_infer(request).await;
        assert!(error.starts_with(expected), "expected {expected:?}, got {error:?}");
    }
    client.infer(echo_raw("FP32", &[1, 4], &raw)).await;
}

#[tokio::test]
async fn integers_out_of_range_and_strings_cut_off_are_refused() {
    let server = serve_identity(DataType::Int8, &[-1]).await;
    let contents = InferTensorContents { int_contents: vec![300], ..Default::default() };
    let error = Client::of(&server).await.refuse_infer(echo("INT8", &[1], Some(contents))).await;
    assert_eq!(error, "input 'x': 300 is out of range for INT8");
    let server = serve_identity(DataType::Bytes, &[-1]).await;
    let client = Client::of(&server).await;
    for raw in [&b"\x05\0\0\0abcd"[..], b"\0\0", b"", b"\0\0\0\0\0\0\0\0"] {
        client.refuse_infer(echo_raw("BYTES", &[1], raw)).await;
    }
}

#[tokio::test]
async fn names_and_parameters_that_are_wrong_are_refused() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let iris = iris_request;
    let features = || input("features", "FP32", &[1, 4]);
    let twice = vec![features(), features()];
    let raw_twice = vec![le_bytes(&[0.0; 4]); 2];
    let in_shared_memory = InferInputTensor {
        parameters: [("shared_memory_region".to_owned(), parameter(ParameterChoice::StringParam("r".to_owned())))]
            .into(),
        ..features()
    };
    let with_timeout = |choice| [("timeout".to_owned(), parameter(choice))].into();
    let cases = [
        (ModelInferRequest { inputs: vec![input("z", "FP32", &[1, 4])], ..iris() }, "unexpected inference input 'z'"),
        (ModelInferRequest { inputs: twice, raw_input_contents: raw_twice, ..iris() }, "inference input 'features'"),
        (ModelInferRequest { outputs: wanting(&[("z", None)]), ..iris() }, "unexpected inference output 'z'"),
        (
            ModelInferRequest { outputs: wanting(&[("label", None), ("label", None)]), ..iris() },
            "inference output 'label' for model 'iris' is there twice",
        ),
        (
            ModelInferRequest {
                outputs: wanting(&[("probabilities", Some(ParameterChoice::Int64Param(0)))]),
                ..iris()
            },
            "output \"probabilities\": parameter \"classification\": expected an int64_param of 1 or more, but got 0",
        ),
        (
            ModelInferRequest {
                outputs: wanting(&[("probabilities", Some(ParameterChoice::StringParam("2".to_owned())))]),
                ..iris()
            },
            "output \"probabilities\": parameter \"classification\": expected an int64_param of 1 or more, but got a string",
        ),
        (
            ModelInferRequest { inputs: vec![in_shared_memory], ..iris() },
            "input \"features\": shared memory is not supported",
        ),
        (
            ModelInferRequest { parameters: with_timeout(ParameterChoice::Int64Param(-1)), ..iris() },
            "parameter \"timeout\": expected a number of microseconds, but got -1",
        ),
        (
            ModelInferRequest { model_version: "one".to_owned(), ..iris() },
            "expected a version that is a number, or none, but got \"one\"",
        ),
    ];
    for (request, expected) in cases {
        let error = client.refuse_infer(request).await;
        assert!(error.starts_with(expected), "expected {expected:?}, got {error:?}");
    }
}

#[tokio::test]
async fn models_and_versions_that_are_not_there_are_not_found() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    for (model_name, model_version) in [("nope", ""), ("iris", "9"), ("iris", "0"), ("", "")] {
        let (model_name, model_version) = (model_name.to_owned(), model_version.to_owned());
        let request = ModelInferRequest { model_name, model_version, ..iris_request() };
        let error = client.refuse::<_, ModelInferResponse>(MODEL_INFER, request, Code::NotFound).await;
        assert!(error.contains("is not found"), "{error}");
    }
}
