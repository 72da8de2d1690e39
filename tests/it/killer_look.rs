//! Whether what is there after a server was killed and started again can be, by what was answered before (C03, C05, C16, C17,
//! C18, S08). What was found is true from then on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::stream::{self, StreamExt as _};
use sessionctl::admin::{Admin as _, HistoryQuery, ListQuery, LockQuery};
use sessionctl::application::{Application as _, At};
use sessionctl::context::{Context, Record};
use sessionctl::error::Error;
use sessionctl::on_close::RunKey;
use sessionctl::session::{
    HeldLock, Kind, Process, ProcessNumber, ProcessState, Seq, SessionDetails, SessionId, State,
};

use crate::killer_clients::Ways;
use crate::killer_history::{
    AFTERWARDS, Fact, Histories, Moment, NEVER, ProcessStory, Span, Story, Value, slots,
};

/// Questions that are asked at the same time.
const AT_ONCE: usize = 8;

#[derive(Default)]
pub(crate) struct Found {
    /// All that are not closed.
    pub(crate) sessions: HashMap<SessionId, SessionDetails>,
    /// Of the processes of live sessions.
    pub(crate) contexts: HashMap<RunKey, Context>,
    pub(crate) locks: Vec<HeldLock>,
    /// The number of the last change that the server knows of.
    pub(crate) as_of: Seq,
    /// Whether a token is accepted, of all that were asked for.
    pub(crate) accepted: HashMap<String, bool>,
}

impl Found {
    /// Looks at everything over the API.
    pub(crate) async fn by(ways: &Ways, tokens: Vec<String>) -> Self {
        let mut found = Self::default();
        let mut after = None;
        loop {
            let query = ListQuery { after, limit: None };
            let page = ways.admin.list(query).await.unwrap();
            let shown = page.items.iter().map(|session| async {
                match ways.admin.show(session.id).await {
                    // It may have been closing.
                    Err(Error::Closed(_)) => None,
                    details => Some((session.id, details.unwrap())),
                }
            });
            found
                .sessions
                .extend(all(shown).await.into_iter().flatten());
            after = page.next;
            found.as_of = page.as_of;
            if after.is_none() {
                break;
            }
        }
        let sessions = found.sessions.iter();
        let there = sessions.filter(|(_, details)| details.session.state != State::Closing);
        let processes = there.flat_map(|(id, details)| {
            let processes = details.processes.iter();
            processes.map(|process| (*id, process.number))
        });
        let contexts = processes.map(|(session, process)| async move {
            let id = session;
            let context = ways.app.context(At { id, process }).await;
            (RunKey { session, process }, context.unwrap())
        });
        found.contexts = all(contexts).await.into_iter().collect();
        let page = ways.admin.locks(LockQuery::default()).await.unwrap();
        found.locks = page.items;
        let accepted = tokens.into_iter().map(|token| async move {
            let is_accepted = ways.check(&token, false).await.unwrap();
            (token, is_accepted)
        });
        found.accepted = all(accepted).await.into_iter().collect();
        found
    }
}

/// What all of these come to, some at a time, in any order.
async fn all<T>(of: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    stream::iter(of).buffer_unordered(AT_ONCE).collect().await
}

/// All sessions that the history tells of.
pub(crate) async fn remembered(ways: &Ways) -> HashSet<SessionId> {
    let mut remembered = HashSet::new();
    let mut before = None;
    loop {
        let query = HistoryQuery {
            before,
            ..HistoryQuery::default()
        };
        let page = ways.admin.history(query).await.unwrap();
        before = page.items.last().map(|entry| entry.seq);
        remembered.extend(page.items.iter().map(|entry| entry.id));
        if !page.truncated {
            return remembered;
        }
    }
}

impl Histories {
    /// Compares what is there with what must be, and goes on from what is there.
    pub(crate) fn compare(&mut self, found: &Found, now: Moment) -> Vec<String> {
        let mut faults = self.compare_locks(found);
        let ids: Vec<SessionId> = self.stories.keys().copied().collect();
        for id in ids {
            if let Some(story) = self.story(id) {
                let told = story.compare(found.sessions.get(&id), found, now);
                faults.extend(told.into_iter().map(|fault| format!("{id}: {fault}")));
            }
        }
        for (id, tokens) in &self.retired {
            let is_back = |token: &String| found.accepted.get(token) == Some(&true);
            if found.sessions.contains_key(id) || tokens.iter().any(is_back) {
                faults.push(format!("{id} came back long after its end"));
            }
        }
        self.compare_strays(found, &mut faults);
        self.settle_facts(found, now);
        faults
    }

