//! Strings as TensorFlow Serving takes and gives them: as text, or as `{"b64": "…"}`.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use crate::{
    error,
    json::{
        element::ReadElement,
        fault::Fault,
        reader::{Kind, Reader},
    },
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// The only key of the object.
pub const B64: &str = "b64";

/// Pads what it writes, and takes what is not padded too.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An element of type BYTES: text, or any bytes in base64.
#[derive(Clone, Debug, Default)]
pub struct TextOrBase64(Bytes);

impl ReadElement for TextOrBase64 {
    const DATA_TYPE: DataType = DataType::Bytes;

    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        match reader.kind()? {
            Kind::Object => read_object(reader).map(Self),
            _ => Bytes::read(reader).map(Self),
        }
    }

    fn into_tensor(shape: Shape, values: Vec<Self>) -> error::Result<Tensor> {
        Tensor::from_strings(shape, values.into_iter().map(|value| value.0).collect())
    }
}

fn read_object(reader: &mut Reader<'_>) -> Result<Bytes, Fault> {
    let misfit = || Fault::value("expected a string for BYTES, or an object {\"b64\": \"…\"} with nothing else in it");
    if !reader.open_object()? || !reader.key()?.is(B64) || reader.kind()? != Kind::String {
        return Err(misfit());
    }
    let text = reader.string()?.decode()?;
    let bytes =
        ENGINE.decode(text.as_bytes()).map_err(|error| Fault::value(format!("Unable to base64 decode: {error}")))?;
    match reader.more_members()? {
        false => Ok(bytes.into()),
        true => Err(misfit()),
    }
}

/// Writes bytes as `{"b64":"…"}`.
pub fn write_base64(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.extend_from_slice(b"{\"b64\":\"");
    buffer.extend_from_slice(ENGINE.encode(bytes).as_bytes());
    buffer.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Bytes, String> {
        let mut reader = Reader::new(json.as_bytes());
        let value = TextOrBase64::read(&mut reader).map_err(|fault| fault.to_string())?;
        reader.finish().map_err(|fault| fault.to_string())?;
        Ok(value.0)
    }

    #[test]
    fn text_and_base64_are_read_with_padding_or_without() {
        for (json, bytes) in [
            (r#""aGk=""#, &b"aGk="[..]),
            (r#"{"b64":"aGk="}"#, b"hi"),
            (r#" { "b64" : "aGk" } "#, b"hi"),
            (r#"{"b64":"AP8="}"#, b"\0\xff"),
            (r#"{"b64":""}"#, b""),
        ] {
            assert_eq!(read(json).as_deref(), Ok(bytes), "{json}");
        }
    }

    #[test]
    fn objects_that_are_no_base64_are_refused() {
        for json in ["{}", r#"{"b64":1}"#, r#"{"b65":"aGk="}"#, r#"{"b64":"aGk=","x":1}"#] {
            assert!(read(json).unwrap_err().contains("with nothing else in it"), "{json}");
        }
        assert!(read(r#"{"b64":"a?"}"#).unwrap_err().starts_with("Unable to base64 decode"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut buffer = Vec::new();
        write_base64(&mut buffer, b"\0\xff\x80");
        assert_eq!(str::from_utf8(&buffer), Ok(r#"{"b64":"AP+A"}"#));
        assert_eq!(read(str::from_utf8(&buffer).unwrap()).as_deref(), Ok(&b"\0\xff\x80"[..]));
    }
}
