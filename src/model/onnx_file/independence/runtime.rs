//! `com.microsoft`, as the runtime's own optimiser writes it into files, and ONNX's Attention: rows on axis 0.

use super::{
    elementwise::{broadcast, fits_beside_rows},
    size::Size,
    step::Step,
    value::{Flow, Outcome, Refusal, RowAxis, Value},
};

/// Where an operator of attention expects its inputs.
struct Places<'a> {
    fixed: &'a [usize],
    /// Rows on axis 0.
    rows: &'a [usize],
    /// Rows on axis 0, or broadcast to them.
    bias: &'a [usize],
    /// `[2, N, …]`, as the runtime keeps keys and values together.
    past: &'a [usize],
}

/// Attention of the runtime: one input that is projected, then as [`multi_head_attention`].
pub(super) fn attention(step: &Step<'_>) -> Outcome<Vec<Value>> {
    attend(step, &Places { fixed: &[1, 2, 6], rows: &[0, 3], bias: &[5], past: &[4] }, 1)
}

/// QAttention: scales and zero points are the same for all.
pub(super) fn quantized_attention(step: &Step<'_>) -> Outcome<Vec<Value>> {
    attend(step, &Places { fixed: &[1, 2, 3, 4, 6, 7], rows: &[0, 5], bias: &[], past: &[8] }, 1)
}

pub(super) fn multi_head_attention(step: &Step<'_>) -> Outcome<Vec<Value>> {
    attend(step, &Places { fixed: &[3], rows: &[0, 1, 2, 4, 6, 7], bias: &[5], past: &[] }, 0)
}

/// ONNX's Attention: a mask that is broadcast to `[N, heads, S, T]`.
pub(super) fn onnx_attention(step: &Step<'_>) -> Outcome<Vec<Value>> {
    attend(step, &Places { fixed: &[], rows: &[0, 1, 2, 4, 5, 6], bias: &[3], past: &[] }, 0)
}

/// Gives the first output the shape of the first input, but for the last axis, and the others rows on `present`.
fn attend(step: &Step<'_>, places: &Places<'_>, present: usize) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    let shape = x.shape()?;
    if *rows != RowAxis::whole(0) || !(3..=4).contains(&shape.len()) {
        return Err(Refusal::Mixed);
    }
    let covered =
        |index: &usize| [places.fixed, places.rows, places.bias, places.past].iter().any(|of| of.contains(index));
    if (0..step.inputs.len()).any(|index| step.optional(index).is_some() && !covered(&index)) {
        return Err(Refusal::Unknown);
    }
    let is_row = |value: &Value, axis: usize| value.row_axis() == Some(&RowAxis::whole(axis));
    let at = |indices: &[usize]| indices.iter().filter_map(|index| step.optional(*index)).collect::<Vec<_>>();
    step.require_fixed(places.fixed.iter().copied())?;
    let all_rows =
        at(places.rows).iter().all(|value| is_row(value, 0)) && at(places.past).iter().all(|value| is_row(value, 1));
    if !all_rows {
        return Err(Refusal::Mixed);
    }
    for bias in at(places.bias) {
        match is_row(bias, 0) && bias.rank()? == 4 {
            true => {}
            false => fits_beside_rows(bias, 0, 4)?,
        }
    }
    let mut attended = shape.to_vec();
    attended[shape.len() - 1] = step.fresh();
    let first = x.with_shape(attended);
    let state = |axis: usize, rank: usize| {
        let mut shape: Vec<_> = (0..rank).map(|_| step.fresh()).collect();
        shape[axis] = Size::rows();
        Value::rows(RowAxis::whole(axis), shape)
    };
    let states = (1..step.node.outputs.len()).map(|_| state(present, if present == 1 { 5 } else { 4 }));
    Ok(std::iter::once(first).chain(states).collect())
}

/// EmbedLayerNormalization: looks up words, segments and places, and normalises.
pub(super) fn embed_layer_normalization(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (ids, rows) = step.rows(0)?;
    let shape = ids.shape()?;
    step.require_fixed([2, 3, 4, 5, 6])?;
    let companions = [1, 7].into_iter().filter_map(|index| step.optional(index));
    let is_row = |value: &Value| value.row_axis() == Some(rows);
    if *rows != RowAxis::whole(0) || shape.len() != 2 || !companions.into_iter().all(is_row) {
        return Err(Refusal::Mixed);
    }
    if let Some(positions) = step.optional(8).filter(|positions| !is_row(positions)) {
        fits_beside_rows(positions, 0, 2)?;
    }
    let embedded = ids.with_shape(vec![shape[0].clone(), shape[1].clone(), step.fresh()]);
    Ok(vec![embedded.clone(), ids.with_shape(vec![shape[0].clone()]), embedded])
}

/// RotaryEmbedding: positions are rows, or one for all; the caches are the same for all.
pub(super) fn rotary_embedding(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    let is_runtime = step.node.domain == "com.microsoft";
    let (positions, caches) = if is_runtime { (1, [2, 3]) } else { (3, [1, 2]) };
    let is_row = |value: &Value| value.row_axis() == Some(rows);
    let positions = step.optional(positions);
    if *rows != RowAxis::whole(0) || positions.is_some_and(|value| !is_row(value) && !value.is_single()) {
        return Err(Refusal::Mixed);
    }
    // Without positions, ONNX's caches are rows, or have one row for all.
    for cache in caches.into_iter().filter_map(|index| step.optional(index)) {
        match (positions.is_some() || is_runtime, cache.flow == Flow::Fixed) {
            (true, true) => {}
            (false, false) if is_row(cache) => {}
            (false, true) => fits_beside_rows(cache, 0, cache.rank()?)?,
            _ => return Err(Refusal::Mixed),
        }
    }
    let positions_flow = positions.is_none_or(|value| is_row(value) || value.flow == Flow::Fixed);
    positions_flow.then(|| x.shape().map(|shape| vec![x.with_shape(shape.to_vec())])).ok_or(Refusal::Mixed)?
}

/// QLinearAdd and QLinearMul: two operands, each with scale and zero point.
pub(super) fn qlinear_binary(step: &Step<'_>) -> Outcome<Vec<Value>> {
    require_single(step, [1, 2, 4, 5, 6, 7])?;
    broadcast(step, &[step.input(0)?, step.input(3)?]).map(|value| vec![value])
}

pub(super) fn qlinear_unary(step: &Step<'_>) -> Outcome<Vec<Value>> {
    require_single(step, 1..step.inputs.len())?;
    let x = step.input(0)?;
    Ok(vec![x.with_shape(x.shape()?.to_vec())])
}

/// QLinearConcat: the result's scale and zero point, then triples of a part with its own.
pub(super) fn qlinear_concat(step: &Step<'_>) -> Outcome<Vec<Value>> {
    require_single(step, (0..step.inputs.len()).filter(|index| index % 3 != 2))?;
    let parts: Vec<_> = (2..step.inputs.len()).step_by(3).map(|index| step.optional(index)).collect();
    let inner = Step { node: step.node, opset: step.opset, inputs: parts, symbols: step.symbols };
    super::layout::concat(&inner)
}

fn require_single(step: &Step<'_>, indices: impl IntoIterator<Item = usize>) -> Outcome<()> {
    let mut parameters = indices.into_iter().filter_map(|index| step.optional(index));
    parameters.all(|value| value.flow == Flow::Fixed && value.is_single()).then_some(()).ok_or(Refusal::Mixed)
}
