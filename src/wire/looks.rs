//! What operators see: sessions, locks, history.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SCHEMA;
use crate::admin::{AuditPage, HistoryEntry, HistoryPage, LockPage, Page};
use crate::audit::Verdict;
use crate::session::{HeldLock, Seq, Session, SessionDetails};

/// A list of sessions, from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
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

/// One session alone, from `-o json`.
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

/// One session with its processes, from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionDetailsBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The session, with its processes.
    #[serde(flatten)]
    pub details: SessionDetails,
}

impl From<SessionDetails> for SessionDetailsBody {
    fn from(details: SessionDetails) -> Self {
        Self {
            schema: SCHEMA,
            details,
        }
    }
}

/// A list of record locks, from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LocksBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The locks.
    pub items: Vec<HeldLock>,
    /// Whether some are missing here.
    pub truncated: bool,
}

impl From<LockPage> for LocksBody {
    fn from(page: LockPage) -> Self {
        let LockPage { items, truncated } = page;
        Self {
            schema: SCHEMA,
            items,
            truncated,
        }
    }
}

impl From<LocksBody> for LockPage {
    fn from(body: LocksBody) -> Self {
        let LocksBody {
            items, truncated, ..
        } = body;
        Self { items, truncated }
    }
}

/// A list of closed sessions, from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct HistoryBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The sessions, the last one first.
    pub items: Vec<HistoryEntry>,
    /// Whether some are missing here.
    pub truncated: bool,
}

impl From<HistoryPage> for HistoryBody {
    fn from(page: HistoryPage) -> Self {
        let HistoryPage { items, truncated } = page;
        Self {
            schema: SCHEMA,
            items,
            truncated,
        }
    }
}

impl From<HistoryBody> for HistoryPage {
    fn from(body: HistoryBody) -> Self {
        let HistoryBody {
            items, truncated, ..
        } = body;
        Self { items, truncated }
    }
}

/// One closed session, from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntryBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What is remembered of it.
    #[serde(flatten)]
    pub entry: HistoryEntry,
}

impl From<HistoryEntry> for HistoryEntryBody {
    fn from(entry: HistoryEntry) -> Self {
        Self {
            schema: SCHEMA,
            entry,
        }
    }
}

/// A page of the audit record, from the API and from `-o json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The page.
    #[serde(flatten)]
    pub page: AuditPage,
}

impl From<AuditPage> for AuditBody {
    fn from(page: AuditPage) -> Self {
        Self {
            schema: SCHEMA,
            page,
        }
    }
}

impl From<AuditBody> for AuditPage {
    fn from(body: AuditBody) -> Self {
        body.page
    }
}

/// Whether the audit record is what was written.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerdictBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl From<Verdict> for AuditVerdictBody {
    fn from(verdict: Verdict) -> Self {
        Self {
            schema: SCHEMA,
            verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::clock::Timestamp;
    use crate::context::{Lock, Name};
    use crate::on_close::{Freed, MethodResult, MethodRun};
    use crate::session::{
        Cause, Kind, Mode, NameAndSize, Process, ProcessNumber, ProcessState, SessionId, State,
    };

    fn arrived<T: DeserializeOwned>(body: &impl Serialize) -> T {
        let text = serde_json::to_string(body).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn a_session_arrives_with_its_processes() {
        let at = Timestamp::from_millis(1_764_000_000_001);
        let name = |text: &str| Name::new(text).unwrap();
        let named = |text: &str| NameAndSize {
            name: name(text),
            bytes: 7,
        };
        let session = Session {
            id: SessionId::random(),
            kind: Kind::Mobile,
            mode: Mode::Legacy,
            state: State::Closing,
            user: None,
            ip: Some([192, 0, 2, 1].into()),
            user_agent: Some("curl".into()),
            created_at: at,
            login_at: None,
            last_request_at: at,
            expires_at: Some(Timestamp::EPOCH),
            idle_ms: 0,
            process_count: 1,
            lock_count: 1,
            seq: Seq(u64::MAX),
        };
        let process = Process {
            number: ProcessNumber(3),
            state: ProcessState::Asked,
            started_at: at,
            lease_until: Some(at),
            variables: vec![named("a/b")],
            selections: vec![named("🔑")],
            locks: vec![Lock {
                table: name("Invoices"),
                record: name("4711"),
                since: at,
                fence: u64::MAX,
            }],
        };
        let details = SessionDetails {
            session,
            processes: vec![process],
        };
        let body: SessionDetailsBody = arrived(&SessionDetailsBody::from(details.clone()));
        assert_eq!(body.details, details);
    }

    #[test]
    fn history_arrives_with_its_runs() {
        let at = Timestamp::from_millis(1_764_000_000_001);
        let run = MethodRun {
            process: ProcessNumber(1),
            result: MethodResult::TimedOut,
            took_ms: 5_000,
            late: true,
            detail: Some("killed".into()),
        };
        let entry = HistoryEntry {
            id: SessionId::random(),
            kind: Some(Kind::Web),
            mode: None,
            user: Some("ana".into()),
            ip: Some([192, 0, 2, 1].into()),
            user_agent: None,
            created_at: Some(at),
            login_at: None,
            last_request_at: None,
            begun_at: at,
            closed_at: at,
            expires_at: Timestamp::EPOCH,
            cause: Cause::Evicted,
            reason: None,
            actor: "server".into(),
            freed: Freed {
                processes: 1,
                selections: 2,
                locks: 3,
                variables: 4,
            },
            on_close: vec![run],
            seq: Seq(9),
        };
        let body: HistoryEntryBody = arrived(&HistoryEntryBody::from(entry.clone()));
        assert_eq!(body.entry, entry);
        let page = HistoryPage {
            items: vec![entry],
            truncated: true,
        };
        let body: HistoryBody = arrived(&HistoryBody::from(page.clone()));
        assert_eq!(HistoryPage::from(body), page);
    }
}
