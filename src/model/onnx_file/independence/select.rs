//! Operators that pick elements: Gather and Scatter in their forms, Slice, Compress, OneHot.

use super::{
    elementwise::join_fixed,
    size::Size,
    step::{Step, axis_of},
    value::{Flow, Outcome, Refusal, RowAxis, Value},
};

/// An end that lies beyond any axis: no request has so many rows. Exporters write this, or the greatest integer.
const BEYOND: i64 = 1_000_000_000;

/// Gather: picks places of one axis; either the data or the indices are rows.
pub(super) fn gather(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (data, indices) = (step.input(0)?, step.input(1)?);
    let (shape, picked) = (data.shape()?, indices.shape()?);
    let axis = axis_of(step.integer("axis", 0), shape.len())?;
    let gathered = [&shape[..axis], picked, &shape[axis + 1..]].concat();
    Ok(vec![match (data.row_axis(), indices.row_axis()) {
        (None, None) => Value { shape: Some(gathered), ..Value::opaque(join_fixed([data, indices])) },
        (Some(rows), None) if rows.axis != axis && indices.flow == Flow::Fixed => {
            let moved = if rows.axis < axis { rows.axis } else { rows.axis + picked.len() - 1 };
            Value::rows(rows.at(moved), gathered)
        }
        (None, Some(rows)) if data.flow == Flow::Fixed => Value::rows(rows.at(axis + rows.axis), gathered),
        _ => return Err(Refusal::Mixed),
    }])
}

/// GatherElements: picks on one axis, by an index for each element.
pub(super) fn gather_elements(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (data, indices) = (step.input(0)?, step.input(1)?);
    let axis = axis_of(step.integer("axis", 0), data.rank()?)?;
    let keeps = match (data.row_axis(), indices.row_axis()) {
        (Some(rows), Some(theirs)) => rows == theirs && rows.axis != axis,
        // The place on every other axis counts too.
        (None, Some(theirs)) => data.flow == Flow::Fixed && theirs.axis == axis,
        _ => false,
    };
    keeps.then(|| indices.shape().map(|shape| vec![indices.with_shape(shape.to_vec())])).ok_or(Refusal::Mixed)?
}

/// GatherND: picks by tuples of indices, within the first `batch_dims` axes.
pub(super) fn gather_nd(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (data, indices) = (step.input(0)?, step.input(1)?);
    let (shape, tuples) = (data.shape()?, indices.shape()?);
    let batch = usize::try_from(step.integer("batch_dims", 0)).map_err(|_| Refusal::Unknown)?;
    let (tuple, places) = tuples.split_last().ok_or(Refusal::Unknown)?;
    let length = tuple.value().and_then(|length| usize::try_from(length).ok()).ok_or(Refusal::Unknown)?;
    let rest = shape.get(batch + length..).ok_or(Refusal::Unknown)?;
    let gathered = [places, rest].concat();
    let rows = match (data.row_axis(), indices.row_axis()) {
        (Some(rows), Some(theirs)) if rows == theirs && rows.axis < batch => rows.clone(),
        (Some(rows), None) if rows.axis >= batch + length && indices.flow == Flow::Fixed => {
            rows.at(rows.axis - batch - length + places.len())
        }
        (None, Some(rows)) if data.flow == Flow::Fixed && rows.axis >= batch && rows.axis < places.len() => {
            rows.clone()
        }
        _ => return Err(Refusal::Mixed),
    };
    Ok(vec![Value::rows(rows, gathered)])
}

/// ScatterElements: writes on one axis; data, indices and updates are rows on another.
pub(super) fn scatter_elements(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (data, rows) = step.rows(0)?;
    let shape = data.shape()?;
    let same = |index: usize| step.input(index).is_ok_and(|value| value.row_axis() == Some(rows));
    let keeps = same(1) && same(2) && rows.axis != axis_of(step.integer("axis", 0), shape.len())?;
    keeps.then(|| vec![data.with_shape(shape.to_vec())]).ok_or(Refusal::Mixed)
}

