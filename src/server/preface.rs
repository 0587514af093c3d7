//! Which HTTP a new connection speaks.

use std::{io, time::Duration};

use tokio::net::TcpStream;

/// What a client of HTTP/2 sends first when it knows that the server speaks it (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// No method of HTTP/1 begins like this.
const TELLING_BYTES: usize = 3;
/// How long to wait first for the rest of a beginning that is both; then twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// Tells whether a client speaks HTTP/2, by its first bytes, which stay unread. They are looked at once a connection, so
/// that requests of HTTP/1 pay nothing for it.
pub(super) async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut beginning = [0; TELLING_BYTES];
    let mut pause = FIRST_PAUSE;
    loop {
        let length = stream.peek(&mut beginning).await?;
        let seen = &beginning[..length];
        if !PREFACE.starts_with(seen) || length == 0 {
            return Ok(false);
        }
        if length == TELLING_BYTES {
            return Ok(true);
        }
        // The system tells of bytes that are there, not of more; hardly any client sends its first ones apart.
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}
