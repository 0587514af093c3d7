//! Whether rows may share a run: what the graph says, family by family, held against real runs.
//!
//! Of each graph that is proven here, rows of every scale are run apart and together on the runtime.

use bytes::Bytes;
use onnxd::model::onnx_file::{OnnxFile, independence::Independence};

use crate::{
    graph::model,
    independence_runs::{Runs, counterexample},
};

/// Inputs, outputs, text.
type Case = (&'static str, &'static str, &'static str);

fn independence(opset: i64, (inputs, outputs, text): Case) -> Independence {
    OnnxFile::parse(&Bytes::from(model(opset, inputs, outputs, text))).unwrap().independence
}

/// Checks that each case is proven, and that the runtime agrees.
fn assert_proven(opset: i64, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let verdict = independence(opset, *case);
        if !matches!(verdict, Independence::Proven(_)) {
            wrong.push(format!("{case:?}: {verdict:?}"));
            continue;
        }
        match counterexample(&model(opset, case.0, case.1, case.2), 11) {
            Runs::Agree => {}
            other => wrong.push(format!("{case:?}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks that rows meet in each case, in the operator that is named.
fn assert_mixed(opset: i64, cases: &[(&str, Case)]) {
    let verdicts = cases.iter().map(|(operator, case)| (operator, case, independence(opset, *case)));
    let meets = |verdict: &Independence, operator: &str| matches!(verdict, Independence::Mixed(place) if place.starts_with(operator));
    let wrong: Vec<_> = verdicts.filter(|(operator, _, verdict)| !meets(verdict, operator)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const X: &str = "x f32 [N,4]";
const IMAGE: &str = "x f32 [N,3,6,6]";
const SEQUENCE: &str = "x f32 [N,S,4]";

#[test]
fn elements_by_themselves_keep_rows() {
    assert_proven(
        17,
        &[
            (X, "y", "w = f32[4]\na = Add(x, w)\nb = Relu(a)\ny = Mul(b, a)"),
            (X, "y", "w = f32[1,4]\na = Add(w, x)\nc = Less(a, w)\ny = Where(c, a, w)"),
            ("x f32 [N,4]; z f32 [N,1]", "y", "y = Sub(x, z)"),
            (X, "y", "s = f32[] 0.5\nz = u8[] 3\nq = QuantizeLinear(x, s, z)\ny = DequantizeLinear(q, s, z)"),
            (X, "y", "s = f32[4] 0.5 0.25 1 2\nz = u8[4]\nq = QuantizeLinear(x, s, z) axis=1\ny = Cast(q) to=1"),
            (X, "y", "lo = f32[] -1\nhi = f32[] 1\ny = Clip(x, lo, hi)"),
        ],
    );
    assert_mixed(
        17,
        &[
            ("Add", (X, "y", "w = f32[3,4]\ny = Add(x, w)")),
            ("Add", ("x f32 [N,4]; z f32 [N]", "y", "y = Add(x, z)")),
            ("Mul", (X, "y", "s = Shape(x)\nn = Cast(s) to=1\ni = i64[1] 0\ng = Gather(n, i)\ny = Mul(x, g)")),
            ("QuantizeLinear", (X, "y", "s = f32[4] 1 1 1 1\ny = QuantizeLinear(x, s) axis=0")),
            ("QuantizeLinear", (X, "y", "s = f32[1,2] 1 2\ny = QuantizeLinear(x, s) axis=1 block_size=2")),
            ("Mul", (X, "y", "t = Transpose(x)\nr = ReduceSum(x)\ny = Mul(x, t)")),
        ],
    );
}

#[test]
fn work_along_other_axes_keeps_rows() {
    assert_proven(
        17,
        &[
            (X, "y", "y = ReduceMean(x) axes=1: keepdims=0"),
            (X, "y", "y = ReduceMax(x) axes=1: keepdims=1"),
            (X, "y", "a = i64[1] -1\ny = ReduceSum(x, a) keepdims=1"),
            (X, "y", "y = Softmax(x)"),
            (X, "y", "y = ArgMax(x) axis=1 keepdims=0"),
            (X, "y, i", "k = i64[1] 2\ny, i = TopK(x, k)"),
            (SEQUENCE, "y", "g = f32[4]\nb = f32[4]\ny = LayerNormalization(x, g, b)"),
            (X, "y", "a = i64[] 1\ny = CumSum(x, a)"),
        ],
    );
    assert_proven(11, &[(SEQUENCE, "y", "y = Softmax(x) axis=1"), (X, "y", "y = LogSoftmax(x)")]);
    assert_mixed(11, &[("Softmax", (SEQUENCE, "y", "y = Softmax(x) axis=0"))]);
    assert_mixed(
        17,
        &[
            ("ReduceMean", (X, "y", "m = ReduceMean(x) axes=0: keepdims=1\ny = Sub(x, m)")),
            ("ReduceMax", (X, "y", "m = ReduceMax(x)\ny = Div(x, m)")),
            ("Softmax", (X, "y", "y = Softmax(x) axis=0")),
            ("ArgMax", (X, "y", "a = ArgMax(x)\ny = Gather(x, a)")),
            ("CumSum", (X, "y", "a = i64[] 0\ny = CumSum(x, a)")),
            ("TopK", (X, "y, i", "k = i64[1] 1\ny, i = TopK(x, k) axis=0")),
            ("MeanVarianceNormalization", (IMAGE, "y", "y = MeanVarianceNormalization(x)")),
            ("Unique", (X, "y", "y = Unique(x) axis=0")),
            ("NonZero", (X, "y", "y = NonZero(x)")),
            ("DynamicQuantizeLinear", (X, "y", "q, s, z = DynamicQuantizeLinear(x)\ny = DequantizeLinear(q, s, z)")),
        ],
    );
}

#[test]
fn products_keep_rows_that_are_not_summed_over() {
    assert_proven(
        17,
        &[
            (X, "y", "w = f32[4,3]\ny = MatMul(x, w)"),
            (X, "y", "w = f32[3,4]\nb = f32[3]\ny = Gemm(x, w, b) transB=1"),
            (X, "y", "w = f32[3,4]\nt = Transpose(x)\np = MatMul(w, t)\ny = Transpose(p)"),
            (SEQUENCE, "y", "t = Transpose(x) perm=0:2:1\ny = MatMul(x, t)"),
            (SEQUENCE, "y", "w = f32[4,5]\ny = Einsum(x, w) equation=\"nsk,kd->nsd\""),
            ("x f32 [N,3,4]; z f32 [N,4,2]", "y", "y = MatMul(x, z)"),
            (
                X,
                "y",
                "z = u8[] 3\ns = f32[] 0.1\nq = QuantizeLinear(x, s, z)\nw = i8[4,3]\np = MatMulInteger(q, w, z)\ny = Cast(p) to=1",
            ),
        ],
    );
    assert_mixed(
        17,
        &[
            ("MatMul", (X, "y", "t = Transpose(x)\ny = MatMul(x, t)")),
            ("MatMul", (X, "y", "w = f32[4]\nt = Transpose(x)\np = MatMul(w, t)\nv = MatMul(t, p)\ny = MatMul(x, v)")),
            ("Gemm", (X, "y", "w = f32[3,4]\ny = Gemm(x, w) transA=1")),
            ("Gemm", (X, "y", "w = f32[4,3]\nb = f32[2,3]\ny = Gemm(x, w, b)")),
            ("Einsum", (X, "y", "y = Einsum(x, x) equation=\"nk,mk->nm\"")),
            ("MatMul", ("x f32 [N,3,4]", "y", "w = f32[5,4,2]\ny = MatMul(x, w)")),
        ],
    );
}

#[test]
fn images_and_sequences_keep_rows_on_their_batch_axis() {
    assert_proven(
        17,
        &[
            (
                IMAGE,
                "y",
                "w = f32[2,3,3,3]\nc = Conv(x, w) pads=1:1:1:1\nf = Flatten(c)\nd = f32[72,2]\ny = MatMul(f, d)",
            ),
            (IMAGE, "y", "p = MaxPool(x) kernel_shape=2:2 strides=2:2\ng = GlobalAveragePool(p)\ny = Flatten(g)"),
            (IMAGE, "y", "s = f32[3]\nb = f32[3]\nm = f32[3]\nv = f32[3] 1 1 1\ny = BatchNormalization(x, s, b, m, v)"),
            (IMAGE, "y", "s = f32[3]\nb = f32[3]\ny = InstanceNormalization(x, s, b)"),
            (IMAGE, "y", "z = f32[4] 1 1 2 2\ny = Resize(x, , z) mode=\"nearest\""),
            (
                IMAGE,
                "y",
                "i = i64[2] 12 12\nh = Shape(x)\na = i64[1] 0\ne = i64[1] 2\nc = Slice(h, a, e)\nt = Concat(c, i) axis=0\ny = Resize(x, , , t)",
            ),
            (IMAGE, "y", "y = SpaceToDepth(x) blocksize=2"),
            (
                SEQUENCE,
                "y",
                "t = Transpose(x) perm=1:0:2\nw = f32[1,8,4]\nr = f32[1,8,2]\nh, l = LSTM(t, w, r) hidden_size=2\na = i64[1] 0\ny = Squeeze(l, a)",
            ),
        ],
    );
    assert_mixed(
        17,
        &[
            ("LSTM", (SEQUENCE, "y", "w = f32[1,8,4]\nr = f32[1,8,2]\ny, l = LSTM(x, w, r) hidden_size=2")),
            ("MaxPool", (IMAGE, "y, i", "y, i = MaxPool(x) kernel_shape=2:2")),
            (
                "BatchNormalization",
                (
                    IMAGE,
                    "y",
                    "s = f32[3]\nb = f32[3]\nm = f32[3]\nv = f32[3] 1 1 1\ny, n, w = BatchNormalization(x, s, b, m, v) training_mode=1",
                ),
            ),
            ("Conv", ("x f32 [N,3,6]", "y", "t = Transpose(x) perm=1:0:2\nw = f32[2,1,3]\ny = Conv(t, w)")),
            ("Resize", (IMAGE, "y", "z = f32[4] 2 1 1 1\ny = Resize(x, , z) mode=\"nearest\"")),
            (
                "Resize",
                (
                    IMAGE,
                    "y",
                    "s = Shape(x)\na = i64[1] 0\nn = Gather(s, a)\ni = i64[2] 3 6\nt = Concat(n, i, n) axis=0\ny = Resize(x, , , t)",
                ),
            ),
        ],
    );
}

#[test]
fn shapes_keep_rows_that_stay_together() {
    let heads = "s = Shape(x)\na = i64[1] 0\nb = i64[1] 1\nn = Gather(s, a)\nt = Gather(s, b)\nh = i64[2] 2 2\n\
                 g = Concat(n, t, h) axis=0\nr = Reshape(x, g)\np = Transpose(r) perm=0:2:1:3\nq = Transpose(p) perm=0:2:1:3\n\
                 d = i64[1] 4\nu = Concat(n, t, d) axis=0\ny = Reshape(q, u)";
    let flat = "m = i64[2] -1 4\nf = Reshape(x, m)\nw = f32[4,4]\np = MatMul(f, w)\ns = Shape(x)\ny = Reshape(p, s)";
    let time_first = "t = Transpose(x) perm=1:0:2\nm = i64[2] -1 4\nf = Reshape(t, m)\nw = f32[4,4]\np = MatMul(f, w)\ns = Shape(t)\n\
                      r = Reshape(p, s)\ny = Transpose(r) perm=1:0:2";
    assert_proven(
        17,
        &[
            (SEQUENCE, "y", heads),
            (SEQUENCE, "y", flat),
            (SEQUENCE, "y", time_first),
            (X, "y", "m = i64[2] 0 -1\ny = Reshape(x, m)"),
            (
                SEQUENCE,
                "y",
                "m = i64[3] 0 -1 6\nr = Reshape(x, m)\nb = i64[1] 0\ne = i64[1] 1000000000\ny = Slice(r, b, e, b)",
            ),
            (X, "y", "m = i64[3] -1 2 2\ny = Reshape(x, m)"),
            (X, "y", "a = i64[1] 1\nu = Unsqueeze(x, a)\ny = Squeeze(u, a)"),
            (
                X,
                "y",
                "w = f32[1,2]\ns = Shape(x)\na = i64[1] 0\nn = Gather(s, a)\ni = i64[1] 2\nt = Concat(n, i) axis=0\ne = Expand(w, t)\ny = Concat(x, e) axis=1",
            ),
            (X, "y", "s = Shape(x)\nc = ConstantOfShape(s)\ny = Add(x, c)"),
            (X, "y", "i = i64[2] 2 2\na, b = Split(x, i) axis=1\ny = Concat(b, a) axis=1"),
            (X, "y", "p = i64[4] 0 1 0 2\ny = Pad(x, p)"),
            (X, "y", "r = i64[2] 1 3\ny = Tile(x, r)"),
            (X, "y", "b = i64[1] 1\ne = i64[1] 3\na = i64[1] 1\ny = Slice(x, b, e, a)"),
            (X, "y", "b = i64[1] 0\ne = i64[1] 9223372036854775807\na = i64[1] 0\ny = Slice(x, b, e, a)"),
            (X, "y", "i = i64[3] 2 0 0\ny = Gather(x, i) axis=1"),
            ("x i64 [N,S]", "y", "w = f32[1,4]\nz = i64[] 0\ni = Mul(x, z)\ny = Gather(w, i)"),
            (
                X,
                "y",
                "i = i64[] 1\nd = i64[] 4\nv = f32[2] 0 1\ng = Gather(x, i) axis=1\nc = Cast(g) to=7\ny = OneHot(c, d, v)",
            ),
        ],
    );
}

#[test]
fn shapes_and_places_that_regroup_rows_are_found() {
    assert_mixed(
        17,
        &[
            (
                "Reshape",
                (
                    "x f32 [N,3]",
                    "y",
                    "m = i64[2] -1 2\nr = Reshape(x, m)\ns = Softmax(r)\nu = i64[2] -1 3\ny = Reshape(s, u)",
                ),
            ),
            (
                "Softmax",
                (X, "y", "m = i64[2] 1 -1\nr = Reshape(x, m)\nt = Softmax(r)\ns = Shape(x)\ny = Reshape(t, s)"),
            ),
            ("Squeeze", (X, "y", "y = Squeeze(x)")),
            ("Concat", (X, "y", "w = f32[1,4]\ny = Concat(x, w) axis=0")),
            ("Slice", (X, "y", "b = i64[1] 0\ne = i64[1] 1\na = i64[1] 0\ny = Slice(x, b, e, a)")),
            (
                "Slice",
                (
                    X,
                    "y",
                    "b = i64[1] -1\ne = i64[1] -9223372036854775807\na = i64[1] 0\nk = i64[1] -1\ny = Slice(x, b, e, a, k)",
                ),
            ),
            ("Tile", (X, "y", "r = i64[2] 2 1\ny = Tile(x, r)")),
            // The number of rows decides what is left of each.
            (
                "Slice",
                (
                    X,
                    "y",
                    "s = Shape(x)\na = i64[1] 0\nn = Gather(s, a)\nb = i64[1] 1\nc = Slice(x, a, n, b)\ny = ReduceSum(c, b)",
                ),
            ),
            ("Pad", (X, "y", "p = i64[4] 1 0 0 0\ny = Pad(x, p)")),
            ("Gather", (X, "y", "i = i64[1] 0\ny = Gather(x, i)")),
            (
                "Add",
                (
                    X,
                    "y",
                    "s = Shape(x)\na = i64[] 0\nn = Gather(s, a)\no = i64[] 1\nr = Range(a, n, o)\nf = Cast(r) to=1\nb = i64[1] 1\nu = Unsqueeze(f, b)\ny = Add(x, u)",
                ),
            ),
            ("EyeLike", (X, "y", "e = EyeLike(x)\ny = Add(x, e)")),
        ],
    );
    assert!(matches!(
        independence(17, (SEQUENCE, "y", "m = i64[2] -1 2\ny = Reshape(x, m)")),
        Independence::Unknown(_)
    ));
}

#[test]
fn features_keep_rows_in_two_axes() {
    // Not run: lower case needs a locale that machines may lack.
    let normalized = ("x text [N]", "y", "y = StringNormalizer(x) case_change_action=\"LOWER\"");
    assert!(matches!(independence(17, normalized), Independence::Proven(_)));
    assert_proven(
        17,
        &[
            (X, "y", "y = ai.onnx.ml.Scaler(x) offset=0.5:0.5:0.5:0.5 scale=1.0:2.0:3.0:4.0"),
            (X, "y", "y = ai.onnx.ml.Normalizer(x) norm=\"L2\""),
            (
                "x i64 [N,1]",
                "y",
                "o = ai.onnx.ml.OneHotEncoder(x) cats_int64s=0:1:5 zeros=1\nm = i64[2] -1 3\ny = Reshape(o, m)",
            ),
            // Averages of several predictors, and one table for each feature, as skl2onnx writes them.
            (
                X,
                "y",
                "l = i64[3] 1 -1 4\na = Reshape(x, l)\nn = Neg(x)\nb = Reshape(n, l)\nc = Concat(a, b) axis=0\ny = ReduceMean(c) axes=0: keepdims=0",
            ),
            (
                X,
                "y",
                "c = Concat(x, x) axis=0\nm = i64[3] 2 -1 4\nr = Reshape(c, m)\ny = ReduceSum(r, a) keepdims=0\na = i64[1] 0",
            ),
            ("x i64 [N,1]", "y", "w = f32[3,2]\nt = ai.onnx.ml.ArrayFeatureExtractor(w, x)\ny = Transpose(t)"),
            (X, "y", "y = ai.onnx.ml.LinearRegressor(x) coefficients=1.0:2.0:3.0:4.0 intercepts=1.0:2.0 targets=1"),
        ],
    );
    assert_mixed(
        17,
        &[
            ("Normalizer", ("x f32 [N]", "y", "y = ai.onnx.ml.Normalizer(x) norm=\"L2\"")),
            ("StringNormalizer", ("x text [N]", "y", "y = StringNormalizer(x) stopwords=\"a:b\"")),
            ("StringNormalizer", ("x text [N,1]", "y", "y = StringNormalizer(x) case_change_action=\"LOWER\"")),
            // The filling after shorter texts reaches from one column into the next.
            ("Flatten", ("x text [N,2]", "y", "t = com.microsoft.Tokenizer(x) pad_value=\"#\"\ny = Flatten(t)")),
            ("Equal", ("x text [N]", "y", "t = com.microsoft.Tokenizer(x) pad_value=\"#\"\ny = Equal(t, t)")),
        ],
    );
}

#[test]
fn bodies_and_functions_are_walked_in_place() {
    let branches = "then_branch=@a else_branch=@b\ngraph a() -> p:\np = Relu(x)\ngraph b() -> q:\n";
    let of_if = |other: &str| {
        format!(
            "s = Shape(x)\ni = i64[] 1\nn = Gather(s, i)\nt = i64[] 2\nc = Greater(n, t)\ny = If(c) {branches}{other}"
        )
    };
    let case = |text: &str| independence(17, (SEQUENCE, "y", Box::leak(text.to_owned().into_boxed_str())));
    assert!(matches!(case(&of_if("q = Neg(x)")), Independence::Proven(_)));
    let mixed = case(&of_if("m = ReduceMax(x)\nq = Sub(x, m)"));
    assert_eq!(mixed, Independence::Mixed("ReduceMax `m`".to_owned()));
    let by_rows = format!("m = ReduceMax(x)\nt = f32[] 2\nc = Greater(m, t)\ny = If(c) {branches}q = Neg(x)");
    assert_eq!(case(&by_rows), Independence::Mixed("ReduceMax `m`".to_owned()));

    let of_loop = |body: &str| {
        format!("k = i64[] 3\ny, z = Loop(k, , x) body=@b\ngraph b(i, c, v) -> d, w, o:\nd = Identity(c)\n{body}")
    };
    assert!(matches!(case(&of_loop("w = Relu(v)\no = Neg(v)")), Independence::Proven(_)));
    let meets = case(&of_loop("m = ReduceMax(v) axes=0: keepdims=1\nw = Sub(v, m)\no = Neg(v)"));
    assert_eq!(meets, Independence::Mixed("ReduceMax `m`".to_owned()));
    let scan =
        "y = Scan(x) body=@b num_scan_inputs=1 scan_input_axes=1: scan_output_axes=1:\ngraph b(v) -> w:\nw = Relu(v)";
    assert!(matches!(case(scan), Independence::Proven(_)));
    let over_rows = scan.replace("scan_input_axes=1:", "scan_input_axes=0:");
    assert_eq!(case(&over_rows), Independence::Mixed("Scan `y`".to_owned()));

    let function = |body: &str| format!("y = local.F(x)\nfunction local.F(a) -> b:\n{body}");
    assert!(matches!(case(&function("b = Relu(a)")), Independence::Proven(_)));
    let inside = case(&function("m = ReduceMax(a)\nb = Sub(a, m)"));
    assert_eq!(inside, Independence::Mixed("ReduceMax `m`".to_owned()));
    let endless = case("y = local.F(x)\nfunction local.F(a) -> b:\nb = local.F(a)");
    assert!(matches!(endless, Independence::Unknown(_)), "{endless:?}");
}

#[test]
fn what_the_table_does_not_know_is_named() {
    let place = |text: &'static str| match independence(17, (X, "y", text)) {
        Independence::Unknown(place) => place,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(place("y = custom.Thing(x)"), "custom.Thing `y`");
    assert_eq!(place("r = RandomNormalLike(x)\ny = Add(x, r)"), "RandomNormalLike `r`");
    assert_eq!(place("y = RandomUniformLike(x)"), "RandomUniformLike `y`");
    assert_eq!(place("y = f32[1,4]"), "output `y`");
    let fixed = independence(17, ("x f32 [1,4]", "y", "y = Relu(x)"));
    assert_eq!(fixed, Independence::Unknown("input `x`".to_owned()));
    let hostile_name = independence(17, (X, "y", "y\u{1b} = custom.Thing(x)\ny = Identity(y\u{1b})"));
    assert!(!hostile_name.to_string().contains('\u{1b}'), "{hostile_name}");
}
