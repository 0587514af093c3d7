//! The grammar of numbers, and what they come apart into.

use crate::json::{number::MAX_EXPONENT, reader::Reader};

fn parts(json: &str) -> Result<(bool, u64, i64, bool), String> {
    // The same number must come out near the end of the body and far from it.
    let mut alone = Reader::new(json.as_bytes());
    let padded_json = format!("{json}          ");
    let mut padded = Reader::new(padded_json.as_bytes());
    let parts = [&mut alone, &mut padded].map(|reader| {
        let decimal = reader.decimal().map_err(|fault| fault.to_string())?;
        reader.finish().map_err(|fault| fault.to_string())?;
        assert_eq!(decimal.text, json.as_bytes());
        Ok((decimal.negative, decimal.digits, decimal.exponent, decimal.whole))
    });
    let [alone, padded] = parts;
    if let (Ok(alone), Ok(padded)) = (&alone, &padded) {
        assert_eq!(alone, padded, "{json}");
    }
    assert_eq!(alone.is_ok(), padded.is_ok(), "{json}");
    alone
}

#[test]
fn numbers_are_taken_apart() {
    let cases = [
        ("0", (false, 0, 0)),
        ("-0", (true, 0, 0)),
        ("7", (false, 7, 0)),
        ("5.1", (false, 51, -1)),
        ("-12.345", (true, 12_345, -3)),
        ("1234567", (false, 1_234_567, 0)),
        ("12345678", (false, 12_345_678, 0)),
        ("123456789.25", (false, 12_345_678_925, -2)),
        ("0.00000001", (false, 1, -8)),
        ("0.12345678901234567", (false, 12_345_678_901_234_567, -17)),
        ("9999999999999999999", (false, 9_999_999_999_999_999_999, 0)),
        ("1e3", (false, 1, 3)),
        ("1.5E-3", (false, 15, -4)),
        ("2e+07", (false, 2, 7)),
        ("1e99999999999999999999", (false, 1, MAX_EXPONENT)),
        ("1e-0000000000000000000000012", (false, 1, -12)),
        ("0.00000000000000000000000001", (false, 1, -26)),
    ];
    for (json, (negative, digits, exponent)) in cases {
        assert_eq!(parts(json), Ok((negative, digits, exponent, true)), "{json}");
    }
    assert!(!parts("12345678901234567890").unwrap().3);
}

#[test]
fn what_is_no_json_number_is_refused() {
    let cases = [
        ("01", "a number that begins with 0 at byte 0"),
        ("-00.5", "a number that begins with 0 at byte 1"),
        ("000000000001", "a number that begins with 0 at byte 0"),
        ("1.", "expected a digit, but got the end at byte 2"),
        ("-", "expected a digit, but got the end at byte 1"),
        ("-.5", "expected a digit, but got '.' at byte 1"),
        ("+1", "expected a digit, but got '+' at byte 0"),
        ("1e", "expected a digit, but got the end at byte 2"),
        ("1.5e+", "expected a digit, but got the end at byte 5"),
        ("0x10", "expected nothing more, but got 'x' at byte 1"),
        ("1.2.3", "expected nothing more, but got '.' at byte 3"),
        ("1_000", "expected nothing more, but got '_' at byte 1"),
    ];
    for (json, reason) in cases {
        assert_eq!(parts(json), Err(format!("Request must be JSON: {reason}")), "{json}");
    }
}
