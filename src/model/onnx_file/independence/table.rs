//! The table: which rule each operator follows. An operator that is not in it is unknown.
//!
//! A rule is called with inputs that are `Fixed`, `Count` or `Rows`; it may assume that `Count` and `Fixed` alone give
//! something that depends on no row.

use super::{
    elementwise, layout, ml, products, reduce, runtime, select, sizes, spatial,
    step::Step,
    value::{Outcome, Value},
};

pub(super) type Rule = fn(&Step<'_>) -> Outcome<Vec<Value>>;

/// Operators of opsets before this one broadcast by attributes of their own.
const OLDEST_OPSET: i64 = 7;

/// Operators that never equal themselves.
pub(super) fn is_random(domain: &str, operator: &str) -> bool {
    is_onnx(domain) && (operator.starts_with("Random") || matches!(operator, "Multinomial" | "Bernoulli"))
}

fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

pub(super) fn rule(domain: &str, operator: &str, opset: i64) -> Option<Rule> {
    match domain {
        "" | "ai.onnx" if opset >= OLDEST_OPSET => {
            calculating(operator).or_else(|| on_images(operator)).or_else(|| moving(operator))
        }
        "ai.onnx.ml" => machine_learning(operator),
        "com.microsoft" => microsoft(operator),
        _ => None,
    }
}

/// ONNX operators that calculate: by elements, along axes, products.
fn calculating(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Abs" | "Acos" | "Acosh" | "Add" | "And" | "Asin" | "Asinh" | "Atan" | "Atanh" | "BitShift" | "BitwiseAnd"
        | "BitwiseNot" | "BitwiseOr" | "BitwiseXor" | "Cast" | "Ceil" | "Celu" | "Cos" | "Cosh" | "Div" | "Elu"
        | "Equal" | "Erf" | "Exp" | "Floor" | "Gelu" | "Greater" | "GreaterOrEqual" | "HardSigmoid" | "HardSwish"
        | "Identity" | "IsInf" | "IsNaN" | "LeakyRelu" | "Less" | "LessOrEqual" | "Log" | "Max" | "Mean" | "Min"
        | "Mish" | "Mod" | "Mul" | "Neg" | "Not" | "Or" | "PRelu" | "Pow" | "Reciprocal" | "RegexFullMatch"
        | "Relu" | "Round" | "Selu" | "Shrink" | "Sigmoid" | "Sign" | "Sin" | "Sinh" | "Softplus" | "Softsign"
        | "Sqrt" | "StringConcat" | "Sub" | "Sum" | "Swish" | "Tan" | "Tanh" | "ThresholdedRelu" | "Where" | "Xor" => {
            elementwise::elementwise
        }
        "Clip" => elementwise::first_operand,
        "CastLike" => elementwise::cast_like,
        "Dropout" => elementwise::dropout,
        "QuantizeLinear" | "DequantizeLinear" => elementwise::quantize_linear,
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
        | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => reduce::reduce,
        "ArgMax" | "ArgMin" => reduce::arg,
        "Softmax" | "LogSoftmax" | "Hardmax" => reduce::softmax,
        "LpNormalization" | "CumSum" | "CumProd" => reduce::along_axis,
        "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => reduce::layer_normalization,
        "MeanVarianceNormalization" => reduce::mean_variance,
        "TopK" => reduce::top_k,
        "Trilu" => reduce::trilu,
        "Det" => reduce::det,
        "DynamicQuantizeLinear"
        | "NonZero"
        | "Unique"
        | "NonMaxSuppression"
        | "EyeLike"
        | "StringSplit"
        | "MaxUnpool"
        | "RoiAlign"
        | "MaxRoiPool" => reduce::mixing,
        "MatMul" => products::matmul,
        "MatMulInteger" => products::matmul_integer,
        "QLinearMatMul" => products::qlinear_matmul,
        "Gemm" => products::gemm,
        "Einsum" => products::einsum,
        "Attention" => runtime::onnx_attention,
        "RotaryEmbedding" => runtime::rotary_embedding,
        _ => return None,
    })
}

