//! The reader takes exactly what serde_json takes.

use proptest::prelude::*;
use serde_json::Value;

use crate::json::{nested::read_nested, reader::Reader, skip::MAX_DEPTH};

fn accepts(text: &[u8]) -> bool {
    let mut reader = Reader::new(text);
    reader.skip().and_then(|()| reader.finish()).is_ok()
}

fn values() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Tells whether serde_json accepts a document; `None` where it does not get to the end: a huge number is out of range for
/// a tree of doubles, whether or not JSON follows.
fn accepted_by_serde_json(text: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(text) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(false),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn documents_are_accepted(value in values(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert!(accepts(text.as_bytes()), "{}", text);
    }

    #[test]
    fn a_changed_document_is_accepted_where_serde_json_accepts_it(
        value in values(),
        place in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\ue.-+0123tnf \x1f\x80"[..])],
        edit in 0..4,
    ) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let place = place.index(text.len());
        match edit {
            0 => text[place] = byte,
            1 => text.insert(place, byte),
            2 => drop(text.remove(place)),
            _ => text.truncate(place),
        }
        let expected = accepted_by_serde_json(&text);
        prop_assume!(expected.is_some());
        prop_assert_eq!(Some(accepts(&text)), expected, "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn a_soup_of_tokens_is_accepted_where_serde_json_accepts_it(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "{", "}", ",", ":", "\"", "\"a\"", "0", "-", "1", ".", "e", "12345678", "true", "null", " ", "\\", "\\u12", "é",
        ]), 0..12),
    ) {
        let text = tokens.concat();
        let expected = accepted_by_serde_json(text.as_bytes());
        prop_assume!(expected.is_some());
        prop_assert_eq!(Some(accepts(text.as_bytes())), expected, "{}", text);
    }
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(accepts(nested(MAX_DEPTH).as_bytes()));
    assert!(!accepts(nested(MAX_DEPTH + 1).as_bytes()));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert!(accepts(objects(MAX_DEPTH).as_bytes()));
    assert!(!accepts(objects(1_000_000).as_bytes()));
}

#[test]
fn tokens_that_json_has_no_numbers_for_may_be_skipped() {
    assert!(accepts(b"[NaN, Infinity, -Infinity, null]"));
    assert!(!accepts(b"[nan]") && !accepts(b"[-NaN]") && !accepts(b"[Inf]") && !accepts(b"[NaNa]"));
}

#[test]
fn room_is_made_for_no_more_than_the_body_can_hold() {
    let declared = [crate::model::signature::Dim::Fixed(1 << 60)];
    assert!(read_nested::<f64>(&mut Reader::new(b"[1,2]"), Some(&declared)).is_err());
    let body = format!("[{}]", "[1],".repeat(1_000) + "[1]");
    let (shape, values) = read_nested::<f64>(&mut Reader::new(body.as_bytes()), None).unwrap();
    assert_eq!(shape[..], [1_001, 1]);
    assert!(values.capacity() <= body.len(), "{}", values.capacity());
}
