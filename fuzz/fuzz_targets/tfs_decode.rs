//! Bodies of TensorFlow Serving's API, and of KServe's first: a byte for the model, one for the verb, then the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onnxd::protocol::tfs::{decode::decode, verb::Verb};
use onnxd_fuzz::{
    memory::{OF_TEXT, bounded},
    models::model,
    promises::{accepted_json, accepted_rows, document, refused_json},
};

fuzz_target!(|data: &[u8]| {
    let [picked, verb, body @ ..] = data else { return };
    let (schema, verb) = (model(*picked), [Verb::Predict, Verb::Classify, Verb::Regress][usize::from(verb % 3)]);
    match bounded(body.len(), OF_TEXT, || decode(schema, verb, body)) {
        Ok((request, _form)) => {
            accepted_rows(&request, &schema.signature);
            accepted_json(document(body));
        }
        Err(error) => refused_json(&error, document(body)),
    }
});
