//! Both halves of the wire: paths, bodies, problem types (RFC 9457), and the status of every error, in both directions.
//! Neither the client nor the server writes a path or a status of its own.

mod application;
pub(crate) mod errors;
mod looks;
pub mod openapi;
pub mod path;
mod problem;
mod problem_types;
mod routes;
mod tokens;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::admin::{Actor, EndRequest, Ending, Opened, OptionsSet, Outcome, Reason, Stats};
use crate::clock::Timestamp;
use crate::options::{OptionState, Value};
use crate::session::{Session, SessionId};
use crate::token::Token;

pub use self::application::{
    CONTEXT_BODY_LIMIT, LoginBody, SavedBody, SavedQuery, SelectionBody, StartBody, WaitQuery,
};
pub use self::looks::{
    AuditBody, AuditVerdictBody, HistoryBody, HistoryEntryBody, ListBody, LocksBody, SessionBody,
    SessionDetailsBody,
};
pub use self::problem::{ClosedFields, Fault, LockFields, Problem};
pub use self::problem_types::ProblemType;
pub use self::routes::{ROUTES, Route};
pub use self::tokens::{MintedBody, TokenBody, TokensBody};

/// The version of every JSON document; changes only when a name changes its meaning.
pub const SCHEMA: u32 = 1;

/// The media type of a problem (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The media type of everything else.
pub const JSON: &str = "application/json";

/// Bytes that a request's body may have, unless it is a variable or a selection.
pub const BODY_LIMIT: usize = 64 * 1024;

/// The body of a close or a drop.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndBody {
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Milliseconds to wait for the end; at most [`LONGEST_WAIT`].
    #[serde(default)]
    pub wait: u64,
    /// Whether an unknown id is an error.
    #[serde(default)]
    pub must_exist: bool,
    /// Recognises a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Uuid>,
}

/// The longest that a server lets a request wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(600);

impl EndBody {
    /// What a client sends.
    pub fn of(request: &EndRequest) -> Self {
        Self {
            reason: request.reason.clone(),
            wait: u64::try_from(request.wait.as_millis()).unwrap_or(u64::MAX),
            must_exist: request.must_exist,
            request_id: request.request_id,
        }
    }

    /// What a server makes of it, for the caller whom it authenticated.
    pub fn by(self, actor: Actor) -> EndRequest {
        EndRequest {
            reason: self.reason,
            wait: Duration::from_millis(self.wait).min(LONGEST_WAIT),
            must_exist: self.must_exist,
            request_id: self.request_id,
            actor,
        }
    }
}

/// The answer to an opening or a log-in: the one time that a token is told.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct OpenedBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The session.
    pub session: Session,
    /// Its secret.
    pub token: String,
    /// The cookie that it belongs into.
    pub cookie_name: String,
    /// The whole `Set-Cookie` value for the client. A secret as well.
    #[serde(default)]
    pub set_cookie: String,
}

impl From<Opened> for OpenedBody {
    fn from(opened: Opened) -> Self {
        let Opened {
            session,
            token,
            cookie_name,
            set_cookie,
        } = opened;
        Self {
            schema: SCHEMA,
            session,
            token: token.expose().into(),
            cookie_name,
            set_cookie,
        }
    }
}

impl OpenedBody {
    /// What a client makes of it; `None` if the token has not the form of one.
    pub fn opened(self) -> Option<Opened> {
        let token = Token::parse(&self.token)?;
        Some(Opened {
            session: self.session,
            token,
            cookie_name: self.cookie_name,
            set_cookie: self.set_cookie,
        })
    }
}

/// What the web listener tells a client about its session.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct VisitBody {
    /// The session's handle.
    pub id: SessionId,
    /// Who is signed in.
    pub user: Option<String>,
    /// Where the session stands.
    pub state: crate::session::State,
    /// Until when, if no further request comes; `None` in scalable mode.
    pub expires_at: Option<Timestamp>,
}

/// All options, from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct OptionsBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// In the order of the table.
    pub items: Vec<OptionState>,
}

impl From<Vec<OptionState>> for OptionsBody {
    fn from(items: Vec<OptionState>) -> Self {
        Self {
            schema: SCHEMA,
            items,
        }
    }
}

/// The body of a change of options: names with their values, `null` to reset one (like RFC 7396).
pub type SetBody = BTreeMap<String, Option<Value>>;

/// What goes beside a [`SetBody`], as the query.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetQuery {
    /// Whether sessions may end by it.
    #[serde(default)]
    pub may_end: bool,
    /// Whether nothing is to be changed.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a change of options did.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct OptionsSetBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What it did.
    #[serde(flatten)]
    pub set: OptionsSet,
}

/// Counts, from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct StatsBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The counts.
    #[serde(flatten)]
    pub stats: Stats,
}

/// An outcome that is a refusal: a problem with the outcome's fields (RFC 9457, 3.2).
#[derive(Debug, Serialize, JsonSchema)]
pub struct IgnoredBody<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'static str,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

impl<'a> From<&'a Outcome> for IgnoredBody<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        Self {
            kind: ProblemType::Ignored.uri(),
            title: ProblemType::Ignored.title(),
            status: outcome_status(outcome),
            detail: "the session was opened in scalable mode, which close leaves alone; drop ends it",
            outcome,
        }
    }
}

/// The status of an outcome.
pub fn outcome_status(outcome: &Outcome) -> u16 {
    match outcome.outcome {
        Ending::Closing => 202,
        Ending::Ignored => ProblemType::Ignored.status(),
        Ending::Closed | Ending::AlreadyClosed | Ending::NotFound => 200,
    }
}
