//! What is remembered of closed sessions, and for how long.

use std::collections::{BTreeMap, HashMap};

use super::{LiveSet, Prepared};
use crate::clock::Timestamp;
use crate::session::{Seq, SessionId};
use crate::store::record::{Row, Tombstone};
use crate::store::{Applied, Unfit};
use crate::token::TokenHash;

/// The memory of closed sessions.
#[derive(Default)]
pub(super) struct Closed {
    by_id: HashMap<SessionId, Tombstone>,
    by_token: HashMap<TokenHash, SessionId>,
    /// In the order in which they ended.
    by_end: BTreeMap<Seq, SessionId>,
}

impl Closed {
    pub(super) fn insert(&mut self, id: SessionId, tombstone: Tombstone) {
        if let Some(token) = tombstone.token_hash {
            self.by_token.insert(token, id);
        }
        self.by_end.insert(tombstone.seq, id);
        self.by_id.insert(id, tombstone);
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Tombstone> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Tombstone> {
        self.by_id.get_mut(&id)
    }

    /// The session that had a token.
    pub(super) fn by_token(&self, token: &TokenHash) -> Option<SessionId> {
        self.by_token.get(token).copied()
    }

    /// Why a session that is not there does not fit.
    pub(super) fn unfit(&self, id: SessionId) -> Unfit {
        self.get(id).map_or(Unfit::NotFound, |tombstone| {
            Unfit::Closed(tombstone.session(id))
        })
    }

    /// What was left of closed sessions goes to nobody any more.
    fn dismiss_saved(&mut self) {
        for tombstone in self.by_id.values_mut() {
            tombstone.inherited = true;
        }
    }

    fn forget(&mut self, id: SessionId) -> Option<Tombstone> {
        let tombstone = self.by_id.remove(&id)?;
        self.by_end.remove(&tombstone.seq);
        if let Some(token) = &tombstone.token_hash
            && self.by_token.get(token) == Some(&id)
        {
            self.by_token.remove(token);
        }
        Some(tombstone)
    }
}

impl LiveSet {
    /// What was left of closed sessions goes to nobody any more (C05).
    pub(in crate::store) fn dismiss_saved_of_closed(&mut self) {
        self.closed.dismiss_saved();
    }

    /// Forgets sessions that were closed before an instant; those whose method is still to run are kept.
    pub(super) fn forget(&mut self, before: Timestamp, limit: usize) -> Prepared {
        let old = |id: &&SessionId| {
            let tombstone = self.closed.get(**id);
            tombstone.is_some_and(|tombstone| tombstone.closed_at < before)
        };
        let ids: Vec<SessionId> = self
            .closed
            .by_end
            .values()
            .take_while(old)
            .filter(|id| !self.queue.has_late(**id))
            .take(limit)
            .copied()
            .collect();
        if ids.is_empty() {
            return Prepared::done(Vec::new(), Applied::Forgotten(0));
        }
        let forgotten = ids.iter().filter_map(|id| self.closed.forget(*id));
        let closings: Vec<(Seq, Seq)> = forgotten
            .map(|tombstone| (tombstone.closing, tombstone.session))
            .collect();
        let (seq, count) = (self.next_seq(), closings.len());
        Prepared::done(
            vec![Row::Forgotten { seq, closings }],
            Applied::Forgotten(count),
        )
    }
}