/// ScatterND: writes places of the first axes; the rows lie on a later one, in data and updates.
pub(super) fn scatter_nd(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (data, rows) = step.rows(0)?;
    step.require_fixed([1])?;
    let (shape, tuples) = (data.shape()?, step.input(1)?.shape()?);
    let (tuple, places) = tuples.split_last().ok_or(Refusal::Unknown)?;
    let length = tuple.value().and_then(|length| usize::try_from(length).ok()).ok_or(Refusal::Unknown)?;
    let moved = rows.axis.checked_sub(length).map(|axis| rows.at(axis + places.len()));
    let updates = step.input(2)?.row_axis();
    (moved.as_ref() == updates && updates.is_some())
        .then(|| vec![data.with_shape(shape.to_vec())])
        .ok_or(Refusal::Mixed)
}

/// What Slice does with one axis.
struct Cut {
    start: Option<Size>,
    end: Option<Size>,
    step: Option<Size>,
}

/// Slice: any axis but that of the rows, unless it takes all of them.
pub(super) fn slice(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let mut shape = x.shape()?.to_vec();
    for (axis, cut) in cuts(step, shape.len())? {
        let size = &shape[axis];
        let is_all = cut.is_all(size);
        if x.row_axis().is_some_and(|rows| rows.axis == axis) {
            // Bounds that are not known may be all.
            let is_known = cut.start.is_some() && cut.end.is_some() && cut.step.is_some();
            match (is_all, is_known) {
                (true, _) => continue,
                (false, true) => return Err(Refusal::Mixed),
                (false, false) => return Err(Refusal::Unknown),
            }
        }
        // A bound that counts rows cuts other places from a larger batch.
        if cut.counts_rows() {
            return Err(Refusal::Mixed);
        }
        if !is_all {
            shape[axis] = cut.size_of(size).map_or_else(|| step.fresh(), Size::known);
        }
    }
    Ok(vec![x.with_shape(shape)])
}

/// Reads which axes are cut, from attributes before opset 10 and from inputs since.
fn cuts(step: &Step<'_>, rank: usize) -> Outcome<Vec<(usize, Cut)>> {
    let known = |values: &[i64]| values.iter().map(|value| Some(Size::known(*value))).collect::<Vec<_>>();
    let read = |name: &str, index: usize| -> Outcome<Option<Vec<Option<Size>>>> {
        if let Some(values) = step.integers(name) {
            return Ok(Some(known(values)));
        }
        let Some(value) = step.optional(index) else { return Ok(None) };
        match &value.elements {
            // A bound that counts rows must say how.
            Some(elements) if value.flow == Flow::Count && elements.iter().any(Option::is_none) => Err(Refusal::Mixed),
            Some(elements) => Ok(Some(elements.clone())),
            None if value.flow == Flow::Fixed => {
                let count = value.shape()?.first().and_then(Size::value).and_then(|count| usize::try_from(count).ok());
                count.filter(|count| *count <= rank).map(|count| Some(vec![None; count])).ok_or(Refusal::Unknown)
            }
            None => Err(Refusal::Mixed),
        }
    };
    let starts = read("starts", 1)?.ok_or(Refusal::Unknown)?;
    let ends = read("ends", 2)?.ok_or(Refusal::Unknown)?;
    let axes = read("axes", 3)?.unwrap_or_else(|| known(&[0, 1, 2, 3, 4, 5, 6, 7][..starts.len().min(8)]));
    let steps = read("steps", 4)?;
    let mut cuts = Vec::new();
    for (place, axis) in axes.iter().enumerate() {
        let axis = axis.as_ref().and_then(Size::value).ok_or(Refusal::Unknown)?;
        let get = |values: &[Option<Size>]| values.get(place).cloned().flatten();
        let by = steps.as_ref().map_or_else(|| Some(Size::known(1)), |steps| get(steps));
        cuts.push((axis_of(axis, rank)?, Cut { start: get(&starts), end: get(&ends), step: by }));
    }
    (cuts.len() == starts.len()).then_some(cuts).ok_or(Refusal::Unknown)
}

impl Cut {
    fn counts_rows(&self) -> bool {
        [&self.start, &self.end, &self.step].into_iter().flatten().any(Size::has_rows)
    }

    fn is_all(&self, size: &Size) -> bool {
        let is = |value: &Option<Size>, wanted: i64| value.as_ref().is_some_and(|value| value.is(wanted));
        let to_end = self.end.as_ref().is_some_and(|end| end == size || end.value().is_some_and(|end| end >= BEYOND));
        is(&self.start, 0) && is(&self.step, 1) && to_end
    }

