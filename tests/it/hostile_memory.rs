//! Memory stays bounded whatever a client sends; measured on the program itself, in a process of its own.

use std::{fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use onnxd::protocol::proto::inference::{InferTensorContents, ModelInferRequest};
use reqwest::RequestBuilder;
use serde_json::Value;
use tonic::Code;

use crate::{
    grpc_client::{Client, MODEL_INFER, PREDICT, iris_request, post_raw},
    harness::{PATIENCE, error_text, models},
    process::ServingProcess,
};

const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
const MAX_BODY_BYTES: usize = 8 << 20;
const HUNDRED_MEGABYTES: usize = 100 << 20;
/// What a body may take at most: a list of strings takes 32 bytes for the three of `"",`, while it grows.
const MOST_BYTES_PER_BODY_BYTE: usize = 40;
/// So many rows of four singles are 16 GiB.
const HUGE: i64 = 1 << 30;

/// The program, serving one model that has run before.
struct Program {
    serving: ServingProcess,
    client: reqwest::Client,
}

impl Program {
    async fn start() -> Self {
        let limit = MAX_BODY_BYTES.to_string();
        let arguments = ["--max-body-bytes", &limit, "--default-model", "iris"];
        let serving = ServingProcess::start(&models(""), &arguments).await;
        let client =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("the client's settings are right");
        let program = Self { serving, client };
        program.unharmed().await;
        program
    }

    fn post(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.post_to("/predict", body)
    }

    fn post_to(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client.post(format!("http://{}{path}", self.serving.address)).body(body)
    }

    async fn unharmed(&self) {
        let answer: Value = self.post(ROW).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["prediction"], 0);
    }

    /// Returns the most memory that the process has had, in bytes.
    fn peak_bytes(&self) -> usize {
        self.status("VmHWM:")
    }

    /// Returns the most memory that the process has asked for, whether it used it or not, in bytes.
    fn peak_bytes_asked_for(&self) -> usize {
        self.status("VmPeak:")
    }

    fn status(&self, key: &str) -> usize {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.serving.process.id())).expect("the program runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("Linux tells the peak");
        let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("the peak is a number");
        kilobytes << 10
    }

    /// Sends a request that must be refused, and checks that the program is well and how much more memory it took.
    async fn refuses(&self, request: RequestBuilder, status: u16, most_bytes: usize) {
        let before = self.peak_bytes();
        error_text(request.send().await.expect("the program answers"), status).await;
        self.unharmed().await;
        let more = self.peak_bytes() - before;
        assert!(more <= most_bytes, "it took {more} bytes more, not at most {most_bytes}");
    }
}

/// Compresses zeros, or rather blanks, which are JSON's nothing.
fn gzip_bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..bytes >> 20 {
        encoder.write_all(&blanks).unwrap();
    }
    encoder.finish().unwrap()
}

#[tokio::test]
async fn body_of_100_megabytes_is_refused_without_being_kept() {
    let program = Program::start().await;
    // What is answered 413 before all is read may also end as a reset connection; that is no answer, but no harm.
    let before = program.peak_bytes();
    if let Ok(response) = program.post(vec![b' '; HUNDRED_MEGABYTES]).send().await {
        error_text(response, 413).await;
    }
    program.unharmed().await;
    let more = program.peak_bytes() - before;
    assert!(more <= MAX_BODY_BYTES, "it took {more} bytes more");
}

#[tokio::test]
async fn gzip_bomb_is_refused_at_the_limit() {
    let program = Program::start().await;
    let request = program.post(gzip_bomb(HUNDRED_MEGABYTES)).header("content-encoding", "gzip");
    program.refuses(request, 413, 3 * MAX_BODY_BYTES).await;
}

#[tokio::test]
async fn zstd_bomb_is_refused_at_the_limit() {
    let program = Program::start().await;
    let bomb = zstd::encode_all(&*vec![b' '; HUNDRED_MEGABYTES], 19).unwrap();
    let request = program.post(bomb).header("content-encoding", "zstd");
    program.refuses(request, 413, 4 * MAX_BODY_BYTES).await;
}

