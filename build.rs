//! Makes Rust of `proto/`, without a `protoc` on the machine.

use std::{error::Error, fs, path::PathBuf};

use prost::Message as _;
use protox::Compiler;

const FILES: [&str; 2] = ["open_inference_grpc.proto", "prediction.proto"];

#[expect(clippy::disallowed_methods, reason = "cargo tells build scripts by variables alone")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let mut files = Compiler::new(["proto"])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES)?
        .file_descriptor_set();
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .codec_path("crate::protocol::codec::Codec")
        // Slices of the message that came, not copies.
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .bytes(".inference.InferTensorContents.bytes_contents")
        .compile_fds(files.clone())?;
    // What server reflection tells; comments are for people who have the files.
    for file in &mut files.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
    Ok(())
}
