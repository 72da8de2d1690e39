//! What the model is compared with: one set of calls, and who answers them: a store, asked with changes as the registry asks
//! it.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use sessionctl::admin::{
    Ending, HistoryEntry, HistoryQuery, ListQuery, LockQuery, OpenRequest, Outcome,
};
use sessionctl::application::{At, ProcessStatus, Saved};
use sessionctl::audit::Actor;
use sessionctl::clock::Timestamp;
use sessionctl::context::{Context, Json, Lock, Name, Record};
use sessionctl::on_close::{Invocation, MethodResult, MethodRun, RunKey};
use sessionctl::options::{OptionSpec, Options, Value};
use sessionctl::session::{
    Cause, HeldLock, ProcessNumber, Session, SessionDetails, SessionId, State,
};
use sessionctl::sessions::Visit;
use sessionctl::store::directory::DataDir;
use sessionctl::store::memory::MemoryStore;
use sessionctl::store::sqlite::SqliteStore;
use sessionctl::store::{
    Applied, Census, Change, Claim, End, Found, NewSession, Part, Seen, SetOptions, Store, Tally,
    Unfit, Use, Work,
};
use sessionctl::token::{Token, TokenHash};
use tempfile::TempDir;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    NotFound,
    Closed(Cause),
    Closing,
    NoProcess,
    ProcessClosing,
    HasProcess(ProcessNumber),
    Held(SessionId, ProcessNumber),
    Full,
    NoSessions,
    Rotated,
    OtherAddress,
    WouldEnd,
}

/// A change of one option: `None` resets it.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) spec: &'static OptionSpec,
    pub(crate) value: Option<Value>,
    pub(crate) may_end: bool,
    pub(crate) dry_run: bool,
}

/// What workers do with what they take: bit by bit, the first one with the lowest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Whose worker dies before it is done.
    pub(crate) dies: u8,
    /// Whose method answers something.
    pub(crate) answers: u8,
}

/// Work that a worker took.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A closing that needed only its end.
    Closing(SessionId),
    /// A process, with the document for its method.
    Process(RunKey, Option<Box<Invocation>>),
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Worked {
    pub(crate) taken: Taken,
    /// Whether the worker lived to do it.
    pub(crate) is_done: bool,
    pub(crate) result: MethodResult,
    pub(crate) answer: Option<Json>,
}

/// Until when work is its worker's that takes it.
pub(crate) const CLAIM: Duration = Duration::from_secs(20);

/// Somebody who answers for sessions. Without a method, work has no documents.
pub(crate) trait Driver: Sized {
    /// Whether sessions outlive a restart.
    const IS_DURABLE: bool;

    fn now(&self) -> Timestamp;
    fn advance(&self, by: Duration);
    async fn open(&self, request: OpenRequest) -> Result<(Session, Token), Why>;
    /// A browser comes, with a cookie or without.
    async fn enter(
        &self,
        token: Option<&Token>,
        client: OpenRequest,
    ) -> Result<(Visit, Option<Token>), Why>;
    async fn check(
        &self,
        token: &Token,
        from: Option<IpAddr>,
        touch: bool,
    ) -> Result<Option<Visit>, Why>;
    async fn log_in(&self, id: SessionId, user: &str) -> Result<(Session, Token), Why>;
    async fn log_out(&self, token: &Token) -> Result<Option<Outcome>, Why>;
    async fn close(&self, id: SessionId) -> Outcome;
    async fn drop_session(&self, id: SessionId) -> Outcome;
    async fn start_process(
        &self,
        id: SessionId,
        lease: Option<Duration>,
    ) -> Result<ProcessStatus, Why>;
    async fn end_process(&self, at: At) -> Result<(), Why>;
    async fn context(&self, at: At) -> Result<Context, Why>;
    async fn set_variable(&self, at: At, name: Name, value: Option<Json>) -> Result<(), Why>;
    async fn lock(&self, at: At, record: Record) -> Result<Lock, Why>;
    async fn unlock(&self, at: At, record: Record) -> Result<(), Why>;
    async fn take_saved(&self, id: SessionId) -> Result<Saved, Why>;
    /// Sets an option, and ends at once what is due by it; answers how many end or would.
    async fn set_option(&self, setting: Setting) -> Result<u64, Why>;
    async fn sweep(&self);
    /// Does all closing work that nobody has; `None` if all of it was done, and the context was what was to be saved.
    async fn work(&self, plan: Plan) -> Option<Vec<Worked>>;
    async fn list(&self) -> Vec<Session>;
    async fn show(&self, id: SessionId) -> Result<SessionDetails, Why>;
    async fn locks(&self) -> Vec<HeldLock>;
    async fn census(&self) -> Census;
    async fn history(&self) -> Vec<HistoryEntry>;
    /// Stops in peace and comes back.
    async fn restart(self) -> Self;
}

