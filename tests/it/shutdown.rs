//! Stopping a server: what is in flight is answered, what is idle is closed, and there is always an end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use onnxd::server::Ending;
use onnxd::serving::catalog::ModelRef;
use reqwest::Method;
use tokio::task::{JoinSet, yield_now};

use crate::{
    connection::{Connection, get_bytes, post_bytes},
    fake_engine::FakeEngine,
    harness::{PATIENCE, TestServer, models, until, within_patience},
};

const ROW: &str = r#"{"a":1,"b":2}"#;

async fn fake_server() -> (TestServer, FakeEngine) {
    let engine = FakeEngine::new();
    (TestServer::start_on(Arc::new(engine.clone()), models("digits"), |_| {}).await, engine)
}

#[tokio::test]
async fn requests_in_flight_are_answered() {
    let (mut server, engine) = fake_server().await;
    let before = engine.0.started();
    engine.0.close_gate();
    let mut requests = JoinSet::new();
    for _ in 0..8 {
        requests.spawn(server.request(Method::POST, "/predict").body(ROW).send());
    }
    let metrics = server.service.resolve(ModelRef::DEFAULT).unwrap().metrics.clone();
    // How many of them are in the run and how many wait, their arrival decides.
    until(async || engine.0.started() == before + 1 && metrics.inflight.get() == 8).await;
    server.start_stopping();
    until(async || server.service.is_draining()).await;
    engine.0.open_gate();
    let statuses: Vec<_> = requests.join_all().await.into_iter().map(|response| response.unwrap().status()).collect();
    assert_eq!(statuses, [200; 8]);
    assert_eq!(server.stop().await, Ending::Drained);
}

#[tokio::test]
async fn request_that_outlasts_the_grace_time_is_counted() {
    let engine = FakeEngine::new();
    let server = TestServer::start_on(Arc::new(engine.clone()), models("digits"), |config| {
        config.limits.shutdown_grace = Duration::from_millis(100);
    })
    .await;
    let before = engine.0.started();
    engine.0.close_gate();
    let mut requests = JoinSet::new();
    requests.spawn(server.request(Method::POST, "/predict").body(ROW).send());
    until(async || engine.0.started() == before + 1).await;
    // Whoever drops the last one waits for the run, which waits for the gate.
    let _service = Arc::clone(&server.service);
    assert_eq!(server.stop().await, Ending::CutOff(1));
    engine.0.open_gate();
}

#[tokio::test]
async fn answers_while_draining_say_that_the_connection_closes() {
    let engine = Arc::new(FakeEngine::new());
    let mut server =
        TestServer::start_on(engine, models("digits"), |config| config.limits.drain_delay = PATIENCE).await;
    let mut connection = Connection::open(server.address).await.unwrap();
    server.start_stopping();
    until(async || server.service.is_draining()).await;
    connection.write(&post_bytes("/predict", ROW)).await.unwrap();
    let answer = connection.answer().await.unwrap().unwrap();
    assert!(answer.closes(), "{answer:?}");
}

#[tokio::test]
async fn answers_before_draining_keep_the_connection() {
    let (server, _engine) = fake_server().await;
    let mut connection = Connection::open(server.address).await.unwrap();
    connection.write(&post_bytes("/predict", ROW)).await.unwrap();
    let answer = connection.answer().await.unwrap().unwrap();
    assert!(!answer.closes(), "{answer:?}");
}

#[tokio::test]
async fn idle_connection_is_closed_in_the_end() {
    let (server, _engine) = fake_server().await;
    let mut connection = Connection::open(server.address).await.unwrap();
    connection.write(&get_bytes("/health/live")).await.unwrap();
    connection.answer().await.unwrap().unwrap();
    assert_eq!(server.stop().await, Ending::Drained);
    assert!(connection.answer().await.unwrap().is_none());
}

