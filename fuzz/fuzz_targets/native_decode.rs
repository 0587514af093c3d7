//! Bodies of the native API, for models of every kind: the first byte picks the model, the rest is the body.
//!
//! ```sh
//! mkdir -p fuzz/corpus/native_decode
//! cargo +nightly fuzz run native_decode fuzz/corpus/native_decode fuzz/seeds/native_decode -- -max_total_time=660 -rss_limit_mb=2048
//! ```

#![no_main]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use libfuzzer_sys::fuzz_target;
use onnxd::{
    api::http::native::decode::decode,
    model::{
        manifest::Manifest,
        onnx_file::OnnxFile,
        schema::Schema,
        signature::{Dim, OutputSpec, Signature, TensorSpec},
    },
    request::ValidRequest,
    tensor::data_type::DataType,
};
use serde_json::Value;

/// The most memory that decoding may take: strings are the worst, 32 bytes for the three of `"",`, while a list grows.
const MAX_BYTES_PER_BODY_BYTE: usize = 40;
const MAX_BYTES_ALWAYS: usize = 64 << 10;

#[global_allocator]
static ALLOCATOR: Counting = Counting { now: AtomicUsize::new(0), most: AtomicUsize::new(0) };

/// Counts what is allocated, and the most there was.
struct Counting {
    now: AtomicUsize,
    most: AtomicUsize,
}

// SAFETY: every call is the system allocator's own; counting changes nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = self.now.fetch_add(layout.size(), Relaxed) + layout.size();
        self.most.fetch_max(now, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.now.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(schemas);

fn schemas() -> Vec<Schema> {
    use DataType::{Bf16, Bool, Bytes, Fp16, Fp32, Fp64, Int8, Int64, Uint64};
    let any_shape = |data_type| TensorSpec { name: "x".into(), data_type, dims: None };
    let iris = r#"features.names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]"#;
    vec![
        schema(vec![spec("X", Fp32, &[-1, 4])], iris),
        schema(
            vec![
                spec("PULocationID", Int64, &[-1, 1]),
                spec("trip_distance", Fp32, &[-1, 1]),
                spec("note", Bytes, &[-1]),
                spec("night", Bool, &[-1, 1]),
            ],
            "",
        ),
        schema(vec![spec("image", Fp32, &[-1, 1, 8, 8])], ""),
        schema(vec![any_shape(Fp32)], ""),
        schema(vec![spec("X", Fp32, &[2, 3])], ""),
        schema(vec![spec("text", Bytes, &[-1, 1])], ""),
        schema(vec![spec("X", Fp16, &[-1, -1])], ""),
        schema(vec![spec("X", Bf16, &[-1, 2])], r#"features.names = ["features", 'a"\']"#),
        schema(vec![any_shape(Bytes), spec("y", Uint64, &[]), spec("z", Int8, &[-1, 0, 2])], ""),
        schema(vec![any_shape(Fp64)], ""),
    ]
}

/// A declared value; -1 is a dynamic dimension.
fn spec(name: &str, data_type: DataType, dims: &[i64]) -> TensorSpec {
    let dims = dims.iter().map(|size| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed)).collect();
    TensorSpec { name: name.into(), data_type, dims: Some(dims) }
}

fn schema(inputs: Vec<TensorSpec>, manifest: &str) -> Schema {
    let outputs = vec![OutputSpec { tensor: spec("y", DataType::Fp32, &[-1, 1]), map_keys: None }];
    let manifest = Manifest::parse(manifest).expect("a manifest");
    Schema::new(Signature { inputs, outputs }, &manifest, &OnnxFile::default()).expect("a schema")
}

fuzz_target!(|data: &[u8]| {
    let Some((model, body)) = data.split_first() else {
        return;
    };
    let schema = &SCHEMAS[usize::from(*model) % SCHEMAS.len()];

    let before = ALLOCATOR.now.load(Relaxed);
    ALLOCATOR.most.store(before, Relaxed);
    let result = decode(schema, body);
    let taken = ALLOCATOR.most.load(Relaxed) - before;
    assert!(taken <= MAX_BYTES_ALWAYS + body.len() * MAX_BYTES_PER_BODY_BYTE, "{taken} bytes for {}", body.len());

    let is_json = || serde_json::from_slice::<Value>(body).is_ok();
    match result {
        Ok(decoded) => {
            ValidRequest::new(decoded.request, &schema.signature).expect("what is decoded is valid");
            let has = |word: &str| body.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(has("NaN") || has("Infinity") || is_json(), "what is accepted is JSON");
        }
        Err(error) if error.message().starts_with("Request must be JSON") => {
            assert!(!is_json(), "JSON is not refused as if it were none: {error}");
        }
        Err(error) => assert!(error.message().len() <= 8 << 10, "a message is short"),
    }
});
