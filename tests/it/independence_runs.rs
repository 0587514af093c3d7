//! Looks for a counterexample to what the graph proves: rows of every scale, apart and together, on the runtime.

use std::fs;

use fastrand::Rng;
use onnxd::{
    engine::{Engine, LoadOptions, Session, run_memory::RunMemory},
    model::{
        onnx_file::OnnxFile,
        signature::{Signature, TensorSpec},
    },
    request::Tensors,
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};
use tempfile::TempDir;

use crate::harness::runtime;

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    /// No row changed.
    Agree,
    /// A row of a batch is not what it is alone.
    Differ(String),
    /// The model does not load, or does not run on any row.
    Nothing(String),
}

/// The size of open axes but the first.
const OPEN: usize = 3;

/// Runs a model on hostile rows, apart and together; `seed` decides which.
pub fn counterexample(bytes: &[u8], seed: u64) -> Runs {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, bytes).unwrap();
    let file = OnnxFile::parse(&bytes.to_vec().into()).unwrap();
    let run_memory = RunMemory::unlimited();
    let options = LoadOptions { instances: 1, intra_op_threads: 1, file: &file, run_memory, isolation: None };
    match runtime().load(&path, &options) {
        Ok(mut sessions) => search(&mut *sessions[0], seed),
        Err(error) => Runs::Nothing(error.to_string()),
    }
}

fn search(session: &mut dyn Session, seed: u64) -> Runs {
    let signature = session.signature().clone();
    let mut rng = Rng::with_seed(seed);
    let mut reason = String::new();
    let (mut rows, mut alone): (Vec<Tensors>, Vec<Tensors>) = (Vec::new(), Vec::new());
    for manner in 0..9 {
        let row: Tensors = signature.inputs.iter().map(|input| made_up(input, manner, &mut rng)).collect();
        match session.run(&row) {
            Ok(outputs) => {
                rows.push(row);
                alone.push(outputs);
            }
            Err(error) => reason = error.to_string(),
        }
    }
    if rows.len() < 2 {
        return Runs::Nothing(reason);
    }
    let mut orders: Vec<Vec<usize>> = (1..rows.len()).flat_map(|row| [vec![0, row], vec![row, 0, row]]).collect();
    orders.extend([(0..rows.len()).collect(), (0..rows.len()).rev().collect()]);
    for order in orders {
        if let Some(difference) = differs(session, &signature, &rows, &alone, &order) {
            return Runs::Differ(format!("rows {order:?}: {difference}"));
        }
    }
    Runs::Agree
}

fn differs(
    session: &mut dyn Session,
    signature: &Signature,
    rows: &[Tensors],
    alone: &[Tensors],
    order: &[usize],
) -> Option<String> {
    let stack =
        |of: &[Tensors], index: usize| Tensor::concat(&order.iter().map(|row| &of[*row][index]).collect::<Vec<_>>());
    let batch = (0..signature.inputs.len()).map(|index| stack(rows, index).unwrap()).collect::<Tensors>();
    let together = match session.run(&batch) {
        Ok(together) => together,
        Err(error) => return Some(error.to_string()),
    };
    for (index, output) in together.iter().enumerate() {
        let Ok(expected) = stack(alone, index) else {
            return Some("the outputs of rows do not fit each other".to_owned());
        };
        if output.shape() != expected.shape() {
            return Some(format!("{} in place of {}", output.shape(), expected.shape()));
        }
        let is_close = match (output.as_slice::<f32>(), expected.as_slice::<f32>()) {
            (Some(left), Some(right)) => are_close(left, right, order.len()),
            _ => *output == expected,
        };
        if !is_close {
            return Some(format!("{output:?} in place of {expected:?}"));
        }
    }
    None
}

/// Compares row by row: rounding is relative to the largest number of the row.
fn are_close(left: &[f32], right: &[f32], rows: usize) -> bool {
    let width = (right.len() / rows).max(1);
    left.chunks(width).zip(right.chunks(width)).all(|(left, right)| {
        let largest = right.iter().filter(|value| value.is_finite()).fold(0.0_f32, |most, value| most.max(value.abs()));
        left.iter().zip(right).all(|(left, right)| {
            left == right || left.is_nan() && right.is_nan() || (left - right).abs() <= largest * 1e-3
        })
    })
}

fn made_up(input: &TensorSpec, manner: usize, rng: &mut Rng) -> Tensor {
    let dims = input.dims.iter().flatten().enumerate();
    let shape: Shape = dims.map(|(axis, dim)| dim.fixed().unwrap_or(if axis == 0 { 1 } else { OPEN })).collect();
    let count = shape.element_count().unwrap();
    let signed = |rng: &mut Rng| rng.f32() * 2.0 - 1.0;
    let float = |rng: &mut Rng| match (manner, rng.u8(0..3)) {
        (0, _) => rng.f32(),
        (1, _) => signed(rng) * 1e15,
        (2, _) => signed(rng) * 1e-20,
        (3, 0) => f32::NAN,
        (4, 0) => f32::INFINITY,
        (5, 0) => f32::NEG_INFINITY,
        (6, _) => 0.0,
        _ => signed(rng) * 1e3,
    };
    let integer = |rng: &mut Rng| match manner {
        0 | 1 => rng.i64(0..2),
        2 => i64::MIN,
        3 => i64::MAX,
        4 => 0,
        _ => rng.i64(..),
    };
    match input.data_type {
        DataType::Fp32 => Tensor::from_vec(shape, (0..count).map(|_| float(rng)).collect()).unwrap(),
        DataType::Int64 => Tensor::from_vec(shape, (0..count).map(|_| integer(rng)).collect()).unwrap(),
        DataType::Bytes => {
            let texts = ["a", "", "some more words", "ÄÖ", &"long ".repeat(500)].map(str::to_owned);
            Tensor::from_strings(
                shape,
                (0..count).map(|_| texts[(manner + rng.usize(0..2)) % 5].clone().into()).collect(),
            )
            .unwrap()
        }
        other => panic!("{other} is not made up here"),
    }
}
