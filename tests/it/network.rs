//! The program opens no connection of its own: ONNX Runtime's official builds would report over the network.

#![cfg(target_os = "linux")]

use std::{
    fs,
    net::{TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{self, Command},
};

use crate::{
    harness::models,
    process::{ServingProcess, onnxd_serve},
};

const REQUESTS: usize = 2_000;
/// The sockets are looked at after so many requests.
const REQUESTS_PER_LOOK: usize = 25;

/// Lists a process's internet sockets, but for what listens on `port` and what came in there.
fn foreign_sockets(process_id: u32, port: u16) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{process_id}/fd")).expect("the process is ours and runs");
    let targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
    let own: Vec<_> = targets.filter_map(|target| Some(inode(target.to_str()?)?.to_owned())).collect();
    let mut foreign = Vec::new();
    for (protocol, serves_port) in
        [("tcp", true), ("tcp6", true), ("udp", false), ("udp6", false), ("raw", false), ("raw6", false)]
    {
        let table = fs::read_to_string(format!("/proc/{process_id}/net/{protocol}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            // sl, local address, remote address, state, queues, timer, retransmissions, user, timeout, inode
            let fields: Vec<_> = line.split_whitespace().collect();
            let local_port = fields[1].rsplit_once(':').map(|(_, port)| u16::from_str_radix(port, 16));
            let is_served = serves_port && local_port == Some(Ok(port));
            if own.iter().any(|inode| inode == fields[9]) && !is_served {
                foreign.push(format!("{protocol} {} to {}", fields[1], fields[2]));
            }
        }
    }
    foreign
}

fn inode(descriptor: &str) -> Option<&str> {
    descriptor.strip_prefix("socket:[")?.strip_suffix(']')
}

/// Lists the lines of a trace where a process connects, makes an internet socket, or sends to an address of its choice.
fn suspicious_calls(trace: &str) -> Vec<&str> {
    let is_suspicious = |line: &&str| {
        let makes = line.contains("socket(AF_INET") || line.contains("connect(");
        let sends = line.contains("send") && line.contains("sa_family");
        makes || sends
    };
    trace.lines().filter(is_suspicious).collect()
}

async fn send_requests(serving: &ServingProcess, mut after_some: impl FnMut()) {
    for request in 0..REQUESTS {
        let response = serving.post("/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap();
        if request % REQUESTS_PER_LOOK == 0 {
            after_some();
        }
    }
}

#[tokio::test]
async fn process_has_no_socket_but_the_listener_and_what_came_in() {
    let serving = ServingProcess::start(&models("iris"), &["--access-log", "off", "--grpc-port", "off"]).await;
    let mut foreign = Vec::new();
    send_requests(&serving, || foreign.extend(foreign_sockets(serving.process.id(), serving.address.port()))).await;
    assert!(foreign.is_empty(), "{foreign:#?}");
}

#[tokio::test]
async fn process_never_asks_the_system_for_a_connection() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("there is no strace: only the sockets are looked at, by the other test");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let serving = ServingProcess::start_command(traced(
        &trace,
        &onnxd_serve(&models("iris"), &["--access-log", "off", "--grpc-port", "off"]),
    ))
    .await;
    send_requests(&serving, || {}).await;
    let ended = serving.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let trace = fs::read_to_string(trace).unwrap();
    let calls = suspicious_calls(&trace);
    // The listener's socket is the only one: others come in by accept.
    assert!(calls.len() == 1 && calls[0].contains("socket(AF_INET, SOCK_STREAM"), "{calls:#?}");
}

/// Returns the command with `strace` as its child, so that the process keeps its own id.
fn traced(trace: &Path, command: &Command) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "-qq", "-e", "trace=socket,connect,sendto,sendmsg,sendmmsg", "-o"]).arg(trace);
    traced.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced
}

#[test]
fn udp_socket_would_be_found() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = format!(":{:04X} ", socket.local_addr().unwrap().port());
    let foreign = foreign_sockets(process::id(), 1);
    assert!(foreign.iter().any(|socket| socket.starts_with("udp ") && socket.contains(&port)), "{foreign:#?}");
}

#[test]
fn outgoing_connection_would_be_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outgoing = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let port = format!(":{:04X} ", outgoing.local_addr().unwrap().port());
    let foreign = foreign_sockets(process::id(), listener.local_addr().unwrap().port());
    assert!(foreign.iter().any(|socket| socket.starts_with("tcp ") && socket.contains(&port)), "{foreign:#?}");
}

#[test]
fn traced_connection_would_be_found() {
    let trace = "12 socket(AF_INET6, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 9\n\
                 12 connect(9, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr(\"10.0.0.1\")}, 16) = 0\n\
                 12 sendto(9, \"x\", 1, 0, {sa_family=AF_INET, sin_port=htons(53)}, 16) = 1\n\
                 12 sendto(7, \"HTTP/1.1 200 OK\", 15, MSG_NOSIGNAL, NULL, 0) = 15\n";
    assert_eq!(suspicious_calls(trace).len(), 3);
}
