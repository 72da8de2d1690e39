//! Whom a client trusts over TLS, and why it does not trust a server. Everything is told to each client: no provider of
//! cryptography is made the whole process's, which may belong to somebody else.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage,
    RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use thiserror::Error as ThisError;
use tokio_rustls::rustls;

use crate::clock::Timestamp;

/// Whose certificates a client takes for a server's own.
#[derive(Clone, Debug, Default)]
pub struct Trust(Roots);

#[derive(Clone, Debug, Default)]
enum Roots {
    #[default]
    System,
    Only(RootCertStore),
    Anybody,
}

impl Trust {
    /// Trusts whom the operating system trusts.
    pub fn system() -> Self {
        Self(Roots::System)
    }

    /// Trusts those alone whose certificates these are, as the text of a PEM file.
    ///
    /// # Errors
    /// When there is no certificate in it, or one that cannot be read.
    pub fn only(pem: &[u8]) -> Result<Self, NoRoot> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| NoRoot::Unreadable(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| NoRoot::Unreadable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(NoRoot::None);
        }
        Ok(Self(Roots::Only(roots)))
    }

    /// Trusts whoever answers: what is sent, the token too, may be read and changed on the way.
    pub fn anybody() -> Self {
        Self(Roots::Anybody)
    }
}

/// Why a file tells nobody whom to trust.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum NoRoot {
    /// It has none.
    #[error("there is no certificate in it (-----BEGIN CERTIFICATE-----)")]
    None,
    /// One of them is broken.
    #[error("a certificate in it cannot be read: {0}")]
    Unreadable(String),
}

/// Why a server is not trusted. Nothing was sent to it.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum Distrust {
    /// Nobody who is trusted here has issued its certificate.
    #[error("its certificate was issued by nobody who is trusted here")]
    Issuer,
    /// Its certificate, or its handshake, is signed with another key than it should be.
    #[error("what it shows is signed with another key than that of who is trusted here")]
    Signature,
    /// Its certificate is for other names.
    #[error("{0}")]
    Name(String),
    /// Its certificate was valid once.
    #[error("its certificate expired at {0}")]
    Expired(Timestamp),
    /// Its certificate will be valid.
    #[error("its certificate is not valid before {0}")]
    NotYetValid(Timestamp),
    /// Its certificate is one that issues others.
    #[error("its certificate is an authority's (CA:TRUE), not a server's")]
    Authority,
    /// What answers there does not speak TLS, or breaks off where TLS begins.
    #[error("what answers there does not speak TLS: {0}")]
    NotTls(String),
    /// It speaks only older versions.
    #[error("it speaks neither TLS 1.2 nor 1.3 in a way that is known here: {0}")]
    Version(String),
    /// The operating system trusts nobody.
    #[error("this machine has no certificates of authorities: {0}")]
    NoRoots(String),
    /// Something else about its certificate or its handshake.
    #[error("{0}")]
    Other(String),
}

/// What a client is told about TLS.
///
/// # Errors
/// When the operating system trusts nobody.
pub(super) fn config(trust: &Trust) -> Result<ClientConfig, Distrust> {
    let provider = Arc::new(ring::default_provider());
    let other = |error: rustls::Error| Distrust::Other(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(other)?;
    let builder = match &trust.0 {
        Roots::System => {
            let verifier =
                Verifier::new(provider).map_err(|error| Distrust::NoRoots(error.to_string()))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
        Roots::Only(roots) => builder.with_root_certificates(roots.clone()),
        Roots::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Whoever(provider))),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What a client is told that never uses TLS: reading the system's certificates takes longer than asking a socket.
pub(super) fn unused() -> Result<ClientConfig, Distrust> {
    config(&Trust(Roots::Only(RootCertStore::empty())))
}

/// Takes any certificate; whoever answers must still have its key.
#[derive(Debug)]
struct Whoever(Arc<CryptoProvider>);

impl ServerCertVerifier for Whoever {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Why the handshake failed, if that is what an error of a connection over TLS is about.
pub(super) fn distrust(error: &(dyn StdError + 'static)) -> Option<Distrust> {
    let mut next = Some(error);
    let mut broken_off = None;
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(in_words(error));
        }
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| broke_off(io.kind())) {
            broken_off = Some(Distrust::NotTls(error.to_string()));
        }
        next = match io.and_then(io::Error::get_ref) {
            // What it holds is not among its sources, only what lies under that.
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    broken_off
}

/// Whether there was a connection.
fn broke_off(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn in_words(error: &rustls::Error) -> Distrust {
    let at = |time: &UnixTime| {
        let millis = time.as_secs().saturating_mul(1_000);
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    };
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => Distrust::Issuer,
            CertificateError::BadSignature => Distrust::Signature,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Distrust::Name(why.to_string())
            }
            CertificateError::ExpiredContext { not_after, .. } => Distrust::Expired(at(not_after)),
            CertificateError::NotValidYetContext { not_before, .. } => {
                Distrust::NotYetValid(at(not_before))
            }
            // The cause is an error of the library that looks at certificates, which is not this crate's to name.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                Distrust::Authority
            }
            other => Distrust::Other(other.to_string()),
        },
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => Distrust::NotTls(error.to_string()),
        rustls::Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity,
        )
        | rustls::Error::PeerIncompatible(_) => Distrust::Version(error.to_string()),
        error => Distrust::Other(error.to_string()),
    }
}
