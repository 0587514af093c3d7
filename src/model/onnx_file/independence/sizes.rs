//! Sizes as values: Shape, Size, ConstantOfShape, Range; and arithmetic on the elements of small fixed tensors.

use super::{
    elementwise::join_fixed,
    size::{Size, product},
    step::{Step, axis_of},
    value::{Flow, Outcome, Refusal, RowAxis, Value},
};

/// Tensors of more elements are not followed element by element.
pub(super) const MAX_ELEMENTS: usize = 128;

pub(super) fn shape(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let shape = step.input(0)?.shape()?;
    let rank = i64::try_from(shape.len()).map_err(|_| Refusal::Unknown)?;
    let place = |bound: i64| usize::try_from(if bound < 0 { bound + rank } else { bound }.clamp(0, rank)).unwrap_or(0);
    let (start, end) = (place(step.integer("start", 0)), place(step.integer("end", rank)));
    let sizes: Vec<_> = shape.get(start..end.max(start)).unwrap_or_default().iter().cloned().map(Some).collect();
    let count = i64::try_from(sizes.len()).map_err(|_| Refusal::Unknown)?;
    Ok(vec![Value::of_elements(vec![Size::known(count)], sizes, Flow::Fixed)])
}

pub(super) fn size(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let total = product(step.input(0)?.shape()?).ok_or(Refusal::Unknown)?;
    Ok(vec![Value::of_elements(Vec::new(), vec![Some(total)], Flow::Fixed)])
}

/// ConstantOfShape: to a shape with N in it, each row is the same.
pub(super) fn constant_of_shape(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let target = step.input(0)?;
    if target.is_rows() {
        return Err(Refusal::Mixed);
    }
    let sizes = target.elements.as_ref().ok_or(Refusal::Unknown)?;
    if sizes.iter().any(Option::is_none) && target.flow != Flow::Fixed {
        return Err(Refusal::Mixed);
    }
    let shape: Vec<_> = sizes.iter().map(|size| size.clone().unwrap_or_else(|| step.fresh())).collect();
    let mut with_rows = shape.iter().enumerate().filter(|(_, size)| size.has_rows());
    Ok(vec![match (with_rows.next(), with_rows.next()) {
        (None, _) => {
            let mut value = Value::fixed(shape);
            let filler = step.attribute("value").and_then(|value| value.tensor.as_ref());
            let filler = filler.map_or(Some(Size::known(0)), |tensor| tensor_elements(tensor)?.first().cloned()?);
            let count = value.shape.as_ref().and_then(|shape| product(shape)?.value());
            let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count <= MAX_ELEMENTS);
            value.elements = count.map(|count| vec![filler; count]);
            value
        }
        (Some((axis, size)), None) => {
            let inner = size.over(&Size::rows()).ok_or(Refusal::Unknown)?;
            Value::rows(RowAxis { inner, ..RowAxis::whole(axis) }, shape.clone())
        }
        (Some(_), Some(_)) => return Err(Refusal::Mixed),
    }])
}

/// Range: to N it counts places in the batch, which are no row's own.
pub(super) fn range(step: &Step<'_>) -> Outcome<Vec<Value>> {
    if step.present().any(Value::is_rows) {
        return Err(Refusal::Mixed);
    }
    let bound = |index: usize| step.optional(index)?.elements.as_ref()?.first().cloned()?;
    let (start, limit, delta) = (bound(0), bound(1), bound(2));
    let plain = start.is_some_and(|start| start.is(0)) && delta.is_some_and(|delta| delta.is(1));
    let flow = join_fixed(step.present());
    let Some(limit) = limit.filter(|_| plain) else {
        let shape = (flow == Flow::Fixed).then(|| vec![step.fresh()]);
        return Ok(vec![Value { shape, ..Value::opaque(flow) }]);
    };
    let count = limit.value().and_then(|count| usize::try_from(count).ok()).filter(|count| *count <= MAX_ELEMENTS);
    let elements = count.map(|count| (0..count).map(|index| i64::try_from(index).ok().map(Size::known)).collect());
    Ok(vec![Value { shape: Some(vec![limit]), elements, ..Value::opaque(flow) }])
}

