//! Problems (RFC 9457): what a refusal says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem_types::ProblemType;
use crate::clock::Timestamp;
use crate::context::Name;
use crate::session::{Cause, ProcessNumber, SessionId};

/// What was wrong with a request before anything was asked of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No such path.
    Route,
    /// The path has no such method.
    Method,
    /// The body has more bytes than it may have here: so many.
    Size(usize),
    /// The body did not come in time.
    Time,
    /// The body is not JSON by its `Content-Type`.
    MediaType,
    /// The request's `Host` is none of this server's names.
    Misdirected,
    /// The head has not the form of one, or leaves open where the request ends.
    Head(&'static str),
    /// The head has too many bytes or fields.
    HeadSize,
    /// The target is too long.
    Target,
    /// The version is neither HTTP/1.1 nor HTTP/1.0.
    Version,
}

impl Fault {
    /// The fault as a problem.
    pub fn problem(self) -> Problem {
        let kind = self.kind();
        match self {
            Self::Route => Problem::new(kind, "there is nothing at this path"),
            Self::Method => Problem::new(kind, "this path does not take this method"),
            Self::Size(limit) => Problem {
                limit: Some(limit),
                ..Problem::new(
                    kind,
                    format!("the body is larger than {} KiB", limit / 1024),
                )
            },
            Self::Time => Problem::new(kind, "the body did not come in time"),
            Self::Misdirected => Problem::new(kind, "the Host is not a name of this machine"),
            Self::Head(detail) => Problem::new(kind, detail),
            Self::HeadSize => Problem::new(
                kind,
                "the head of the request has more than 64 KiB, or more than 100 header fields",
            ),
            Self::Target => {
                Problem::new(kind, "the target of the request does not fit into 64 KiB")
            }
            Self::Version => Problem::new(kind, "this server speaks HTTP/1.1, and HTTP/1.0"),
            Self::MediaType => Problem::new(kind, "send the body as application/json"),
        }
    }

    fn kind(self) -> ProblemType {
        match self {
            Self::Route => ProblemType::UnknownRoute,
            Self::Method => ProblemType::Method,
            Self::Size(_) => ProblemType::TooLarge,
            Self::Time => ProblemType::TooSlow,
            Self::Head(_) => ProblemType::Invalid,
            Self::HeadSize => ProblemType::HeadTooLarge,
            Self::Target => ProblemType::TargetTooLong,
            Self::Version => ProblemType::Version,
            Self::MediaType => ProblemType::MediaType,
            Self::Misdirected => ProblemType::Misdirected,
        }
    }
}

/// An error as it goes over the wire (RFC 9457).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
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
    /// The process that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessNumber>,
    /// Who is, or was, signed in to the session that closed or that holds the lock. Untrusted text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How the session ended.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ClosedFields>,
    /// The lock that is held.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockFields>,
    /// Which thing is not there, or which fault a name has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// Where a value is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syntax: Option<String>,
    /// The limit that was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// What was found instead of at most `limit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<usize>,
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

/// The end of a session inside a problem. A flattened part may share no name with another part, nor with the problem:
/// whichever is read first would take it from the other.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClosedFields {
    pub(super) cause: Cause,
    pub(super) closed_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// A lock that is held inside a problem, besides the process and the user who hold it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LockFields {
    pub(super) table: Name,
    pub(super) record: Name,
    pub(super) session: SessionId,
    pub(super) since: Timestamp,
    pub(super) fence: u64,
    pub(super) waiting: u32,
}

impl Problem {
    pub(super) fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self {
            kind: kind.uri(),
            title: kind.title().into(),
            status: kind.status(),
            detail: detail.into(),
            id: None,
            process: None,
            user: None,
            closed: None,
            lock: None,
            what: None,
            syntax: None,
            limit: None,
            found: None,
            ends: None,
            strands: None,
            retry_after: None,
        }
    }
}
