//! Closing work: whose on-close method is to run, and which closings need only their end. Sessions take turns, so that
//! one with ten thousand processes does not keep the others waiting.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::slice::SliceIndex;

use super::process::Process;
use super::{Entry, LiveSet, Phase};
use crate::clock::Timestamp;
use crate::context::Context;
use crate::on_close::{
    Invocation, InvokedProcess, InvokedSession, MethodResult, MethodRun, Ordered, RunKey,
};
use crate::session::{Cause, ProcessNumber, ProcessState, Seq, SessionId};
use crate::store::record::Begin;
use crate::store::{Claim, Work};

/// What waits for a worker, and what workers have.
#[derive(Default)]
pub(super) struct Queue {
    /// Sessions with a process whose method is pending, each once.
    sessions: VecDeque<Seq>,
    /// Closings that have nothing left but their end, by the rows of their sessions.
    ready: VecDeque<Seq>,
    /// Documents whose closing has ended before their method was done (C09).
    late: BTreeMap<Seq, Late>,
    late_of: HashMap<RunKey, Seq>,
    /// The same by sessions, which take turns with them too.
    late_sessions: HashMap<SessionId, LateSession>,
    late_turns: VecDeque<SessionId>,
    /// The last row of a late run.
    pub(super) late_changed: Seq,
    /// Whether the next run is a late one, if there is one: they take turns with the others.
    is_lates_turn: bool,
    /// When work may be taken again that somebody has.
    claims: BinaryHeap<Reverse<(Timestamp, Claimed)>>,
}

/// Work that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claimed {
    /// Of a session, by its row.
    Of(Seq),
    Late(Seq),
}

pub(super) struct Late {
    pub(super) session: Seq,
    invocation: Box<Invocation>,
    claimed_until: Option<Timestamp>,
}

/// The late documents of a session.
#[derive(Default)]
struct LateSession {
    processes: BTreeSet<ProcessNumber>,
    /// Those that nobody has.
    waiting: VecDeque<Seq>,
}

impl Late {
    /// Who was signed in when the process closed.
    pub(super) fn user(&self) -> Option<&str> {
        self.invocation.session.user.as_deref()
    }
}

impl Queue {
    pub(super) fn add_ready(&mut self, session: Seq) {
        self.ready.push_back(session);
    }

    /// Keeps a document. If somebody runs its method already, nobody else does unless that takes too long.
    pub(super) fn add_late(
        &mut self,
        seq: Seq,
        session: Seq,
        invocation: Box<Invocation>,
        claimed_until: Option<Timestamp>,
    ) {
        let key = invocation.run_key();
        self.late_of.insert(key, seq);
        let session_of = self.late_sessions.entry(key.session).or_default();
        session_of.processes.insert(key.process);
        match claimed_until {
            Some(until) => self.claims.push(Reverse((until, Claimed::Late(seq)))),
            None => self.let_wait(key.session, seq),
        }
        let late = Late {
            session,
            invocation,
            claimed_until,
        };
        self.late.insert(seq, late);
    }

    fn let_wait(&mut self, id: SessionId, seq: Seq) {
        if let Some(session) = self.late_sessions.get_mut(&id) {
            if session.waiting.is_empty() {
                self.late_turns.push_back(id);
            }
            session.waiting.push_back(seq);
        }
    }

    /// The next document, of the session that has its turn; it waits no longer.
    fn next_late(&mut self) -> Option<Seq> {
        let id = self.late_turns.pop_front()?;
        let session = self.late_sessions.get_mut(&id)?;
        let seq = session.waiting.pop_front();
        if !session.waiting.is_empty() {
            self.late_turns.push_back(id);
        }
        seq
    }

    /// The late run of this key is done.
    pub(super) fn take_late(&mut self, key: RunKey) -> Option<(Seq, Late)> {
        let seq = self.late_of.remove(&key)?;
        if let Some(session) = self.late_sessions.get_mut(&key.session) {
            session.processes.remove(&key.process);
            if session.processes.is_empty() {
                self.late_sessions.remove(&key.session);
            }
        }
        self.late.remove(&seq).map(|late| (seq, late))
    }

    /// The sessions that have late documents.
    pub(super) fn late_ids(&self) -> impl Iterator<Item = SessionId> {
        self.late_sessions.keys().copied()
    }

    /// How many are late.
    pub(super) fn count_late(&self) -> usize {
        self.late.len()
    }

