//! Too much, too late, or for nobody: who is refused, who is not run, and whose run is ended.

use std::time::{Duration, Instant};

use crate::{
    fake_server::Fake,
    harness::{PATIENCE, error_text, until},
};

const ALONE: &str = "batching.max_batch_size = 1";

async fn fake(manifest: &str) -> Fake {
    Fake::start(manifest, |config| config.limits.request_timeout = PATIENCE * 2).await
}

#[tokio::test]
async fn run_that_its_only_client_leaves_is_terminated() {
    let fake = fake("").await;
    fake.control.close_gate();
    let leaver = fake.post_on_connection().await;
    fake.until_running(1).await;
    assert_eq!(fake.control.terminated(), 0);
    drop(leaver);
    until(async || fake.control.terminated() == 1).await;
    // The session goes on with the next, which the end of the run before does not hit.
    let (answer, ()) = tokio::join!(fake.post(), async {
        fake.until_running(2).await;
        fake.control.open_gate();
    });
    assert_eq!(answer.status(), 200);
    assert_eq!((fake.rows(), fake.control.terminated()), (vec![1, 1], 1));
}

/// Brings about a run of two requests that goes on until the gate is opened.
async fn pair_that_runs(fake: &Fake) -> [crate::connection::Connection; 2] {
    fake.control.close_gate();
    let mut before = fake.post_on_connection().await;
    fake.until_running(1).await;
    let first = fake.post_on_connection().await;
    fake.until_queued(1).await;
    let second = fake.post_on_connection().await;
    fake.until_queued(2).await;
    fake.control.let_one_through();
    assert_eq!(before.answer().await.unwrap().unwrap().status, 200);
    fake.until_running(2).await;
    assert_eq!(fake.rows(), [1, 2]);
    [first, second]
}

#[tokio::test]
async fn run_is_not_terminated_while_one_of_two_waits() {
    let fake = fake("").await;
    let [leaver, mut other] = pair_that_runs(&fake).await;
    drop(leaver);
    fake.until_in_flight(1).await;
    assert_eq!(fake.control.terminated(), 0);
    fake.control.open_gate();
    assert_eq!(other.answer().await.unwrap().unwrap().status, 200);
    assert_eq!(fake.control.terminated(), 0);
}

#[tokio::test]
async fn run_that_both_clients_leave_is_terminated_and_not_run_again() {
    let fake = fake("").await;
    let [first, second] = pair_that_runs(&fake).await;
    drop(first);
    fake.until_in_flight(1).await;
    drop(second);
    until(async || fake.control.terminated() == 1).await;
    fake.control.open_gate();
    assert_eq!(fake.post().await.status(), 200);
    // A batch that failed is run again one by one, but not for those who left.
    assert_eq!(fake.rows(), [1, 2, 1]);
    assert_eq!(fake.gauge("prediction_cancelled_total").await, 2.0);
}

