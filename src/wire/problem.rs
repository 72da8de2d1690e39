//! Errors on the wire (RFC 9457): every error has its status and its stable type, in both directions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::session::{Cause, ClosedSession, SessionId};

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
    /// The request's `Host` is none of this server's names.
    Misdirected,
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
            Self::Misdirected => Problem::new(
                421,
                "misdirected",
                "misdirected request",
                "the Host is not a name of this machine",
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
    /// Sessions that would end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
    /// Sessions whose clients would not be recognised any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strands: Option<u64>,
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
            ends: None,
            strands: None,
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
            ("too-many-opens", ..) => Error::TooManyOpens { retry_after },
            ("no-sessions", ..) => Error::NoSessions,
            ("other-address", ..) => Error::OtherAddress,
            ("would-end", ..) => Error::WouldEnd {
                ends: self.ends.unwrap_or_default(),
                strands: self.strands.unwrap_or_default(),
            },
            ("busy", ..) => Error::Busy { retry_after },
            ("unavailable", ..) => Error::Unavailable(format!("{server} says so").into()),
            ("unconfirmed", ..) => Error::Unconfirmed(format!("{server} says so").into()),
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
    #[allow(clippy::too_many_lines, reason = "a table: one row for each error")]
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
            Error::TooManyOpens { retry_after } => Self {
                retry_after: millis(retry_after),
                ..of(429, "too-many-opens", "too many sessions opened")
            },
            Error::NoSessions => of(403, "no-sessions", "no sessions"),
            Error::OtherAddress => of(400, "other-address", "other address"),
            Error::WouldEnd { ends, strands } => Self {
                ends: Some(*ends),
                strands: Some(*strands),
                ..of(409, "would-end", "sessions would end")
            },
            Error::Busy { retry_after } => Self {
                retry_after: millis(retry_after),
                ..of(503, "busy", "busy")
            },
            Error::Unavailable(_) => of(503, "unavailable", "store unavailable"),
            Error::Unconfirmed(_) => of(503, "unconfirmed", "change not confirmed"),
            Error::Internal(_)
            | Error::Unreachable { .. }
            | Error::NoAnswer { .. }
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
            Error::TooManyOpens { retry_after },
            Error::NoSessions,
            Error::OtherAddress,
            Error::WouldEnd {
                ends: 1,
                strands: 0,
            },
            Error::WouldEnd {
                ends: 2,
                strands: 3,
            },
            Error::Busy { retry_after },
            Error::Unavailable("disk".into()),
            Error::Unconfirmed("disk".into()),
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
