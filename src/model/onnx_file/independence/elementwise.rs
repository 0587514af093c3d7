//! Operators that work on each element by itself, with broadcasting.

use super::{
    size::Size,
    step::{Step, axis_of},
    value::{Flow, Outcome, Refusal, RowAxis, Value},
};

/// Add … Where: any number of operands, of which every output has the broadcast shape.
pub(super) fn elementwise(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let operands: Vec<_> = step.present().collect();
    let value = broadcast(step, &operands)?;
    Ok(vec![value; step.node.outputs.len()])
}

/// Operators of one operand whose further inputs must be fixed: Clip, Dropout, Trilu's diagonal, the runtime's own biases.
pub(super) fn first_operand(step: &Step<'_>) -> Outcome<Vec<Value>> {
    step.require_fixed(1..step.inputs.len())?;
    let value = step.input(0)?;
    Ok(vec![value.with_shape(value.shape()?.to_vec()); step.node.outputs.len()])
}

/// CastLike: only the type of the second operand counts.
pub(super) fn cast_like(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let value = step.input(0)?;
    Ok(vec![value.with_shape(value.shape()?.to_vec())])
}

/// Dropout outside of training. Before opset 7, and with `training_mode`, it draws at random.
pub(super) fn dropout(step: &Step<'_>) -> Outcome<Vec<Value>> {
    match step.optional(2) {
        Some(training) if training.integer() != Some(0) => Err(Refusal::Unknown),
        _ => first_operand(step),
    }
}

/// QuantizeLinear and DequantizeLinear: a scale and zero point for all, or for each place on `axis`. Those for blocks count
/// the rows, too.
pub(super) fn quantize_linear(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let shape = x.shape()?;
    for parameter in [1, 2].into_iter().filter_map(|index| step.optional(index)) {
        if parameter.is_single() && parameter.flow == Flow::Fixed {
            continue;
        }
        // Aligned on `axis` where there is one number a place.
        let axis = axis_of(step.integer("axis", 1), shape.len())?;
        match (x.row_axis(), parameter.row_axis(), parameter.rank()?) {
            (None, None, _) => {}
            (Some(rows), None, 1) if rows.axis != axis && parameter.flow == Flow::Fixed => {}
            (Some(rows), Some(theirs), 1) if rows.axis == axis && *theirs == rows.at(0) => {}
            _ => return Err(Refusal::Mixed),
        }
    }
    Ok(vec![x.with_shape(shape.to_vec())])
}

/// Works out the shape and the flow of operands that are broadcast against each other.
pub(super) fn broadcast(step: &Step<'_>, operands: &[&Value]) -> Outcome<Value> {
    let shapes = operands.iter().map(|operand| operand.shape()).collect::<Outcome<Vec<_>>>()?;
    let rank = shapes.iter().map(|shape| shape.len()).max().ok_or(Refusal::Unknown)?;
    let rows = common_rows(operands, rank)?;
    let mut shape = Vec::with_capacity(rank);
    for axis in 0..rank {
        let sizes = shapes.iter().filter_map(|shape| Some(&shape[(axis + shape.len()).checked_sub(rank)?]));
        shape.push(match &rows {
            Some(rows) if rows.axis == axis => rows.size().ok_or(Refusal::Unknown)?,
            _ => unify(step, sizes),
        });
    }
    Ok(match rows {
        Some(rows) => Value::rows(rows, shape),
        None => Value { shape: Some(shape), ..Value::opaque(join_fixed(operands.iter().copied())) },
    })
}

/// Finds the axis of the result on which all operands of rows have their rows; the others must have size 1 there, or no
/// such axis.
pub(super) fn common_rows(operands: &[&Value], rank: usize) -> Outcome<Option<RowAxis>> {
    let mut common: Option<RowAxis> = None;
    for operand in operands {
        let Some(rows) = operand.row_axis() else { continue };
        let aligned = rows.at(rows.axis + rank - operand.rank()?);
        match &common {
            Some(common) if *common != aligned => return Err(Refusal::Mixed),
            _ => common = Some(aligned),
        }
    }
    if let Some(rows) = &common {
        for operand in operands.iter().filter(|operand| !operand.is_rows()) {
            fits_beside_rows(operand, rows.axis, rank)?;
        }
    }
    Ok(common)
}

/// Checks that an operand without rows, aligned right in `rank`, is the same for every place on `axis`.
pub(super) fn fits_beside_rows(operand: &Value, axis: usize, rank: usize) -> Outcome<()> {
    if operand.flow != Flow::Fixed {
        return Err(Refusal::Mixed);
    }
    let shape = operand.shape()?;
    match (axis + shape.len()).checked_sub(rank) {
        Some(own) if !shape[own].is(1) => Err(Refusal::Mixed),
        _ => Ok(()),
    }
}

/// Returns the size of an axis to which these sizes are broadcast.
pub(super) fn unify<'s>(step: &Step<'_>, sizes: impl Iterator<Item = &'s Size>) -> Size {
    let mut common: Option<&Size> = None;
    for size in sizes.filter(|size| !size.is(1)) {
        match common {
            None => common = Some(size),
            Some(other) if other == size => {}
            // One of the two is 1, or they are equal: a number over 1 wins.
            Some(other) => match (other.value(), size.value()) {
                (Some(_), None) => {}
                (None, Some(_)) => common = Some(size),
                _ => return step.fresh(),
            },
        }
    }
    common.cloned().unwrap_or(Size::known(1))
}

/// Returns `Count` if one of the values is, else `Fixed`.
pub(super) fn join_fixed<'v>(values: impl IntoIterator<Item = &'v Value>) -> Flow {
    match values.into_iter().all(|value| value.flow == Flow::Fixed) {
        true => Flow::Fixed,
        false => Flow::Count,
    }
}
