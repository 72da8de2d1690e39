//! What a web server can do: let a client in by its cookie, check it, log it out.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{OpenRequest, Outcome};
use crate::clock::Timestamp;
use crate::cookie::CookiePolicy;
use crate::error::Error;
use crate::session::{SessionId, State};
use crate::token::Token;

/// What a web server can do with sessions. A token is presented, never an id (S01).
pub trait Sessions: Send + Sync {
    /// How the session cookie is named and protected now.
    ///
    /// # Errors
    /// When the sessions cannot be relied on any more.
    fn cookie(&self) -> Result<Arc<CookiePolicy>, Error>;

    /// Lets a client in: with its session if `token` is that of a live one, otherwise with a new session and a new
    /// token. What a client made up is never adopted (C04, S07); a live token from another address is
    /// [`Error::OtherAddress`] (C13).
    fn enter(
        &self,
        token: Option<&Token>,
        client: OpenRequest,
    ) -> impl Future<Output = Result<Entered, Error>> + Send;

    /// Whose live session this is; `None` if it is nobody's. With `touch`, this is a request of the client (C12) that came
    /// from an address (C13).
    fn check(
        &self,
        token: &Token,
        from: Option<IpAddr>,
        touch: bool,
    ) -> impl Future<Output = Result<Option<Visit>, Error>> + Send;

    /// Closes the caller's own session (C04), wherever it comes from; `None` if the token is nobody's.
    fn log_out(&self, token: &Token)
    -> impl Future<Output = Result<Option<Outcome>, Error>> + Send;
}

/// A live session as its own client's request sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Its handle.
    pub id: SessionId,
    /// Who is signed in.
    pub user: Option<Arc<str>>,
    /// Where it stands.
    pub state: State,
    /// From when on its cookie is refused, if no further request comes; `None` in scalable mode (C02).
    pub expires_at: Option<Timestamp>,
    /// How long its client may keep the cookie: to the absolute limit, since requests that set no cookie extend it (S20).
    pub lifetime: Duration,
}

/// A client that was let in.
#[derive(Clone, Debug)]
pub struct Entered {
    /// Its session.
    pub visit: Visit,
    /// The new token, if the session was opened just now.
    pub new_token: Option<Token>,
}
