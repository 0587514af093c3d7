//! If, Loop and Scan: their bodies are walked in place.

use super::{
    super::proto::Graph,
    size::Size,
    step::{Step, axis_of},
    value::{Flow, Outcome, Refusal, Value},
};

/// Walks a body with these values for its inputs, and returns its outputs.
pub(super) type Body<'a> = &'a dyn Fn(&Graph, Vec<Value>) -> Vec<Value>;

/// How often a body is walked until what it carries stays as it is.
const MAX_ROUNDS: usize = 16;

pub(super) fn is_control(operator: &str) -> bool {
    matches!(operator, "If" | "Loop" | "Scan")
}

/// Follows a node that has bodies.
pub(super) fn control(step: &Step<'_>, body: Body<'_>) -> Outcome<Vec<Value>> {
    match &*step.node.op_type {
        "If" => branch(step, body),
        "Loop" => repeat(step, body),
        _ => scan(step, body),
    }
}

fn graph<'a>(step: &Step<'a>, name: &str) -> Outcome<&'a Graph> {
    step.attribute(name).and_then(|attribute| attribute.graph.as_ref()).ok_or(Refusal::Unknown)
}

/// If: the branch that is taken, or what both have in common.
fn branch(step: &Step<'_>, body: Body<'_>) -> Outcome<Vec<Value>> {
    step.require_fixed([0])?;
    let (then_branch, else_branch) = (graph(step, "then_branch")?, graph(step, "else_branch")?);
    match step.input(0)?.integer() {
        Some(0) => return Ok(body(else_branch, Vec::new())),
        Some(_) => return Ok(body(then_branch, Vec::new())),
        None => {}
    }
    let (yes, no) = (body(then_branch, Vec::new()), body(else_branch, Vec::new()));
    if yes.len() != no.len() {
        return Err(Refusal::Unknown);
    }
    yes.iter().zip(&no).map(|(yes, no)| join(step, yes, no)).collect()
}

/// Loop: trip count and condition are the same for all, and what is carried keeps its flow.
fn repeat(step: &Step<'_>, body: Body<'_>) -> Outcome<Vec<Value>> {
    step.require_fixed([0, 1])?;
    let graph = graph(step, "body")?;
    let scalar = || Value::fixed(Vec::new());
    let initial = (2..step.inputs.len()).map(|index| step.input(index).cloned()).collect::<Outcome<Vec<_>>>()?;
    let states = initial.len();
    let (carried, outputs) = fixed_point(step, initial, 1, |carried| {
        body(graph, [scalar(), scalar()].into_iter().chain(carried.iter().cloned()).collect())
    })?;
    match &outputs.first().ok_or(Refusal::Unknown)?.flow {
        Flow::Fixed => {}
        Flow::Unknown(_) => return Err(Refusal::Unknown),
        _ => return Err(Refusal::Mixed),
    }
    let scanned = outputs.iter().skip(1 + states).map(|output| stacked(step, output, 0));
    carried.into_iter().map(Ok).chain(scanned).collect()
}

/// Scan: runs along axes that are not the rows'.
fn scan(step: &Step<'_>, body: Body<'_>) -> Outcome<Vec<Value>> {
    if step.opset < 9 {
        return Err(Refusal::Unknown);
    }
    let graph = graph(step, "body")?;
    let scanned = usize::try_from(step.integer("num_scan_inputs", 0)).map_err(|_| Refusal::Unknown)?;
    let states = step.inputs.len().checked_sub(scanned).ok_or(Refusal::Unknown)?;
    let initial = (0..states).map(|index| step.input(index).cloned()).collect::<Outcome<Vec<_>>>()?;
    let axis = |name: &str, index: usize, rank: usize| {
        axis_of(step.integers(name).and_then(|axes| axes.get(index).copied()).unwrap_or(0), rank)
    };
    let mut slices = Vec::new();
    for index in 0..scanned {
        let value = step.input(states + index)?;
        slices.push(sliced(value, axis("scan_input_axes", index, value.rank()?)?)?);
    }
    let (carried, outputs) =
        fixed_point(step, initial, 0, |carried| body(graph, carried.iter().chain(&slices).cloned().collect()))?;
    let stack = |(index, output): (usize, &Value)| match output.shape.as_ref().map(Vec::len) {
        Some(rank) => stacked(step, output, axis("scan_output_axes", index, rank + 1)?),
        None => stacked(step, output, 0),
    };
    let scanned = outputs.iter().skip(states).enumerate().map(stack);
    carried.into_iter().map(Ok).chain(scanned).collect()
}

