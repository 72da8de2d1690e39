//! Whether what a server answered, and what is there after it was killed and started again, can be (C03, C05, C08, C09, C15,
//! C16, C17, S08): every rule once, with what was asked and answered as the only witness.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sessionctl::admin::{Ending, HistoryEntry};
use sessionctl::context::{Context, Record};
use sessionctl::error::Error;
use sessionctl::on_close::{Invocation, RunKey};
use sessionctl::session::{
    Cause, HeldLock, Kind, Process, ProcessNumber, ProcessState, Seq, SessionDetails, SessionId,
    State,
};
use uuid::Uuid;

use crate::killer_history::{
    Answer, Asked, End, Event, Fact, Histories, How, Moment, NEVER, ProcessStory, Slot, Span,
    Story, ToldEnd, Value, slots,
};

/// What is there after a restart.
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

/// After everything that was asked so far.
const AFTERWARDS: Span = Span {
    asked: NEVER,
    until: NEVER,
};

impl Histories {
    /// Takes in all that was asked and answered in one run of the server, in the order of asking; answers what cannot be.
    pub(crate) fn take(&mut self, events: &[Event]) -> Vec<String> {
        let mut faults: Vec<String> = events
            .iter()
            .filter_map(|event| self.record(event))
            .collect();
        faults.extend(events.iter().filter_map(|event| {
            let fault = self.judge(event)?;
            Some(format!("{fault}: {event:?}"))
        }));
        for (id, story) in &self.stories {
            faults.extend(story.who_began().map(|fault| format!("{id}: {fault}")));
        }
        for record in self.facts.keys() {
            faults.extend(self.judge_record(record));
        }
        faults
    }

    /// Why an answer cannot be.
    fn judge(&self, event: &Event) -> Option<String> {
        let Event {
            span,
            asked,
            answer,
        } = event;
        let id = match asked {
            Asked::Enter { .. } | Asked::Open { .. } => {
                // A cookie that a log-in has replaced gets no other one: the fresh one is on its way.
                let is_late = matches!(asked, Asked::Enter { dead: Some(_) })
                    && matches!(answer, Answer::NotAccepted);
                let is_fine = is_late || matches!(answer, Answer::None | Answer::Opened(..));
                return (!is_fine).then(|| "an opening was refused".into());
            }
            Asked::LogIn { id, .. }
            | Asked::Start { id, .. }
            | Asked::Close { id, .. }
            | Asked::Drop { id, .. }
            | Asked::LogOut { id, .. }
            | Asked::Check { id, .. } => *id,
            Asked::EndProcess(key)
            | Asked::Put(key, ..)
            | Asked::Look(key)
            | Asked::Lock { key, .. }
            | Asked::Unlock(key, _) => key.session,
        };
        let Some(story) = self.stories.get(&id) else {
            return Some("nobody knows the session".into());
        };
        let is_wrong = match (asked, answer) {
            (_, Answer::None) => None,
            (_, Answer::Refused(error)) => self.why_not_refused(asked, story, error, *span),
            (Asked::Check { token, .. }, Answer::Accepted) => story
                .is_dead(token, span.asked)
                .then_some("a dead token was accepted"),
            (Asked::Check { token, .. } | Asked::LogOut { token, .. }, Answer::NotAccepted) => {
                (!story.may_be_dead(token, span.until)).then_some("a live token was refused")
            }
            (Asked::LogIn { .. } | Asked::Start { .. } | Asked::Lock { .. }, _) => story
                .is_over(span.asked)
                .then_some("a session that is over took it"),
            (Asked::Put(..), _) => story
                .takes_nothing(span.asked)
                .then_some("a session that is over took it"),
            (Asked::Look(key), Answer::Context(context)) => {
                return story.misread(key.process, context, *span);
            }
            (
                Asked::Close { request, .. } | Asked::Drop { request, .. },
                Answer::Ended(outcome),
            ) => {
                let is_ending = !matches!(outcome.outcome, Ending::NotFound | Ending::Ignored);
                let is_begun =
                    outcome.initiated || story.may_be_ended_by_another(*request, span.until);
                (!is_ending || !is_begun).then_some("nobody has begun the ending")
            }
            (Asked::LogOut { token, .. }, Answer::Done) => story
                .is_dead(token, span.asked)
                .then_some("a dead token logged out"),
            (Asked::EndProcess(_) | Asked::Unlock(..), Answer::Done) => None,
            _ => Some("the answer is to something else"),
        };
        is_wrong.map(str::to_owned)
    }

