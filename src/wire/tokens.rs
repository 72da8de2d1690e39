//! Bodies of the routes for admin tokens (S31).

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SCHEMA;
use crate::access::{
    AdminToken, DEFAULT_TOKEN_LIFETIME, MintedToken, Role, TokenName, TokenRequest,
};
use crate::audit::Actor;
use crate::token::Token;

/// Every admin token, without its secret; from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokensBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// By name.
    pub items: Vec<AdminToken>,
}

impl From<Vec<AdminToken>> for TokensBody {
    fn from(items: Vec<AdminToken>) -> Self {
        Self {
            schema: SCHEMA,
            items,
        }
    }
}

/// The body of a request for a token.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// What it is to be called.
    pub name: TokenName,
    /// What it is to be good for.
    pub role: Role,
    /// Milliseconds for which it is to be good; `null` for ever, 90 days when absent.
    #[serde(default = "default_lifetime")]
    pub lifetime: Option<u64>,
}

fn default_lifetime() -> Option<u64> {
    millis(DEFAULT_TOKEN_LIFETIME).into()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl TokenBody {
    /// What a client sends.
    pub fn of(request: &TokenRequest) -> Self {
        Self {
            name: request.name.clone(),
            role: request.role,
            lifetime: request.lifetime.map(millis),
        }
    }

    /// What a server makes of it, for the caller whom it authenticated.
    pub fn by(self, actor: Actor) -> TokenRequest {
        TokenRequest {
            name: self.name,
            role: self.role,
            lifetime: self.lifetime.map(Duration::from_millis),
            actor,
        }
    }
}

/// A token that was made: the one time that its secret is told.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct MintedBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The token.
    pub token: AdminToken,
    /// Its secret.
    pub secret: String,
}

impl From<MintedToken> for MintedBody {
    fn from(minted: MintedToken) -> Self {
        let MintedToken { token, secret } = minted;
        Self {
            schema: SCHEMA,
            token,
            secret: secret.expose().into(),
        }
    }
}

impl MintedBody {
    /// What a client makes of it; `None` if the secret has not the form of one.
    pub fn minted(self) -> Option<MintedToken> {
        let secret = Token::parse(&self.secret)?;
        Some(MintedToken {
            token: self.token,
            secret,
        })
    }
}
