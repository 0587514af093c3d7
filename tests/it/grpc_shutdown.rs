//! Stopping a server that answers gRPC: nothing that was accepted is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use onnxd::{protocol::proto::onnxd_v1::PredictResponse, server::Ending};
use tokio::task::JoinSet;
use tonic::{Code, Request};

use crate::{
    fake_server::Fake,
    grpc_client::{Client, PREDICT},
    grpc_fake::{Calls, row, start_within},
    harness::{PATIENCE, until},
};

#[tokio::test]
async fn calls_in_flight_are_answered() {
    let mut fake = Fake::start("", |_config| {}).await;
    let client = Client::of(&fake.server).await;
    fake.control.close_gate();
    let mut calls = Calls::new();
    (0..8).for_each(|_| start_within(&mut calls, &client, PATIENCE));
    fake.until_in_flight(8).await;
    fake.server.start_stopping();
    until(async || fake.server.service.is_draining()).await;
    fake.control.open_gate();
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!(fake.server.stop().await, Ending::Drained);
}

#[tokio::test]
async fn a_connection_without_calls_does_not_put_off_the_end() {
    let fake = Fake::start("", |config| config.limits.shutdown_grace = PATIENCE).await;
    let client = Client::of(&fake.server).await;
    client.predict(row()).await;
    let silent = crate::connection::Connection::open(fake.server.grpc_address.unwrap()).await.unwrap();
    assert_eq!(fake.server.stop().await, Ending::Drained);
    drop((client, silent));
}

#[tokio::test]
async fn a_call_that_outlasts_the_grace_time_is_cut_off() {
    let mut fake = Fake::start("", |config| config.limits.shutdown_grace = Duration::from_millis(100)).await;
    let client = Client::of(&fake.server).await;
    fake.control.close_gate();
    let mut calls = Calls::new();
    start_within(&mut calls, &client, PATIENCE);
    fake.until_running(1).await;
    fake.server.start_stopping();
    assert!(calls.join_next().await.unwrap().unwrap().is_err());
    fake.control.open_gate();
    assert_eq!(fake.server.stop().await, Ending::CutOff(1));
}

/// Clients call without a pause while the server stops. Each call is answered, or was never taken: there was no connection
/// any more, or it was told to end before the call went out. The server's own count tells which were taken.
#[tokio::test]
async fn no_call_is_lost_under_load() {
    let fake = Fake::start("", |_config| {}).await;
    let client = Client::of(&fake.server).await;
    let (answered, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (client, answered, stopped) = (client.clone(), Arc::clone(&answered), Arc::clone(&stopped));
        callers.spawn(async move {
            let mut wrong = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                match client.call::<_, PredictResponse>(PREDICT, Request::new(row())).await {
                    Ok(_) => _ = answered.fetch_add(1, Ordering::AcqRel),
                    Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled) => break,
                    Err(status) => wrong.push(status),
                }
            }
            wrong
        });
    }
    until(async || answered.load(Ordering::Acquire) > 100).await;
    let service = Arc::clone(&fake.server.service);
    assert_eq!(fake.server.stop().await, Ending::Drained);
    stopped.store(true, Ordering::Release);
    let wrong: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let metrics = String::from_utf8(service.metrics().render(std::iter::empty()).unwrap()).unwrap();
    let counted: Vec<_> = metrics.lines().filter(|line| line.starts_with("grpc_requests_total{")).collect();
    let ok = r#"grpc_requests_total{code="OK",method="Predict",service="onnxd.v1.PredictionService"}"#;
    assert_eq!(counted, [format!("{ok} {}", answered.load(Ordering::Acquire))]);
}
