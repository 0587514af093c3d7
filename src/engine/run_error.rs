//! Errors of runs: which are the values' fault, and ONNX Runtime's own sentence.

use crate::error::{Error, ErrorKind};

/// What ONNX Runtime writes before the sentence of a node that failed; nested where a node of a subgraph failed.
const STATUS: &str = "Status Message: ";
/// What it writes before the operator of a node that failed.
const NODE: &str = "Non-zero status code returned while running ";
/// Failures inside a node that no value explains: memory ran out, or the run was terminated.
const NOT_OF_VALUES: [&str; 4] = ["Failed to allocate memory", "Available memory of", "bad_alloc", "terminate flag"];

/// Makes the error of a run of a checked request: `InvalidArgument` with the runtime's own sentence where a node refused
/// the values or shapes that reached it, else `Internal`.
pub(super) fn run_error(error: ort::Error) -> Error {
    let message = error.message();
    if error.code() != ort::ErrorCode::InvalidArgument && !names_a_node(message) || is_not_of_values(message) {
        return Error::internal(error);
    }
    Error::new(ErrorKind::InvalidArgument, format!("the model cannot run on this input: {}", sentence(message)))
}

fn names_a_node(message: &str) -> bool {
    message.contains(NODE)
}

fn is_not_of_values(message: &str) -> bool {
    NOT_OF_VALUES.iter().any(|cause| message.contains(cause))
}

/// Writes a message of several lines as one.
pub(super) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns `MatMul: MatMul dimension mismatch`: the innermost node's operator and sentence, without the place in the
/// runtime's source.
fn sentence(message: &str) -> String {
    let reason = message.rsplit_once(STATUS).map_or(message, |(_, reason)| reason);
    let reason = one_line(without_place(reason));
    let operator = message.rsplit_once(NODE).and_then(|(_, node)| node.split_once(" node."));
    match operator {
        Some((operator, _)) => format!("{operator}: {reason}"),
        None => reason,
    }
}

/// Drops what the runtime's macros write before a sentence: `file.cc:12 Function `, the same with a path and the whole
/// signature, a condition that was false, and `[ONNXRuntimeError] : 1 : FAIL : `.
fn without_place(reason: &str) -> &str {
    if let Some((_, sentence)) = reason.rsplit_once(" was false. ") {
        return sentence;
    }
    if let Some((_, nested)) = reason.rsplit_once("[ONNXRuntimeError] : ") {
        return without_place(nested.splitn(3, " : ").last().unwrap_or(nested));
    }
    let Some((place, rest)) = reason.split_once(' ') else { return reason };
    let is_place = place.rsplit_once(':').is_some_and(|(file, line)| {
        (file.ends_with(".h") || file.ends_with(".cc")) && line.bytes().all(|byte| byte.is_ascii_digit())
    });
    let function_end = match is_place {
        false => return reason,
        // A whole signature goes with a whole path.
        true if place.contains(['/', '\\']) => ") ",
        true => " ",
    };
    rest.split_once(function_end).map_or(rest, |(_, sentence)| sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of ONNX Runtime 1.31.1, each with what is left of it.
    const MESSAGES: [(&str, &str); 9] = [
        (
            "Non-zero status code returned while running MatMul node. Name:'m' Status Message: matmul_helper.h:59 Compute \
             MatMul dimension mismatch",
            "MatMul: MatMul dimension mismatch",
        ),
        (
            "Non-zero status code returned while running Mod node. Name:'' Status Message: element_wise_ops.cc:2256 \
             operator() Integer modulo by zero",
            "Mod: Integer modulo by zero",
        ),
        (
            "Non-zero status code returned while running Gather node. Name:'g' Status Message: indices element out of data \
             bounds, idx=5 must be within the inclusive range [-2,1]",
            "Gather: indices element out of data bounds, idx=5 must be within the inclusive range [-2,1]",
        ),
        (
            "Non-zero status code returned while running Reshape node. Name:'' Status Message: \
             /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:27 \
             onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&, \
             bool) requested_shape[i] >= -1 was false. A dimension cannot be less than -1, got -2\n",
            "Reshape: A dimension cannot be less than -1, got -2",
        ),
        (
            "Non-zero status code returned while running Pad node. Name:'' Status Message: \
             /onnxruntime_src/onnxruntime/core/framework/op_kernel.cc:87 virtual OrtValue* \
             onnxruntime::OpKernelContext::OutputMLValue(int, const onnxruntime::TensorShape&) [ONNXRuntimeError] : 1 : FAIL \
             : tensor.cc:57 CalculateTensorStorageSize Tensor shape.Size() must be >= 0\n",
            "Pad: Tensor shape.Size() must be >= 0",
        ),
        (
            "Non-zero status code returned while running ConstantOfShape node. Name:'' Status Message: \
             /onnxruntime_src/onnxruntime/core/common/safeint.h:17 static void \
             SafeIntExceptionHandler<onnxruntime::OnnxRuntimeException>::SafeIntOnOverflow() Integer overflow\n",
            "ConstantOfShape: Integer overflow",
        ),
        (
            "Non-zero status code returned while running Loop node. Name:'' Status Message: Non-zero status code returned \
             while running MatMul node. Name:'' Status Message: matmul_helper.h:59 Compute MatMul dimension mismatch",
            "MatMul: MatMul dimension mismatch",
        ),
        ("Invalid rank for input: x Got: 1 Expected: 2", "Invalid rank for input: x Got: 1 Expected: 2"),
        ("", ""),
    ];

    #[test]
    fn the_runtimes_own_sentence_is_left() {
        for (message, expected) in MESSAGES {
            assert_eq!(sentence(message), expected);
        }
    }

    #[test]
    fn memory_and_termination_are_not_the_values_fault() {
        let node = "Non-zero status code returned while running Expand node. Name:'' Status Message: ";
        assert!(names_a_node(node) && !is_not_of_values(&format!("{node}invalid expand shape")));
        for reason in [
            "bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 9",
            "std::bad_alloc",
            "Exiting due to terminate flag being set to true.",
        ] {
            assert!(is_not_of_values(&format!("{node}{reason}")), "{reason}");
        }
        assert!(!names_a_node("no node is named"));
    }
}
