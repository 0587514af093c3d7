//! The shape of a value that is there: every dimension known.

use std::{fmt, ops::Deref};

use smallvec::SmallVec;

/// Dimensions in row-major order; `[]` is a scalar of one element. Shapes up to rank 4 do not allocate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(SmallVec<[usize; 4]>);

impl Shape {
    /// Makes a shape of these dimensions.
    pub fn new(dims: &[usize]) -> Self {
        Self(SmallVec::from_slice(dims))
    }

    /// Returns the shape with so many rows; one without an axis 0 stays as it is.
    pub fn with_rows(&self, rows: usize) -> Self {
        let mut dims = self.0.clone();
        if let Some(first) = dims.first_mut() {
            *first = rows;
        }
        Self(dims)
    }

    /// Returns the product of the dimensions (1 for a scalar), or `None` where it overflows.
    pub fn element_count(&self) -> Option<usize> {
        self.0.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim))
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(dims: I) -> Self {
        Self(dims.into_iter().collect())
    }
}

impl fmt::Display for Shape {
    /// Writes `[1, 3, 224, 224]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter()).finish()
    }
}
