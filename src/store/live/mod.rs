//! The live set: every session that is not closed, in memory, as one state machine without I/O.
//!
//! `prepare` decides a change and publishes what it refuses; `publish` makes visible what a commit has made durable.
//! Everything sits behind one `RwLock` of the store around it; touches need only a shared borrow.

mod room;
mod views;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use slab::Slab;
use uuid::Uuid;

use self::room::Rank;
use super::record::{Begin, Record, Row, Standing, Tombstone};
use super::{Change, End, Impact, MadeRoom, NewSession, Part};
use crate::clock::Timestamp;
use crate::options::{OptionError, Options, Settings};
use crate::session::{Cause, Mode, Seq, SessionId};
use crate::token::TokenHash;

pub(super) struct LiveSet {
    /// In force.
    settings: Arc<Settings>,
    /// In force once the commit is done that sets them: what is decided about the limit goes by the stricter of both.
    decided: Arc<Settings>,
    last_seq: Seq,
    durable: Seq,
    /// The last instant that anything kept here tells of.
    latest: Timestamp,
    entries: Slab<Entry>,
    by_id: HashMap<SessionId, usize>,
    by_token: HashMap<TokenHash, usize>,
    by_seq: BTreeMap<Seq, usize>,
    /// Lower bounds of the deadlines; an entry that was touched since is put back when it comes up.
    deadlines: BinaryHeap<Reverse<(Timestamp, Seq)>>,
    /// Who may make room, in lower bounds of their rank and last request.
    idle: BTreeSet<Rank>,
    /// Sessions that count against `max_sessions`.
    counted: usize,
    /// Sessions that operators see: not reserved.
    visible: u64,
    /// Sessions whose cookie is good, time permitting; and those of them whose process has ended.
    live: u64,
    suspended: u64,
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
    /// Whether its cookie ever came back.
    confirmed: AtomicBool,
    /// Where it stands among those who may make room.
    rank: Option<Rank>,
    phase: Phase,
}

enum Phase {
    /// Opened, not durable: visible to nobody.
    Reserved,
    Active,
    /// Its process has ended; it does not count (C10, C11).
    Suspended,
    /// It has a place again; not durable.
    Resuming(Seq),
    Closing(Begin),
    /// Finished or dropped, not durable.
    Ended(Tombstone),
}

impl Phase {
    /// What must be on disk before anybody is told of this phase.
    fn told_at(&self) -> Seq {
        match self {
            // Time alone suspends a session, and would do so again after a crash.
            Self::Reserved | Self::Active | Self::Suspended | Self::Resuming(_) => Seq(0),
            Self::Closing(begin) => begin.seq,
            Self::Ended(tombstone) => tombstone.seq,
        }
    }

    /// Whether the session's cookie is good, time permitting.
    fn is_live(&self) -> bool {
        matches!(self, Self::Active | Self::Suspended | Self::Resuming(_))
    }

    /// Whether a session of such a mode counts against `max_sessions` (C10, C14).
    fn counts(&self, mode: Mode) -> bool {
        let has_process = matches!(self, Self::Reserved | Self::Active | Self::Resuming(_));
        has_process && mode == Mode::Legacy
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
    Opened(SessionId, MadeRoom),
    Resumed(SessionId, MadeRoom),
    Full {
        limit: usize,
    },
    NoSessions,
    Ignored(SessionId),
    Expired {
        closed: usize,
        suspended: usize,
        is_all: bool,
    },
    OptionsSet {
        is_set: bool,
        impact: Impact,
        evicted: Vec<SessionId>,
    },
    OptionRefused(OptionError),
    Ended {
        id: SessionId,
        part: Part,
    },
}

/// Something that may be told once everything up to `durable` is on disk: before, a crash could make it untrue.
pub(super) struct Told<T> {
    pub(super) what: T,
    pub(super) durable: Seq,
}

impl<T> Told<T> {
    /// What no crash takes back.
    fn at_once(what: T) -> Self {
        Self {
            what,
            durable: Seq(0),
        }
    }
}

impl LiveSet {
    pub(super) fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        Self {
            decided: Arc::clone(&settings),
            settings,
            last_seq: Seq(0),
            durable: Seq(0),
            latest: Timestamp::EPOCH,
            entries: Slab::new(),
            by_id: HashMap::new(),
            by_token: HashMap::new(),
            by_seq: BTreeMap::new(),
            deadlines: BinaryHeap::new(),
            idle: BTreeSet::new(),
            counted: 0,
            visible: 0,
            live: 0,
            suspended: 0,
            closings: BTreeMap::new(),
            closed: HashMap::new(),
            touched: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    fn options(&self) -> &Options {
        self.settings.options()
    }

    /// Everything up to this is on disk.
    pub(super) fn durable(&self) -> Seq {
        self.durable
    }

    /// The last instant that anything kept here told of when it was read.
    pub(super) fn latest(&self) -> Timestamp {
        self.latest
    }

    pub(super) fn prepare(&mut self, change: Change, now: Timestamp) -> Prepared {
        match change {
            Change::Open(new) => self.open(new, now),
            Change::Resume { id, actor } => self.resume(id, &actor, now),
            Change::SetOptions(set) => self.set_options(set, now),
            Change::BeginClose(end) => self.begin_close(end, now),
            Change::FinishClose(id) => self.finish_close(id, now),
            Change::Drop(end) => self.drop_session(end, now),
            Change::Expire { actor, limit } => self.expire(&actor, limit, now),
        }
    }

    fn open(&mut self, new: NewSession, now: Timestamp) -> Prepared {
        let mode = self.options().mode;
        if mode == Mode::None {
            return Prepared::answered(Answer::NoSessions);
        }
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
        };
        self.insert(record.clone(), now, Phase::Reserved);
        let (durable, answer) = (record.seq, Answer::Opened(record.id, made));
        rows.push(Row::Opened(record));
        Prepared {
            rows,
            durable,
            answer,
        }
    }

