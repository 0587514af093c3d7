//! Messages of gRPC, from their bytes on: a byte for the model, one for the service, then the message.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use onnxd::{
    model::schema::Schema,
    protocol::{
        codec::read,
        oip::raw,
        oip_grpc::decode::decode as decode_tensors,
        prediction_service::decode::decode as decode_rows,
        proto::{
            inference::{ModelInferRequest, model_infer_request::InferInputTensor},
            onnxd_v1::PredictRequest,
        },
    },
    request::InferRequest,
};
use onnxd_fuzz::{
    memory::{OF_A_SHORT_MESSAGE, bounded},
    models::{model, target},
    promises::{accepted, refused},
};
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let [picked, service, message @ ..] = data else { return };
    let (schema, message) = (model(*picked), Bytes::copy_from_slice(message));
    match service % 2 {
        0 => tensors(schema, message),
        _ => rows(schema, message),
    }
});

fn tensors(schema: &Schema, message: Bytes) {
    let decoded = bounded(message.len(), OF_A_SHORT_MESSAGE, || {
        Some(decode_tensors(target(schema), read::<ModelInferRequest>(message).ok()?))
    });
    match decoded {
        None => {}
        Some(Ok((request, _form))) => {
            accepted(&request, &schema.signature);
            comes_back_raw(schema, &request);
        }
        Some(Err(error)) => refused(&error),
    }
}

fn rows(schema: &Schema, message: Bytes) {
    let decoded = bounded(message.len(), OF_A_SHORT_MESSAGE, || {
        let message = read::<PredictRequest>(message).ok()?;
        let rows = if message.rows.is_empty() { 1 } else { message.rows.len() };
        Some((rows, decode_rows(schema, &message)))
    });
    match decoded {
        None => {}
        Some((rows, Ok(request))) => {
            accepted(&request, &schema.signature);
            assert!(request.inputs.iter().all(|input| input.tensor.shape()[0] == rows), "as many rows as came");
        }
        Some((_rows, Err(error))) => refused(&error),
    }
}

/// Checks that the same tensors, sent raw, are read as the same.
fn comes_back_raw(schema: &Schema, request: &InferRequest) {
    let mut message = ModelInferRequest::default();
    for input in &request.inputs {
        let shape = input.tensor.shape().iter().map(|size| i64::try_from(*size).expect("it came as one")).collect();
        message.inputs.push(InferInputTensor {
            name: input.name.to_string(),
            datatype: input.tensor.data_type().name().to_owned(),
            shape,
            ..Default::default()
        });
        message.raw_input_contents.push(raw::bytes(&input.tensor).expect("a tensor that came can go"));
    }
    let message = read(Bytes::from(message.encode_to_vec())).expect("what is encoded is a message");
    let (again, _form) = decode_tensors(target(schema), message).expect("what is encoded is accepted");
    assert_eq!(again.inputs.len(), request.inputs.len());
    for (again, input) in again.inputs.iter().zip(&request.inputs) {
        assert_eq!(again.tensor.shape(), input.tensor.shape());
        // As bytes, for NaN is not NaN.
        assert_eq!(raw::bytes(&again.tensor).ok(), raw::bytes(&input.tensor).ok());
    }
}
