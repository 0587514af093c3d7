//! Outputs to the answer's body: JSON, and the bytes of those that are wanted as bytes after it.

use crate::{
    error::{Error, ErrorKind, Result},
    json::write::{Number, write_flat, write_string},
    model::name::{ModelName, ModelVersion},
    protocol::{
        oip::{
            outputs::{AnsweredOutput, AnsweredOutputs},
            raw,
        },
        oip_rest::decode::Form,
    },
};

/// Room for the keys around the outputs, and around each of them.
const FRAME_BYTES: usize = 96;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// JSON, and the bytes of tensors after it.
    pub body: Vec<u8>,
    /// How long the JSON is, where an output is wanted as bytes.
    pub json_bytes: Option<usize>,
}

/// Writes an answer: lists are flat, NaN and infinities are tokens, and `id` is there if the request has one.
///
/// # Errors
/// `InvalidArgument` where strings that are not UTF-8 are wanted in JSON.
pub fn encode(model: &ModelName, version: ModelVersion, form: &Form, outputs: &AnsweredOutputs) -> Result<Answer> {
    let binary: usize = outputs.iter().filter(|output| output.binary).map(|output| raw::size(&output.tensor)).sum();
    let mut body = Vec::with_capacity(FRAME_BYTES * (1 + outputs.len()) + binary);
    body.extend_from_slice(b"{\"model_name\":");
    write_string(&mut body, model.as_str());
    body.extend_from_slice(b",\"model_version\":\"");
    body.extend_from_slice(itoa::Buffer::new().format(version.number()).as_bytes());
    body.push(b'"');
    if let Some(id) = &form.id {
        body.extend_from_slice(b",\"id\":");
        write_string(&mut body, id);
    }
    body.extend_from_slice(b",\"outputs\":[");
    for (index, output) in outputs.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write_output(&mut body, output)?;
    }
    body.extend_from_slice(b"]}");
    let json_bytes = outputs.iter().any(|output| output.binary).then_some(body.len());
    for output in outputs.iter().filter(|output| output.binary) {
        raw::write(&mut body, &output.tensor)?;
    }
    Ok(Answer { body, json_bytes })
}

fn write_output(body: &mut Vec<u8>, output: &AnsweredOutput) -> Result<()> {
    body.extend_from_slice(b"{\"name\":");
    write_string(body, &output.name);
    body.extend_from_slice(b",\"datatype\":\"");
    body.extend_from_slice(output.tensor.data_type().name().as_bytes());
    body.extend_from_slice(b"\",\"shape\":[");
    for (axis, size) in output.tensor.shape().iter().enumerate() {
        if axis > 0 {
            body.push(b',');
        }
        size.write(body);
    }
    if output.binary {
        body.extend_from_slice(b"],\"parameters\":{\"binary_data_size\":");
        raw::size(&output.tensor).write(body);
        body.extend_from_slice(b"}}");
        return Ok(());
    }
    body.extend_from_slice(b"],\"data\":");
    write_flat(body, &output.tensor).map_err(|error| not_utf8(error, output))?;
    body.push(b'}');
    Ok(())
}

#[cold]
fn not_utf8(error: Error, output: &AnsweredOutput) -> Error {
    match error.kind() {
        ErrorKind::InvalidArgument => {
            let text = format!(
                "output '{}': {}; ask for it as bytes, with \"binary_data\": true",
                output.name,
                error.message()
            );
            Error::invalid(text)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::{
        model::signature::Signature,
        protocol::oip::{inputs::Target, outputs::Outputs},
        tensor::{shape::Shape, tensor::Tensor},
    };

    fn encoded(id: Option<&str>, outputs: &AnsweredOutputs) -> Result<(String, Vec<u8>)> {
        let signature = Signature::default();
        let target = Target { name: "m", signature: &signature };
        let form = Form { id: id.map(str::to_owned), outputs: Outputs::none(target), timeout: None };
        let answer = encode(&ModelName::nearest("m"), ModelVersion::ONE, &form, outputs)?;
        let json_bytes = answer.json_bytes.unwrap_or(answer.body.len());
        let (json, binary) = answer.body.split_at(json_bytes);
        Ok((String::from_utf8(json.to_vec()).unwrap(), binary.to_vec()))
    }

    fn output(tensor: Tensor, binary: bool) -> AnsweredOutput {
        AnsweredOutput { name: "y".into(), tensor, binary }
    }

    #[test]
    fn json_is_flat_and_has_tokens_for_what_is_not_finite() {
        let values = vec![1.0_f32, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.1];
        let tensor = Tensor::from_vec(Shape::new(&[2, 3]), values).unwrap();
        let (json, binary) = encoded(Some("a\""), &smallvec![output(tensor, false)]).unwrap();
        let outputs = r#"[{"name":"y","datatype":"FP32","shape":[2,3],"data":[1.0,-0.0,NaN,Infinity,-Infinity,0.1]}]"#;
        assert_eq!(json, format!(r#"{{"model_name":"m","model_version":"1","id":"a\"","outputs":{outputs}}}"#));
        assert!(binary.is_empty());
    }

    #[test]
    fn bytes_come_after_the_json_in_its_order() {
        let number = Tensor::from_vec(Shape::new(&[]), vec![7_i16]).unwrap();
        let text = Tensor::from_strings(Shape::new(&[1]), vec![b"\xff\0".to_vec().into()]).unwrap();
        let outputs: AnsweredOutputs = smallvec![output(text.clone(), true), output(number.clone(), true)];
        let (json, binary) = encoded(None, &outputs).unwrap();
        assert!(json.contains(r#""shape":[1],"parameters":{"binary_data_size":6}}"#), "{json}");
        assert!(json.contains(r#""datatype":"INT16","shape":[],"parameters":{"binary_data_size":2}}"#), "{json}");
        assert_eq!(binary, b"\x02\0\0\0\xff\0\x07\0");
        let (json, binary) = encoded(None, &smallvec![output(number, false)]).unwrap();
        assert!(json.contains(r#""shape":[],"data":[7]}"#) && binary.is_empty(), "{json}");
        let error = encoded(None, &smallvec![output(text, false)]).unwrap_err();
        assert!(error.message().starts_with("output 'y': expected a string that is UTF-8"), "{error}");
    }
}
