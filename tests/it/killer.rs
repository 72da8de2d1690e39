//! kill -9, again and again, while clients open, write, lock, sign in and close: what was acknowledged is true after every
//! restart, and nothing else is (C03, C05, C08, C09, C15–C17, S08, S09, S11, S12, S41).
//!
//! `KILLER_ROUNDS` makes it run for so many rounds, `KILLER_SECONDS` for so long; `KILLER_SEED` makes the clients draw the
//! same numbers again.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionctl::admin::Admin as _;
use sessionctl::clock::{Clock as _, SystemClock};
use sessionctl::error::Error;
use sessionctl::on_close::{Invocation, RunKey};
use sessionctl::session::SessionId;
use sessionctl::token::Token;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::killer_clients::{KillerClient, Shared, Target, Ways};
use crate::killer_copies::Copying;
use crate::killer_deaths::{Deaths, pause, stall};
use crate::killer_history::{Answer, Asked, Event, Histories, Moment};
use crate::killer_look::{Found, remembered};
use crate::random_changes::Random;
use crate::sandbox::{Sandbox, Server};
use crate::store_commands::check_whole;

/// Clients that work at the same time.
const CLIENTS: u64 = 12;

/// Clients that only look: nothing keeps them from asking while everybody else waits for the disk.
const WATCHERS: u64 = 3;

/// Sessions that have ended long ago, of which each round looks at so many.
const LOOKED_AT_AGAIN: usize = 16;

/// After so long, a slow machine need not make as many rounds as others.
const LONGEST: Duration = Duration::from_secs(240);

