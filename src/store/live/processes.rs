//! Processes and what they have: started, written to, ended (the table of states; C08, C18).

use std::time::Duration;

use super::process::{Lease, Process};
use super::timers::Timer;
use super::{Answer, LiveSet, Phase, Prepared, last_row};
use crate::application::At;
use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::context::{Context, ContextError, Json, Name, Selection};
use crate::session::{Kind, Mode, ProcessNumber, ProcessState, Seq, SessionId};
use crate::store::record::{KeptClosing, KeptProcess, Row};
use crate::store::{Applied, MadeRoom, Unfit};

impl LiveSet {
    /// Starts a process; a suspended web session is active again by it.
    pub(super) fn start_process(
        &mut self,
        id: SessionId,
        lease: Option<Duration>,
        actor: &Actor,
        now: Timestamp,
    ) -> Prepared {
        let slot = match self.live_entry(id, now) {
            Ok(slot) => slot,
            Err(unfit) => return unfit,
        };
        let (mut rows, made, revived) = match self.revive(slot, lease, actor, now) {
            Ok(revived) => revived,
            Err(full) => return full,
        };
        if !self.entries[slot].phase.is_live() {
            return Prepared::done(rows, Applied::Unfit(Unfit::Closing));
        }
        let entry = &self.entries[slot];
        let number = match (revived, entry.running()) {
            (Some(number), _) => number,
            (None, Some(number)) if entry.record.kind == Kind::Web => {
                return self.lease_running(slot, number, lease, now);
            }
            (None, _) => {
                let number = self.add_process(slot, now, lease);
                rows.push(self.started(slot, number, now, lease));
                number
            }
        };
        Prepared {
            durable: last_row(&rows),
            rows,
            answer: Answer::Started(id, number, made),
        }
    }

    /// A web session has its process from the start: that gets the lease, if it has none yet.
    fn lease_running(
        &mut self,
        slot: usize,
        number: ProcessNumber,
        lease: Option<Duration>,
        now: Timestamp,
    ) -> Prepared {
        let entry = &mut self.entries[slot];
        let (id, session, told_at) = (entry.record.id, entry.record.seq, entry.told_at());
        let unleased = entry
            .process_mut(number)
            .filter(|process| process.lease.is_none());
        let (Some(process), Some(duration)) = (unleased, lease) else {
            return Prepared::unfit(told_at, Unfit::HasProcess(number));
        };
        let until = now.plus(duration);
        process.lease = Some(Box::new(Lease {
            duration,
            until: Some(until),
        }));
        let started_at = process.started_at;
        self.timers.push(until, Timer::Lease(session, number));
        let row = self.started(slot, number, started_at, lease);
        Prepared {
            durable: row.seq(),
            rows: vec![row],
            answer: Answer::Started(id, number, MadeRoom::default()),
        }
    }

    pub(super) fn add_process(
        &mut self,
        slot: usize,
        now: Timestamp,
        lease: Option<Duration>,
    ) -> ProcessNumber {
        let entry = &mut self.entries[slot];
        let number = entry.add_process(now, lease);
        if let Some(lease) = lease {
            let timer = Timer::Lease(entry.record.seq, number);
            self.timers.push(now.plus(lease), timer);
        }
        number
    }

    /// The row of a process that was started.
    pub(super) fn started(
        &mut self,
        slot: usize,
        process: ProcessNumber,
        at: Timestamp,
        lease: Option<Duration>,
    ) -> Row {
        let (seq, session) = self.changing(slot);
        Row::ProcessStarted {
            seq,
            session,
            process,
            at,
            lease,
        }
    }

    /// The number of a change of a session, which must be on disk before anybody is told of its processes.
    pub(super) fn changing(&mut self, slot: usize) -> (Seq, Seq) {
        let seq = self.next_seq();
        let entry = &mut self.entries[slot];
        entry.changed = seq;
        (seq, entry.record.seq)
    }

    pub(super) fn restore_process(&mut self, slot: usize, kept: KeptProcess) {
        let KeptProcess {
            session,
            number,
            started_at,
            lease,
            closing,
        } = kept;
        let mut process = Process::running(number, started_at);
        if let Some(duration) = lease {
            let until = None;
            process.lease = Some(Box::new(Lease { duration, until }));
            self.timers
                .push(Timestamp::EPOCH, Timer::Lease(session, number));
        }
        if let Some(closing) = closing {
            if let Some(at) = closing.alone_until {
                self.timers.push(at, Timer::Alone(session, number));
            }
            process.close(Seq(0), closing);
        }
        let entry = &mut self.entries[slot];
        entry.last_process = entry.last_process.max(number);
        // They come in the order of their numbers.
        entry.processes.push(process);
        self.enqueue(slot);
    }

