//! Products: MatMul and its quantised forms, Gemm, Einsum.

use super::{
    elementwise::{broadcast, fits_beside_rows, join_fixed, unify},
    size::Size,
    step::Step,
    value::{Flow, Outcome, Refusal, RowAxis, Value},
};

/// MatMul: `a` times `b`, batched over all axes but the last two.
pub(super) fn matmul(step: &Step<'_>) -> Outcome<Vec<Value>> {
    product_of(step, step.input(0)?, step.input(1)?).map(|value| vec![value])
}

/// FusedMatMul, without transposed batches: MatMul, with a transposition of either matrix before.
pub(super) fn fused_matmul(step: &Step<'_>) -> Outcome<Vec<Value>> {
    if ["transBatchA", "transBatchB"].iter().any(|name| step.integer(name, 0) != 0) {
        return Err(Refusal::Unknown);
    }
    let a = transposed(step.input(0)?, step.integer("transA", 0) != 0)?;
    let b = transposed(step.input(1)?, step.integer("transB", 0) != 0)?;
    product_of(step, &a, &b).map(|value| vec![value])
}

/// MatMulInteger and MatMulIntegerToFloat: the zero points, scales and the bias at `parameters` must be the same for all.
/// One for each row of `a` would be one for each place, so `single` names those that must be one number.
fn quantized(step: &Step<'_>, [a, b]: [usize; 2], single: &[usize], parameters: &[usize]) -> Outcome<Vec<Value>> {
    step.require_fixed(single.iter().chain(parameters).copied())?;
    let a = step.input(a)?;
    if a.is_rows() && !single.iter().filter_map(|index| step.optional(*index)).all(Value::is_single) {
        return Err(Refusal::Mixed);
    }
    let b = step.input(b)?;
    // One zero point for each column is one for each row where rows are columns.
    if b.is_rows() && !parameters.iter().filter_map(|index| step.optional(*index)).all(Value::is_single) {
        return Err(Refusal::Mixed);
    }
    product_of(step, a, b).map(|value| vec![value])
}

pub(super) fn matmul_integer(step: &Step<'_>) -> Outcome<Vec<Value>> {
    quantized(step, [0, 1], &[2], &[3])
}

pub(super) fn matmul_integer_to_float(step: &Step<'_>) -> Outcome<Vec<Value>> {
    quantized(step, [0, 1], &[2, 4], &[3, 5, 6])
}

pub(super) fn qlinear_matmul(step: &Step<'_>) -> Outcome<Vec<Value>> {
    quantized(step, [0, 3], &[1, 2, 6, 7], &[4, 5])
}

/// MatMulNBits: rows of `a` times one fixed matrix of `K` rows and `N` columns.
pub(super) fn matmul_bits(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (a, rows) = step.rows(0)?;
    step.require_fixed(1..step.inputs.len())?;
    let mut shape = a.shape()?.to_vec();
    let last = shape.len().checked_sub(1).ok_or(Refusal::Unknown)?;
    if rows.axis == last {
        return Err(Refusal::Mixed);
    }
    shape[last] = step.attribute("N").map_or_else(|| step.fresh(), |n| Size::known(n.integer));
    Ok(vec![a.with_shape(shape)])
}

/// Gemm: two matrices, either transposed, and a third that is broadcast to the result.
pub(super) fn gemm(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let a = transposed(step.input(0)?, step.integer("transA", 0) != 0)?;
    let b = transposed(step.input(1)?, step.integer("transB", 0) != 0)?;
    if a.rank()? != 2 || b.rank()? != 2 {
        return Err(Refusal::Unknown);
    }
    let product = product_of(step, &a, &b)?;
    match step.optional(2) {
        None => Ok(vec![product]),
        // Broadcast one way: a third matrix that is larger than the product is refused by the runtime.
        Some(c) => broadcast(step, &[&product, c]).map(|value| vec![value]),
    }
}

/// QGemm: Gemm with scales and zero points.
pub(super) fn qgemm(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let a = transposed(step.input(0)?, step.integer("transA", 0) != 0)?;
    let b = transposed(step.input(3)?, step.integer("transB", 0) != 0)?;
    step.require_fixed([1, 2, 3, 4, 5, 6, 7, 8])?;
    let product = product_of(step, &a, &b)?;
    let rows = product.row_axis().ok_or(Refusal::Mixed)?;
    step.optional(6).map_or(Ok(()), |bias| fits_beside_rows(bias, rows.axis, 2))?;
    Ok(vec![product])
}

fn transposed(value: &Value, is_transposed: bool) -> Outcome<Value> {
    let mut shape = value.shape()?.to_vec();
    let rank = shape.len();
    if !is_transposed || rank < 2 {
        return Ok(value.with_shape(shape));
    }
    shape.swap(rank - 2, rank - 1);
    Ok(match value.row_axis() {
        Some(rows) if rows.axis == rank - 2 => Value::rows(rows.at(rank - 1), shape),
        Some(rows) if rows.axis == rank - 1 => Value::rows(rows.at(rank - 2), shape),
        _ => value.with_shape(shape),
    })
}

