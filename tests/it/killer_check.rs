//! Whether the answers of a server can be, with what was asked and answered as the only witness (C03, C15, C16, C17, S08).

use sessionctl::admin::Ending;
use sessionctl::context::{Context, Record};
use sessionctl::error::Error;
use sessionctl::session::{Kind, ProcessNumber};
use uuid::Uuid;

use crate::killer_history::{
    Answer, Asked, End, Event, Fact, Histories, How, Moment, ProcessStory, Slot, Span, Story,
    Value, slots,
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
    pub(crate) fn may_let_go(&self, record: &Record, fence: u64, before: Moment) -> bool {
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
}

impl ProcessStory {
    pub(crate) fn may_have_ended(&self, before: Moment) -> bool {
        self.has_ended || self.ends.iter().any(|(span, _)| span.asked < before)
    }

    /// What is wrong with what it was found to have at some moment.
    pub(crate) fn misread(&self, context: &Context, when: Span) -> Option<String> {
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
    pub(crate) fn is_over(&self, before: Moment) -> bool {
        let is_told = |end: &End| end.told.is_some() && end.span.until < before;
        self.is_over || self.ends.iter().any(is_told)
    }

    pub(crate) fn may_be_over(&self, before: Moment) -> bool {
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
    pub(crate) fn may_be_of(&self, user: Option<&str>) -> bool {
        let is_replaced = |span: Span| {
            let mut later = self.sign_ins.iter();
            later.any(|later| later.is_sure && span.is_before(later.span))
        };
        let mut sign_ins = self.sign_ins.iter();
        sign_ins.any(|sign_in| sign_in.user.as_deref() == user && !is_replaced(sign_in.span))
    }

    pub(crate) fn misread(
        &self,
        number: ProcessNumber,
        context: &Context,
        when: Span,
    ) -> Option<String> {
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
}
