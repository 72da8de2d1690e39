//! More steps of the model: options, what methods leave, and the work of those who run them.

use std::time::Duration;

use sessionctl::application::{Saved, SavedInformation};
use sessionctl::context::Context;
use sessionctl::on_close::{MethodResult, RunKey};
use sessionctl::options::{EvictionOrder, OptionSpec, Options};
use sessionctl::session::{Cause, Mode, ProcessNumber, ProcessState, SessionId};

use crate::model_drivers::{CLAIM, Driver, Setting, Taken, Why, Worked};
use crate::model_look::{Look, orderly};
use crate::model_rules::{Known, Left, Model, Phase, Ran};
use crate::model_steps::{Pick, Step};

impl Model {
    pub(crate) async fn ask_option(&mut self, driver: &impl Driver, step: Step) {
        let Step::SetOption {
            name,
            text,
            may_end,
            dry_run,
        } = step
        else {
            return;
        };
        let spec = OptionSpec::named(name).unwrap();
        let value = text.map(|text| spec.parse(text).unwrap().unwrap());
        let setting = Setting {
            spec,
            value,
            may_end,
            dry_run,
        };
        let answer = driver.set_option(setting).await;
        let options = self.with_option(name, text);
        let excess = self.counted().saturating_sub(options.max_sessions);
        let look = Look::at(driver).await;
        let mut evicted = self.candidates(&options, true);
        // Of those who are equal, whoever went.
        evicted.sort_by_key(|at| {
            let known = &self.known[*at];
            (
                known.rank(options.eviction_order),
                !look.has_ended(known.id),
            )
        });
        evicted.truncate(excess);
        let expires = |known: &Known| {
            !self.is_expired(known) && known.is_live() && known.expires_at(&options) <= self.now
        };
        let ending = (0..self.known.len())
            .filter(|at| evicted.contains(at) || expires(&self.known[*at]))
            .count();
        if dry_run {
            return assert_eq!(answer, Ok(ending as u64));
        }
        if ending > 0 && !may_end {
            return assert_eq!(answer, Err(Why::WouldEnd));
        }
        assert_eq!(answer, Ok(ending as u64));
        for at in evicted {
            self.begin_close(at, Cause::Evicted);
        }
        self.options = options;
        if ending > 0 {
            self.sweep();
        }
    }

    fn with_option(&self, name: &str, text: Option<&str>) -> Options {
        let (mut options, before) = (self.options.clone(), &self.started_with);
        let seconds = |text: &str| Duration::from_secs(text.trim_end_matches('s').parse().unwrap());
        match name {
            "mode" => {
                options.mode = text.map_or(before.mode, |text| Mode::from_word(text).unwrap());
            }
            "max_sessions" => {
                options.max_sessions =
                    text.map_or(before.max_sessions, |text| text.parse().unwrap());
            }
            "eviction_order" => {
                let order = text.map(|text| EvictionOrder::from_word(text).unwrap());
                options.eviction_order = order.unwrap_or(before.eviction_order);
            }
            "inactive_process_timeout" => {
                let timeout = text.map_or(before.inactive_process_timeout, seconds);
                options.inactive_process_timeout = timeout;
            }
            _ => {
                let timeout = text.map_or(before.inactive_session_timeout, seconds);
                options.inactive_session_timeout = timeout;
            }
        }
        options
    }

    pub(crate) async fn ask_saved(&mut self, driver: &impl Driver, pick: Pick) {
        let id = self.id(pick);
        let answer = driver.take_saved(id).await;
        let expected = self.good(id).map(|at| {
            let heir_of = self.heir_of(at);
            let mut left = Vec::new();
            for at in [Some(at), heir_of].into_iter().flatten() {
                let known = &mut self.known[at];
                let items = known.left.drain(..);
                left.extend(items.map(|(process, left)| (known.id, process, left)));
            }
            if let Some(before) = heir_of {
                self.reach("inherited");
                self.known[before].is_inherited = true;
            }
            (heir_of.map(|before| self.known[before].id), left)
        });
        match (answer, expected) {
            (Ok(saved), Ok((previous, left))) => compare_saved(saved, previous, left),
            (answer, expected) => assert_eq!(answer.err(), expected.err()),
        }
    }

    /// All work is done, and what a process had is what was saved of it.
    pub(crate) fn all_is_done(&mut self) {
        let result = self.has_method.then_some(MethodResult::Succeeded);
        for (key, context) in self.unclaimed() {
            let left = self.has_method.then_some(Left::Context(context));
            self.finish_process(key, Ran { result, left });
        }
    }

