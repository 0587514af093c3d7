//! Bodies of MLflow's `/invocations`: a byte for the model, one for the media type, then JSON or CSV.

#![no_main]

use csv::{ByteRecord, ReaderBuilder};
use libfuzzer_sys::fuzz_target;
use onnxd::{
    model::schema::Schema,
    protocol::mlflow::{csv::decode as decode_csv, decode::decode as decode_json},
};
use onnxd_fuzz::{
    memory::{OF_TEXT, bounded},
    models::model,
    promises::{accepted_json, accepted_rows, refused, refused_json},
};

fuzz_target!(|data: &[u8]| {
    let [picked, media_type, body @ ..] = data else { return };
    match media_type % 2 {
        0 => json(model(*picked), body),
        _ => csv(model(*picked), body),
    }
});

fn json(schema: &Schema, body: &[u8]) {
    match bounded(body.len(), OF_TEXT, || decode_json(schema, body)) {
        Ok((request, _form)) => {
            accepted_rows(&request, &schema.signature);
            accepted_json(body);
        }
        Err(error) => refused_json(&error, body),
    }
}

fn csv(schema: &Schema, body: &[u8]) {
    match bounded(body.len(), OF_TEXT, || decode_csv(schema, body)) {
        Ok(request) => {
            accepted_rows(&request, &schema.signature);
            let lines = ReaderBuilder::new().flexible(true).from_reader(body).into_byte_records();
            let lines: Vec<ByteRecord> = lines.map(|line| line.expect("what is accepted is CSV")).collect();
            for input in request.inputs {
                let rows = input.tensor.shape().first().copied().unwrap_or(1);
                assert_eq!(rows, lines.len(), "a line is a row of each input");
            }
        }
        Err(error) => refused(&error),
    }
}
