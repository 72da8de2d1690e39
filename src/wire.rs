//! Both halves of the wire: paths, bodies, problem types (RFC 9457), and the status of every error, in both directions.
//! Neither the client nor the server writes a path or a status of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::admin::{Actor, EndRequest, Ending, Opened, Outcome, Page, Reason};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::session::{Cause, ClosedSession, Seq, Session, SessionId};
use crate::token::Token;

/// The version of every JSON document; changes only when a name changes its meaning.
pub const SCHEMA: u32 = 1;

/// The media type of a problem (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The media type of everything else.
pub const JSON: &str = "application/json";

/// Bytes that a request's body may have.
pub const BODY_LIMIT: usize = 64 * 1024;

/// Routes of the admin API; `{id}` is a session id.
pub mod path {
    use super::SessionId;

    /// List, open.
    pub const SESSIONS: &str = "/v1/sessions";
    /// Show; `DELETE` closes.
    pub const SESSION: &str = "/v1/sessions/{id}";
    /// Close.
    pub const CLOSE: &str = "/v1/sessions/{id}/close";
    /// Drop.
    pub const DROP: &str = "/v1/sessions/{id}/drop";
    /// Whether the process runs.
    pub const HEALTH: &str = "/healthz";
    /// Whether changes are acknowledged.
    pub const READY: &str = "/readyz";

    /// One of the routes above, for one session.
    pub fn of(route: &str, id: SessionId) -> String {
        route.replace("{id}", &id.to_string())
    }
}

/// The body of a close or a drop.
#[derive(Debug, Default, Serialize, Deserialize)]
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

/// A list of sessions, from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The sessions.
    pub items: Vec<Session>,
    /// How many there are in all.
    pub total: u64,
    /// Whether some are missing here.
    pub truncated: bool,
    /// Where the next page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
    /// The last change that the list knows of.
    pub as_of: Seq,
}

impl From<Page> for ListBody {
    fn from(page: Page) -> Self {
        let Page {
            items,
            total,
            next,
            as_of,
        } = page;
        Self {
            schema: SCHEMA,
            items,
            total,
            truncated: next.is_some(),
            next,
            as_of,
        }
    }
}

impl From<ListBody> for Page {
    fn from(body: ListBody) -> Self {
        let ListBody {
            items,
            total,
            next,
            as_of,
            ..
        } = body;
        Self {
            items,
            total,
            next,
            as_of,
        }
    }
}

/// One session, from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The session.
    #[serde(flatten)]
    pub session: Session,
}

impl From<Session> for SessionBody {
    fn from(session: Session) -> Self {
        Self {
            schema: SCHEMA,
            session,
        }
    }
}

/// The answer to an opening: the one time that a token is told.
#[derive(Serialize, Deserialize)]
pub struct OpenedBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The session.
    pub session: Session,
    /// Its secret.
    pub token: String,
    /// The cookie that it belongs into.
    pub cookie_name: String,
}

impl From<Opened> for OpenedBody {
    fn from(opened: Opened) -> Self {
        let Opened {
            session,
            token,
            cookie_name,
        } = opened;
        Self {
            schema: SCHEMA,
            session,
            token: token.expose().into(),
            cookie_name,
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
        })
    }
}

/// What the web listener tells a client about its session.
#[derive(Debug, Serialize, Deserialize)]
pub struct VisitBody {
    /// The session's handle.
    pub id: SessionId,
    /// Who is signed in.
    pub user: Option<String>,
    /// Where the session stands.
    pub state: crate::session::State,
    /// Until when, if no further request comes.
    pub expires_at: Timestamp,
}

/// The status of an outcome.
pub fn outcome_status(outcome: &Outcome) -> u16 {
    match outcome.outcome {
        Ending::Closing => 202,
        Ending::Closed | Ending::AlreadyClosed | Ending::NotFound => 200,
    }
}

/// What was wrong with a request before anything was asked of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No such path.
    Route,
    /// The path has no such method.
    Method,
    /// The body is too large.
    Size,
    /// The body did not come in time.
    Time,
    /// The body is not JSON by its `Content-Type`.
    MediaType,
}

impl Fault {
    /// The fault as a problem.
    pub fn problem(self) -> Problem {
        match self {
            Self::Route => Problem::new(
                404,
                "unknown-route",
                "no such route",
                "there is nothing at this path",
            ),
            Self::Method => Problem::new(
                405,
                "method",
                "method not allowed",
                "this path does not take this method",
            ),
            Self::Size => Problem::new(
                413,
                "too-large",
                "body too large",
                "the body is larger than 64 KiB",
            ),
            Self::Time => Problem::new(
                408,
                "too-slow",
                "body too slow",
                "the body did not come in time",
            ),
            Self::MediaType => Problem::new(
                415,
                "media-type",
                "unsupported media type",
                "send the body as application/json",
            ),
        }
    }
}

/// An error as it goes over the wire (RFC 9457).
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    /// Which one; stable.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The session that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SessionId>,
    /// How that session ended.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ClosedFields>,
    /// The limit that was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Milliseconds after which to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// The end of a session inside a problem.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClosedFields {
    user: Option<String>,
    cause: Cause,
    closed_at: Timestamp,
    expires_at: Timestamp,
}