    /// A process ends on its application's word: without the method, unless it was asked to finish (C08).
    pub(super) fn end_process_itself(&mut self, at: At, now: Timestamp) -> Prepared {
        let slot = match self.told_entry(at.id) {
            Ok(slot) => slot,
            Err(unfit) => return unfit,
        };
        let entry = &self.entries[slot];
        let Some(process) = entry.process(at.process) else {
            return Prepared::unfit(entry.told_at(), Unfit::NoProcess);
        };
        let rows = match (process.state, entry.record.kind) {
            (ProcessState::Closing, _) => {
                return Prepared {
                    durable: entry.told_at(),
                    ..Prepared::done(Vec::new(), Applied::Done)
                };
            }
            (ProcessState::Asked, _) => vec![self.close_process(slot, at.process, now, false)],
            (ProcessState::Running, Kind::Mobile) => self.end_process(slot, at.process, now),
            (ProcessState::Running, Kind::Web) => {
                let mut rows = vec![self.suspended(slot, now)];
                rows.extend(self.end_process(slot, at.process, now));
                self.push_deadline(slot);
                rows
            }
        };
        Prepared::done(rows, Applied::Done)
    }

    /// Ends a process at once, without the method.
    fn end_process(&mut self, slot: usize, number: ProcessNumber, now: Timestamp) -> Vec<Row> {
        let (seq, session) = self.changing(slot);
        let entry = &mut self.entries[slot];
        let id = entry.record.id;
        let Some(process) = entry.take_process(number) else {
            return Vec::new();
        };
        let mut rows = vec![Row::ProcessEnded {
            seq,
            session,
            id,
            process: number,
            begin: None,
            freed: process.freed(),
            run: None,
            saved: None,
            late: None,
        }];
        rows.extend(self.free(session, &process, now));
        rows
    }

    /// From here on the method of a process is pending.
    pub(super) fn close_process(
        &mut self,
        slot: usize,
        number: ProcessNumber,
        now: Timestamp,
        alone: bool,
    ) -> Row {
        let (seq, session) = self.changing(slot);
        let alone_until = alone.then(|| now.plus(self.options().closing_time_limit));
        let entry = &mut self.entries[slot];
        let (id, user) = (entry.record.id, entry.record.user.clone());
        let mut started_at = now;
        if let Some(process) = entry.process_mut(number) {
            let closing = KeptClosing {
                since: now,
                alone_until,
                user: user.clone(),
            };
            process.close(seq, closing);
            started_at = process.started_at;
        }
        if let Some(at) = alone_until {
            self.timers.push(at, Timer::Alone(session, number));
        }
        self.locks.refuse(session, Some(number));
        self.enqueue(slot);
        Row::ProcessClosing {
            seq,
            session,
            id,
            process: number,
            started_at,
            at: now,
            alone_until,
            user,
        }
    }

    /// Closes the processes of a session that lives on; in scalable mode they end without the method (C02).
    pub(super) fn close_running(&mut self, slot: usize, now: Timestamp) -> Vec<Row> {
        let entry = &self.entries[slot];
        let is_scalable = entry.record.mode == Mode::Scalable;
        let running: Vec<ProcessNumber> = entry
            .processes
            .iter()
            .filter(|process| process.state == ProcessState::Running)
            .map(|process| process.number)
            .collect();
        let mut rows = Vec::new();
        for number in running {
            if is_scalable {
                rows.extend(self.end_process(slot, number, now));
            } else {
                rows.push(self.close_process(slot, number, now, true));
            }
        }
        rows
    }

    /// A process that nobody named in time ends as if it had been asked to (C18).
    pub(super) fn end_lease(
        &mut self,
        session: Seq,
        number: ProcessNumber,
        now: Timestamp,
    ) -> Vec<Row> {
        let Some(slot) = self.by_seq.get(&session).copied() else {
            return Vec::new();
        };
        let entry = &mut self.entries[slot];
        let (kind, mode) = (entry.record.kind, entry.record.mode);
        let Some(process) = entry.process_mut(number) else {
            return Vec::new();
        };
        let state = process.state;
        let Some(lease) = &mut process.lease else {
            return Vec::new();
        };
        let until = *lease.until.get_or_insert(now.plus(lease.duration));
        match state {
            ProcessState::Closing => Vec::new(),
            _ if until > now => {
                self.timers.push(until, Timer::Lease(session, number));
                Vec::new()
            }
            ProcessState::Running if kind == Kind::Web => self.suspend(slot, now),
            ProcessState::Running if mode == Mode::Scalable => self.end_process(slot, number, now),
            ProcessState::Running => vec![self.close_process(slot, number, now, true)],
            ProcessState::Asked => vec![self.close_process(slot, number, now, false)],
        }
    }

