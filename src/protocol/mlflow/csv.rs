//! Bodies of CSV to tensors: a header, then a row a line.
//!
//! Each line becomes a row of JSON for the reader of tables, so that a number means what it means there. What pandas writes
//! that is no number of JSON (`.5`, `inf`, an empty field) is put into JSON's words first.

use std::sync::Arc;

use csv::{ByteRecord, Reader as CsvReader, ReaderBuilder};

use crate::{
    error::{Error, Result},
    json::{fault::Fault, reader::Reader, skip::shortened, write::write_string},
    model::schema::Schema,
    protocol::frame::Frame,
    request::InferRequest,
    tensor::data_type::DataType,
};

/// The most columns of a table. The name of each takes far more memory than the comma that it may be.
const MAX_COLUMNS: usize = 1_000_000;

/// What pandas reads as a missing value.
const MISSING: [&str; 12] = ["", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "-nan"];

/// Decodes a body.
///
/// # Errors
/// `InvalidArgument`: not UTF-8, fields too few or too many, and what the columns and values are refused for.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<InferRequest> {
    let mut lines = ReaderBuilder::new().flexible(true).from_reader(body);
    let names = header(&mut lines)?;
    let width = names.len();
    let mut frame = Frame::new(schema, Some(names), body.len())?;
    let types: Vec<_> = (0..width).map(|column| frame.data_type(column)).collect();
    let (mut record, mut row) = (ByteRecord::new(), Vec::new());
    while lines.read_byte_record(&mut record).map_err(malformed)? {
        if record.len() != width {
            let message = format!("line {}: Expected {width} fields, but got {}", line(&record), record.len());
            return Err(Error::invalid(message));
        }
        if frame.rows() == schema.max_rows() {
            return Err(too_many_rows(schema.max_rows(), &mut lines));
        }
        row.clear();
        for (field, data_type) in record.iter().zip(&types) {
            row.push(if row.is_empty() { b'[' } else { b',' });
            let text = str::from_utf8(field)
                .map_err(|_| Error::invalid(format!("line {}: expected UTF-8, but got other bytes", line(&record))))?;
            write_field(text, *data_type, &mut row).map_err(|fault| located(fault, &record))?;
        }
        row.push(b']');
        frame.read_row(&mut Reader::new(&row)).map_err(|fault| located(fault, &record))?;
    }
    let mut request = InferRequest::default();
    frame.finish(&mut request.inputs).map_err(|error| error.context("after line 1, the names of the columns"))?;
    Ok(request)
}

/// Counts the lines that are left after the first one too many.
fn too_many_rows(max_rows: usize, lines: &mut CsvReader<&[u8]>) -> Error {
    let (mut record, mut rows) = (ByteRecord::new(), max_rows.saturating_add(1));
    while lines.read_byte_record(&mut record).is_ok_and(|more| more) {
        rows += 1;
    }
    Error::too_many_rows(max_rows, rows)
}

fn header(lines: &mut CsvReader<&[u8]>) -> Result<Vec<Arc<str>>> {
    let header = lines.byte_headers().map_err(malformed)?;
    if header.is_empty() {
        return Err(Error::invalid("expected a line with the names of the columns, but the body is empty"));
    }
    if header.len() > MAX_COLUMNS {
        return Err(Error::invalid(format!("expected at most {MAX_COLUMNS} columns, but got {}", header.len())));
    }
    let name =
        |field: &[u8]| str::from_utf8(field).map(Into::into).map_err(|_| Error::invalid("line 1: expected UTF-8"));
    header.iter().map(name).collect()
}

/// Writes a field as JSON.
fn write_field(text: &str, data_type: Option<DataType>, row: &mut Vec<u8>) -> Result<(), Fault> {
    let Some(data_type) = data_type else {
        // Nobody looks at this column.
        row.extend_from_slice(b"null");
        return Ok(());
    };
    if data_type == DataType::Bytes {
        write_string(row, text);
        return Ok(());
    }
    let text = text.trim();
    if MISSING.contains(&text) {
        row.extend_from_slice(b"null");
        return Ok(());
    }
    if data_type == DataType::Bool {
        row.extend_from_slice(text.to_ascii_lowercase().as_bytes());
        return Ok(());
    }
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => ("-", magnitude),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let number = match magnitude.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => Some("Infinity".to_owned()),
        magnitude => json_number(magnitude),
    };
    match number {
        Some(number) => {
            row.extend_from_slice(sign.as_bytes());
            row.extend_from_slice(number.as_bytes());
            Ok(())
        }
        None => Err(Fault::value(format!("expected a number for {data_type}, but got {:?}", shortened(text)))),
    }
}

/// Writes a number without its sign as JSON does: digits on both sides of the point, none in front that mean nothing.
fn json_number(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (mantissa, ""),
    };
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = |exponent: &str| exponent.strip_prefix(['+', '-']).unwrap_or(exponent).to_owned();
    let exponent_is_whole = exponent.map(unsigned).is_none_or(|digits| !digits.is_empty() && is_digits(&digits));
    if !is_digits(whole) || !is_digits(fraction) || whole.len() + fraction.len() == 0 || !exponent_is_whole {
        return None;
    }
    let mut number = match whole.trim_start_matches('0') {
        "" => "0".to_owned(),
        whole => whole.to_owned(),
    };
    if !fraction.is_empty() {
        number.push('.');
        number.push_str(fraction);
    }
    if let Some(exponent) = exponent {
        number.push('e');
        number.push_str(exponent);
    }
    Some(number)
}

fn line(record: &ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

#[cold]
fn located(fault: Fault, record: &ByteRecord) -> Error {
    fault.context(format_args!("line {}", line(record))).into()
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn malformed(error: csv::Error) -> Error {
    Error::invalid(format!(
        "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid CSV: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str, data_type: DataType) -> Result<String, String> {
        let mut row = Vec::new();
        write_field(text, Some(data_type), &mut row).map_err(|fault| fault.to_string())?;
        Ok(String::from_utf8(row).unwrap())
    }

    #[test]
    fn numbers_are_written_as_json_has_them() {
        for (text, json) in [
            ("1", "1"),
            (" 5.1 ", "5.1"),
            (".5", "0.5"),
            ("1.", "1"),
            ("+3", "3"),
            ("-007.50", "-7.50"),
            ("1E5", "1e5"),
            ("2.5e-3", "2.5e-3"),
            ("inf", "Infinity"),
            ("-Infinity", "-Infinity"),
            ("", "null"),
            ("nan", "null"),
            ("NA", "null"),
        ] {
            assert_eq!(field(text, DataType::Fp32).as_deref(), Ok(json), "{text:?}");
        }
        for text in ["a", ".", "1e", "1e+", "1.2.3", "0x10", "1,5", "--1", "1 2", "е5"] {
            assert!(field(text, DataType::Fp32).is_err(), "{text:?}");
        }
    }

    #[test]
    fn text_stays_text_and_truth_has_no_case() {
        assert_eq!(field("007", DataType::Bytes).as_deref(), Ok(r#""007""#));
        assert_eq!(field(" a\"b ", DataType::Bytes).as_deref(), Ok(r#"" a\"b ""#));
        assert_eq!(field("True", DataType::Bool).as_deref(), Ok("true"));
    }
}
