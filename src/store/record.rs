//! What a store keeps of a session, in memory and on disk alike: its record, the begin of its closing, its tombstone, and
//! the rows that changes leave.

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::{End, Part};
use crate::clock::Timestamp;
use crate::options::Settings;
use crate::session::{Cause, ClosedSession, Kind, Mode, Seq, SessionId};
use crate::token::TokenHash;

/// What never changes about a session.
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
}

/// The begin of a closing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    pub(super) seq: Seq,
    pub(super) cause: Cause,
    pub(super) request_id: Option<Uuid>,
}

/// What is remembered of a closed session.
#[derive(Clone, Debug)]
pub(super) struct Tombstone {
    pub(super) seq: Seq,
    pub(super) cause: Cause,
    pub(super) closed_at: Timestamp,
    pub(super) user: Option<Arc<str>>,
    /// The requests that began the closing and that cut it short.
    pub(super) request_ids: [Option<Uuid>; 2],
}

/// How a session stands that a store had kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) last_request_at: Timestamp,
    /// Whether its cookie ever came back.
    pub(super) confirmed: bool,
    pub(super) suspended: bool,
    pub(super) begin: Option<Begin>,
}

/// What a change must leave on disk. A row's `seq` is the number of the change.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Opened(Record),
    Suspended {
        seq: Seq,
        session: Seq,
        at: Timestamp,
    },
    Resumed {
        seq: Seq,
        session: Seq,
        at: Timestamp,
    },
    OptionsSet {
        seq: Seq,
        settings: Arc<Settings>,
    },
    Begun {
        begin: Seq,
        record: Record,
        end: End,
        at: Timestamp,
    },
    Finished {
        id: SessionId,
        session: Seq,
        begin: Seq,
        tombstone: Tombstone,
    },
    /// `begin` is that of the closing which the drop cut short, if one was under way.
    Dropped {
        begin: Option<Seq>,
        record: Record,
        end: End,
        tombstone: Tombstone,
    },
}

impl Row {
    /// The number of the change; rows are committed and published in this order.
    pub(super) fn seq(&self) -> Seq {
        match self {
            Self::Opened(record) => record.seq,
            Self::Suspended { seq, .. }
            | Self::Resumed { seq, .. }
            | Self::OptionsSet { seq, .. } => *seq,
            Self::Begun { begin, .. } => *begin,
            Self::Finished { tombstone, .. } | Self::Dropped { tombstone, .. } => tombstone.seq,
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
