//! How a server is asked: at which address, with which token, and trusting whom (S47).

use std::io::{BufRead, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::exit::{Exit, Failure};
use super::output::Output;
use super::profiles::Profile;
use super::target::read_token;
use super::{Connection, Environment};
use crate::client::{Address, Client, Trust};
use crate::token::Token;

/// Bytes of a file of certificates that are read at most: all authorities of a system are a quarter of that.
const CERTIFICATES_LIMIT: u64 = 1024 * 1024;

/// Bytes of the line that a token is read from.
const LINE_LIMIT: u64 = 1024;

/// A server and what is needed to ask it.
pub(super) struct Remote {
    pub(super) address: Address,
    token_file: Option<PathBuf>,
    token: Option<Token>,
    cacert: Option<PathBuf>,
    is_insecure: bool,
}

impl Remote {
    /// A server that was named by itself. The environment may have its token and its authority.
    pub(super) fn at(
        address: Address,
        connection: &Connection,
        environment: &Environment,
    ) -> Result<Self> {
        Self {
            address,
            token_file: environment.path("SESSIONCTL_TOKEN_FILE"),
            token: None,
            cacert: environment.path("SESSIONCTL_CACERT"),
            is_insecure: false,
        }
        .with_flags(connection)
    }

    /// A server of a profile. What the environment has is meant for another one, and not given to this.
    pub(super) fn of(profile: Profile, connection: &Connection) -> Result<Self> {
        Self {
            address: profile.server.parse()?,
            token_file: profile.token_file,
            token: None,
            cacert: profile.cacert,
            is_insecure: false,
        }
        .with_flags(connection)
    }

    fn with_flags(mut self, connection: &Connection) -> Result<Self> {
        let usage = |text: String| Failure::new(Exit::Usage, text);
        if connection.insecure {
            if !matches!(self.address, Address::Https(_)) {
                let text = format!("--insecure is for https; {} has no TLS", self.address);
                return Err(usage(text).advise("leave it away").into());
            }
            self.is_insecure = true;
        }
        if connection.token_stdin && !self.address.asks_for_token() {
            let text = format!(
                "--token-stdin is for http and https; {} asks for no token",
                self.address
            );
            return Err(usage(text).advise("leave it away").into());
        }
        if let Some(file) = &connection.cacert {
            self.cacert = Some(file.clone());
        }
        if let Some(file) = &connection.token_file {
            self.token_file = Some(file.clone());
        }
        self.token.clone_from(&connection.token);
        Ok(self)
    }

    /// The client; nothing is sent yet.
    pub(super) fn client(&self, output: &mut Output) -> Result<Client> {
        // A socket needs no token, so a stale token file does no harm there.
        let token = match &self.token_file {
            _ if self.token.is_some() => self.token.clone(),
            Some(file) if self.address.asks_for_token() => Some(read_token(file)?),
            Some(_) | None => None,
        };
        let trust = match &self.cacert {
            _ if self.is_insecure => {
                output.tell(&format!(
                    "warning: --insecure: whoever answers at {} is believed to be it; what is sent, the token too, may be read and changed on the way",
                    self.address
                ));
                Trust::anybody()
            }
            Some(file) if matches!(self.address, Address::Https(_)) => only(file)?,
            Some(_) | None => Trust::system(),
        };
        Ok(Client::trusting(&self.address, token.as_ref(), &trust)?)
    }
}

fn only(file: &Path) -> Result<Trust> {
    let failure = |error: anyhow::Error| {
        Failure::new(Exit::Usage, format!("{error:#}"))
            .advise("--cacert FILE with the certificate of who issued the server's (PEM)")
    };
    let mut pem = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(CERTIFICATES_LIMIT).read_to_end(&mut pem))
        .with_context(|| format!("cannot read the certificates in {}", file.display()))
        .map_err(failure)?;
    Trust::only(&pem)
        .with_context(|| format!("nobody is trusted by {}", file.display()))
        .map_err(|error| failure(error).into())
}

/// Reads a token from the first line of stdin. `is_taken` says that the command reads something else there.
pub(super) fn token_from_stdin(
    stdin: &mut dyn BufRead,
    is_terminal: bool,
    is_taken: bool,
) -> Result<Token> {
    let usage = |text: &str| Failure::new(Exit::Usage, text);
    if is_taken {
        let text = "`-` and --token-stdin both read stdin";
        return Err(usage(text)
            .advise("--token-file FILE, or name the sessions")
            .into());
    }
    if is_terminal {
        let text = "--token-stdin reads no token from a terminal, where it would be seen";
        return Err(usage(text)
            .advise("a password manager's command, and a pipe: … | sessionctl --token-stdin …")
            .into());
    }
    let mut line = Vec::new();
    stdin
        .take(LINE_LIMIT)
        .read_until(b'\n', &mut line)
        .context("cannot read the token from stdin")?;
    let token = std::str::from_utf8(&line).ok().map(str::trim);
    token.and_then(Token::parse).ok_or_else(|| {
        Failure::new(Exit::Denied, "the first line of stdin is not a token")
            .advise("pipe in what is in the file that serve wrote")
            .into()
    })
}