    /// The processes whose method nobody runs, with what it is to see.
    fn unclaimed(&self) -> Vec<(RunKey, Context)> {
        let mut found = Vec::new();
        for known in self.known.iter().filter(|known| !known.is_closed()) {
            for (number, process) in &known.processes {
                if process.is_unclaimed(self.now) {
                    let process_number = ProcessNumber(*number);
                    let key = RunKey {
                        session: known.id,
                        process: process_number,
                    };
                    found.push((key, process.context()));
                }
            }
        }
        let is_free = |until: Option<_>| until.is_none_or(|until| until <= self.now);
        let late = self.late.iter().filter(|late| is_free(late.claimed_until));
        found.extend(late.map(|late| (late.key, late.context.clone())));
        found
    }

    /// Workers took exactly what nobody had; some of them lived to do it.
    pub(crate) fn follow_work(&mut self, work: Vec<Worked>) {
        let mut unclaimed = self.unclaimed();
        for taken in &work {
            self.take(&taken.taken, &mut unclaimed);
        }
        let left: Vec<RunKey> = unclaimed.into_iter().map(|(key, _)| key).collect();
        assert!(left.is_empty(), "work that nobody took: {left:?}");
        for done in work.into_iter().filter(|work| work.is_done) {
            match done.taken {
                Taken::Closing(id) => {
                    let at = self.at(id).unwrap();
                    self.finish(at, false);
                }
                Taken::Process(key, document) => {
                    let result = document.map(|_| done.result);
                    let left = done.answer.map(Left::Answer);
                    self.finish_process(key, Ran { result, left });
                }
            }
        }
    }

    fn take(&mut self, taken: &Taken, unclaimed: &mut Vec<(RunKey, Context)>) {
        let until = self.now.plus(CLAIM);
        let (key, document) = match taken {
            Taken::Process(key, document) => (*key, document),
            Taken::Closing(id) => {
                let at = self.at(*id).unwrap();
                let known = &mut self.known[at];
                assert!(matches!(known.phase, Phase::Closing(_)) && !self.has_method);
                for process in known.processes.values_mut() {
                    assert_eq!(
                        process.state,
                        ProcessState::Closing,
                        "it needs only its end"
                    );
                    process.closing.as_mut().unwrap().claimed_until = Some(until);
                }
                let has = |key: &RunKey| known.processes.contains_key(&key.process.0);
                return unclaimed.retain(|(key, _)| key.session != *id || !has(key));
            }
        };
        let at = unclaimed.iter().position(|(other, _)| *other == key);
        let (_, context) = unclaimed.swap_remove(at.expect("work that nobody else has"));
        assert_eq!(document.is_some(), self.has_method);
        let at = self.at(key.session).unwrap();
        let known = &mut self.known[at];
        let process = known.processes.get_mut(&key.process.0);
        let cause = match process.and_then(|process| process.closing.as_mut()) {
            Some(closing) => {
                closing.claimed_until = Some(until);
                let is_alone = closing.is_alone;
                Some(if is_alone {
                    Cause::Inactive
                } else {
                    known.cause().unwrap()
                })
            }
            None => {
                let mut late = self.late.iter_mut();
                let late = late.find(|late| late.key == key).unwrap();
                late.claimed_until = Some(until);
                None
            }
        };
        if let Some(document) = document {
            assert_eq!((document.run_key(), document.late), (key, cause.is_none()));
            assert_eq!(
                orderly(document.context.clone()),
                context,
                "what the method sees"
            );
            assert!(cause.is_none_or(|cause| document.cause == cause));
        }
    }
}

fn compare_saved(saved: Saved, previous: Option<SessionId>, left: Vec<(SessionId, u32, Left)>) {
    assert_eq!(saved.previous, previous);
    let mut items = saved.items;
    assert_eq!(items.len(), left.len(), "{items:?}, {left:?}");
    for (session, process, left) in left {
        let is_it = |item: &SavedInformation| {
            let is_same = match &left {
                Left::Answer(answer) => item.information == *answer,
                Left::Context(context) => {
                    let text = item.information.as_str();
                    orderly(serde_json::from_str(text).unwrap()) == *context
                }
            };
            (item.session, item.process.0) == (session, process) && is_same
        };
        let at = items.iter().position(is_it);
        items.swap_remove(at.unwrap_or_else(|| panic!("{left:?} in {items:?}")));
    }
}
