//! Thousands of changes in random order, on both stores: whatever comes after whatever, the counts are right, nothing that
//! ended comes back, and a restart finds what was there. What `model` does not know is in it too: queues for locks,
//! selections, sweeps that stop half-way, workers that change their minds about the method, other cookie names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sessionctl::admin::{HistoryPage, HistoryQuery, ListQuery, LockQuery};
use sessionctl::application::{At, Saved};
use sessionctl::audit::Actor;
use sessionctl::clock::Timestamp;
use sessionctl::context::{Context, Json, Lock, Name, Record, Selection};
use sessionctl::on_close::{MethodResult, MethodRun, RunKey};
use sessionctl::options::{OPTIONS, OptionSpec, Options, Settings};
use sessionctl::session::{
    Cause, HeldLock, Kind, Mode, ProcessNumber, ProcessState, Session, SessionId, State,
};
use sessionctl::store::directory::DataDir;
use sessionctl::store::memory::MemoryStore;
use sessionctl::store::sqlite::SqliteStore;
use sessionctl::store::{
    Applied, Census, Change, Claim, End, Found, MadeRoom, NewSession, Seen, SetOptions, Store,
    Tally, Ticket, Unfit, Use, Work,
};
use sessionctl::token::{Token, TokenHash};

/// Numbers that look random and are the same in every run (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn one_of<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let index = self.below(of.len().max(1) as u64);
        of.get(usize::try_from(index).unwrap())
    }
}

/// What the test knows: every session that was opened, and whether it has ended.
struct World<S> {
    store: S,
    random: Random,
    now: Timestamp,
    opened: Vec<(SessionId, TokenHash)>,
    ended: HashMap<SessionId, &'static str>,
    resumed: usize,
    /// Waiting for locks.
    tickets: Vec<Arc<Ticket>>,
    /// The greatest fence at the last restart.
    fence: u64,
    locked: usize,
    runs: usize,
    late: usize,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn json(text: &str) -> Json {
    Json::new(text).unwrap()
}

fn options() -> Settings {
    let seconds = Duration::from_secs;
    Options {
        max_sessions: 6,
        inactive_process_timeout: seconds(60),
        inactive_session_timeout: seconds(180),
        absolute_session_timeout: seconds(900),
        eviction_min_idle: seconds(15),
        ..Options::default()
    }
    .into()
}

impl<S: Store> World<S> {
    fn new(store: S, seed: u64) -> Self {
        Self {
            store,
            random: Random(seed),
            now: Timestamp::from_millis(1_800_000_000_000),
            opened: Vec::new(),
            ended: HashMap::new(),
            resumed: 0,
            tickets: Vec::new(),
            fence: 0,
            locked: 0,
            runs: 0,
            late: 0,
        }
    }

    async fn apply(&mut self, change: Change) -> Applied {
        self.store.apply(change, self.now).await.unwrap()
    }

    /// Mostly a young one, so that there is something to do.
    fn any(&mut self) -> Option<(SessionId, TokenHash)> {
        let young = self.opened.len().saturating_sub(12);
        self.random.one_of(&self.opened[young..]).copied()
    }

    async fn step(&mut self) {
        match self.random.below(20) {
            0..=2 => self.open().await,
            3..=5 => self.visit().await,
            6 => self.end().await,
            7 => {
                let limit = usize::try_from(1 + self.random.below(4)).unwrap();
                let actor = Actor::server();
                self.apply(Change::Expire { actor, limit }).await;
            }
            8 => self.do_closing_work().await,
            9 => self.set_options().await,
            10..=16 => self.change_a_process().await,
            17 => self.log_in().await,
            _ => {
                let seconds = self.random.below(25);
                self.now = self.now.plus(Duration::from_secs(seconds));
            }
        }
    }

