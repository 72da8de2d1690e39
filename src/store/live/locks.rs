//! Record locks over all sessions: who holds which, who waits for it, in order (C06, C17).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::process::Process;
use super::{Answer, Entry, LiveSet, Phase, Prepared, Told};
use crate::admin::{LockPage, LockQuery, PAGE_LIMIT};
use crate::application::At;
use crate::clock::Timestamp;
use crate::context::{Lock, Name, Record};
use crate::session::{HeldLock, ProcessNumber, ProcessState, Seq};
use crate::store::record::Row;
use crate::store::wait::Ticket;
use crate::store::{Applied, Unfit};

/// All record locks.
#[derive(Default)]
pub(super) struct LockTable {
    held: BTreeMap<Record, Held>,
    /// The records that processes of a session wait for.
    waiting: HashMap<Seq, Vec<Record>>,
    /// The last change of a lock: before it is on disk, nobody is told of any.
    changed: Seq,
}

struct Held {
    session: Seq,
    process: ProcessNumber,
    lock: Lock,
    /// How many requests of its holder are told of it. Who goes away before that takes one off; the last one frees it.
    told: usize,
    queue: VecDeque<Waiting>,
}

struct Waiting {
    session: Seq,
    process: ProcessNumber,
    ticket: Arc<Ticket>,
}

impl Held {
    fn is_of(&self, session: Seq, process: ProcessNumber) -> bool {
        self.session == session && self.process == process
    }

    /// Those who wait, without who went away.
    fn waiting(&mut self) -> &mut VecDeque<Waiting> {
        self.queue.retain(|waiting| waiting.ticket.is_waiting());
        &mut self.queue
    }
}

impl LockTable {
    fn insert(&mut self, session: Seq, process: ProcessNumber, lock: &Lock, told: usize) {
        let held = Held {
            session,
            process,
            lock: lock.clone(),
            told,
            queue: VecDeque::new(),
        };
        self.held.insert(lock.target(), held);
        self.changed = self.changed.max(Seq(lock.fence));
    }

    pub(super) fn restore(&mut self, session: Seq, process: ProcessNumber, lock: &Lock) {
        self.insert(session, process, lock, 1);
    }

    /// Whoever waits for a process of a session, or for any, is told to look again: it gets no lock any more.
    pub(super) fn refuse(&mut self, session: Seq, process: Option<ProcessNumber>) {
        let Some(records) = self.waiting.get(&session) else {
            return;
        };
        let is_meant = |waiting: &Waiting| {
            waiting.session == session && process.is_none_or(|process| process == waiting.process)
        };
        for record in records {
            let Some(held) = self.held.get_mut(record) else {
                continue;
            };
            for waiting in held.queue.iter().filter(|waiting| is_meant(waiting)) {
                waiting.ticket.refuse();
            }
            held.queue.retain(|waiting| !is_meant(waiting));
        }
        if process.is_none() {
            self.waiting.remove(&session);
        }
    }
}

impl LiveSet {
    /// Locks a record for a process, or puts the ticket at the end of the queue for it.
    pub(super) fn lock(
        &mut self,
        at: At,
        record: Record,
        ticket: Option<Arc<Ticket>>,
        now: Timestamp,
    ) -> Prepared {
        let slot = match self.writable(at, now) {
            Ok(slot) => slot,
            Err(unfit) => return unfit,
        };
        let entry = &self.entries[slot];
        let (session, told_at) = (entry.record.seq, entry.told_at());
        if matches!(entry.phase, Phase::Closing(_)) {
            return Prepared::unfit(told_at, Unfit::Closing);
        }
        if let Some(held) = self.locks.held.get_mut(&record) {
            if held.is_of(session, at.process) {
                let lock = held.lock.clone();
                // Whoever goes away before it is told has to take itself off again.
                let is_there = ticket.is_none_or(|ticket| ticket.reserve_and_grant(&lock));
                held.told += usize::from(is_there);
                return Prepared {
                    durable: Seq(lock.fence),
                    ..Prepared::done(Vec::new(), Applied::Locked(lock))
                };
            }
            let Some(ticket) = ticket else {
                return self.held_by_another(&record);
            };
            if let Err(unfit) = self.check_lock(slot, at.process, &record) {
                return unfit;
            }
            self.queue_up(session, at.process, record, ticket);
            return Prepared::answered(Answer::Ready(Box::new(Applied::Queued)));
        }
        if let Err(unfit) = self.check_lock(slot, at.process, &record) {
            return unfit;
        }
        // Whoever goes away before it is told passes the lock on.
        let tickets = ticket.into_iter().filter(|ticket| ticket.reserve());
        let (lock, row) = self.grant(slot, at.process, record, tickets.collect(), now);
        Prepared::done(vec![row], Applied::Locked(lock))
    }

