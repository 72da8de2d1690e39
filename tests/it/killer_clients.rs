//! Clients of a server that is killed under their hands: web clients, an application, operators. Each does one random thing
//! after another, some of them to the same sessions at once, and notes what it was told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{COOKIE, SET_COOKIE};
use sessionctl::admin::{Actor, Admin as _, EndRequest, OpenRequest, Opened};
use sessionctl::application::{Application as _, At};
use sessionctl::client::Client;
use sessionctl::context::{Json, Name, Record, Selection};
use sessionctl::error::Error;
use sessionctl::on_close::RunKey;
use sessionctl::session::{Kind, ProcessNumber, SessionId};
use sessionctl::token::Token;
use sessionctl::wire::VisitBody;
use tokio::sync::watch;
use uuid::Uuid;

use crate::app_client::{AppClient, NO_ANSWER, http, unanswered};
use crate::killer_history::{Answer, Asked, Event, Moment, NEVER, Slot, Span, Value};
use crate::random_changes::Random;
use crate::sandbox::Server;

/// Live sessions that are enough: then fewer are opened, and more ended.
const ENOUGH: usize = 30;

/// Records that everybody wants.
const RECORDS: [(&str, &str); 5] = [
    ("Invoices", "1"),
    ("Invoices", "2"),
    ("Invoices", "a/b \"c\""),
    ("🔑", "1"),
    ("%2F", "?#"),
];

const NAMES: [&str; 3] = ["cart", "a/b", "名"];

/// The time that a lease has: longer than any test.
const LEASE: Duration = Duration::from_secs(3600);

/// Time in which the clients of a dead server read what it has sent them.
const LAST_ANSWERS: Duration = Duration::from_millis(50);

/// What all clients share.
pub(crate) struct Shared {
    moments: AtomicU64,
    /// Set before the server is killed or stopped: from then on an answer may fail to come.
    pub(crate) is_dying: AtomicBool,
    /// Set when the server is dead.
    is_dead: watch::Sender<bool>,
    /// Set when no session is to be opened, signed in to or ended any more.
    pub(crate) is_quiet: AtomicBool,
    targets: Mutex<Vec<Target>>,
    /// Locks that somebody was told of.
    held: Mutex<Vec<(RunKey, Record)>>,
    /// Closes that were not answered, to be asked for once more.
    retries: Mutex<Vec<(SessionId, Uuid)>>,
}

/// A session as the clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) id: SessionId,
    pub(crate) kind: Kind,
    pub(crate) tokens: Vec<String>,
    pub(crate) processes: Vec<ProcessNumber>,
    /// Whether somebody has asked for its end, and whether that was answered.
    pub(crate) is_over: bool,
    pub(crate) is_dead: bool,
}