/// Time for methods that are pending to run at the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A method that keeps what it is told in one write, and then does badly now and then.
const METHOD: &str = r#"#!/bin/sh
document=$(cat)
printf '%s %s\n' "$SESSIONCTL_ON_CLOSE" "$document" >> KEPT
case $SESSIONCTL_ON_CLOSE in
*0/*) sleep 0.2 ;;
*1/*) exit 3 ;;
*2/*) echo nonsense ;;
*3/*) echo '{"saved": "information"}' ;;
*44/*) sleep 5 ;;
esac
"#;

/// A server that is killed, and what is known of it.
struct Killer {
    sandbox: Sandbox,
    arguments: Vec<String>,
    has_method: bool,
    server: Server,
    ways: Arc<Ways>,
    /// The clients' threads.
    runtime: Runtime,
    histories: Histories,
    random: Random,
    seed: u64,
    moment: Moment,
    retries: Vec<(SessionId, Uuid)>,
    /// Bytes of what the method has kept that were read.
    read: u64,
    /// What the last start took.
    start_up: Duration,
    tried: Tried,
}

/// How much was tried, so that a test in which nothing happens does not pass.
#[derive(Debug, Default)]
struct Tried {
    rounds: usize,
    opened: usize,
    signed_in: usize,
    put: usize,
    locked: usize,
    ended: usize,
    unanswered: usize,
    ran: usize,
    late: usize,
    copied: usize,
    deaths: Deaths,
}

impl Tried {
    /// Of so many rounds, some must have come at bad moments.
    fn must_be_enough(&self, least: usize) {
        let Self {
            rounds,
            unanswered,
            copied,
            deaths,
            ..
        } = self;
        let Deaths {
            starting,
            alone,
            stopping,
            in_peace,
        } = deaths;
        let is_enough = *rounds >= least && unanswered > rounds && *copied > 0;
        let is_all = [starting, alone, stopping, in_peace]
            .iter()
            .all(|died| **died > 0);
        assert!(is_enough && is_all, "fewer than {least} rounds: {self:?}");
    }

    fn count(&mut self, events: &[Event]) {
        for event in events {
            match (&event.asked, &event.answer) {
                (_, Answer::None) => self.unanswered += 1,
                (Asked::LogIn { .. }, Answer::Opened(..)) => self.signed_in += 1,
                (_, Answer::Opened(..)) => self.opened += 1,
                (Asked::Put(..), Answer::Done) => self.put += 1,
                (_, Answer::Locked(_)) => self.locked += 1,
                (_, Answer::Ended(_)) | (Asked::LogOut { .. }, Answer::Done) => self.ended += 1,
                _ => {}
            }
        }
    }
}

fn serve(sandbox: &Sandbox, arguments: &[String]) -> (Server, Arc<Ways>) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = sandbox.serve(&arguments);
    let token = |name: &str| {
        let text = fs::read_to_string(sandbox.path(name)).unwrap();
        Token::parse(text.trim()).unwrap()
    };
    let ways = Ways::to(&server, &token("admin-token"), &token("app-token"));
    (server, Arc::new(ways))
}

fn write_method(sandbox: &Sandbox) -> PathBuf {
    let method = sandbox.path("on-close");
    let kept = sandbox.path("kept");
    fs::write(&kept, "").unwrap();
    let text = METHOD.replace("KEPT", kept.to_str().unwrap());
    fs::write(&method, text).unwrap();
    fs::set_permissions(&method, fs::Permissions::from_mode(0o700)).unwrap();
    method
}

impl Killer {
    fn new(seed: u64, has_method: bool) -> Self {
        let sandbox = Sandbox::new();
        let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
        let (admin_token, app_token) = (path("admin-token"), path("app-token"));
        let mut arguments: Vec<String> = [
            ["--admin", "127.0.0.1:0"],
            ["--admin-token-file", &admin_token],
            ["--app-token-file", &app_token],
            ["--max-sessions", "1000000"],
            ["--open-rate", "off"],
            ["--closing-grace-period", "300ms"],
            ["--closing-time-limit", "1s"],
            ["--on-close-time-limit", "3s"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
        if has_method {
            let method = write_method(&sandbox);
            arguments.extend(["--on-close".into(), method.to_str().unwrap().into()]);
        }
        let (server, ways) = serve(&sandbox, &arguments);
        Self {
            sandbox,
            arguments,
            has_method,
            server,
            ways,
            runtime: Runtime::new().unwrap(),
            histories: Histories::default(),
            random: Random(seed),
            seed,
            moment: 1,
            retries: Vec::new(),
            read: 0,
            start_up: Duration::from_millis(50),
            tried: Tried::default(),
        }
    }

    /// Lets clients work, kills the server under their hands, starts another, and looks at what is there.
    fn round(&mut self) {
        let shared = Arc::new(Shared::since(
            self.moment,
            self.targets(),
            self.histories.held(),
            std::mem::take(&mut self.retries),
        ));
        let (mut events, copying) = self.work_and_kill(&shared);
        // Before the next start, which waits for nobody who reads.
        let copied = copying.map(|copying| copying.finish(&shared));
        check_whole(&self.sandbox);
        self.restart();
        self.moment = shared.moment();
        for event in &mut events {
            // What was not answered can take effect no more.
            event.span.until = event.span.until.min(self.moment);
        }
        events.sort_by_key(|event| event.span.asked);
        let unanswered = events.iter().filter_map(unanswered_close);
        self.retries = unanswered.collect();
        self.tried.rounds += 1;
        self.tried.count(&events);
        self.moment = shared.moment();
        let mut faults = self.histories.take(&events);
        if let Some(copied) = copied {
            faults.extend(self.histories.compare_copy(&copied));
            self.tried.copied += 1;
        }
        let found = self.look();
        faults.extend(self.histories.compare(&found, self.moment));
        self.moment = shared.moment();
        self.catch_up(&mut faults);
        self.histories.retire(self.has_method);
        let stories = &self.histories.stories;
        self.retries.retain(|(id, _)| stories.contains_key(id));
        self.report(&faults, &events);
    }

    fn work_and_kill(&mut self, shared: &Arc<Shared>) -> (Vec<Event>, Option<Copying>) {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let seed = self.random.next();
                KillerClient::new(&self.ways, shared, seed, number < WATCHERS)
            })
            .map(|client| self.runtime.spawn(client.work()))
            .collect();
        let is_long = self.random.below(8) == 0;
        pause(&mut self.random, if is_long { 600 } else { 150 });
        let copying = (self.random.below(10) == 0).then(|| Copying::begin(&self.sandbox, shared));
        if self.random.below(4) == 0 {
            // From here on nothing is opened or ended: the last numbers are those of what processes do.
            shared.is_quiet.store(true, Ordering::SeqCst);
            pause(&mut self.random, 60);
        }
        let stalled = (self.random.below(3) == 0).then(|| stall(&self.sandbox));
        pause(&mut self.random, if is_long { 300 } else { 40 });
        shared.is_dying.store(true, Ordering::SeqCst);
        let can_stop = stalled.is_none();
        let (server, random) = (&mut self.server, &mut self.random);
        self.tried.deaths.end(server, random, can_stop);
        drop(stalled);
        shared.is_dead();
        let events = clients
            .into_iter()
            .map(|client| self.runtime.block_on(client));
        let events = events
            .flat_map(|events| events.unwrap_or_else(|_| panic!("{}", self.how_again())))
            .collect();
        (events, copying)
    }

    /// Starts the next server; now and then one dies before it is ready, or while it does what the one before has left.
    fn restart(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        while self.random.below(3) == 0 {
            let (random, start_up) = (&mut self.random, self.start_up);
            let deaths = &mut self.tried.deaths;
            deaths.start_and_end(&self.sandbox, &arguments, random, start_up);
            check_whole(&self.sandbox);
        }
        let begun = SystemClock.now();
        (self.server, self.ways) = serve(&self.sandbox, &self.arguments);
        self.start_up = SystemClock.now().since(begun);
    }

    /// What the clients know at the beginning of a round.
    fn targets(&self) -> Vec<Target> {
        let stories = self.histories.stories.iter();
        let targets = stories.map(|(id, story)| {
            let there = story.processes.iter();
            let there = there.filter(|(_, process)| !process.has_ended);
            Target {
                id: *id,
                kind: story.kind,
                tokens: story.tokens(),
                processes: there.map(|(number, _)| *number).collect(),
                is_over: story.is_over,
                is_dead: story.is_over,
            }
        });
        targets.collect()
    }

    fn look(&mut self) -> Found {
        let again: Vec<&Vec<String>> = self.histories.retired.values().collect();
        let again: Vec<String> = match again.len() {
            0 => Vec::new(),
            length => (0..LOOKED_AT_AGAIN)
                .map(|_| usize::try_from(self.random.below(length as u64)).unwrap())
                .flat_map(|index| again[index].clone())
                .collect(),
        };
        let tokens = self
            .histories
            .stories
            .values()
            .flat_map(|story| story.tokens());
        let tokens: Vec<String> = tokens.chain(again).collect();
        self.runtime.block_on(Found::by(&self.ways, tokens))
    }

    /// Reads what the method has kept since the last time, and what the history tells of sessions that are over.
    fn catch_up(&mut self, faults: &mut Vec<String>) {
        for (key, document) in self.documents() {
            self.tried.ran += usize::from(document.is_some());
            let is_late = document.as_ref().is_some_and(|document| document.late);
            self.tried.late += usize::from(is_late);
            faults.extend(self.histories.ran(key, document.as_ref()));
        }
        let over = self.histories.over();
        let ended = self.runtime.block_on(async {
            let mut ended = Vec::new();
            for id in over {
                match self.ways.admin.closed(id).await {
                    Ok(entry) => ended.push(entry),
                    Err(Error::NotFound(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            ended
        });
        for entry in ended {
            faults.extend(self.histories.has_ended(entry));
        }
    }

    /// Runs with their documents. Whoever was started by a server that was killed then has read none.
    fn documents(&mut self) -> Vec<(RunKey, Option<Invocation>)> {
        if !self.has_method {
            return Vec::new();
        }
        let mut kept = fs::File::open(self.sandbox.path("kept")).unwrap();
        kept.seek(SeekFrom::Start(self.read)).unwrap();
        let mut text = String::new();
        kept.read_to_string(&mut text).unwrap();
        // One may be in the middle of its line.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        let lines = text[..whole].lines();
        lines.map(|line| run(line).expect(line)).collect()
    }

    /// Waits for what is pending after the last restart, and looks at everything once more.
    fn finish(&mut self) {
        let clock = SystemClock;
        let until = clock.now().plus(PATIENCE);
        let mut faults = Vec::new();
        loop {
            self.catch_up(&mut faults);
            let missing = self.histories.missing(self.has_method);
            let closing = self
                .runtime
                .block_on(self.ways.admin.stats())
                .unwrap()
                .closing;
            if missing.is_empty() && closing == 0 {
                break;
            }
            if clock.now() > until {
                faults.extend(missing);
                faults.push(format!("{closing} sessions are closing"));
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let found = self.look();
        faults.extend(self.histories.compare(&found, self.moment));
        self.histories.retire(self.has_method);
        let remembered = self.runtime.block_on(remembered(&self.ways));
        let retired = self.histories.retired.keys();
        let forgotten = retired.filter(|id| !remembered.contains(id));
        faults.extend(forgotten.map(|id| format!("{id} is not in the history any more")));
        self.report(&faults, &[]);
    }

    fn how_again(&self) -> String {
        let seed = self.seed;
        format!("KILLER_SEED={seed} (round {})", self.tried.rounds)
    }

    fn report(&self, faults: &[String], events: &[Event]) {
        if faults.is_empty() {
            return;
        }
        let told = faults.join("\n");
        let about = events.iter().map(|event| format!("{event:?}"));
        let about: Vec<String> = about
            .filter(|event| ids(event).any(|id| told.contains(id)))
            .take(400)
            .collect();
        panic!(
            "{}\n{told}\n-- what was asked of them\n{}",
            self.how_again(),
            about.join("\n")
        );
    }
}

/// A line that the method has kept.
fn run(line: &str) -> Option<(RunKey, Option<Invocation>)> {
    let (key, document) = line.split_once(' ')?;
    let (session, process) = key.split_once('/')?;
    let key = RunKey {
        session: session.parse().ok()?,
        process: process.parse().ok()?,
    };
    match document {
        "" => Some((key, None)),
        document => Some((key, Some(serde_json::from_str(document).ok()?))),
    }
}

/// The UUIDs in a text.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_hexdigit() && c != '-')
        .filter(|word| word.len() == 36)
}

fn unanswered_close(event: &Event) -> Option<(SessionId, Uuid)> {
    match (&event.asked, &event.answer) {
        (Asked::Close { id, request, .. }, Answer::None) => Some((*id, *request)),
        _ => None,
    }
}

/// How many rounds are to be made, and how many a slow machine makes at least.
struct Rounds {
    wanted: usize,
    least: usize,
}

/// Kills servers in so many rounds, or for as long as the environment says.
fn kill_for(rounds: &Rounds, has_method: bool) -> Tried {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let clock = SystemClock;
    let by_time = || u64::try_from(clock.now().as_millis()).unwrap();
    let seed = number("KILLER_SEED").unwrap_or_else(by_time);
    let asked_for = number("KILLER_ROUNDS").map(|rounds| usize::try_from(rounds).unwrap());
    let seconds = number("KILLER_SECONDS").map(Duration::from_secs);
    let wanted = asked_for.unwrap_or(match seconds {
        Some(_) => usize::MAX,
        None => rounds.wanted,
    });
    // Whoever asks for rounds gets them, however long they take.
    let until = match (seconds, asked_for) {
        (Some(seconds), _) => Some(clock.now().plus(seconds)),
        (None, Some(_)) => None,
        (None, None) => Some(clock.now().plus(LONGEST)),
    };
    tell(&format!("KILLER_SEED={seed} begins"));
    let mut killer = Killer::new(seed, has_method);
    while killer.tried.rounds < wanted && until.is_none_or(|until| clock.now() < until) {
        killer.round();
    }
    killer.finish();
    let tried = killer.tried;
    tell(&format!("KILLER_SEED={seed}: {tried:?}"));
    if seconds.is_none() && asked_for.is_none() {
        tried.must_be_enough(rounds.least);
    }
    tried
}

#[expect(
    clippy::print_stderr,
    reason = "whoever reads of a failure, or of a long run, wants to know"
)]
fn tell(text: &str) {
    eprintln!("{text}");
}

#[test]
fn s41_what_was_acknowledged_survives_kill_9_and_every_method_runs() {
    let rounds = Rounds {
        wanted: 240,
        least: 150,
    };
    let tried = kill_for(&rounds, true);
    let Tried {
        opened,
        signed_in,
        put,
        locked,
        ended,
        ran,
        ..
    } = tried;
    assert!(
        opened > 8 && signed_in > 2 && put > 8 && locked > 4 && ended > 4 && ran > 2,
        "too little was tried: {tried:?}"
    );
}

#[test]
fn what_was_acknowledged_survives_kill_9_without_a_method() {
    let rounds = Rounds {
        wanted: 80,
        least: 50,
    };
    let tried = kill_for(&rounds, false);
    assert!(
        tried.opened > 8 && tried.ended > 2,
        "too little was tried: {tried:?}"
    );
}
