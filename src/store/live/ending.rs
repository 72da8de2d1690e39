//! How a session ends: its closing begins, its processes end one by one, what is left is a tombstone (C03, C05, C06, C09).

use std::ops::Bound;
use std::sync::Arc;

use uuid::Uuid;

use super::process::Process;
use super::timers::Timer;
use super::work::Late;
use super::{Answer, LiveSet, Phase, Prepared, last_row};
use crate::audit::{Action, Actor, Order};
use crate::clock::Timestamp;
use crate::context::Json;
use crate::on_close::{Freed, Invocation, MethodResult, MethodRun, RunKey};
use crate::session::{Cause, Kind, Mode, ProcessNumber, ProcessState, Seq, SessionId};
use crate::store::record::{Begin, KeptClosing, Row, Tombstone};
use crate::store::{Applied, End, Part};

/// What a process that ends leaves.
struct Left {
    run: Option<MethodRun>,
    saved: Option<Json>,
    late: Option<(Seq, Box<Invocation>)>,
}

/// Whether the documents of processes that had no time are kept for their methods (C09).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Documents {
    Kept,
    Dismissed,
}

impl LiveSet {
    pub(super) fn begin_close(&mut self, end: End, now: Timestamp) -> Prepared {
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
        let record = self.entries[slot].record.clone();
        if record.mode == Mode::Scalable && end.cause == Cause::Command {
            return Prepared {
                durable: self.entries[slot].told_at(),
                ..Prepared::answered(Answer::Ignored(id))
            };
        }
        let ordered = (end.cause == Cause::Command)
            .then(|| ordered(&end, Action::CloseSession, record.user.as_deref(), now));
        let begin = self.begin(end, now);
        let (seq, grace_ends_at) = (begin.seq, begin.grace_ends_at);
        let mut rows = vec![Row::Begun {
            begin: begin.clone(),
            last_request_at: self.entries[slot].last_request_at(),
            record,
        }];
        self.tally.ended.count(begin.cause);
        self.leave(slot);
        self.closing(slot, begin);
        let entry = &self.entries[slot];
        if entry.processes.is_empty() || entry.record.mode == Mode::Scalable {
            // Nothing is to wait for: no process, or no method ever (C02).
            rows.extend(self.finish(slot, Documents::Dismissed, now));
        } else if grace_ends_at <= now {
            rows.extend(self.hurry(seq, now));
        }
        rows.extend(ordered.map(|order| self.audited(order)));
        Prepared {
            durable: last_row(&rows),
            rows,
            answer: Answer::Ended {
                id,
                part: Part::Began,
            },
        }
    }

    /// Begins the closing of live sessions, cause `restored`, in the order of opening: those after a number, and at most so
    /// many. Answers the rows, how many there were, and the last one if there may be more.
    pub(in crate::store) fn close_all(
        &mut self,
        after: Seq,
        limit: usize,
        actor: &Actor,
        now: Timestamp,
    ) -> (Vec<Row>, usize, Option<Seq>) {
        let later = (Bound::Excluded(after), Bound::Unbounded);
        let live = self
            .by_seq
            .range(later)
            .map(|(seq, slot)| (*seq, &self.entries[*slot]))
            .filter(|(_, entry)| entry.phase.is_live())
            .map(|(seq, entry)| (seq, entry.record.id));
        let found: Vec<(Seq, SessionId)> = live.take(limit).collect();
        let (count, last) = (found.len(), found.last().map(|(seq, _)| *seq));
        let rows = found.into_iter().flat_map(|(_, id)| {
            let end = End::by_itself(id, Cause::Restored, actor);
            self.begin_close(end, now).rows
        });
        (rows.collect(), count, last)
    }

    fn begin(&mut self, end: End, now: Timestamp) -> Begin {
        let seq = self.next_seq();
        let options = self.options();
        Begin {
            seq,
            cause: end.cause,
            reason: end.reason.map(Arc::from),
            actor: end.actor.to_string().into(),
            request_id: end.request_id,
            at: now,
            grace_ends_at: now.plus(options.closing_grace_period),
            ends_at: now.plus(options.closing_time_limit),
            freed: Freed::default(),
            runs: Vec::new(),
        }
    }

