//! Operators that move elements about: Transpose, Reshape and its relatives, Concat, Split, Pad, Tile, Expand.

use super::{
    elementwise::{broadcast, join_fixed},
    size::{Size, product},
    step::{Step, axes_of, axis_of},
    value::{Flow, Outcome, Refusal, RowAxis, Value},
};

pub(super) fn transpose(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let shape = x.shape()?;
    let order = match step.integers("perm") {
        Some(order) => axes_of(order, shape.len())?,
        None => (0..shape.len()).rev().collect(),
    };
    let moved: Vec<_> = order.iter().map(|axis| shape[*axis].clone()).collect();
    Ok(vec![match x.row_axis() {
        Some(rows) => {
            let axis = order.iter().position(|axis| *axis == rows.axis).ok_or(Refusal::Unknown)?;
            Value::rows(rows.at(axis), moved)
        }
        None => x.with_shape(moved),
    }])
}

/// Squeeze: without axes it also takes away the axis of rows, where there is one row.
pub(super) fn squeeze(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let shape = x.shape()?;
    let axes = match (step.integers_or_input("axes", 1)?, x.row_axis()) {
        (Some(axes), _) => axes_of(&axes, shape.len())?,
        (None, Some(_)) => return Err(Refusal::Mixed),
        (None, None) if shape.iter().all(|size| size.value().is_some()) => {
            (0..shape.len()).filter(|axis| shape[*axis].is(1)).collect()
        }
        (None, None) => return Err(Refusal::Unknown),
    };
    let kept: Vec<_> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
    let squeezed: Vec<_> = kept.iter().map(|axis| shape[*axis].clone()).collect();
    Ok(vec![match x.row_axis() {
        Some(rows) => {
            let axis = kept.iter().position(|axis| *axis == rows.axis).ok_or(Refusal::Mixed)?;
            Value::rows(rows.at(axis), squeezed)
        }
        None => x.with_shape(squeezed),
    }])
}

pub(super) fn unsqueeze(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let shape = x.shape()?;
    let axes = step.integers_or_input("axes", 1)?.ok_or(Refusal::Unknown)?;
    let axes = axes_of(&axes, shape.len() + axes.len())?;
    let mut sizes = shape.iter().cloned();
    let mut own_axis = 0..shape.len();
    let (mut unsqueezed, mut rows) = (Vec::new(), None);
    for axis in 0..shape.len() + axes.len() {
        if axes.contains(&axis) {
            unsqueezed.push(Size::known(1));
            continue;
        }
        // An axis that is named twice leaves too few places.
        unsqueezed.push(sizes.next().ok_or(Refusal::Unknown)?);
        let own = own_axis.next();
        rows = rows.or_else(|| x.row_axis().filter(|rows| own == Some(rows.axis)).map(|rows| rows.at(axis)));
    }
    Ok(vec![rows.map_or_else(|| x.with_shape(unsqueezed.clone()), |rows| Value::rows(rows, unsqueezed.clone()))])
}

pub(super) fn flatten(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let shape = x.shape()?;
    let axis = step.integer("axis", 1);
    let axis = if axis == i64::try_from(shape.len()).unwrap_or(0) { shape.len() } else { axis_of(axis, shape.len())? };
    let sizes = [product(&shape[..axis]), product(&shape[axis..])];
    let target = sizes.into_iter().collect::<Option<Vec<_>>>().ok_or(Refusal::Unknown)?;
    reshaped(x, target).map(|value| vec![value])
}

/// Reshape to a target whose sizes are known as monomials.
pub(super) fn reshape(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let shape = x.shape()?;
    let target = match step.optional(1) {
        Some(target) if target.is_rows() => return Err(Refusal::Mixed),
        Some(target) => target.elements.clone().ok_or(Refusal::Unknown)?,
        None => step.integers("shape").ok_or(Refusal::Unknown)?.iter().map(|size| Some(Size::known(*size))).collect(),
    };
    let copies = step.integer("allowzero", 0) == 0;
    let (mut sizes, mut open) = (Vec::new(), None);
    for (axis, size) in target.into_iter().enumerate() {
        let size = size.ok_or(Refusal::Unknown)?;
        sizes.push(match size.value() {
            Some(0) if copies => shape.get(axis).cloned().ok_or(Refusal::Unknown)?,
            Some(-1) if open.is_none() => {
                open = Some(axis);
                Size::known(1)
            }
            Some(negative) if negative < 0 => return Err(Refusal::Unknown),
            _ => size,
        });
    }
    if let Some(open) = open {
        let total = product(shape).ok_or(Refusal::Unknown)?;
        let others = product(&sizes).ok_or(Refusal::Unknown)?;
        // Numbers that do not divide regroup the rows; with symbols the runtime may refuse, or regroup.
        let refusal = if x.is_rows() && total.over(&Size::rows()).is_none_or(|row| row.value().is_some()) {
            Refusal::Mixed
        } else {
            Refusal::Unknown
        };
        sizes[open] = match total.over(&others) {
            Some(exact) => exact,
            // With N among the others, what is left is the same for any number of rows, or the runtime refuses it.
            None if x.is_rows() && others.has_rows() => step.fresh(),
            None => return Err(refusal),
        };
    }
    reshaped(x, sizes).map(|value| vec![value])
}