    /// The methods of a closed session that are still to run, or run now.
    pub(super) fn pending(&self, id: SessionId) -> Vec<MethodRun> {
        let session = self.late_sessions.get(&id);
        let processes = session.into_iter().flat_map(|session| &session.processes);
        let pending = |process: &ProcessNumber| MethodRun {
            process: *process,
            result: MethodResult::Pending,
            took_ms: 0,
            late: true,
            detail: None,
        };
        processes.map(pending).collect()
    }

    /// Whether a method of a closed session is still to run.
    pub(super) fn has_late(&self, id: SessionId) -> bool {
        self.late_sessions.contains_key(&id)
    }
}

impl LiveSet {
    /// Puts a session among those with a process to close, if it has one that nobody works on.
    pub(super) fn enqueue(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        if !entry.queued && entry.next_to_close().is_some() {
            entry.queued = true;
            self.queue.sessions.push_back(entry.record.seq);
        }
    }

    /// Takes closing work that nobody has and that is on disk.
    pub(in crate::store) fn claim(&mut self, claim: &Claim, now: Timestamp) -> Vec<Work> {
        self.take_back_claims(now);
        let mut work = self.claim_ready(claim);
        let (mut runs, mut others) = (claim.runs, claim.max.saturating_sub(work.len()));
        let mut turns = self.queue.sessions.len();
        // Without a method there is nothing to wait for, and so no limit of runs.
        let may_go_on = |runs, others| {
            if claim.has_method {
                runs > 0
            } else {
                others > 0
            }
        };
        while may_go_on(runs, others) {
            let is_lates_turn = self.queue.is_lates_turn || turns == 0;
            let late = is_lates_turn.then(|| self.claim_late(claim)).flatten();
            let is_late = late.is_some();
            let taken = match late {
                None if turns == 0 => break,
                None => {
                    turns -= 1;
                    self.claim_next(claim)
                }
                late => late,
            };
            if let Some(taken) = taken {
                self.queue.is_lates_turn = !is_late;
                runs = runs.saturating_sub(1);
                others = others.saturating_sub(1);
                work.push(taken);
            }
        }
        work
    }

    /// Whoever had it has not done it in time.
    fn take_back_claims(&mut self, now: Timestamp) {
        while let Some(Reverse((until, claimed))) = self.queue.claims.peek().copied() {
            if until > now {
                return;
            }
            self.queue.claims.pop();
            match claimed {
                Claimed::Of(session) => self.take_back(session, now),
                Claimed::Late(seq) => {
                    if let Some(late) = self.queue.late.get_mut(&seq)
                        && late.claimed_until.take().is_some()
                    {
                        let id = late.invocation.session.id;
                        self.queue.let_wait(id, seq);
                    }
                }
            }
        }
    }

    fn take_back(&mut self, session: Seq, now: Timestamp) {
        let Some(slot) = self.by_seq.get(&session).copied() else {
            return;
        };
        let entry = &mut self.entries[slot];
        let closings = entry
            .processes
            .iter_mut()
            .filter_map(|process| process.closing.as_mut());
        for closing in closings {
            if closing.claimed_until.is_some_and(|until| until <= now) {
                closing.claimed_until = None;
            }
        }
        if entry.processes.is_empty() && matches!(entry.phase, Phase::Closing(_)) {
            self.queue.ready.push_back(session);
        }
        self.enqueue(slot);
    }

    fn claim_ready(&mut self, claim: &Claim) -> Vec<Work> {
        let mut work = Vec::new();
        for _ in 0..self.queue.ready.len() {
            if work.len() >= claim.max {
                break;
            }
            let Some(session) = self.queue.ready.pop_front() else {
                break;
            };
            let Some(entry) = self.by_seq.get(&session).map(|slot| &self.entries[*slot]) else {
                continue;
            };
            let Phase::Closing(begin) = &entry.phase else {
                continue;
            };
            if begin.seq > self.durable || !claim.is_for(entry.record.id) {
                self.queue.ready.push_back(session);
                continue;
            }
            work.push(Work::Finish(entry.record.id));
            let until = (claim.until, Claimed::Of(session));
            self.queue.claims.push(Reverse(until));
        }
        work
    }

