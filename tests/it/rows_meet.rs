//! Models whose rows meet only beyond tame values: honest clients beside outliers get what they get alone.

use onnxd::serving::catalog::ModelRef;
use std::fs;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    batching::{BUNDLED, copy_bundled},
    graph::model,
    harness::{PATIENCE, TestServer},
};

/// Name, where rows meet, and text. Each takes `x`, FP32 `[N, 4]`, and gives `y`; on values in [0, 1) no two rows meet in
/// any but the first, which changes only a little.
const MODELS: [(&str, &str, &str); 11] = [
    (
        "quantized",
        "DynamicQuantizeLinear `q`",
        "w = i8[4,8]\nwz = i8[] 50\nws = f32[] 0.02\nb = f32[8]\nv = i8[8,3]\nc = f32[3]\n\
         q, s, z = DynamicQuantizeLinear(x)\np = MatMulInteger(q, w, z, wz)\nf = Cast(p) to=1\nm = Mul(s, ws)\nh = Mul(f, m)\n\
         a = Add(h, b)\nr = Relu(a)\nq2, s2, z2 = DynamicQuantizeLinear(r)\np2 = MatMulInteger(q2, v, z2, wz)\nf2 = Cast(p2) to=1\n\
         m2 = Mul(s2, ws)\nh2 = Mul(f2, m2)\ny = Add(h2, c)",
    ),
    ("greatest", "ReduceMax `m`", "one = f32[] 1\nm = ReduceMax(x) axes=0: keepdims=1\nd = Max(m, one)\ny = Div(x, d)"),
    (
        "sum",
        "ReduceSum `s`",
        "t = f32[] 100\na = i64[1] 0\ns = ReduceSum(x, a)\nd = Sub(s, t)\nr = Relu(d)\ny = Add(x, r)",
    ),
    ("running", "CumSum `c`", "t = f32[] 10\na = i64[] 0\nd = Sub(x, t)\nr = Relu(d)\nc = CumSum(r, a)\ny = Add(x, c)"),
    ("whole", "ReduceMax `m`", "f = Floor(x)\nm = ReduceMax(f) axes=0: keepdims=1\ny = Add(x, m)"),
    ("product", "MatMul `p`", "f = Floor(x)\nt = Transpose(f)\np = MatMul(f, t)\ng = MatMul(p, x)\ny = Add(x, g)"),
    ("best", "ArgMax `a`", "f = Floor(x)\na = ArgMax(f) axis=0 keepdims=1\nc = Cast(a) to=1\ny = Add(x, c)"),
    (
        "together",
        "ReduceMax `m`",
        "l = i64[2] 1 -1\nf = Floor(x)\nr = Reshape(f, l)\nm = ReduceMax(r) axes=1: keepdims=1\ny = Add(x, m)",
    ),
    ("first", "Gather `g`", "i = i64[1] 0\nf = Floor(x)\ng = Gather(f, i)\ny = Add(x, g)"),
    (
        "reversed",
        "Slice `r`",
        "s = i64[1] -1\ne = i64[1] -9223372036854775807\na = i64[1] 0\nf = Floor(x)\nr = Slice(f, s, e, a, s)\ny = Add(x, r)",
    ),
    (
        "counted",
        "NonZero `n`",
        "i = i64[] 1\nf = Floor(x)\nn = NonZero(f)\ns = Shape(n)\nc = Gather(s, i)\nd = Cast(c) to=1\ny = Add(x, d)",
    ),
];

async fn serve(manifest: &str) -> (TestServer, TempDir) {
    let folder = TempDir::new().unwrap();
    for (name, _, text) in MODELS {
        fs::create_dir_all(folder.path().join(name).join("1")).unwrap();
        let bytes = model(17, "x f32 [N,4]", "y", text);
        fs::write(folder.path().join(name).join("1/model.onnx"), bytes).unwrap();
        fs::write(folder.path().join(name).join("model.toml"), manifest).unwrap();
    }
    let server = TestServer::start_with(folder.path(), |config| config.limits.inline_budget = PATIENCE).await;
    (server, folder)
}

/// Four honest rows, and four that are larger.
fn bodies() -> Vec<String> {
    let row =
        |client: u8, scale: f64| (0..4).map(|column| f64::from(client * 4 + column) / 40.0 * scale).collect::<Vec<_>>();
    let scale = |client: u8| if client.is_multiple_of(2) { 1.0 } else { 100.0 };
    (0..8).map(|client| json!({"inputs": {"x": [row(client, scale(client))]}}).to_string()).collect()
}

#[tokio::test]
async fn honest_clients_beside_outliers_get_what_they_get_alone() {
    let (server, _folder) = serve("batching.lane = \"worker\"").await;
    for (name, place, _) in MODELS {
        let served =
            server.service.resolve(ModelRef::new(Some(name), None)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = format!("one request at a time: rows meet in {place}");
        assert_eq!((served.plan.lane.batched, &served.plan.batching_reason), (false, &expected), "{name}");
        let path = format!("/models/{name}/predict");
        let (mut alone, bodies) = (Vec::new(), bodies());
        for body in &bodies {
            alone.push(server.predict(&path, body).await["outputs"].clone());
        }
        for _ in 0..4 {
            let together = join_all(bodies.iter().map(|body| server.predict(&path, body))).await;
            let outputs: Vec<_> = together.into_iter().map(|answer| answer["outputs"].clone()).collect();
            assert_eq!(outputs, alone, "{name}");
        }
    }
}

#[tokio::test]
async fn model_toml_has_the_last_word_on_independence() {
    let (server, _folder) = serve("batching.independent_rows = true").await;
    for (name, _, _) in MODELS {
        let plan = &server.service.resolve(ModelRef::new(Some(name), None)).unwrap().plan;
        assert!(plan.lane.batched, "{name}: {}", plan.batching_reason);
        assert!(
            plan.batching_reason.starts_with("model.toml says that rows are independent"),
            "{}",
            plan.batching_reason
        );
    }
    let details: Value = server.get_json("/models/greatest").await;
    assert_eq!(details["execution"]["row_independence"], "mixed", "{details}");

    let folder = TempDir::new().unwrap();
    copy_bundled(folder.path(), |_model| "auto");
    for name in BUNDLED {
        let path = folder.path().join(name).join("model.toml");
        fs::write(&path, fs::read_to_string(&path).unwrap() + "independent_rows = false\n").unwrap();
    }
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    for name in BUNDLED {
        let plan = &server.service.resolve(ModelRef::new(Some(name), None)).unwrap().plan;
        let expected = "one request at a time: model.toml says that rows are not independent";
        assert_eq!((plan.lane.batched, &*plan.batching_reason), (false, expected), "{name}");
    }
}

#[tokio::test]
async fn bundled_models_are_proven() {
    let folder = TempDir::new().unwrap();
    copy_bundled(folder.path(), |_model| "auto");
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    for name in BUNDLED {
        let plan = &server.service.resolve(ModelRef::new(Some(name), None)).unwrap().plan;
        assert!(plan.lane.batched, "{name}: {}", plan.batching_reason);
        assert!(
            plan.batching_reason.starts_with("rows proven independent (largest"),
            "{name}: {}",
            plan.batching_reason
        );
    }
}
