//! The steps of the model: what is asked, what the rules say to that, and that the answer is the same.

use std::net::IpAddr;
use std::time::Duration;

use sessionctl::admin::{Ending, OpenRequest, Outcome};
use sessionctl::application::At;
use sessionctl::context::{Json, Name, Record};
use sessionctl::session::{Cause, Kind, Mode, ProcessNumber, SessionId, State};
use sessionctl::token::Token;

use crate::model_drivers::{Driver, Plan, Why};
use crate::model_look::{Look, compare_runs};
use crate::model_rules::{Known, Model, Phase, Run};

/// Which session: counted back from the last one opened. A number that is divisible by 16 is none that ever was.
pub(crate) type Pick = u8;

/// A process of a session that was picked, and what is done with it.
pub(crate) type Which = (Pick, u32);

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Open {
        kind: Kind,
        user: Option<&'static str>,
    },
    /// A browser comes with the cookie of a session, replaced ones among them, or with none.
    Enter {
        with: Option<Pick>,
        is_old: bool,
        is_elsewhere: bool,
    },
    Request {
        with: Pick,
        is_elsewhere: bool,
    },
    LogIn(Pick, &'static str),
    LogOut(Pick),
    Close(Pick),
    Drop(Pick),
    StartProcess(Pick, bool),
    EndProcess(Which),
    SetVariable(Which, &'static str, Option<&'static str>),
    Lock(Which, &'static str),
    Unlock(Which, &'static str),
    SetOption {
        name: &'static str,
        text: Option<&'static str>,
        may_end: bool,
        dry_run: bool,
    },
    TakeSaved(Pick),
    Pass(u64),
    /// Time passes, and what has come due is done before anybody looks.
    Sweep(u64),
    Work(Plan),
    Restart,
}

pub(crate) const LEASE: Duration = Duration::from_secs(30);

fn address(is_elsewhere: bool) -> Option<IpAddr> {
    let address = if is_elsewhere {
        [192, 0, 2, 2]
    } else {
        [192, 0, 2, 1]
    };
    Some(address.into())
}

fn record(text: &str) -> Record {
    Record {
        table: Name::new("Invoices").unwrap(),
        record: Name::new(text).unwrap(),
    }
}

/// What an ending should come to.
struct Expected {
    outcome: Ending,
    initiated: bool,
}

impl Model {
    fn pick(&self, pick: Pick) -> Option<usize> {
        let recent = self.known.len().min(9);
        if recent == 0 || pick.is_multiple_of(16) {
            return None;
        }
        Some(self.known.len() - 1 - usize::from(pick) % recent)
    }

    pub(crate) fn id(&self, pick: Pick) -> SessionId {
        let picked = self.pick(pick).map(|at| self.known[at].id);
        picked.unwrap_or_else(SessionId::random)
    }

    fn process_of(&self, (pick, number): Which) -> At {
        At {
            id: self.id(pick),
            process: ProcessNumber(number),
        }
    }

    fn token(&self, pick: Pick, is_old: bool) -> Token {
        let Some(at) = self.pick(pick) else {
            return Token::mint().unwrap();
        };
        let known = &self.known[at];
        let old = known.rotated.last().filter(|_| is_old);
        old.map_or(&known.token, |(token, _)| token).clone()
    }

    /// Takes one step in both worlds, and compares them.
    pub(crate) async fn step<D: Driver>(&mut self, mut driver: D, step: Step) -> D {
        match step {
            Step::Open { kind, user } => self.ask_open(&driver, kind, user).await,
            Step::Enter {
                with,
                is_old,
                is_elsewhere,
            } => {
                let token = with.map(|pick| self.token(pick, is_old));
                self.ask_enter(&driver, token, address(is_elsewhere)).await;
            }
            Step::Request { with, is_elsewhere } => {
                self.ask_check(&driver, self.token(with, false), address(is_elsewhere))
                    .await;
            }
            Step::LogIn(pick, user) => self.ask_log_in(&driver, pick, user).await,
            Step::LogOut(pick) => self.ask_log_out(&driver, pick).await,
            Step::Close(pick) => self.ask_close(&driver, pick).await,
            Step::Drop(pick) => self.ask_drop(&driver, pick).await,
            Step::StartProcess(pick, leased) => self.ask_start(&driver, pick, leased).await,
            Step::EndProcess(which) => {
                let at = self.process_of(which);
                assert_eq!(driver.end_process(at).await, self.end_process(at));
            }
            Step::SetVariable(which, name, value) => {
                self.ask_set(&driver, which, name, value).await;
            }
            Step::Lock(which, text) => self.ask_lock(&driver, which, text).await,
            Step::Unlock(which, text) => self.ask_unlock(&driver, which, text).await,
            Step::SetOption { .. } => self.ask_option(&driver, step).await,
            Step::TakeSaved(pick) => self.ask_saved(&driver, pick).await,
            Step::Pass(seconds) => driver.advance(Duration::from_secs(seconds)),
            Step::Sweep(seconds) => {
                driver.advance(Duration::from_secs(seconds));
                self.now = driver.now();
                driver.sweep().await;
                self.sweep();
            }
            Step::Work(plan) => match driver.work(plan).await {
                None => self.all_is_done(),
                Some(work) => self.follow_work(work),
            },
            Step::Restart => {
                driver = driver.restart().await;
                if D::IS_DURABLE {
                    self.restarted();
                    self.compare_history(&driver).await;
                }
            }
        }
        self.now = driver.now();
        let look = Look::at(&driver).await;
        self.compare(&driver, &look).await;
        driver
    }

    /// There is a new session.
    fn was_opened(&mut self, id: SessionId, token: Token, request: &OpenRequest) {
        let known = Known {
            id,
            kind: request.kind,
            mode: self.options.mode,
            user: request.user.clone(),
            ip: request.ip,
            created_at: self.now,
            login_at: request.user.as_ref().map(|_| self.now),
            last_request_at: self.now,
            own_timeout: request.idle_timeout.map(Duration::from_millis),
            is_confirmed: false,
            token,
            rotated: Vec::new(),
            previous: None,
            phase: Phase::Active,
            processes: Default::default(),
            last_process: 0,
            left: Vec::new(),
            is_inherited: false,
            freed: Default::default(),
            runs: Vec::new(),
        };
        self.opened(known);
    }

    fn has_room_for_new(&mut self, look: &Look, is_user: bool) -> Result<(), Why> {
        let mode = self.options.mode;
        match mode {
            Mode::None => Err(Why::NoSessions),
            _ if self.make_room(look, mode, is_user) => Ok(()),
            _ => Err(Why::Full),
        }
    }

    async fn ask_open(&mut self, driver: &impl Driver, kind: Kind, user: Option<&str>) {
        let request = OpenRequest {
            kind,
            user: user.map(String::from),
            idle_timeout: (kind == Kind::Mobile).then_some(3_600_000),
            ..OpenRequest::default()
        };
        let answer = driver.open(request.clone()).await;
        let look = Look::at(driver).await;
        let room = self.has_room_for_new(&look, user.is_some());
        match answer {
            Ok((session, token)) => {
                assert_eq!(room, Ok(()));
                assert_eq!(
                    (session.state, session.mode),
                    (State::Active, self.options.mode)
                );
                self.was_opened(session.id, token, &request);
            }
            Err(why) => assert_eq!(room, Err(why)),
        }
    }

    /// A request with the cookie of a live session: a touch, or a fresh process (C11).
    fn request(&mut self, at: usize, look: &Look) -> Result<(), Why> {
        self.has_place(at, look).map(|revives| match revives {
            true => drop(self.revive(at, None)),
            false => self.touch(at),
        })
    }

    /// Whether a session needs a fresh process, and has room for it.
    fn has_place(&mut self, at: usize, look: &Look) -> Result<bool, Why> {
        if self.known[at].phase == Phase::Active && self.is_over(&self.known[at]) {
            self.suspend(at);
        }
        let known = &self.known[at];
        let (mode, is_user) = (known.mode, known.user.is_some());
        if known.phase != Phase::Suspended {
            return Ok(false);
        }
        match self.make_room(look, mode, is_user) {
            true => Ok(true),
            false => Err(Why::Full),
        }
    }

    /// Whose request it is; `None` if the token is nobody's.
    fn visit(
        &mut self,
        token: &Token,
        from: Option<IpAddr>,
        look: &Look,
    ) -> Result<Option<usize>, Why> {
        if self.is_rotated_away(token) {
            return Err(Why::Rotated);
        }
        let Some(at) = self.live_by(token) else {
            return Ok(None);
        };
        let is_other = self.known[at]
            .ip
            .is_some_and(|ip| from.is_some_and(|from| from != ip));
        if is_other {
            return Err(Why::OtherAddress);
        }
        self.request(at, look).map(|()| Some(at))
    }

    async fn ask_check(&mut self, driver: &impl Driver, token: Token, from: Option<IpAddr>) {
        let answer = driver.check(&token, from, true).await;
        let look = Look::at(driver).await;
        let expected = self.visit(&token, from, &look);
        let expected = expected.map(|at| at.map(|at| (self.known[at].id, State::Active)));
        assert_eq!(
            answer.map(|seen| seen.map(|visit| (visit.id, visit.state))),
            expected
        );
    }

    async fn ask_enter(&mut self, driver: &impl Driver, token: Option<Token>, ip: Option<IpAddr>) {
        let request = OpenRequest {
            ip,
            ..OpenRequest::default()
        };
        let answer = driver.enter(token.as_ref(), request.clone()).await;
        let look = Look::at(driver).await;
        let visited = match &token {
            Some(token) => self.visit(token, ip, &look),
            None => Ok(None),
        };
        let (visit, new_token) = match (visited, answer) {
            (Ok(Some(at)), Ok((visit, new_token))) => {
                assert_eq!((visit.id, new_token.is_some()), (self.known[at].id, false));
                return;
            }
            (Err(why), answer) => return assert_eq!(answer.err(), Some(why)),
            (Ok(Some(at)), Err(why)) => panic!("{why:?} for {}", self.known[at].id),
            (Ok(None), answer) => {
                let previous = token.as_ref().and_then(|token| self.had(token));
                let room = self.has_room_for_new(&look, false);
                match answer {
                    Err(why) => return assert_eq!(room, Err(why)),
                    Ok((visit, token)) => {
                        assert_eq!(room, Ok(()));
                        let token = token.expect("a new token");
                        self.was_opened(visit.id, token.clone(), &request);
                        self.known.last_mut().unwrap().previous = previous;
                        (visit, token)
                    }
                }
            }
        };
        let is_its_own = token.is_some_and(|token| token.hash().matches(&new_token.hash()));
        assert!(!is_its_own, "nothing made up is adopted");
        assert_eq!((visit.state, visit.user), (State::Active, None));
    }

    async fn ask_log_in(&mut self, driver: &impl Driver, pick: Pick, user: &str) {
        let id = self.id(pick);
        let answer = driver.log_in(id, user).await;
        let look = Look::at(driver).await;
        let place = self
            .good(id)
            .and_then(|at| self.has_place(at, &look).map(|fresh| (at, fresh)));
        match (place, answer) {
            (Ok((at, is_fresh)), Ok((session, token))) => {
                if is_fresh {
                    self.revive(at, None);
                }
                assert_eq!(session.user.as_deref(), Some(user));
                self.log_in(at, user, token);
            }
            (place, answer) => assert_eq!(answer.err(), place.err()),
        }
    }

    async fn ask_start(&mut self, driver: &impl Driver, pick: Pick, leased: bool) {
        let (id, lease) = (self.id(pick), leased.then_some(LEASE));
        let answer = driver.start_process(id, lease).await;
        let look = Look::at(driver).await;
        let started = self
            .good(id)
            .and_then(|at| match self.has_place(at, &look)? {
                true => Ok(self.revive(at, lease)),
                false => self.start_process(at, lease),
            });
        assert_eq!(answer.map(|status| status.number.0), started);
    }

    fn compare_outcome(&self, at: usize, seen: &Outcome, expected: &Expected) {
        let known = &self.known[at];
        let Expected { outcome, initiated } = expected;
        assert_eq!(
            (seen.outcome, seen.initiated),
            (*outcome, *initiated),
            "{seen:?}"
        );
        assert_eq!(seen.user, known.user);
        if *outcome == Ending::Ignored {
            return;
        }
        assert_eq!((seen.cause, seen.freed), (known.cause(), known.freed));
        let mut runs = known.runs.clone();
        if known.is_closed() {
            runs.extend(self.pending(known));
        }
        // Of a process that closed while its session lived on, a late run is told if the session was closed first.
        let is_told = |run: &Run| {
            seen.on_close
                .iter()
                .any(|seen| seen.process.0 == run.process)
        };
        runs.retain(|run| !run.is_alone || (run.late && is_told(run)));
        compare_runs(runs, &seen.on_close);
    }

    fn close(&mut self, at: usize, cause: Cause) -> Expected {
        let (was_live, was_closed) = (self.known[at].is_live(), self.known[at].is_closed());
        let outcome = match was_live {
            false if was_closed => Ending::AlreadyClosed,
            false => Ending::Closing,
            _ if !self.begin_close(at, cause) => Ending::Ignored,
            _ if self.known[at].is_closed() => Ending::Closed,
            _ => Ending::Closing,
        };
        Expected {
            outcome,
            initiated: was_live && outcome != Ending::Ignored,
        }
    }

    async fn ask_close(&mut self, driver: &impl Driver, pick: Pick) {
        let id = self.id(pick);
        let seen = driver.close(id).await;
        match self.at(id) {
            None => assert_eq!((seen.outcome, seen.initiated), (Ending::NotFound, false)),
            Some(at) => {
                let expected = self.close(at, Cause::Command);
                self.compare_outcome(at, &seen, &expected);
            }
        }
    }

    async fn ask_log_out(&mut self, driver: &impl Driver, pick: Pick) {
        let token = self.token(pick, false);
        let seen = driver.log_out(&token).await.unwrap();
        let live = self.live_by(&token);
        assert_eq!(seen.is_some(), live.is_some(), "{seen:?}");
        if let (Some(seen), Some(at)) = (seen, live) {
            let expected = self.close(at, Cause::Logout);
            self.compare_outcome(at, &seen, &expected);
        }
    }

    async fn ask_drop(&mut self, driver: &impl Driver, pick: Pick) {
        let id = self.id(pick);
        let seen = driver.drop_session(id).await;
        let Some(at) = self.at(id) else {
            return assert_eq!(seen.outcome, Ending::NotFound);
        };
        let (initiated, was_closed) = (self.known[at].is_live(), self.known[at].is_closed());
        let outcome = match was_closed {
            true => Ending::AlreadyClosed,
            false => Ending::Closed,
        };
        if !was_closed {
            self.drop_session(at);
        }
        self.compare_outcome(at, &seen, &Expected { outcome, initiated });
    }

    async fn ask_set(
        &mut self,
        driver: &impl Driver,
        which: Which,
        name: &str,
        value: Option<&str>,
    ) {
        let (at, name) = (self.process_of(which), Name::new(name).unwrap());
        let value = value.map(|value| Json::new(value).unwrap());
        let answer = driver.set_variable(at, name.clone(), value.clone()).await;
        let set = self.writer(at).map(|process| {
            process.variables.remove(&name);
            process.variables.extend(value.map(|value| (name, value)));
        });
        assert_eq!(answer, set);
    }

    async fn ask_lock(&mut self, driver: &impl Driver, which: Which, text: &str) {
        let (at, record, now) = (self.process_of(which), record(text), self.now);
        let answer = driver.lock(at, record.clone()).await;
        let (holder, fence) = (self.holder(&record), self.fence);
        let is_closing = self
            .at(at.id)
            .is_some_and(|slot| !self.known[slot].is_live());
        let process = match self.writer(at) {
            Ok(_) if is_closing => return assert_eq!(answer, Err(Why::Closing)),
            Ok(process) => process,
            Err(why) => return assert_eq!(answer, Err(why)),
        };
        match holder {
            Some(holder) if holder == (at.id, at.process) => {
                assert_eq!(
                    answer.as_ref(),
                    Ok(&process.locks[&record]),
                    "it has it already"
                );
            }
            Some((id, number)) => {
                assert_eq!(answer, Err(Why::Held(id, number)));
                self.reach("held");
            }
            None => {
                let lock = answer.unwrap();
                assert!(lock.fence > fence, "fences only grow");
                assert_eq!((lock.target(), lock.since), (record.clone(), now));
                process.locks.insert(record, lock.clone());
                self.fence = lock.fence;
            }
        }
    }

    async fn ask_unlock(&mut self, driver: &impl Driver, which: Which, text: &str) {
        let (at, record) = (self.process_of(which), record(text));
        let answer = driver.unlock(at, record.clone()).await;
        let expected = match self.process(at) {
            Ok(process) => {
                process.locks.remove(&record);
                Ok(())
            }
            // With its session everything is unlocked.
            Err(Why::Closed(_)) => Ok(()),
            Err(why) => Err(why),
        };
        assert_eq!(answer, expected);
    }
}
