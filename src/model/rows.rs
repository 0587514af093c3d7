//! Models whose inputs are rows of features: how columns and names map to inputs.

use std::{collections::HashMap, sync::Arc};

use crate::{
    error::{Error, Result},
    model::signature::{Dim, Signature},
};

/// How rows of features become the inputs of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    pub layout: Layout,
    /// The features' names in column order, where they are known.
    pub features: Option<Features>,
    /// The number of rows a request must have, where axis 0 is not dynamic.
    pub fixed_rows: Option<usize>,
    /// The most rows of a request.
    pub max_rows: usize,
}

/// Where the features of a row go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One input `[N, F]`: a row is a row of it.
    Matrix {
        /// F, where the graph or the features' names say it.
        width: Option<usize>,
    },
    /// One input `[N, 1]` or `[N]` per feature, each of its own type, in signature order.
    Columns,
}

/// Feature names in column order, found by name in constant time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    names: Vec<Arc<str>>,
    columns: HashMap<Arc<str>, usize>,
}

impl Features {
    /// Takes names in column order; they must differ.
    pub fn new(names: Vec<Arc<str>>) -> Self {
        let columns = names.iter().cloned().enumerate().map(|(column, name)| (name, column)).collect();
        Self { names, columns }
    }

    /// Returns the names in column order.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Returns the column of a feature.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.get(name).copied()
    }
}

impl Rows {
    /// Works out whether the inputs are rows of features, and how. `names` come from model.toml or metadata.
    ///
    /// # Errors
    /// `InvalidArgument` where names are given that do not fit the inputs.
    pub fn infer(signature: &Signature, names: Option<&[String]>) -> Result<Option<Self>> {
        let Some(fixed_rows) = row_axis(signature) else {
            return match names {
                None => Ok(None),
                Some(_) => Err(Error::invalid(format!(
                    "feature names are for inputs [N, F] or [N, 1], but the inputs are {}",
                    describe_inputs(signature)
                ))),
            };
        };
        let single_columns =
            signature.inputs.iter().all(|input| matches!(width_of(input.dims.as_deref()), Some(Some(1))));
        if single_columns {
            return Self::columns(signature, names, fixed_rows).map(Some);
        }
        match &signature.inputs[..] {
            [input] => Self::matrix(width_of(input.dims.as_deref()).flatten(), names, fixed_rows).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns the number of features in a row, where it is known.
    pub fn width(&self, signature: &Signature) -> Option<usize> {
        match self.layout {
            Layout::Matrix { width } => width,
            Layout::Columns => Some(signature.inputs.len()),
        }
    }

    fn matrix(width: Option<usize>, names: Option<&[String]>, fixed_rows: Option<usize>) -> Result<Self> {
        if let (Some(width), Some(names)) = (width, names)
            && width != names.len()
        {
            return Err(Error::invalid(format!(
                "expected {width} feature names, one a column of the input, but got {}",
                names.len()
            )));
        }
        let features = names.map(|names| Features::new(names.iter().map(|name| name.as_str().into()).collect()));
        let width = width.or(names.map(<[String]>::len));
        Ok(Self { layout: Layout::Matrix { width }, features, fixed_rows, max_rows: usize::MAX })
    }

    fn columns(signature: &Signature, names: Option<&[String]>, fixed_rows: Option<usize>) -> Result<Self> {
        let inputs = || signature.inputs.iter().map(|input| input.name.clone());
        let named: Vec<Arc<str>> = match (names, signature.inputs.len()) {
            // A lone column may be called differently from its input.
            (Some([name]), 1) => vec![name.as_str().into()],
            _ => inputs().collect(),
        };
        if let Some(names) = names
            && !(names.len() == named.len() && names.iter().zip(&named).all(|(name, input)| **name == **input))
        {
            return Err(Error::invalid(format!(
                "the model has one input per feature, so the feature names are the inputs' names in their order: {}",
                signature.input_names()
            )));
        }
        Ok(Self { layout: Layout::Columns, features: Some(Features::new(named)), fixed_rows, max_rows: usize::MAX })
    }
}

/// Returns what axis 0 says if every input is `[N, F]` or `[N]` with the same N: `Some(None)` for a dynamic one.
fn row_axis(signature: &Signature) -> Option<Option<usize>> {
    let mut axis = None;
    for input in &signature.inputs {
        let dims = input.dims.as_deref()?;
        width_of(Some(dims))?;
        let rows = dims[0].fixed();
        if *axis.get_or_insert(rows) != rows {
            return None;
        }
    }
    axis
}

/// Returns the columns of `[N, F]` (`Some(None)` where F is dynamic) or 1 of `[N]`; `None` for any other shape.
#[expect(clippy::option_option, reason = "not a row of features, and one of unknown width, are different things")]
fn width_of(dims: Option<&[Dim]>) -> Option<Option<usize>> {
    match dims? {
        [_] => Some(Some(1)),
        [_, width] => Some(width.fixed()),
        _ => None,
    }
}

fn describe_inputs(signature: &Signature) -> String {
    let inputs: Vec<_> = signature.inputs.iter().map(|input| format!("{:?} {input}", input.name)).collect();
    inputs.join(", ")
}
