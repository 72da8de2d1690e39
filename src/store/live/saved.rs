//! What the on-close method left, and who may have it: its own session, and once the one that came after (C05).

use std::sync::Arc;

use super::{Answer, Entry, LiveSet, Prepared, Told};
use crate::clock::Timestamp;
use crate::session::{Cause, Seq, SessionId};
use crate::store::Unfit;
use crate::store::record::{Row, Tombstone};
use crate::store::wait::Handover;

/// The session before, and the sessions by their rows that something may have been left of.
type Left = (Option<SessionId>, Vec<(Seq, SessionId)>);

impl LiveSet {
    /// Where what was left for a session is kept, without handing it out.
    pub(in crate::store) fn saved_of(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> Told<Result<Left, Unfit>> {
        match self.live_entry(id, now) {
            Ok(slot) => {
                let entry = &self.entries[slot];
                Told {
                    what: Ok(self.left_for(entry)),
                    durable: entry.told_at(),
                }
            }
            Err(prepared) => Told {
                durable: prepared.durable,
                what: Err(prepared.into_unfit()),
            },
        }
    }

    fn left_for(&self, entry: &Entry) -> Left {
        let mut sessions = Vec::new();
        if entry.saved {
            sessions.push((entry.record.seq, entry.record.id));
        }
        let previous = self.inherited_by(entry);
        if let Some((id, tombstone)) = previous {
            sessions.push((tombstone.session, id));
        }
        (previous.map(|(id, _)| id), sessions)
    }

    /// The session before, if this one may inherit from it: a cookie that was stolen and closed inherits nothing.
    fn inherited_by(&self, entry: &Entry) -> Option<(SessionId, &Tombstone)> {
        let id = entry.record.previous?;
        let tombstone = self.closed.get(id)?;
        let ended_by_itself = matches!(tombstone.cause, Cause::Inactive | Cause::Evicted);
        let (user, before) = (entry.record.user.as_deref(), tombstone.user.as_deref());
        let is_same_user = user.is_some() && user == before;
        let is_another = user.is_some() && before.is_some() && !is_same_user;
        // What a method has still to leave is waited for: it is handed out only once.
        let is_whole = !tombstone.inherited && !self.queue.has_late(id);
        let may_inherit = (ended_by_itself && !is_another) || is_same_user;
        (may_inherit && is_whole).then_some((id, tombstone))
    }

    /// Hands out what was left for a session, once.
    pub(super) fn take_saved(&mut self, id: SessionId, now: Timestamp) -> Prepared {
        let slot = match self.live_entry(id, now) {
            Ok(slot) => slot,
            Err(unfit) => return unfit,
        };
        let (previous, sessions) = self.left_for(&self.entries[slot]);
        let into = Arc::new(Handover::default());
        let answer = Answer::Saved {
            previous,
            sessions: sessions.clone(),
            into: Arc::clone(&into),
        };
        if sessions.is_empty() {
            return Prepared {
                durable: self.entries[slot].told_at(),
                ..Prepared::answered(answer)
            };
        }
        let (seq, _) = self.changing(slot);
        self.entries[slot].saved = false;
        let tombstone = previous.and_then(|id| self.closed.get_mut(id));
        let closing = tombstone.map(|tombstone| {
            tombstone.inherited = true;
            tombstone.closing
        });
        let row = Row::SavedTaken {
            seq,
            sessions: sessions.iter().map(|(session, _)| *session).collect(),
            closing,
            into,
        };
        Prepared {
            rows: vec![row],
            durable: seq,
            answer,
        }
    }
}

impl Entry {
    /// Whether the session may have what was left of a process with this user: nobody's, or the same user's.
    pub(super) fn may_have_of(&self, user: Option<&str>) -> bool {
        is_for(self.record.user.as_deref(), user)
    }
}

impl Tombstone {
    /// The same for whoever comes after a closed session.
    pub(super) fn may_have_of(&self, user: Option<&str>) -> bool {
        is_for(self.user.as_deref(), user)
    }
}

fn is_for(user: Option<&str>, of: Option<&str>) -> bool {
    of.is_none() || of == user
}

/// What was found of sessions, under their ids.
pub(in crate::store) fn named(
    previous: Option<SessionId>,
    sessions: &[(Seq, SessionId)],
    found: Vec<(Seq, crate::session::ProcessNumber, crate::context::Json)>,
) -> crate::application::Saved {
    let items = found.into_iter().filter_map(|(seq, process, information)| {
        let (_, session) = sessions.iter().find(|(session, _)| *session == seq)?;
        Some(crate::application::SavedInformation {
            session: *session,
            process,
            information,
        })
    });
    crate::application::Saved {
        previous,
        items: items.collect(),
    }
}