    fn why_not_refused(
        &self,
        asked: &Asked,
        story: &Story,
        error: &Error,
        span: Span,
    ) -> Option<&'static str> {
        let may_be_over = story.may_be_over(span.until);
        let may_be = match (asked, error) {
            (_, Error::Closed(_) | Error::Closing(_) | Error::ProcessClosing { .. }) => may_be_over,
            (_, Error::NoProcess { process, .. }) => {
                let ended = |process: &ProcessStory| process.may_have_ended(span.until);
                may_be_over || story.processes.get(process).is_none_or(ended)
            }
            (Asked::Start { .. }, Error::HasProcess { .. }) => story.kind == Kind::Web,
            (Asked::Lock { key, .. }, Error::LockHeld(held)) => {
                (held.session, held.process) != (key.session, key.process)
            }
            _ => false,
        };
        (!may_be).then_some("there was no reason to refuse it")
    }

    /// Fences only grow, each is one holder's, and nobody gets a record before its holder lets go.
    fn judge_record(&self, record: &Record) -> Vec<String> {
        let mut faults = Vec::new();
        let mut facts: Vec<&Fact> = self.facts[record].iter().collect();
        facts.sort_by_key(|fact| (fact.fence, fact.span.until));
        for pair in facts.windows(2) {
            let (one, next) = (pair[0], pair[1]);
            if one.fence == next.fence && one.holder != next.holder {
                faults.push(format!("{record}: one fence of two: {one:?} {next:?}"));
            }
            let has_let_go =
                one.fence == next.fence || self.may_let_go(record, one.fence, next.span.until);
            if !has_let_go {
                faults.push(format!("{record} was held by two: {one:?} {next:?}"));
            }
        }
        let goes_back = facts.iter().flat_map(|one| {
            let earlier = |next: &&&Fact| next.fence < one.fence && one.span.is_before(next.span);
            facts.iter().find(earlier).map(|next| (one, next))
        });
        faults.extend(
            goes_back.map(|(one, next)| format!("{record}: a fence went back: {one:?} {next:?}")),
        );
        faults
    }

    /// Whether the holder of a lock may have let go of it before a moment.
    fn may_let_go(&self, record: &Record, fence: u64, before: Moment) -> bool {
        let facts: Vec<&Fact> = self.facts[record]
            .iter()
            .filter(|fact| fact.fence == fence)
            .collect();
        let Some(holder) = facts.first().map(|fact| fact.holder) else {
            return true;
        };
        if facts.iter().any(|fact| fact.is_released) {
            return true;
        }
        let Some(story) = self.stories.get(&holder.session) else {
            return true;
        };
        let Some(process) = story.processes.get(&holder.process) else {
            return true;
        };
        if story.may_be_over(before) || process.may_have_ended(before) {
            return true;
        }
        let is_told = facts.iter().any(|fact| fact.is_holders);
        let granted = facts.iter().filter(|fact| fact.is_holders);
        let granted = granted.map(|fact| fact.span.asked).min().unwrap_or(0);
        let register = process.registers.get(&Slot::Lock(record.clone()));
        register.is_some_and(|register| {
            register.0.iter().any(|write| {
                let lets_go = match write.value {
                    Value::Nothing => true,
                    // It went away before it was told: then the server lets go.
                    Value::Unknown => !is_told,
                    Value::Text(_) => false,
                };
                lets_go && write.span.asked < before && write.span.until > granted
            })
        })
    }

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

    /// The on-close method has run: for whom it had to, or at least may, with what the process had. Without a document, if
    /// the server was killed before it told more.
    pub(crate) fn ran(&mut self, key: RunKey, document: Option<&Invocation>) -> Option<String> {
        if self.retired.contains_key(&key.session) {
            return None;
        }
        let Some(story) = self.story(key.session) else {
            return Some(format!("{key} ran, and nobody knows the session"));
        };
        let fault = story.ran(key, document)?;
        Some(format!("{key} ran: {fault}: {document:?}"))
    }

    /// A session is in the history.
    pub(crate) fn has_ended(&mut self, entry: HistoryEntry) -> Option<String> {
        let id = entry.id;
        if self.retired.contains_key(&id) {
            return None;
        }
        let Some(story) = self.story(id) else {
            return Some(format!("{id} has ended, and nobody knows it"));
        };
        let fault = story.misremembered(&entry);
        story.history = Some(entry);
        fault.map(|fault| format!("{id} in the history: {fault}"))
    }

    /// What is still to come: ends in the history, runs of the on-close method.
    pub(crate) fn missing(&self, has_method: bool) -> Vec<String> {
        let over = self.stories.iter().filter(|(_, story)| story.is_over);
        let missing = over.filter_map(|(id, story)| {
            let missing = story.missing(has_method)?;
            Some(format!("{id}: {missing}"))
        });
        missing.collect()
    }

    /// Sessions that are over, and whose history may still tell more.
    pub(crate) fn over(&self) -> Vec<SessionId> {
        let stories = self.stories.iter().filter(|(_, story)| story.is_over);
        stories.map(|(id, _)| *id).collect()
    }

    /// Of sessions that have ended, and of which nothing more is to come, only the tokens are kept.
    pub(crate) fn retire(&mut self, has_method: bool) {
        // For one round more, clients try to get something out of it.
        let is_done = |story: &Story| story.closed > 1 && story.missing(has_method).is_none();
        let done: Vec<SessionId> = self
            .stories
            .iter()
            .filter(|(_, story)| is_done(story))
            .map(|(id, _)| *id)
            .collect();
        for id in done {
            if let Some(story) = self.stories.remove(&id) {
                self.retired.insert(id, story.tokens());
            }
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

impl ProcessStory {
    fn may_have_ended(&self, before: Moment) -> bool {
        self.has_ended || self.ends.iter().any(|(span, _)| span.asked < before)
    }

    /// What is wrong with what it was found to have at some moment.
    fn misread(&self, context: &Context, when: Span) -> Option<String> {
        let found = slots(context);
        if let Some((slot, value)) = found
            .iter()
            .find(|(slot, _)| !self.registers.contains_key(slot))
        {
            return Some(format!("nobody has put {value:?} into {slot:?}"));
        }
        let mut wrong = self.registers.iter().filter_map(|(slot, register)| {
            let value = found.get(slot).unwrap_or(&Value::Nothing);
            let is_fine = register.may_hold(value, when);
            (!is_fine).then(|| format!("{value:?} is in {slot:?}, after {register:?}"))
        });
        wrong.next()
    }
}

impl Story {
    pub(crate) fn tokens(&self) -> Vec<String> {
        let current = self
            .sign_ins
            .iter()
            .filter_map(|sign_in| sign_in.token.clone());
        self.replaced.iter().cloned().chain(current).collect()
    }

    /// Whether it was told before a moment that the session is over.
    fn is_over(&self, before: Moment) -> bool {
        let is_told = |end: &End| end.told.is_some() && end.span.until < before;
        self.is_over || self.ends.iter().any(is_told)
    }

    fn may_be_over(&self, before: Moment) -> bool {
        self.is_over || self.ends.iter().any(|end| end.span.asked < before)
    }

    fn may_be_ended_by_another(&self, request: Uuid, before: Moment) -> bool {
        let is_own = |how: How| matches!(how, How::Close(own) | How::Drop(own) if own == request);
        let mut others = self.ends.iter().filter(|end| !is_own(end.how));
        self.is_over || others.any(|end| end.span.asked < before)
    }

    /// Whether no process of it takes a value any more: those of a mobile session do until they have finished.
    fn takes_nothing(&self, before: Moment) -> bool {
        let is_closed = |end: &End| {
            let is_closed = end.told.is_some_and(|told| told.outcome != Ending::Closing);
            is_closed && end.span.until < before
        };
        match self.kind {
            Kind::Mobile => self.closed > 0 || self.ends.iter().any(is_closed),
            _ => self.is_over(before),
        }
    }

    fn is_dead(&self, token: &str, before: Moment) -> bool {
        let own = self.sign_in(token);
        let is_replaced = own.is_some_and(|own| {
            self.sign_ins.iter().any(|later| {
                later.is_sure && own.is_before(later.span) && later.span.until < before
            })
        });
        let was_refused = self.refused.get(token).is_some_and(|told| *told < before);
        own.is_none() || is_replaced || was_refused || self.is_over(before)
    }

    fn may_be_dead(&self, token: &str, before: Moment) -> bool {
        let Some(own) = self.sign_in(token) else {
            return true;
        };
        let replaces = |span: Span| span != own && span.asked < before && !span.is_before(own);
        self.may_be_over(before) || self.sign_ins.iter().any(|other| replaces(other.span))
    }

    /// When a token was given; `None` if it was replaced in an earlier run.
    fn sign_in(&self, token: &str) -> Option<Span> {
        let mut sign_ins = self.sign_ins.iter();
        let found = sign_ins.find(|sign_in| sign_in.token.as_deref() == Some(token));
        found.map(|sign_in| sign_in.span)
    }

    /// Whether this user may be the last one who has signed in.
    fn may_be_of(&self, user: Option<&str>) -> bool {
        let is_replaced = |span: Span| {
            let mut later = self.sign_ins.iter();
            later.any(|later| later.is_sure && span.is_before(later.span))
        };
        let mut sign_ins = self.sign_ins.iter();
        sign_ins.any(|sign_in| sign_in.user.as_deref() == user && !is_replaced(sign_in.span))
    }

    fn misread(&self, number: ProcessNumber, context: &Context, when: Span) -> Option<String> {
        let Some(process) = self.processes.get(&number) else {
            return Some("nobody knows the process".into());
        };
        process.misread(context, when)
    }

    /// Exactly one call begins an ending; the tries of one call are one.
    fn who_began(&self) -> Option<String> {
        let told = self.ends.iter().filter_map(|end| Some((end, end.told?)));
        let began: Vec<How> = told
            .filter(|(_, told)| told.initiated)
            .map(|(end, _)| end.how)
            .collect();
        let is_one = began.iter().all(|how| *how == began[0]);
        (!is_one).then(|| format!("its end began more than once: {:?}", self.ends))
    }

    /// Whether a call can have begun a closing, with its method: not if a drop came first, or if it came after an end.
    fn may_have_closed(&self) -> bool {
        let is_dropped_first = |end: &End| {
            matches!(end.how, How::Drop(_)) && end.told.is_some_and(|told| told.initiated)
        };
        // One that began a closing, and waited for its end, may have come to be told of a drop.
        let may_have_begun = |told: ToldEnd| told.initiated || told.cause != Some(Cause::Dropped);
        let may_close = |end: &End| {
            let is_close = !matches!(end.how, How::Drop(_));
            is_close && end.told.is_none_or(may_have_begun)
        };
        !self.ends.iter().any(is_dropped_first) && self.ends.iter().any(may_close)
    }

    /// When a closing began whose end no drop has cut short; `None` if nobody was told of such a one.
    fn closed_for_sure(&self) -> Option<Moment> {
        let by_history = self
            .history
            .as_ref()
            .is_some_and(|entry| entry.cause != Cause::Dropped);
        let closed = |cause: Option<Cause>| cause.is_some_and(|cause| cause != Cause::Dropped);
        let may_cut = |end: &End| {
            let is_drop = matches!(end.how, How::Drop(_));
            let is_late =
                |told: ToldEnd| told.outcome == Ending::AlreadyClosed && closed(told.cause);
            is_drop && !end.told.is_some_and(is_late)
        };
        let is_cut = self.ends.iter().any(may_cut);
        let told = self.ends.iter().filter(|end| {
            let is_close = !matches!(end.how, How::Drop(_));
            // A log-out tells no cause; without a drop there is only one.
            is_close
                && end
                    .told
                    .is_some_and(|told| told.cause.is_none_or(|cause| cause != Cause::Dropped))
        });
        let told = told.map(|end| end.span.until).min();
        match (by_history, told) {
            (true, told) => Some(told.unwrap_or(NEVER)),
            (false, told) if !is_cut => told,
            _ => None,
        }
    }

    /// The processes that the on-close method has to run for: those that were there when the closing began.
    pub(crate) fn must_run(&self) -> impl Iterator<Item = (ProcessNumber, &ProcessStory)> {
        let begun = self.closed_for_sure();
        let was_there = move |process: &ProcessStory| {
            let Some(begun) = begun else {
                return false;
            };
            !process.has_ended && process.ends.iter().all(|(span, _)| span.asked > begun)
        };
        let processes = self.processes.iter();
        processes
            .filter(move |(_, process)| was_there(process))
            .map(|(number, process)| (*number, process))
    }

    fn missing(&self, has_method: bool) -> Option<String> {
        let Some(history) = &self.history else {
            return Some(format!("it is not in the history, after {:?}", self.ends));
        };
        let told: BTreeSet<ProcessNumber> =
            history.on_close.iter().map(|run| run.process).collect();
        let mut pending = self.must_run().filter_map(|(number, process)| {
            if process.ran.is_none() {
                return Some(format!("the method has not run for process {number}"));
            }
            let is_told = told.contains(&number);
            (!is_told).then(|| format!("no run is told of for process {number}"))
        });
        if has_method { pending.next() } else { None }
    }

    /// When the first closing was asked for.
    fn close_asked(&self) -> Moment {
        let closes = self
            .ends
            .iter()
            .filter(|end| !matches!(end.how, How::Drop(_)));
        closes.map(|end| end.span.asked).min().unwrap_or(NEVER)
    }

    fn ran(&mut self, key: RunKey, document: Option<&Invocation>) -> Option<String> {
        if !self.may_have_closed() {
            return Some(format!("nobody has closed it: {:?}", self.ends));
        }
        let document = document?;
        if document.run_key() != key {
            return Some("the document is of another run".into());
        }
        if !self.has_cause(document.cause) {
            return Some("the cause is wrong".into());
        }
        if !self.may_be_of(document.session.user.as_deref()) {
            return Some(format!("the user is none of {:?}", self.sign_ins));
        }
        let close_asked = self.close_asked();
        let may_be_unknown = self.unsure_starts > 0 || self.may_resume;
        let number = document.process.number;
        let Some(process) = self.processes.get_mut(&number) else {
            let is_fine = may_be_unknown && document.context == Context::default();
            return (!is_fine).then(|| "nobody has started the process".into());
        };
        let ended_before = |(span, is_sure): &(Span, bool)| *is_sure && span.until < close_asked;
        if process.has_ended || process.ends.iter().any(ended_before) {
            return Some("the process had ended by itself".into());
        }
        if let Some(before) = &process.ran {
            let is_same = before.variables == document.context.variables
                && before.selections == document.context.selections;
            if !is_same {
                return Some(format!("before, it was told {before:?}"));
            }
        }
        process.ran = Some(document.context.clone());
        process.misinvoked(&document.context, close_asked)
    }

    fn has_cause(&self, cause: Cause) -> bool {
        self.ends.iter().any(|end| match end.how {
            How::Close(_) => cause == Cause::Command,
            How::LogOut => cause == Cause::Logout,
            How::Drop(_) => cause == Cause::Dropped,
        })
    }

    fn misremembered(&self, entry: &HistoryEntry) -> Option<String> {
        let cause = entry.cause;
        let was_told = |end: &End| {
            let Some(told) = end.told else {
                return true;
            };
            // A drop may have cut short what was closing when this was told.
            let is_final = told.outcome != Ending::Closing || cause != Cause::Dropped;
            !is_final || told.cause.is_none_or(|told| told == cause)
        };
        if !self.has_cause(cause) || !self.ends.iter().all(was_told) {
            return Some(format!("the cause is {cause}, after {:?}", self.ends));
        }
        let is_same = |before: &HistoryEntry| before.cause == cause && before.seq == entry.seq;
        if !self.history.as_ref().is_none_or(is_same) {
            return Some(format!("it was {:?}, and is {entry:?}", self.history));
        }
        let is_of = self.may_be_of(entry.user.as_deref());
        (!is_of).then(|| format!("{:?} is none of {:?}", entry.user, self.sign_ins))
    }

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

    /// What is wrong with what its method was told of it. While it closes nothing is put into it any more, but it may let
    /// locks go.
    fn misinvoked(&self, context: &Context, close_asked: Moment) -> Option<String> {
        let mut told = self.clone();
        let locks = told
            .registers
            .iter_mut()
            .filter(|(slot, _)| matches!(slot, Slot::Lock(_)));
        for (_, register) in locks {
            for write in &mut register.0 {
                write.is_sure &= write.value != Value::Nothing || write.span.until < close_asked;
            }
        }
        told.misread(context, AFTERWARDS)
    }
}
