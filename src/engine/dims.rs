//! Dimensions, as the runtime counts them and as tensors do.

use crate::{
    error::{Error, Result},
    tensor::shape::Shape,
};

/// Returns the dimensions as the runtime counts them.
pub(super) fn dims_of(shape: &Shape) -> Result<Vec<i64>> {
    shape.iter().map(|dim| i64::try_from(*dim).map_err(Error::internal)).collect()
}

/// Returns the shape of a value that the runtime made.
pub(super) fn shape_of(shape: &[i64]) -> Result<Shape> {
    shape.iter().map(|dim| usize::try_from(*dim).map_err(Error::internal)).collect()
}
