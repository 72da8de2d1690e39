//! A store that fails, or with which everything stops, at any one of its calls: whatever was told before is true of what is
//! on disk, and nobody is told what is not.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use sessionctl::access::AdminToken;
use sessionctl::admin::{
    Admin, AuditPage, AuditQuery, Ending, HistoryPage, HistoryQuery, ListQuery, LockPage,
    LockQuery, OpenRequest, Page,
};
use sessionctl::application::{Application, At, ProcessStatus, Saved};
use sessionctl::audit::Actor;
use sessionctl::audit::Verdict;
use sessionctl::clock::{Clock as _, ManualClock, Timestamp};
use sessionctl::context::{Context, Json, Lock, Name};
use sessionctl::error::Error;
use sessionctl::on_close::{MethodResult, MethodRun, RunKey};
use sessionctl::options::{Options, Settings, Value};
use sessionctl::registry::Registry;
use sessionctl::session::{Kind, Process, SessionId, State};
use sessionctl::sessions::Sessions;
use sessionctl::store::directory::DataDir;
use sessionctl::store::memory::MemoryStore;
use sessionctl::store::sqlite::SqliteStore;
use sessionctl::store::{
    Applied, Census, Change, Claim, Error as StoreError, Found, Seen, Store, Unfit, Use, Work,
};
use sessionctl::token::{Token, TokenHash};
use tokio::sync::Notify;

use crate::contexts::{SECOND, first, invoice, json, name, process, until};
use crate::model_drivers::open;
use crate::places::{MONDAY, browser, operator, setting, waiting};

/// What happens at one call of `apply`, `claim` or `flush`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing was done, which nobody can know; nothing works any more.
    FailsBefore,
    /// It was done, which nobody can know; nothing works any more.
    FailsAfter,
    /// It was done and is answered; nothing works any more.
    FailsNext,
    /// Nothing was done, and no answer comes.
    StopsBefore,
    /// It was done, and no answer comes.
    StopsAfter,
    /// Nothing was done; the next call finds all well.
    Busy,
}

/// What a caller may believe of a call that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// It may have changed something.
    Change,
    /// It changed nothing.
    Look,
}

/// A store with one fault.
pub(crate) struct Faulty<S> {
    store: S,
    fault: Fault,
    /// The call that it comes with, counted from 1.
    at: u32,
    calls: AtomicU32,
    has_failed: AtomicBool,
    /// Whether the call that failed was a change.
    was_change: AtomicBool,
    /// Rung when everything stops.
    pub(crate) stopped: Arc<Notify>,
}

impl<S: Store> Faulty<S> {
    pub(crate) fn new(store: S, fault: Fault, at: u32) -> Self {
        Self {
            store,
            fault,
            at,
            calls: AtomicU32::new(0),
            has_failed: AtomicBool::new(false),
            was_change: AtomicBool::new(false),
            stopped: Arc::default(),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.has_failed.load(Ordering::SeqCst) {
            true => Err(StoreError::Poisoned("the disk is gone".into())),
            false => Ok(()),
        }
    }

    fn failed(&self, call: Call) -> StoreError {
        self.has_failed.store(true, Ordering::SeqCst);
        self.was_change
            .store(call == Call::Change, Ordering::SeqCst);
        let source = "the disk went away".into();
        match call {
            Call::Change => StoreError::Unconfirmed(source),
            Call::Look => StoreError::Poisoned(source),
        }
    }

    async fn stop(&self) -> StoreError {
        self.stopped.notify_one();
        std::future::pending().await
    }

    /// Makes a call, unless it is its turn to go wrong.
    async fn call<T>(
        &self,
        what: Call,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.check()?;
        // Only changes have to queue.
        let is_spared = self.fault == Fault::Busy && what == Call::Look;
        if is_spared || self.calls.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            return call.await;
        }
        match self.fault {
            Fault::Busy => Err(StoreError::Busy),
            Fault::FailsBefore => Err(self.failed(what)),
            Fault::StopsBefore => Err(self.stop().await),
            Fault::FailsNext => {
                let done = call.await;
                self.failed(what);
                done
            }
            Fault::FailsAfter => {
                call.await?;
                Err(self.failed(what))
            }
            Fault::StopsAfter => {
                call.await?;
                Err(self.stop().await)
            }
        }
    }
}

