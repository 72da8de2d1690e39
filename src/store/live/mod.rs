//! The live set: every session that is not closed, in memory, as one state machine without I/O.
//!
//! `prepare` decides a change and publishes what it refuses; `publish` makes visible what a commit has made durable.
//! Everything sits behind one `RwLock` of the store around it; touches need only a shared borrow.

mod closed;
mod ending;
mod locks;
mod opening;
mod process;
mod processes;
mod restore;
mod room;
mod saved;
mod timers;
mod tokens;
mod views;
mod work;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError};

use slab::Slab;

use self::closed::Closed;
use self::locks::LockTable;
use self::process::Process;
use self::room::Rank;
pub(super) use self::saved::named;
use self::timers::Timers;
use self::tokens::Tokens;
use self::work::Queue;
use super::record::{Begin, ROTATED_FOR, Record, Row, Tombstone};
use super::sync::Mutex;
use super::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use super::wait::{Bells, Handover};
use super::{Applied, Change, Impact, MadeRoom, Part, Tally, Unfit};
use crate::audit::Order;
use crate::clock::Timestamp;
use crate::options::{OptionError, Options, Settings};
use crate::session::{Mode, ProcessNumber, Seq, SessionId};
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
    rotated: Rotated,
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
    tally: Tally,
    /// Begun closings, by their begin.
    closings: BTreeMap<Seq, usize>,
    queue: Queue,
    timers: Timers,
    locks: LockTable,
    closed: Closed,
    tokens: Tokens,
    bells: Arc<Bells>,
    /// Sessions whose last request is not on disk yet, each once. Locked after the set itself, and only for a push.
    touched: Mutex<Vec<Seq>>,
}

/// Tokens that a login has replaced.
#[derive(Default)]
struct Rotated {
    /// Until when that is remembered, and what must be on disk before it is told.
    tokens: HashMap<TokenHash, (Timestamp, Seq)>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Timestamp, TokenHash)>,
}

impl Rotated {
    fn insert(&mut self, token: TokenHash, at: Timestamp, durable: Seq) {
        let until = at.plus(ROTATED_FOR);
        self.tokens.insert(token, (until, durable));
        self.order.push_back((until, token));
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((until, token)) = self.order.front()
            && *until <= now
        {
            self.tokens.remove(token);
            self.order.pop_front();
        }
    }
}

struct Entry {
    record: Record,
    last_request_at: AtomicI64,
    /// Whether the last request is not on disk yet.
    touched: AtomicBool,
    /// Whether its cookie ever came back.
    confirmed: AtomicBool,
    /// Whether it is among those with a process to close.
    queued: bool,
    /// Whether the on-close method left something for it.
    saved: bool,
    last_process: ProcessNumber,
    processes: Vec<Process>,
    /// What must be on disk before anybody is told of its user and its processes.
    changed: Seq,
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
    Closing(Box<Begin>),
    /// Finished or dropped, not durable.
    Ended(Box<Tombstone>),
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
    /// Decided already.
    Ready(Box<Applied>),
    Opened(SessionId, MadeRoom),
    LoggedIn(SessionId, MadeRoom),
    Started(SessionId, ProcessNumber, MadeRoom),
    Resumed(SessionId, MadeRoom),
    Full {
        limit: usize,
        made: MadeRoom,
    },
    NoSessions,
    Ignored(SessionId),
    Expired {
        closed: Vec<SessionId>,
        late: usize,
        is_all: bool,
    },
    OptionsSet {
        is_set: bool,
        impact: Impact,
        evicted: Vec<SessionId>,
    },
    OptionRefused(OptionError),
    /// What was handed over, of which sessions by their rows.
    Saved {
        previous: Option<SessionId>,
        sessions: Vec<(Seq, SessionId)>,
        into: Arc<Handover>,
    },
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

