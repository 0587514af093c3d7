//! Transports: sockets in, bytes out. The only place, with `edge` and the server, that names axum, tonic and status codes.

pub mod closing;
pub mod decompression;
pub mod grpc;
pub mod http;