    /// The closing of a session is under way: a web session's process closes, a mobile session's are asked to finish (C08).
    pub(super) fn closing(&mut self, slot: usize, begin: Begin) {
        let entry = &mut self.entries[slot];
        let session = entry.record.seq;
        let mut has_asked = false;
        for process in &mut entry.processes {
            match (process.state, entry.record.kind) {
                (ProcessState::Closing, _) => {}
                (_, Kind::Web) => process.close(
                    begin.seq,
                    KeptClosing {
                        since: begin.at,
                        alone_until: None,
                        user: entry.record.user.clone(),
                    },
                ),
                (_, Kind::Mobile) => {
                    process.state = ProcessState::Asked;
                    has_asked = true;
                }
            }
        }
        let is_empty = entry.processes.is_empty();
        if has_asked {
            self.timers
                .push(begin.grace_ends_at, Timer::Grace(begin.seq));
        }
        self.timers.push(begin.ends_at, Timer::Limit(begin.seq));
        self.closings.insert(begin.seq, slot);
        self.entries[slot].phase = Phase::Closing(Box::new(begin));
        self.locks.refuse(session, None);
        if is_empty {
            self.queue.add_ready(session);
        }
        self.enqueue(slot);
    }

    /// The begin of the closing of a session, if that is under way.
    pub(super) fn closing_of(&self, id: SessionId) -> Option<Seq> {
        match &self.entries[*self.by_id.get(&id)?].phase {
            Phase::Closing(begin) => Some(begin.seq),
            _ => None,
        }
    }

    /// Does what is due of a closing: processes that were asked are not waited for any more (C08), or nothing is (C09).
    pub(super) fn hurry(&mut self, begin: Seq, now: Timestamp) -> Vec<Row> {
        self.end_what_is_over(begin, false, now)
    }

    /// The same; with `unheard`, nobody hears that a process is asked.
    pub(super) fn end_what_is_over(
        &mut self,
        begin: Seq,
        unheard: bool,
        now: Timestamp,
    ) -> Vec<Row> {
        let Some(slot) = self.closings.get(&begin).copied() else {
            return Vec::new();
        };
        let entry = &self.entries[slot];
        let Phase::Closing(begin) = &entry.phase else {
            return Vec::new();
        };
        if begin.ends_at <= now {
            return self.finish(slot, Documents::Kept, now);
        }
        if begin.grace_ends_at > now && !unheard {
            return Vec::new();
        }
        let asked = |process: &&Process| process.state == ProcessState::Asked;
        let asked: Vec<ProcessNumber> = entry
            .processes
            .iter()
            .filter(asked)
            .map(|process| process.number)
            .collect();
        let rows = asked
            .into_iter()
            .map(|number| self.close_process(slot, number, now, false));
        rows.collect()
    }

    /// A process ends whose method has run, or that there is none for.
    pub(super) fn finish_process(
        &mut self,
        key: RunKey,
        run: Option<MethodRun>,
        saved: Option<Json>,
        now: Timestamp,
    ) -> Prepared {
        let slot = self.by_id.get(&key.session).copied().filter(|slot| {
            let process = self.entries[*slot].process(key.process);
            process.is_some_and(|process| process.closing.is_some())
                && !matches!(self.entries[*slot].phase, Phase::Ended(_))
        });
        let rows = match slot {
            Some(slot) => {
                let left = Left {
                    run,
                    saved,
                    late: None,
                };
                self.end_closing_process(slot, key.process, left, now)
            }
            None => self.finish_late(key, run, saved).into_iter().collect(),
        };
        Prepared::done(rows, Applied::Done)
    }