    fn queue_up(
        &mut self,
        session: Seq,
        process: ProcessNumber,
        record: Record,
        ticket: Arc<Ticket>,
    ) {
        if let Some(held) = self.locks.held.get_mut(&record) {
            let waiting = Waiting {
                session,
                process,
                ticket,
            };
            held.waiting().push_back(waiting);
            let table = &mut self.locks;
            let records = table.waiting.entry(session).or_default();
            // Most of those that were waited for have come.
            records.retain(|other| {
                let queue = table.held.get(other).map(|held| &held.queue);
                *other != record
                    && queue.is_some_and(|queue| queue.iter().any(|other| other.session == session))
            });
            records.push(record);
        }
    }

    fn held_by_another(&mut self, record: &Record) -> Prepared {
        if let Some(held) = self.locks.held.get_mut(record) {
            held.waiting();
        }
        let held = self.locks.held.get(record);
        match held.and_then(|held| self.shown(held)) {
            Some(Told { what, durable }) => Prepared::unfit(durable, Unfit::Locked(Box::new(what))),
            None => Prepared::unfit(self.locks.changed, Unfit::NoProcess),
        }
    }

    /// Whether a process has room for one more lock, whose names are not too long.
    fn check_lock(
        &self,
        slot: usize,
        process: ProcessNumber,
        record: &Record,
    ) -> Result<(), Prepared> {
        let options = self.options();
        let longest = options.context_name_limit;
        let context = self.entries[slot]
            .process(process)
            .and_then(Process::context);
        let checked = record
            .table
            .check(longest)
            .and_then(|()| record.record.check(longest))
            .and_then(|()| match context {
                Some(context) => context.check_lock(record, options.context_limit),
                None => {
                    crate::context::Context::default().check_lock(record, options.context_limit)
                }
            });
        checked.map_err(|error| Prepared::unfit(Seq(0), Unfit::Context(error)))
    }

    fn grant(
        &mut self,
        slot: usize,
        process: ProcessNumber,
        record: Record,
        tickets: Vec<Arc<Ticket>>,
        now: Timestamp,
    ) -> (Lock, Row) {
        let (seq, session) = self.changing(slot);
        let Record { table, record } = record;
        let lock = Lock {
            table,
            record,
            since: now,
            fence: seq.0,
        };
        if let Some(process) = self.entries[slot].process_mut(process) {
            process.context_mut().locks.push(lock.clone());
        }
        self.locks
            .insert(session, process, &lock, tickets.len().max(1));
        let row = Row::Locked {
            seq,
            session,
            process,
            lock: lock.clone(),
            tickets,
        };
        (lock, row)
    }

    /// Unlocks a record. With a fence, only for somebody who gave up waiting before it was told of the lock.
    pub(super) fn unlock(
        &mut self,
        at: At,
        record: &Record,
        fence: Option<u64>,
        now: Timestamp,
    ) -> Prepared {
        let slot = match self.told_entry(at.id) {
            Ok(slot) => slot,
            // With its session everything is unlocked.
            Err(unfit) if unfit.is_closed() => {
                return Prepared {
                    durable: unfit.durable,
                    ..Prepared::done(Vec::new(), Applied::Done)
                };
            }
            Err(unfit) => return unfit,
        };
        let entry = &mut self.entries[slot];
        let (session, told_at) = (entry.record.seq, entry.told_at());
        let Some(process) = entry.process_mut(at.process) else {
            return Prepared::unfit(told_at, Unfit::NoProcess);
        };
        process.renew(now);
        let is_meant = |held: &&mut Held| {
            held.is_of(session, at.process) && fence.is_none_or(|fence| held.lock.fence == fence)
        };
        let held = self.locks.held.get_mut(record).filter(is_meant);
        let is_freed = held.is_some_and(|held| {
            held.told = match fence {
                Some(_) => held.told.saturating_sub(1),
                None => 0,
            };
            held.told == 0
        });
        if !is_freed {
            return Prepared {
                durable: told_at,
                ..Prepared::done(Vec::new(), Applied::Done)
            };
        }
        if let Some(process) = entry.process_mut(at.process) {
            process
                .context_mut()
                .locks
                .retain(|lock| lock.table != record.table || lock.record != record.record);
        }
        let (seq, session) = self.changing(slot);
        self.locks.changed = seq;
        let mut rows = vec![Row::Unlocked {
            seq,
            session,
            process: at.process,
            record: record.clone(),
        }];
        rows.extend(self.pass_on(record, now));
        Prepared::done(rows, Applied::Done)
    }

