//! How a session comes to be used: it is opened, a user signs in, a suspended one is active again (C10, C11, S08).

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, LiveSet, Phase, Prepared, last_row};
use crate::audit::{Action, Actor, Order};
use crate::clock::Timestamp;
use crate::session::{Kind, Mode, ProcessNumber, Seq, SessionId};
use crate::store::record::{Record, Row};
use crate::store::{Applied, MadeRoom, NewSession, Unfit};
use crate::token::TokenHash;

impl LiveSet {
    pub(super) fn open(&mut self, new: NewSession, now: Timestamp) -> Prepared {
        let mode = self.options().mode;
        if mode == Mode::None {
            return Prepared::answered(Answer::NoSessions);
        }
        let previous = new.previous.and_then(|token| self.had(&token));
        let (mut rows, made) = match self.make_room(mode, new.user.is_some(), &new.actor, now) {
            Ok(made) => made,
            Err(full) => return full,
        };
        let record = Record {
            seq: self.next_seq(),
            id: new.id,
            token_hash: new.token_hash,
            kind: new.kind,
            mode,
            login_at: new.user.as_ref().map(|_| now),
            user: new.user,
            ip: new.ip,
            user_agent: new.user_agent,
            created_at: now,
            idle_timeout: new.idle_timeout,
            previous,
        };
        let slot = self.insert(record.clone(), now, Phase::Reserved);
        if record.kind == Kind::Web {
            self.entries[slot].add_process(now, None);
        }
        let ordered = new.ordered_by.map(|actor| Order {
            at: now,
            actor: actor.to_string(),
            via: actor.via().map(str::to_owned),
            action: Action::OpenSession,
            session: Some(record.id),
            user: record.user.as_deref().map(str::to_owned),
            detail: None,
            request_id: None,
        });
        let answer = Answer::Opened(record.id, made);
        rows.push(Row::Opened(record));
        rows.extend(ordered.map(|order| self.audited(order)));
        Prepared {
            durable: last_row(&rows),
            rows,
            answer,
        }
    }

    /// The session that had a token which opens nothing any more.
    fn had(&self, token: &TokenHash) -> Option<SessionId> {
        let slot = self.by_token.get(token);
        let entry = slot.map(|slot| self.entries[*slot].record.id);
        entry.or_else(|| self.closed.by_token(token))
    }

    /// The old token is refused from here on, the new one good once it is on disk (S08).
    pub(super) fn log_in(
        &mut self,
        id: SessionId,
        user: Arc<str>,
        token_hash: TokenHash,
        actor: &Actor,
        now: Timestamp,
    ) -> Prepared {
        let slot = match self.live_entry(id, now) {
            Ok(slot) => slot,
            Err(unfit) => return unfit,
        };
        let (mut rows, made) = match self.revive(slot, None, actor, now) {
            Ok((rows, made, _)) => (rows, made),
            Err(full) => return full,
        };
        // Making room may have closed it.
        if !self.entries[slot].phase.is_live() {
            return Prepared {
                durable: last_row(&rows),
                rows,
                answer: Answer::Ready(Box::new(Applied::Unfit(Unfit::Closing))),
            };
        }
        rows.extend(self.dismiss_saved(slot, &user));
        let seq = self.next_seq();
        self.rotated.forget(now);
        let entry = &mut self.entries[slot];
        let old = std::mem::replace(&mut entry.record.token_hash, token_hash);
        entry.record.user = Some(Arc::clone(&user));
        entry.record.login_at = Some(now);
        entry.changed = seq;
        self.by_token.remove(&old);
        self.rotated.insert(old, now, seq);
        self.touch(&self.entries[slot], now);
        rows.push(Row::LoggedIn {
            seq,
            session: self.entries[slot].record.seq,
            old,
            new: token_hash,
            user,
            at: now,
        });
        Prepared {
            rows,
            durable: seq,
            answer: Answer::LoggedIn(id, made),
        }
    }

    /// What was left of another user's processes is not for whoever signs in now (C05).
    fn dismiss_saved(&mut self, slot: usize, user: &str) -> Option<Row> {
        let entry = &self.entries[slot];
        let before = entry.record.user.as_deref();
        if !entry.saved || before.is_none_or(|before| before == user) {
            return None;
        }
        let (seq, session) = self.changing(slot);
        self.entries[slot].saved = false;
        Some(Row::SavedTaken {
            seq,
            sessions: vec![session],
            closing: None,
            into: Arc::default(),
        })
    }

    /// A suspended session gets a place again, for a request with its cookie.
    pub(super) fn resume(&mut self, id: SessionId, actor: &Actor, now: Timestamp) -> Prepared {
        let nothing = |durable| Prepared {
            durable,
            ..Prepared::answered(Answer::Resumed(id, MadeRoom::default()))
        };
        let Some(slot) = self.by_id.get(&id).copied() else {
            return nothing(Seq(0));
        };
        let entry = &self.entries[slot];
        let told_at = entry.phase.told_at();
        match entry.phase {
            Phase::Resuming(seq) => return nothing(seq),
            Phase::Active | Phase::Suspended if now < self.expires_at(entry) => {}
            _ => return nothing(told_at),
        }
        match self.revive(slot, None, actor, now) {
            Ok((rows, made, _)) => Prepared {
                durable: last_row(&rows),
                rows,
                answer: Answer::Resumed(id, made),
            },
            Err(full) => full,
        }
    }

    /// Sees to it that a live session has its place, with a fresh process where it is a suspended web session. One whose
    /// process is due is suspended first: its context has ended. Making room may close the session itself: look again.
    pub(super) fn revive(
        &mut self,
        slot: usize,
        lease: Option<Duration>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(Vec<Row>, MadeRoom, Option<ProcessNumber>), Prepared> {
        let entry = &self.entries[slot];
        let mut rows = match &entry.phase {
            Phase::Suspended => Vec::new(),
            Phase::Active if self.is_process_over(entry, now) => self.suspend(slot, now),
            _ => return Ok((Vec::new(), MadeRoom::default(), None)),
        };
        let record = &self.entries[slot].record;
        let (mode, is_user) = (record.mode, record.user.is_some());
        let made = match self.make_room(mode, is_user, actor, now) {
            Ok((made_rows, made)) => {
                rows.extend(made_rows);
                made
            }
            Err(mut full) => {
                rows.append(&mut full.rows);
                return Err(Prepared {
                    durable: last_row(&rows),
                    rows,
                    ..full
                });
            }
        };
        if !matches!(self.entries[slot].phase, Phase::Suspended) {
            return Ok((rows, made, None));
        }
        let seq = self.next_seq();
        let entry = &mut self.entries[slot];
        entry.phase = Phase::Resuming(seq);
        entry.changed = seq;
        let (counts, session) = (entry.phase.counts(mode), entry.record.seq);
        let process = self.add_process(slot, now, lease);
        self.counted += usize::from(counts);
        self.suspended -= 1;
        rows.push(Row::Resumed {
            seq,
            session,
            process,
            at: now,
        });
        if lease.is_some() {
            rows.push(self.started(slot, process, now, lease));
        }
        Ok((rows, made, Some(process)))
    }
}
