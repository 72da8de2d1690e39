//! How things end by the rules: closings, drops, processes and what their methods leave (C02, C03, C06, C08, C09, C11, C18).

use sessionctl::on_close::{Freed, MethodResult, RunKey};
use sessionctl::session::{Cause, Kind, Mode, ProcessNumber, ProcessState};

use crate::model_rules::{Begun, ClosingProcess, Late, Model, Phase, Process, Ran, Run};

impl Model {
    pub(crate) fn close_process(&mut self, at: usize, number: u32, is_alone: bool) {
        let now = self.now;
        let known = &mut self.known[at];
        let user = known.user.clone();
        let process = known.processes.get_mut(&number).unwrap();
        process.state = ProcessState::Closing;
        process.closing = Some(ClosingProcess {
            is_alone,
            since: now,
            user,
            claimed_until: None,
        });
    }

    /// The closing of a live session begins; false if it ignores the command (C02).
    pub(crate) fn begin_close(&mut self, at: usize, cause: Cause) -> bool {
        let now = self.now;
        let is_ignored = self.known[at].mode == Mode::Scalable && cause == Cause::Command;
        self.reach(if is_ignored {
            "ignored"
        } else {
            cause.as_str()
        });
        if is_ignored {
            return false;
        }
        let known = &mut self.known[at];
        known.phase = Phase::Closing(Begun {
            cause,
            at: now,
            grace_ends_at: now.plus(self.options.closing_grace_period),
            ends_at: now.plus(self.options.closing_time_limit),
        });
        let (kind, mode) = (known.kind, known.mode);
        let open = known
            .processes
            .iter()
            .filter(|(_, process)| process.state != ProcessState::Closing);
        let open: Vec<u32> = open.map(|(number, _)| *number).collect();
        for number in open {
            match kind {
                Kind::Web => self.close_process(at, number, false),
                _ => {
                    self.reach("asked");
                    let process = self.known[at].processes.get_mut(&number);
                    process.unwrap().state = ProcessState::Asked;
                }
            }
        }
        if mode == Mode::Scalable || self.known[at].processes.is_empty() {
            self.finish(at, false);
        }
        true
    }

    /// A closing ends with what the session still has; for methods that had no time, copies are kept (C09).
    pub(crate) fn finish(&mut self, at: usize, keeps_documents: bool) {
        let numbers: Vec<u32> = self.known[at].processes.keys().copied().collect();
        for number in numbers {
            if keeps_documents {
                self.keep_late(at, number);
            }
            self.free(at, number);
        }
        let begun = self.known[at].begun().unwrap().clone();
        self.known[at].phase = Phase::Closed(begun, self.now);
    }

    /// What a process had is free; it is a part of the outcome unless its session lived on.
    pub(crate) fn free(&mut self, at: usize, number: u32) {
        let known = &mut self.known[at];
        let process = known.processes.remove(&number).unwrap();
        if process
            .closing
            .as_ref()
            .is_none_or(|closing| !closing.is_alone)
        {
            known.freed = known.freed.and(Freed::of(&process.context()));
        }
    }

    fn keep_late(&mut self, at: usize, number: u32) {
        self.reach("late");
        let known = &self.known[at];
        let process = &known.processes[&number];
        let closing = process.closing.as_ref();
        self.late.push(Late {
            key: RunKey {
                session: known.id,
                process: ProcessNumber(number),
            },
            is_alone: closing.is_some_and(|closing| closing.is_alone),
            user: closing.map_or_else(|| known.user.clone(), |closing| closing.user.clone()),
            context: process.context(),
            claimed_until: closing.and_then(|closing| closing.claimed_until),
        });
    }

