//! A session for the tests of the probe.

use std::sync::Arc;

use crate::{
    engine::{Session, Terminate},
    error::Result,
    model::signature::{Dim, OutputSpec, Signature, TensorSpec},
    request::Tensors,
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// A session on one column of INT64 that does something with all rows.
pub(super) struct Column {
    signature: Signature,
    run: fn(&mut [i64]),
}

#[derive(Debug)]
struct Never;

impl Terminate for Never {
    fn terminate(&self) {}

    fn reset(&self) {}
}

impl Column {
    pub(super) fn new(run: fn(&mut [i64])) -> Self {
        let tensor = |name: &str| TensorSpec {
            name: name.into(),
            data_type: DataType::Int64,
            dims: Some(vec![Dim::Dynamic(None)]),
        };
        let outputs = vec![OutputSpec { tensor: tensor("y"), map_keys: None }];
        Self { signature: Signature { inputs: vec![tensor("x")], outputs }, run }
    }
}

impl Session for Column {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Tensors> {
        let mut values = inputs[0].as_slice::<i64>().unwrap().to_vec();
        (self.run)(&mut values);
        Ok([Tensor::from_vec(Shape::new(&[values.len()]), values)?].into_iter().collect())
    }

    fn terminator(&self) -> Arc<dyn Terminate> {
        Arc::new(Never)
    }
}