impl<S: Store> Store for Faulty<S> {
    async fn visit(
        &self,
        token: &TokenHash,
        usage: Use,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Seen, StoreError> {
        self.check()?;
        self.store.visit(token, usage, from, now).await
    }
    async fn apply(&self, change: Change, now: Timestamp) -> Result<Applied, StoreError> {
        self.call(Call::Change, self.store.apply(change, now)).await
    }
    async fn find(&self, id: SessionId, now: Timestamp) -> Result<Found, StoreError> {
        self.check()?;
        self.store.find(id, now).await
    }
    async fn processes(&self, id: SessionId, now: Timestamp) -> Result<Vec<Process>, StoreError> {
        self.check()?;
        self.store.processes(id, now).await
    }
    async fn process(
        &self,
        at: At,
        now: Timestamp,
    ) -> Result<Result<ProcessStatus, Unfit>, StoreError> {
        self.check()?;
        self.store.process(at, now).await
    }
    async fn context(&self, at: At, now: Timestamp) -> Result<Result<Context, Unfit>, StoreError> {
        self.check()?;
        self.store.context(at, now).await
    }
    async fn locks(&self, query: LockQuery) -> Result<LockPage, StoreError> {
        self.check()?;
        self.store.locks(query).await
    }
    async fn audit(&self, query: AuditQuery) -> Result<AuditPage, StoreError> {
        self.check()?;
        self.store.audit(query).await
    }
    async fn tokens(&self) -> Result<Vec<Arc<AdminToken>>, StoreError> {
        self.check()?;
        self.store.tokens().await
    }
    async fn token(&self, hash: &TokenHash) -> Result<Option<Arc<AdminToken>>, StoreError> {
        self.check()?;
        self.store.token(hash).await
    }
    async fn verify_audit(&self) -> Result<Verdict, StoreError> {
        self.check()?;
        self.store.verify_audit().await
    }
    async fn history(
        &self,
        query: HistoryQuery,
        id: Option<SessionId>,
    ) -> Result<HistoryPage, StoreError> {
        self.check()?;
        self.store.history(query, id).await
    }
    async fn saved(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Result<Saved, Unfit>, StoreError> {
        self.check()?;
        self.store.saved(id, now).await
    }
    fn bell(&self, id: SessionId) -> Arc<Notify> {
        self.store.bell(id)
    }
    async fn page(&self, query: ListQuery, now: Timestamp) -> Result<Page, StoreError> {
        self.check()?;
        self.store.page(query, now).await
    }
    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Work>, StoreError> {
        self.call(Call::Look, self.store.claim(claim, now)).await
    }
    async fn flush(&self, now: Timestamp) -> Result<(), StoreError> {
        self.call(Call::Look, self.store.flush(now)).await
    }
    fn settings(&self) -> Result<Arc<Settings>, StoreError> {
        self.store.settings()
    }
    async fn census(&self) -> Result<Census, StoreError> {
        self.check()?;
        self.store.census().await
    }
    fn latest(&self) -> Timestamp {
        self.store.latest()
    }
    async fn health(&self) -> Result<(), StoreError> {
        self.check()
    }
}

fn options() -> Options {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    Options {
        open_rate: None,
        max_sessions: 6,
        inactive_process_timeout: minutes(10),
        inactive_session_timeout: minutes(10),
        ..Options::default()
    }
}

/// All that anybody was told.
#[derive(Default)]
struct Told {
    opened: Vec<(SessionId, Token)>,
    users: Vec<(SessionId, &'static str)>,
    /// Sessions with a login that nobody was told of.
    signing_in: HashSet<SessionId>,
    /// Tokens that a login has replaced.
    replaced: Vec<Token>,
    /// Sessions whose end was asked for or due, told or not.
    ending: HashSet<SessionId>,
    closed: HashSet<SessionId>,
    dropped: HashSet<SessionId>,
    processes: Vec<At>,
    variables: Vec<(At, Name, Json)>,
    locks: Vec<(At, Lock)>,
    option_asked: bool,
    option_set: bool,
}

/// Somebody who does this and that, and notes what the answers were.
struct Scenario<'a, S> {
    registry: Registry<S>,
    clock: ManualClock,
    told: &'a RefCell<Told>,
    /// Whether closing work is done: of many changes at once, it tells of any that failed.
    is_working: Cell<bool>,
}

impl<S: Store> Scenario<'_, S> {
    async fn open(
        &self,
        kind: Kind,
        user: Option<&'static str>,
    ) -> Result<(SessionId, Token), Error> {
        let request = OpenRequest {
            kind,
            user: user.map(String::from),
            ..browser()
        };
        let opened = Application::open(&self.registry, request).await?;
        let (id, token) = (opened.session.id, opened.token);
        let mut told = self.told.borrow_mut();
        told.opened.push((id, token.clone()));
        told.users.extend(user.map(|user| (id, user)));
        if kind == Kind::Web {
            told.processes.push(first(id));
        }
        Ok((id, token))
    }

    async fn start(&self, id: SessionId) -> Result<At, Error> {
        let status = self.registry.start_process(id, None).await?;
        let at = process(id, status.number.0);
        self.told.borrow_mut().processes.push(at);
        Ok(at)
    }

    async fn put(&self, at: At, variable: &str, value: &str) -> Result<(), Error> {
        let (variable, value) = (name(variable), json(value));
        self.registry
            .set_variable(at, variable.clone(), Some(value.clone()))
            .await?;
        self.told.borrow_mut().variables.push((at, variable, value));
        Ok(())
    }

    async fn lock(&self, at: At, number: &str) -> Result<(), Error> {
        let lock = self
            .registry
            .lock(at, invoice(number), Duration::ZERO)
            .await?;
        self.told.borrow_mut().locks.push((at, lock));
        Ok(())
    }

    async fn log_in(&self, id: SessionId, user: &'static str, old: Token) -> Result<(), Error> {
        self.told.borrow_mut().signing_in.insert(id);
        let opened = self.registry.log_in(id, user.into()).await?;
        let mut told = self.told.borrow_mut();
        told.signing_in.remove(&id);
        told.users.push((id, user));
        told.opened.retain(|(opened, _)| *opened != id);
        told.opened.push((id, opened.token));
        told.replaced.push(old);
        Ok(())
    }

    fn ends(&self, id: SessionId) {
        self.told.borrow_mut().ending.insert(id);
    }

    /// What everybody is told of a session whose end was asked for.
    async fn look(&self, id: SessionId, token: &Token) -> Result<(), Error> {
        let is_refused = self.registry.check(token, None, false).await?.is_none();
        let is_over = match self.registry.show(id).await {
            Ok(details) => details.session.state == State::Closing,
            Err(Error::Closed(_)) => true,
            Err(error) => return Err(error),
        };
        assert_eq!(is_refused, is_over);
        assert!(is_over, "{id} was to end");
        self.told.borrow_mut().closed.insert(id);
        Ok(())
    }

    async fn close(&self, id: SessionId) -> Result<(), Error> {
        self.ends(id);
        let outcome = self.registry.close(id, operator()).await?;
        assert!(matches!(outcome.outcome, Ending::Closing | Ending::Closed));
        self.told.borrow_mut().closed.insert(id);
        Ok(())
    }

    async fn work(&self) -> Result<(), Error> {
        self.is_working.set(true);
        self.registry.finish_begun().await?;
        self.is_working.set(false);
        Ok(())
    }

    /// Clients, an application and an operator do one thing after the other, until something fails.
    async fn play(&self) -> Result<(), Error> {
        let (user, user_token) = self.open(Kind::Web, Some("ana")).await?;
        let (signed_in, guest_token) = self.open(Kind::Web, None).await?;
        self.log_in(signed_in, "bob", guest_token).await?;
        self.put(first(user), "cart", "[1, 2.50]").await?;
        self.lock(first(user), "4711").await?;
        self.put(first(signed_in), "who", "\"bob\"").await?;
        self.lock(first(signed_in), "4712").await?;
        let (mobile, mobile_token) = self.open(Kind::Mobile, Some("ana")).await?;
        let (one, two) = (self.start(mobile).await?, self.start(mobile).await?);
        self.put(one, "step", "1").await?;
        self.lock(two, "4713").await?;
        self.close(user).await?;
        self.look(user, &user_token).await?;
        self.work().await?;
        self.look(user, &user_token).await?;
        self.close(mobile).await?;
        self.registry.end_process(one).await?;
        self.work().await?;
        self.look(mobile, &mobile_token).await?;
        self.end_others().await
    }

    async fn end_others(&self) -> Result<(), Error> {
        let (dropped, dropped_token) = self.open(Kind::Web, None).await?;
        self.put(first(dropped), "x", "1").await?;
        self.ends(dropped);
        self.told.borrow_mut().dropped.insert(dropped);
        self.registry.drop_session(dropped, operator()).await?;
        self.told.borrow_mut().closed.insert(dropped);
        self.look(dropped, &dropped_token).await?;
        let (left, left_token) = self.open(Kind::Web, None).await?;
        let outcome = self.registry.log_out(&left_token);
        self.ends(left);
        assert!(outcome.await?.is_some());
        self.look(left, &left_token).await?;
        let (idle, idle_token) = self.open(Kind::Web, None).await?;
        self.clock.advance(120 * SECOND);
        self.registry.check(&idle_token, None, true).await?;
        self.told.borrow_mut().option_asked = true;
        let limit = vec![("max_sessions".into(), Some(Value::Number(2)))];
        self.registry.set_options(setting(limit)).await?;
        self.told.borrow_mut().option_set = true;
        self.clock.advance(120 * SECOND);
        self.ends(idle);
        let (newcomer, _) = self.open(Kind::Web, Some("cleo")).await?;
        self.look(idle, &idle_token).await?;
        self.put(first(newcomer), "late", "true").await?;
        let told: Vec<_> = self.told.borrow().opened.clone();
        told.iter().for_each(|(id, _)| self.ends(*id));
        self.clock.advance(601 * SECOND);
        self.registry.sweep().await?;
        for (id, token) in &told {
            self.look(*id, token).await?;
        }
        self.work().await?;
        Ok(self.registry.store().flush(self.clock.now()).await?)
    }

    /// A store that has failed says so to everybody, and that nothing was changed.
    async fn all_fails(&self) {
        let (id, token) = self
            .told
            .borrow()
            .opened
            .first()
            .cloned()
            .unwrap_or_else(|| (SessionId::random(), Token::mint().unwrap()));
        let registry = &self.registry;
        let answers = [
            Admin::open(registry, browser()).await.err(),
            registry.check(&token, None, true).await.err(),
            registry.enter(Some(&token), browser()).await.err(),
            registry.log_out(&token).await.err(),
            registry.show(id).await.err(),
            registry.close(id, operator()).await.err(),
            registry.drop_session(id, operator()).await.err(),
            registry.list(ListQuery::default()).await.err(),
            registry
                .set_variable(first(id), name("x"), None)
                .await
                .err(),
            registry.lock(first(id), invoice("1"), SECOND).await.err(),
            registry.ready().await.err(),
            registry.sweep().await.err().map(Error::from),
            registry.finish_begun().await.err().map(Error::from),
        ];
        for (at, answer) in answers.into_iter().enumerate() {
            assert!(
                matches!(answer, Some(Error::Unavailable(_))),
                "{at}: {answer:?}"
            );
        }
    }
}

/// What was told is on disk: opens it again and looks.
async fn check_disk(store: &SqliteStore, told: &Told, now: Timestamp) {
    for (id, token) in &told.opened {
        let seen = store
            .visit(&token.hash(), Use::Look, None, now)
            .await
            .unwrap();
        let is_live = matches!(seen, Seen::Live(_));
        assert!(!(is_live && told.closed.contains(id)), "{id} came back");
        let may_be_gone = told.ending.contains(id) || told.signing_in.contains(id);
        assert!(is_live || may_be_gone, "{id} is gone: {seen:?}");
        match store.find(*id, now).await.unwrap() {
            Found::Unknown => panic!("{id} was never there"),
            Found::Closed(..) => assert!(!is_live),
            Found::Open(session, ..) => {
                let mut users = told.users.iter().rev();
                let user = users
                    .find(|(signed_in, _)| signed_in == id)
                    .map(|(_, user)| *user);
                assert!(
                    user.is_none() || session.user.as_deref() == user,
                    "{session:?}"
                );
            }
        }
    }
    for token in &told.replaced {
        let seen = store
            .visit(&token.hash(), Use::Look, None, now)
            .await
            .unwrap();
        assert!(
            !matches!(seen, Seen::Live(_)),
            "a token that a login replaced"
        );
    }
    let limit = store.settings().unwrap().options().max_sessions;
    let has_changed = limit == 2;
    assert!(has_changed || !told.option_set);
    assert!(!has_changed || told.option_asked);
    check_contexts(store, told, now).await;
}

/// What processes have is there as long as they are.
async fn check_contexts(store: &SqliteStore, told: &Told, now: Timestamp) {
    for at in &told.processes {
        let Ok(context) = store.context(*at, now).await.unwrap() else {
            assert!(told.ending.contains(&at.id), "process {at:?} is gone");
            continue;
        };
        check_context(told, *at, &context);
    }
}

fn check_context(told: &Told, at: At, context: &Context) {
    for (_, variable, value) in told.variables.iter().filter(|(of, ..)| *of == at) {
        assert_eq!(context.variables.get(variable), Some(value), "of {at:?}");
    }
    for (_, lock) in told.locks.iter().filter(|(of, _)| *of == at) {
        assert!(context.locks.contains(lock), "{lock:?} of {at:?}");
    }
}

/// Every process of a session that has ended had its method, or has it now, and that sees what was acknowledged.
async fn check_methods(store: &SqliteStore, told: &Told, now: Timestamp) {
    let later = now.plus(3_600 * SECOND);
    let actor = Actor::server();
    let expire = Change::Expire { actor, limit: 512 };
    let mut ran = HashSet::new();
    // What is due closes; then the grace periods are over; then the closings are.
    for hours in 0..3 {
        let at = later.plus(hours * 31 * SECOND);
        let expired = store.apply(expire.clone(), at).await.unwrap();
        assert!(matches!(expired, Applied::Expired { is_all: true, .. }));
        while let work @ [_, ..] = &*claim(store, at).await {
            let keys = work.iter().map(|work| {
                let Work::Process(key, Some(document)) = work else {
                    panic!("a method is there");
                };
                check_context(told, process(key.session, key.process.0), &document.context);
                assert!(ran.insert(*key), "{key} ran twice at once");
                *key
            });
            let finished = keys.map(|key| store.apply(finish(key), at));
            futures_util::future::try_join_all(finished).await.unwrap();
        }
    }
    let page = store.history(HistoryQuery::default(), None).await.unwrap();
    for at in &told.processes {
        let entry = page.items.iter().find(|entry| entry.id == at.id);
        let entry = entry.unwrap_or_else(|| panic!("{} has not ended", at.id));
        let has_run = entry.on_close.iter().any(|run| run.process == at.process);
        assert!(
            has_run || told.dropped.contains(&at.id),
            "no method for {at:?}: {entry:?}"
        );
    }
}

async fn claim(store: &SqliteStore, now: Timestamp) -> Vec<Work> {
    let claim = Claim {
        until: now.plus(SECOND),
        max: 512,
        runs: 512,
        has_method: true,
        only: None,
    };
    store.claim(claim, now).await.unwrap()
}

fn finish(key: RunKey) -> Change {
    let run = MethodRun {
        process: key.process,
        result: MethodResult::Succeeded,
        took_ms: 1,
        late: false,
        detail: None,
    };
    Change::FinishProcess {
        key,
        run: Some(run),
        saved: None,
    }
}

fn save() -> sessionctl::registry::OnClose {
    sessionctl::registry::OnClose {
        method: sessionctl::on_close::Method::Save,
        ..Default::default()
    }
}

/// Plays with one fault; answers whether the play was over before it came.
async fn play(fault: Fault, at: u32) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(MONDAY.parse().unwrap());
    let told = RefCell::default();
    let store = Faulty::new(open(&directory, &options()), fault, at);
    let stopped = Arc::clone(&store.stopped);
    let scenario = Scenario {
        registry: Registry::with_on_close(store, Arc::new(clock.clone()), save()),
        clock: clock.clone(),
        told: &told,
        is_working: Cell::new(false),
    };
    let played = tokio::select! {
        played = scenario.play() => Some(played),
        () = stopped.notified() => None,
    };
    let is_over = matches!(played, Some(Ok(())));
    if let Some(Err(error)) = &played {
        let was_change = scenario.registry.store().was_change.load(Ordering::SeqCst);
        match error {
            Error::Unconfirmed(_) => assert!(was_change && fault != Fault::FailsNext),
            Error::Unavailable(_) if fault == Fault::FailsNext => {}
            Error::Unavailable(_) => assert!(!was_change || scenario.is_working.get()),
            error => panic!("{error:?}"),
        }
        scenario.all_fails().await;
    }
    drop(scenario);
    // Closing work that was under way lets go of the store.
    let let_go = async || DataDir::exclusive(directory.path(), true).ok();
    drop(until("the directory", let_go).await);
    let store = open(&directory, &options());
    let told = told.into_inner();
    check_disk(&store, &told, clock.now()).await;
    check_methods(&store, &told, clock.now()).await;
    is_over
}

