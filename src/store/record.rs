//! What a store keeps of a session, in memory and on disk alike: its record, the begin of its closing, its tombstone, and
//! the rows that changes leave.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::wait::{Handover, Ticket};
use super::{End, Part};
use crate::access::{AdminToken, TokenName};
use crate::audit::Order;
use crate::clock::Timestamp;
use crate::context::{Json, Lock, Name, Record as LockedRecord, Selection};
use crate::on_close::{Freed, Invocation, MethodRun, RunKey};
use crate::options::Settings;
use crate::session::{Cause, ClosedSession, Kind, Mode, ProcessNumber, Seq, SessionId};
use crate::token::TokenHash;

/// What a session is; only a login changes it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) seq: Seq,
    pub(super) id: SessionId,
    pub(super) token_hash: TokenHash,
    pub(super) kind: Kind,
    pub(super) mode: Mode,
    pub(super) user: Option<Arc<str>>,
    pub(super) ip: Option<IpAddr>,
    pub(super) user_agent: Option<Box<str>>,
    pub(super) created_at: Timestamp,
    pub(super) login_at: Option<Timestamp>,
    /// Of a mobile session: its own time-out.
    pub(super) idle_timeout: Option<Duration>,
    /// The session that its client had before.
    pub(super) previous: Option<SessionId>,
}

/// The begin of a closing, and what it has come to so far.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    pub(super) seq: Seq,
    pub(super) cause: Cause,
    pub(super) reason: Option<Arc<str>>,
    pub(super) actor: Arc<str>,
    pub(super) request_id: Option<Uuid>,
    pub(super) at: Timestamp,
    /// Until then the processes of a mobile session may finish by themselves (C08).
    pub(super) grace_ends_at: Timestamp,
    /// The closing ends then at the latest (C09).
    pub(super) ends_at: Timestamp,
    pub(super) freed: Freed,
    pub(super) runs: Vec<MethodRun>,
}

/// How long a token that a login has replaced is known for what it was (the table of states).
pub(super) const ROTATED_FOR: Duration = Duration::from_secs(60);

/// What is remembered of a closed session.
#[derive(Clone, Debug)]
pub(super) struct Tombstone {
    pub(super) seq: Seq,
    /// The row of its closing.
    pub(super) closing: Seq,
    /// The row that its session had.
    pub(super) session: Seq,
    pub(super) token_hash: Option<TokenHash>,
    pub(super) cause: Cause,
    pub(super) closed_at: Timestamp,
    pub(super) user: Option<Arc<str>>,
    /// The requests that began the closing and that cut it short.
    pub(super) request_ids: [Option<Uuid>; 2],
    pub(super) freed: Freed,
    pub(super) runs: Vec<MethodRun>,
    /// Whether its saved information has been handed out (C05).
    pub(super) inherited: bool,
}

/// How a session stands that a store had kept.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) last_request_at: Timestamp,
    /// Whether its cookie ever came back.
    pub(super) confirmed: bool,
    pub(super) suspended: bool,
    pub(super) begin: Option<Begin>,
    /// The last number that a process was given, and since when that one runs if no row tells more of it.
    pub(super) last_process: ProcessNumber,
    pub(super) process_started_at: Option<Timestamp>,
}

/// A process that a store had kept.
#[derive(Clone, Debug)]
pub(super) struct KeptProcess {
    pub(super) session: Seq,
    pub(super) number: ProcessNumber,
    pub(super) started_at: Timestamp,
    pub(super) lease: Option<Duration>,
    pub(super) closing: Option<KeptClosing>,
}

/// That a process closes.
#[derive(Clone, Debug)]
pub(super) struct KeptClosing {
    pub(super) since: Timestamp,
    /// Its session lives on, and it has until then at the latest (C09).
    pub(super) alone_until: Option<Timestamp>,
    /// Who was signed in.
    pub(super) user: Option<Arc<str>>,
}