/// Gives a tensor another shape of as many elements, and finds where its rows lie then.
fn reshaped(x: &Value, sizes: Vec<Size>) -> Outcome<Value> {
    let Some(rows) = x.row_axis() else {
        // Only for one number of rows could this be the shape of something without rows.
        let has_rows = sizes.iter().any(Size::has_rows);
        return if has_rows { Err(Refusal::Mixed) } else { Ok(x.with_shape(sizes)) };
    };
    let shape = x.shape()?;
    let axis = sizes.iter().position(Size::has_rows).ok_or(Refusal::Mixed)?;
    if sizes.iter().filter(|size| size.has_rows()).count() > 1 {
        return Err(Refusal::Mixed);
    }
    // What is before N in the order of the elements must stay before it. What is after it then stays after it, since the
    // runtime refuses a shape of more or fewer elements.
    let before = |sizes: &[Size]| product(sizes).ok_or(Refusal::Unknown);
    let outside = before(&shape[..rows.axis])?.times(&rows.outer).ok_or(Refusal::Unknown)?;
    let outer = outside.over(&before(&sizes[..axis])?).ok_or(Refusal::Mixed)?;
    let each = sizes[axis].over(&Size::rows()).ok_or(Refusal::Unknown)?;
    let inner = each.over(&outer).ok_or(Refusal::Mixed)?;
    Ok(Value::rows(RowAxis { axis, outer, inner }, sizes))
}

/// Concat along any axis; along that of the rows, all parts must be rows, and each keeps its own.
pub(super) fn concat(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let parts: Vec<_> = step.present().collect();
    let first = parts.first().ok_or(Refusal::Unknown)?;
    let rank = first.rank()?;
    let axis = axis_of(step.integer("axis", 1), rank)?;
    let rows = parts.iter().find_map(|part| part.row_axis());
    for part in &parts {
        match (rows, part.row_axis()) {
            // Parts without rows have a size of their own on the rows' axis.
            (Some(rows), own) if own != Some(rows) => return Err(Refusal::Mixed),
            _ => {}
        }
    }
    let count = i64::try_from(parts.len()).map(Size::known).map_err(|_| Refusal::Unknown)?;
    let rows = rows.map(|rows| match rows.axis == axis {
        true => rows.outer.times(&count).map(|outer| RowAxis { outer, ..rows.clone() }).ok_or(Refusal::Unknown),
        false => Ok(rows.clone()),
    });
    let rows = rows.transpose()?;
    let mut shape = first.shape()?.to_vec();
    let mut joined = Some(0_i64);
    for part in &parts {
        let own = part.shape()?;
        if own.len() != rank {
            return Err(Refusal::Unknown);
        }
        joined = joined.and_then(|sum| sum.checked_add(own[axis].value()?));
        for other in (0..rank).filter(|other| *other != axis) {
            // All are equal when it runs: a number says most.
            if own[other].value().is_some() {
                shape[other] = own[other].clone();
            }
        }
    }
    if parts.len() > 1 {
        shape[axis] = joined.map_or_else(|| step.fresh(), Size::known);
    }
    Ok(vec![match rows {
        Some(rows) => {
            shape[rows.axis] = rows.size().ok_or(Refusal::Unknown)?;
            Value::rows(rows, shape)
        }
        None => Value { shape: Some(shape), ..Value::opaque(join_fixed(parts.iter().copied())) },
    }])
}

/// Split along any axis but that of the rows.
pub(super) fn split(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let shape = x.shape()?;
    let axis = axis_of(step.integer("axis", 0), shape.len())?;
    if x.row_axis().is_some_and(|rows| rows.axis == axis) {
        return Err(Refusal::Mixed);
    }
    step.require_fixed([1])?;
    let sizes = step.integers("split").map(<[i64]>::to_vec).or_else(|| step.optional(1)?.integers());
    let parts = i64::try_from(step.node.outputs.len()).map_err(|_| Refusal::Unknown)?;
    let even = || shape[axis].over(&Size::known(parts));
    let part = |index: usize| {
        let mut own = shape.to_vec();
        let size = match (&sizes, step.optional(1).is_some()) {
            (Some(sizes), _) => sizes.get(index).copied().map(Size::known),
            (None, true) => None,
            (None, false) => even(),
        };
        own[axis] = size.unwrap_or_else(|| step.fresh());
        x.with_shape(own)
    };
    Ok((0..step.node.outputs.len()).map(part).collect())
}

