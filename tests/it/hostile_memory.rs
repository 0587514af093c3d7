//! Memory stays bounded whatever a client sends; measured on the program itself, in a process of its own.

use std::{fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::{
    harness::{PATIENCE, error_text, models},
    process::ServingProcess,
};

const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
const MAX_BODY_BYTES: usize = 8 << 20;
const HUNDRED_MEGABYTES: usize = 100 << 20;

/// The program, serving one model that has run before.
struct Program {
    serving: ServingProcess,
    client: Client,
}

impl Program {
    async fn start() -> Self {
        let limit = MAX_BODY_BYTES.to_string();
        let serving = ServingProcess::start(&models("iris"), &["--max-body-bytes", &limit]).await;
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().expect("the client's settings are right");
        let program = Self { serving, client };
        program.unharmed().await;
        program
    }

    fn post(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client.post(format!("http://{}/predict", self.serving.address)).body(body)
    }

    async fn unharmed(&self) {
        let answer: Value = self.post(ROW).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["prediction"], 0);
    }

    /// Returns the most memory that the process has had, in bytes.
    fn peak_bytes(&self) -> usize {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.serving.process.id())).expect("the program runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
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