fn product_of(step: &Step<'_>, a: &Value, b: &Value) -> Outcome<Value> {
    let (a_shape, b_shape) = (a.shape()?, b.shape()?);
    let (a_rank, b_rank) = (a_shape.len(), b_shape.len());
    if a_rank == 0 || b_rank == 0 {
        return Err(Refusal::Unknown);
    }
    let batch_rank = a_rank.max(b_rank).saturating_sub(2);
    let mut shape: Vec<Size> = Vec::new();
    for axis in 0..batch_rank {
        let of = |shape: &[Size]| -> Option<Size> {
            let own = (axis + shape.len()).checked_sub(batch_rank + 2)?;
            Some(shape[own].clone())
        };
        let sizes: Vec<_> = of(a_shape).into_iter().chain(of(b_shape)).collect();
        shape.push(unify(step, sizes.iter()));
    }
    // A vector on the left has no rows in the result, one on the right no columns.
    let (m, n) = (a_rank >= 2, b_rank >= 2);
    if m {
        shape.push(a_shape[a_rank - 2].clone());
    }
    if n {
        shape.push(b_shape[b_rank - 1].clone());
    }
    let rows = match (a.row_axis(), b.row_axis()) {
        (None, None) => return Ok(Value { shape: Some(shape), ..Value::opaque(join_fixed([a, b])) }),
        (Some(rows), _) if m && rows.axis == a_rank - 2 => fixed_beside(b, None).map(|()| rows.at(batch_rank))?,
        (_, Some(rows)) if n && rows.axis == b_rank - 1 => {
            fixed_beside(a, None).map(|()| rows.at(batch_rank + usize::from(m)))?
        }
        (a_rows, b_rows) => {
            // What is left is a batch axis of both, aligned right, or an axis that is summed over.
            let a_rows = a_rows.map(|rows| batch_axis(rows, a_rank, batch_rank)).transpose()?;
            let b_rows = b_rows.map(|rows| batch_axis(rows, b_rank, batch_rank)).transpose()?;
            match (a_rows, b_rows) {
                (Some(a_rows), Some(b_rows)) if a_rows == b_rows => a_rows,
                (Some(rows), None) => fixed_beside(b, Some((rows.axis, batch_rank))).map(|()| rows)?,
                (None, Some(rows)) => fixed_beside(a, Some((rows.axis, batch_rank))).map(|()| rows)?,
                _ => return Err(Refusal::Mixed),
            }
        }
    };
    shape[rows.axis] = rows.size().ok_or(Refusal::Unknown)?;
    Ok(Value::rows(rows, shape))
}

/// Returns where a batch axis is in the result.
fn batch_axis(rows: &RowAxis, rank: usize, batch_rank: usize) -> Outcome<RowAxis> {
    let is_batch = rows.axis + 2 < rank;
    is_batch.then(|| rows.at(rows.axis + batch_rank + 2 - rank)).ok_or(Refusal::Mixed)
}

/// Checks the other factor: the same for all, and for every place on the batch axis of rows.
fn fixed_beside(other: &Value, batch: Option<(usize, usize)>) -> Outcome<()> {
    if other.flow != Flow::Fixed {
        return Err(Refusal::Mixed);
    }
    match batch {
        Some((axis, batch_rank)) => fits_beside_rows(other, axis, batch_rank + 2),
        None => Ok(()),
    }
}

/// Einsum with an arrow and without ellipses.
pub(super) fn einsum(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let equation: Vec<u8> = step.text("equation").iter().copied().filter(|byte| *byte != b' ').collect();
    let equation = String::from_utf8(equation).map_err(|_| Refusal::Unknown)?;
    let (left, output) = equation.split_once("->").ok_or(Refusal::Unknown)?;
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != step.inputs.len() || !equation.chars().all(|c| c.is_ascii_alphabetic() || ",->".contains(c)) {
        return Err(Refusal::Unknown);
    }
    let mut common: Option<(u8, RowAxis)> = None;
    for (index, term) in terms.iter().enumerate() {
        let value = step.input(index)?;
        if value.rank()? != term.len() {
            return Err(Refusal::Unknown);
        }
        let Some(rows) = value.row_axis() else {
            step.require_fixed([index])?;
            continue;
        };
        let label = term.as_bytes()[rows.axis];
        let is_other = common.as_ref().is_some_and(|(other, other_rows)| *other != label || *other_rows != rows.at(0));
        if is_other || term.bytes().filter(|other| *other == label).count() > 1 {
            return Err(Refusal::Mixed);
        }
        common = Some((label, rows.at(0)));
    }
    let Some((label, rows)) = common else { return Err(Refusal::Unknown) };
    let axis = output.bytes().position(|other| other == label).ok_or(Refusal::Mixed)?;
    // A fixed operand with the rows' label has a size of its own there.
    let shares_label = |index: &usize| terms[*index].bytes().any(|other| other == label);
    if !(0..terms.len()).filter(shares_label).all(|index| step.input(index).is_ok_and(Value::is_rows)) {
        return Err(Refusal::Mixed);
    }
    let mut shape = Vec::new();
    for output_label in output.bytes() {
        let mut sizes = Vec::new();
        for (index, term) in terms.iter().enumerate() {
            let place = term.bytes().position(|other| other == output_label);
            sizes.extend(place.map(|place| step.input(index).and_then(Value::shape).map(|shape| shape[place].clone())));
        }
        shape.push(unify(step, sizes.into_iter().collect::<Outcome<Vec<_>>>()?.iter()));
    }
    Ok(vec![Value::rows(rows.at(axis), shape)])
}