/// What a change must leave on disk. A row's `seq` is the number of the change.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Opened(Record),
    LoggedIn {
        seq: Seq,
        session: Seq,
        old: TokenHash,
        new: TokenHash,
        user: Arc<str>,
        at: Timestamp,
    },
    Suspended {
        seq: Seq,
        session: Seq,
        at: Timestamp,
    },
    Resumed {
        seq: Seq,
        session: Seq,
        process: ProcessNumber,
        at: Timestamp,
    },
    OptionsSet {
        seq: Seq,
        settings: Arc<Settings>,
    },
    ProcessStarted {
        seq: Seq,
        session: Seq,
        process: ProcessNumber,
        at: Timestamp,
        lease: Option<Duration>,
    },
    ProcessClosing {
        seq: Seq,
        session: Seq,
        id: SessionId,
        process: ProcessNumber,
        started_at: Timestamp,
        at: Timestamp,
        /// Its session lives on, and it has until then at the latest (C09).
        alone_until: Option<Timestamp>,
        user: Option<Arc<str>>,
    },
    ProcessEnded {
        seq: Seq,
        session: Seq,
        id: SessionId,
        process: ProcessNumber,
        /// The closing that it was a part of.
        begin: Option<Seq>,
        freed: Freed,
        run: Option<MethodRun>,
        saved: Option<Json>,
        /// The document, if the method could not run in time (C09).
        late: Option<(Seq, Box<Invocation>)>,
    },
    /// A run that ended after its process.
    RunEnded {
        seq: Seq,
        session: Seq,
        /// The row of the closing, if the session is closed.
        closing: Option<Seq>,
        key: RunKey,
        /// The snapshot that is not needed any more.
        late: Option<Seq>,
        run: Option<MethodRun>,
        saved: Option<Json>,
    },
    VariableSet {
        seq: Seq,
        session: Seq,
        process: ProcessNumber,
        name: Name,
        value: Option<Json>,
    },
    SelectionSet {
        seq: Seq,
        session: Seq,
        process: ProcessNumber,
        name: Name,
        selection: Option<Selection>,
    },
    Locked {
        seq: Seq,
        session: Seq,
        process: ProcessNumber,
        lock: Lock,
        /// Who waits for it.
        tickets: Vec<Arc<Ticket>>,
    },
    Unlocked {
        seq: Seq,
        session: Seq,
        process: ProcessNumber,
        record: LockedRecord,
    },
    SavedTaken {
        seq: Seq,
        /// Those that the saved information is of.
        sessions: Vec<Seq>,
        /// The closing of the session before, which is inherited from once.
        closing: Option<Seq>,
        /// Who waits for it: whoever keeps the row takes it out of what is kept and hands it over.
        into: Arc<Handover>,
    },
    Begun {
        begin: Begin,
        record: Record,
        last_request_at: Timestamp,
    },
    Finished {
        id: SessionId,
        session: Seq,
        begin: Seq,
        tombstone: Tombstone,
        /// Documents of processes whose method could not run in time (C09).
        late: Vec<(Seq, Box<Invocation>)>,
    },
    /// `begin` is that of the closing which the drop cut short, if one was under way.
    Dropped {
        begin: Option<Seq>,
        record: Record,
        last_request_at: Timestamp,
        end: End,
        tombstone: Tombstone,
        /// Runs that never come, each with a number of its own.
        struck: Vec<(Seq, MethodRun)>,
    },
    /// An admin token was made.
    TokenCreated {
        seq: Seq,
        hash: TokenHash,
        token: Arc<AdminToken>,
    },
    TokenRevoked {
        seq: Seq,
        name: TokenName,
    },
    /// What an operator ordered, in the same commit.
    Audited {
        seq: Seq,
        order: Box<Order>,
    },
    Forgotten {
        seq: Seq,
        /// Closings with their sessions.
        closings: Vec<(Seq, Seq)>,
    },
}

impl Row {
    /// The number of the change; rows are committed and published in this order.
    pub(super) fn seq(&self) -> Seq {
        match self {
            Self::Opened(record) => record.seq,
            Self::LoggedIn { seq, .. }
            | Self::Suspended { seq, .. }
            | Self::Resumed { seq, .. }
            | Self::OptionsSet { seq, .. }
            | Self::ProcessStarted { seq, .. }
            | Self::ProcessClosing { seq, .. }
            | Self::ProcessEnded { seq, .. }
            | Self::RunEnded { seq, .. }
            | Self::VariableSet { seq, .. }
            | Self::SelectionSet { seq, .. }
            | Self::Locked { seq, .. }
            | Self::Unlocked { seq, .. }
            | Self::SavedTaken { seq, .. }
            | Self::TokenCreated { seq, .. }
            | Self::TokenRevoked { seq, .. }
            | Self::Audited { seq, .. }
            | Self::Forgotten { seq, .. } => *seq,
            Self::Begun { begin, .. } => begin.seq,
            Self::Finished { tombstone, .. } | Self::Dropped { tombstone, .. } => tombstone.seq,
        }
    }

    /// The session whose clients, processes or closers wait for such a row.
    pub(super) fn awaited(&self) -> Option<SessionId> {
        match self {
            Self::Begun { record, .. } | Self::Dropped { record, .. } => Some(record.id),
            // Of a closing only the begin and the end are waited for: its processes are asked already.
            Self::Finished { id, .. }
            | Self::ProcessClosing { id, .. }
            | Self::ProcessEnded {
                id, begin: None, ..
            } => Some(*id),
            _ => None,
        }
    }
}

impl Begin {
    pub(super) fn part_of(&self, request_id: Option<Uuid>) -> Part {
        if same(self.request_id, request_id) {
            Part::Began
        } else {
            Part::None
        }
    }
}

impl Tombstone {
    /// The part that an earlier try of the same call had (C15).
    pub(super) fn part_of(&self, request_id: Option<Uuid>) -> Part {
        match self.request_ids {
            [begun, _] if same(begun, request_id) => Part::Began,
            [_, cut_short] if same(cut_short, request_id) => Part::CutShort,
            _ => Part::None,
        }
    }

    pub(super) fn session(&self, id: SessionId) -> ClosedSession {
        ClosedSession {
            id,
            user: self.user.as_deref().map(str::to_owned),
            cause: self.cause,
            closed_at: self.closed_at,
            expires_at: Timestamp::EPOCH,
        }
    }
}

/// Whether a call carries the request id that was kept; calls without one are never the same.
fn same(kept: Option<Uuid>, given: Option<Uuid>) -> bool {
    kept.is_some() && kept == given
}
