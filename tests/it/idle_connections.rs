//! Idle connections keep nobody out: the longest idle ones are closed for those that come.

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::{
    connection::{Connection, get_bytes},
    fake_server::Fake,
    harness::{TestServer, models},
};

const MAX_CONNECTIONS: usize = 16;

async fn asks(connection: &mut Connection) -> u16 {
    connection.write(&get_bytes("/health/live")).await.unwrap();
    connection.answer().await.unwrap().unwrap().status
}

async fn server() -> TestServer {
    TestServer::start_with(models("iris"), |config| config.limits.max_connections = MAX_CONNECTIONS).await
}

#[tokio::test]
async fn longest_idle_connection_is_closed_for_a_new_one() {
    let server = server().await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        idle.push(server.connect().await);
    }
    // The first is the most recent now.
    assert_eq!(asks(&mut idle[0]).await, 200);
    let mut others = Vec::new();
    for _ in 0..MAX_CONNECTIONS / 2 {
        others.push(server.connect().await);
        assert_eq!(asks(others.last_mut().unwrap()).await, 200);
    }
    assert_eq!(asks(&mut idle[0]).await, 200);
    assert!(idle.remove(1).answer().await.unwrap().is_none(), "it is closed");
}

#[tokio::test]
async fn connections_that_never_sent_anything_do_not_keep_a_probe_out() {
    let server = server().await;
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS * 4 {
        silent.push(server.connect().await);
    }
    assert_eq!(server.get("/health/ready").await.status(), 200);
}

#[tokio::test]
async fn idle_connections_of_http2_are_closed_too() {
    let server = server().await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS * 2 {
        let stream = TcpStream::connect(server.address).await.unwrap();
        // A connection that is not driven answers nothing, not even that it may close.
        let handshake = http2::handshake::<_, _, axum::body::Body>(TokioExecutor::new(), TokioIo::new(stream));
        idle.push(handshake.await.unwrap());
    }
    assert_eq!(server.get("/health/ready").await.status(), 200);
}

#[tokio::test]
async fn busy_connection_is_not_closed_for_a_new_one() {
    let fake = Fake::start("", |config| config.limits.max_connections = MAX_CONNECTIONS).await;
    fake.control.close_gate();
    let mut busy = fake.post_on_connection().await;
    fake.until_running(1).await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS * 2 {
        idle.push(fake.server.connect().await);
    }
    assert_eq!(asks(&mut fake.server.connect().await).await, 200);
    fake.control.open_gate();
    assert_eq!(busy.answer().await.unwrap().unwrap().status, 200);
}
