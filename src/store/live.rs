//! The live set: every session that is not closed, in memory, as one state machine without I/O.
//!
//! `prepare` decides a change and publishes what it refuses; `publish` makes visible what a commit has made durable.
//! Everything sits behind one `RwLock` of the store around it; touches need only a shared borrow.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

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

impl Phase {
    /// What must be on disk before anybody is told of this phase.
    fn told_at(&self) -> Seq {
        match self {
            Self::Reserved | Self::Active => Seq(0),
            Self::Closing(begin) => begin.seq,
            Self::Ended(tombstone) => tombstone.seq,
        }
    }
}

/// A decided change: what to write, and what to answer once everything up to `durable` is on disk.
pub(super) struct Prepared {
    pub(super) rows: Vec<Row>,
    pub(super) durable: Seq,
    pub(super) answer: Answer,
}

/// An answer that is formed after the commit, from what is then true.
pub(super) enum Answer {
    Opened(SessionId),
    Full,
    Expired(usize),
    Ended { id: SessionId, part: Part },
}

/// Something that may be told once everything up to `durable` is on disk: before, a crash could make it untrue.
pub(super) struct Told<T> {
    pub(super) what: T,
    pub(super) durable: Seq,
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

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Everything up to this is on disk.
    pub(super) fn durable(&self) -> Seq {
        self.durable
    }

    pub(super) fn visit(
        &self,
        token: &TokenHash,
        usage: Use,
        now: Timestamp,
    ) -> Told<Option<Visit>> {
        let Some(entry) = self.by_token.get(token).map(|slot| &self.entries[*slot]) else {
            return Told {
                what: None,
                durable: Seq(0),
            };
        };
        let durable = entry.phase.told_at();
        let expires_at = self.expires_at(entry);
        if !matches!(entry.phase, Phase::Active) || now >= expires_at {
            return Told {
                what: None,
                durable,
            };
        }
        let expires_at = match usage {
            Use::Look => expires_at,
            Use::Request => {
                self.touch(entry, now);
                self.expires_at(entry)
            }
        };
        let (id, user) = (entry.record.id, entry.record.user.clone());
        Told {
            what: Some(Visit {
                id,
                user,
                state: State::Active,
                expires_at,
            }),
            durable,
        }
    }

    pub(super) fn prepare(&mut self, change: Change, now: Timestamp) -> Prepared {
        match change {
            Change::Open(new) => self.open(new, now),
            Change::BeginClose(end) => self.begin_close(end, now),
            Change::FinishClose(id) => self.finish_close(id, now),
            Change::Drop(end) => self.drop_session(end, now),
            Change::Expire { actor, limit } => self.expire(&actor, limit, now),
        }
    }

