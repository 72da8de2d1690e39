//! TLS of the admin listener: its certificate, which can be exchanged while the server runs, and the handshake (S26, S47).

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore, ServerConfig};
use thiserror::Error as ThisError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor, rustls};

use super::connection::{Listener, Peer};
use crate::clock::Timestamp;

/// Time for a client to get through the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The second after the last one that a certificate can name: the end of the year 9999.
const AFTER_ALL: Duration = Duration::from_secs(253_402_300_800);

/// Why a certificate and a key are not what a server can show.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum TlsError {
    /// There is no certificate in the first file.
    #[error("there is no certificate in it (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// The certificate is broken, or of a kind that clients do not take.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// There is no key in the second file.
    #[error("there is no private key in it (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// The key is locked with a passphrase, which nobody is there to type.
    #[error("the private key is encrypted, and a server has nobody to ask for the passphrase")]
    EncryptedKey,
    /// The key is broken, or of a kind that is not known.
    #[error("the private key cannot be read: {0}")]
    Key(String),
    /// The certificate is for another key.
    #[error("the private key is not that of the first certificate in the other file")]
    Mismatch,
}

impl TlsError {
    /// Whether it is about the file of the key, and not about that of the certificate.
    pub fn is_about_key(&self) -> bool {
        match self {
            Self::NoCertificate | Self::Certificate(_) => false,
            Self::NoKey | Self::EncryptedKey | Self::Key(_) | Self::Mismatch => true,
        }
    }
}

/// A certificate, with those that lead to who issued it, and its key.
#[derive(Debug)]
pub struct TlsIdentity {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
    valid_from: Timestamp,
    valid_until: Timestamp,
}

impl TlsIdentity {
    /// Takes both from the text of PEM files. The server's own certificate comes first. One that is not valid now is no
    /// error: who has the clock may ask.
    ///
    /// # Errors
    /// When there is nothing that a server can show.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let unreadable = |error: &dyn ToString| TlsError::Certificate(error.to_string());
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unreadable(&error))?;
        let certificate = chain.first().ok_or(TlsError::NoCertificate)?.clone();
        let provider = Arc::new(ring::default_provider());
        let (valid_from, valid_until) = validity(&certificate, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Key(error.to_string()))?;
        let mut config = builder
            .with_no_client_auth()
            .with_single_cert(chain, private_key(key)?)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => TlsError::Mismatch,
                rustls::Error::InvalidCertificate(why) => unreadable(&why),
                error => TlsError::Key(error.to_string()),
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            certificate,
            valid_from,
            valid_until,
        })
    }

    /// When the certificate begins to be valid.
    pub fn valid_from(&self) -> Timestamp {
        self.valid_from
    }

    /// The last second in which the certificate is valid.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// Whether clients take the certificate for one of this name, or of this address.
    fn is_for(&self, host: &str) -> bool {
        let name = match host.parse::<IpAddr>() {
            Ok(address) => Ok(ServerName::from(address.to_canonical())),
            Err(_) => ServerName::try_from(host),
        };
        let (Ok(name), Ok(certificate)) = (name, ParsedCertificate::try_from(&self.certificate))
        else {
            return false;
        };
        verify_server_name(&certificate, &name).is_ok()
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound if pem.windows(9).any(|word| word == b"ENCRYPTED") => {
            TlsError::EncryptedKey
        }
        Error::NoItemsFound => TlsError::NoKey,
        error => TlsError::Key(error.to_string()),
    })
}

/// From when on, and until when. Asked of who verifies it, for whom it is too early before all time and too late after.
fn validity(
    certificate: &CertificateDer<'static>,
    provider: &CryptoProvider,
) -> Result<(Timestamp, Timestamp), TlsError> {
    let unreadable = |error: rustls::Error| TlsError::Certificate(error.to_string());
    let parsed = ParsedCertificate::try_from(certificate).map_err(unreadable)?;
    let nobody = RootCertStore::empty();
    let refusal = |at| {
        let at = UnixTime::since_unix_epoch(at);
        let known = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], at, known).err()
    };
    let timestamp = |time: UnixTime| {
        let millis = time.as_secs().saturating_mul(1_000);
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    };
    let from = match refusal(Duration::ZERO) {
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before,
            ..
        })) => timestamp(not_before),
        _ => Timestamp::EPOCH,
    };
    match refusal(AFTER_ALL) {
        Some(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            not_after,
            ..
        })) => Ok((from, timestamp(not_after))),
        Some(error) => Err(unreadable(error)),
        None => Err(TlsError::Certificate("it never expires".into())),
    }
}

/// What a listener shows of itself now. Clones are the same: exchanged in one, it is exchanged in all.
#[derive(Clone, Debug)]
pub struct Tls(Arc<watch::Sender<Arc<TlsIdentity>>>);

impl Tls {
    /// Begins with this.
    pub fn new(identity: TlsIdentity) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(identity))))
    }

    /// Shows this from the next connection on; those that are there go on.
    pub fn replace(&self, identity: TlsIdentity) {
        self.0.send_replace(Arc::new(identity));
    }

    fn identity(&self) -> Arc<TlsIdentity> {
        Arc::clone(&self.0.borrow())
    }

    /// Whether the certificate is for this name or address, without a port and without brackets.
    pub(super) fn is_for(&self, host: &str) -> bool {
        self.identity().is_for(host)
    }
}

/// A port where everybody has to speak TLS.
pub(super) struct TlsListener {
    tcp: TcpListener,
    tls: Tls,
}

impl TlsListener {
    pub(super) fn new(tcp: TcpListener, tls: Tls) -> Self {
        Self { tcp, tls }
    }
}

impl Listener for TlsListener {
    type Stream = LazyTls;

    async fn next(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, peer) = self.tcp.next().await?;
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls.identity().config));
        Ok((LazyTls::new(acceptor.accept(stream)), peer))
    }
}

/// A connection whose handshake is made by who first reads from it or writes to it, so that nobody else waits for it.
pub(super) struct LazyTls(State);

enum State {
    Handshake {
        accept: Box<Accept<TcpStream>>,
        limit: Pin<Box<Sleep>>,
    },
    Open(Box<TlsStream<TcpStream>>),
    Failed,
}

impl LazyTls {
    fn new(accept: Accept<TcpStream>) -> Self {
        Self(State::Handshake {
            accept: Box::new(accept),
            limit: Box::pin(tokio::time::sleep(HANDSHAKE_TIMEOUT)),
        })
    }

    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<TcpStream>>>> {
        if let State::Handshake { accept, limit } = &mut self.0 {
            let made = match Pin::new(&mut **accept).poll(cx) {
                Poll::Ready(made) => made,
                Poll::Pending => {
                    ready!(limit.as_mut().poll(cx));
                    Err(io::ErrorKind::TimedOut.into())
                }
            };
            self.0 = match made {
                Ok(stream) => State::Open(Box::new(stream)),
                Err(error) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    State::Failed
                }
            };
        }
        Poll::Ready(match &mut self.0 {
            State::Open(stream) => Ok(Pin::new(&mut **stream)),
            State::Handshake { .. } | State::Failed => Err(io::ErrorKind::ConnectionAborted.into()),
        })
    }
}

impl AsyncRead for LazyTls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for LazyTls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Open(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            // Nobody is owed a good-bye with whom nothing was agreed.
            State::Handshake { .. } | State::Failed => Poll::Ready(Ok(())),
        }
    }
}