    /// The next document that is late, if it is meant.
    fn claim_late(&mut self, claim: &Claim) -> Option<Work> {
        for _ in 0..self.queue.late_turns.len() {
            let Some(seq) = self.queue.next_late() else {
                continue;
            };
            let Some(late) = self.queue.late.get_mut(&seq) else {
                continue;
            };
            let key = late.invocation.run_key();
            if seq > self.durable || !claim.is_for(key.session) {
                self.queue.let_wait(key.session, seq);
                continue;
            }
            late.claimed_until = Some(claim.until);
            let document = claim.has_method.then(|| late.invocation.clone());
            let until = (claim.until, Claimed::Late(seq));
            self.queue.claims.push(Reverse(until));
            return Some(Work::Process(key, document));
        }
        None
    }

    /// Lets the next session have a turn.
    fn claim_next(&mut self, claim: &Claim) -> Option<Work> {
        let session = self.queue.sessions.pop_front()?;
        let slot = self.by_seq.get(&session).copied()?;
        let entry = &mut self.entries[slot];
        entry.queued = false;
        let at = entry.next_to_close()?;
        let closing = entry.processes[at].closing.as_ref()?;
        let needed = closing.seq.max(entry.phase.told_at());
        if needed > self.durable || !claim.is_for(entry.record.id) {
            self.enqueue(slot);
            return None;
        }
        let work = if !claim.has_method && entry.has_only_to_end() {
            entry.claim(claim.until, ..);
            Work::Finish(entry.record.id)
        } else {
            entry.claim(claim.until, at..=at);
            let key = RunKey {
                session: entry.record.id,
                process: entry.processes[at].number,
            };
            let document = || Box::new(entry.invocation(at, false));
            Work::Process(key, claim.has_method.then(document))
        };
        let until = (claim.until, Claimed::Of(session));
        self.queue.claims.push(Reverse(until));
        self.enqueue(slot);
        Some(work)
    }

    /// Puts back a document whose closing had ended before its method was done.
    pub(in crate::store) fn restore_late(
        &mut self,
        seq: Seq,
        session: Seq,
        invocation: Box<Invocation>,
    ) {
        self.restored(seq, invocation.closed_at);
        self.queue.add_late(seq, session, invocation, None);
    }
}

impl Claim {
    fn is_for(&self, id: SessionId) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&id))
    }
}

impl Entry {
    /// The first process whose method is pending and that nobody works on.
    fn next_to_close(&self) -> Option<usize> {
        self.processes.iter().position(|process| {
            let closing = process.closing.as_ref();
            closing.is_some_and(|closing| closing.claimed_until.is_none())
        })
    }

    /// Whether its closing waits for no process that was asked to finish.
    fn has_only_to_end(&self) -> bool {
        let mut processes = self.processes.iter();
        matches!(self.phase, Phase::Closing(_))
            && processes.all(|process| process.state == ProcessState::Closing)
    }

    fn claim(&mut self, until: Timestamp, which: impl SliceIndex<[Process], Output = [Process]>) {
        let processes = self.processes[which].iter_mut();
        for closing in processes.filter_map(|process| process.closing.as_mut()) {
            closing.claimed_until = Some(until);
        }
    }

    /// What the method is told of one of its processes.
    pub(super) fn invocation(&self, at: usize, late: bool) -> Invocation {
        let (record, process) = (&self.record, &self.processes[at]);
        let user = match process.closing.as_deref() {
            Some(closing) => closing.user.as_deref(),
            None => record.user.as_deref(),
        };
        let session = InvokedSession {
            id: record.id,
            kind: record.kind,
            user: user.map(str::to_owned),
            ip: record.ip,
            user_agent: record.user_agent.as_deref().map(str::to_owned),
            created_at: record.created_at,
            last_request_at: self.last_request_at(),
        };
        let invoked = InvokedProcess {
            number: process.number,
            started_at: process.started_at,
        };
        let context = process.context().cloned().unwrap_or_else(Context::default);
        let closing = process.closing.as_deref();
        let by_itself = closing.filter(|closing| closing.alone);
        let ordered = match (by_itself, &self.phase) {
            (None, Phase::Closing(begin)) => ordered(begin),
            _ => Ordered {
                cause: Cause::Inactive,
                reason: None,
                actor: crate::audit::Actor::server().to_string(),
                closed_at: closing.map_or(self.last_request_at(), |closing| closing.since),
            },
        };
        Invocation::new(session, invoked, context, ordered, late)
    }
}

fn ordered(begin: &Begin) -> Ordered {
    Ordered {
        cause: begin.cause,
        reason: begin.reason.as_deref().map(str::to_owned),
        actor: begin.actor.as_ref().into(),
        closed_at: begin.at,
    }
}
