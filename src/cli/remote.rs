//! How a server is asked: at which address, with which token, and trusting whom (S47).

use std::io::{BufRead, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::exit::{Exit, Failure};
use super::guarded::{self, Guard};
use super::output::Output;
use super::profiles::Profile;
use super::token_file::read_token;
use super::{Connection, Environment};
use crate::client::{Address, Client, Trust};
use crate::token::Token;

/// Bytes of the line that a token is read from.
const LINE_LIMIT: u64 = 1024;

/// A server and what is needed to ask it.
pub(super) struct Remote {
    pub(super) address: Address,
    token: Presented,
    cacert: Option<PathBuf>,
    is_insecure: bool,
}

/// What a command shows of who asks, besides whose process it is.
enum Presented {
    Nothing,
    /// The token of a file that the environment names for every server: a socket asks for none, and a stale file does no harm
    /// there.
    WhereAsked(PathBuf),
    /// The token of a file that was named for this call, or for this server: whoever presents one wants to be no more than it
    /// makes of them, over a socket too.
    Always(PathBuf),
    Token(Token),
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
            token: environment
                .path("SESSIONCTL_TOKEN_FILE")
                .map_or(Presented::Nothing, Presented::WhereAsked),
            cacert: environment.path("SESSIONCTL_CACERT"),
            is_insecure: false,
        }
        .with_flags(connection)
    }

    /// A server of a profile. What the environment has is meant for another one, and not given to this.
    pub(super) fn of(profile: Profile, connection: &Connection) -> Result<Self> {
        Self {
            address: profile.server.parse()?,
            token: profile
                .token_file
                .map_or(Presented::Nothing, Presented::Always),
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
        if let Some(file) = &connection.cacert {
            self.cacert = Some(file.clone());
        }
        if let Some(file) = &connection.token_file {
            self.token = Presented::Always(file.clone());
        }
        if let Some(token) = &connection.token {
            self.token = Presented::Token(token.clone());
        }
        Ok(self)
    }

    /// The client; nothing is sent yet.
    pub(super) fn client(&self, output: &mut Output) -> Result<Client> {
        let token = match &self.token {
            Presented::Token(token) => Some(token.clone()),
            Presented::Always(file) => Some(read_token(file)?),
            Presented::WhereAsked(file) if self.address.asks_for_token() => Some(read_token(file)?),
            Presented::WhereAsked(_) | Presented::Nothing => None,
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

/// Trusts those alone whose certificates are in this file, if nobody else can have written it (S46): who writes it says who
/// gets the token.
fn only(file: &Path) -> Result<Trust> {
    let failure = |error: anyhow::Error| {
        Failure::new(Exit::Usage, format!("{error:#}"))
            .advise("--cacert FILE with the certificate of who issued the server's (PEM)")
    };
    let pem = guarded::read(file, Guard::NobodyElseWrites, "you")
        .map_err(guarded::denied)
        .map_err(|error| match error.is::<Failure>() {
            true => error,
            false => failure(error).into(),
        })?;
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