    async fn do_closing_work(&mut self) {
        let has_method = self.random.below(2) == 0;
        let claim = Claim {
            until: self.now.plus(Duration::from_secs(self.random.below(20))),
            max: 3,
            runs: 3,
            has_method,
            only: None,
        };
        for work in self.store.claim(claim, self.now).await.unwrap() {
            match work {
                // Some workers die.
                _ if self.random.below(4) == 0 => {}
                Work::Finish(id) => {
                    self.apply(Change::FinishClose(id)).await;
                    self.ended.entry(id).or_insert("finished");
                }
                Work::Process(key, document) => {
                    assert_eq!(document.is_some(), has_method);
                    let run = document.map(|document| {
                        assert_eq!(document.run_key(), key);
                        self.late += usize::from(document.late);
                        self.run(key, document.late)
                    });
                    let saved = (self.random.below(2) == 0).then(|| json("[1, 2]"));
                    self.apply(Change::FinishProcess { key, run, saved }).await;
                    self.runs += 1;
                }
            }
        }
    }

    fn run(&mut self, key: RunKey, late: bool) -> MethodRun {
        MethodRun {
            process: key.process,
            result: MethodResult::Failed,
            took_ms: self.random.below(9),
            late,
            detail: (self.random.below(2) == 0).then(|| "why".into()),
        }
    }

    /// Something that an application does with a process that may be there or not.
    async fn change_a_process(&mut self) {
        let Some((id, _)) = self.any() else {
            return;
        };
        let number = u32::try_from(1 + self.random.below(3)).unwrap();
        let at = At {
            id,
            process: ProcessNumber(number),
        };
        let name = name(self.random.one_of(&["a", "b/c", "🔑"]).unwrap());
        let record = Record {
            table: name.clone(),
            record: name.clone(),
        };
        let change = match self.random.below(9) {
            0 | 1 => Change::StartProcess {
                id,
                lease: (self.random.below(2) == 0).then_some(Duration::from_secs(30)),
                actor: Actor::server(),
            },
            2 => Change::EndProcess(at),
            3 => Change::SetVariable(at, name, Some(json("{\"x\": 1.50}"))),
            4 => Change::SetVariable(at, name, None),
            5 => {
                let records = vec![name.clone(), name.clone()];
                let selection = Selection {
                    table: name.clone(),
                    records,
                };
                Change::SetSelection(at, name, Some(selection).filter(|_| number > 1))
            }
            6 => Change::Lock(at, record, None),
            7 => {
                let ticket = Arc::new(Ticket::default());
                self.tickets.push(Arc::clone(&ticket));
                Change::Lock(at, record, Some(ticket))
            }
            _ => Change::Unlock(at, record, None),
        };
        match self.apply(change).await {
            Applied::Started(_, made) => self.made_room(&made),
            Applied::Locked(lock) => {
                assert!(
                    lock.fence >= self.fence,
                    "fences grow, or are those that were told"
                );
                self.locked += 1;
            }
            Applied::Done | Applied::Queued | Applied::Unfit(_) | Applied::Full { .. } => {}
            applied => panic!("{applied:?}"),
        }
        if self.random.below(3) == 0
            && let Some(ticket) = self.tickets.pop()
        {
            ticket.give_up();
        }
    }

    fn made_room(&mut self, made: &MadeRoom) {
        let evicted = made.evicted.iter().map(|id| (*id, "evicted"));
        self.ended.extend(evicted);
    }

    async fn log_in(&mut self) {
        let Some((id, _)) = self.any() else {
            return;
        };
        let token_hash = Token::mint().unwrap().hash();
        let change = Change::LogIn {
            id,
            user: "bob".into(),
            token_hash,
            actor: Actor::server(),
        };
        match self.apply(change).await {
            Applied::LoggedIn(session, made) => {
                assert_eq!(session.user.as_deref(), Some("bob"));
                self.made_room(&made);
                let mut opened = self.opened.iter_mut();
                *opened.find(|(opened, _)| *opened == id).unwrap() = (id, token_hash);
            }
            Applied::Unfit(_) | Applied::Full { .. } => {}
            applied => panic!("{applied:?}"),
        }
    }