    /// A process that closes alone has had its time: what it has is free, and its method gets a copy (C09).
    pub(super) fn end_in_time(
        &mut self,
        session: Seq,
        number: ProcessNumber,
        now: Timestamp,
    ) -> Vec<Row> {
        let Some(slot) = self.by_seq.get(&session).copied() else {
            return Vec::new();
        };
        let entry = &self.entries[slot];
        let is_meant = |process: &Process| {
            let closing = process.closing.as_ref();
            process.number == number && closing.is_some_and(|closing| closing.alone)
        };
        let Some(at) = entry.processes.iter().position(is_meant) else {
            return Vec::new();
        };
        let left = Left {
            run: None,
            saved: None,
            late: Some(self.keep_document(slot, at)),
        };
        self.end_closing_process(slot, number, left, now)
    }

    fn end_closing_process(
        &mut self,
        slot: usize,
        number: ProcessNumber,
        Left { run, saved, late }: Left,
        now: Timestamp,
    ) -> Vec<Row> {
        let (seq, session) = self.changing(slot);
        let entry = &mut self.entries[slot];
        let id = entry.record.id;
        let Some(process) = entry.take_process(number) else {
            return Vec::new();
        };
        let freed = process.freed();
        let closing = process.closing.as_deref();
        let is_alone = closing.is_some_and(|closing| closing.alone);
        let user = closing.and_then(|closing| closing.user.as_deref());
        let saved = saved.filter(|_| entry.may_have_of(user));
        entry.saved |= saved.is_some();
        let begin = match &mut entry.phase {
            Phase::Closing(begin) if !is_alone => {
                begin.freed = begin.freed.and(freed);
                begin.runs.extend(run.clone());
                Some(begin.seq)
            }
            _ => None,
        };
        let is_last = entry.processes.is_empty() && matches!(entry.phase, Phase::Closing(_));
        let mut rows = vec![Row::ProcessEnded {
            seq,
            session,
            id,
            process: number,
            begin,
            freed,
            run,
            saved,
            late,
        }];
        rows.extend(self.free(session, &process, now));
        if is_last {
            rows.extend(self.finish(slot, Documents::Dismissed, now));
        }
        rows
    }

    /// A run ends whose process has ended already.
    fn finish_late(
        &mut self,
        key: RunKey,
        run: Option<MethodRun>,
        saved: Option<Json>,
    ) -> Option<Row> {
        let late = self.queue.take_late(key);
        if late.is_none() && run.is_none() {
            return None;
        }
        let slot = self.by_id.get(&key.session).copied();
        let is_live = |slot: &usize| !matches!(self.entries[*slot].phase, Phase::Ended(_));
        if let Some(slot) = slot.filter(is_live) {
            // Without a document it ran a second time, which is told already.
            return late.map(|late| self.finish_late_of_live(slot, key, late, run, saved));
        }
        let seq = self.next_seq();
        self.queue.late_changed = seq;
        let tombstone = match slot.map(|slot| &mut self.entries[slot].phase) {
            Some(Phase::Ended(tombstone)) => Some(tombstone.as_mut()),
            _ => self.closed.get_mut(key.session),
        };
        if let Some(tombstone) = tombstone {
            // Without a document nobody knows whose it was: the session was dropped under the run, or another was done before.
            let saved = saved.filter(|_| {
                late.as_ref()
                    .is_some_and(|(_, late)| tombstone.may_have_of(late.user()))
            });
            tombstone.runs.extend(run.clone());
            return Some(Row::RunEnded {
                seq,
                session: tombstone.session,
                closing: Some(tombstone.closing),
                key,
                late: late.map(|(seq, _)| seq),
                run,
                saved,
            });
        }
        // Forgotten, or never known: only the document goes.
        late.map(|(late, kept)| Row::RunEnded {
            seq,
            session: kept.session,
            closing: None,
            key,
            late: Some(late),
            run: None,
            saved: None,
        })
    }

    fn finish_late_of_live(
        &mut self,
        slot: usize,
        key: RunKey,
        (late, kept): (Seq, Late),
        run: Option<MethodRun>,
        saved: Option<Json>,
    ) -> Row {
        let (seq, session) = self.changing(slot);
        self.queue.late_changed = seq;
        let entry = &mut self.entries[slot];
        let saved = saved.filter(|_| entry.may_have_of(kept.user()));
        entry.saved |= saved.is_some();
        Row::RunEnded {
            seq,
            session,
            closing: None,
            key,
            late: Some(late),
            run,
            saved,
        }
    }

