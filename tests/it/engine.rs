//! What a session on ONNX Runtime promises to the lanes.

use std::{fs, path::Path};

use onnxd::{
    engine::{Engine, LoadOptions, Session, run_memory::RunMemory},
    model::{onnx_file::weights::read_matrices, staged::StagedModel},
    tensor::{shape::Shape, tensor::Tensor},
};

use crate::{
    harness::{models, runtime},
    onnx,
};

/// Takes the counting model a second or more: long enough to be terminated, and no test hangs if it is not.
const LONG: i64 = 2_000_000;

fn load(path: &Path, instances: usize) -> Vec<Box<dyn Session>> {
    let staged = StagedModel::open(path, u64::MAX).unwrap();
    let run_memory = RunMemory::unlimited();
    let options = LoadOptions { instances, intra_op_threads: 1, file: &staged.file, run_memory, isolation: None };
    runtime().load(staged.path(), &options).unwrap()
}

fn counting() -> Box<dyn Session> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, onnx::counting()).unwrap();
    load(&path, 1).pop().unwrap()
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

#[test]
fn instances_that_share_their_weights_answer_as_one_that_does_not() {
    let path = models("digits/1/model.onnx");
    let shared = read_matrices(&path).unwrap();
    assert_eq!(shared.iter().map(|matrix| &matrix.dims[..]).collect::<Vec<_>>(), [[64, 32]]);
    let pixels = (0..3 * 64_u8).map(|pixel| f32::from(pixel) / 200.0).collect();
    let images = [Tensor::from_vec(Shape::new(&[3, 1, 8, 8]), pixels).unwrap()];
    let alone = load(&path, 1)[0].run(&images).unwrap();
    let mut instances = load(&path, 4);
    for instance in &mut instances {
        assert_eq!(instance.run(&images).unwrap(), alone);
    }
    // What is shared outlives whichever instance was the first.
    let mut last = instances.pop().unwrap();
    drop(instances);
    assert_eq!(last.run(&images).unwrap(), alone);
}