    async fn open(&mut self) {
        let token_hash = Token::mint().unwrap().hash();
        let new = NewSession {
            ordered_by: None,
            id: SessionId::random(),
            token_hash,
            kind: if self.random.below(4) == 0 {
                Kind::Mobile
            } else {
                Kind::Web
            },
            user: (self.random.below(3) == 0).then(|| "ana".into()),
            ip: None,
            user_agent: None,
            idle_timeout: None,
            previous: None,
            actor: Actor::server(),
        };
        let id = new.id;
        let settings = self.store.settings().unwrap();
        match self.apply(Change::Open(new)).await {
            Applied::Opened(session, made) => {
                assert_eq!((session.id, session.mode), (id, settings.options().mode));
                self.opened.push((id, token_hash));
                self.made_room(&made);
            }
            Applied::Full { .. } => assert_ne!(settings.options().mode, Mode::Scalable),
            Applied::NoSessions => assert_eq!(settings.options().mode, Mode::None),
            applied => panic!("{applied:?}"),
        }
    }

    async fn visit(&mut self) {
        let Some((id, token)) = self.any() else {
            return;
        };
        let usage = if self.random.below(4) == 0 {
            Use::Look
        } else {
            Use::Request
        };
        match self
            .store
            .visit(&token, usage, None, self.now)
            .await
            .unwrap()
        {
            Seen::Live(visit) => assert!(
                visit.id == id && !self.ended.contains_key(&id),
                "{:?}",
                self.ended.get(&id)
            ),
            Seen::Nobody => {}
            Seen::OtherAddress => panic!("it has no address"),
            Seen::Rotated => panic!("nobody signs in"),
            Seen::Suspended(found) => {
                assert!(found == id && !self.ended.contains_key(&id));
                match self
                    .apply(Change::Resume {
                        id,
                        actor: Actor::server(),
                    })
                    .await
                {
                    Applied::Resumed(visit, made) => {
                        assert_eq!(visit.map(|visit| visit.state), Some(State::Active));
                        self.resumed += 1;
                        self.ended
                            .extend(made.evicted.iter().map(|id| (*id, "evicted")));
                    }
                    Applied::Full { .. } => {}
                    applied => panic!("{applied:?}"),
                }
            }
        }
    }

    async fn end(&mut self) {
        let Some((id, _)) = self.any() else { return };
        let cause = *self
            .random
            .one_of(&[Cause::Command, Cause::Logout, Cause::Dropped])
            .unwrap();
        let end = End::by_itself(id, cause, &Actor::user(0));
        let before = self.store.find(id, self.now).await.unwrap();
        let change = if cause == Cause::Dropped {
            Change::Drop(end)
        } else {
            Change::BeginClose(end)
        };
        match self.apply(change).await {
            Applied::Ignored(session) => {
                assert_eq!((session.mode, cause), (Mode::Scalable, Cause::Command))
            }
            Applied::Ended { .. } => {
                assert!(!matches!(before, Found::Unknown));
                self.ended.insert(id, cause.as_str());
            }
            applied => panic!("{applied:?}"),
        }
    }

    async fn set_options(&mut self) {
        let spec = OptionSpec::named(
            self.random
                .one_of(&[
                    "mode",
                    "max_sessions",
                    "inactive_process_timeout",
                    "inactive_session_timeout",
                    "eviction_order",
                    "cookie_name",
                ])
                .unwrap(),
        )
        .unwrap();
        let texts: &[&str] = match spec.name {
            "mode" => &["legacy", "legacy", "scalable", "none"],
            "max_sessions" => &["2", "4", "6", "9"],
            "eviction_order" => &["safe", "oldest"],
            "cookie_name" => &["A", "B"],
            _ => &["40s", "60s", "180s"],
        };
        let value = spec.parse(self.random.one_of(texts).unwrap()).unwrap();
        let value = value.filter(|_| self.random.below(4) > 0);
        let (may_end, dry_run) = (self.random.below(2) == 0, self.random.below(3) == 0);
        let (before, settings) = (self.page().await, self.store.settings().unwrap());
        let set = SetOptions {
            ordered_by: Actor::user(0),
            changes: vec![(spec, value)],
            may_end,
            dry_run,
            actor: Actor::server(),
        };
        match self.apply(Change::SetOptions(set)).await {
            Applied::OptionsSet {
                is_set,
                impact,
                evicted,
            } => {
                if !is_set {
                    assert!(dry_run || impact.ends + impact.strands > 0);
                    assert_eq!(
                        (self.page().await, self.store.settings().unwrap()),
                        (before, settings),
                        "nothing was changed"
                    );
                }
                self.ended.extend(evicted.iter().map(|id| (*id, "no room")));
            }
            applied => panic!("{applied:?}"),
        }
    }

