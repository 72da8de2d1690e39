//! Whether the on-close method has run for whom it had to and for nobody else, with what its process had, and whether the
//! history tells of every end (C05, C08, C09).

use std::collections::BTreeSet;

use sessionctl::admin::{Ending, HistoryEntry};
use sessionctl::context::Context;
use sessionctl::on_close::{Invocation, RunKey};
use sessionctl::session::{Cause, ProcessNumber, SessionId};

use crate::killer_history::{
    AFTERWARDS, End, Histories, How, Moment, NEVER, ProcessStory, Slot, Span, Story, ToldEnd, Value,
};

impl Histories {
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

impl Story {
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
}

impl ProcessStory {
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
