//! What `build.rs` makes of `proto/`: messages, and the traits of the services.

/// The descriptors of all files in `proto/`, encoded.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The Open Inference Protocol.
#[expect(clippy::all, clippy::allow_attributes, clippy::too_many_lines, unused_qualifications, reason = "generated")]
pub mod inference {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

/// onnxd's own API.
#[expect(clippy::allow_attributes, unused_qualifications, reason = "generated")]
pub mod onnxd_v1 {
    include!(concat!(env!("OUT_DIR"), "/onnxd.v1.rs"));
}
