//! The rules of the contract (C01–C18, the table of states) over a plain list of sessions: what may happen, and to whom. It
//! keeps no indexes, no deadlines and no disk, and knows nothing of how the product does it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use sessionctl::application::At;
use sessionctl::clock::Timestamp;
use sessionctl::context::{Context, Json, Lock, Name, Record};
use sessionctl::on_close::{Freed, MethodResult, RunKey};
use sessionctl::options::{EvictionOrder, Options};
use sessionctl::session::{Cause, Kind, Mode, ProcessNumber, ProcessState, SessionId, State};
use sessionctl::token::Token;

use crate::model_drivers::Why;

const HOUR: Duration = Duration::from_secs(3600);

/// How long a token that a login replaced is told apart from one that is nobody's.
const ROTATED_FOR: Duration = Duration::from_secs(60);

/// How often something came about.
pub(crate) type Reached = BTreeMap<&'static str, u32>;

/// All that comes about sooner or later.
pub(crate) const EVENTS: [&str; 16] = [
    "command",
    "logout",
    "inactive",
    "evicted",
    "dropped",
    "ignored",
    "suspended",
    "revived",
    "rotated",
    "asked",
    "late",
    "struck",
    "inherited",
    "held",
    "full",
    "lapsed",
];

/// All that there is, by the rules.
pub(crate) struct Model {
    pub(crate) now: Timestamp,
    pub(crate) options: Options,
    /// What a reset restores.
    pub(crate) started_with: Options,
    pub(crate) has_method: bool,
    /// Every session there ever was, in the order of opening.
    pub(crate) known: Vec<Known>,
    pub(crate) late: Vec<Late>,
    /// The greatest fence that was ever told.
    pub(crate) fence: u64,
    pub(crate) reached: Reached,
}

pub(crate) struct Known {
    pub(crate) id: SessionId,
    pub(crate) kind: Kind,
    pub(crate) mode: Mode,
    pub(crate) user: Option<String>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) created_at: Timestamp,
    pub(crate) login_at: Option<Timestamp>,
    pub(crate) last_request_at: Timestamp,
    pub(crate) own_timeout: Option<Duration>,
    /// Whether its cookie ever came back.
    pub(crate) is_confirmed: bool,
    pub(crate) token: Token,
    /// Tokens that logins replaced, and when.
    pub(crate) rotated: Vec<(Token, Timestamp)>,
    /// The session whose dead cookie its client brought.
    pub(crate) previous: Option<usize>,
    pub(crate) phase: Phase,
    pub(crate) processes: BTreeMap<u32, Process>,
    pub(crate) last_process: u32,
    /// What the method left, by process, for this session or once for the next.
    pub(crate) left: Vec<(u32, Left)>,
    pub(crate) is_inherited: bool,
    pub(crate) freed: Freed,
    pub(crate) runs: Vec<Run>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    Active,
    Suspended,
    Closing(Begun),
    Closed(Begun, Timestamp),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Begun {
    pub(crate) cause: Cause,
    pub(crate) at: Timestamp,
    pub(crate) grace_ends_at: Timestamp,
    pub(crate) ends_at: Timestamp,
}

#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) state: ProcessState,
    pub(crate) started_at: Timestamp,
    pub(crate) lease: Option<(Duration, Timestamp)>,
    pub(crate) variables: BTreeMap<Name, Json>,
    pub(crate) locks: BTreeMap<Record, Lock>,
    pub(crate) closing: Option<ClosingProcess>,
}

/// Its method is pending or runs.
#[derive(Clone)]
pub(crate) struct ClosingProcess {
    /// Whether its session lives on.
    pub(crate) is_alone: bool,
    pub(crate) since: Timestamp,
    pub(crate) user: Option<String>,
    pub(crate) claimed_until: Option<Timestamp>,
}

/// A process whose method had no time (C09).
pub(crate) struct Late {
    pub(crate) key: RunKey,
    /// Whether its session lived on when it closed.
    pub(crate) is_alone: bool,
    pub(crate) user: Option<String>,
    pub(crate) context: Context,
    pub(crate) claimed_until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Left {
    Answer(Json),
    Context(Context),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) process: u32,
    pub(crate) result: &'static str,
    pub(crate) late: bool,
    /// Whether its session lived on when it closed: then it is in history, and not a part of the outcome.
    pub(crate) is_alone: bool,
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) result: Option<MethodResult>,
    pub(crate) left: Option<Left>,
}