/// Returns the elements of a small tensor of a file; `None` where they are too many, or lie elsewhere.
pub(super) fn tensor_elements(tensor: &super::super::proto::Tensor) -> Option<Vec<Option<Size>>> {
    // TensorProto.DataType
    const FLOAT: i32 = 1;
    const INT32: i32 = 6;
    const INT64: i32 = 7;
    const BOOL: i32 = 9;
    let count = tensor.dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(usize::try_from(*dim).ok()?))?;
    if count > MAX_ELEMENTS || !tensor.external_data.is_empty() {
        return None;
    }
    let raw = &tensor.raw_data;
    let integer = |value: i64| Some(Size::known(value));
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number below 2^24")]
    let float = |value: f32| (value.fract() == 0.0 && value.abs() < 16_777_216.0).then(|| Size::known(value as i64));
    let elements: Vec<_> = match tensor.data_type {
        FLOAT => tensor
            .float_data
            .iter()
            .copied()
            .chain(raw.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)))
            .map(float)
            .collect(),
        INT64 => tensor
            .int64_data
            .iter()
            .copied()
            .chain(raw.as_chunks().0.iter().map(|raw| i64::from_le_bytes(*raw)))
            .map(integer)
            .collect(),
        INT32 => tensor
            .int32_data
            .iter()
            .copied()
            .chain(raw.as_chunks().0.iter().map(|raw| i32::from_le_bytes(*raw)))
            .map(|value| integer(value.into()))
            .collect(),
        BOOL => tensor
            .int32_data
            .iter()
            .copied()
            .chain(raw.iter().map(|byte| i32::from(*byte)))
            .map(|value| integer(i64::from(value != 0)))
            .collect(),
        _ => return None,
    };
    (elements.len() == count).then_some(elements)
}

/// Works out the elements of a node's first output from those of its inputs, where the operator is one of shapes'
/// arithmetic. `shape` is the output's.
pub(super) fn elements(step: &Step<'_>, shape: Option<&[Size]>) -> Option<Vec<Option<Size>>> {
    let of = |index: usize| step.optional(index)?.elements.as_ref();
    let numbers = |index: usize| step.optional(index)?.integers();
    let elements = match &*step.node.op_type {
        "Identity" | "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten" => of(0)?.clone(),
        "Cast" => of(0)?.iter().map(|element| cast(element.as_ref()?, step.integer("to", 0))).collect(),
        "Gather" if step.optional(0)?.shape.as_ref()?.len() == 1 => {
            let data = of(0)?;
            let length = i64::try_from(data.len()).ok()?;
            let pick = |index: i64| data.get(usize::try_from(if index < 0 { index + length } else { index }).ok()?);
            numbers(1)?.into_iter().map(|index| pick(index).cloned()).collect::<Option<_>>()?
        }
        "Slice" if step.optional(0)?.shape.as_ref()?.len() == 1 => slice(step, of(0)?)?,
        "Concat" if step.present().all(|part| part.shape.as_ref().is_some_and(|shape| shape.len() == 1)) => {
            let parts = step.present().map(|part| part.elements.as_ref());
            parts.collect::<Option<Vec<_>>>()?.into_iter().flatten().cloned().collect()
        }
        "Expand" => {
            let [only] = &of(0)?[..] else { return None };
            vec![only.clone(); usize::try_from(product(shape?)?.value()?).ok().filter(|count| *count <= MAX_ELEMENTS)?]
        }
        "ReduceProd" if shape?.iter().all(|size| size.is(1)) => {
            let all = of(0)?.iter().map(|element| element.as_ref()).collect::<Option<Vec<_>>>()?;
            vec![Some(product(all)?)]
        }
        "Neg" => numbers(0)?.into_iter().map(|number| number.checked_neg().map(Size::known)).collect(),
        "Not" => numbers(0)?.into_iter().map(|number| Some(Size::known(i64::from(number == 0)))).collect(),
        "Floor" | "Ceil" if of(0)?.iter().all(Option::is_some) => of(0)?.clone(),
        "Where" => {
            let (conditions, yes, no) = (of(0)?, of(1)?, of(2)?);
            let count = conditions.len().max(yes.len()).max(no.len());
            let choose = |index: usize| match at(conditions, index)?.as_ref()?.value()? {
                0 => at(no, index)?.clone(),
                _ => at(yes, index)?.clone(),
            };
            (0..count).map(choose).collect()
        }
        operator => {
            let [_, _] = step.inputs[..] else { return None };
            let (left, right) = (of(0)?, of(1)?);
            let calculate = arithmetic(operator)?;
            let pair = |index: usize| calculate(at(left, index)?.as_ref()?, at(right, index)?.as_ref()?);
            (0..left.len().max(right.len())).map(pair).collect()
        }
    };
    let count = shape.map_or(Some(elements.len()), |shape| usize::try_from(product(shape)?.value()?).ok())?;
    (elements.len() == count && count <= MAX_ELEMENTS).then_some(elements)
}