    /// The slot of a session that is not closed.
    pub(super) fn told_entry(&self, id: SessionId) -> Result<usize, Prepared> {
        let slot = self.by_id.get(&id).copied();
        match slot.map(|slot| (slot, &self.entries[slot].phase)) {
            None => Err(Prepared::unfit(Seq(0), self.closed.unfit(id))),
            Some((_, Phase::Reserved)) => Err(Prepared::unfit(Seq(0), Unfit::NotFound)),
            Some((_, Phase::Ended(tombstone))) => {
                let unfit = Unfit::Closed(tombstone.session(id));
                Err(Prepared::unfit(tombstone.seq, unfit))
            }
            Some((slot, _)) => Ok(slot),
        }
    }

    /// The slot of a process that may still write: it works, or was asked to finish and has not yet.
    pub(super) fn writable(&mut self, at: At, now: Timestamp) -> Result<usize, Prepared> {
        let slot = self.told_entry(at.id)?;
        let entry = &self.entries[slot];
        let is_live = entry.phase.is_live();
        let is_expired = is_live && now >= self.expires_at(entry);
        let is_over = is_live && self.is_process_over(entry, now);
        let state = entry.process(at.process).map(|process| process.state);
        let unfit = match (&entry.phase, entry.record.kind, state) {
            (Phase::Closing(_), Kind::Web, _) => Unfit::Closing,
            _ if is_expired => Unfit::Closing,
            (_, _, None) => Unfit::NoProcess,
            (_, _, Some(ProcessState::Closing)) => Unfit::ProcessClosing,
            // Its time is over, and the next look of the sweep ends it.
            _ if is_over => Unfit::NoProcess,
            _ => {
                if let Some(process) = self.entries[slot].process_mut(at.process) {
                    process.renew(now);
                }
                return Ok(slot);
            }
        };
        Err(Prepared::unfit(entry.told_at(), unfit))
    }

    pub(super) fn set_variable(
        &mut self,
        at: At,
        name: Name,
        value: Option<Json>,
        now: Timestamp,
    ) -> Prepared {
        let set = |context: &mut Context, limit: usize| {
            let was_set = context.variables.contains_key(&name);
            context.set_variable(&name, value.as_ref(), limit)?;
            Ok(was_set || value.is_some())
        };
        let changed = self.change_context(at, &name, now, set);
        changed.map_or_else(
            |other| other,
            |(seq, session)| {
                let row = Row::VariableSet {
                    seq,
                    session,
                    process: at.process,
                    name: name.clone(),
                    value: value.clone(),
                };
                Prepared::done(vec![row], Applied::Done)
            },
        )
    }

    pub(super) fn set_selection(
        &mut self,
        at: At,
        name: Name,
        selection: Option<Selection>,
        now: Timestamp,
    ) -> Prepared {
        let longest = self.options().context_name_limit;
        if let Some(Selection { table, records }) = &selection {
            let checked = table.check(longest);
            let checked =
                checked.and_then(|()| records.iter().try_for_each(|record| record.check(longest)));
            if let Err(error) = checked {
                return Prepared::unfit(Seq(0), Unfit::Context(error));
            }
        }
        let set = |context: &mut Context, limit: usize| {
            let was_set = context.selections.contains_key(&name);
            context.set_selection(&name, selection.as_ref(), limit)?;
            Ok(was_set || selection.is_some())
        };
        let changed = self.change_context(at, &name, now, set);
        changed.map_or_else(
            |other| other,
            |(seq, session)| {
                let row = Row::SelectionSet {
                    seq,
                    session,
                    process: at.process,
                    name: name.clone(),
                    selection: selection.clone(),
                };
                Prepared::done(vec![row], Applied::Done)
            },
        )
    }

    /// Changes the context of a process within its limits; `set` tells whether anything was changed.
    fn change_context(
        &mut self,
        at: At,
        name: &Name,
        now: Timestamp,
        set: impl FnOnce(&mut Context, usize) -> Result<bool, ContextError>,
    ) -> Result<(Seq, Seq), Prepared> {
        let slot = self.writable(at, now)?;
        let limit = self.options().context_limit;
        let name_limit = self.options().context_name_limit;
        let entry = &mut self.entries[slot];
        let told_at = entry.told_at();
        let Some(process) = entry.process_mut(at.process) else {
            return Err(Prepared::unfit(told_at, Unfit::NoProcess));
        };
        let changed = name
            .check(name_limit)
            .and_then(|()| set(process.context_mut(), limit));
        match changed {
            Ok(true) => Ok(self.changing(slot)),
            Ok(false) => Err(Prepared {
                durable: told_at,
                ..Prepared::done(Vec::new(), Applied::Done)
            }),
            Err(error) => Err(Prepared::unfit(Seq(0), Unfit::Context(error))),
        }
    }
}