/// Pad: nothing before or after the rows.
pub(super) fn pad(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    step.require_fixed([1, 2, 3])?;
    let mut shape = x.shape()?.to_vec();
    let axes = match step.optional(3) {
        Some(axes) => axes_of(&axes.integers().ok_or(Refusal::Unknown)?, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let pads: Vec<Option<i64>> = match (step.integers("pads").or_else(|| step.integers("paddings")), step.optional(1)) {
        (Some(pads), _) => pads.iter().copied().map(Some).collect(),
        (None, Some(pads)) => {
            pads.elements.as_ref().ok_or(Refusal::Unknown)?.iter().map(|pad| pad.as_ref()?.value()).collect()
        }
        (None, None) => return Err(Refusal::Unknown),
    };
    for (place, axis) in axes.iter().enumerate() {
        let get = |place: usize| pads.get(place).copied().flatten();
        let (before, after) = (get(place), get(place + axes.len()));
        if *axis == rows.axis {
            match (before, after) {
                (Some(0), Some(0)) => continue,
                (Some(_), Some(_)) => return Err(Refusal::Mixed),
                _ => return Err(Refusal::Unknown),
            }
        }
        let padded = || shape[*axis].value()?.checked_add(before?)?.checked_add(after?);
        shape[*axis] = match (before, after) {
            (Some(0), Some(0)) => continue,
            _ => padded().map_or_else(|| step.fresh(), Size::known),
        };
    }
    Ok(vec![x.with_shape(shape)])
}

/// Tile: rows are not repeated; what has no rows may be repeated once for each.
pub(super) fn tile(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let shape = x.shape()?;
    let repeats = step.input(1)?;
    if repeats.is_rows() {
        return Err(Refusal::Mixed);
    }
    let elements = repeats.elements.as_ref().ok_or(Refusal::Unknown)?;
    let (mut tiled, mut rows) = (Vec::new(), x.row_axis().cloned());
    for (axis, size) in shape.iter().enumerate() {
        let repeat = elements.get(axis).ok_or(Refusal::Unknown)?.as_ref();
        if x.row_axis().is_some_and(|rows| rows.axis == axis) {
            match repeat {
                Some(repeat) if repeat.is(1) => tiled.push(size.clone()),
                Some(_) => return Err(Refusal::Mixed),
                None => return Err(Refusal::Unknown),
            }
            continue;
        }
        if repeat.is_some_and(Size::has_rows) {
            // Each copy is a row.
            if rows.is_some() || x.flow != Flow::Fixed {
                return Err(Refusal::Mixed);
            }
            let each = repeat.and_then(|repeat| repeat.over(&Size::rows())?.times(size)).ok_or(Refusal::Unknown)?;
            rows = Some(RowAxis { inner: each, ..RowAxis::whole(axis) });
        }
        tiled.push(repeat.and_then(|repeat| repeat.times(size)).unwrap_or_else(|| step.fresh()));
    }
    // A number of copies that is not known must at least not depend on N.
    if elements.iter().any(Option::is_none) && repeats.flow != Flow::Fixed {
        return Err(Refusal::Mixed);
    }
    Ok(vec![rows.map_or_else(|| x.with_shape(tiled.clone()), |rows| Value::rows(rows, tiled.clone()))])
}

/// Expand: broadcasts to a shape; what has no rows may get them, each the same.
pub(super) fn expand(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let target = step.input(1)?;
    if target.is_rows() {
        return Err(Refusal::Mixed);
    }
    let sizes = target.elements.as_ref().ok_or(Refusal::Unknown)?;
    if sizes.iter().any(Option::is_none) && target.flow != Flow::Fixed {
        return Err(Refusal::Mixed);
    }
    let sizes: Vec<_> = sizes.iter().map(|size| size.clone().unwrap_or_else(|| step.fresh())).collect();
    let rank = x.rank()?.max(sizes.len());
    let row_size = x.row_axis().and_then(RowAxis::size);
    let own_axis = x.row_axis().map(|rows| rows.axis + rank - x.shape.as_ref().map_or(0, Vec::len));
    let mut shape = Vec::new();
    let mut rows = None;
    for (place, size) in sizes.iter().enumerate() {
        let axis = place + rank - sizes.len();
        match own_axis {
            // The rows keep their axis: 1 and their own number mean the same.
            Some(own) if own == axis && (size.is(1) || Some(size) == row_size.as_ref()) => shape.push(Size::known(1)),
            Some(own) if own == axis || size.has_rows() => return Err(Refusal::Mixed),
            None if size.has_rows() => {
                let own = (axis + x.rank()?).checked_sub(rank);
                let is_one = own.is_none_or(|own| x.shape.as_ref().is_some_and(|shape| shape[own].is(1)));
                if rows.is_some() || !is_one || x.flow != Flow::Fixed {
                    return Err(Refusal::Mixed);
                }
                let inner = size.over(&Size::rows()).ok_or(Refusal::Unknown)?;
                rows = Some(RowAxis { inner, ..RowAxis::whole(axis) });
                shape.push(Size::known(1));
            }
            _ => shape.push(size.clone()),
        }
    }
    let like = Value::fixed(shape);
    let mut value = broadcast(step, &[x, &like])?;
    if let (Some(rows), Some(shape)) = (rows, &mut value.shape) {
        shape[rows.axis] = rows.size().ok_or(Refusal::Unknown)?;
        value.flow = Flow::Rows(rows);
    }
    Ok(vec![value])
}
