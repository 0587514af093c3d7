//! Bodies of the native API: a byte for the model, then the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onnxd::protocol::native::decode::decode;
use onnxd_fuzz::{
    memory::{OF_TEXT, bounded},
    models::model,
    promises::{accepted, accepted_json, refused_json},
};

fuzz_target!(|data: &[u8]| {
    let Some((picked, body)) = data.split_first() else { return };
    let schema = model(*picked);
    match bounded(body.len(), OF_TEXT, || decode(schema, body)) {
        Ok(decoded) => {
            accepted(&decoded.request, &schema.signature);
            accepted_json(body);
        }
        Err(error) => refused_json(&error, body),
    }
});