#[tokio::test]
async fn run_whose_only_request_is_late_is_a_504_and_terminated() {
    let fake = fake("").await;
    fake.control.close_gate();
    error_text(fake.post_within(20).await, 504).await;
    until(async || fake.control.terminated() == 1).await;
    let (answer, ()) = tokio::join!(fake.post(), async {
        fake.until_running(2).await;
        fake.control.open_gate();
    });
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn request_that_is_late_in_the_queue_is_a_504_and_not_run() {
    let fake = fake(ALONE).await;
    fake.control.close_gate();
    let late = async {
        fake.until_running(1).await;
        error_text(fake.post_within(20).await, 504).await;
        fake.control.open_gate();
    };
    let (running, ()) = tokio::join!(fake.post(), late);
    assert_eq!(running.status(), 200);
    assert_eq!(fake.post().await.status(), 200);
    assert_eq!((fake.rows(), fake.control.terminated()), (vec![1, 1], 0));
}

#[tokio::test]
async fn request_whose_client_left_the_queue_is_taken_out_of_its_batch() {
    let fake = fake("").await;
    fake.control.close_gate();
    let mut running = fake.post_on_connection().await;
    fake.until_running(1).await;
    let leaver = fake.post_on_connection().await;
    fake.until_queued(1).await;
    let mut other = fake.post_on_connection().await;
    fake.until_queued(2).await;
    drop(leaver);
    fake.until_in_flight(2).await;
    fake.control.open_gate();
    for connection in [&mut running, &mut other] {
        assert_eq!(connection.answer().await.unwrap().unwrap().status, 200);
    }
    assert_eq!(fake.rows(), [1, 1]);
    assert_eq!(fake.gauge("prediction_cancelled_total").await, 1.0);
}

#[tokio::test]
async fn full_queue_is_429_at_once_with_retry_after() {
    let fake = fake("batching.max_queue_size = 2").await;
    fake.control.close_gate();
    let mut connections = Vec::new();
    for waiting in 0..3 {
        connections.push(fake.post_on_connection().await);
        fake.until_running(1).await;
        fake.until_queued(waiting).await;
    }
    // The gate is closed all the while, so that nothing but the refusal can be the answer.
    for _ in 0..3 {
        let refused = fake.post().await;
        assert!(refused.headers().contains_key("retry-after"));
        let error = error_text(refused, 429).await;
        assert!(error.contains("queue is full"), "{error}");
    }
    fake.control.open_gate();
    for connection in &mut connections {
        assert_eq!(connection.answer().await.unwrap().unwrap().status, 200);
    }
    assert_eq!(fake.rows(), [1, 2]);
}

#[tokio::test]
async fn overload_refuses_those_that_have_waited_longest_and_those_that_come_next() {
    let fake = fake(&format!("{ALONE}\nbatching.max_queue_wait_milliseconds = 1")).await;
    // A run that takes longer than that.
    fake.control.close_gate();
    let mut slow = fake.post_on_connection().await;
    fake.until_running(1).await;
    let started = Instant::now();
    until(async || started.elapsed() > Duration::from_millis(5)).await;
    fake.control.open_gate();
    assert_eq!(slow.answer().await.unwrap().unwrap().status, 200);
    fake.control.close_gate();
    let mut running = fake.post_on_connection().await;
    fake.until_running(2).await;
    let mut waiting = Vec::new();
    for _ in 0..128 {
        waiting.push(fake.post_on_connection().await);
    }
    fake.until_queued(128).await;
    // The gate is closed all the while, so that nothing but a refusal can be an answer.
    let mut newest = fake.post_on_connection().await;
    for connection in &mut waiting {
        assert_eq!(connection.answer().await.unwrap().unwrap().status, 429);
    }
    fake.until_queued(1).await;
    let refused = fake.post().await;
    assert!(refused.headers().contains_key("retry-after"));
    let error = error_text(refused, 429).await;
    assert!(error.contains("the model is overloaded") && error.contains("max_queue_wait_milliseconds"), "{error}");
    fake.control.open_gate();
    for connection in [&mut running, &mut newest] {
        assert_eq!(connection.answer().await.unwrap().unwrap().status, 200);
    }
}

#[tokio::test]
async fn clients_that_left_a_full_queue_make_room() {
    let fake = fake("batching.max_queue_size = 1").await;
    fake.control.close_gate();
    let mut running = fake.post_on_connection().await;
    fake.until_running(1).await;
    let leaver = fake.post_on_connection().await;
    fake.until_queued(1).await;
    drop(leaver);
    fake.until_in_flight(1).await;
    let mut next = fake.post_on_connection().await;
    fake.until_in_flight(2).await;
    assert_eq!(fake.gauge("prediction_cancelled_total").await, 1.0);
    fake.control.open_gate();
    for connection in [&mut running, &mut next] {
        assert_eq!(connection.answer().await.unwrap().unwrap().status, 200);
    }
    assert_eq!(fake.rows(), [1, 1]);
}

#[tokio::test]
async fn more_in_flight_than_allowed_is_429_and_health_is_not() {
    let fake = Fake::start("", |config| {
        config.limits.max_in_flight = 2;
        config.limits.request_timeout = PATIENCE * 2;
    })
    .await;
    fake.control.close_gate();
    let mut running = fake.post_on_connection().await;
    fake.until_running(1).await;
    let mut waiting = fake.post_on_connection().await;
    fake.until_queued(1).await;
    let refused = fake.post().await;
    assert!(refused.headers().contains_key("retry-after"));
    let error = error_text(refused, 429).await;
    assert!(error.contains("--max-in-flight"), "{error}");
    assert_eq!(fake.server.get("/health/ready").await.status(), 200);
    fake.control.open_gate();
    for connection in [&mut running, &mut waiting] {
        assert_eq!(connection.answer().await.unwrap().unwrap().status, 200);
    }
    assert_eq!(fake.post().await.status(), 200, "the places are free again");
}

#[tokio::test]
async fn place_in_flight_is_free_again_when_the_client_leaves() {
    let fake = Fake::start("", |config| config.limits.max_in_flight = 1).await;
    fake.control.close_gate();
    let leaver = fake.post_on_connection().await;
    fake.until_running(1).await;
    error_text(fake.post().await, 429).await;
    drop(leaver);
    fake.until_in_flight(0).await;
    fake.control.open_gate();
    assert_eq!(fake.post().await.status(), 200);
}

#[tokio::test]
async fn probes_are_answered_while_every_session_is_busy() {
    let fake = Fake::start("", |config| config.limits.request_timeout = Duration::from_secs(60)).await;
    fake.control.close_gate();
    let mut running = fake.post_on_connection().await;
    fake.until_running(1).await;
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(fake.server.get(path).await.status(), 200, "{path}");
    }
    fake.control.open_gate();
    assert_eq!(running.answer().await.unwrap().unwrap().status, 200);
}
