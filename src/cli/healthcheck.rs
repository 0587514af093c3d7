//! `onnxd healthcheck`: asks the server of this machine, so that an image needs no shell and no curl for its health check.

use std::{net::IpAddr, process::ExitCode};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    cli::page::print,
    config::HealthcheckSettings,
    error::{Error, Result},
};

/// The longest answer that is read; ours have a few lines.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Asks for readiness, or for liveness alone, and says what the server says.
///
/// # Errors
/// `Unavailable` where the server is not there, not in time, or not ready.
pub fn run(settings: &HealthcheckSettings) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::internal)?;
    let asked = runtime.block_on(async { timeout(settings.timeout, ask(settings)).await });
    let host = address_to_ask(&settings.host);
    let place = format!("{host}:{}{}", settings.port, path(settings));
    match asked {
        Ok(Ok((true, _))) => {
            print(if settings.live { "live\n" } else { "ready\n" });
            Ok(ExitCode::SUCCESS)
        }
        Ok(Ok((false, body))) => Err(Error::unavailable(format!("{place}: {}", reason(&body)))),
        Ok(Err(error)) => Err(Error::unavailable(format!("{place}: {error}"))),
        Err(_) => Err(Error::unavailable(format!("{place}: no answer within {:?}", settings.timeout))),
    }
}

fn path(settings: &HealthcheckSettings) -> &'static str {
    if settings.live { "/health/live" } else { "/health/ready" }
}

/// Returns whether the answer was a good one, and its body.
async fn ask(settings: &HealthcheckSettings) -> Result<(bool, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let host = address_to_ask(&settings.host);
    let stream = TcpStream::connect((host.as_str(), settings.port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path(settings)).header(header::HOST, "localhost").body(Empty::<Bytes>::new())?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        let is_good = response.status().is_success();
        Ok((is_good, Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await?.to_bytes()))
    };
    // The connection is driven here and not in a task of its own; it ends once its sender is gone, with the answer.
    let (answer, _connection) = tokio::join!(answer, connection);
    answer
}

/// Returns the address to connect to for a server that was told to listen on `host`.
fn address_to_ask(host: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => "::1".to_owned(),
        _ => host.to_owned(),
    }
}

/// Returns what an error's body says, or the body itself where it is not one of ours.
fn reason(body: &[u8]) -> String {
    let error = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = error.as_ref().and_then(|error| error["error"].as_str());
    message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_loopback() {
        for (host, expected) in [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7"), ("web", "web")] {
            assert_eq!(address_to_ask(host), expected);
        }
    }

    #[test]
    fn the_reason_is_the_servers_own() {
        assert_eq!(reason(br#"{"error":"loading","code":"unavailable"}"#), "loading");
        assert_eq!(reason(b"<html>"), "<html>");
    }
}
