//! Whether rows may share a run: a proof from the graph.
//!
//! Follows the axis of rows from the inputs through every operator to the outputs. `table` names the operators that are
//! known and their rules, a file for each family; `walk` goes through graphs, functions and subgraphs; `value` is what is
//! known of a tensor. The rules rely on the specification of ONNX and on nothing that a run would show.
//!
//! To add an operator, add it to `table`. A rule returns `Mixed` where rows meet, `Unknown` for a form that it does not
//! cover, and values only where every entry of a row follows from that row, for any number of rows.

mod control;
mod elementwise;
mod layout;
mod ml;
mod products;
mod reduce;
mod runtime;
mod select;
mod size;
mod sizes;
mod spatial;
mod step;
mod table;
mod value;
mod walk;

use std::fmt;

use self::{
    size::Size,
    value::{Flow, RowAxis, Value},
    walk::{Scope, Walk},
};
use super::proto::{Graph, Model, ValueInfo};

/// What a graph says of its rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Independence {
    /// Every output row follows from its own input row. Holds the sizes of each output that are known; the first axis is
    /// that of the rows.
    Proven(Vec<Vec<Option<usize>>>),
    /// Rows meet in this node: ``DynamicQuantizeLinear `x_QuantizeLinear` ``.
    Mixed(String),
    /// This node, input or output is not covered.
    Unknown(String),
}

impl Default for Independence {
    fn default() -> Self {
        Self::Unknown("the graph was not read".to_owned())
    }
}

impl fmt::Display for Independence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven(_) => f.write_str("rows proven independent"),
            Self::Mixed(place) => write!(f, "rows meet in {place}"),
            Self::Unknown(place) => write!(f, "probed, not proven: {place}"),
        }
    }
}

impl Independence {
    /// Follows the rows through a model.
    pub(super) fn of(model: &Model, graph: &Graph) -> Self {
        let walk = Walk::new(model);
        let mut scope = Scope::new(&model.opsets);
        let is_initializer = |input: &&ValueInfo| graph.initializers.iter().any(|tensor| tensor.name == input.name);
        for input in graph.inputs.iter().filter(|input| !is_initializer(input)) {
            match rows_of_input(input, &walk) {
                Some(value) => scope.set(&input.name, value),
                None => return Self::Unknown(format!("input `{}`", input.name.escape_debug())),
            }
        }
        walk.graph(graph, &mut scope);
        let outputs: Vec<_> = graph.outputs.iter().map(|output| (output, scope.get(&output.name))).collect();
        let mixed = outputs.iter().find_map(|(_, value)| match &value.as_ref()?.flow {
            Flow::Mixed(place) => Some(Self::Mixed(place.to_string())),
            _ => None,
        });
        if let Some(mixed) = mixed {
            return mixed;
        }
        let sizes = outputs.iter().map(|(output, value)| match value {
            Some(Value { flow: Flow::Unknown(place), .. }) => Err(place.to_string()),
            Some(Value { flow: Flow::Rows(rows), shape: Some(shape), padding: None, .. })
                if *rows == RowAxis::whole(0) =>
            {
                Ok(shape.iter().map(|size| usize::try_from(size.value()?).ok()).collect())
            }
            _ => Err(format!("output `{}`", output.name.escape_debug())),
        });
        sizes.collect::<Result<_, _>>().map_or_else(Self::Unknown, Self::Proven)
    }

    /// Returns the word for this outcome in `onnxd inspect --json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Proven(_) => "proven",
            Self::Mixed(_) => "mixed",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Returns an input whose axis 0 is open, as rows; `None` of any other.
fn rows_of_input(input: &ValueInfo, walk: &Walk<'_>) -> Option<Value> {
    let shape = input.r#type.as_ref()?.tensor.as_ref()?.shape.as_ref()?;
    let (first, rest) = shape.dims.split_first()?;
    if first.value.is_some_and(|size| size >= 0) {
        return None;
    }
    // Two axes of one name are two symbols: nothing keeps a client from sending different sizes.
    let rest = rest.iter().map(|dim| match dim.value {
        Some(size) if size >= 0 => Size::known(size),
        _ => walk.fresh(),
    });
    Some(Value::rows(RowAxis::whole(0), std::iter::once(Size::rows()).chain(rest).collect()))
}
