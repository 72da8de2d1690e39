//! All that can be seen, against the model: after each step both must agree. Where the rules leave a choice, the model
//! follows what it sees, if that was permitted.

use std::collections::HashMap;

use sessionctl::application::At;
use sessionctl::clock::Timestamp;
use sessionctl::context::{Context, Lock};
use sessionctl::options::{EvictionOrder, Options};
use sessionctl::session::{
    Cause, HeldLock, Mode, NameAndSize, ProcessNumber, ProcessState, Session, SessionId, State,
};
use sessionctl::session::{Process as Shown, SessionDetails};
use sessionctl::store::Census;

use crate::model_drivers::{Driver, Why};
use crate::model_rules::{Known, Model, Phase, Process, Run};

/// What operators see at one moment.
pub(crate) struct Look {
    list: Vec<Session>,
    processes: HashMap<SessionId, Vec<Shown>>,
    locks: Vec<HeldLock>,
    census: Census,
}

impl Look {
    pub(crate) async fn at(driver: &impl Driver) -> Self {
        let list = driver.list().await;
        let mut processes = HashMap::new();
        for listed in &list {
            let details = driver.show(listed.id).await.unwrap();
            let SessionDetails {
                session,
                processes: of,
            } = details;
            assert_eq!(&session, listed, "a list and a look at one agree");
            processes.insert(session.id, of);
        }
        Self {
            list,
            processes,
            locks: driver.locks().await,
            census: driver.census().await,
        }
    }

    /// Whether a session that was live is so no more.
    pub(crate) fn has_ended(&self, id: SessionId) -> bool {
        let mut listed = self.list.iter();
        listed
            .find(|session| session.id == id)
            .is_none_or(|session| session.state == State::Closing)
    }

    fn has_running(&self, id: SessionId) -> bool {
        let mut processes = self.processes.get(&id).into_iter().flatten();
        processes.any(|process| process.state == ProcessState::Running)
    }
}

impl Model {
    /// One more session of this mode takes a place (C10): follows who ended for it. False if there is no room.
    pub(crate) fn make_room(&mut self, look: &Look, mode: Mode, is_user: bool) -> bool {
        let limit = self.options.max_sessions;
        if mode != Mode::Legacy || self.counted() < limit {
            return true;
        }
        self.follow_due(look, limit);
        let needed = (self.counted() + 1).saturating_sub(limit);
        let candidates = self.candidates(&self.options, is_user);
        if candidates.len() < needed {
            self.reach("full");
            return false;
        }
        let has_ended = |at: &usize| look.has_ended(self.known[*at].id);
        let (gone, stayed): (Vec<usize>, Vec<usize>) = candidates.into_iter().partition(has_ended);
        assert_eq!(gone.len(), needed, "as many are evicted as are needed");
        let rank = |at: &usize| self.known[*at].rank(self.options.eviction_order);
        let (last, next) = (gone.iter().map(rank).max(), stayed.iter().map(rank).min());
        assert!(
            next.is_none() || last <= next,
            "those go who come first: {last:?} before {next:?}"
        );
        for at in gone {
            self.begin_close(at, Cause::Evicted);
        }
        true
    }

    /// What is due makes room before anybody is evicted, in whatever order, and no more than is needed.
    fn follow_due(&mut self, look: &Look, limit: usize) {
        let before = self.counted();
        let mut is_left = false;
        for at in 0..self.known.len() {
            let known = &self.known[at];
            let (is_expired, id) = (self.is_expired(known), known.id);
            let is_over = !is_expired && known.phase == Phase::Active && self.is_over(known);
            if is_expired && look.has_ended(id) {
                self.begin_close(at, Cause::Inactive);
            } else if is_over && !look.has_running(id) {
                self.suspend(at);
            } else {
                is_left |= is_expired || is_over;
            }
        }
        let needed = (before + 1).saturating_sub(limit);
        let taken = before - self.counted();
        assert!(
            taken == needed || (taken < needed && !is_left),
            "{taken} of {needed} that were due made room"
        );
    }

    /// Who may be evicted, in the order in which they go.
    pub(crate) fn candidates(&self, options: &Options, takes_users: bool) -> Vec<usize> {
        let order = options.eviction_order;
        let may_go = |known: &Known| {
            known.counts()
                && known.last_request_at.plus(options.eviction_min_idle) <= self.now
                && (takes_users || order == EvictionOrder::Oldest || known.user.is_none())
        };
        let candidates = (0..self.known.len()).filter(|at| may_go(&self.known[*at]));
        let mut candidates: Vec<usize> = candidates.collect();
        candidates.sort_by_key(|at| (self.known[*at].rank(order), *at));
        candidates
    }

