//! What a session on ONNX Runtime promises to the lanes.

use std::fs;

use onnxd::{
    engine::{Engine, LoadOptions, Session},
    model::onnx_file::OnnxFile,
    tensor::{shape::Shape, tensor::Tensor},
};

use crate::{harness::runtime, onnx};

/// Takes the counting model a second or more: long enough to be terminated, and no test hangs if it is not.
const LONG: i64 = 2_000_000;

fn counting() -> Box<dyn Session> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, onnx::counting()).unwrap();
    let file = OnnxFile::read(&path).unwrap();
    runtime().load(&path, &LoadOptions { intra_op_threads: 1, file: &file }).unwrap()
}

fn count_to(most: i64) -> [Tensor; 1] {
    [Tensor::from_vec(Shape::new(&[1]), vec![most]).unwrap()]
}

#[test]
fn terminate_that_comes_before_the_run_ends_it_and_none_after_a_reset() {
    let mut session = counting();
    let terminator = session.terminator();
    terminator.terminate();
    session.run(&count_to(LONG)).expect_err("the run was terminated before it began");
    terminator.reset();
    let counted = session.run(&count_to(3)).unwrap();
    assert_eq!(counted[0].as_slice::<i64>(), Some(&[3][..]));
}
