//! The rules of values and of nested lists, one by one, and that what is written reads back.

use bytes::Bytes;
use half::{bf16, f16};
use proptest::prelude::*;

use crate::{
    json::write::write_tensor,
    protocol::native::{
        decode::decode,
        decode_tests::{accept, fp32, matrix, of_any_shape, refuse},
        envelope::Form,
    },
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// Decodes a value for the input `x` of any shape.
fn tensor(data_type: DataType, value: &str) -> Tensor {
    let (request, form) = accept(&of_any_shape(data_type), &format!(r#"{{"inputs":{{"x":{value}}}}}"#));
    assert_eq!(form, Form::Many);
    request.inputs[0].tensor.clone()
}

fn refused(data_type: DataType, value: &str) -> String {
    let message = refuse(&of_any_shape(data_type), format!(r#"{{"inputs":{{"x":{value}}}}}"#));
    message.trim_start_matches("input \"x\": ").to_owned()
}

#[test]
fn integers_convert_without_loss_or_not_at_all() {
    let exact = |value: &str| tensor(DataType::Int64, value).as_slice::<i64>().unwrap()[0];
    for (value, expected) in [
        ("3", 3),
        ("3.0", 3),
        ("3e0", 3),
        ("0.3e1", 3),
        ("30000000000000000000000e-22", 3),
        ("3.00000000000000000000000000", 3),
        ("-0.0", 0),
        ("0e99999999999999999999", 0),
        ("1e18", 1_000_000_000_000_000_000),
        ("9007199254740993", 9_007_199_254_740_993),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
        ("-9.223372036854775808e18", i64::MIN),
    ] {
        assert_eq!(exact(value), expected, "{value}");
    }
    let largest = tensor(DataType::Uint64, "[18446744073709551615,1.8446744073709551615e19]");
    assert_eq!(largest.as_slice::<u64>().unwrap(), [u64::MAX; 2]);
    let small = "0.0000000000000000000000000001";
    for value in ["3.5", "1e-1", small, "1e-99999999999999999999", "null", "NaN", "true", "\"3\"", "-Infinity"] {
        assert_eq!(refused(DataType::Int64, value), format!("expected a whole number for INT64, but got {value}"));
    }
    for (data_type, value) in [
        (DataType::Int64, "9223372036854775808"),
        (DataType::Int64, "1e19"),
        (DataType::Int64, "1e99999999999999999999"),
        (DataType::Uint64, "18446744073709551616"),
        (DataType::Uint64, "-1"),
        (DataType::Uint8, "256"),
        (DataType::Uint8, "-1"),
        (DataType::Int8, "-129"),
        (DataType::Uint16, "65536"),
        (DataType::Int16, "32768"),
        (DataType::Uint32, "4294967296"),
        (DataType::Int32, "-2147483649"),
    ] {
        let expected = format!("expected a whole number for {data_type}, but {value} is out of range for {data_type}");
        assert_eq!(refused(data_type, value), expected);
    }
}

#[test]
fn floats_are_rounded_once_and_in_range() {
    let single = |value: &str| tensor(DataType::Fp32, value).as_slice::<f32>().unwrap()[0];
    // Just above the halfway point of two singles, by less than a double can tell.
    assert_eq!(single("1.00000005960464477540"), 1.000_000_1);
    assert_eq!(single("1.000000059604644775390625"), 1.0);
    assert_eq!(single("1.00000005960464477539062500000000000000001"), 1.000_000_1);
    assert_eq!(single("16777217"), 16_777_216.0);
    assert_eq!(single("16777219"), 16_777_220.0);
    assert_eq!(single("1.401298464324817e-45"), f32::from_bits(1));
    assert_eq!(single("7e-46"), 0.0);
    assert_eq!(single("1e-99999999999999999999"), 0.0);
    assert!(single("-0.0").is_sign_negative() && single("-0").is_sign_negative());
    assert_eq!(single("3.4028235e38"), f32::MAX);
    assert!(single("null").is_nan() && single("NaN").is_nan());
    assert_eq!(
        tensor(DataType::Fp64, "[Infinity,-Infinity]").as_slice::<f64>().unwrap(),
        [f64::INFINITY, f64::NEG_INFINITY]
    );
    for (data_type, value) in [
        (DataType::Fp32, "1e39"),
        (DataType::Fp32, "3.4028236e38"),
        (DataType::Fp32, "-1e400"),
        (DataType::Fp64, "1e400"),
        (DataType::Fp64, "1e99999999999999999999"),
        (DataType::Fp16, "65520"),
        (DataType::Fp16, "-1e400"),
        // Found by fuzzing: what is out of range even of a double became NaN.
        (DataType::Bf16, "12.477E7777777777777777777777"),
        (DataType::Bf16, "3.4e38"),
    ] {
        let expected = format!("expected a number for {data_type}, but {value} is out of range for {data_type}");
        assert_eq!(refused(data_type, value), expected);
    }
}

#[test]
fn sixteen_bit_floats_are_rounded_once() {
    let half = |value: &str| tensor(DataType::Fp16, value).as_slice::<f16>().unwrap()[0].to_bits();
    let brain = |value: &str| tensor(DataType::Bf16, value).as_slice::<bf16>().unwrap()[0].to_bits();
    // 1 + 2^-11 is halfway between 1 and the next half; the digits after it are beyond a single, then beyond a double.
    assert_eq!(half("1.00048828125"), 0x3c00);
    assert_eq!(half("1.00048828126"), 0x3c01);
    assert_eq!(half("1.00048828125000000000000000000001"), 0x3c01);
    assert_eq!(half("1.00048828124999999999999999999999"), 0x3c00);
    assert_eq!(half("1.00146484375"), 0x3c02);
    assert_eq!(half("-1.00146484374999999999999999999999"), 0xbc01);
    assert_eq!(half("65504"), 0x7bff);
    assert_eq!(half("65519.99999999999999999999999"), 0x7bff);
    assert_eq!(half("2.98023223876953125e-8"), 0);
    assert_eq!(half("2.980232238769531250000000000000001e-8"), 1);
    assert_eq!(half("1e-400"), 0);
    assert_eq!(brain("1.00390625"), 0x3f80);
    assert_eq!(brain("1.003906250000000000000000000000001"), 0x3f81);
    assert_eq!(brain("1.01171875"), 0x3f82);
    assert_eq!(brain("4.591774807899560578002877098524397178e-41"), 0);
}

#[test]
fn booleans_and_strings_are_only_themselves() {
    assert_eq!(tensor(DataType::Bool, "[true,false]").as_bools().unwrap(), [1, 0]);
    for value in ["1", "0", "null", "\"true\"", "NaN"] {
        assert_eq!(refused(DataType::Bool, value), format!("expected true or false for BOOL, but got {value}"));
    }
    let strings = tensor(DataType::Bytes, r#"["","a\u0000b","é","\ud83d\ude00"]"#);
    assert_eq!(
        strings.as_strings().unwrap(),
        [&b""[..], b"a\0b", "é".as_bytes(), "😀".as_bytes()].map(Bytes::from_static)
    );
    for value in ["1", "null", "true"] {
        assert_eq!(refused(DataType::Bytes, value), format!("expected a string for BYTES, but got {value}"));
    }
}

#[test]
fn nested_lists_find_their_shape() {
    let shape = |value: &str| tensor(DataType::Fp32, value).shape().to_vec();
    assert_eq!(shape("5"), [0; 0]);
    assert_eq!(shape("[]"), [0]);
    assert_eq!(shape("[[],[]]"), [2, 0]);
    assert_eq!(shape("[ [ [1,2] , [3,4] , [5,6] ] ]"), [1, 3, 2]);
    for (value, message) in [
        ("[[1,2],[3]]", "at [1]: expected 2 values, but got 1"),
        ("[[1,2],[3,4,5,6]]", "at [1]: expected 2 values, but got 4"),
        ("[[[1],[2]],[[3]]]", "at [1]: expected 2 lists, but got 1"),
        ("[[[1]],[[3],[4],\"x\"]]", "at [1]: expected 1 list, but got 3"),
        ("[1,[2]]", "at [1]: expected a number for FP32, but got a list"),
        ("[[1],2]", "at [1]: expected a list, each element a number for FP32, but got 2"),
        ("[[[1]],2]", "at [1]: expected lists nested 2 deep, each element a number for FP32, but got 2"),
        ("[[1,\"a\"]]", "at [0][1]: expected a number for FP32, but got \"a\""),
        ("{}", "expected a number for FP32, but got an object"),
    ] {
        assert_eq!(refused(DataType::Fp32, value), message, "{value}");
    }
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(tensor(DataType::Fp32, &deep(32)).shape().len(), 32);
    assert_eq!(refused(DataType::Fp32, &deep(33)), "expected at most 32 levels of nesting");
}

#[test]
fn nested_lists_are_held_to_the_declared_dimensions() {
    let raw = matrix(DataType::Fp32, &[-1, 1, 2, 2]);
    let with = |value: &str| format!(r#"{{"inputs":{{"X":{value}}}}}"#);
    assert_eq!(fp32(&accept(&raw, &with("[[[[1,2],[3,4]]]]")).0).0, [1, 1, 2, 2]);
    assert_eq!(fp32(&accept(&raw, &with("[]")).0).0, [0, 1, 2, 2]);
    for (value, message) in [
        ("[[[[1,2],[3,4]],[[1,2],[3,4]]]]", "at [0]: expected 1 list, but got 2"),
        ("[[[[1,2],[3,4,5]]]]", "at [0][0][1]: expected 2 values, but got 3"),
        ("[[[[1,2]]]]", "at [0][0]: expected 2 lists, but got 1"),
        ("[[]]", "at [0]: expected 1 list, but got 0"),
        ("[[[1,2],[3,4]]]", "at [0][0][0]: expected a list, each element a number for FP32, but got 1"),
        ("[[[[[1]]]]]", "at [0][0][0][0]: expected a number for FP32, but got a list"),
        ("7", "expected lists nested 4 deep, each element a number for FP32, but got 7"),
    ] {
        assert_eq!(refuse(&raw, with(value)), format!("input \"X\": {message}"), "{value}");
    }
    let scalar = matrix(DataType::Fp32, &[]);
    assert_eq!(fp32(&accept(&scalar, &with("7")).0).1, [7.0]);
    assert!(refuse(&scalar, with("[7]")).contains("expected a number for FP32, but got a list"));
    let huge = matrix(DataType::Fp64, &[-1, 1 << 40, 1 << 40]);
    assert!(refuse(&huge, with("[[[1]]]")).contains("expected 1099511627776 values, but got 1"));
}

/// A tensor of any small shape, with values that are hard to write.
fn tensors() -> impl Strategy<Value = Tensor> {
    let dims = prop::collection::vec(1_usize..4, 0..5);
    dims.prop_flat_map(|dims| {
        let count = dims.iter().product::<usize>();
        let shape = Shape::new(&dims);
        let finite = |bits: u32| {
            if f32::from_bits(bits).is_finite() { f32::from_bits(bits) } else { 0.5 }
        };
        prop_oneof![
            prop::collection::vec(any::<u32>(), count).prop_map({
                let shape = shape.clone();
                move |bits| Tensor::from_vec(shape.clone(), bits.into_iter().map(finite).collect()).unwrap()
            }),
            prop::collection::vec(any::<i64>(), count).prop_map({
                let shape = shape.clone();
                move |values| Tensor::from_vec(shape.clone(), values).unwrap()
            }),
            prop::collection::vec(any::<u64>(), count).prop_map({
                let shape = shape.clone();
                move |values| Tensor::from_vec(shape.clone(), values).unwrap()
            }),
            prop::collection::vec(any::<u16>(), count).prop_map({
                let shape = shape.clone();
                move |bits| {
                    let finite = |bits| {
                        if f16::from_bits(bits).is_finite() { f16::from_bits(bits) } else { f16::ONE }
                    };
                    Tensor::from_vec(shape.clone(), bits.into_iter().map(finite).collect()).unwrap()
                }
            }),
            prop::collection::vec(any::<String>(), count).prop_map(move |texts| {
                Tensor::from_strings(shape.clone(), texts.into_iter().map(Bytes::from).collect()).unwrap()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(expected in tensors()) {
        let mut body = br#"{"inputs":{"x":"#.to_vec();
        write_tensor(&mut body, &expected).unwrap();
        body.extend_from_slice(b"}}");
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        let decoded = decode(&of_any_shape(expected.data_type()), &body).unwrap();
        prop_assert_eq!(&decoded.request.inputs[0].tensor, &expected);
    }

    #[test]
    fn every_single_reads_back_bit_for_bit(bits in any::<u32>()) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        for text in [format!("{value}"), format!("{value:e}"), format!("{:?}", f64::from(value))] {
            prop_assert_eq!(tensor(DataType::Fp32, &text).as_slice::<f32>().unwrap()[0].to_bits(), bits, "{}", text);
        }
    }

    #[test]
    fn singles_and_doubles_agree_with_the_standard_library(text in r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?") {
        let (single, double): (f32, f64) = (text.parse().unwrap(), text.parse().unwrap());
        if single.is_finite() {
            prop_assert_eq!(tensor(DataType::Fp32, &text).as_slice::<f32>().unwrap()[0].to_bits(), single.to_bits());
        }
        prop_assert_eq!(tensor(DataType::Fp64, &text).as_slice::<f64>().unwrap()[0].to_bits(), double.to_bits());
    }

    #[test]
    fn sixteen_bit_floats_are_the_nearest(bits in 0_u16..0x7bff, tail in r"[0-9]{0,30}", below in any::<bool>()) {
        // The halfway point to the next half, exactly, then a little more or less.
        let (low, high) = (f16::from_bits(bits).to_f64(), f16::from_bits(bits + 1).to_f64());
        let halfway = format!("{:.60}", f64::midpoint(low, high));
        let beside = format!("{halfway}{tail}");
        let got = |text: &str| tensor(DataType::Fp16, text).as_slice::<f16>().unwrap()[0].to_bits();
        let more = tail.bytes().any(|digit| digit != b'0');
        prop_assert_eq!(got(&halfway), bits + (bits & 1));
        prop_assert_eq!(got(&beside), if more { bits + 1 } else { bits + (bits & 1) });
        if below {
            let just_below = format!("{:.60}", f64::midpoint(low, high).next_down());
            prop_assert_eq!(got(&just_below), bits);
        }
    }
}
