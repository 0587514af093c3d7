//! Integration tests: one binary, a real server on a free port for each test, a file a behaviour.
//!
//! Servers are started through the same `bind` and `run_until` as the program's. `TEST_LOG=debug` shows their logs.

#![expect(
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a crate of tests: what goes wrong ends the test, also in what tests share"
)]

mod connection;
mod fake_engine;
mod fake_server;
mod graph;
mod grpc_client;
mod grpc_fake;
mod harness;
mod http2_stall;
mod identity;
mod independence_runs;
mod markdown;
mod onnx;
mod process;

mod access_log;
mod batching;
mod bench_command;
mod budget;
mod catalog;
mod command_line;
mod compression;
mod cors;
mod crowd;
mod dispatch;
mod docs;
mod empty_tensors;
mod endless;
mod engine;
mod errors;
mod errors_of_load;
mod errors_of_requests;
mod faults_of_values;
mod golden;
mod grpc_calls;
mod grpc_hostile;
mod grpc_infer;
mod grpc_predict;
mod grpc_server;
mod grpc_shutdown;
mod grpc_stream;
mod health;
mod healthcheck;
mod hostile;
mod hostile_bodies;

mod hostile_memory;
mod house;
mod house_imports;
mod idle_connections;
mod independence;
mod independence_search;
mod isolation;
mod lanes;
mod load_limits;
mod log_lines;
mod metrics;
mod mlflow;
mod mlflow_csv;
mod mlflow_recorded;
mod mlflow_refusals;
mod network;
mod observed_outputs;
mod oip;
mod oip_binary;
mod oip_infer;
mod oip_refusals;
mod openapi;
mod overload;
mod predict;
mod predict_models;
mod protocols;
mod readme;
mod refusals;
mod repository;
mod row_limit;
mod rows_meet;
mod run_memory;
mod shutdown;
mod shutdown_process;
#[cfg(target_os = "linux")]
mod small_container;
mod tfs;
mod tfs_refusals;
mod tfs_status;
mod tfs_verbs;
mod values;
mod values_named;