impl Process {
    pub(crate) fn context(&self) -> Context {
        Context {
            variables: self.variables.clone(),
            locks: self.locks.values().cloned().collect(),
            ..Context::default()
        }
    }

    pub(crate) fn is_unclaimed(&self, now: Timestamp) -> bool {
        let free = |until: Option<Timestamp>| until.is_none_or(|until| until <= now);
        let closing = self.closing.as_ref();
        closing.is_some_and(|closing| free(closing.claimed_until))
    }
}

impl Known {
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Suspended)
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(..))
    }

    pub(crate) fn counts(&self) -> bool {
        self.phase == Phase::Active && self.mode == Mode::Legacy
    }

    /// C12: the last request and the time-out, at most the opening or the login and the absolute limit.
    pub(crate) fn expires_at(&self, options: &Options) -> Timestamp {
        let idle = match (self.own_timeout, self.mode) {
            (Some(own), _) => own,
            (None, Mode::Scalable) => HOUR,
            (None, _) => options.inactive_session_timeout,
        };
        let since = self.login_at.unwrap_or(self.created_at);
        let absolute = since.plus(options.absolute_session_timeout);
        self.last_request_at.plus(idle).min(absolute)
    }

    /// C11: a web session may outlive its process.
    pub(crate) fn is_process_over(&self, options: &Options, now: Timestamp) -> bool {
        self.kind == Kind::Web
            && self.mode == Mode::Legacy
            && options.inactive_session_timeout > options.inactive_process_timeout
            && self.last_request_at.plus(options.inactive_process_timeout) <= now
    }

    /// Who goes first: cookies that never came back, then guests, then users (C10); of those who never came back a
    /// guest again, since nobody is kept waiting by it.
    pub(crate) fn rank(&self, order: EvictionOrder) -> (bool, bool, Timestamp) {
        let is_user = self.user.is_some();
        match order {
            EvictionOrder::Safe => (self.is_confirmed, is_user, self.last_request_at),
            _ => (false, false, self.last_request_at),
        }
    }

    pub(crate) fn begun(&self) -> Option<&Begun> {
        match &self.phase {
            Phase::Closing(begun) | Phase::Closed(begun, _) => Some(begun),
            _ => None,
        }
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        self.begun().map(|begun| begun.cause)
    }

    pub(crate) fn may_have_of(&self, user: Option<&str>) -> bool {
        user.is_none() || user == self.user.as_deref()
    }

    fn touch(&mut self, now: Timestamp) {
        self.last_request_at = now;
        self.is_confirmed = true;
    }

    fn add_process(&mut self, now: Timestamp, lease: Option<Duration>) -> u32 {
        self.last_process += 1;
        let process = Process {
            state: ProcessState::Running,
            started_at: now,
            lease: lease.map(|lease| (lease, now.plus(lease))),
            variables: BTreeMap::new(),
            locks: BTreeMap::new(),
            closing: None,
        };
        self.processes.insert(self.last_process, process);
        self.last_process
    }
}

impl Model {
    pub(crate) fn new(options: Options, has_method: bool, now: Timestamp) -> Self {
        Self {
            now,
            started_with: options.clone(),
            options,
            has_method,
            known: Vec::new(),
            late: Vec::new(),
            fence: 0,
            reached: Reached::new(),
        }
    }