/// Where a store is, and how it is opened again.
pub(crate) trait Home: Sized {
    type Store: Store;
    const IS_DURABLE: bool;
    fn make(options: &Options) -> (Self, Self::Store);
    fn reopen(&self, options: &Options, store: Self::Store) -> Self::Store;
}

/// Nowhere: a store in memory does not come back, so it stays.
pub(crate) struct Nowhere;

impl Home for Nowhere {
    type Store = MemoryStore;
    const IS_DURABLE: bool = false;

    fn make(options: &Options) -> (Self, MemoryStore) {
        (Self, MemoryStore::new(options.clone().into()))
    }
    fn reopen(&self, _: &Options, store: MemoryStore) -> MemoryStore {
        store
    }
}

impl Home for TempDir {
    type Store = SqliteStore;
    const IS_DURABLE: bool = true;

    fn make(options: &Options) -> (Self, SqliteStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory, options);
        (directory, store)
    }
    fn reopen(&self, options: &Options, store: SqliteStore) -> SqliteStore {
        drop(store);
        open(self, options)
    }
}

pub(crate) fn open(directory: &TempDir, options: &Options) -> SqliteStore {
    let data = DataDir::exclusive(directory.path(), true).unwrap();
    SqliteStore::open(data, options.clone().into()).unwrap()
}

/// A store by itself.
pub(crate) struct OverStore<H: Home> {
    home: H,
    store: H::Store,
    options: Options,
    has_method: bool,
    now: Cell<Timestamp>,
}

impl<H: Home> OverStore<H> {
    pub(crate) fn start(options: Options, has_method: bool) -> Self {
        let (home, store) = H::make(&options);
        Self {
            home,
            store,
            options,
            has_method,
            now: Cell::new(Timestamp::from_millis(1_800_000_000_000)),
        }
    }

    async fn apply(&self, change: Change) -> Result<Applied, Why> {
        match self.store.apply(change, self.now()).await.unwrap() {
            Applied::Unfit(unfit) => Err(unfit.into()),
            Applied::Full { .. } => Err(Why::Full),
            Applied::NoSessions => Err(Why::NoSessions),
            applied => Ok(applied),
        }
    }

    async fn open_session(
        &self,
        request: OpenRequest,
        previous: Option<TokenHash>,
    ) -> Result<(Session, Token), Why> {
        let token = Token::mint().unwrap();
        let new = NewSession {
            ordered_by: None,
            id: SessionId::random(),
            token_hash: token.hash(),
            kind: request.kind,
            user: request.user.map(Into::into),
            ip: request.ip,
            user_agent: request.user_agent.map(Into::into),
            idle_timeout: request.idle_timeout.map(Duration::from_millis),
            previous,
            actor: Actor::server(),
        };
        match self.apply(Change::Open(new)).await? {
            Applied::Opened(session, _) => Ok((session, token)),
            applied => panic!("{applied:?}"),
        }
    }

    async fn end(&self, id: SessionId, cause: Cause) -> Outcome {
        let end = End::by_itself(id, cause, &Actor::user(0));
        let change = match cause {
            Cause::Dropped => Change::Drop(end),
            _ => Change::BeginClose(end),
        };
        outcome(id, self.apply(change).await.unwrap())
    }

    async fn done(&self, change: Change) -> Result<(), Why> {
        match self.apply(change).await? {
            Applied::Done => Ok(()),
            applied => panic!("{applied:?}"),
        }
    }

    async fn claim(&self) -> Vec<Work> {
        let claim = Claim {
            until: self.now().plus(CLAIM),
            max: 512,
            runs: 8,
            has_method: self.has_method,
            only: None,
        };
        self.store.claim(claim, self.now()).await.unwrap()
    }

    async fn do_work(&self, work: &Worked) {
        let change = match &work.taken {
            Taken::Closing(id) => Change::FinishClose(*id),
            Taken::Process(key, document) => Change::FinishProcess {
                key: *key,
                run: document.as_ref().map(|document| MethodRun {
                    process: key.process,
                    result: work.result,
                    took_ms: 1,
                    late: document.late,
                    detail: None,
                }),
                saved: work.answer.clone(),
            },
        };
        self.apply(change).await.unwrap();
    }
}