    /// Frees the locks of a process that has ended; who waits for them gets them in the same commit.
    pub(super) fn free(&mut self, session: Seq, process: &Process, now: Timestamp) -> Vec<Row> {
        self.locks.refuse(session, Some(process.number));
        let Some(context) = process.context() else {
            return Vec::new();
        };
        if !context.locks.is_empty() {
            self.locks.changed = self.last_seq;
        }
        let records = context.locks.iter().map(Lock::target);
        let rows = records.filter_map(|record| self.pass_on(&record, now));
        rows.collect()
    }

    /// Takes a lock from its holder and gives it to whoever waits first and still may have it.
    fn pass_on(&mut self, record: &Record, now: Timestamp) -> Option<Row> {
        let mut held = self.locks.held.remove(record)?;
        while let Some(next) = held.queue.pop_front() {
            let slot = self.by_seq.get(&next.session).copied();
            let may_have = slot.filter(|slot| {
                let entry = &self.entries[*slot];
                self.is_working(entry, next.process, now)
                    && self.check_lock(*slot, next.process, record).is_ok()
            });
            let Some(slot) = may_have else {
                next.ticket.refuse();
                continue;
            };
            if !next.ticket.reserve() {
                continue;
            }
            // Others who wait for the same process have it as well.
            let Waiting {
                session,
                process,
                ticket,
            } = next;
            let (same, others): (VecDeque<_>, VecDeque<_>) = held
                .queue
                .drain(..)
                .partition(|other| other.session == session && other.process == process);
            let same = same.into_iter().map(|waiting: Waiting| waiting.ticket);
            let mut tickets = vec![ticket];
            tickets.extend(same.filter(|ticket| ticket.reserve()));
            let (_, row) = self.grant(slot, process, record.clone(), tickets, now);
            if let Some(held) = self.locks.held.get_mut(record) {
                held.queue = others;
            }
            return Some(row);
        }
        None
    }

    /// Whether a process may take a lock.
    fn is_working(&self, entry: &Entry, process: ProcessNumber, now: Timestamp) -> bool {
        let state = entry.process(process).map(|process| process.state);
        state == Some(ProcessState::Running)
            && entry.phase.is_live()
            && now < self.expires_at(entry)
            && !self.is_process_over(entry, now)
    }

    /// A lock as it is told of, with who is signed in where it is held.
    fn shown(&self, held: &Held) -> Option<Told<HeldLock>> {
        let entry = &self.entries[*self.by_seq.get(&held.session)?];
        let waiting = held
            .queue
            .iter()
            .filter(|waiting| waiting.ticket.is_waiting());
        let Lock {
            table,
            record,
            since,
            fence,
        } = held.lock.clone();
        let what = HeldLock {
            table,
            record,
            session: entry.record.id,
            process: held.process,
            user: entry.record.user.as_deref().map(str::to_owned),
            since,
            fence,
            waiting: u32::try_from(waiting.count()).unwrap_or(u32::MAX),
        };
        let durable = self.locks.changed.max(entry.changed);
        Some(Told { what, durable })
    }

    /// One page of the locks, in the order of their records.
    pub(in crate::store) fn locks(&self, query: &LockQuery) -> Told<LockPage> {
        let limit = query.limit.unwrap_or(PAGE_LIMIT).clamp(1, PAGE_LIMIT);
        let session = query.session.map(|id| {
            let slot = self.by_id.get(&id);
            slot.map(|slot| self.entries[*slot].record.seq)
        });
        let is_asked =
            |name: &Option<Name>, found: &Name| name.as_ref().is_none_or(|name| name == found);
        let mut matching = self
            .locks
            .held
            .range((after(query), Bound::Unbounded))
            .take_while(|(found, _)| is_asked(&query.table, &found.table))
            .filter(|(found, _)| is_asked(&query.record, &found.record))
            .filter(|(_, held)| session.is_none_or(|session| session == Some(held.session)))
            .filter_map(|(_, held)| self.shown(held));
        let mut durable = self.locks.changed;
        let told = matching.by_ref().take(limit).map(|told| {
            durable = durable.max(told.durable);
            told.what
        });
        let items = told.collect();
        let truncated = matching.next().is_some();
        Told {
            what: LockPage { items, truncated },
            durable,
        }
    }
}

/// Where a page begins: after the last lock of the one before, or with the table that is asked for.
fn after(query: &LockQuery) -> Bound<Record> {
    match (&query.after_table, &query.after_record, &query.table) {
        (Some(table), Some(record), _) => Bound::Excluded(Record {
            table: table.clone(),
            record: record.clone(),
        }),
        (_, _, Some(table)) => match &query.record {
            Some(record) => Bound::Included(Record {
                table: table.clone(),
                record: record.clone(),
            }),
            // No name sorts before it.
            None => Name::new(" ").map_or(Bound::Unbounded, |record| {
                Bound::Included(Record {
                    table: table.clone(),
                    record,
                })
            }),
        },
        _ => Bound::Unbounded,
    }
}