    async fn page(&self) -> Vec<Session> {
        self.store
            .page(ListQuery::default(), self.now)
            .await
            .unwrap()
            .items
    }

    /// What processes have, what is listed of them and what the lock table says agree.
    async fn check_processes(&self, items: &[Session]) {
        let mut held = Vec::new();
        for session in items {
            let processes = self.store.processes(session.id, self.now).await.unwrap();
            assert_eq!(session.process_count as usize, processes.len());
            let locks = processes.iter().map(|process| process.locks.len());
            assert_eq!(session.lock_count as usize, locks.sum::<usize>());
            for process in &processes {
                let of = |lock: &Lock| (lock.target(), session.id, process.number, lock.fence);
                held.extend(process.locks.iter().map(of));
                let works = process.state == ProcessState::Running;
                assert!(
                    session.state != State::Closing || !works,
                    "{session:?} {process:?}"
                );
            }
        }
        held.sort();
        let locks = self.store.locks(LockQuery::default()).await.unwrap().items;
        let table: Vec<_> = locks
            .into_iter()
            .map(|lock| {
                let (table, record) = (lock.table, lock.record);
                (
                    Record { table, record },
                    lock.session,
                    lock.process,
                    lock.fence,
                )
            })
            .collect();
        assert_eq!(held, table, "each record is locked once, by whoever has it");
    }

    /// All that a restart must find again, besides what is listed and counted.
    async fn kept(&self) -> Kept {
        let mut contexts = Vec::new();
        for session in self.page().await {
            for process in self.store.processes(session.id, self.now).await.unwrap() {
                let at = At {
                    id: session.id,
                    process: process.number,
                };
                let status = self.store.process(at, self.now).await.unwrap().unwrap();
                let context = self.store.context(at, self.now).await.unwrap().unwrap();
                contexts.push((at.process, status.state, status.started_at, context));
            }
        }
        let history = self
            .store
            .history(HistoryQuery::default(), None)
            .await
            .unwrap();
        let mut saved = Vec::new();
        for (id, _) in &self.opened {
            saved.push(self.store.saved(*id, self.now).await.unwrap());
        }
        let locks = self.store.locks(LockQuery::default()).await.unwrap();
        Kept {
            contexts,
            history,
            saved,
            locks: locks
                .items
                .into_iter()
                .map(|lock| HeldLock { waiting: 0, ..lock })
                .collect(),
        }
    }

    /// What is listed, what is counted and what is refused agree.
    async fn check(&mut self) {
        let page = self
            .store
            .page(ListQuery::default(), self.now)
            .await
            .unwrap();
        let census = self.store.census().await.unwrap();
        assert_eq!(page.total, page.items.len() as u64);
        assert_eq!(
            census.active + census.suspended + census.closing,
            page.total,
            "{census:?}"
        );
        let closing = page
            .items
            .iter()
            .filter(|session| session.state == State::Closing)
            .count() as u64;
        assert_eq!(census.closing, closing);
        self.check_processes(&page.items).await;
        for session in &page.items {
            let has_ended = self.ended.contains_key(&session.id);
            assert!(
                !has_ended || session.state == State::Closing,
                "{session:?} came back: {:?}",
                self.ended
            );
        }
        for (id, token) in &self.opened {
            let seen = self
                .store
                .visit(token, Use::Look, None, self.now)
                .await
                .unwrap();
            let listed = page.items.iter().find(|session| session.id == *id);
            let is_live = listed
                .is_some_and(|session| matches!(session.state, State::Active | State::Suspended));
            assert_eq!(matches!(seen, Seen::Live(_)), is_live, "{listed:?}");
        }
    }