impl Shared {
    pub(crate) fn since(
        moment: Moment,
        targets: Vec<Target>,
        held: Vec<(RunKey, Record)>,
        retries: Vec<(SessionId, Uuid)>,
    ) -> Self {
        Self {
            moments: AtomicU64::new(moment),
            is_dying: AtomicBool::new(false),
            is_dead: watch::Sender::new(false),
            is_quiet: AtomicBool::new(false),
            targets: Mutex::new(targets),
            held: Mutex::new(held),
            retries: Mutex::new(retries),
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    fn is_dying(&self) -> bool {
        self.is_dying.load(Ordering::SeqCst)
    }

    /// The server is dead: nobody needs to try again.
    pub(crate) fn is_dead(&self) {
        self.is_dead.send_replace(true);
    }

    /// Comes back when no answer can come any more.
    async fn no_more_answers(&self) {
        let mut is_dead = self.is_dead.subscribe();
        // The sender is here.
        let _ = is_dead.wait_for(|is_dead| *is_dead).await;
        tokio::time::sleep(LAST_ANSWERS).await;
    }
}

/// Ways to talk to a server, each as those who use it.
pub(crate) struct Ways {
    pub(crate) admin: Client,
    pub(crate) app: AppClient,
    web: reqwest::Client,
    url: String,
}

impl Ways {
    pub(crate) fn to(server: &Server, admin: &Token, app: &Token) -> Self {
        let address = server.admin.parse().unwrap();
        let web = http().timeout(NO_ANSWER);
        Self {
            admin: Client::new(&address, Some(admin)).unwrap(),
            app: AppClient::over_tcp(&server.admin, app),
            web: web.build().unwrap(),
            url: server.web.clone(),
        }
    }

    /// A client without a session, or with a dead one, gets a new one.
    async fn enter(&self, dead: Option<&str>) -> Result<Answer, Error> {
        let mut request = self.web.get(format!("{}/session", self.url));
        if let Some(token) = dead {
            request = request.header(COOKIE, token);
        }
        let response = request.send().await.map_err(unanswered)?;
        if response.status() != StatusCode::OK {
            return Ok(Answer::NotAccepted);
        }
        let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        let token = cookie.split(';').next().unwrap().to_owned();
        let body = response.bytes().await.map_err(unanswered)?;
        let body: VisitBody = serde_json::from_slice(&body).unwrap();
        Ok(Answer::Opened(body.id, token))
    }

    /// Whether a token is accepted.
    pub(crate) async fn check(&self, token: &str, touches: bool) -> Result<bool, Error> {
        let query = if touches { "" } else { "?touch=0" };
        let request = self.web.get(format!("{}/check{query}", self.url));
        let request = request.header(COOKIE, token);
        let status = request.send().await.map_err(unanswered)?.status();
        Ok(is(status, StatusCode::OK))
    }

    async fn log_out(&self, token: &str) -> Result<bool, Error> {
        let request = self.web.post(format!("{}/logout", self.url));
        let request = request.header(COOKIE, token);
        let status = request.send().await.map_err(unanswered)?.status();
        Ok(is(status, StatusCode::NO_CONTENT))
    }

    async fn send(&self, asked: &Asked) -> Result<Answer, Error> {
        let at = |key: RunKey| At {
            id: key.session,
            process: key.process,
        };
        let done = |done: Result<(), Error>| done.map(|()| Answer::Done);
        match asked.clone() {
            Asked::Enter { dead } => self.enter(dead.as_deref()).await,
            Asked::Open { kind, user } => {
                let request = OpenRequest {
                    kind,
                    user,
                    ..OpenRequest::default()
                };
                Ok(opened(&self.app.open(request).await?))
            }
            Asked::LogIn { id, user } => Ok(opened(&self.app.log_in(id, user).await?)),
            Asked::Start { id, is_leased } => {
                let started = self
                    .app
                    .start_process(id, is_leased.then_some(LEASE))
                    .await?;
                Ok(Answer::Started(started.number))
            }
            Asked::EndProcess(key) => done(self.app.end_process(at(key)).await),
            Asked::Put(key, slot, value) => done(self.put(at(key), slot, value).await),
            Asked::Look(key) => self.app.context(at(key)).await.map(Answer::Context),
            Asked::Lock { key, record, wait } => {
                let lock = self.app.lock(at(key), record, wait).await;
                lock.map(Answer::Locked)
            }
            Asked::Unlock(key, record) => done(self.app.unlock(at(key), record).await),
            Asked::Close { id, request, wait } => {
                let end = EndRequest {
                    wait,
                    request_id: Some(request),
                    ..EndRequest::by(Actor::server())
                };
                self.admin.close(id, end).await.map(Answer::Ended)
            }
            Asked::Drop { id, request } => {
                let end = EndRequest {
                    request_id: Some(request),
                    ..EndRequest::by(Actor::server())
                };
                self.admin.drop_session(id, end).await.map(Answer::Ended)
            }
            Asked::LogOut { token, .. } => Ok(match self.log_out(&token).await? {
                true => Answer::Done,
                false => Answer::NotAccepted,
            }),
            Asked::Check { token, touches, .. } => Ok(match self.check(&token, touches).await? {
                true => Answer::Accepted,
                false => Answer::NotAccepted,
            }),
        }
    }

    async fn put(&self, at: At, slot: Slot, value: Value) -> Result<(), Error> {
        let text = match value {
            Value::Text(text) => Some(text),
            _ => None,
        };
        match slot {
            Slot::Selection(name) => {
                let selection = text.map(|text| serde_json::from_str(&text).unwrap());
                self.app.set_selection(at, name, selection).await
            }
            Slot::Variable(name) => {
                let value = text.map(|text| Json::new(&text).unwrap());
                self.app.set_variable(at, name, value).await
            }
            Slot::Lock(_) => unreachable!("a lock is taken, not put"),
        }
    }
}

/// The token as its client presents it.
fn opened(opened: &Opened) -> Answer {
    let token = opened.token.expose();
    let cookie = format!("{}={token}", opened.cookie_name);
    Answer::Opened(opened.session.id, cookie)
}

/// Whether it is this and not 401; nothing else is expected.
fn is(status: StatusCode, expected: StatusCode) -> bool {
    assert!(
        status == expected || status == StatusCode::UNAUTHORIZED,
        "{status} from the web listener"
    );
    status == expected
}

/// One client.
pub(crate) struct KillerClient {
    ways: Arc<Ways>,
    shared: Arc<Shared>,
    random: Random,
    /// Whether it only looks.
    is_watcher: bool,
    events: Vec<Event>,
}

impl KillerClient {
    pub(crate) fn new(ways: &Arc<Ways>, shared: &Arc<Shared>, seed: u64, is_watcher: bool) -> Self {
        Self {
            ways: Arc::clone(ways),
            shared: Arc::clone(shared),
            random: Random(seed),
            is_watcher,
            events: Vec::new(),
        }
    }

    /// Does one thing after another until the server is gone; answers what it was told.
    pub(crate) async fn work(mut self) -> Vec<Event> {
        loop {
            let asked = self.next();
            // Nobody leaves before: whatever is under way when the server dies is what is of interest.
            if !self.ask(asked).await && self.shared.is_dying() {
                return self.events;
            }
        }
    }

    /// Asks, and notes what comes, if anything does.
    async fn ask(&mut self, asked: Asked) -> bool {
        // Some go away before they are answered; of those who wait for a lock, many.
        let is_waiting = matches!(asked, Asked::Lock { wait, .. } if !wait.is_zero());
        let patience = match self.random.below(if is_waiting { 3 } else { 50 }) {
            0 => Duration::from_millis(self.random.below(30)),
            _ => NO_ANSWER,
        };
        let mut span = Span::at(self.shared.moment());
        let answered = tokio::select! {
            answered = tokio::time::timeout(patience, self.ways.send(&asked)) => answered.ok(),
            () = self.shared.no_more_answers() => None,
        };
        let answer = match answered {
            Some(Ok(answer)) => answer,
            Some(Err(
                error @ (Error::OutcomeUnknown { .. }
                | Error::NoAnswer { .. }
                | Error::Unreachable { .. }),
            )) => {
                let is_dying = self.shared.is_dying();
                assert!(
                    is_dying,
                    "no answer from a server that lives: {error:?} to {asked:?}"
                );
                Answer::None
            }
            Some(Err(error)) => Answer::Refused(error),
            // It goes away: nobody waits for the answer.
            None => Answer::None,
        };
        let is_answered = !matches!(answer, Answer::None);
        span.until = match is_answered {
            true => self.shared.moment(),
            false => NEVER,
        };
        self.learn(&asked, &answer);
        self.events.push(Event {
            span,
            asked,
            answer,
        });
        is_answered
    }

    /// What all clients know from then on.
    fn learn(&self, asked: &Asked, answer: &Answer) {
        let mut targets = self.shared.targets.lock().unwrap();
        let mut of = |id: &SessionId, learn: &dyn Fn(&mut Target)| {
            if let Some(target) = targets.iter_mut().find(|target| target.id == *id) {
                learn(target);
            }
        };
        match (asked, answer) {
            (Asked::LogIn { id, .. }, Answer::Opened(_, token)) => {
                of(id, &|target| target.tokens.push(token.clone()));
            }
            (Asked::Start { id, .. }, Answer::Started(number)) => {
                of(id, &|target| target.processes.push(*number));
            }
            (Asked::EndProcess(key), Answer::Done) => of(&key.session, &|target| {
                target.processes.retain(|number| *number != key.process);
            }),
            (Asked::Close { id, .. } | Asked::Drop { id, .. } | Asked::LogOut { id, .. }, _) => {
                let is_told = matches!(answer, Answer::Ended(_) | Answer::Done);
                of(id, &|target| {
                    target.is_over = true;
                    target.is_dead |= is_told;
                });
            }
            (Asked::Lock { key, record, .. }, Answer::Locked(_)) => {
                let mut held = self.shared.held.lock().unwrap();
                held.push((*key, record.clone()));
            }
            (Asked::Unlock(key, record), _) => {
                let mut held = self.shared.held.lock().unwrap();
                held.retain(|(holder, held)| (holder, held) != (key, record));
            }
            (_, Answer::Opened(id, token)) => {
                let kind = match asked {
                    Asked::Open { kind, .. } => *kind,
                    _ => Kind::Web,
                };
                targets.push(Target {
                    id: *id,
                    kind,
                    tokens: vec![token.clone()],
                    processes: match kind {
                        Kind::Web => vec![ProcessNumber(1)],
                        _ => Vec::new(),
                    },
                    is_over: false,
                    is_dead: false,
                });
            }
            _ => {}
        }
    }

    /// A session: mostly a young one, so that several clients meet there; mostly one that nobody has ended.
    fn target(&mut self) -> Option<Target> {
        let targets = self.shared.targets.lock().unwrap();
        let mut found = None;
        for _ in 0..4 {
            let oldest = match self.random.below(2) {
                0 => targets.len().saturating_sub(16),
                _ => 0,
            };
            found = self.random.one_of(&targets[oldest..]).cloned();
            if found.as_ref().is_some_and(|target| !target.is_over) {
                break;
            }
        }
        found
    }

    fn next(&mut self) -> Asked {
        let target = self.target();
        if self.is_watcher {
            return self.watch(target);
        }
        if let Some((id, request)) = self.shared.retries.lock().unwrap().pop() {
            let wait = Duration::ZERO;
            return Asked::Close { id, request, wait };
        }
        let live = {
            let targets = self.shared.targets.lock().unwrap();
            targets.iter().filter(|target| !target.is_over).count()
        };
        let chance = match self.shared.is_quiet.load(Ordering::SeqCst) {
            true => 23 + self.random.below(77),
            false => self.random.below(100),
        };
        let (Some(target), false) = (target, chance < 10 && live < ENOUGH) else {
            return self.open();
        };
        let id = target.id;
        match chance {
            0..13 => self.end(&target),
            13..18 => Asked::Start {
                id,
                // The process of a web session would take the lease over without being started.
                is_leased: target.kind == Kind::Mobile && self.random.below(2) == 0,
            },
            18..23 => {
                let user = self.unique("user");
                Asked::LogIn { id, user }
            }
            23..26 => self.check(&target),
            _ => match self.random.one_of(&target.processes).copied() {
                Some(process) => self.with(RunKey {
                    session: id,
                    process,
                }),
                None => Asked::Start {
                    id,
                    is_leased: false,
                },
            },
        }
    }

    /// A look at something, which changes nothing.
    fn watch(&mut self, target: Option<Target>) -> Asked {
        let Some(target) = target else {
            return self.open();
        };
        match self.random.one_of(&target.processes).copied() {
            Some(process) if self.random.below(3) == 0 => Asked::Look(RunKey {
                session: target.id,
                process,
            }),
            _ => self.check(&target),
        }
    }

    fn check(&mut self, target: &Target) -> Asked {
        match self.random.one_of(&target.tokens).cloned() {
            Some(token) => Asked::Check {
                id: target.id,
                token,
                touches: self.random.below(2) == 0,
            },
            None => self.open(),
        }
    }

    fn open(&mut self) -> Asked {
        let user = (self.random.below(2) == 0).then(|| self.unique("user"));
        match self.random.below(4) {
            0 => Asked::Enter {
                dead: self.dead_token(),
            },
            1 => Asked::Open {
                kind: Kind::Web,
                user,
            },
            _ => Asked::Open {
                kind: Kind::Mobile,
                user,
            },
        }
    }

    /// The cookie of a session that has ended, if there is one.
    fn dead_token(&mut self) -> Option<String> {
        let targets = self.shared.targets.lock().unwrap();
        let dead: Vec<&Target> = targets.iter().filter(|target| target.is_dead).collect();
        self.random.one_of(&dead)?.tokens.last().cloned()
    }

    fn end(&mut self, target: &Target) -> Asked {
        let id = target.id;
        let request = Uuid::new_v4();
        match (self.random.below(16), target.tokens.last()) {
            (0 | 1, _) => Asked::Drop { id, request },
            (2 | 3, Some(token)) => Asked::LogOut {
                id,
                token: token.clone(),
            },
            (4, _) => Asked::Close {
                id,
                request,
                wait: Duration::from_secs(5),
            },
            _ => Asked::Close {
                id,
                request,
                wait: Duration::ZERO,
            },
        }
    }

    /// Something that an application does with a process.
    fn with(&mut self, key: RunKey) -> Asked {
        let (table, record) = *self.random.one_of(&RECORDS).unwrap();
        let record = Record {
            table: Name::new(table).unwrap(),
            record: Name::new(record).unwrap(),
        };
        match self.random.below(70) {
            0..24 => self.put(key),
            24..31 => Asked::Look(key),
            31..48 => Asked::Lock {
                key,
                record,
                wait: Duration::ZERO,
            },
            48..51 => Asked::Lock {
                key,
                record,
                wait: Duration::from_millis(10 + self.random.below(150)),
            },
            51..65 => self.unlock().unwrap_or(Asked::Unlock(key, record)),
            _ => Asked::EndProcess(key),
        }
    }

    fn unlock(&mut self) -> Option<Asked> {
        let held = self.shared.held.lock().unwrap();
        let (key, record) = self.random.one_of(&held)?.clone();
        Some(Asked::Unlock(key, record))
    }

    fn put(&mut self, key: RunKey) -> Asked {
        let name = Name::new(self.random.one_of(&NAMES).unwrap()).unwrap();
        let is_variable = self.random.below(3) > 0;
        let value = match (self.random.below(4), is_variable) {
            (0, _) => Value::Nothing,
            (_, true) => Value::Text(format!(
                "{{\"by\": \"\\\\ \\n🔑 {}\", \"n\": 1.50}}",
                self.unique("value")
            )),
            (_, false) => Value::selection(&Selection {
                table: name.clone(),
                records: vec![Name::new(&self.unique("record")).unwrap()],
            }),
        };
        let slot = match is_variable {
            true => Slot::Variable(name),
            false => Slot::Selection(name),
        };
        Asked::Put(key, slot, value)
    }

    /// A text that nobody has used before.
    fn unique(&self, what: &str) -> String {
        format!("{what} {}", self.shared.moment())
    }
}
