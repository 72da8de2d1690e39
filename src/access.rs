//! Who may use the admin API, and for what: roles, and the named tokens that have them (S30, S31).

use std::fmt;
use std::future::Future;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::session::{SessionId, words};
use crate::token::{Token, TokenHash};

/// Characters that the name of a token may have: fewer than a token has, so that none is taken for the other.
pub const TOKEN_NAME_LIMIT: usize = 40;

/// Tokens that there may be at once.
pub const TOKEN_LIMIT: usize = 1_000;

/// How long a token is good unless something else is asked for.
pub const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The shortest time that a token can be made for.
pub const SHORTEST_TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// The longest time that a token can be made for: ten years.
pub const LONGEST_TOKEN_LIFETIME: Duration = Duration::from_secs(3_652 * 24 * 60 * 60);

words! {
    /// What somebody is let in for. Whatever is not listed for a role is refused to it.
    Role {
        /// Looks: sessions, history, locks, options, counts. Names and sizes of what a process has, never its values.
        Viewer = "viewer",
        /// A viewer that also ends sessions.
        Closer = "closer",
        /// An operator: everything, also what an application may.
        Admin = "admin",
        /// The application whose sessions they are: opens them, signs users in, works with their processes.
        App = "app",
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Closer, Self::Admin, Self::App];
}

/// What the operators' token is called that comes from a file and not from the store.
pub const ADMIN_FILE_TOKEN: &str = "admin";

/// What the application's token is called that comes from a file.
pub const APP_FILE_TOKEN: &str = "app";

/// What a token is called: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit. It stands in logs and in
/// the audit record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(String);

impl TokenName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TokenName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            Err("the name of a token begins with a letter or a digit".into())
        } else if !text.chars().all(is_plain) {
            Err(
                "the name of a token has letters, digits, dots, hyphens and underscores only"
                    .into(),
            )
        } else if crate::token::looks_like_secret(&text) {
            Err("this looks like a token and not like the name of one".into())
        } else if text.len() > TOKEN_NAME_LIMIT {
            Err(format!(
                "the name of a token has at most {TOKEN_NAME_LIMIT} characters"
            ))
        } else if [ADMIN_FILE_TOKEN, APP_FILE_TOKEN]
            .iter()
            .any(|file| text.eq_ignore_ascii_case(file))
        {
            Err(format!(
                "{text} is the name of the token that serve reads from a file"
            ))
        } else {
            Ok(Self(text))
        }
    }
}

impl std::str::FromStr for TokenName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An admin token as operators see it: everything but its secret, of which only the hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminToken {
    /// What it is called.
    pub name: TokenName,
    /// What it is good for.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// From when on it is refused; `None` if it has no end.
    pub expires_at: Option<Timestamp>,
}

impl AdminToken {
    /// Whether its time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| now >= expires_at)
    }
}

/// A token to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// What it is to be called.
    pub name: TokenName,
    /// What it is to be good for.
    pub role: Role,
    /// For how long; `None` for ever.
    pub lifetime: Option<Duration>,
    /// Who asks. A server ignores what a client says and puts in whom it authenticated.
    pub actor: Actor,
}

impl TokenRequest {
    /// Refuses a lifetime that no token has.
    ///
    /// # Errors
    /// A text that says which there may be.
    pub fn validate(&self) -> Result<(), String> {
        let allowed = SHORTEST_TOKEN_LIFETIME..=LONGEST_TOKEN_LIFETIME;
        match self.lifetime {
            Some(lifetime) if !allowed.contains(&lifetime) => {
                Err("a token is good for a time between 1 minute and 3652 days, or for ever".into())
            }
            _ => Ok(()),
        }
    }
}

/// A token that was made: the one time that its secret is told.
#[derive(Clone, Debug)]
pub struct MintedToken {
    /// The token.
    pub token: AdminToken,
    /// Its secret.
    pub secret: Token,
}

/// Whom a token lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The token's name.
    pub name: TokenName,
    /// What it is good for.
    pub role: Role,
}

/// A request of the admin API that was refused before anything was asked of the sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRefusal {
    /// Who: an address or its network, a user of this machine, the name of a token.
    pub source: Actor,
    /// What was asked for: a route, and nothing that the caller wrote.
    pub request: String,
    /// The session that it was about.
    pub session: Option<SessionId>,
    /// Why.
    pub why: String,
    /// Whether a token was presented that is nobody's: a guess, or one that was revoked or has expired.
    pub is_guess: bool,
}

/// Lets in by the tokens that are kept, and keeps account of who was not let in.
pub trait Access: Send + Sync {
    /// Whom a token lets in now; `None` if it is nobody's, revoked or expired.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when that cannot be known.
    fn identify(
        &self,
        token: &TokenHash,
    ) -> impl Future<Output = Result<Option<Grant>, Error>> + Send;

    /// Is ready soon after a token lets nobody in any more: at most half a second.
    fn until_gone(&self, token: TokenHash) -> impl Future<Output = ()> + Send;

    /// Puts into the audit record, before this answers, that an operator did what is an application's (S32).
    ///
    /// # Errors
    /// When the record cannot be kept: then nobody is told of what was done either.
    fn act_as_application(
        &self,
        actor: &Actor,
        request: String,
        session: Option<SessionId>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Keeps account of a refusal: the first one of a source in a minute is in the log and, before this answers, in the audit
    /// record; further ones are counted there at the minute's end (S32).
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`] when the source has presented too many tokens that are nobody's (S31).
    fn refused(&self, refusal: AccessRefusal) -> impl Future<Output = Result<(), Error>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["ci", "CI-2", "a.b_c", "9", &"x".repeat(40)] {
            assert!(name.parse::<TokenName>().is_ok(), "{name}");
        }
        for name in [
            "",
            "-x",
            ".",
            "a b",
            "a/b",
            "a\u{1b}[2J",
            "é",
            "admin",
            "app",
            &"x".repeat(41),
            &"a.".repeat(21),
            Token::mint().unwrap().expose(),
        ] {
            assert!(name.parse::<TokenName>().is_err(), "{name:?}");
        }
    }
}
