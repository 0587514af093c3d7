//! Stacking requests into one run, and handing each its own rows of what comes out.

use crate::{
    error::{Error, Result},
    request::{InferResponse, Tensors, ValidRequest},
    tensor::tensor::Tensor,
};

/// Stacks the requests' rows along axis 0, one tensor per input, in signature order.
///
/// Inputs of request `i` have shape `[rows_i, d1, …]`; the result has `[Σ rows_i, d1, …]`. Requests must share a batch key
/// (the policy sees to it). Copies once; a batch of one is not copied.
pub fn stack(requests: &[&ValidRequest]) -> Result<Tensors> {
    let inputs = requests.first().map_or(0, |request| request.inputs().len());
    let stack_input = |index: usize| {
        let parts: Vec<&Tensor> = requests.iter().map(|request| &request.inputs()[index]).collect();
        Tensor::concat(&parts)
    };
    (0..inputs).map(stack_input).collect()
}

/// Hands each request its rows of the outputs, in the order in which they were stacked. Shares the data.
///
/// # Errors
/// `Internal` where an output does not have one row for each row of the batch.
pub fn scatter(outputs: &Tensors, rows: &[usize]) -> Result<Vec<InferResponse>> {
    let total: usize = rows.iter().sum();
    if let Some(misfit) = outputs.iter().find(|output| output.shape().first() != Some(&total)) {
        return Err(Error::internal(format!("a batch of {total} rows gave an output of shape {}", misfit.shape())));
    }
    let mut start = 0;
    let mut responses = Vec::with_capacity(rows.len());
    for rows in rows {
        let range = start..start + rows;
        let outputs = outputs.iter().map(|output| output.rows(range.clone())).collect::<Result<_>>()?;
        responses.push(InferResponse { outputs });
        start += rows;
    }
    Ok(responses)
}

/// Cuts a request into requests of at most `max_rows` rows each. Shares the data.
///
/// # Errors
/// `Internal` where an input has fewer rows than the request.
pub fn split(request: &ValidRequest, max_rows: usize) -> Result<Vec<ValidRequest>> {
    let starts = (0..request.rows()).step_by(max_rows.max(1));
    starts.map(|start| request.rows_of(start..request.rows().min(start + max_rows))).collect()
}

/// Puts the answers to the parts of a request together again, in their order.
///
/// # Errors
/// `Internal` where they do not fit each other.
pub fn join(parts: &[InferResponse]) -> Result<InferResponse> {
    let outputs = parts.first().map_or(0, |part| part.outputs.len());
    let join_output = |index: usize| {
        let pieces: Vec<&Tensor> = parts.iter().map(|part| &part.outputs[index]).collect();
        Tensor::concat(&pieces)
    };
    Ok(InferResponse { outputs: (0..outputs).map(join_output).collect::<Result<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batching::testing::{request, values},
        tensor::shape::Shape,
    };

    fn tensor(dims: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_vec(Shape::new(dims), values.to_vec()).unwrap()
    }

    fn outputs(tensors: impl IntoIterator<Item = Tensor>) -> Tensors {
        tensors.into_iter().collect()
    }

    #[test]
    fn rows_are_stacked_in_the_requests_order() {
        let (first, second) = (request(2, &[1.0, 2.0, 3.0, 4.0]), request(1, &[5.0, 6.0]));
        assert_eq!(stack(&[&first, &second]).unwrap()[0], tensor(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(stack(&[&second]).unwrap()[0], second.inputs()[0]);
    }

    #[test]
    fn each_request_gets_its_rows_of_every_output() {
        let both = outputs([tensor(&[3, 1], &[1.0, 2.0, 3.0]), tensor(&[3], &[4.0, 5.0, 6.0])]);
        let responses = scatter(&both, &[1, 0, 2]).unwrap();
        let got: Vec<_> = responses.into_iter().map(|response| response.outputs).collect();
        assert_eq!(
            got,
            [
                outputs([tensor(&[1, 1], &[1.0]), tensor(&[1], &[4.0])]),
                outputs([tensor(&[0, 1], &[]), tensor(&[0], &[])]),
                outputs([tensor(&[2, 1], &[2.0, 3.0]), tensor(&[2], &[5.0, 6.0])]),
            ]
        );
    }

    #[test]
    fn output_without_a_row_for_each_row_is_an_error() {
        for dims in [&[1][..], &[4], &[]] {
            let count = dims.iter().product();
            let error = scatter(&outputs([tensor(dims, &vec![0.0; count])]), &[1, 2]).unwrap_err();
            assert!(error.to_string().contains("a batch of 3 rows gave an output of shape"), "{error}");
        }
    }

    #[test]
    fn parts_have_at_most_so_many_rows_and_make_the_whole() {
        let whole = request(7, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        for (most, expected) in [(3, &[3, 3, 1][..]), (7, &[7]), (100, &[7]), (1, &[1; 7])] {
            let parts = split(&whole, most).unwrap();
            assert_eq!(parts.iter().map(ValidRequest::rows).collect::<Vec<_>>(), expected);
            assert!(parts.iter().all(|part| part.batch_key() == whole.batch_key()));
            let answers: Vec<_> =
                parts.iter().map(|part| InferResponse { outputs: part.inputs().iter().cloned().collect() }).collect();
            assert_eq!(values(&join(&answers).unwrap()), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        }
    }
}