    /// Everything that can be seen is as it should be.
    pub(crate) async fn compare(&mut self, driver: &impl Driver, look: &Look) {
        self.compare_list(look);
        for known in self.known.iter().filter(|known| !known.is_closed()) {
            self.compare_processes(known, &look.processes[&known.id]);
        }
        self.compare_locks(look);
        assert_eq!(look.census, self.census());
        self.compare_tokens(driver).await;
        self.compare_contexts(driver).await;
    }

    fn compare_list(&self, look: &Look) {
        let open = self.known.iter().filter(|known| !known.is_closed());
        let expected: Vec<Session> = open
            .zip(&look.list)
            .map(|(known, seen)| self.session(known, seen))
            .collect();
        assert_eq!(look.list, expected);
        let open = self.known.iter().filter(|known| !known.is_closed());
        assert_eq!(look.list.len(), open.count());
        assert!(look.list.is_sorted_by(|one, next| one.seq < next.seq));
    }

    fn session(&self, known: &Known, seen: &Session) -> Session {
        let expires_at = match (&known.phase, known.mode) {
            (Phase::Closing(_), _) => Some(Timestamp::EPOCH),
            (_, Mode::Scalable) => None,
            _ => Some(known.expires_at(&self.options)),
        };
        let locks = known.processes.values().map(|process| process.locks.len());
        let idle = self.now.since(known.last_request_at);
        Session {
            id: known.id,
            kind: known.kind,
            mode: known.mode,
            state: self.state(known),
            user: known.user.clone(),
            ip: known.ip,
            user_agent: seen.user_agent.clone(),
            created_at: known.created_at,
            login_at: known.login_at,
            last_request_at: known.last_request_at,
            expires_at,
            idle_ms: u64::try_from(idle.as_millis()).unwrap(),
            process_count: u32::try_from(known.processes.len()).unwrap(),
            lock_count: u32::try_from(locks.sum::<usize>()).unwrap(),
            seq: seen.seq,
        }
    }

    fn compare_processes(&self, known: &Known, seen: &[Shown]) {
        let numbers = known.processes.keys().copied();
        let seen_numbers = seen.iter().map(|process| process.number.0);
        assert!(numbers.eq(seen_numbers), "{seen:?}");
        for (process, seen) in known.processes.values().zip(seen) {
            let expected = shown(seen.number, process);
            let seen = Shown {
                locks: sorted(seen.locks.clone()),
                ..seen.clone()
            };
            assert_eq!(seen, expected, "of {}", known.id);
        }
    }

    fn compare_locks(&self, look: &Look) {
        let mut expected = Vec::new();
        for known in &self.known {
            for (number, process) in &known.processes {
                let held = process.locks.values().map(|lock| HeldLock {
                    table: lock.table.clone(),
                    record: lock.record.clone(),
                    session: known.id,
                    process: ProcessNumber(*number),
                    user: known.user.clone(),
                    since: lock.since,
                    fence: lock.fence,
                    waiting: 0,
                });
                expected.extend(held);
            }
        }
        expected
            .sort_by(|one, other| (&one.table, &one.record).cmp(&(&other.table, &other.record)));
        assert_eq!(look.locks, expected);
    }

    fn census(&self) -> Census {
        let count = |is_meant: &dyn Fn(&Known) -> bool| {
            self.known.iter().filter(|known| is_meant(known)).count() as u64
        };
        Census {
            active: count(&|known| known.phase == Phase::Active),
            suspended: count(&|known| known.phase == Phase::Suspended),
            closing: count(&|known| matches!(known.phase, Phase::Closing(_))),
            late: self.late.len() as u64,
            counted: count(&Known::counts),
            ..Census::default()
        }
    }