/// What an ending came to, as it is told to operators.
fn outcome(id: SessionId, applied: Applied) -> Outcome {
    let nothing = |outcome| Outcome {
        id,
        outcome,
        initiated: false,
        cause: None,
        user: None,
        freed: Default::default(),
        on_close: Vec::new(),
    };
    let (found, part) = match applied {
        Applied::Ended { found, part } => (found, part),
        Applied::Ignored(session) => {
            let user = session.user;
            return Outcome {
                user,
                ..nothing(Ending::Ignored)
            };
        }
        applied => panic!("{applied:?}"),
    };
    let (outcome, cause, user, closure) = match found {
        Found::Unknown => return nothing(Ending::NotFound),
        Found::Open(session, cause, closure) => (Ending::Closing, cause, session.user, closure),
        Found::Closed(closed, closure) if part == Part::None => (
            Ending::AlreadyClosed,
            Some(closed.cause),
            closed.user,
            closure,
        ),
        Found::Closed(closed, closure) => {
            (Ending::Closed, Some(closed.cause), closed.user, closure)
        }
    };
    Outcome {
        outcome,
        initiated: part == Part::Began,
        cause,
        user,
        freed: closure.freed,
        on_close: closure.on_close,
        ..nothing(outcome)
    }
}

impl From<Unfit> for Why {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::NotFound => Self::NotFound,
            Unfit::Closed(closed) => Self::Closed(closed.cause),
            Unfit::Closing => Self::Closing,
            Unfit::NoProcess => Self::NoProcess,
            Unfit::ProcessClosing => Self::ProcessClosing,
            Unfit::HasProcess(number) => Self::HasProcess(number),
            Unfit::Locked(lock) => Self::Held(lock.session, lock.process),
            Unfit::Context(error) => panic!("{error}"),
        }
    }
}

impl<H: Home> Driver for OverStore<H> {
    const IS_DURABLE: bool = H::IS_DURABLE;

    fn now(&self) -> Timestamp {
        self.now.get()
    }

    fn advance(&self, by: Duration) {
        self.now.set(self.now().plus(by));
    }

    async fn open(&self, request: OpenRequest) -> Result<(Session, Token), Why> {
        self.open_session(request, None).await
    }

    async fn enter(
        &self,
        token: Option<&Token>,
        client: OpenRequest,
    ) -> Result<(Visit, Option<Token>), Why> {
        if let Some(token) = token
            && let Some(visit) = self.check(token, client.ip, true).await?
        {
            return Ok((visit, None));
        }
        let previous = token.map(Token::hash);
        let (_, token) = self.open_session(client, previous).await?;
        let visit = self.check(&token, None, false).await?.unwrap();
        Ok((visit, Some(token)))
    }

    async fn check(
        &self,
        token: &Token,
        from: Option<IpAddr>,
        touch: bool,
    ) -> Result<Option<Visit>, Why> {
        let usage = if touch { Use::Request } else { Use::Look };
        let seen = self
            .store
            .visit(&token.hash(), usage, from, self.now())
            .await;
        match seen.unwrap() {
            Seen::Nobody => Ok(None),
            Seen::Live(visit) => Ok(Some(visit)),
            Seen::Rotated => Err(Why::Rotated),
            Seen::OtherAddress => Err(Why::OtherAddress),
            Seen::Suspended(id) => {
                let actor = Actor::server();
                match self.apply(Change::Resume { id, actor }).await? {
                    Applied::Resumed(visit, _) => Ok(visit),
                    applied => panic!("{applied:?}"),
                }
            }
        }
    }

    async fn log_in(&self, id: SessionId, user: &str) -> Result<(Session, Token), Why> {
        let token = Token::mint().unwrap();
        let change = Change::LogIn {
            id,
            user: user.into(),
            token_hash: token.hash(),
            actor: Actor::server(),
        };
        match self.apply(change).await? {
            Applied::LoggedIn(session, _) => Ok((session, token)),
            applied => panic!("{applied:?}"),
        }
    }

    async fn log_out(&self, token: &Token) -> Result<Option<Outcome>, Why> {
        match self.check(token, None, false).await? {
            Some(visit) => Ok(Some(self.end(visit.id, Cause::Logout).await)),
            None => Ok(None),
        }
    }

    async fn close(&self, id: SessionId) -> Outcome {
        self.end(id, Cause::Command).await
    }

    async fn drop_session(&self, id: SessionId) -> Outcome {
        self.end(id, Cause::Dropped).await
    }

    async fn start_process(
        &self,
        id: SessionId,
        lease: Option<Duration>,
    ) -> Result<ProcessStatus, Why> {
        let actor = Actor::server();
        match self
            .apply(Change::StartProcess { id, lease, actor })
            .await?
        {
            Applied::Started(status, _) => Ok(status),
            applied => panic!("{applied:?}"),
        }
    }

