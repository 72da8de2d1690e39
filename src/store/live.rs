//! The live set: every session that is not closed, in memory, as one state machine without I/O.
//!
//! `prepare` decides a change and publishes what it refuses; `publish` makes visible what a commit has made durable.
//! Everything sits behind one `RwLock` of the store around it; touches need only a shared borrow.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use slab::Slab;
use uuid::Uuid;

use super::record::{Begin, Record, Row, Tombstone};
use super::{Applied, Change, End, Found, NewSession, Part, Use};
use crate::admin::{ListQuery, Page};
use crate::clock::Timestamp;
use crate::options::{HARD_SESSION_LIMIT, Options};
use crate::session::{Cause, Seq, Session, SessionId, State};
use crate::sessions::Visit;
use crate::token::TokenHash;

/// A due session that nobody began to close is offered again after this long.
const OFFER_AGAIN: Duration = Duration::from_secs(5);

pub(super) struct LiveSet {
    options: Options,
    last_seq: Seq,
    durable: Seq,
    entries: Slab<Entry>,
    by_id: HashMap<SessionId, usize>,
    by_token: HashMap<TokenHash, usize>,
    by_seq: BTreeMap<Seq, usize>,
    /// Lower bounds of the deadlines; an entry that was touched since is put back when it comes up.
    deadlines: BinaryHeap<Reverse<(Timestamp, Seq)>>,
    /// Sessions that count against `max_sessions`: neither closing nor ended.
    counted: usize,
    /// Sessions that operators see: not reserved.
    visible: u64,
    /// Begun closings and until when somebody works on each; ordered by their begin.
    closings: BTreeMap<Seq, (usize, Option<Timestamp>)>,
    closed: HashMap<SessionId, Tombstone>,
    /// Sessions whose last request is not on disk yet, each once. Locked after the set itself, and only for a push.
    touched: Mutex<Vec<Seq>>,
}

struct Entry {
    record: Record,
    last_request_at: AtomicI64,
    /// Whether the last request is not on disk yet.
    touched: AtomicBool,
    phase: Phase,
}

enum Phase {
    /// Opened, not durable: visible to nobody.
    Reserved,
    Active,
    Closing(Begin),
    /// Finished or dropped, not durable.
    Ended(Tombstone),
}

/// A decided change: what to write, and what to answer once everything up to `durable` is on disk.
pub(super) struct Prepared {
    pub(super) row: Option<Row>,
    pub(super) durable: Seq,
    pub(super) answer: Answer,
}

/// An answer that is formed after the commit, from what is then true.
pub(super) enum Answer {
    Opened(SessionId),
    Full,
    Ended { id: SessionId, part: Part },
}

/// What a token leads to.
pub(super) enum Visited {
    Nobody,
    Live(Visit),
    /// Refused, and that may be said once everything up to this is on disk.
    Refused(Seq),
}