/// Returns an element of a vector, or the only one of a scalar.
fn at(elements: &[Option<Size>], index: usize) -> Option<&Option<Size>> {
    if elements.len() == 1 { elements.first() } else { elements.get(index) }
}

/// What an operator makes of two sizes, where that is a monomial.
fn arithmetic(operator: &str) -> Option<fn(&Size, &Size) -> Option<Size>> {
    fn numbers(left: &Size, right: &Size, calculate: fn(i64, i64) -> Option<i64>) -> Option<Size> {
        calculate(left.value()?, right.value()?).map(Size::known)
    }
    fn truth(answer: Option<bool>) -> Option<Size> {
        answer.map(|answer| Size::known(answer.into()))
    }
    Some(match operator {
        "Mul" => |left, right| left.times(right),
        // Of integers and floats alike, since only what divides is followed.
        "Div" => |left, right| left.over(right),
        "Add" => |left, right| match (left.is(0), right.is(0)) {
            (true, _) => Some(right.clone()),
            (_, true) => Some(left.clone()),
            _ => numbers(left, right, i64::checked_add),
        },
        "Sub" => |left, right| match right.is(0) {
            true => Some(left.clone()),
            false => numbers(left, right, i64::checked_sub),
        },
        "Equal" => |left, right| truth(left.equals(right)),
        "Less" => |left, right| truth(Some(left.value()? < right.value()?)),
        "Greater" => |left, right| truth(Some(left.value()? > right.value()?)),
        "And" => |left, right| truth(Some(left.value()? != 0 && right.value()? != 0)),
        "Or" => |left, right| truth(Some(left.value()? != 0 || right.value()? != 0)),
        "Min" => |left, right| numbers(left, right, |left, right| Some(left.min(right))),
        "Max" => |left, right| numbers(left, right, |left, right| Some(left.max(right))),
        _ => return None,
    })
}

fn cast(element: &Size, to: i64) -> Option<Size> {
    // TensorProto.DataType: those that hold any size exactly; FLOAT does up to 2^24.
    const WIDE: [i64; 4] = [6, 7, 11, 13];
    const FLOAT: i64 = 1;
    const BOOL: i64 = 9;
    match (to, element.value()) {
        (BOOL, Some(value)) => Some(Size::known(i64::from(value != 0))),
        (BOOL, None) => None,
        (_, Some(value)) if (0..128).contains(&value) || to == FLOAT && value.abs() <= 1 << 24 => Some(element.clone()),
        (6, Some(value)) if i32::try_from(value).is_ok() => Some(element.clone()),
        (7, _) => Some(element.clone()),
        (_, None) if WIDE.contains(&to) => Some(element.clone()),
        _ => None,
    }
}

/// Slices a vector of known elements by known bounds.
fn slice(step: &Step<'_>, data: &[Option<Size>]) -> Option<Vec<Option<Size>>> {
    let bound = |name: &str, index: usize, default: Option<i64>| match step.integers(name) {
        Some(values) => values.first().copied(),
        None => step.optional(index).map_or(default, Value::integer),
    };
    let length = i64::try_from(data.len()).ok()?;
    let (start, end) = (bound("starts", 1, None)?, bound("ends", 2, None)?);
    axis_of(bound("axes", 3, Some(0))?, 1).ok()?;
    let by = bound("steps", 4, Some(1))?;
    let place = |bound: i64, least: i64, most: i64| {
        if bound < 0 { bound.saturating_add(length) } else { bound }.clamp(least, most)
    };
    let (mut index, end) = match by {
        1.. => (place(start, 0, length), place(end, 0, length)),
        0 => return None,
        // Backwards, the place before the first is an end.
        _ => (place(start, 0, length - 1), place(end, -1, length - 1)),
    };
    let mut picked = Vec::new();
    while if by > 0 { index < end } else { index > end } {
        picked.push(data.get(usize::try_from(index).ok()?)?.clone());
        index = index.checked_add(by)?;
    }
    Some(picked)
}