    async fn end_process(&self, at: At) -> Result<(), Why> {
        self.done(Change::EndProcess(at)).await
    }

    async fn context(&self, at: At) -> Result<Context, Why> {
        let found = self.store.context(at, self.now()).await.unwrap();
        Ok(found?)
    }

    async fn set_variable(&self, at: At, name: Name, value: Option<Json>) -> Result<(), Why> {
        self.done(Change::SetVariable(at, name, value)).await
    }

    async fn lock(&self, at: At, record: Record) -> Result<Lock, Why> {
        match self.apply(Change::Lock(at, record, None)).await? {
            Applied::Locked(lock) => Ok(lock),
            applied => panic!("{applied:?}"),
        }
    }

    async fn unlock(&self, at: At, record: Record) -> Result<(), Why> {
        self.done(Change::Unlock(at, record, None)).await
    }

    async fn take_saved(&self, id: SessionId) -> Result<Saved, Why> {
        match self.apply(Change::TakeSaved(id)).await? {
            Applied::Saved(saved) => Ok(saved),
            applied => panic!("{applied:?}"),
        }
    }

    async fn set_option(&self, setting: Setting) -> Result<u64, Why> {
        let set = SetOptions {
            ordered_by: Actor::user(0),
            changes: vec![(setting.spec, setting.value)],
            may_end: setting.may_end,
            dry_run: setting.dry_run,
            actor: Actor::server(),
        };
        match self.apply(Change::SetOptions(set)).await? {
            Applied::OptionsSet { is_set, impact, .. } => {
                assert!(!(is_set && setting.dry_run));
                if !is_set && !setting.dry_run {
                    return Err(Why::WouldEnd);
                }
                if is_set && impact.ends > 0 {
                    self.sweep().await;
                }
                Ok(impact.ends)
            }
            applied => panic!("{applied:?}"),
        }
    }

    async fn sweep(&self) {
        let expire = Change::Expire {
            actor: Actor::server(),
            limit: 512,
        };
        while let Applied::Expired { is_all: false, .. } = self.apply(expire.clone()).await.unwrap()
        {
        }
    }

    async fn work(&self, plan: Plan) -> Option<Vec<Worked>> {
        let mut taken = Vec::new();
        loop {
            let work = self.claim().await;
            if work.is_empty() {
                break;
            }
            taken.extend(work.into_iter().map(|work| match work {
                Work::Finish(id) => Taken::Closing(id),
                Work::Process(key, document) => Taken::Process(key, document),
            }));
        }
        let is_set = |bits: u8, at: usize| bits >> (at % 8) & 1 == 1;
        let work = taken.into_iter().enumerate().map(|(at, taken)| {
            let answers = self.has_method && is_set(plan.answers, at);
            let result = match answers {
                true => MethodResult::Succeeded,
                false => MethodResult::Failed,
            };
            Worked {
                taken,
                is_done: !is_set(plan.dies, at),
                result,
                answer: answers.then(|| Json::new(&format!("[{at}]")).unwrap()),
            }
        });
        let work: Vec<Worked> = work.collect();
        for done in work.iter().filter(|work| work.is_done) {
            self.do_work(done).await;
        }
        Some(work)
    }

    async fn list(&self) -> Vec<Session> {
        let page = self.store.page(ListQuery::default(), self.now()).await;
        let page = page.unwrap();
        assert_eq!(page.total, page.items.len() as u64);
        page.items
    }

    async fn show(&self, id: SessionId) -> Result<SessionDetails, Why> {
        match self.store.find(id, self.now()).await.unwrap() {
            Found::Unknown => Err(Why::NotFound),
            Found::Closed(closed, _) => Err(Why::Closed(closed.cause)),
            Found::Open(session, cause, _) => {
                assert_eq!(cause.is_some(), session.state == State::Closing);
                let processes = self.store.processes(id, self.now()).await.unwrap();
                Ok(SessionDetails { session, processes })
            }
        }
    }

    async fn locks(&self) -> Vec<HeldLock> {
        self.store.locks(LockQuery::default()).await.unwrap().items
    }

    async fn census(&self) -> Census {
        // What happened is counted from each start anew, and is no state.
        Census {
            tally: Tally::default(),
            ..self.store.census().await.unwrap()
        }
    }

    async fn history(&self) -> Vec<HistoryEntry> {
        let page = self.store.history(HistoryQuery::default(), None).await;
        page.unwrap().items
    }

    async fn restart(self) -> Self {
        let Self {
            home,
            store,
            options,
            has_method,
            now,
        } = self;
        store.flush(now.get()).await.unwrap();
        let store = home.reopen(&options, store);
        Self {
            home,
            store,
            options,
            has_method,
            now,
        }
    }
}