impl LiveSet {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            last_seq: Seq(0),
            durable: Seq(0),
            entries: Slab::new(),
            by_id: HashMap::new(),
            by_token: HashMap::new(),
            by_seq: BTreeMap::new(),
            deadlines: BinaryHeap::new(),
            counted: 0,
            visible: 0,
            closings: BTreeMap::new(),
            closed: HashMap::new(),
            touched: Mutex::new(Vec::new()),
        }
    }

    /// Everything up to this is on disk.
    pub(super) fn durable(&self) -> Seq {
        self.durable
    }

    pub(super) fn visit(&self, token: &TokenHash, usage: Use, now: Timestamp) -> Visited {
        let Some(entry) = self.by_token.get(token).map(|slot| &self.entries[*slot]) else {
            return Visited::Nobody;
        };
        match &entry.phase {
            Phase::Reserved => Visited::Nobody,
            Phase::Active if now >= self.expires_at(entry) => Visited::Nobody,
            Phase::Active => {
                if usage == Use::Request {
                    self.touch(entry, now);
                }
                Visited::Live(Visit {
                    id: entry.record.id,
                    user: entry.record.user.clone(),
                    state: State::Active,
                    expires_at: self.expires_at(entry),
                })
            }
            Phase::Closing(begin) => Visited::Refused(begin.seq),
            Phase::Ended(tombstone) => Visited::Refused(tombstone.seq),
        }
    }

    pub(super) fn prepare(&mut self, change: Change, now: Timestamp) -> Prepared {
        match change {
            Change::Open(new) => self.open(new, now),
            Change::BeginClose(end) => self.begin_close(end, now),
            Change::FinishClose(id) => self.finish_close(id, now),
            Change::Drop(end) => self.drop_session(end, now),
        }
    }

    fn open(&mut self, new: NewSession, now: Timestamp) -> Prepared {
        if self.counted >= self.options.max_sessions || self.entries.len() >= HARD_SESSION_LIMIT {
            return Prepared {
                row: None,
                durable: Seq(0),
                answer: Answer::Full,
            };
        }
        let record = Record {
            seq: self.next_seq(),
            id: new.id,
            token_hash: new.token_hash,
            kind: new.kind,
            mode: new.mode,
            login_at: new.user.as_ref().map(|_| now),
            user: new.user,
            ip: new.ip,
            user_agent: new.user_agent,
            created_at: now,
        };
        self.insert(record.clone(), now, Phase::Reserved);
        Prepared {
            durable: record.seq,
            answer: Answer::Opened(record.id),
            row: Some(Row::Opened(record)),
        }
    }

    fn begin_close(&mut self, end: End, now: Timestamp) -> Prepared {
        let id = end.id;
        let Some(slot) = self.by_id.get(&id).copied() else {
            return self.nothing_to_end(id, end.request_id);
        };
        let deadline = self.expires_at(&self.entries[slot]);
        match &self.entries[slot].phase {
            Phase::Reserved => return Prepared::nothing(id),
            Phase::Closing(begin) => {
                return Prepared::ended(id, begin.seq, begin.part_of(end.request_id));
            }
            Phase::Ended(tombstone) => {
                return Prepared::ended(id, tombstone.seq, tombstone.part_of(end.request_id));
            }
            Phase::Active if end.cause == Cause::Inactive && now < deadline => {
                return Prepared::nothing(id);
            }
            Phase::Active => {}
        }
        let begin = Begin {
            seq: self.next_seq(),
            cause: end.cause,
            request_id: end.request_id,
        };
        let entry = &mut self.entries[slot];
        entry.phase = Phase::Closing(begin);
        let record = entry.record.clone();
        self.counted -= 1;
        self.closings.insert(begin.seq, (slot, None));
        let row = Row::Begun {
            begin: begin.seq,
            record,
            end,
            at: now,
        };
        Prepared {
            row: Some(row),
            ..Prepared::ended(id, begin.seq, Part::Began)
        }
    }

    fn finish_close(&mut self, id: SessionId, now: Timestamp) -> Prepared {
        let Some(slot) = self.by_id.get(&id).copied() else {
            return self.nothing_to_end(id, None);
        };
        let begin = match &self.entries[slot].phase {
            Phase::Closing(begin) => *begin,
            Phase::Ended(tombstone) => return Prepared::ended(id, tombstone.seq, Part::None),
            Phase::Reserved | Phase::Active => return Prepared::nothing(id),
        };
        let tombstone = self.bury(slot, begin.cause, [begin.request_id, None], now);
        self.closings.remove(&begin.seq);
        let (durable, session) = (tombstone.seq, self.entries[slot].record.seq);
        let row = Row::Finished {
            id,
            session,
            begin: begin.seq,
            tombstone,
        };
        Prepared {
            row: Some(row),
            ..Prepared::ended(id, durable, Part::None)
        }
    }

    fn drop_session(&mut self, end: End, now: Timestamp) -> Prepared {
        let id = end.id;
        let Some(slot) = self.by_id.get(&id).copied() else {
            return self.nothing_to_end(id, end.request_id);
        };
        let begin = match &self.entries[slot].phase {
            Phase::Reserved => return Prepared::nothing(id),
            Phase::Ended(tombstone) => {
                return Prepared::ended(id, tombstone.seq, tombstone.part_of(end.request_id));
            }
            Phase::Closing(begin) => Some(*begin),
            Phase::Active => None,
        };
        match begin {
            Some(begin) => drop(self.closings.remove(&begin.seq)),
            None => self.counted -= 1,
        }
        let (part, request_ids) = match begin {
            Some(begin) => (Part::CutShort, [begin.request_id, end.request_id]),
            None => (Part::Began, [end.request_id, None]),
        };
        let tombstone = self.bury(slot, end.cause, request_ids, now);
        let record = self.entries[slot].record.clone();
        let durable = tombstone.seq;
        let row = Row::Dropped {
            begin: begin.map(|begin| begin.seq),
            record,
            end,
            tombstone,
        };
        Prepared {
            row: Some(row),
            ..Prepared::ended(id, durable, part)
        }
    }

    fn nothing_to_end(&self, id: SessionId, request_id: Option<Uuid>) -> Prepared {
        let part = self
            .closed
            .get(&id)
            .map_or(Part::None, |tombstone| tombstone.part_of(request_id));
        Prepared::ended(id, Seq(0), part)
    }

    fn bury(
        &mut self,
        slot: usize,
        cause: Cause,
        request_ids: [Option<Uuid>; 2],
        now: Timestamp,
    ) -> Tombstone {
        let seq = self.next_seq();
        let entry = &mut self.entries[slot];
        let tombstone = Tombstone {
            seq,
            cause,
            closed_at: now,
            user: entry.record.user.clone(),
            request_ids,
        };
        entry.phase = Phase::Ended(tombstone.clone());
        tombstone
    }

    /// Makes visible what the commit of these rows has made durable.
    pub(super) fn publish(&mut self, rows: &[Row]) {
        for row in rows {
            self.durable = row.seq();
            match row {
                Row::Opened(record) => self.activate(record.seq),
                Row::Begun { .. } => {}
                Row::Finished { id, tombstone, .. } => self.remove(*id, tombstone.clone()),
                Row::Dropped {
                    record, tombstone, ..
                } => self.remove(record.id, tombstone.clone()),
            }
        }
    }

    fn activate(&mut self, seq: Seq) {
        let Some(slot) = self.by_seq.get(&seq).copied() else {
            return;
        };
        self.entries[slot].phase = Phase::Active;
        self.visible += 1;
        self.deadlines
            .push(Reverse((self.expires_at(&self.entries[slot]), seq)));
    }

    fn remove(&mut self, id: SessionId, tombstone: Tombstone) {
        if let Some(slot) = self.by_id.remove(&id) {
            let entry = self.entries.remove(slot);
            self.by_token.remove(&entry.record.token_hash);
            self.by_seq.remove(&entry.record.seq);
            self.visible -= 1;
        }
        self.closed.insert(id, tombstone);
    }

    /// Forms the answer to a prepared change; call it once the change is durable.
    pub(super) fn answer(&self, answer: &Answer, now: Timestamp) -> Applied {
        match answer {
            Answer::Full => Applied::Full,
            Answer::Ended { id, part } => Applied::Ended {
                found: self.find(*id, now),
                part: *part,
            },
            Answer::Opened(id) => match self.find(*id, now) {
                Found::Open(session, _) => Applied::Opened(session),
                // Ended by somebody else between the commit and this answer: the newcomer was too late.
                found => Applied::Ended {
                    found,
                    part: Part::None,
                },
            },
        }
    }

    pub(super) fn find(&self, id: SessionId, now: Timestamp) -> Found {
        if let Some(tombstone) = self.closed.get(&id) {
            return Found::Closed(tombstone.session(id));
        }
        let entry = self.by_id.get(&id).map(|slot| &self.entries[*slot]);
        match entry.map(|entry| (entry, &entry.phase)) {
            None | Some((_, Phase::Reserved)) => Found::Unknown,
            Some((entry, Phase::Active)) => Found::Open(self.session(entry, now), None),
            Some((entry, Phase::Closing(begin))) => {
                Found::Open(self.session(entry, now), Some(begin.cause))
            }
            Some((entry, Phase::Ended(tombstone))) => {
                Found::Open(self.session(entry, now), Some(tombstone.cause))
            }
        }
    }

    pub(super) fn page(&self, query: ListQuery, now: Timestamp) -> Page {
        let from = Seq(query.after.map_or(0, |seq| seq.0.saturating_add(1)));
        let visible = self
            .by_seq
            .range(from..)
            .map(|(_, slot)| &self.entries[*slot]);
        let mut rows = visible.filter(|entry| !matches!(entry.phase, Phase::Reserved));
        let items: Vec<Session> = rows
            .by_ref()
            .take(query.page_size())
            .map(|entry| self.session(entry, now))
            .collect();
        let next = rows.next().and(items.last()).map(|session| session.seq);
        Page {
            items,
            total: self.visible,
            next,
            as_of: self.durable,
        }
    }

    pub(super) fn due(&mut self, now: Timestamp, max: usize) -> Vec<SessionId> {
        let mut due = Vec::new();
        while due.len() < max
            && self
                .deadlines
                .peek()
                .is_some_and(|Reverse((at, _))| *at <= now)
        {
            let Some(Reverse((_, seq))) = self.deadlines.pop() else {
                break;
            };
            let Some(entry) = self.by_seq.get(&seq).map(|slot| &self.entries[*slot]) else {
                continue;
            };
            if !matches!(entry.phase, Phase::Active) {
                continue;
            }
            let deadline = self.expires_at(entry);
            if deadline <= now {
                due.push(entry.record.id);
            }
            self.deadlines.push(Reverse((
                deadline.max(now.plus(if deadline <= now {
                    OFFER_AGAIN
                } else {
                    Duration::ZERO
                })),
                seq,
            )));
        }
        due
    }

    pub(super) fn claim(&mut self, now: Timestamp, until: Timestamp, max: usize) -> Vec<SessionId> {
        let begun = self.closings.range_mut(..=self.durable);
        let free = begun
            .filter(|(_, (_, lease))| lease.is_none_or(|lease| lease <= now))
            .take(max);
        free.map(|(_, (slot, lease))| {
            *lease = Some(until);
            self.entries[*slot].record.id
        })
        .collect()
    }

    fn touch(&self, entry: &Entry, now: Timestamp) {
        entry
            .last_request_at
            .fetch_max(now.as_millis(), Ordering::Relaxed);
        if !entry.touched.swap(true, Ordering::AcqRel) {
            self.touched
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(entry.record.seq);
        }
    }

    /// The last requests that are not on disk yet, in the order of the rows; they count as written from here on.
    pub(super) fn take_touches(&self) -> Vec<(Seq, Timestamp)> {
        let mut touched =
            std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner));
        touched.sort_unstable();
        let entries = touched
            .into_iter()
            .filter_map(|seq| self.by_seq.get(&seq))
            .map(|slot| &self.entries[*slot]);
        entries
            .map(|entry| {
                // Cleared before the time is read: a touch in between is written twice, never lost.
                entry.touched.store(false, Ordering::Release);
                (entry.record.seq, entry.last_request_at())
            })
            .collect()
    }

    /// Puts back a session that a store had kept, and the begin of its closing if that was kept too.
    pub(super) fn restore(
        &mut self,
        record: Record,
        last_request_at: Timestamp,
        begin: Option<Begin>,
    ) {
        let seq = record.seq;
        self.restored(begin.map_or(seq, |begin| begin.seq).max(seq));
        let slot = self.insert(record, last_request_at, Phase::Reserved);
        self.activate(seq);
        if let Some(begin) = begin {
            self.entries[slot].phase = Phase::Closing(begin);
            self.counted -= 1;
            self.closings.insert(begin.seq, (slot, None));
        }
    }

    /// Puts back the memory of a closed session.
    pub(super) fn restore_closed(&mut self, id: SessionId, tombstone: Tombstone) {
        self.restored(tombstone.seq);
        self.closed.insert(id, tombstone);
    }

    fn restored(&mut self, seq: Seq) {
        self.last_seq = self.last_seq.max(seq);
        self.durable = self.durable.max(seq);
    }

    fn insert(&mut self, record: Record, last_request_at: Timestamp, phase: Phase) -> usize {
        let (seq, id, token_hash) = (record.seq, record.id, record.token_hash);
        let slot = self.entries.insert(Entry {
            record,
            last_request_at: AtomicI64::new(last_request_at.as_millis()),
            touched: AtomicBool::new(false),
            phase,
        });
        self.by_id.insert(id, slot);
        self.by_token.insert(token_hash, slot);
        self.by_seq.insert(seq, slot);
        self.counted += 1;
        slot
    }

    fn next_seq(&mut self) -> Seq {
        self.last_seq.0 += 1;
        self.last_seq
    }

    fn expires_at(&self, entry: &Entry) -> Timestamp {
        let since = entry.record.login_at.unwrap_or(entry.record.created_at);
        self.options.expires_at(since, entry.last_request_at())
    }

    fn session(&self, entry: &Entry, now: Timestamp) -> Session {
        let record = &entry.record;
        let (state, expires_at) = match entry.phase {
            Phase::Reserved | Phase::Active => {
                let at = self.expires_at(entry);
                (
                    if now >= at {
                        State::Expired
                    } else {
                        State::Active
                    },
                    at,
                )
            }
            Phase::Closing(_) | Phase::Ended(_) => (State::Closing, Timestamp::EPOCH),
        };
        Session {
            id: record.id,
            kind: record.kind,
            mode: record.mode,
            state,
            user: record.user.as_deref().map(str::to_owned),
            ip: record.ip,
            user_agent: record.user_agent.as_deref().map(str::to_owned),
            created_at: record.created_at,
            login_at: record.login_at,
            last_request_at: entry.last_request_at(),
            expires_at,
            idle_ms: u64::try_from(now.since(entry.last_request_at()).as_millis())
                .unwrap_or(u64::MAX),
            seq: record.seq,
        }
    }
}

impl Entry {
    fn last_request_at(&self) -> Timestamp {
        Timestamp::from_millis(self.last_request_at.load(Ordering::Relaxed))
    }
}

impl Prepared {
    fn nothing(id: SessionId) -> Self {
        Self::ended(id, Seq(0), Part::None)
    }

    fn ended(id: SessionId, durable: Seq, part: Part) -> Self {
        Self {
            row: None,
            durable,
            answer: Answer::Ended { id, part },
        }
    }
}
