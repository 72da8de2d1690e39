//! The certificate of `serve`'s admin listener: read at the start, and again at SIGHUP.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::exit::{Again, Exit, Failure, advice};
use super::guarded::{self, Guard};
use super::output::{Output, PROGRAM};
use super::signals::HangUps;
use crate::clock::{Clock, Timestamp};
use crate::server::{Tls, TlsIdentity};

/// Where the certificate and its key are.
#[derive(Clone, Debug)]
pub(super) struct TlsFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl TlsFiles {
    /// Both or none.
    pub(super) fn of(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Self>> {
        let alone = |there: &str, missing: &str, what: &str| {
            let text = format!("{there} is nothing without {missing}: TLS needs {what}");
            Err(Failure::new(Exit::Config, text)
                .advise(format!("{missing} FILE as well, or neither"))
                .into())
        };
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Self { certificate, key })),
            (None, None) => Ok(None),
            (Some(_), None) => alone("--tls-cert", "--tls-key", "the key of the certificate"),
            (None, Some(_)) => alone("--tls-key", "--tls-cert", "a certificate for the key"),
        }
    }

    /// Reads both. The certificate is nobody's to write but root's and the server's; the key is besides nobody's to read but
    /// its group's (`root:ssl-cert`, 0640). Links are followed to files of which the same is true: certbot has its own so.
    pub(super) fn read(&self) -> Result<TlsIdentity> {
        let user = "the server's user";
        let certificates = guarded::read(&self.certificate, Guard::NobodyElseWrites, user)?;
        let key = guarded::read(&self.key, Guard::NobodyElseReads, user)?;
        TlsIdentity::from_pem(&certificates, &key).map_err(|error| {
            let (flag, path) = match error.is_about_key() {
                true => ("--tls-key", &self.key),
                false => ("--tls-cert", &self.certificate),
            };
            let failure = Failure::new(Exit::Config, cannot_serve(path)).caused_by(error);
            failure
                .advise(format!(
                    "{flag} with another file: --tls-cert has the server's certificate first and then those that lead to its authority, --tls-key the key of the first one"
                ))
                .into()
        })
    }
}

fn cannot_serve(path: &Path) -> String {
    format!("no TLS with {}", path.display())
}

/// What is wrong with the time of a certificate; the server starts with it all the same, so that it is there when somebody
/// looks what is wrong.
pub(super) fn untimely(identity: &TlsIdentity, now: Timestamp) -> Option<String> {
    let (from, until) = (identity.valid_from(), identity.valid_until());
    if now > until {
        Some(format!(
            "the certificate expired at {until}; clients will refuse it"
        ))
    } else if now < from {
        Some(format!(
            "the certificate is not valid before {from}; clients will refuse it"
        ))
    } else {
        None
    }
}

/// Says in a check of the configuration what a start would say in its log.
pub(super) fn tell_if_untimely(identity: &TlsIdentity, now: Timestamp, output: &mut Output) {
    if let Some(text) = untimely(identity, now) {
        output.tell(&format!("warning: {text}"));
    }
}

fn warn_if_untimely(identity: &TlsIdentity, now: Timestamp) {
    if let Some(text) = untimely(identity, now) {
        tracing::warn!("{text}");
    }
}

/// What a running listener is reloaded from.
#[derive(Clone)]
pub(super) struct Reload {
    files: TlsFiles,
    pub(super) tls: Tls,
}

impl Reload {
    /// For a listener that starts with what was read of the files.
    pub(super) fn start(files: TlsFiles, identity: TlsIdentity, now: Timestamp) -> Self {
        warn_if_untimely(&identity, now);
        let tls = Tls::new(identity);
        Self { files, tls }
    }
}

/// Reloads certificate and key at each SIGHUP: both or, if anything is wrong with them, neither.
pub(super) async fn reload_at(
    mut hang_ups: HangUps,
    reload: Option<Reload>,
    clock: Arc<dyn Clock>,
) -> Infallible {
    loop {
        hang_ups.next().await;
        let Some(Reload { files, tls }) = &reload else {
            tracing::info!("SIGHUP: there is no certificate, so there is nothing to reload");
            continue;
        };
        match files.read() {
            Ok(identity) => {
                let until = identity.valid_until();
                warn_if_untimely(&identity, clock.now());
                tls.replace(identity);
                tracing::info!("SIGHUP: the certificate was reloaded; it is valid until {until}");
            }
            Err(error) => {
                let again = Again {
                    program: PROGRAM,
                    is_local: false,
                };
                let advice = advice(&error, again).map(|advice| format!("; try: {advice}"));
                tracing::error!(
                    "SIGHUP: the old certificate stays in use: {error:#}{}",
                    advice.unwrap_or_default()
                );
            }
        }
    }
}