    /// A full server makes room with what is due, in the same change.
    fn open(&mut self, new: NewSession, now: Timestamp) -> Prepared {
        let mut rows = Vec::new();
        while self.counted >= self.options.max_sessions || self.entries.len() >= HARD_SESSION_LIMIT
        {
            let due = self.pop_due(now);
            let Some(id) = due else {
                return self.full(rows);
            };
            rows.extend(self.begin_close(End::on_time(id, &new.actor), now).rows);
            if self.entries.len() >= HARD_SESSION_LIMIT {
                // Under the hard limit a closing makes room only when it has ended.
                return self.full(rows);
            }
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
        let (durable, answer) = (record.seq, Answer::Opened(record.id));
        rows.push(Row::Opened(record));
        Prepared {
            rows,
            durable,
            answer,
        }
    }

    fn full(&self, rows: Vec<Row>) -> Prepared {
        let durable = self.last_row(&rows);
        Prepared {
            rows,
            durable,
            answer: Answer::Full,
        }
    }

    /// Begins the closing of sessions that are due, at most so many.
    fn expire(&mut self, actor: &str, limit: usize, now: Timestamp) -> Prepared {
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some(id) = self.pop_due(now)
        {
            rows.extend(self.begin_close(End::on_time(id, actor), now).rows);
        }
        let (durable, answer) = (self.last_row(&rows), Answer::Expired(rows.len()));
        Prepared {
            rows,
            durable,
            answer,
        }
    }

    /// The next session whose time is over. It is taken out of the deadlines: close it.
    fn pop_due(&mut self, now: Timestamp) -> Option<SessionId> {
        while self
            .deadlines
            .peek()
            .is_some_and(|Reverse((at, _))| *at <= now)
        {
            let Reverse((_, seq)) = self.deadlines.pop()?;
            let entry = self.by_seq.get(&seq).map(|slot| &self.entries[*slot]);
            let Some(entry) = entry.filter(|entry| matches!(entry.phase, Phase::Active)) else {
                continue;
            };
            match self.expires_at(entry) {
                deadline if deadline <= now => return Some(entry.record.id),
                deadline => self.deadlines.push(Reverse((deadline, seq))),
            }
        }
        None
    }

    fn last_row(&self, rows: &[Row]) -> Seq {
        rows.last().map_or(Seq(0), Row::seq)
    }

    fn begin_close(&mut self, end: End, now: Timestamp) -> Prepared {
        let id = end.id;
        let Some(slot) = self.by_id.get(&id).copied() else {
            return self.nothing_to_end(id, end.request_id);
        };
        match &self.entries[slot].phase {
            Phase::Reserved => return Prepared::nothing(id),
            Phase::Closing(begin) => {
                return Prepared::ended(id, begin.seq, begin.part_of(end.request_id));
            }
            Phase::Ended(tombstone) => {
                return Prepared::ended(id, tombstone.seq, tombstone.part_of(end.request_id));
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
            rows: vec![row],
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
            rows: vec![row],
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
            rows: vec![row],
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
    pub(super) fn answer(&self, answer: &Answer, now: Timestamp) -> Told<Applied> {
        let (id, part) = match answer {
            Answer::Full => {
                return Told {
                    what: Applied::Full,
                    durable: Seq(0),
                };
            }
            Answer::Expired(count) => {
                return Told {
                    what: Applied::Expired(*count),
                    durable: Seq(0),
                };
            }
            Answer::Ended { id, part } => (*id, *part),
            // It may have been ended between the commit and this answer: the newcomer was too late.
            Answer::Opened(id) => (*id, Part::None),
        };
        let Told {
            what: found,
            durable,
        } = self.find(id, now);
        let what = match (answer, found) {
            (Answer::Opened(_), Found::Open(session, None)) => Applied::Opened(session),
            (_, found) => Applied::Ended { found, part },
        };
        Told { what, durable }
    }

    pub(super) fn find(&self, id: SessionId, now: Timestamp) -> Told<Found> {
        if let Some(tombstone) = self.closed.get(&id) {
            return Told {
                what: Found::Closed(tombstone.session(id)),
                durable: Seq(0),
            };
        }
        let entry = self.by_id.get(&id).map(|slot| &self.entries[*slot]);
        let Some(entry) = entry.filter(|entry| !matches!(entry.phase, Phase::Reserved)) else {
            return Told {
                what: Found::Unknown,
                durable: Seq(0),
            };
        };
        let cause = match &entry.phase {
            Phase::Reserved | Phase::Active => None,
            Phase::Closing(begin) => Some(begin.cause),
            Phase::Ended(tombstone) => Some(tombstone.cause),
        };
        Told {
            what: Found::Open(self.session(entry, now), cause),
            durable: entry.phase.told_at(),
        }
    }

    pub(super) fn page(&self, query: ListQuery, now: Timestamp) -> Told<Page> {
        let after = query.after.unwrap_or_default();
        let entries = self
            .by_seq
            .range(Seq(after.0.saturating_add(1))..)
            .map(|(_, slot)| &self.entries[*slot]);
        let mut visible = entries.filter(|entry| !matches!(entry.phase, Phase::Reserved));
        let mut durable = Seq(0);
        let shown = visible.by_ref().take(query.page_size()).map(|entry| {
            durable = durable.max(entry.phase.told_at());
            self.session(entry, now)
        });
        let items: Vec<Session> = shown.collect();
        let next = visible
            .next()
            .map(|_| items.last().map_or(after, |session| session.seq));
        Told {
            what: Page {
                items,
                total: self.visible,
                next,
                as_of: self.durable,
            },
            durable,
        }
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
                entry.touched.swap(false, Ordering::AcqRel);
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
            rows: Vec::new(),
            durable,
            answer: Answer::Ended { id, part },
        }
    }
}
