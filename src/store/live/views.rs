//! What is told of the live set: to a client, to an operator, to whoever made a change.

use std::collections::HashMap;
use std::net::IpAddr;

use super::saved::named;
use super::{Answer, Entry, LiveSet, Phase, Told, process};
use crate::admin::{HistoryPage, HistoryQuery, ListQuery, Page};
use crate::application::{At, ProcessStatus};
use crate::clock::Timestamp;
use crate::context::{Context, Name};
use crate::on_close::{Freed, MethodRun};
use crate::session::{Mode, NameAndSize, Process, ProcessNumber, Seq, Session, SessionId, State};
use crate::sessions::Visit;
use crate::store::{Applied, Census, Closure, Found, MadeRoom, Part, Seen, Unfit, Use};
use crate::token::TokenHash;

impl LiveSet {
    pub(in crate::store) fn visit(
        &self,
        token: &TokenHash,
        usage: Use,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Told<Seen> {
        let Some(entry) = self.by_token.get(token).map(|slot| &self.entries[*slot]) else {
            return self.rotated_away(token, now);
        };
        if !entry.phase.is_live() || now >= self.expires_at(entry) {
            return Told {
                what: Seen::Nobody,
                durable: entry.phase.told_at(),
            };
        }
        if self.is_other_address(entry, from) {
            return Told::at_once(Seen::OtherAddress);
        }
        let is_suspended =
            !matches!(entry.phase, Phase::Active) || self.is_process_over(entry, now);
        match usage {
            Use::Request if is_suspended => return Told::at_once(Seen::Suspended(entry.record.id)),
            Use::Request => self.touch(entry, now),
            Use::Look => {}
        }
        Told::at_once(Seen::Live(self.seen(entry, now)))
    }

    /// What a token is that is no session's any more: replaced by a login a moment ago, or nobody's.
    fn rotated_away(&self, token: &TokenHash, now: Timestamp) -> Told<Seen> {
        match self.rotated.tokens.get(token) {
            Some((until, durable)) if now < *until => Told {
                what: Seen::Rotated,
                durable: *durable,
            },
            Some((_, durable)) => Told {
                what: Seen::Nobody,
                durable: *durable,
            },
            None => Told::at_once(Seen::Nobody),
        }
    }

    /// Whether a request comes from another address than the session's (C13). A session without an address has none.
    fn is_other_address(&self, entry: &Entry, from: Option<IpAddr>) -> bool {
        let options = self.options();
        match (entry.record.ip, from) {
            (Some(own), Some(from)) if options.session_ip_address_validation => {
                !options.is_same_client(own, from)
            }
            _ => false,
        }
    }

    fn seen(&self, entry: &Entry, now: Timestamp) -> Visit {
        let expires_at = self.expires_at(entry);
        Visit {
            id: entry.record.id,
            user: entry.record.user.clone(),
            state: self.state(entry, now),
            expires_at: shown(entry, expires_at),
            lifetime: self.options().ends_at(entry.since()).since(now),
        }
    }

    /// Forms the answer to a prepared change; call it once the change is durable.
    pub(in crate::store) fn answer(&self, answer: &Answer, now: Timestamp) -> Told<Applied> {
        let at_once = match answer {
            Answer::Ready(applied) => applied.as_ref().clone(),
            Answer::Full { limit, made } => Applied::Full {
                limit: *limit,
                made: made.clone(),
            },
            Answer::NoSessions => Applied::NoSessions,
            Answer::Expired {
                closed,
                late,
                is_all,
            } => Applied::Expired {
                late: *late,
                closed: closed.clone(),
                is_all: *is_all,
            },
            Answer::OptionsSet {
                is_set,
                impact,
                evicted,
            } => Applied::OptionsSet {
                is_set: *is_set,
                impact: *impact,
                evicted: evicted.clone(),
            },
            Answer::OptionRefused(error) => Applied::OptionRefused(error.clone()),
            Answer::Saved {
                previous,
                sessions,
                into,
            } => Applied::Saved(named(*previous, sessions, into.take())),
            Answer::Resumed(id, made) => return self.resumed_answer(*id, made, now),
            Answer::Started(id, number, made) => {
                return self.started_answer(*id, *number, made, now);
            }
            Answer::Ended { id, part } => return self.found_answer(answer, *id, *part, now),
            // It may have been ended between the commit and this answer: the newcomer was too late.
            Answer::Opened(id, _) | Answer::LoggedIn(id, _) | Answer::Ignored(id) => {
                return self.found_answer(answer, *id, Part::None, now);
            }
        };
        Told::at_once(at_once)
    }

    fn resumed_answer(&self, id: SessionId, made: &MadeRoom, now: Timestamp) -> Told<Applied> {
        let entry = self.by_id.get(&id).map(|slot| &self.entries[*slot]);
        let live = entry
            .filter(|entry| matches!(entry.phase, Phase::Active) && now < self.expires_at(entry));
        let visit = live.map(|entry| self.seen(entry, now));
        Told {
            what: Applied::Resumed(visit, made.clone()),
            durable: entry.map_or(Seq(0), |entry| entry.phase.told_at()),
        }
    }

    fn started_answer(
        &self,
        id: SessionId,
        number: ProcessNumber,
        made: &MadeRoom,
        now: Timestamp,
    ) -> Told<Applied> {
        let at = At {
            id,
            process: number,
        };
        self.status(at, now).map(|status| match status {
            Ok(status) => Applied::Started(status, made.clone()),
            Err(unfit) => Applied::Unfit(unfit),
        })
    }

    fn found_answer(
        &self,
        answer: &Answer,
        id: SessionId,
        part: Part,
        now: Timestamp,
    ) -> Told<Applied> {
        self.find(id, now).map(|found| match (answer, found) {
            (Answer::Opened(_, made), Found::Open(session, None, _)) => {
                Applied::Opened(session, made.clone())
            }
            (Answer::LoggedIn(_, made), Found::Open(session, None, _)) => {
                Applied::LoggedIn(session, made.clone())
            }
            (Answer::LoggedIn(..), Found::Closed(closed, _)) => {
                Applied::Unfit(Unfit::Closed(closed))
            }
            (Answer::LoggedIn(..), _) => Applied::Unfit(Unfit::Closing),
            (Answer::Ignored(_), Found::Open(session, None, _)) => Applied::Ignored(session),
            (_, found) => Applied::Ended { found, part },
        })
    }

    pub(in crate::store) fn find(&self, id: SessionId, now: Timestamp) -> Told<Found> {
        if let Some(tombstone) = self.closed.get(id) {
            let mut on_close = tombstone.runs.clone();
            on_close.extend(self.queue.pending(id));
            let closure = Closure {
                freed: tombstone.freed,
                on_close,
            };
            return Told {
                what: Found::Closed(tombstone.session(id), closure),
                durable: self.queue.late_changed,
            };
        }
        let entry = self.by_id.get(&id).map(|slot| &self.entries[*slot]);
        let Some(entry) = entry.filter(|entry| !matches!(entry.phase, Phase::Reserved)) else {
            return Told::at_once(Found::Unknown);
        };
        let (cause, freed, on_close) = match &entry.phase {
            Phase::Closing(begin) => (Some(begin.cause), begin.freed, begin.runs.clone()),
            Phase::Ended(tombstone) => (
                Some(tombstone.cause),
                tombstone.freed,
                tombstone.runs.clone(),
            ),
            _ => (None, Freed::default(), Vec::new()),
        };
        Told {
            what: Found::Open(self.session(entry, now), cause, Closure { freed, on_close }),
            durable: match entry.phase {
                Phase::Ended(_) => entry.told_at().max(self.queue.late_changed),
                _ => entry.told_at(),
            },
        }
    }

    /// The runs of the on-close method that closed sessions, or this one, still have before them. What is not among them any
    /// more has left its own row.
    pub(in crate::store) fn pending(&self, id: Option<SessionId>) -> Told<Pending> {
        let ids = match id {
            Some(id) => vec![id],
            None => self.queue.late_ids().collect(),
        };
        let pending = ids.into_iter().map(|id| (id, self.queue.pending(id)));
        Told {
            what: Pending {
                runs: pending.collect(),
                as_of: self.last_seq,
            },
            durable: self.queue.late_changed,
        }
    }

    /// The row of a closed session's closing.
    pub(in crate::store) fn closed_at_row(&self, id: SessionId) -> Option<Seq> {
        self.closed.get(id).map(|tombstone| tombstone.closing)
    }

    /// The processes of a session that is not closed.
    pub(in crate::store) fn processes(&self, id: SessionId, now: Timestamp) -> Told<Vec<Process>> {
        let entry = self.by_id.get(&id).map(|slot| &self.entries[*slot]);
        let Some(entry) = entry.filter(|entry| !matches!(entry.phase, Phase::Reserved)) else {
            return Told::at_once(Vec::new());
        };
        let processes = entry
            .processes
            .iter()
            .map(|process| shown_process(process, now));
        Told {
            what: processes.collect(),
            durable: entry.told_at(),
        }
    }

    /// How a process stands, for whoever works with it; that renews its lease.
    pub(in crate::store) fn process(
        &mut self,
        at: At,
        now: Timestamp,
    ) -> Told<Result<ProcessStatus, Unfit>> {
        self.renew(at, now);
        self.status(at, now)
    }

    /// What a process has, for whoever works with it; that renews its lease.
    pub(in crate::store) fn context(
        &mut self,
        at: At,
        now: Timestamp,
    ) -> Told<Result<Context, Unfit>> {
        self.renew(at, now);
        let slot = self.by_id.get(&at.id).copied();
        let process = slot.and_then(|slot| self.entries[slot].process(at.process));
        let context = process.and_then(process::Process::context);
        self.status(at, now)
            .map(|status| status.map(|_| context.cloned().unwrap_or_default()))
    }

    fn renew(&mut self, at: At, now: Timestamp) {
        let slot = self.by_id.get(&at.id).copied();
        if let Some(process) = slot.and_then(|slot| self.entries[slot].process_mut(at.process)) {
            process.renew(now);
        }
    }

    fn status(&self, at: At, now: Timestamp) -> Told<Result<ProcessStatus, Unfit>> {
        let slot = match self.told_entry(at.id) {
            Ok(slot) => slot,
            Err(prepared) => {
                return Told {
                    durable: prepared.durable,
                    what: Err(prepared.into_unfit()),
                };
            }
        };
        let entry = &self.entries[slot];
        let status = entry.process(at.process).map(|process| ProcessStatus {
            id: at.id,
            number: process.number,
            state: process.state,
            started_at: process.started_at,
            lease_until: process.lease_until(now),
        });
        Told {
            what: status.ok_or(Unfit::NoProcess),
            durable: entry.told_at(),
        }
    }

    pub(in crate::store) fn page(&self, query: ListQuery, now: Timestamp) -> Told<Page> {
        let after = query.after.unwrap_or_default();
        let entries = self
            .by_seq
            .range(Seq(after.0.saturating_add(1))..)
            .map(|(_, slot)| &self.entries[*slot]);
        let mut visible = entries.filter(|entry| !matches!(entry.phase, Phase::Reserved));
        let mut durable = Seq(0);
        let shown = visible.by_ref().take(query.page_size()).map(|entry| {
            durable = durable.max(entry.told_at());
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

    pub(in crate::store) fn census(&self) -> Census {
        Census {
            active: self.live - self.suspended,
            suspended: self.suspended,
            closing: self.visible - self.live,
            late: self.queue.count_late() as u64,
            counted: self.counted as u64,
            tally: self.tally,
        }
    }

    fn state(&self, entry: &Entry, now: Timestamp) -> State {
        match entry.phase {
            Phase::Closing(_) | Phase::Ended(_) => State::Closing,
            _ if now >= self.expires_at(entry) => State::Expired,
            Phase::Suspended | Phase::Resuming(_) => State::Suspended,
            _ if self.is_process_over(entry, now) => State::Suspended,
            Phase::Reserved | Phase::Active => State::Active,
        }
    }

    fn session(&self, entry: &Entry, now: Timestamp) -> Session {
        let record = &entry.record;
        let state = self.state(entry, now);
        let expires_at = match state {
            State::Closing => Some(Timestamp::EPOCH),
            _ => shown(entry, self.expires_at(entry)),
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
            process_count: count(entry.processes.len()),
            lock_count: entry.processes.iter().map(lock_count).sum(),
            seq: record.seq,
        }
    }
}

fn lock_count(process: &process::Process) -> u32 {
    count(process.context().map_or(0, |context| context.locks.len()))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A process as operators see it: names and sizes, not the values.
fn shown_process(process: &process::Process, now: Timestamp) -> Process {
    let nothing = Context::default();
    let context = process.context().unwrap_or(&nothing);
    let named = |(name, bytes): (&Name, usize)| NameAndSize {
        name: name.clone(),
        bytes,
    };
    let variables = context
        .variables
        .iter()
        .map(|(name, value)| (name, value.as_str().len()));
    let selections = context
        .selections
        .iter()
        .map(|(name, selection)| (name, selection.bytes()));
    Process {
        number: process.number,
        state: process.state,
        started_at: process.started_at,
        lease_until: process.lease_until(now),
        variables: variables.map(named).collect(),
        selections: selections.map(named).collect(),
        locks: context.locks.clone(),
    }
}

/// Runs that are still to come, by session.
pub(in crate::store) struct Pending {
    runs: HashMap<SessionId, Vec<MethodRun>>,
    /// The last change that they are known after.
    as_of: Seq,
}

impl Pending {
    /// The part of a question that can be answered with them: of what ended later they know nothing.
    pub(in crate::store) fn known(&self, query: HistoryQuery) -> HistoryQuery {
        let later = Seq(self.as_of.0.saturating_add(1));
        HistoryQuery {
            before: Some(query.before.map_or(later, |before| before.min(later))),
            ..query
        }
    }

    /// Adds them to what a look came upon that was taken after this one.
    pub(in crate::store) fn add_to(mut self, page: &mut HistoryPage) {
        for entry in &mut page.items {
            let mut pending = self.runs.remove(&entry.id).unwrap_or_default();
            let has_ended = |process| entry.on_close.iter().any(|run| run.process == process);
            pending.retain(|run| !has_ended(run.process));
            entry.on_close.extend(pending);
        }
    }
}

/// The expiration as it is shown: a scalable session has none (C02).
fn shown(entry: &Entry, expires_at: Timestamp) -> Option<Timestamp> {
    (entry.record.mode != Mode::Scalable).then_some(expires_at)
}