    pub(crate) fn reach(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    pub(crate) fn at(&self, id: SessionId) -> Option<usize> {
        self.known.iter().position(|known| known.id == id)
    }

    pub(crate) fn is_expired(&self, known: &Known) -> bool {
        known.is_live() && self.now >= known.expires_at(&self.options)
    }

    pub(crate) fn is_over(&self, known: &Known) -> bool {
        known.is_live() && known.is_process_over(&self.options, self.now)
    }

    /// How a session is shown.
    pub(crate) fn state(&self, known: &Known) -> State {
        match known.phase {
            Phase::Closing(_) | Phase::Closed(..) => State::Closing,
            _ if self.is_expired(known) => State::Expired,
            Phase::Suspended => State::Suspended,
            Phase::Active if self.is_over(known) => State::Suspended,
            Phase::Active => State::Active,
        }
    }

    /// The session with this token if that opens anything now.
    pub(crate) fn live_by(&self, token: &Token) -> Option<usize> {
        let hash = token.hash();
        let own = |known: &Known| known.token.hash().matches(&hash);
        let at = self.known.iter().position(own)?;
        let known = &self.known[at];
        (known.is_live() && !self.is_expired(known)).then_some(at)
    }

    pub(crate) fn is_rotated_away(&self, token: &Token) -> bool {
        let hash = token.hash();
        let mut rotated = self.known.iter().flat_map(|known| &known.rotated);
        rotated.any(|(old, at)| old.hash().matches(&hash) && self.now < at.plus(ROTATED_FOR))
    }

    /// The session whose token it was last, for who comes after it.
    pub(crate) fn had(&self, token: &Token) -> Option<usize> {
        let hash = token.hash();
        let own = |known: &Known| known.token.hash().matches(&hash);
        self.known.iter().position(own)
    }

    /// The session if its cookie is good; what a login, a start or a look at what is saved needs.
    pub(crate) fn good(&self, id: SessionId) -> Result<usize, Why> {
        let at = self.at(id).ok_or(Why::NotFound)?;
        match &self.known[at].phase {
            Phase::Closed(begun, _) => Err(Why::Closed(begun.cause)),
            Phase::Closing(_) => Err(Why::Closing),
            _ if self.is_expired(&self.known[at]) => Err(Why::Closing),
            _ => Ok(at),
        }
    }

    /// The session if it is not closed.
    pub(crate) fn open(&self, id: SessionId) -> Result<usize, Why> {
        let at = self.at(id).ok_or(Why::NotFound)?;
        match &self.known[at].phase {
            Phase::Closed(begun, _) => Err(Why::Closed(begun.cause)),
            _ => Ok(at),
        }
    }

    /// The process, whatever it does.
    pub(crate) fn process(&mut self, at: At) -> Result<&mut Process, Why> {
        let slot = self.open(at.id)?;
        let processes = &mut self.known[slot].processes;
        let now = self.now;
        let process = processes.get_mut(&at.process.0).ok_or(Why::NoProcess)?;
        // Whoever names it renews its lease (C18).
        if let Some((lease, until)) = &mut process.lease {
            *until = now.plus(*lease);
        }
        Ok(process)
    }

    /// The process, if it may write.
    pub(crate) fn writer(&mut self, at: At) -> Result<&mut Process, Why> {
        let slot = self.open(at.id)?;
        let known = &self.known[slot];
        let is_closing = matches!(known.phase, Phase::Closing(_));
        if (is_closing && known.kind == Kind::Web) || self.is_expired(known) {
            return Err(Why::Closing);
        }
        match known.processes.get(&at.process.0) {
            None => Err(Why::NoProcess),
            Some(process) if process.state == ProcessState::Closing => Err(Why::ProcessClosing),
            Some(_) if self.is_over(known) => Err(Why::NoProcess),
            Some(_) => self.process(at),
        }
    }

    pub(crate) fn holder(&self, record: &Record) -> Option<(SessionId, ProcessNumber)> {
        let holds = |known: &&Known| {
            let mut processes = known.processes.values();
            processes.any(|process| process.locks.contains_key(record))
        };
        let known = self.known.iter().find(holds)?;
        let mut processes = known.processes.iter();
        let (number, _) = processes.find(|(_, process)| process.locks.contains_key(record))?;
        Some((known.id, ProcessNumber(*number)))
    }

    pub(crate) fn counted(&self) -> usize {
        self.known.iter().filter(|known| known.counts()).count()
    }

    /// A session was opened.
    pub(crate) fn opened(&mut self, mut known: Known) {
        if known.kind == Kind::Web {
            known.add_process(self.now, None);
        }
        self.known.push(known);
    }

    /// Its process has ended, or ends: the method sees it while the session lives on (C11).
    pub(crate) fn suspend(&mut self, at: usize) {
        self.reach("suspended");
        self.known[at].phase = Phase::Suspended;
        let running: Vec<u32> = self.known[at]
            .processes
            .iter()
            .filter(|(_, process)| process.state == ProcessState::Running)
            .map(|(number, _)| *number)
            .collect();
        for number in running {
            self.close_or_end(at, number);
        }
    }

    /// A process whose time is over while its session lives on; in scalable mode nothing is called (C02).
    pub(crate) fn close_or_end(&mut self, at: usize, number: u32) {
        if self.known[at].mode == Mode::Scalable {
            self.known[at].processes.remove(&number);
        } else {
            self.close_process(at, number, true);
        }
    }

    /// A suspended session has a fresh process, for a request of its client.
    pub(crate) fn revive(&mut self, at: usize, lease: Option<Duration>) -> u32 {
        let now = self.now;
        self.reach("revived");
        let known = &mut self.known[at];
        known.phase = Phase::Active;
        known.touch(now);
        known.add_process(now, lease)
    }

    pub(crate) fn touch(&mut self, at: usize) {
        let now = self.now;
        self.known[at].touch(now);
    }

    /// A user signs in (S08): what was left of another's process is not for this one.
    pub(crate) fn log_in(&mut self, at: usize, user: &str, token: Token) {
        let now = self.now;
        self.reach("rotated");
        let known = &mut self.known[at];
        if known.user.as_deref().is_some_and(|before| before != user) {
            known.left.clear();
        }
        known.user = Some(user.into());
        known.login_at = Some(now);
        let old = std::mem::replace(&mut known.token, token);
        known.rotated.push((old, now));
        known.touch(now);
    }

    pub(crate) fn start_process(&mut self, at: usize, lease: Option<Duration>) -> Result<u32, Why> {
        let now = self.now;
        let known = &mut self.known[at];
        let is_running = |process: &Process| process.state == ProcessState::Running;
        let mut processes = known.processes.iter_mut();
        let running = processes.find(|(_, process)| is_running(process));
        match running {
            // The process from the opening gets the lease that it has not.
            Some((number, process)) if known.kind == Kind::Web => match (process.lease, lease) {
                (None, Some(lease)) => {
                    process.lease = Some((lease, now.plus(lease)));
                    Ok(*number)
                }
                _ => Err(Why::HasProcess(ProcessNumber(*number))),
            },
            _ => Ok(known.add_process(now, lease)),
        }
    }

    /// A process ends on its own word: without the method, unless it was asked (C08).
    pub(crate) fn end_process(&mut self, at: At) -> Result<(), Why> {
        let slot = self.open(at.id)?;
        let known = &mut self.known[slot];
        let number = at.process.0;
        let state = known.processes.get(&number).ok_or(Why::NoProcess)?.state;
        match state {
            ProcessState::Asked => self.close_process(slot, number, false),
            ProcessState::Running => {
                known.processes.remove(&number);
                if known.kind == Kind::Web {
                    known.phase = Phase::Suspended;
                }
            }
            // Its method is pending or runs: it ends with that.
            _ => {}
        }
        Ok(())
    }

    /// The session before, if this one may have what is left of it (C05).
    pub(crate) fn heir_of(&self, at: usize) -> Option<usize> {
        let known = &self.known[at];
        let before = known.previous?;
        let previous = &self.known[before];
        let is_late = self.late.iter().any(|late| late.key.session == previous.id);
        if !previous.is_closed() || previous.is_inherited || is_late {
            return None;
        }
        let by_itself = matches!(previous.cause(), Some(Cause::Inactive | Cause::Evicted));
        let may = match (&known.user, &previous.user) {
            (Some(user), Some(before)) => user == before,
            (Some(_), None) | (None, _) => by_itself,
        };
        may.then_some(before)
    }

    /// After a restart, work is nobody's, and leases count anew.
    pub(crate) fn restarted(&mut self) {
        let now = self.now;
        let processes = self
            .known
            .iter_mut()
            .flat_map(|known| known.processes.values_mut());
        for process in processes {
            if let Some((lease, until)) = &mut process.lease {
                *until = now.plus(*lease);
            }
            if let Some(closing) = &mut process.closing {
                closing.claimed_until = None;
            }
        }
        self.late
            .iter_mut()
            .for_each(|late| late.claimed_until = None);
    }
}
