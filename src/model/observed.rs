//! The outputs as runs on made-up inputs showed them: exporters declare shapes that their graphs do not give.

use crate::{
    model::signature::{Dim, OutputSpec, Signature},
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// A run on made-up inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedRun {
    /// The size of axis 0 of every input; `None` where an input fixes it.
    pub rows: Option<usize>,
    /// The outputs, in signature order.
    pub outputs: Vec<ObservedTensor>,
}

/// An output of such a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedTensor {
    pub shape: Shape,
    /// Whether all of its elements are 0 or 1.
    pub is_indicator: bool,
}

/// What the runs say of the outputs, in signature order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedOutputs(Vec<ObservedOutput>);

/// What the runs say of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedOutput {
    /// How it follows the rows; `None` where there were no runs of different numbers of rows.
    pub layout: Option<RowLayout>,
    /// Whether every run gave only zeros and ones.
    pub is_indicator: bool,
    /// Whether the graph declares one element a row.
    pub declares_one_a_row: bool,
}

/// How an output follows the rows of the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowLayout {
    /// Axis 0 counts rows, and each row has these dimensions; `None` where an open dimension of an input may be the cause.
    Rows(Vec<Option<usize>>),
    /// One element a row, on another axis than 0.
    OneElement,
    /// Neither: the shapes that it had for one row and for two.
    None(Shape, Shape),
}

impl ObservedTensor {
    pub fn of(tensor: &Tensor) -> Self {
        fn is_bit<T: PartialEq + From<bool>>(values: Option<&[T]>) -> bool {
            values.is_some_and(|values| values.iter().all(|value| *value == T::from(false) || *value == T::from(true)))
        }
        let is_indicator = match tensor.data_type() {
            DataType::Bool => true,
            DataType::Int64 => is_bit::<i64>(tensor.as_slice()),
            DataType::Int32 => is_bit::<i32>(tensor.as_slice()),
            _ => false,
        };
        Self { shape: tensor.shape().clone(), is_indicator }
    }
}

impl ObservedOutputs {
    /// Compares the runs with each other, and corrects `signature` where an output was not what it declares.
    pub fn new(runs: &[ObservedRun], signature: &mut Signature) -> Self {
        let is_fixed = |dims: &Option<Vec<Dim>>| {
            dims.as_ref().is_some_and(|dims| dims.iter().skip(1).all(|dim| dim.fixed().is_some()))
        };
        let only_rows_vary = signature.inputs.iter().all(|input| is_fixed(&input.dims));
        let outputs = signature.outputs.iter_mut().enumerate().map(|(index, spec)| {
            let tensors: Vec<_> = runs.iter().filter_map(|run| Some((run.rows, run.outputs.get(index)?))).collect();
            let observed = ObservedOutput {
                layout: layout(spec, &tensors, only_rows_vary),
                is_indicator: !tensors.is_empty() && tensors.iter().all(|(_, tensor)| tensor.is_indicator),
                declares_one_a_row: spec.declares_one_a_row(),
            };
            correct(spec, &tensors, only_rows_vary);
            observed
        });
        Self(outputs.collect())
    }

    /// Tells whether axis 0 of an output counts rows, as far as runs have shown.
    pub fn counts_rows(&self, output: usize) -> bool {
        let layout = self.get(output).and_then(|observed| observed.layout.as_ref());
        layout.is_none_or(|layout| matches!(layout, RowLayout::Rows(_)))
    }

    /// Tells whether an output has something for each row, as far as runs have shown.
    pub fn has_rows(&self, output: usize) -> bool {
        let layout = self.get(output).and_then(|observed| observed.layout.as_ref());
        layout.is_none_or(|layout| !matches!(layout, RowLayout::None(..)))
    }

    /// The known dimensions and type of an output.
    pub fn get(&self, output: usize) -> Option<&ObservedOutput> {
        self.0.get(output)
    }
}

fn layout(spec: &OutputSpec, tensors: &[(Option<usize>, &ObservedTensor)], only_rows_vary: bool) -> Option<RowLayout> {
    let [(Some(few), first), (Some(many), second)] = tensors else { return None };
    let counts_rows = |shape: &Shape, rows: usize| shape.first() == Some(&rows);
    if counts_rows(&first.shape, *few) && counts_rows(&second.shape, *many) && first.shape[1..] == second.shape[1..] {
        let declared = |axis: usize| spec.tensor.dims.as_deref()?.get(axis)?.fixed();
        let dims = first.shape.iter().copied().enumerate().skip(1);
        let is_known = |axis: usize, size: usize| only_rows_vary || declared(axis) == Some(size);
        return Some(RowLayout::Rows(dims.map(|(axis, size)| is_known(axis, size).then_some(size)).collect()));
    }
    let is_one_a_row = |shape: &Shape, rows: usize| shape.element_count() == Some(rows);
    Some(match is_one_a_row(&first.shape, *few) && is_one_a_row(&second.shape, *many) {
        true => RowLayout::OneElement,
        false => RowLayout::None(first.shape.clone(), second.shape.clone()),
    })
}