#[tokio::test]
async fn idle_connection_is_not_cut_off_when_the_grace_time_is_short() {
    let engine = Arc::new(FakeEngine::new());
    let server = TestServer::start_on(engine, models("digits"), |config| {
        config.limits.shutdown_grace = Duration::from_millis(400);
    })
    .await;
    let mut connection = Connection::open(server.address).await.unwrap();
    connection.write(&get_bytes("/health/live")).await.unwrap();
    connection.answer().await.unwrap().unwrap();
    assert_eq!(server.stop().await, Ending::Drained);
}

#[tokio::test]
async fn connection_that_never_sent_anything_is_closed_in_the_end() {
    let (server, _engine) = fake_server().await;
    let mut connection = Connection::open(server.address).await.unwrap();
    assert_eq!(server.stop().await, Ending::Drained);
    assert!(connection.answer().await.unwrap().is_none());
}

#[tokio::test]
async fn requests_that_wait_for_room_are_answered_when_a_busy_connection_ends() {
    let engine = Arc::new(FakeEngine::new());
    let server = TestServer::start_on(engine, models("digits"), |config| {
        config.limits.max_connections = 1;
        config.limits.request_timeout = Duration::from_millis(300);
    })
    .await;
    let metrics = server.service.resolve(ModelRef::DEFAULT).unwrap().metrics.clone();
    // Half a request keeps its connection until the request's time is up, which is after the drain begins.
    let mut busy = Connection::open(server.address).await.unwrap();
    let request = post_bytes("/predict", ROW);
    busy.write(&request[..request.len() - 5]).await.unwrap();
    until(async || metrics.inflight.get() == 1).await;
    let mut waiting = Connection::open(server.address).await.unwrap();
    waiting.write(&request).await.unwrap();
    assert_eq!(server.stop().await, Ending::Drained);
    assert_eq!(busy.answer().await.unwrap().unwrap().status, 408);
    assert_eq!(waiting.answer().await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn requests_that_wait_for_room_are_answered_when_idle_connections_hold_it() {
    let engine = Arc::new(FakeEngine::new());
    let server = TestServer::start_on(engine, models("digits"), |config| config.limits.max_connections = 1).await;
    let mut idle = Connection::open(server.address).await.unwrap();
    idle.write(&get_bytes("/health/live")).await.unwrap();
    idle.answer().await.unwrap().unwrap();
    let mut waiting = Connection::open(server.address).await.unwrap();
    waiting.write(&post_bytes("/predict", ROW)).await.unwrap();
    assert_eq!(server.stop().await, Ending::Drained);
    assert_eq!(waiting.answer().await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn loading_that_goes_on_does_not_keep_it_from_stopping() {
    let engine = FakeEngine::new();
    engine.0.close_load();
    let server = TestServer::start_loading(Arc::new(engine.clone()), models("digits"), |config| {
        config.limits.shutdown_grace = Duration::from_millis(100);
    })
    .await;
    assert_eq!(server.stop().await, Ending::Drained);
    engine.0.open_load();
}

#[tokio::test]
async fn nothing_new_is_accepted_once_it_has_stopped() {
    let (server, _engine) = fake_server().await;
    let address = server.address;
    server.stop().await;
    assert!(Connection::open(address).await.is_err());
}

// On one thread the server would see a pause whenever the clients' turn is long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_of_new_connections_does_not_keep_it_from_stopping() {
    let engine = Arc::new(FakeEngine::new());
    let server =
        TestServer::start_on(engine, models("digits"), |config| config.limits.max_connections = 1_000_000).await;
    let (address, connections) = (server.address, Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let connections = Arc::clone(&connections);
        clients.spawn(async move {
            while let Ok(mut connection) = Connection::open(address).await {
                connections.fetch_add(1, Ordering::Relaxed);
                if connection.write(&get_bytes("/health/live")).await.is_ok() {
                    let _answer_or_closed = connection.answer().await;
                }
                yield_now().await;
            }
        });
    }
    until(async || connections.load(Ordering::Relaxed) > 100).await;
    assert_eq!(server.stop().await, Ending::Drained);
    within_patience(clients.join_all()).await;
}