/// Walks a body until what it carries no longer changes; returns that, and the outputs of the last round. The carried
/// values are the outputs from `first` on. Sizes that change on the way are left open.
fn fixed_point(
    step: &Step<'_>,
    initial: Vec<Value>,
    first: usize,
    walk: impl Fn(&[Value]) -> Vec<Value>,
) -> Outcome<(Vec<Value>, Vec<Value>)> {
    let mut carried = initial;
    // Of each carried value, the axes whose size is open.
    let mut open: Vec<Vec<usize>> = vec![Vec::new(); carried.len()];
    for _ in 0..MAX_ROUNDS {
        let outputs = walk(&carried);
        let results = outputs.get(first..first + carried.len()).ok_or(Refusal::Unknown)?;
        let mut changed = false;
        for ((value, result), open) in carried.iter_mut().zip(results).zip(&mut open) {
            let mut joined = join(step, value, result)?;
            changed |=
                joined.flow != value.flow || joined.elements != value.elements || joined.padding != value.padding;
            changed |= joined.shape.is_none() != value.shape.is_none();
            if let (Some(own), Some(sizes)) = (&value.shape, &mut joined.shape) {
                for axis in (0..own.len()).filter(|axis| own[*axis] != sizes[*axis]).collect::<Vec<_>>() {
                    match open.contains(&axis) {
                        true => sizes[axis] = own[axis].clone(),
                        false => {
                            open.push(axis);
                            changed = true;
                        }
                    }
                }
            }
            *value = joined;
        }
        if !changed {
            // After the last round, the open sizes are others than in it.
            for (value, open) in carried.iter_mut().zip(&open) {
                let shape = value.shape.iter_mut().flat_map(|shape| shape.iter_mut().enumerate());
                shape.filter(|(axis, _)| open.contains(axis)).for_each(|(_, size)| *size = step.fresh());
            }
            return Ok((carried, outputs));
        }
    }
    Err(Refusal::Unknown)
}

/// Returns what two values have in common.
fn join(step: &Step<'_>, left: &Value, right: &Value) -> Outcome<Value> {
    let bad = |value: &&Value| matches!(value.flow, Flow::Mixed(_));
    if let Some(mixed) = [left, right].into_iter().find(bad) {
        return Ok(Value::opaque(mixed.flow.clone()));
    }
    if let Some(unknown) = [left, right].into_iter().find(|value| matches!(value.flow, Flow::Unknown(_))) {
        return Ok(Value::opaque(unknown.flow.clone()));
    }
    let flow = match (&left.flow, &right.flow) {
        (left, right) if left == right => left.clone(),
        (Flow::Fixed | Flow::Count, Flow::Fixed | Flow::Count) => Flow::Count,
        _ => return Err(Refusal::Unknown),
    };
    let same_rank = |left: &Vec<Size>, right: &Vec<Size>| left.len() == right.len();
    let shape = left.shape.as_ref().zip(right.shape.as_ref()).filter(|(left, right)| same_rank(left, right));
    let shape = shape.map(|(left, right)| {
        let sizes = left.iter().zip(right);
        sizes.map(|(left, right)| if left == right { left.clone() } else { step.fresh() }).collect::<Vec<_>>()
    });
    if matches!(flow, Flow::Rows(_)) && shape.is_none() || left.padding != right.padding {
        return Err(Refusal::Unknown);
    }
    let elements = if left.elements == right.elements { left.elements.clone() } else { None };
    Ok(Value { flow, shape, elements, padding: left.padding.clone() })
}

/// Takes one axis away, which is run along.
fn sliced(value: &Value, axis: usize) -> Outcome<Value> {
    let mut shape = value.shape()?.to_vec();
    shape.remove(axis);
    match value.row_axis() {
        Some(rows) if rows.axis == axis => Err(Refusal::Mixed),
        Some(rows) => Ok(Value::rows(rows.at(rows.axis - usize::from(axis < rows.axis)), shape)),
        None => Ok(value.with_shape(shape)),
    }
}

/// Puts the results of all rounds together, on a new axis.
fn stacked(step: &Step<'_>, value: &Value, axis: usize) -> Outcome<Value> {
    let Some(shape) = &value.shape else { return Ok(Value::opaque(value.flow.clone())) };
    let mut shape = shape.clone();
    if value.padding.is_some() {
        return Err(Refusal::Mixed);
    }
    shape.insert(axis, step.fresh());
    Ok(match value.row_axis() {
        Some(rows) => Value::rows(rows.at(rows.axis + usize::from(axis <= rows.axis)), shape),
        None => value.with_shape(shape),
    })
}
