//! The ports that are listened on.

use std::{future::pending, io, net::SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use crate::error::{Error, Result};

/// The ports of a server.
#[derive(Debug)]
pub(super) struct Listeners {
    http: TcpListener,
    grpc: Option<TcpListener>,
}

/// The port that a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// That of HTTP, which takes gRPC too.
    Http,
    Grpc,
}

impl Listeners {
    /// Takes the ports.
    ///
    /// # Errors
    /// `InvalidArgument` where one cannot be listened on.
    pub(super) async fn bind(http: (&str, u16), grpc: Option<(&str, u16)>) -> Result<Self> {
        let http = listen(http, "--port").await?;
        let grpc = match grpc {
            Some(address) => Some(listen(address, "--grpc-port").await?),
            None => None,
        };
        Ok(Self { http, grpc })
    }

    /// Returns the addresses that were taken: of HTTP, and of gRPC if it has its own.
    ///
    /// # Errors
    /// `InvalidArgument` where the system cannot tell.
    pub(super) fn addresses(&self) -> Result<(SocketAddr, Option<SocketAddr>)> {
        let address = |listener: &TcpListener| {
            listener.local_addr().map_err(|error| Error::invalid(format!("cannot tell the address: {error}")))
        };
        Ok((address(&self.http)?, self.grpc.as_ref().map(address).transpose()?))
    }

    /// Accepts the next connection of any port.
    pub(super) async fn accept(&self) -> io::Result<(TcpStream, Port)> {
        let grpc = async {
            match &self.grpc {
                Some(listener) => listener.accept().await,
                None => pending().await,
            }
        };
        tokio::select! {
            accepted = self.http.accept() => accepted.map(|(stream, _peer)| (stream, Port::Http)),
            accepted = grpc => accepted.map(|(stream, _peer)| (stream, Port::Grpc)),
        }
    }
}

async fn listen((host, port): (&str, u16), flag: &str) -> Result<TcpListener> {
    let cannot = |error| Error::invalid(format!("cannot listen on {host}:{port} ({flag}): {error}"));
    TcpListener::bind((host, port)).await.map_err(cannot)
}
