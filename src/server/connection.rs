//! Accepting connections and serving HTTP/1.1 on them, within limits (S34, S35).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

/// Time for a client to send its request's head, also after an earlier request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of a request's head.
const HEAD_LIMIT: usize = 64 * 1024;

/// Header fields of a request.
const HEADERS_LIMIT: usize = 100;

/// Time that requests under way get when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after an accept that failed, so that a full file table does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    Tcp(SocketAddr),
    /// `None` when the operating system did not tell.
    Unix {
        uid: Option<u32>,
        gid: Option<u32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { uid: Some(uid), .. } => write!(f, "uid:{uid}"),
            Self::Unix { uid: None, .. } => f.write_str("uid:unknown"),
        }
    }
}

/// What connections come from.
pub(super) trait Listener: Send {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = self.accept().await?;
        // It fails only for a client that has gone already.
        let _ = stream.set_nodelay(true);
        Ok((stream, Peer::Tcp(address)))
    }
}

impl Listener for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, _) = self.accept().await?;
        let credentials = stream.peer_cred().ok();
        let peer = Peer::Unix {
            uid: credentials.map(|credentials| credentials.uid()),
            gid: credentials.map(|credentials| credentials.gid()),
        };
        Ok((stream, peer))
    }
}

/// Serves `router` on every connection, so many at once, until `stopping` says so.
pub(super) async fn accept<L: Listener>(
    listener: L,
    limit: usize,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limit));
    let connections = GracefulShutdown::new();
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            listener
                .next()
                .await
                .map(|(stream, peer)| (stream, peer, place))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = connections.watch(http(stream, peer, router.clone()));
        tokio::spawn(async move {
            // Broken connections are the client's business.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_TIMEOUT, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not finish before the stop");
    }
}

type Connection<S> = http1::Connection<TokioIo<S>, RouterService>;

fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: Peer,
    router: Router,
) -> Connection<S> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        // A client that goes away takes its request with it, also one that waits: its handler is dropped.
        .half_close(false)
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        .max_headers(HEADERS_LIMIT)
        .serve_connection(TokioIo::new(stream), RouterService { peer, router })
}

/// Hands each request to the router, with who sent it.
struct RouterService {
    peer: Peer,
    router: Router,
}

impl hyper::service::Service<Request<Incoming>> for RouterService {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = axum::routing::future::RouteFuture<Self::Error>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer);
        self.router.clone().call(request)
    }
}