    /// Every token that was ever given opens what it should, and nothing else.
    async fn compare_tokens(&self, driver: &impl Driver) {
        for known in &self.known {
            for (old, _) in &known.rotated {
                let seen = driver.check(old, None, false).await;
                match self.is_rotated_away(old) {
                    true => assert_eq!(seen, Err(Why::Rotated)),
                    false => assert_eq!(seen, Ok(None), "a replaced token"),
                }
            }
            let seen = driver.check(&known.token, None, false).await.unwrap();
            let is_live = known.is_live() && !self.is_expired(known);
            assert_eq!(
                seen.is_some(),
                is_live,
                "the token of {}: {seen:?}",
                known.id
            );
            if let Some(visit) = seen {
                assert_eq!(visit.id, known.id);
                assert_eq!(visit.user.as_deref(), known.user.as_deref());
                assert_eq!(visit.state, self.state(known));
                let expires_at = known.expires_at(&self.options);
                let expires_at = (known.mode != Mode::Scalable).then_some(expires_at);
                assert_eq!(visit.expires_at, expires_at);
            }
        }
    }

    /// The values too, of every process there is; that names it, so its lease is renewed.
    async fn compare_contexts(&mut self, driver: &impl Driver) {
        let open = self.known.iter().filter(|known| !known.is_closed());
        let all = open.flat_map(|known| {
            let numbers = known.processes.keys();
            numbers.map(|number| At {
                id: known.id,
                process: ProcessNumber(*number),
            })
        });
        for at in all.collect::<Vec<At>>() {
            let seen = driver.context(at).await.unwrap();
            assert_eq!(orderly(seen), self.process(at).unwrap().context());
        }
    }

    /// What is remembered of all that is closed.
    pub(crate) async fn compare_history(&self, driver: &impl Driver) {
        let mut history = driver.history().await;
        let closed = self.known.iter().filter(|known| known.is_closed());
        assert_eq!(history.len(), closed.clone().count());
        assert!(history.is_sorted_by(|one, next| one.seq > next.seq));
        for known in closed {
            let at = history.iter().position(|entry| entry.id == known.id);
            let entry = history.swap_remove(at.unwrap());
            let Phase::Closed(begun, closed_at) = &known.phase else {
                panic!("it is closed");
            };
            assert_eq!((entry.cause, entry.begun_at), (begun.cause, begun.at));
            assert_eq!(
                (entry.closed_at, entry.expires_at),
                (*closed_at, Timestamp::EPOCH)
            );
            assert_eq!(
                (entry.kind, entry.mode),
                (Some(known.kind), Some(known.mode))
            );
            assert_eq!(
                (entry.user.as_ref(), entry.login_at),
                (known.user.as_ref(), known.login_at)
            );
            assert_eq!(entry.created_at, Some(known.created_at));
            assert_eq!(entry.last_request_at, Some(known.last_request_at));
            assert_eq!(entry.freed, known.freed, "{entry:?}");
            let mut runs = known.runs.clone();
            runs.extend(self.pending(known));
            compare_runs(runs, &entry.on_close);
        }
    }

    /// The runs of a closed session that are still to come (C09).
    pub(crate) fn pending(&self, known: &Known) -> Vec<Run> {
        let late = self.late.iter().filter(|late| late.key.session == known.id);
        let pending = late.map(|late| Run {
            process: late.key.process.0,
            result: "pending",
            late: true,
            is_alone: late.is_alone,
        });
        pending.collect()
    }
}

/// In whatever order they came.
pub(crate) fn compare_runs(expected: Vec<Run>, seen: &[sessionctl::on_close::MethodRun]) {
    let mut expected: Vec<_> = expected
        .into_iter()
        .map(|run| (run.process, run.result, run.late))
        .collect();
    let mut seen: Vec<_> = seen
        .iter()
        .map(|run| (run.process.0, run.result.as_str(), run.late))
        .collect();
    expected.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, expected, "the runs of the method");
}

fn shown(number: ProcessNumber, process: &Process) -> Shown {
    let variables = process.variables.iter().map(|(name, value)| NameAndSize {
        name: name.clone(),
        bytes: value.as_str().len(),
    });
    Shown {
        number,
        state: process.state,
        started_at: process.started_at,
        lease_until: process.lease.map(|(_, until)| until),
        variables: variables.collect(),
        selections: Vec::new(),
        locks: process.locks.values().cloned().collect(),
    }
}

/// A context in the model's order of locks: by record.
pub(crate) fn orderly(context: Context) -> Context {
    Context {
        locks: sorted(context.locks),
        ..context
    }
}

fn sorted(mut locks: Vec<Lock>) -> Vec<Lock> {
    locks.sort_by_key(Lock::target);
    locks
}