/// Plays with this fault at each call in turn.
async fn play_at_every_call(fault: Fault) {
    let mut at = 1;
    while !play(fault, at).await {
        at += 1;
    }
    assert!(at > 30, "only {at} calls");
}

#[tokio::test]
async fn what_was_told_is_true_when_a_call_fails_before_its_effect() {
    play_at_every_call(Fault::FailsBefore).await;
}

#[tokio::test]
async fn what_was_told_is_true_when_a_call_fails_after_its_effect() {
    play_at_every_call(Fault::FailsAfter).await;
}

#[tokio::test]
async fn what_was_told_is_true_when_all_fails_after_a_call_that_was_answered() {
    play_at_every_call(Fault::FailsNext).await;
}

#[tokio::test]
async fn what_was_told_is_true_when_all_stops_before_the_effect_of_a_call() {
    play_at_every_call(Fault::StopsBefore).await;
}

#[tokio::test]
async fn what_was_told_is_true_when_all_stops_after_the_effect_of_a_call() {
    play_at_every_call(Fault::StopsAfter).await;
}

/// The work of a registry goes on after a store that was busy at one call: sessions end, and what is due does.
#[tokio::test]
async fn the_registrys_work_goes_on_after_a_call_that_came_at_the_wrong_moment() {
    let busy_at = |at| async move {
        let clock = ManualClock::at(MONDAY.parse().unwrap());
        let store = MemoryStore::new(options().into());
        let store = Faulty::new(store, Fault::Busy, at);
        let registry = Registry::with_on_close(store, Arc::new(clock.clone()), save());
        let work = async {
            let closed = loop {
                match Admin::open(&registry, browser()).await {
                    Ok(opened) => break opened.session.id,
                    Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error:?}"),
                }
            };
            let outcome = loop {
                match registry.close(closed, waiting()).await {
                    Ok(outcome) => break outcome.outcome,
                    Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error:?}"),
                }
            };
            assert_eq!(outcome, Ending::Closed);
        };
        registry.run(work).await
    };
    let runs = (1..12).map(busy_at);
    for (at, ran) in futures_util::future::join_all(runs)
        .await
        .into_iter()
        .enumerate()
    {
        ran.unwrap_or_else(|error| panic!("{at}: {error:?}"));
    }
}
