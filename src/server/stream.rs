//! What stands between a client's bytes and hyper: heads are read strictly, one at a time (S36); clients that do not read
//! their answers are left (S35); and whoever still sends when it is refused gets its answer before the end.
//!
//! hyper is given a head only when it is whole and has one reading, and after it just the body that hyper itself has found
//! the head to announce. In place of a head that is refused it is given one of our own, so that the refusal is an answer
//! like any other, in its turn.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::head::Head;
use super::places::Place;
use crate::wire::Fault;

/// Time for a client to take what is written to it, besides the time for [`PACE`].
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of an answer that a client has to take per second, once it has fallen behind.
const PACE: u64 = 64 * 1024;

/// Time for a client that still sends its body to see that it was refused: what it sends meanwhile is thrown away. Closing
/// at once would reset the connection, and take the answer with it.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes that are thrown away for that.
const LINGER_LIMIT: usize = 32 * 1024 * 1024;

/// Bytes that are read at once while a head is collected.
const PIECE: usize = 8 * 1024;

/// Bytes by which the room for a head grows.
const GROWTH: usize = 1024;

/// Stands for a head that was refused.
const IN_ITS_PLACE: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// What the two sides of a connection, its bytes and its requests, tell each other.
pub(super) struct Exchange {
    place: Place,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the request that hyper has read last has for a body; taken by the stream.
    body: Option<Announced>,
    refused: Option<Fault>,
    is_answered: bool,
}

/// The body of a request, as hyper understood its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// So many bytes.
    Bytes(u64),
    /// As many as there are: the connection ends with it.
    Chunks,
}

/// What becomes of a request.
pub(super) enum Begun {
    /// It goes its way.
    Request,
    /// It is none: its head was refused.
    Refused(Fault),
    /// Its connection has given way to another before it came.
    TooLate,
}

