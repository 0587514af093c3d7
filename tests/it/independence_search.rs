//! Random graphs of operators that keep rows apart and of those that do not: what is proven is run, and must hold.

use std::cell::Cell;

use bytes::Bytes;
use onnxd::model::onnx_file::{OnnxFile, independence::Independence};
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::{
    graph::model,
    independence_runs::{Runs, counterexample},
};

/// Constants that steps use.
const CONSTANTS: &str = "w = f32[4,4]\nb = f32[4]\none = f32[4] 1 1 1 1\nr1 = f32[1,4]\na0 = i64[] 0\na1 = i64[] 1\nv0 = i64[1] 0\n\
    v1 = i64[1] 1\nv4 = i64[1] 4\nvm = i64[1] -1\nend = i64[1] 9223372036854775807\nlow = i64[1] -9223372036854775807\n\
    cols = i64[4] 3 1 0 2\npairs = i64[2] -1 2\nquads = i64[2] -1 4\neights = i64[2] -1 8\nboxes = i64[3] 0 2 2\nback = i64[2] 0 4\n\
    boxed = i64[3] -1 4 1\nlying = i64[2] 4 -1\ntwice = i64[2] 1 2\nall = i64[2] 1 -1\n";

/// Steps from values `A` and `B`, `[N, 4]`, to a value `Y` of that shape; `T1` … are their own.
const STEPS: [&str; 34] = [
    "Y = Relu(A)",
    "Y = Floor(A)",
    "Y = Add(A, B)",
    "Y = Mul(A, b)",
    "Y = Sub(r1, A)",
    "Y = MatMul(A, w)",
    "Y = Softmax(A) axis=1",
    "T1 = ReduceMax(A) axes=1: keepdims=1\nY = Sub(A, T1)",
    "T1 = Concat(A, B) axis=1\nY = Slice(T1, v1, T3, v1)\nT3 = i64[1] 5",
    "Y = Gather(A, cols) axis=1",
    "Y = LayerNormalization(A, one, b)",
    "Y, T1 = TopK(A, v4)",
    "T1 = Reshape(A, boxes)\nT2 = Transpose(T1) perm=0:2:1\nY = Reshape(T2, back)",
    "T1 = Less(A, B)\nY = Where(T1, A, b)",
    "Y = CumSum(A, a1)",
    "T1 = Shape(A)\nT2 = Expand(r1, T1)\nY = Add(A, T2)",
    "T1 = Reshape(A, pairs)\nT2 = Softmax(T1)\nY = Reshape(T2, quads)",
    "Y = Slice(A, v0, end, v0)",
    "T1 = Transpose(A)\nT2 = Softmax(T1) axis=0\nY = Transpose(T2)",
    "T1 = Reshape(A, boxed)\nT2 = ReduceMax(T1) axes=1: keepdims=1\nT3 = Add(T1, T2)\nY = Reshape(T3, quads)",
    "T1 = Tile(A, twice)\nY = Slice(T1, v0, v4, v1)",
    "T1 = Unsqueeze(A, v0)\nY = Squeeze(T1, v0)",
    // From here on rows meet, at least of some numbers of rows.
    "T1 = Transpose(A)\nT2 = Softmax(T1) axis=1\nY = Transpose(T2)",
    "T1 = ReduceMax(A) axes=0: keepdims=1\nY = Sub(A, T1)",
    "Y = CumSum(A, a0)",
    "Y = Slice(A, vm, low, v0, vm)",
    "T1, T2, T3 = DynamicQuantizeLinear(A)\nY = DequantizeLinear(T1, T2, T3)",
    "T1 = Reshape(A, eights)\nT2 = Softmax(T1)\nY = Reshape(T2, quads)",
    "T1 = Transpose(A)\nT2 = MatMul(A, T1)\nY = MatMul(T2, A)",
    "T1 = Reshape(A, lying)\nT2 = Transpose(T1)\nY = Add(T2, B)",
    "T1 = Transpose(A)\nT2 = Reshape(T1, pairs)\nT3 = Softmax(T2)\nT4 = Reshape(T3, lying)\nY = Transpose(T4)",
    "T1 = Reshape(A, all)\nT2 = Softmax(T1)\nY = Reshape(T2, quads)",
    "T1 = Gather(A, v0)\nY = Add(A, T1)",
    "T1 = Reshape(A, boxed)\nT2 = ReduceMax(T1) axes=0: keepdims=1\nT3 = Add(T1, T2)\nY = Reshape(T3, quads)",
];

/// Writes steps one after the other; each takes the value before it, and one from further back.
fn text(steps: &[(usize, u8)]) -> String {
    let mut text = CONSTANTS.to_owned();
    for (index, (step, back)) in steps.iter().enumerate() {
        let value = |index: usize| if index == 0 { "x".to_owned() } else { format!("y{index}") };
        let mut step = STEPS[step % STEPS.len()].to_owned();
        for temporary in ["T1", "T2", "T3", "T4"] {
            step = step.replace(temporary, &format!("t{index}_{}", &temporary[1..]));
        }
        let calls = step.replace("(A", &format!("({}", value(index))).replace(", A", &format!(", {}", value(index)));
        let calls = calls.replace(", B", &format!(", {}", value(usize::from(*back) % (index + 1))));
        let named = calls
            .strip_prefix('Y')
            .map_or_else(|| calls.replace("\nY", &format!("\ny{}", index + 1)), |rest| format!("y{}{rest}", index + 1));
        text.push_str(&named);
        text.push('\n');
    }
    text
}

#[test]
fn no_proof_has_a_counterexample() {
    let config = Config { cases: 160, failure_persistence: None, ..Config::default() };
    let (proven, mixed) = (Cell::new(0), Cell::new(0));
    let graphs = vec((any::<usize>(), any::<u8>()), 1..6);
    let outcome = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
    .run(&graphs, |steps| {
        let text = text(&steps);
        let bytes = model(17, "x f32 [N,4]", &format!("y{}", steps.len()), &text);
        let verdict = OnnxFile::parse(&Bytes::from(bytes.clone())).unwrap().independence;
        if !matches!(verdict, Independence::Proven(_)) {
            mixed.set(mixed.get() + 1);
            return Ok(());
        }
        proven.set(proven.get() + 1);
        match counterexample(&bytes, 3) {
            Runs::Agree => Ok(()),
            other => Err(TestCaseError::fail(format!("{other:?}\n{}", &text[CONSTANTS.len()..]))),
        }
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(proven.get() > 20 && mixed.get() > 20, "{} proven, {} not", proven.get(), mixed.get());
}

#[test]
fn every_step_is_proven_or_refused_as_it_should_be() {
    let first_mixing = STEPS.iter().position(|step| step.contains("axis=1\nY = Transpose(T2)")).unwrap();
    for (index, step) in STEPS.iter().enumerate() {
        let bytes = model(17, "x f32 [N,4]", "y1", &text(&[(index, 0)]));
        let verdict = OnnxFile::parse(&Bytes::from(bytes.clone())).unwrap().independence;
        let is_proven = matches!(verdict, Independence::Proven(_));
        assert_eq!(is_proven, index < first_mixing, "{step}: {verdict:?}");
        let runs = counterexample(&bytes, 3);
        assert_eq!(runs == Runs::Agree, is_proven, "the search must find what the graph shows: {step}: {runs:?}");
    }
}
