//! Operators that work along some axes: reductions, softmax, normalisations, sorting.

use super::{
    elementwise::fits_beside_rows,
    size::Size,
    step::{Step, axes_of, axis_of},
    value::{Flow, Outcome, Refusal, Value},
};

/// ReduceSum and the other reductions: over all axes unless some are named.
pub(super) fn reduce(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let axes = step.integers_or_input("axes", 1)?.unwrap_or_default();
    if axes.is_empty() && step.integer("noop_with_empty_axes", 0) == 1 {
        return Ok(vec![x.with_shape(x.shape()?.to_vec())]);
    }
    let rank = x.rank()?;
    let axes = if axes.is_empty() { (0..rank).collect() } else { axes_of(&axes, rank)? };
    reduced(x, &axes, step.integer("keepdims", 1) == 1).map(|value| vec![value])
}

pub(super) fn arg(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let axis = axis_of(step.integer("axis", 0), x.rank()?)?;
    reduced(x, &[axis], step.integer("keepdims", 1) == 1).map(|value| vec![value])
}

fn reduced(x: &Value, axes: &[usize], keeps: bool) -> Outcome<Value> {
    let mut shape = Vec::new();
    for (axis, size) in x.shape()?.iter().enumerate() {
        match (axes.contains(&axis), keeps) {
            (true, true) => shape.push(Size::known(1)),
            (true, false) => {}
            (false, _) => shape.push(size.clone()),
        }
    }
    let Some(rows) = x.row_axis() else { return Ok(x.with_shape(shape)) };
    if axes.contains(&rows.axis) {
        return Err(Refusal::Mixed);
    }
    let before = if keeps { 0 } else { axes.iter().filter(|axis| **axis < rows.axis).count() };
    Ok(Value::rows(rows.at(rows.axis - before), shape))
}

/// Softmax, LogSoftmax and Hardmax: along one axis; before opset 13 over all axes from `axis` on.
pub(super) fn softmax(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    let shape = x.shape()?;
    let keeps = match step.opset < 13 {
        true => rows.axis < axis_of(step.integer("axis", 1), shape.len())?,
        false => rows.axis != axis_of(step.integer("axis", -1), shape.len())?,
    };
    keeps.then(|| vec![x.with_shape(shape.to_vec())]).ok_or(Refusal::Mixed)
}

/// LpNormalization and CumSum: along one axis, the shape as it was.
pub(super) fn along_axis(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    step.require_fixed([1])?;
    let axis = match step.optional(1) {
        Some(axis) => axis.integer().ok_or(Refusal::Unknown)?,
        None => step.integer("axis", -1),
    };
    let shape = x.shape()?;
    (rows.axis != axis_of(axis, shape.len())?).then(|| vec![x.with_shape(shape.to_vec())]).ok_or(Refusal::Mixed)
}

/// LayerNormalization and RMSNormalization: over all axes from `axis` on; scale and bias are broadcast to the input.
pub(super) fn layer_normalization(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    let shape = x.shape()?;
    let axis = axis_of(step.integer("axis", -1), shape.len())?;
    if rows.axis >= axis {
        return Err(Refusal::Mixed);
    }
    for parameter in (1..step.inputs.len()).filter_map(|index| step.optional(index)) {
        fits_beside_rows(parameter, rows.axis, shape.len())?;
    }
    let ones = vec![Size::known(1); shape.len() - axis];
    let statistics = x.with_shape([&shape[..axis], &ones].concat());
    Ok(vec![x.with_shape(shape.to_vec()), statistics.clone(), statistics])
}

/// The runtime's SkipLayerNormalization: adds two tensors and a bias, then normalises the last axis.
pub(super) fn skip_layer_normalization(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    let skip = step.input(1)?;
    let shape = x.shape()?;
    let same_rows = skip.flow == x.flow && skip.rank()? == shape.len();
    if !same_rows {
        fits_beside_rows(skip, rows.axis, shape.len())?;
    }
    step.require_fixed(2..step.inputs.len())?;
    if rows.axis + 1 >= shape.len() {
        return Err(Refusal::Mixed);
    }
    let same = x.with_shape(shape.to_vec());
    let mut statistics = shape.to_vec();
    statistics[shape.len() - 1] = Size::known(1);
    let statistics = x.with_shape(statistics);
    Ok(vec![same.clone(), statistics.clone(), statistics, same])
}

/// MeanVarianceNormalization: over axes 0, 2 and 3 unless others are named.
pub(super) fn mean_variance(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    let shape = x.shape()?;
    let axes = axes_of(step.integers("axes").unwrap_or(&[0, 2, 3]), shape.len())?;
    (!axes.contains(&rows.axis)).then(|| vec![x.with_shape(shape.to_vec())]).ok_or(Refusal::Mixed)
}

/// TopK: the largest along one axis, and where they are on it.
pub(super) fn top_k(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    step.require_fixed([1])?;
    let mut shape = x.shape()?.to_vec();
    let axis = axis_of(step.integer("axis", -1), shape.len())?;
    if axis == rows.axis {
        return Err(Refusal::Mixed);
    }
    let k = match step.optional(1) {
        Some(k) => k.integer(),
        None => step.attribute("k").map(|k| k.integer),
    };
    shape[axis] = k.map_or_else(|| step.fresh(), Size::known);
    let value = x.with_shape(shape);
    Ok(vec![value.clone(), value])
}

/// Trilu, Det, Inverse and others on matrices in the last two axes. `keeps` tells whether the matrices stay.
fn on_matrices(step: &Step<'_>, keeps: bool) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    step.require_fixed(1..step.inputs.len())?;
    let shape = x.shape()?;
    let batch = shape.len().checked_sub(2).ok_or(Refusal::Unknown)?;
    if rows.axis >= batch {
        return Err(Refusal::Mixed);
    }
    Ok(vec![x.with_shape(if keeps { shape.to_vec() } else { shape[..batch].to_vec() })])
}

pub(super) fn trilu(step: &Step<'_>) -> Outcome<Vec<Value>> {
    on_matrices(step, true)
}

pub(super) fn det(step: &Step<'_>) -> Outcome<Vec<Value>> {
    on_matrices(step, false)
}

/// Operators whose result for a row depends on all rows: NonZero, Unique, DynamicQuantizeLinear and their like.
pub(super) fn mixing(step: &Step<'_>) -> Outcome<Vec<Value>> {
    match step.present().any(Value::is_rows) {
        true => Err(Refusal::Mixed),
        false => Ok(vec![Value::opaque(Flow::Fixed); step.node.outputs.len()]),
    }
}