    /// Ends a closing with whatever the session still has.
    pub(super) fn finish_close(&mut self, id: SessionId, now: Timestamp) -> Prepared {
        let Some(slot) = self.by_id.get(&id).copied() else {
            return self.nothing_to_end(id, None);
        };
        match &self.entries[slot].phase {
            Phase::Closing(_) => {}
            Phase::Ended(tombstone) => return Prepared::ended(id, tombstone.seq, Part::None),
            Phase::Reserved | Phase::Active | Phase::Suspended | Phase::Resuming(_) => {
                return Prepared::nothing(id);
            }
        }
        let rows = self.finish(slot, Documents::Dismissed, now);
        Prepared {
            durable: last_row(&rows),
            rows,
            answer: Answer::Ended {
                id,
                part: Part::None,
            },
        }
    }

    fn finish(&mut self, slot: usize, documents: Documents, now: Timestamp) -> Vec<Row> {
        let entry = &mut self.entries[slot];
        let Phase::Closing(begin) = &entry.phase else {
            return Vec::new();
        };
        let begin = begin.as_ref().clone();
        let (id, session) = (entry.record.id, entry.record.seq);
        let late = match documents {
            Documents::Kept => self.keep_documents(slot),
            Documents::Dismissed => Vec::new(),
        };
        let (freed, processes) = self.take_processes(slot);
        let tombstone = Tombstone {
            freed: begin.freed.and(freed),
            runs: begin.runs,
            ..self.tombstone(slot, begin.seq, begin.cause, [begin.request_id, None], now)
        };
        self.bury(slot, tombstone.clone());
        self.closings.remove(&begin.seq);
        let mut rows = vec![Row::Finished {
            id,
            session,
            begin: begin.seq,
            tombstone,
            late,
        }];
        rows.extend(self.free_all(session, &processes, now));
        rows
    }

    /// The documents of all processes that are left, for a method that sees a copy (C09).
    fn keep_documents(&mut self, slot: usize) -> Vec<(Seq, Box<Invocation>)> {
        let count = self.entries[slot].processes.len();
        (0..count).map(|at| self.keep_document(slot, at)).collect()
    }

    fn keep_document(&mut self, slot: usize, at: usize) -> (Seq, Box<Invocation>) {
        let seq = self.next_seq();
        let entry = &self.entries[slot];
        let document = Box::new(entry.invocation(at, true));
        let closing = entry.processes[at].closing.as_ref();
        let claimed_until = closing.and_then(|closing| closing.claimed_until);
        let session = entry.record.seq;
        self.queue
            .add_late(seq, session, document.clone(), claimed_until);
        (seq, document)
    }

    fn take_processes(&mut self, slot: usize) -> (Freed, Vec<Process>) {
        let processes = std::mem::take(&mut self.entries[slot].processes);
        let freed = processes
            .iter()
            .filter(|process| {
                process
                    .closing
                    .as_ref()
                    .is_none_or(|closing| !closing.alone)
            })
            .fold(Freed::default(), |freed, process| {
                freed.and(process.freed())
            });
        (freed, processes)
    }

    fn free_all(&mut self, session: Seq, processes: &[Process], now: Timestamp) -> Vec<Row> {
        self.locks.refuse(session, None);
        let rows = processes
            .iter()
            .flat_map(|process| self.free(session, process, now));
        rows.collect()
    }