    fn map<U>(self, form: impl FnOnce(T) -> U) -> Told<U> {
        Told {
            what: form(self.what),
            durable: self.durable,
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
            tally: Tally::default(),
            rotated: Rotated::default(),
            closings: BTreeMap::new(),
            queue: Queue::default(),
            timers: Timers::default(),
            locks: LockTable::default(),
            closed: Closed::default(),
            tokens: Tokens::default(),
            bells: Arc::default(),
            touched: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub(super) fn bells(&self) -> &Arc<Bells> {
        &self.bells
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
            Change::LogIn {
                id,
                user,
                token_hash,
                actor,
            } => self.log_in(id, user, token_hash, &actor, now),
            Change::Resume { id, actor } => self.resume(id, &actor, now),
            Change::StartProcess { id, lease, actor } => self.start_process(id, lease, &actor, now),
            Change::EndProcess(at) => self.end_process_itself(at, now),
            Change::SetVariable(at, name, value) => self.set_variable(at, name, value, now),
            Change::SetSelection(at, name, selection) => {
                self.set_selection(at, name, selection, now)
            }
            Change::Lock(at, record, ticket) => self.lock(at, record, ticket, now),
            Change::Unlock(at, record, fence) => self.unlock(at, &record, fence, now),
            Change::SetOptions(set) => self.set_options(set, now),
            Change::CreateToken(new) => self.create_token(new, now),
            Change::RevokeToken { name, ordered_by } => self.revoke_token(name, &ordered_by, now),
            Change::Record(orders) => {
                let rows = orders.into_iter().map(|order| self.audited(order));
                Prepared::done(rows.collect(), Applied::Done)
            }
            Change::BeginClose(end) => self.begin_close(end, now),
            Change::FinishProcess { key, run, saved } => self.finish_process(key, run, saved, now),
            Change::FinishClose(id) => self.finish_close(id, now),
            Change::Drop(end) => self.drop_session(end, now),
            Change::Expire { actor, limit } => self.expire(&actor, limit, now),
            Change::Hurry(only) => Prepared::done(self.hurry_only(&only, now), Applied::Done),
            Change::TakeSaved(id) => self.take_saved(id, now),
            Change::Forget { before, limit } => self.forget(before, limit),
        }
    }

    /// The process of a web session ends while the session lives on: the method runs, with its context still valid (C11).
    fn suspend(&mut self, slot: usize, now: Timestamp) -> Vec<Row> {
        let mut rows = vec![self.suspended(slot, now)];
        rows.extend(self.close_running(slot, now));
        self.push_deadline(slot);
        rows
    }

    fn suspended(&mut self, slot: usize, now: Timestamp) -> Row {
        let (seq, session) = self.changing(slot);
        self.tally.suspended += 1;
        self.without_process(slot);
        Row::Suspended {
            seq,
            session,
            at: now,
        }
    }

    /// Takes an active session's place.
    fn without_process(&mut self, slot: usize) {
        self.unrank(slot);
        let entry = &mut self.entries[slot];
        self.counted -= usize::from(entry.phase.counts(entry.record.mode));
        entry.phase = Phase::Suspended;
        self.suspended += 1;
    }

    /// Takes a live session out of the counts and out of those who may make room.
    fn leave(&mut self, slot: usize) {
        self.unrank(slot);
        let entry = &self.entries[slot];
        self.counted -= usize::from(entry.phase.counts(entry.record.mode));
        self.suspended -= u64::from(matches!(entry.phase, Phase::Suspended));
        self.live -= 1;
    }

    /// The slot of a session whose cookie is good.
    fn live_entry(&self, id: SessionId, now: Timestamp) -> Result<usize, Prepared> {
        let Some((slot, entry)) = self
            .by_id
            .get(&id)
            .map(|slot| (*slot, &self.entries[*slot]))
        else {
            return Err(Prepared::unfit(Seq(0), self.closed.unfit(id)));
        };
        let unfit = match &entry.phase {
            Phase::Reserved => Unfit::NotFound,
            Phase::Ended(tombstone) => Unfit::Closed(tombstone.session(id)),
            Phase::Closing(_) => Unfit::Closing,
            _ if now >= self.expires_at(entry) => Unfit::Closing,
            _ => return Ok(slot),
        };
        Err(Prepared::unfit(entry.phase.told_at(), unfit))
    }

    /// Makes visible what the commit of these rows has made durable.
    pub(super) fn publish(&mut self, rows: &[Row]) {
        for row in rows {
            self.durable = row.seq();
            match row {
                Row::Opened(record) => {
                    self.tally.opened += 1;
                    self.activate(record.seq);
                }
                Row::LoggedIn { session, new, .. } => self.accept(*session, *new),
                Row::Resumed { session, at, .. } => self.resumed(*session, *at),
                Row::OptionsSet { settings, .. } => self.put_in_force(Arc::clone(settings)),
                Row::TokenCreated { hash, token, .. } => self.token_created(*hash, token),
                Row::Locked { lock, tickets, .. } => {
                    tickets.iter().for_each(|ticket| ticket.grant(lock));
                }
                Row::Finished { id, tombstone, .. } => self.remove(*id, tombstone.clone()),
                Row::Dropped {
                    record, tombstone, ..
                } => self.remove(record.id, tombstone.clone()),
                _ => {}
            }
            if let Some(id) = row.awaited() {
                self.bells.ring(id);
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

    /// A login's new token is good from here on.
    fn accept(&mut self, session: Seq, token: TokenHash) {
        if let Some(slot) = self.by_seq.get(&session).copied()
            && self.entries[slot].record.token_hash == token
        {
            self.by_token.insert(token, slot);
            // The absolute limit counts from the login: the deadline may have come later, never earlier.
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

    fn remove(&mut self, id: SessionId, mut tombstone: Tombstone) {
        if let Some(slot) = self.by_id.remove(&id) {
            let entry = self.entries.remove(slot);
            if let Phase::Ended(kept) = entry.phase {
                // Runs that ended since then are in it.
                tombstone = *kept;
            }
            self.by_token.remove(&entry.record.token_hash);
            self.by_seq.remove(&entry.record.seq);
            self.visible -= 1;
        }
        self.closed.insert(id, tombstone);
        self.forget_old_deadlines();
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

    fn insert(&mut self, record: Record, last_request_at: Timestamp, phase: Phase) -> usize {
        let (seq, id, token_hash) = (record.seq, record.id, record.token_hash);
        self.counted += usize::from(phase.counts(record.mode));
        let slot = self.entries.insert(Entry {
            record,
            last_request_at: AtomicI64::new(last_request_at.as_millis()),
            touched: AtomicBool::new(false),
            confirmed: AtomicBool::new(false),
            queued: false,
            saved: false,
            last_process: ProcessNumber(0),
            processes: Vec::new(),
            changed: Seq(0),
            rank: None,
            phase,
        });
        self.by_id.insert(id, slot);
        self.by_token.insert(token_hash, slot);
        self.by_seq.insert(seq, slot);
        slot
    }

    /// The audit record of an order (S32).
    pub(in crate::store) fn audited(&mut self, order: Order) -> Row {
        Row::Audited {
            seq: self.next_seq(),
            order: Box::new(order),
        }
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
    options.expires_at(
        entry.record.mode,
        entry.record.idle_timeout,
        entry.since(),
        entry.last_request_at(),
    )
}

fn last_row(rows: &[Row]) -> Seq {
    rows.last().map_or(Seq(0), Row::seq)
}

impl Entry {
    /// What must be on disk before anybody is told all about it.
    fn told_at(&self) -> Seq {
        self.phase.told_at().max(self.changed)
    }

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

    /// Nothing was changed, and why.
    fn unfit(durable: Seq, unfit: Unfit) -> Self {
        Self {
            durable,
            ..Self::answered(Answer::Ready(Box::new(Applied::Unfit(unfit))))
        }
    }

    /// Whether nothing was changed because the session is closed.
    fn is_closed(&self) -> bool {
        let Answer::Ready(applied) = &self.answer else {
            return false;
        };
        matches!(**applied, Applied::Unfit(Unfit::Closed(_)))
    }

    /// Why nothing was changed.
    fn into_unfit(self) -> Unfit {
        match self.answer {
            Answer::Ready(applied) => match *applied {
                Applied::Unfit(unfit) => unfit,
                _ => Unfit::NotFound,
            },
            _ => Unfit::NotFound,
        }
    }

    /// The rows of a change, answered once they are on disk.
    fn done(rows: Vec<Row>, applied: Applied) -> Self {
        Self {
            durable: last_row(&rows),
            rows,
            answer: Answer::Ready(Box::new(applied)),
        }
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