/// What every problem type begins with.
const PROBLEM_PREFIX: &str = "urn:sessionctl:problem:";

impl Problem {
    fn new(status: u16, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{PROBLEM_PREFIX}{kind}"),
            title: title.into(),
            status,
            detail: detail.into(),
            id: None,
            closed: None,
            limit: None,
            retry_after: None,
        }
    }

    /// What a client makes of a problem from `server`.
    pub fn into_error(self, server: &str) -> Error {
        let retry_after = Duration::from_millis(self.retry_after.unwrap_or(1_000));
        let kind = self.kind.strip_prefix(PROBLEM_PREFIX).unwrap_or_default();
        match (kind, self.id, self.closed) {
            ("not-found", Some(id), _) => Error::NotFound(id),
            (
                "closed",
                Some(id),
                Some(ClosedFields {
                    user,
                    cause,
                    closed_at,
                    expires_at,
                }),
            ) => Error::Closed(Box::new(ClosedSession {
                id,
                user,
                cause,
                closed_at,
                expires_at,
            })),
            ("invalid", ..) => Error::Invalid(self.detail),
            ("unauthenticated", ..) => Error::Unauthenticated,
            ("forbidden", ..) => Error::Forbidden(self.detail),
            ("limit-reached", ..) => Error::LimitReached {
                limit: self.limit.unwrap_or_default(),
                retry_after,
            },
            ("busy", ..) => Error::Busy { retry_after },
            ("unavailable", ..) => Error::Unavailable(format!("{server} says so").into()),
            ("internal", ..) => {
                Error::Internal(format!("{server} says so; its log has more").into())
            }
            _ => Error::Protocol {
                server: server.into(),
                what: format!("{} {}", self.status, self.title),
            },
        }
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let of = |status, kind, title| Self::new(status, kind, title, error.to_string());
        let millis = |duration: &Duration| u64::try_from(duration.as_millis()).ok();
        match error {
            Error::NotFound(id) => Self {
                id: Some(*id),
                ..of(404, "not-found", "no such session")
            },
            Error::Closed(closed) => {
                let ClosedSession {
                    id,
                    user,
                    cause,
                    closed_at,
                    expires_at,
                } = (**closed).clone();
                let fields = ClosedFields {
                    user,
                    cause,
                    closed_at,
                    expires_at,
                };
                Self {
                    id: Some(id),
                    closed: Some(fields),
                    ..of(410, "closed", "the session is closed")
                }
            }
            Error::Invalid(_) => of(400, "invalid", "malformed request"),
            Error::Unauthenticated => of(401, "unauthenticated", "not authenticated"),
            Error::Forbidden(_) => of(403, "forbidden", "not allowed"),
            Error::LimitReached { limit, retry_after } => Self {
                limit: Some(*limit),
                retry_after: millis(retry_after),
                ..of(503, "limit-reached", "session limit reached")
            },
            Error::Busy { retry_after } => Self {
                retry_after: millis(retry_after),
                ..of(503, "busy", "busy")
            },
            Error::Unavailable(_) => of(503, "unavailable", "store unavailable"),
            Error::Internal(_)
            | Error::Unreachable { .. }
            | Error::OutcomeUnknown { .. }
            | Error::Protocol { .. } => Self::new(
                500,
                "internal",
                "internal error",
                "the server's log has more",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every error that can cross the wire arrives as the same error.
    #[test]
    fn errors_survive_the_wire() {
        let id = SessionId::random();
        let closed = ClosedSession {
            id,
            user: Some("ana".into()),
            cause: Cause::Command,
            closed_at: Timestamp::from_millis(1_764_000_000_001),
            expires_at: Timestamp::EPOCH,
        };
        let retry_after = Duration::from_millis(1_500);
        let errors = [
            Error::NotFound(id),
            Error::Closed(Box::new(closed)),
            Error::Invalid("what was wrong".into()),
            Error::Unauthenticated,
            Error::Forbidden("not you".into()),
            Error::LimitReached {
                limit: 100,
                retry_after,
            },
            Error::Busy { retry_after },
            Error::Unavailable("disk".into()),
            Error::Internal("bug".into()),
        ];
        for error in errors {
            let text = serde_json::to_string(&Problem::from(&error)).unwrap();
            let problem: Problem = serde_json::from_str(&text).unwrap();
            assert!((400..600).contains(&problem.status), "{text}");
            let arrived = problem.into_error("unix:/x");
            assert_eq!(
                std::mem::discriminant(&arrived),
                std::mem::discriminant(&error),
                "{text}"
            );
            assert_eq!(arrived.to_string(), error.to_string());
        }
    }

    #[test]
    fn no_problem_tells_internals() {
        for error in [
            Error::Unavailable("/var/lib/secret".into()),
            Error::Internal("/var/lib/secret".into()),
        ] {
            assert!(
                !serde_json::to_string(&Problem::from(&error))
                    .unwrap()
                    .contains("secret")
            );
        }
    }
}