    pub(super) fn drop_session(&mut self, end: End, now: Timestamp) -> Prepared {
        let id = end.id;
        let Some(slot) = self.by_id.get(&id).copied() else {
            return self.nothing_to_end(id, end.request_id);
        };
        let begin = match &self.entries[slot].phase {
            Phase::Reserved => return Prepared::nothing(id),
            Phase::Ended(tombstone) => {
                return Prepared::ended(id, tombstone.seq, tombstone.part_of(end.request_id));
            }
            Phase::Closing(begin) => Some(begin.as_ref().clone()),
            Phase::Active | Phase::Suspended | Phase::Resuming(_) => None,
        };
        match &begin {
            Some(begin) => drop(self.closings.remove(&begin.seq)),
            None => {
                self.tally.ended.count(end.cause);
                self.leave(slot);
            }
        }
        let (part, request_ids) = match &begin {
            Some(begin) => (Part::CutShort, [begin.request_id, end.request_id]),
            None => (Part::Began, [end.request_id, None]),
        };
        let struck = self.strike(slot);
        let (freed, processes) = self.take_processes(slot);
        let (closing, before, mut runs) = match begin {
            Some(begin) => (Some(begin.seq), begin.freed, begin.runs),
            None => (None, Freed::default(), Vec::new()),
        };
        runs.extend(struck.iter().map(|(_, run)| run.clone()));
        let mut tombstone = Tombstone {
            freed: before.and(freed),
            runs,
            ..self.tombstone(slot, Seq(0), end.cause, request_ids, now)
        };
        tombstone.closing = closing.unwrap_or(tombstone.seq);
        self.bury(slot, tombstone.clone());
        let entry = &self.entries[slot];
        let (record, session) = (entry.record.clone(), entry.record.seq);
        let order = ordered(&end, Action::DropSession, record.user.as_deref(), now);
        let mut rows = vec![Row::Dropped {
            begin: closing,
            last_request_at: entry.last_request_at(),
            record,
            end,
            tombstone,
            struck,
        }];
        rows.extend(self.free_all(session, &processes, now));
        rows.push(self.audited(order));
        Prepared {
            durable: last_row(&rows),
            rows,
            answer: Answer::Ended { id, part },
        }
    }

    /// The methods that were pending and that nobody has begun.
    fn strike(&mut self, slot: usize) -> Vec<(Seq, MethodRun)> {
        let is_pending = |process: &&Process| {
            let closing = process.closing.as_ref();
            closing.is_some_and(|closing| closing.claimed_until.is_none())
        };
        let processes = self.entries[slot].processes.iter().filter(is_pending);
        let numbers: Vec<ProcessNumber> = processes.map(|process| process.number).collect();
        let struck = numbers.into_iter().map(|process| {
            let run = MethodRun {
                process,
                result: MethodResult::Struck,
                took_ms: 0,
                late: false,
                detail: None,
            };
            (self.next_seq(), run)
        });
        struck.collect()
    }

    pub(super) fn nothing_to_end(&self, id: SessionId, request_id: Option<Uuid>) -> Prepared {
        let part = self
            .closed
            .get(id)
            .map_or(Part::None, |tombstone| tombstone.part_of(request_id));
        Prepared::ended(id, Seq(0), part)
    }

    /// What remains of a session that ends now.
    fn tombstone(
        &mut self,
        slot: usize,
        closing: Seq,
        cause: Cause,
        request_ids: [Option<Uuid>; 2],
        now: Timestamp,
    ) -> Tombstone {
        let seq = self.next_seq();
        let record = &self.entries[slot].record;
        Tombstone {
            seq,
            closing,
            session: record.seq,
            token_hash: Some(record.token_hash),
            cause,
            closed_at: now,
            user: record.user.clone(),
            request_ids,
            freed: Freed::default(),
            runs: Vec::new(),
            inherited: false,
        }
    }

    fn bury(&mut self, slot: usize, tombstone: Tombstone) {
        self.entries[slot].phase = Phase::Ended(Box::new(tombstone));
    }
}

/// What the audit record tells of an ending.
fn ordered(end: &End, action: Action, user: Option<&str>, now: Timestamp) -> Order {
    Order {
        at: now,
        actor: end.actor.to_string(),
        via: end.actor.via().map(str::to_owned),
        action,
        session: Some(end.id),
        user: user.map(str::to_owned),
        detail: end.reason.clone(),
        request_id: end.request_id,
    }
}