    pub(crate) fn drop_session(&mut self, at: usize) {
        let now = self.now;
        let struck: Vec<u32> = self.known[at]
            .processes
            .iter()
            .filter(|(_, process)| {
                let closing = process.closing.as_ref();
                closing.is_some_and(|closing| closing.claimed_until.is_none())
            })
            .map(|(number, _)| *number)
            .collect();
        self.reach("dropped");
        for process in struck {
            self.reach("struck");
            self.known[at].runs.push(Run {
                process,
                result: MethodResult::Struck.as_str(),
                late: false,
                is_alone: false,
            });
        }
        let at_once = self.known[at].begun().map_or(now, |begun| begun.at);
        self.known[at].phase = Phase::Closing(Begun {
            cause: Cause::Dropped,
            at: at_once,
            grace_ends_at: now,
            ends_at: now,
        });
        self.finish(at, false);
    }

    /// A run has ended, or where there is no method, what waited for none.
    pub(crate) fn finish_process(&mut self, key: RunKey, ran: Ran) {
        let at = self.at(key.session).unwrap();
        let number = key.process.0;
        let known = &mut self.known[at];
        let closing = known
            .processes
            .get(&number)
            .and_then(|process| process.closing.clone());
        let (user, is_late, is_alone) = match &closing {
            Some(closing) => (closing.user.clone(), false, closing.is_alone),
            None => {
                let late = self.late.iter().position(|late| late.key == key);
                let late = self.late.remove(late.unwrap());
                (late.user, true, late.is_alone)
            }
        };
        if let Some(result) = ran.result {
            known.runs.push(Run {
                process: number,
                result: result.as_str(),
                late: is_late,
                is_alone,
            });
        }
        if known.may_have_of(user.as_deref()) {
            known.left.extend(ran.left.map(|left| (number, left)));
        }
        if closing.is_some() {
            self.free(at, number);
            self.end_if_empty(at);
        }
    }

    fn end_if_empty(&mut self, at: usize) {
        let known = &self.known[at];
        if known.processes.is_empty() && matches!(known.phase, Phase::Closing(_)) {
            self.finish(at, false);
        }
    }

    /// Does what is due (C08, C09, C11, C12, C18).
    pub(crate) fn sweep(&mut self) {
        for at in 0..self.known.len() {
            self.end_leases(at);
            self.end_closings(at);
        }
        for at in 0..self.known.len() {
            if self.is_expired(&self.known[at]) {
                self.begin_close(at, Cause::Inactive);
            } else if self.known[at].phase == Phase::Active && self.is_over(&self.known[at]) {
                self.suspend(at);
            }
        }
    }

    fn end_leases(&mut self, at: usize) {
        let now = self.now;
        let lapsed = |process: &Process| process.lease.is_some_and(|(_, until)| until <= now);
        let known = &self.known[at];
        let lapsed: Vec<(u32, ProcessState)> = known
            .processes
            .iter()
            .filter(|(_, process)| lapsed(process))
            .map(|(number, process)| (*number, process.state))
            .collect();
        for (number, state) in lapsed {
            self.reach("lapsed");
            match (state, self.known[at].kind) {
                (ProcessState::Running, Kind::Web) => self.suspend(at),
                (ProcessState::Running, _) => self.close_or_end(at, number),
                (ProcessState::Asked, _) => self.close_process(at, number, false),
                _ => {}
            }
        }
    }

    fn end_closings(&mut self, at: usize) {
        let (now, limit) = (self.now, self.options.closing_time_limit);
        let known = &self.known[at];
        let alone: Vec<u32> = known
            .processes
            .iter()
            .filter(|(_, process)| {
                let closing = process.closing.as_ref();
                closing.is_some_and(|closing| closing.is_alone && closing.since.plus(limit) <= now)
            })
            .map(|(number, _)| *number)
            .collect();
        for number in alone {
            self.keep_late(at, number);
            self.free(at, number);
            self.end_if_empty(at);
        }
        let Phase::Closing(begun) = self.known[at].phase.clone() else {
            return;
        };
        if begun.ends_at <= now {
            return self.finish(at, true);
        }
        let known = &self.known[at];
        let asked = known
            .processes
            .iter()
            .filter(|(_, process)| process.state == ProcessState::Asked);
        let asked: Vec<u32> = asked.map(|(number, _)| *number).collect();
        if begun.grace_ends_at <= now {
            for number in asked {
                self.close_process(at, number, false);
            }
        }
    }
}
