//! A raw HTTP/1.1 connection, for tests that count what was written and what came back.

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;

use crate::harness::within_patience;

/// An open connection. Nothing waits longer than the harness' patience.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Tells whether the server closes the connection after this answer.
    pub fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close\r\n")
    }
}

/// Writes a `POST` as it goes over the wire.
pub fn post_bytes(path: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Writes a `GET` as it goes over the wire.
pub fn get_bytes(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").into_bytes()
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = within_patience(TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Writes all of `bytes`.
    pub async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            within_patience(self.stream.writable()).await?;
            match self.stream.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads one whole answer; `None` where the connection is closed instead of one.
    pub async fn answer(&mut self) -> io::Result<Option<Answer>> {
        loop {
            if let Some(answer) = self.take_answer() {
                return Ok(Some(answer));
            }
            if self.read_more().await? == 0 {
                return match self.received.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// Reads so many bytes and whatever comes with them; fewer where the connection is closed instead.
    pub async fn read_at_least(&mut self, length: usize) -> io::Result<&[u8]> {
        while self.received.len() < length && self.read_more().await? > 0 {}
        Ok(&self.received)
    }

    /// Reads until the server closes the connection, and returns all that it said.
    pub async fn until_closed(mut self) -> String {
        // A connection that is reset has ended too.
        while self.read_more().await.is_ok_and(|length| length > 0) {}
        String::from_utf8_lossy(&self.received).into_owned()
    }

    async fn read_more(&mut self) -> io::Result<usize> {
        loop {
            within_patience(self.stream.readable()).await?;
            let mut chunk = [0; 4096];
            match self.stream.try_read(&mut chunk) {
                Ok(length) => {
                    self.received.extend_from_slice(&chunk[..length]);
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes an answer off the front of what was received, if it is whole. Every answer here has a length.
    fn take_answer(&mut self) -> Option<Answer> {
        let head_length = self.received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.received[..head_length]).to_lowercase();
        let length: Option<usize> =
            head.split_once("\r\ncontent-length: ").and_then(|(_, rest)| rest.split_once("\r\n")?.0.parse().ok());
        let end = head_length + length.unwrap_or_else(|| panic!("an answer without a length: {head}"));
        if self.received.len() < end {
            return None;
        }
        let body = self.received.drain(..end).skip(head_length).collect();
        let status =
            head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer begins with its status");
        Some(Answer { status, head, body })
    }
}