impl Exchange {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            state: Mutex::default(),
        }
    }

    /// A request has come.
    pub(super) fn begin(&self, body: Announced) -> Begun {
        if !self.place.begin() {
            return Begun::TooLate;
        }
        let mut state = self.lock();
        state.is_answered = false;
        state.body = Some(body);
        state.refused.map_or(Begun::Request, Begun::Refused)
    }

    /// The answer is written as far as hyper is concerned.
    pub(super) fn answered(&self) {
        self.lock().is_answered = true;
    }

    /// What was written has gone.
    fn flushed(&self) {
        if std::mem::take(&mut self.lock().is_answered) {
            self.place.wait();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's connection.
pub(super) struct ClientStream<S> {
    inner: S,
    exchange: Arc<Exchange>,
    reading: Reading,
    head: Head,
    /// What has come and was not handed on.
    held: Vec<u8>,
    stall: Option<Stall>,
    linger: Option<Linger>,
}

enum Reading {
    /// The next head is collected.
    Head,
    /// It is whole: so many bytes of what is held.
    HandingOn(usize),
    /// hyper has it, and is about to say what it announces.
    HandedOn,
    /// So many bytes of a body are still to come.
    Body(u64),
    /// Whatever comes belongs to the last body.
    Rest,
    /// Nothing that comes is read any more.
    Refused,
}

/// A client that has fallen behind with reading.
struct Stall {
    since: Instant,
    written: u64,
    timer: Pin<Box<Sleep>>,
}

struct Linger {
    timer: Pin<Box<Sleep>>,
    left: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientStream<S> {
    pub(super) fn new(inner: S, exchange: Arc<Exchange>) -> Self {
        Self {
            inner,
            exchange,
            reading: Reading::Head,
            head: Head::default(),
            held: Vec::new(),
            stall: None,
            linger: None,
        }
    }

    /// Collects a head until it is whole or refused; `false` if the connection ends before.
    fn collect(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            match self.head.read(&self.held) {
                Ok(Some(end)) => {
                    self.head = Head::default();
                    self.reading = Reading::HandingOn(end);
                    return Poll::Ready(Ok(true));
                }
                Ok(None) => {}
                Err(fault) => {
                    self.exchange.lock().refused = Some(fault);
                    self.held = IN_ITS_PLACE.to_vec();
                    self.reading = Reading::HandingOn(IN_ITS_PLACE.len());
                    return Poll::Ready(Ok(true));
                }
            }
            let mut space = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            if self.held.capacity() - self.held.len() < piece.filled().len() {
                // Not doubled, which a crowd with large heads would have for nothing.
                self.held.reserve_exact(piece.filled().len().max(GROWTH));
            }
            self.held.extend_from_slice(piece.filled());
        }
    }

    /// Hands on what is held, at most so many bytes; answers how many.
    fn hand_on(&mut self, most: usize, to: &mut ReadBuf<'_>) -> usize {
        let count = most.min(self.held.len()).min(to.remaining());
        to.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.drain(..count);
        if self.held.is_empty() {
            // A connection that idles holds nothing.
            self.held = Vec::new();
        }
        count
    }

    /// Learns what follows the head that hyper has.
    fn go_on_after_head(&mut self) -> io::Result<()> {
        let mut state = self.exchange.lock();
        let announced = state.body.take();
        let is_refused = state.refused.is_some();
        drop(state);
        self.reading = match announced {
            Some(_) if is_refused => Reading::Refused,
            Some(Announced::Bytes(0)) => Reading::Head,
            Some(Announced::Bytes(count)) => Reading::Body(count),
            Some(Announced::Chunks) => Reading::Rest,
            None => {
                let text = "a head was read in two ways";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        };
        Ok(())
    }

    /// Looks at what came of a write: whoever does not read for too long is left.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        count: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        match &written {
            Poll::Ready(Ok(written)) => {
                if let Some(stall) = &mut self.stall {
                    stall.written += count(written) as u64;
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let stall = self.stall.get_or_insert_with(Stall::begin);
                ready!(stall.poll_end(cx));
                let text = "the client does not read its answer";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
            }
        }
        written
    }

    /// Whether the client may still be sending what nobody reads.
    fn is_sending(&mut self) -> bool {
        if matches!(self.reading, Reading::HandedOn) {
            // Whatever comes of it, the connection is at its end.
            let _ = self.go_on_after_head();
        }
        matches!(
            self.reading,
            Reading::Body(_) | Reading::Rest | Reading::Refused
        )
    }
}

impl Stall {
    fn begin() -> Self {
        Self {
            since: Instant::now(),
            written: 0,
            timer: Box::pin(sleep(WRITE_TIMEOUT)),
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let earned = Duration::from_secs(self.written / PACE);
            let end = self.since + WRITE_TIMEOUT + earned;
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            self.timer = Box::pin(sleep_until(end));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match this.reading {
                Reading::Head => {
                    if !ready!(this.collect(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Reading::HandingOn(left) => {
                    let left = left - this.hand_on(left, buffer);
                    this.reading = match left {
                        0 => Reading::HandedOn,
                        left => Reading::HandingOn(left),
                    };
                    return Poll::Ready(Ok(()));
                }
                Reading::HandedOn => this.go_on_after_head()?,
                Reading::Body(left) => {
                    let most = usize::try_from(left).unwrap_or(usize::MAX);
                    let mut count = this.hand_on(most, buffer);
                    if count == 0 {
                        let most = most.min(buffer.remaining());
                        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
                        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
                        count = part.filled().len();
                        buffer.advance(count);
                    }
                    this.reading = match left - count as u64 {
                        0 => Reading::Head,
                        left => Reading::Body(left),
                    };
                    return Poll::Ready(Ok(()));
                }
                Reading::Rest => {
                    if this.hand_on(usize::MAX, buffer) > 0 {
                        return Poll::Ready(Ok(()));
                    }
                    return Pin::new(&mut this.inner).poll_read(cx, buffer);
                }
                // The refusal is on its way, and the end of the connection after it: both are writing.
                Reading::Refused => return Poll::Pending,
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.watch(cx, written, |count| *count)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, pieces);
        this.watch(cx, written, |count| *count)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper flushes only when it has handed over all that it had.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        let flushed = this.watch(cx, flushed, |()| 0);
        if let Poll::Ready(Ok(())) = flushed {
            this.stall = None;
            this.exchange.flushed();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            let shut_down = Pin::new(&mut this.inner).poll_shutdown(cx);
            ready!(this.watch(cx, shut_down, |()| 0))?;
            if !this.is_sending() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(|| Linger {
            timer: Box::pin(sleep(LINGER)),
            left: LINGER_LIMIT,
        });
        while linger.left > 0 && linger.timer.as_mut().poll(cx).is_pending() {
            let mut space = [MaybeUninit::uninit(); PIECE];
            let mut thrown_away = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut this.inner).poll_read(cx, &mut thrown_away)) {
                Ok(()) if !thrown_away.filled().is_empty() => {
                    linger.left = linger.left.saturating_sub(thrown_away.filled().len());
                }
                // The client has gone, which is what was waited for.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::super::connection::Peer;
    use super::super::places::Places;
    use super::*;

    /// A connection whose other end holds so many bytes that nobody has read.
    async fn connected(room: usize) -> (ClientStream<DuplexStream>, DuplexStream) {
        let places = Arc::new(Places::for_programs(1));
        let (place, _) = places
            .take(Peer::Unix {
                uid: None,
                gid: None,
            })
            .await
            .unwrap();
        let (ours, theirs) = duplex(room);
        let exchange = Arc::new(Exchange::new(place));
        (ClientStream::new(ours, exchange), theirs)
    }

    /// Reads a head as hyper would, and says what it announces.
    async fn read_head(stream: &mut ClientStream<DuplexStream>, body: Announced) {
        let mut head = [0; 512];
        let count = stream.read(&mut head).await.unwrap();
        assert!(head[..count].ends_with(b"\r\n\r\n"));
        let _ = stream.exchange.begin(body);
    }

    #[tokio::test(start_paused = true)]
    async fn s35_who_does_not_read_is_left() {
        let (mut stream, client) = connected(1_000).await;
        let begun = Instant::now();
        let error = stream.write_all(&[0; 2_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let lasted = begun.elapsed();
        assert!(
            lasted >= WRITE_TIMEOUT && lasted < WRITE_TIMEOUT * 2,
            "{lasted:?}"
        );
        drop(client);
    }

    /// Not by reading a little again and again.
    #[tokio::test(start_paused = true)]
    async fn s35_who_reads_too_slowly_is_left() {
        let (mut stream, mut client) = connected(1_000).await;
        let begun = Instant::now();
        let reads = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                client.read_exact(&mut [0; 500]).await.unwrap();
            }
        };
        let error = tokio::select! {
            written = stream.write_all(&[0; 1_000_000]) => written.unwrap_err(),
            never = reads => never,
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < WRITE_TIMEOUT * 2, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn s35_who_keeps_pace_gets_all() {
        let (mut stream, mut client) = connected(64 * 1024).await;
        let all = 64 * PACE as usize;
        let reads = async {
            let mut piece = vec![0; 2 * PACE as usize];
            for _ in 0..32 {
                sleep(Duration::from_secs(1)).await;
                client.read_exact(&mut piece).await.unwrap();
            }
        };
        let answer = vec![0; all];
        let (written, ()) = tokio::join!(stream.write_all(&answer), reads);
        written.unwrap();
        stream.flush().await.unwrap();
        assert!(stream.stall.is_none(), "the next answer has all its time");
    }

    /// A client that still sends when it is refused would lose the answer if its bytes were not read.
    #[tokio::test(start_paused = true)]
    async fn s34_who_still_sends_is_listened_to_for_a_while() {
        let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000000\r\n\r\n";
        for (body, sends) in [
            (Announced::Bytes(9_000_000_000), 20_000_000),
            (Announced::Chunks, 20_000_000),
            (Announced::Chunks, 2 * LINGER_LIMIT),
        ] {
            let (mut stream, mut client) = connected(64 * 1024).await;
            client.write_all(text.as_bytes()).await.unwrap();
            read_head(&mut stream, body).await;
            let begun = Instant::now();
            let sending = async {
                let sent = client.write_all(&vec![0; sends]).await;
                let mut end = Vec::new();
                client.read_to_end(&mut end).await.unwrap();
                sent.is_ok()
            };
            let shut_down = async {
                stream.shutdown().await.unwrap();
                drop(stream);
            };
            let (is_taken, ()) = tokio::join!(sending, shut_down);
            assert_eq!(is_taken, sends < LINGER_LIMIT);
            assert!(begun.elapsed() <= LINGER);
        }
    }

    /// And whoever has sent all is not waited for.
    #[tokio::test(start_paused = true)]
    async fn whoever_has_nothing_to_send_is_left_at_once() {
        let (mut stream, mut client) = connected(1_000).await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        client.write_all(head.as_bytes()).await.unwrap();
        read_head(&mut stream, Announced::Bytes(2)).await;
        let mut body = [0; 10];
        assert_eq!(stream.read(&mut body).await.unwrap(), 2);
        let begun = Instant::now();
        stream.shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    /// What is not announced is not read as a body, and what is not a head is not read at all.
    #[tokio::test(start_paused = true)]
    async fn s36_each_head_and_each_body_comes_alone() {
        let (mut stream, mut client) = connected(10_000).await;
        let heads = [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        ];
        let all = format!("{}{{}}{}bad\n", heads[0], heads[1]);
        client.write_all(all.as_bytes()).await.unwrap();
        let mut space = [0; 10_000];
        let mut next = async || {
            let count = stream.read(&mut space).await.unwrap();
            let text = String::from_utf8_lossy(&space[..count]).into_owned();
            (text, Arc::clone(&stream.exchange))
        };
        let (text, exchange) = next().await;
        assert_eq!(text, heads[0]);
        assert!(matches!(
            exchange.begin(Announced::Bytes(2)),
            Begun::Request
        ));
        assert_eq!(next().await.0, "{}");
        assert_eq!(next().await.0, heads[1]);
        assert!(matches!(
            exchange.begin(Announced::Bytes(0)),
            Begun::Request
        ));
        assert_eq!(next().await.0.as_bytes(), IN_ITS_PLACE);
        assert!(matches!(
            exchange.begin(Announced::Bytes(0)),
            Begun::Refused(Fault::Head(_))
        ));
    }
}