    /// Returns how many places are left of a known number, by known bounds and a positive step.
    fn size_of(&self, size: &Size) -> Option<i64> {
        let size = size.value()?;
        let place = |bound: &Option<Size>| {
            let bound = bound.as_ref()?.value()?;
            Some(if bound < 0 { bound.checked_add(size)? } else { bound }.clamp(0, size))
        };
        let step = self.step.as_ref()?.value().filter(|step| *step > 0)?;
        let length = place(&self.end)? - place(&self.start)?;
        Some(length.max(0).checked_add(step - 1)? / step)
    }
}

/// Compress: picks places of one axis by a fixed condition; without an axis, of all elements.
pub(super) fn compress(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    step.require_fixed([1])?;
    let mut shape = x.shape()?.to_vec();
    let axis = step.attribute("axis").ok_or(Refusal::Mixed)?.integer;
    let axis = axis_of(axis, shape.len())?;
    if axis == rows.axis {
        return Err(Refusal::Mixed);
    }
    shape[axis] = step.fresh();
    Ok(vec![x.with_shape(shape)])
}

/// OneHot: a new axis, with fixed depth and values.
pub(super) fn one_hot(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    step.require_fixed([1, 2])?;
    let mut shape = x.shape()?.to_vec();
    let axis = axis_of(step.integer("axis", -1), shape.len() + 1)?;
    shape.insert(axis, step.input(1)?.integer().map_or_else(|| step.fresh(), Size::known));
    Ok(vec![Value::rows(rows.at(rows.axis + usize::from(axis <= rows.axis)), shape)])
}

/// ReverseSequence: each row is reversed along the axis of time, up to a length of its own.
pub(super) fn reverse_sequence(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    let shape = x.shape()?;
    let batch = axis_of(step.integer("batch_axis", 1), shape.len())?;
    let lengths = step.input(1)?.row_axis();
    let keeps = rows.axis == batch && lengths.is_some_and(|lengths| *lengths == rows.at(0));
    keeps.then(|| vec![x.with_shape(shape.to_vec())]).ok_or(Refusal::Mixed)
}

/// CenterCropPad: axes that are named, to fixed sizes.
pub(super) fn center_crop_pad(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    step.require_fixed([1])?;
    let mut shape = x.shape()?.to_vec();
    let axes = step.integers("axes").ok_or(Refusal::Mixed)?;
    for axis in axes {
        let axis = axis_of(*axis, shape.len())?;
        if axis == rows.axis {
            return Err(Refusal::Mixed);
        }
        shape[axis] = step.fresh();
    }
    Ok(vec![x.with_shape(shape)])
}

/// LSTM, GRU, RNN: rows on axis 1, or on axis 0 with `layout` 1; lengths and initial states are rows too.
pub(super) fn recurrent(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    let shape = x.shape()?;
    let by_row = step.integer("layout", 0) == 1;
    let axis = if by_row { 0 } else { 1 };
    if rows.axis != axis || shape.len() != 3 {
        return Err(Refusal::Mixed);
    }
    step.require_fixed([1, 2, 3, 7])?;
    let is_row = |index: usize, axis: usize| {
        step.optional(index).is_none_or(|value| value.row_axis().is_some_and(|own| *own == rows.at(axis)))
    };
    if !(is_row(4, 0) && is_row(5, axis) && is_row(6, axis)) {
        return Err(Refusal::Mixed);
    }
    let hidden = step.attribute("hidden_size").map_or_else(|| step.fresh(), |size| Size::known(size.integer));
    let directions = Size::known(if step.text("direction") == b"bidirectional" { 2 } else { 1 });
    let (batch, time) = (shape[axis].clone(), shape[1 - axis].clone());
    let (all, last, at) = match by_row {
        true => (vec![batch.clone(), time, directions.clone(), hidden.clone()], vec![batch, directions, hidden], 0),
        false => (vec![time, directions.clone(), batch.clone(), hidden.clone()], vec![directions, batch, hidden], 1),
    };
    let all_rows = rows.at(if by_row { 0 } else { 2 });
    let state = Value::rows(RowAxis { axis: at, ..rows.clone() }, last);
    Ok(vec![Value::rows(all_rows, all), state.clone(), state])
}
