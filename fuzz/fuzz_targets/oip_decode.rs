//! Bodies of the Open Inference Protocol over REST, with the binary tensor extension.
//!
//! A byte for the model, two for the header that says how long the JSON is, then the body. A header of 65,535 is none, and
//! one of 0 says that there is no JSON, only bytes.

#![no_main]

use bytes::Bytes;
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use onnxd::{
    model::schema::Schema,
    protocol::{
        oip::raw,
        oip_rest::{
            binary::{Parts, read_raw, split},
            decode::decode,
        },
    },
    request::InferRequest,
};
use onnxd_fuzz::{
    memory::{OF_TEXT, bounded},
    models::{model, target},
    promises::{accepted, accepted_json, refused, refused_json},
};
use serde_json::json;

const NO_HEADER: u16 = u16::MAX;

fuzz_target!(|data: &[u8]| {
    let [picked, low, high, body @ ..] = data else { return };
    let length = u16::from_le_bytes([*low, *high]);
    let header = (length != NO_HEADER).then(|| HeaderValue::from(length));
    let (schema, body) = (model(*picked), Bytes::copy_from_slice(body));
    match split(header.as_ref(), body) {
        Err(error) => refused(&error),
        Ok(Parts::Raw(bytes)) => {
            // Rows are counted along axis 0 in every other input.
            let decoded = bounded(bytes.len(), OF_TEXT, || read_raw(target(schema), picked % 2 == 0, bytes));
            match decoded {
                Ok(request) => accepted(&request, &schema.signature),
                Err(error) => refused(&error),
            }
        }
        Ok(Parts::Json { json, binary }) => {
            let length = json.len() + binary.len();
            match bounded(length, OF_TEXT, || decode(target(schema), &json, binary, header.is_some())) {
                Ok((request, _form)) => {
                    accepted(&request, &schema.signature);
                    accepted_json(&json);
                    comes_back_as_bytes(schema, &request);
                }
                Err(error) => refused_json(&error, &json),
            }
        }
    }
});

/// Checks that the same tensors, written as bytes, are read as the same.
fn comes_back_as_bytes(schema: &Schema, request: &InferRequest) {
    let (mut inputs, mut binary) = (Vec::new(), Vec::new());
    for input in &request.inputs {
        let tensor = &input.tensor;
        raw::write(&mut binary, tensor).expect("a tensor that came can go");
        inputs.push(json!({
            "name": &*input.name, "shape": tensor.shape().to_vec(), "datatype": tensor.data_type().name(),
            "parameters": {"binary_data_size": raw::size(tensor)},
        }));
    }
    let json = Bytes::from(json!({"inputs": inputs}).to_string());
    let (again, _form) = decode(target(schema), &json, binary.into(), true).expect("what is encoded is accepted");
    assert_eq!(again.inputs.len(), request.inputs.len());
    for (again, input) in again.inputs.iter().zip(&request.inputs) {
        assert_eq!(again.tensor.shape(), input.tensor.shape());
        // As bytes, for NaN is not NaN.
        assert_eq!(raw::bytes(&again.tensor).ok(), raw::bytes(&input.tensor).ok());
    }
}