    /// Once all is swept, exactly those count that have a process; and nothing that is due is left.
    async fn check_swept(&mut self) {
        let actor = Actor::server();
        self.apply(Change::Expire {
            actor,
            limit: usize::MAX,
        })
        .await;
        let items = self.page().await;
        let counted = items
            .iter()
            .filter(|session| session.mode == Mode::Legacy && session.state == State::Active)
            .count();
        let census = self.store.census().await.unwrap();
        assert_eq!(census.counted, counted as u64, "{items:?}");
        let suspended = items
            .iter()
            .filter(|session| session.state == State::Suspended)
            .count();
        assert_eq!(census.suspended, suspended as u64);
        assert!(
            items.iter().all(|session| session.state != State::Expired),
            "{items:?}"
        );
    }
}

/// See [`World::kept`].
#[derive(Debug, PartialEq)]
struct Kept {
    contexts: Vec<(ProcessNumber, ProcessState, Timestamp, Context)>,
    history: HistoryPage,
    saved: Vec<Result<Saved, Unfit>>,
    locks: Vec<HeldLock>,
}

#[tokio::test]
async fn random_changes_in_memory() {
    let (mut opened, mut resumed, mut locked, mut runs, mut late) = (0, 0, 0, 0, 0);
    let mut ended: HashMap<&str, u32> = HashMap::new();
    for seed in 0..30 {
        let mut world = World::new(MemoryStore::new(options()), seed);
        for step in 0..600 {
            world.step().await;
            world.check().await;
            if step % 20 == 0 {
                world.check_swept().await;
            }
        }
        opened += world.opened.len();
        resumed += world.resumed;
        locked += world.locked;
        runs += world.runs;
        late += world.late;
        world
            .ended
            .values()
            .for_each(|how| *ended.entry(how).or_default() += 1);
    }
    // Not everything in every run, but all of it often.
    assert!(
        opened > 1_000 && resumed > 50,
        "{opened} opened, {resumed} resumed"
    );
    assert!(
        locked > 80 && runs > 300 && late > 10,
        "{locked} locks, {runs} runs, {late} of them late"
    );
    for how in [
        "evicted", "no room", "finished", "command", "logout", "dropped",
    ] {
        assert!(
            ended.get(how).is_some_and(|count| *count > 10),
            "{how}: {ended:?}"
        );
    }
}

#[tokio::test]
async fn random_changes_on_disk_with_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        SqliteStore::open(
            DataDir::exclusive(directory.path(), true).unwrap(),
            options(),
        )
        .unwrap()
    };
    let mut world = World::new(open(), 99);
    for step in 1..=1_200 {
        world.step().await;
        if step % 40 > 0 {
            continue;
        }
        world.check().await;
        world.check_swept().await;
        world.store.flush(world.now).await.unwrap();
        let (items, settings) = (world.page().await, world.store.settings().unwrap());
        // What happened is counted from each start anew.
        let standing = async |store: &SqliteStore| Census {
            tally: Tally::default(),
            ..store.census().await.unwrap()
        };
        let (census, kept) = (standing(&world.store).await, world.kept().await);
        let fences = kept.locks.iter().map(|lock| lock.fence);
        let fence = fences.max().unwrap_or(world.fence).max(world.fence);
        let World { store, .. } = world;
        drop(store);
        world = World {
            store: open(),
            fence,
            tickets: Vec::new(),
            ..world
        };
        assert_eq!(world.kept().await, kept);
        assert_eq!(world.page().await, items);
        assert_eq!(world.store.settings().unwrap(), settings);
        assert_eq!(standing(&world.store).await, census);
        assert!(world.store.latest() <= world.now && OPTIONS.len() == settings.states().len());
        world.check_swept().await;
    }
}
