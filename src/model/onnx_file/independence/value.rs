//! What the analysis knows of a tensor: how its values depend on the rows of the request, its shape, its elements.

use std::sync::Arc;

use super::size::{Size, product};

/// How a tensor depends on the rows of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Flow {
    /// The same in all runs whose inputs agree in every dimension but the number of rows.
    Fixed,
    /// Known from the number of rows alone.
    Count,
    /// Entries of a row depend on that row alone.
    Rows(RowAxis),
    /// Rows meet, in this node.
    Mixed(Arc<str>),
    /// The table does not know this node.
    Unknown(Arc<str>),
}

/// Where the rows lie: on `axis`, whose size is `outer · N · inner`, the entry of row `n` at `(o · N + n) · inner + i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowAxis {
    pub(super) axis: usize,
    pub(super) outer: Size,
    pub(super) inner: Size,
}

/// What is known of a tensor. A tensor of rows always has a shape, and N is in its row axis alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) flow: Flow,
    pub(super) shape: Option<Vec<Size>>,
    /// The elements of a small tensor, row-major; `None` for those that are no monomials.
    pub(super) elements: Option<Vec<Option<Size>>>,
    /// The text with which the last axis is filled up to the longest row of the batch, as Tokenizer does.
    pub(super) padding: Option<Arc<[u8]>>,
}

/// Why a rule gives no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Rows meet.
    Mixed,
    /// The rule does not cover this form.
    Unknown,
}

pub(super) type Outcome<T> = Result<T, Refusal>;

impl RowAxis {
    /// Rows that lie on `axis`, one entry each.
    pub(super) fn whole(axis: usize) -> Self {
        Self { axis, outer: Size::known(1), inner: Size::known(1) }
    }

    pub(super) fn at(&self, axis: usize) -> Self {
        Self { axis, ..self.clone() }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.outer.is(1) && self.inner.is(1)
    }

    /// Returns the size of the axis, `outer · N · inner`.
    pub(super) fn size(&self) -> Option<Size> {
        product([&self.outer, &Size::rows(), &self.inner])
    }
}

impl Value {
    fn new(flow: Flow, shape: Option<Vec<Size>>) -> Self {
        Self { flow, shape, elements: None, padding: None }
    }

    /// A tensor of which only the flow is known.
    pub(super) fn opaque(flow: Flow) -> Self {
        Self::new(flow, None)
    }

    pub(super) fn fixed(shape: Vec<Size>) -> Self {
        Self::new(Flow::Fixed, Some(shape))
    }

    pub(super) fn rows(rows: RowAxis, shape: Vec<Size>) -> Self {
        Self::new(Flow::Rows(rows), Some(shape))
    }

    /// A tensor with known elements: `Count` where N is in one of them.
    pub(super) fn of_elements(shape: Vec<Size>, elements: Vec<Option<Size>>, otherwise: Flow) -> Self {
        let all_known = elements.iter().all(Option::is_some);
        let has_rows = elements.iter().flatten().any(Size::has_rows);
        let flow = match (all_known, has_rows) {
            (_, true) => Flow::Count,
            (true, false) => Flow::Fixed,
            (false, false) => otherwise,
        };
        Self { flow, shape: Some(shape), elements: Some(elements), padding: None }
    }

    /// A tensor that depends on the same rows in the same places, with another shape.
    pub(super) fn with_shape(&self, shape: Vec<Size>) -> Self {
        Self::new(self.flow.clone(), Some(shape))
    }

    pub(super) fn row_axis(&self) -> Option<&RowAxis> {
        match &self.flow {
            Flow::Rows(rows) => Some(rows),
            _ => None,
        }
    }

    pub(super) fn is_rows(&self) -> bool {
        self.row_axis().is_some()
    }

    pub(super) fn shape(&self) -> Outcome<&[Size]> {
        self.shape.as_deref().ok_or(Refusal::Unknown)
    }

    pub(super) fn rank(&self) -> Outcome<usize> {
        self.shape().map(<[Size]>::len)
    }

    /// Returns the elements where all are known integers.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        self.elements.as_ref()?.iter().map(|element| element.as_ref()?.value()).collect()
    }

    /// Returns the only element, where it is a known integer.
    pub(super) fn integer(&self) -> Option<i64> {
        match self.integers()?[..] {
            [integer] => Some(integer),
            _ => None,
        }
    }

    /// Tells whether this tensor is known to have one element.
    pub(super) fn is_single(&self) -> bool {
        self.shape.as_ref().is_some_and(|shape| shape.iter().all(|size| size.is(1)))
    }
}