    /// Sessions that nobody knows of can only be those whose opening was not answered.
    fn compare_strays(&mut self, found: &Found, faults: &mut Vec<String>) {
        let is_unknown =
            |id: &&SessionId| !self.stories.contains_key(id) && !self.retired.contains_key(id);
        let unknown: BTreeSet<SessionId> =
            found.sessions.keys().filter(is_unknown).copied().collect();
        let new = unknown.difference(&self.strays).count();
        if new > self.unsure_opens {
            faults.push(format!("{new} sessions are there that nobody has opened"));
        }
        if let Some(lost) = self.strays.difference(&unknown).next() {
            faults.push(format!("{lost} was there, and nobody has closed it"));
        }
        self.unsure_opens = 0;
        self.strays = unknown;
    }

    fn compare_locks(&self, found: &Found) -> Vec<String> {
        let mut faults = Vec::new();
        let held: BTreeMap<Record, (RunKey, u64)> = by_record(&found.locks);
        if held.len() < found.locks.len() {
            faults.push("a record is held twice".into());
        }
        for (record, facts) in &self.facts {
            let Some(last) = facts.iter().max_by_key(|fact| fact.fence) else {
                continue;
            };
            let may_let_go = self.may_let_go(record, last.fence, NEVER);
            let is_fine = match held.get(record) {
                None => may_let_go,
                Some((holder, fence)) if *fence == last.fence => *holder == last.holder,
                Some((_, fence)) => *fence > last.fence && may_let_go,
            };
            if last.fence > found.as_of.0 {
                let as_of = found.as_of;
                faults.push(format!("numbers go back to {as_of} after {last:?}"));
            }
            if !is_fine {
                let held = held.get(record);
                faults.push(format!("{record} is held by {held:?} after {last:?}"));
            }
        }
        let in_contexts: BTreeMap<Record, (RunKey, u64)> = found
            .contexts
            .iter()
            .flat_map(|(key, context)| {
                let locks = context.locks.iter();
                locks.map(|lock| (lock.target(), (*key, lock.fence)))
            })
            .collect();
        let of_live = |holder: &RunKey| found.contexts.contains_key(holder);
        let of_live = held.into_iter().filter(|(_, (holder, _))| of_live(holder));
        let on_page: BTreeMap<Record, (RunKey, u64)> = of_live.collect();
        if on_page != in_contexts {
            faults.push(format!(
                "the locks are {on_page:?}, in the contexts {in_contexts:?}"
            ));
        }
        faults
    }

    /// What is known of the records from here on: the last lock of each, and whether it is held.
    fn settle_facts(&mut self, found: &Found, now: Moment) {
        let held = by_record(&found.locks);
        for (record, facts) in &mut self.facts {
            let mut last = facts.iter().max_by_key(|fact| fact.fence).copied();
            if let Some(last) = &mut last {
                last.is_released |= held
                    .get(record)
                    .is_none_or(|(_, fence)| *fence > last.fence);
            }
            facts.clear();
            facts.extend(last);
        }
        for (record, (holder, fence)) in held {
            self.facts.entry(record).or_default().push(Fact {
                span: Span::at(now),
                holder,
                fence,
                is_holders: true,
                is_released: false,
            });
        }
    }
}

fn by_record(locks: &[HeldLock]) -> BTreeMap<Record, (RunKey, u64)> {
    let held = locks.iter().map(|held| {
        let record = Record {
            table: held.table.clone(),
            record: held.record.clone(),
        };
        let holder = RunKey {
            session: held.session,
            process: held.process,
        };
        (record, (holder, held.fence))
    });
    held.collect()
}

impl Story {
    /// Compares a session with how it was found, and goes on from that.
    fn compare(
        &mut self,
        session: Option<&SessionDetails>,
        found: &Found,
        now: Moment,
    ) -> Vec<String> {
        let is_live = |details: &&SessionDetails| {
            matches!(details.session.state, State::Active | State::Suspended)
        };
        let Some(details) = session.filter(is_live) else {
            let was_live = !self.may_be_over(NEVER);
            self.is_over = true;
            self.closed += usize::from(session.is_none());
            let is_back = |token: &String| found.accepted.get(token) == Some(&true);
            let mut faults = Vec::new();
            if was_live {
                faults.push("an acknowledged session is gone".into());
            }
            if self.tokens().iter().any(is_back) {
                faults.push("a session that is over is let in".into());
            }
            if self.history.is_some() && session.is_some() {
                faults.push("it is closing again".into());
            }
            return faults;
        };
        if self.is_over(NEVER) {
            return vec!["a session that was closed came back".into()];
        }
        self.ends.clear();
        let mut faults = self.compare_sign_in(details, found);
        faults.extend(self.compare_processes(details, found, now));
        faults
    }

