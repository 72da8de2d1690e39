//! Accepting connections and serving HTTP/1.1 on them, within limits (S34, S35).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, HeaderValue};
use axum::response::Response;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::{Request, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tower_service::Service as _;

use super::answer;
use super::head::{LARGEST_HEAD, MOST_FIELDS};
use super::places::{Place, Places};
use super::stream::{Announced, Begun, ClientStream, Exchange};

/// Time for a client to send its request's head, also after an earlier request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// What hyper holds of a request: it is given heads that are within their limit already.
const BUFFER_LIMIT: usize = LARGEST_HEAD + 16 * 1024;

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

/// Serves `router` on every connection that finds a place, until `stopping` says so.
pub(super) async fn accept<L: Listener>(
    listener: L,
    places: Places,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(places);
    let connections = GracefulShutdown::new();
    loop {
        let next = async {
            let (stream, peer) = listener.next().await?;
            io::Result::Ok((stream, peer, places.take(peer).await))
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
        let Some((place, told)) = place else {
            tracing::debug!(%peer, "a connection was closed: its address has its share of all places");
            continue;
        };
        let connection = connections.watch(http(stream, peer, place, router.clone()));
        tokio::spawn(async move {
            tokio::select! {
                // Broken connections are the client's business.
                _ = connection => {}
                Ok(()) = told => tracing::debug!(%peer, "a connection without a request gave way to another"),
            }
        });
    }
    drop(listener);
    places.send_away_who_wait();
    if tokio::time::timeout(STOP_TIMEOUT, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not finish before the stop");
    }
}

type Connection<S> = http1::Connection<TokioIo<ClientStream<S>>, RouterService>;

fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: Peer,
    place: Place,
    router: Router,
) -> Connection<S> {
    let exchange = Arc::new(Exchange::new(place));
    let stream = ClientStream::new(stream, Arc::clone(&exchange));
    let service = RouterService {
        peer,
        exchange,
        router,
    };
    http1::Builder::new()
        .timer(TokioTimer::new())
        // A client that goes away takes its request with it, also one that waits: its handler is dropped.
        .half_close(false)
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_LIMIT)
        .max_headers(MOST_FIELDS)
        .serve_connection(TokioIo::new(stream), service)
}

/// Hands each request to the router, with who sent it.
struct RouterService {
    peer: Peer,
    exchange: Arc<Exchange>,
    router: Router,
}

impl hyper::service::Service<Request<Incoming>> for RouterService {
    type Response = Response<AnswerBody>;
    type Error = TooLate;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, TooLate>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let announced = match request.body().size_hint().exact() {
            Some(bytes) => Announced::Bytes(bytes),
            None => Announced::Chunks,
        };
        let begun = self.exchange.begin(announced);
        let under_way = UnderWay(Arc::clone(&self.exchange));
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer);
        let mut router = self.router.clone();
        Box::pin(async move {
            let mut response = match begun {
                Begun::Request => match router.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                },
                Begun::Refused(fault) => answer::fault(fault),
                Begun::TooLate => return Err(TooLate),
            };
            if announced == Announced::Chunks {
                // Where such a body ends is hyper's reading alone, so nothing is read after it.
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok(response.map(|body| AnswerBody {
                body,
                _under_way: under_way,
            }))
        })
    }
}

/// A request came on a connection that had given way already; it gets no answer, and nothing was done for it.
#[derive(Debug, thiserror::Error)]
#[error("the connection has given way to another")]
struct TooLate;

/// A request whose answer is not written yet.
struct UnderWay(Arc<Exchange>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// The body of an answer, with which its request ends.
struct AnswerBody {
    body: Body,
    _under_way: UnderWay,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
