//! A node as the rules see it: its inputs, its attributes, the opset, and sizes that nobody knows yet.

use std::cell::Cell;

use super::{
    super::proto::{Attribute, Node},
    size::Size,
    value::{Flow, Outcome, Refusal, RowAxis, Value},
};

/// One node with what is known of its inputs.
pub(super) struct Step<'a> {
    pub(super) node: &'a Node,
    pub(super) opset: i64,
    pub(super) inputs: Vec<Option<&'a Value>>,
    pub(super) symbols: &'a Symbols,
}

#[derive(Debug, Default)]
pub(super) struct Symbols(Cell<u32>);

impl Symbols {
    /// Returns a size that equals no other.
    pub(super) fn fresh(&self) -> Size {
        self.0.set(self.0.get() + 1);
        Size::symbol(self.0.get())
    }
}

impl<'a> Step<'a> {
    /// Returns an input that must be there.
    pub(super) fn input(&self, index: usize) -> Outcome<&'a Value> {
        self.optional(index).ok_or(Refusal::Unknown)
    }

    pub(super) fn optional(&self, index: usize) -> Option<&'a Value> {
        self.inputs.get(index).copied().flatten()
    }

    pub(super) fn present(&self) -> impl Iterator<Item = &'a Value> {
        self.inputs.iter().copied().flatten()
    }

    /// Returns an input that must consist of rows.
    pub(super) fn rows(&self, index: usize) -> Outcome<(&'a Value, &'a RowAxis)> {
        let value = self.input(index)?;
        value.row_axis().map(|rows| (value, rows)).ok_or(Refusal::Mixed)
    }

    /// Checks that these inputs, where they are there, are the same for every request.
    pub(super) fn require_fixed(&self, indices: impl IntoIterator<Item = usize>) -> Outcome<()> {
        let mut values = indices.into_iter().filter_map(|index| self.optional(index));
        values.all(|value| value.flow == Flow::Fixed).then_some(()).ok_or(Refusal::Mixed)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.node.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn integer(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.integer)
    }

    pub(super) fn integers(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| &attribute.integers[..])
    }

    pub(super) fn text(&self, name: &str) -> &'a [u8] {
        self.attribute(name).map_or(b"", |attribute| &attribute.string)
    }

    /// Tells whether the node names this output.
    pub(super) fn has_output(&self, index: usize) -> bool {
        self.node.outputs.get(index).is_some_and(|name| !name.is_empty())
    }

    pub(super) fn fresh(&self) -> Size {
        self.symbols.fresh()
    }

    /// Returns the integers of an attribute, or of an input in later opsets; `None` where neither is there.
    pub(super) fn integers_or_input(&self, name: &str, index: usize) -> Outcome<Option<Vec<i64>>> {
        if let Some(integers) = self.integers(name) {
            return Ok(Some(integers.to_vec()));
        }
        match self.optional(index) {
            None => Ok(None),
            Some(value) if value.is_rows() => Err(Refusal::Mixed),
            Some(value) => value.integers().map(Some).ok_or(Refusal::Unknown),
        }
    }
}

/// Turns an axis that may count from the end into an index.
pub(super) fn axis_of(axis: i64, rank: usize) -> Outcome<usize> {
    let signed = i64::try_from(rank).map_err(|_| Refusal::Unknown)?;
    let axis = if axis < 0 { axis + signed } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank).ok_or(Refusal::Unknown)
}

/// Turns axes that may count from the end into indices.
pub(super) fn axes_of(axes: &[i64], rank: usize) -> Outcome<Vec<usize>> {
    axes.iter().map(|axis| axis_of(*axis, rank)).collect()
}