    /// A suspended session gets a place again. One whose process is due is suspended first: its context has ended.
    fn resume(&mut self, id: SessionId, actor: &str, now: Timestamp) -> Prepared {
        let nothing = |durable| Prepared {
            durable,
            ..Prepared::answered(Answer::Resumed(id, MadeRoom::default()))
        };
        let Some(slot) = self.by_id.get(&id).copied() else {
            return nothing(Seq(0));
        };
        let entry = &self.entries[slot];
        let told_at = entry.phase.told_at();
        let is_over = now >= self.expires_at(entry);
        let mut rows = match &entry.phase {
            Phase::Suspended if !is_over => Vec::new(),
            Phase::Active if !is_over && self.is_process_over(entry, now) => {
                vec![self.suspend(slot, now)]
            }
            Phase::Resuming(seq) => return nothing(*seq),
            _ => return nothing(told_at),
        };
        let (mode, is_user) = (
            self.entries[slot].record.mode,
            self.entries[slot].record.user.is_some(),
        );
        let made = match self.make_room(mode, is_user, actor, now) {
            Ok((made_rows, made)) => {
                rows.extend(made_rows);
                made
            }
            Err(mut full) => {
                rows.append(&mut full.rows);
                return Prepared {
                    durable: last_row(&rows),
                    rows,
                    ..full
                };
            }
        };
        // Making room may have closed it: it was due.
        if !matches!(self.entries[slot].phase, Phase::Suspended) {
            return Prepared {
                durable: last_row(&rows),
                rows,
                answer: Answer::Resumed(id, made),
            };
        }
        let seq = self.next_seq();
        self.entries[slot].phase = Phase::Resuming(seq);
        self.counted += 1;
        self.suspended -= 1;
        rows.push(Row::Resumed {
            seq,
            session: self.entries[slot].record.seq,
            at: now,
        });
        Prepared {
            rows,
            durable: seq,
            answer: Answer::Resumed(id, made),
        }
    }

    fn suspend(&mut self, slot: usize, now: Timestamp) -> Row {
        let (seq, session) = (self.next_seq(), self.entries[slot].record.seq);
        self.end_process(slot);
        self.push_deadline(slot);
        Row::Suspended {
            seq,
            session,
            at: now,
        }
    }

    fn end_process(&mut self, slot: usize) {
        self.unrank(slot);
        self.entries[slot].phase = Phase::Suspended;
        self.counted -= 1;
        self.suspended += 1;
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
            Phase::Active | Phase::Suspended | Phase::Resuming(_) => {}
        }
        if self.entries[slot].record.mode == Mode::Scalable && end.cause == Cause::Command {
            return Prepared::answered(Answer::Ignored(id));
        }
        let begin = Begin {
            seq: self.next_seq(),
            cause: end.cause,
            request_id: end.request_id,
        };
        self.leave(slot);
        self.entries[slot].phase = Phase::Closing(begin);
        let record = self.entries[slot].record.clone();
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

    /// Takes a live session out of the counts and out of those who may make room.
    fn leave(&mut self, slot: usize) {
        self.unrank(slot);
        let entry = &self.entries[slot];
        self.counted -= usize::from(entry.phase.counts(entry.record.mode));
        self.suspended -= u64::from(matches!(entry.phase, Phase::Suspended));
        self.live -= 1;
    }

    fn finish_close(&mut self, id: SessionId, now: Timestamp) -> Prepared {
        let Some(slot) = self.by_id.get(&id).copied() else {
            return self.nothing_to_end(id, None);
        };
        let begin = match &self.entries[slot].phase {
            Phase::Closing(begin) => *begin,
            Phase::Ended(tombstone) => return Prepared::ended(id, tombstone.seq, Part::None),
            Phase::Reserved | Phase::Active | Phase::Suspended | Phase::Resuming(_) => {
                return Prepared::nothing(id);
            }
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
            Phase::Active | Phase::Suspended | Phase::Resuming(_) => None,
        };
        match begin {
            Some(begin) => drop(self.closings.remove(&begin.seq)),
            None => self.leave(slot),
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
                Row::Resumed { session, at, .. } => self.resumed(*session, *at),
                Row::OptionsSet { settings, .. } => self.put_in_force(Arc::clone(settings)),
                Row::Begun { .. } | Row::Suspended { .. } => {}
                Row::Finished { id, tombstone, .. } => self.remove(*id, tombstone.clone()),
                Row::Dropped {
                    record, tombstone, ..
                } => self.remove(record.id, tombstone.clone()),
            }
        }
    }