#[tokio::test]
async fn nested_lists_of_the_largest_body_cost_little() {
    let program = Program::start().await;
    let body = format!(r#"{{"features":{}"#, "[".repeat(MAX_BODY_BYTES - 100));
    program.refuses(program.post(body), 400, 4 * MAX_BODY_BYTES).await;
}

#[tokio::test]
async fn empty_rows_of_the_largest_body_cost_little() {
    let program = Program::start().await;
    let rows = format!(r#"{{"inputs":{{"features":[{}[]]}}}}"#, "[],".repeat((MAX_BODY_BYTES - 100) / 3));
    program.refuses(program.post(rows), 400, 4 * MAX_BODY_BYTES).await;
}

#[tokio::test]
async fn empty_strings_of_the_largest_body_cost_little() {
    let program = Program::start().await;
    let strings = r#""","#.repeat((MAX_BODY_BYTES - 100) / 3);
    let rows = format!(r#"{{"instances":[{strings}""]}}"#);
    program.refuses(program.post_to("/models/text/predict", rows), 413, 4 * MAX_BODY_BYTES).await;
}

#[tokio::test]
async fn shapes_without_their_data_ask_for_no_memory() {
    let program = Program::start().await;
    let header = "inference-header-content-length";
    let (iris, text) = ("/v2/models/iris/infer", "/v2/models/text/infer");
    let features = format!(r#""name":"features","datatype":"FP32","shape":[{HUGE},4]"#);
    let strings = format!(r#""name":"text","datatype":"BYTES","shape":[{HUGE},1]"#);
    let binary = r#""parameters":{"binary_data_size":16}"#;
    let before = program.peak_bytes_asked_for();
    for (path, body, has_bytes) in [
        (iris, format!(r#"{{"inputs":[{{{features},"data":[1,2,3,4]}}]}}"#), false),
        (iris, format!(r#"{{"inputs":[{{"data":[1,2,3,4],{features}}}]}}"#), false),
        (iris, format!(r#"{{"inputs":[{{{features},{binary}}}]}}"#), true),
        (text, format!(r#"{{"inputs":[{{{strings},"data":["a"]}}]}}"#), false),
        (text, format!(r#"{{"inputs":[{{{strings},{binary}}}]}}"#), true),
    ] {
        let request = match has_bytes {
            true => program.post_to(path, format!("{body}{}", "\0".repeat(16))).header(header, body.len()),
            false => program.post_to(path, body.clone()),
        };
        let error = error_text(request.send().await.unwrap(), 400).await;
        let names_its_size = ["4294967296", "17179869184", "1073741824"].iter().any(|size| error.contains(size));
        assert!(error.contains("xpect") && names_its_size, "{error}");
    }
    let client = Client::at(program.serving.address).await;
    let contents = InferTensorContents { fp32_contents: vec![1.0; 4], ..Default::default() };
    for (raw, contents) in [(iris_request().raw_input_contents, None), (Vec::new(), Some(contents))] {
        let mut request = ModelInferRequest { raw_input_contents: raw, ..iris_request() };
        request.inputs[0].shape[0] = HUGE;
        request.inputs[0].contents = contents;
        let error = client.refuse_infer(request).await;
        assert!(error.contains("xpected"), "{error}");
    }
    program.unharmed().await;
    let more = program.peak_bytes_asked_for() - before;
    // Threads that start ask for some too.
    assert!(more < 1 << 30, "it asked for {more} bytes more");
}

#[tokio::test]
async fn fields_of_nothing_in_the_largest_message_cost_little() {
    let program = Program::start().await;
    let before = program.peak_bytes();
    for (path, field) in
        [(MODEL_INFER, b"\x2a\0"), (MODEL_INFER, b"\x32\0"), (MODEL_INFER, b"\x3a\0"), (PREDICT, b"\x32\0")]
    {
        let message = field.repeat((MAX_BODY_BYTES - 100) / 2);
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let frame = [&[0][..], &length, &message].concat();
        let (code, text) = post_raw(program.serving.address, path, &[], frame).await;
        assert_eq!(code, Code::InvalidArgument, "{text}");
        program.unharmed().await;
    }
    let more = program.peak_bytes() - before;
    assert!(more <= 4 * MAX_BODY_BYTES, "it took {more} bytes more");
}

#[tokio::test]
async fn gzip_bomb_in_a_message_is_refused_at_the_limit() {
    let program = Program::start().await;
    let before = program.peak_bytes();
    let bomb = gzip_bomb(HUNDRED_MEGABYTES);
    let length = u32::try_from(bomb.len()).unwrap().to_be_bytes();
    let frame = [&[1][..], &length, &bomb].concat();
    let (code, text) = post_raw(program.serving.address, MODEL_INFER, &[("grpc-encoding", "gzip")], frame).await;
    assert_eq!(code, Code::ResourceExhausted, "{text}");
    program.unharmed().await;
    let more = program.peak_bytes() - before;
    assert!(more <= 4 * MAX_BODY_BYTES, "it took {more} bytes more");
}

#[tokio::test]
async fn names_of_nothing_in_the_largest_body_cost_little() {
    let program = Program::start().await;
    let commas = program.post_to("/invocations", vec![b','; MAX_BODY_BYTES - 100]).header("content-type", "text/csv");
    program.refuses(commas, 400, MOST_BYTES_PER_BODY_BYTE * MAX_BODY_BYTES).await;
    let columns = r#""","#.repeat((MAX_BODY_BYTES - 100) / 3);
    let split = format!(r#"{{"dataframe_split":{{"columns":[{columns}""],"data":[]}}}}"#);
    program.refuses(program.post_to("/invocations", split), 400, MOST_BYTES_PER_BODY_BYTE * MAX_BODY_BYTES).await;
}