    /// The user and the token are of the same sign-in, and no other token is accepted (S08).
    fn compare_sign_in(&mut self, details: &SessionDetails, found: &Found) -> Vec<String> {
        let user = details.session.user.as_deref();
        if !self.may_be_of(user) {
            let fault = format!("{user:?} is signed in, after {:?}", self.sign_ins);
            return vec![fault];
        }
        let (mut current, others): (Vec<_>, Vec<_>) = self
            .sign_ins
            .drain(..)
            .partition(|sign_in| sign_in.user.as_deref() == user);
        self.replaced
            .extend(others.into_iter().filter_map(|other| other.token));
        for sign_in in &mut current {
            sign_in.is_sure = true;
        }
        self.sign_ins = current;
        let mut faults = Vec::new();
        for (sign_in, token) in self
            .sign_ins
            .iter()
            .filter_map(|one| Some((one, one.token.as_ref()?)))
        {
            if found.accepted.get(token) == Some(&false) {
                faults.push(format!("a live token is refused: {sign_in:?}"));
            }
            if self.refused.contains_key(token) {
                faults.push("a token is good again that was refused".into());
            }
        }
        let is_back = |token: &&String| found.accepted.get(*token) == Some(&true);
        if let Some(token) = self.replaced.iter().find(is_back) {
            faults.push(format!("a token is accepted that was replaced: {token}"));
        }
        faults
    }

    fn compare_processes(
        &mut self,
        details: &SessionDetails,
        found: &Found,
        now: Moment,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let (session, listed) = (details.session.id, &details.processes);
        for process in listed {
            let number = process.number;
            let key = RunKey {
                session,
                process: number,
            };
            let context = found.contexts.get(&key).cloned().unwrap_or_default();
            let fault = match self.processes.get_mut(&number) {
                Some(story) => story.compare(process, &context, now),
                None => self.adopt(process, &context),
            };
            faults.extend(fault.map(|fault| format!("process {number}: {fault}")));
        }
        let is_listed = |number: ProcessNumber| listed.iter().any(|found| found.number == number);
        for (number, process) in &mut self.processes {
            if is_listed(*number) || process.has_ended {
                continue;
            }
            if process.ends.is_empty() {
                faults.push(format!("process {number} is gone"));
            }
            process.has_ended = true;
        }
        let is_suspended = details.session.state == State::Suspended;
        if self.kind == Kind::Web && listed.len() != usize::from(!is_suspended) {
            faults.push(format!("it has {} processes", listed.len()));
        }
        self.unsure_starts = 0;
        faults
    }

    /// A process is there whose start nobody was told of.
    fn adopt(&mut self, process: &Process, context: &Context) -> Option<String> {
        let by_start = self.unsure_starts > 0;
        self.unsure_starts -= usize::from(by_start);
        let story = ProcessStory::new(None);
        self.processes.insert(process.number, story);
        let is_fine = (by_start || self.may_resume) && *context == Context::default();
        (!is_fine).then(|| format!("nobody has started it, and it has {context:?}"))
    }
}

impl ProcessStory {
    /// Compares a process of a live session with how it was found, and goes on from that.
    fn compare(&mut self, found: &Process, context: &Context, now: Moment) -> Option<String> {
        if self.has_ended || self.ends.iter().any(|(_, is_sure)| *is_sure) {
            return Some("it has ended and is back".into());
        }
        self.ends.clear();
        if found.state != ProcessState::Running {
            return Some(format!("it is {}", found.state));
        }
        let is_leased = found.lease_until.is_some();
        if self.is_leased.is_some_and(|before| before != is_leased) {
            return Some(format!("its lease is {:?}", found.lease_until));
        }
        let fault = self.misread(context, AFTERWARDS);
        let held = slots(context);
        for (slot, register) in &mut self.registers {
            let value = held.get(slot).cloned().unwrap_or(Value::Nothing);
            register.settle(value, now);
        }
        fault
    }
}