/// ONNX operators on images, signals and sequences.
fn on_images(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Conv" | "ConvInteger" => spatial::convolution,
        "QLinearConv" => spatial::qlinear_convolution,
        "ConvTranspose" => spatial::open_convolution,
        "DeformConv" => spatial::deform_convolution,
        "MaxPool" | "AveragePool" | "LpPool" => spatial::pool,
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => spatial::global_pool,
        "BatchNormalization" | "InstanceNormalization" | "GroupNormalization" | "LRN" => spatial::normalize,
        "Resize" | "Upsample" => spatial::resize,
        "DepthToSpace" | "SpaceToDepth" => spatial::blocks,
        "GridSample" => spatial::grid_sample,
        "Col2Im" => spatial::col2im,
        "DFT" | "STFT" => spatial::fourier,
        "LSTM" | "GRU" | "RNN" => select::recurrent,
        _ => return None,
    })
}

/// ONNX operators that move and pick elements, work on shapes, or on texts.
fn moving(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Transpose" => layout::transpose,
        "Squeeze" => layout::squeeze,
        "Unsqueeze" => layout::unsqueeze,
        "Flatten" => layout::flatten,
        "Reshape" => layout::reshape,
        "Concat" => layout::concat,
        "Split" => layout::split,
        "Pad" => layout::pad,
        "Tile" => layout::tile,
        "Expand" => layout::expand,
        "Gather" => select::gather,
        "GatherElements" => select::gather_elements,
        "GatherND" => select::gather_nd,
        "Scatter" | "ScatterElements" => select::scatter_elements,
        "ScatterND" => select::scatter_nd,
        "Slice" => select::slice,
        "Compress" => select::compress,
        "OneHot" => select::one_hot,
        "ReverseSequence" => select::reverse_sequence,
        "CenterCropPad" => select::center_crop_pad,
        "Shape" => sizes::shape,
        "Size" => sizes::size,
        "ConstantOfShape" => sizes::constant_of_shape,
        "Range" => sizes::range,
        "TfIdfVectorizer" => ml::tf_idf_vectorizer,
        "StringNormalizer" => ml::string_normalizer,
        _ => return None,
    })
}

fn machine_learning(operator: &str) -> Option<Rule> {
    Some(match operator {
        "TreeEnsemble"
        | "TreeEnsembleClassifier"
        | "TreeEnsembleRegressor"
        | "LinearClassifier"
        | "LinearRegressor"
        | "SVMClassifier"
        | "SVMRegressor" => ml::predictor,
        "Scaler" | "Imputer" | "Normalizer" => ml::by_feature,
        "Binarizer" | "LabelEncoder" | "CategoryMapper" => elementwise::first_operand,
        "OneHotEncoder" => ml::one_hot_encoder,
        "ArrayFeatureExtractor" => ml::array_feature_extractor,
        "FeatureVectorizer" => ml::feature_vectorizer,
        "ZipMap" => ml::zip_map,
        _ => return None,
    })
}

fn microsoft(operator: &str) -> Option<Rule> {
    Some(match operator {
        "BiasGelu" | "FastGelu" | "Gelu" | "QuickGelu" => elementwise::first_operand,
        "QuantizeLinear" | "DequantizeLinear" => elementwise::quantize_linear,
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => reduce::skip_layer_normalization,
        "DynamicQuantizeMatMul" | "DynamicQuantizeLSTM" => reduce::mixing,
        "Inverse" => reduce::trilu,
        "FusedMatMul" => products::fused_matmul,
        "FusedGemm" => products::gemm,
        "FusedConv" => spatial::convolution,
        "MatMulIntegerToFloat" => products::matmul_integer_to_float,
        "MatMulNBits" => products::matmul_bits,
        "QGemm" => products::qgemm,
        "QLinearAdd" | "QLinearMul" => runtime::qlinear_binary,
        "QLinearSigmoid" | "QLinearLeakyRelu" => runtime::qlinear_unary,
        "QLinearConcat" => runtime::qlinear_concat,
        "Attention" => runtime::attention,
        "QAttention" => runtime::quantized_attention,
        "MultiHeadAttention" => runtime::multi_head_attention,
        "EmbedLayerNormalization" => runtime::embed_layer_normalization,
        "RotaryEmbedding" => runtime::rotary_embedding,
        "Tokenizer" => ml::tokenizer,
        "Trilu" => reduce::trilu,
        _ => return None,
    })
}