/// Gives an output dimensions that admit every shape that it had. A size is fixed only if no open dimension of the inputs
/// can explain it.
fn correct(spec: &mut OutputSpec, tensors: &[(Option<usize>, &ObservedTensor)], only_rows_vary: bool) {
    let Some(((_, first), others)) = tensors.split_first() else { return };
    if tensors.iter().all(|(_, tensor)| spec.tensor.admits(&tensor.shape)) {
        return;
    }
    let rank = first.shape.len();
    if others.iter().any(|(_, other)| other.shape.len() != rank) {
        spec.tensor.dims = None;
        return;
    }
    let declared = spec.tensor.dims.take().filter(|dims| dims.len() == rank);
    let dims = first.shape.iter().enumerate().map(|(axis, size)| {
        let is_always = |expected: usize| tensors.iter().all(|(_, tensor)| tensor.shape[axis] == expected);
        match declared.as_ref().map(|dims| &dims[axis]) {
            Some(dim @ Dim::Dynamic(_)) => dim.clone(),
            Some(Dim::Fixed(declared)) if is_always(*declared) => Dim::Fixed(*declared),
            _ if axis > 0 && only_rows_vary && others.len() == 1 && is_always(*size) => Dim::Fixed(*size),
            _ => Dim::Dynamic(None),
        }
    });
    spec.tensor.dims = Some(dims.collect());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::signature::TensorSpec;

    /// What is observed of an output that declares `declared` and had `shapes` for one row and two; and its corrected dims.
    fn observe(declared: &[Option<usize>], shapes: [&[usize]; 2]) -> (RowLayout, Vec<i64>) {
        let dims =
            |dims: &[Option<usize>]| Some(dims.iter().map(|dim| dim.map_or(Dim::Dynamic(None), Dim::Fixed)).collect());
        let spec = |dims| TensorSpec { name: "t".into(), data_type: DataType::Fp32, dims };
        let outputs = vec![OutputSpec { tensor: spec(dims(declared)), map_keys: None }];
        let mut signature = Signature { inputs: vec![spec(dims(&[None, Some(4)]))], outputs };
        let run = |rows: usize, shape: &[usize]| ObservedRun {
            rows: Some(rows),
            outputs: vec![ObservedTensor { shape: Shape::new(shape), is_indicator: false }],
        };
        let observed = ObservedOutputs::new(&[run(1, shapes[0]), run(2, shapes[1])], &mut signature);
        (observed.get(0).unwrap().layout.clone().unwrap(), signature.outputs[0].tensor.protocol_dims())
    }

    #[test]
    fn what_the_graph_declares_wrongly_is_corrected() {
        let rows = |dims: &[usize]| RowLayout::Rows(dims.iter().copied().map(Some).collect());
        assert_eq!(observe(&[None, Some(3)], [&[1, 3], &[2, 3]]), (rows(&[3]), vec![-1, 3]));
        assert_eq!(observe(&[None, None], [&[1, 3], &[2, 3]]), (rows(&[3]), vec![-1, -1]));
        assert_eq!(observe(&[None, Some(1)], [&[1, 2], &[2, 2]]), (rows(&[2]), vec![-1, 2]));
        assert_eq!(observe(&[Some(1)], [&[1], &[2]]), (rows(&[]), vec![-1]));
        assert_eq!(observe(&[], [&[1, 3], &[2, 3]]), (rows(&[3]), vec![-1, 3]));
        assert_eq!(observe(&[Some(1), None], [&[1, 1], &[1, 2]]), (RowLayout::OneElement, vec![1, -1]));
    }

    #[test]
    fn width_that_an_open_dimension_may_cause_is_not_known() {
        let spec = |dims: &[Dim]| TensorSpec { name: "t".into(), data_type: DataType::Fp32, dims: Some(dims.to_vec()) };
        let open = [Dim::Dynamic(None), Dim::Dynamic(None)];
        for (declared, known) in [(Dim::Dynamic(None), None), (Dim::Fixed(1), Some(1)), (Dim::Fixed(2), None)] {
            let outputs = vec![OutputSpec { tensor: spec(&[Dim::Dynamic(None), declared]), map_keys: None }];
            let mut signature = Signature { inputs: vec![spec(&open)], outputs };
            let run = |rows: usize| ObservedRun {
                rows: Some(rows),
                outputs: vec![ObservedTensor { shape: Shape::new(&[rows, 1]), is_indicator: false }],
            };
            let observed = ObservedOutputs::new(&[run(1), run(2)], &mut signature);
            assert_eq!(observed.get(0).unwrap().layout, Some(RowLayout::Rows(vec![known])));
        }
    }

    #[test]
    fn an_output_without_an_axis_of_rows_is_found() {
        let none = |one: &[usize], two: &[usize]| RowLayout::None(Shape::new(one), Shape::new(two));
        for (declared, shapes) in [
            (&[Some(4)][..], [&[4][..], &[4][..]]),
            (&[], [&[], &[]]),
            (&[None, Some(1)], [&[2, 1], &[4, 1]]),
            (&[Some(3), None, Some(2)], [&[3, 1, 2], &[3, 2, 2]]),
            (&[None, None], [&[1, 1], &[2, 2]]),
        ] {
            assert_eq!(observe(declared, shapes).0, none(shapes[0], shapes[1]), "{shapes:?}");
        }
    }
}
