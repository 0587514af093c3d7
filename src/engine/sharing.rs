//! One copy of the weights for all instances of a model.

use std::{path::Path, sync::Arc};

use ort::{
    session::builder::{PrepackedWeights, SessionBuilder},
    value::{DynValue, Tensor},
};

use crate::{
    error::{Error, Result},
    model::onnx_file::weights,
};

/// From this many instances on, sharing saves memory: the runtime shares its own layout of a weight only if it is given the
/// weight, which is then kept beside it. With two instances that is as much as a layout for each.
const WORTH_SHARING: usize = 3;

/// What the instances of one model share.
pub(super) struct SharedWeights {
    given: Vec<(String, Arc<DynValue>)>,
    laid_out: PrepackedWeights,
}

impl SharedWeights {
    /// Reads what so many instances of a model are to share; nothing where it is not worth it.
    ///
    /// # Errors
    /// `InvalidArgument` where the file cannot be read.
    pub(super) fn read(path: &Path, instances: usize) -> Result<Self> {
        let matrices = if instances >= WORTH_SHARING { weights::read_matrices(path)? } else { Vec::new() };
        let value = |matrix: weights::Matrix| {
            let tensor = Tensor::from_array((matrix.dims, matrix.values)).map_err(Error::internal)?;
            Ok((matrix.name, Arc::new(tensor.into_dyn())))
        };
        let given = matrices.into_iter().map(value).collect::<Result<_>>()?;
        Ok(Self { given, laid_out: PrepackedWeights::new() })
    }

    /// Gives them to an instance in the making; they live as long as it.
    pub(super) fn give(&self, mut builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        for (name, value) in &self.given {
            builder = builder.with_initializer(name, Arc::clone(value))?;
        }
        Ok(if self.given.is_empty() { builder } else { builder.with_prepacked_weights(&self.laid_out)? })
    }
}