    fn activate(&mut self, seq: Seq) {
        if let Some(slot) = self.by_seq.get(&seq).copied() {
            self.entries[slot].phase = Phase::Active;
            self.visible += 1;
            self.live += 1;
            self.rank(slot);
            self.push_deadline(slot);
        }
    }

    /// The request that resumed a session is its last one, and its cookie has come back.
    fn resumed(&mut self, seq: Seq, at: Timestamp) {
        let Some(slot) = self.by_seq.get(&seq).copied() else {
            return;
        };
        if matches!(self.entries[slot].phase, Phase::Resuming(_)) {
            self.entries[slot].phase = Phase::Active;
            self.touch(&self.entries[slot], at);
            self.rank(slot);
            self.push_deadline(slot);
        }
    }

    fn put_in_force(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
        self.rebuild_deadlines();
    }

    fn remove(&mut self, id: SessionId, tombstone: Tombstone) {
        if let Some(slot) = self.by_id.remove(&id) {
            let entry = self.entries.remove(slot);
            self.by_token.remove(&entry.record.token_hash);
            self.by_seq.remove(&entry.record.seq);
            self.visible -= 1;
        }
        self.closed.insert(id, tombstone);
        self.forget_old_deadlines();
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

    /// A request of its client with its cookie.
    fn touch(&self, entry: &Entry, now: Timestamp) {
        entry
            .last_request_at
            .fetch_max(now.as_millis(), Ordering::Relaxed);
        entry.confirmed.store(true, Ordering::Relaxed);
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

    /// Puts back a session that a store had kept.
    pub(super) fn restore(&mut self, record: Record, standing: Standing) {
        let Standing {
            last_request_at,
            confirmed,
            suspended,
            begin,
        } = standing;
        let seq = record.seq;
        self.restored(
            begin.map_or(seq, |begin| begin.seq).max(seq),
            last_request_at.max(record.created_at),
        );
        let slot = self.insert(record, last_request_at, Phase::Reserved);
        self.entries[slot].confirmed = confirmed.into();
        self.activate(seq);
        if suspended {
            self.end_process(slot);
        }
        if let Some(begin) = begin {
            self.leave(slot);
            self.entries[slot].phase = Phase::Closing(begin);
            self.closings.insert(begin.seq, (slot, None));
        }
    }

    /// Puts back the memory of a closed session.
    pub(super) fn restore_closed(&mut self, id: SessionId, tombstone: Tombstone) {
        self.restored(tombstone.seq, tombstone.closed_at);
        self.closed.insert(id, tombstone);
    }

    /// Everything up to `seq` was on disk, and so was it that `at` had come.
    pub(super) fn restored(&mut self, seq: Seq, at: Timestamp) {
        self.last_seq = self.last_seq.max(seq);
        self.durable = self.durable.max(seq);
        self.latest = self.latest.max(at);
    }

    fn insert(&mut self, record: Record, last_request_at: Timestamp, phase: Phase) -> usize {
        let (seq, id, token_hash) = (record.seq, record.id, record.token_hash);
        self.counted += usize::from(phase.counts(record.mode));
        let slot = self.entries.insert(Entry {
            record,
            last_request_at: AtomicI64::new(last_request_at.as_millis()),
            touched: AtomicBool::new(false),
            confirmed: AtomicBool::new(false),
            rank: None,
            phase,
        });
        self.by_id.insert(id, slot);
        self.by_token.insert(token_hash, slot);
        self.by_seq.insert(seq, slot);
        slot
    }

    fn next_seq(&mut self) -> Seq {
        self.last_seq.0 += 1;
        self.last_seq
    }

    fn expires_at(&self, entry: &Entry) -> Timestamp {
        expires_at(self.options(), entry)
    }
}

fn expires_at(options: &Options, entry: &Entry) -> Timestamp {
    options.expires_at(entry.record.mode, entry.since(), entry.last_request_at())
}

fn last_row(rows: &[Row]) -> Seq {
    rows.last().map_or(Seq(0), Row::seq)
}

impl Entry {
    /// From when on the absolute limit counts.
    fn since(&self) -> Timestamp {
        self.record.login_at.unwrap_or(self.record.created_at)
    }

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
            durable,
            ..Self::answered(Answer::Ended { id, part })
        }
    }

    /// Nothing is written, and nothing waited for.
    fn answered(answer: Answer) -> Self {
        Self {
            rows: Vec::new(),
            durable: Seq(0),
            answer,
        }
    }
}
