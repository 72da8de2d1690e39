//! What holds whoever goes first: threads that end, touch, rotate and wait at the same time, in thousands of orders that the
//! model checker `shuttle` chooses at every lock and atomic (`store/sync`). Deadlocks fail too: nobody waits for ever.
//!
//! Each scenario runs on the live set alone, where a change is one step, and on the one with a queue before a disk, where
//! what is decided is shown only later, by another thread. The seed of a run that fails is printed; with it in
//! `SHUTTLE_RANDOM_SEED`, or the printed schedule given to `shuttle::replay`, the same order comes again.

mod closings;
mod locks;
mod logins;
mod places;
mod room;
mod touches;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread;
use shuttle::{Config, Runner};

use self::places::{Place, Start};
use super::{Applied, Change, End, Found, NewSession, Part, Seen, Unfit};
use crate::application::At;
use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::on_close::RunKey;
use crate::options::{Layer, OptionSpec, Settings, add};
use crate::session::{Cause, Kind, ProcessNumber, Session, SessionId};
use crate::token::TokenHash;

/// Orders that each scenario is run in, in each place and by each way to choose one.
const ORDERS: usize = 500;

/// Points at which the second way lets somebody else go first: most races need one or two.
const SURPRISES: usize = 3;

/// More than the deepest call chain of a debug build needs.
const STACK: usize = 256 * 1024;

/// An instant in the manual time of the scenarios.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + 1_000 * seconds)
}

fn id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16]).unwrap()
}

fn token(number: u8) -> TokenHash {
    TokenHash::from_bytes([number; 32])
}

/// The first process of a session.
fn first_of(number: u8) -> At {
    At {
        id: id(number),
        process: ProcessNumber(1),
    }
}

/// Settings with these options, and the defaults for the rest.
fn with(options: &[(&str, &str)]) -> Settings {
    let mut layer = Layer::new();
    for (name, text) in options {
        let spec = OptionSpec::named(name).unwrap();
        add(&mut layer, spec, text).unwrap();
    }
    Settings::new(Layer::new(), layer).unwrap()
}

/// Runs a scenario in many orders, in both places.
fn in_all_orders(
    options: &[(&str, &str)],
    scenario: impl Fn(&Place) + Copy + Send + Sync + 'static,
) {
    for start in [places::memory as Start, places::before_a_disk] {
        let settings = with(options);
        explore(move || {
            let house = start(settings.clone());
            scenario(house.place());
            house.stop();
        });
    }
}

/// Runs something in many orders.
fn explore(scenario: impl Fn() + Clone + Send + Sync + 'static) {
    fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) {
        let mut config = Config::new();
        config.stack_size = STACK;
        // Only sequential consistency is modelled; the reason for each weaker order stands where it is used.
        config.silence_warnings = true;
        Runner::new(scheduler, config).run(scenario);
    }
    run(RandomScheduler::new(ORDERS), scenario.clone());
    run(PctScheduler::new(SURPRISES, ORDERS), scenario);
}

/// Does something at the same time as the rest of the scenario.
fn meanwhile<T: Send + 'static>(
    place: &Place,
    act: impl FnOnce(&Place) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let place = Arc::clone(place);
    thread::spawn(move || act(&place))
}

/// Something that has happened, seen by the others without giving the scheduler a turn.
#[derive(Clone, Default)]
struct Flag(Arc<AtomicBool>);

impl Flag {
    fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn lower(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    fn is_up(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

fn newcomer(number: u8, kind: Kind) -> Change {
    Change::Open(NewSession {
        ordered_by: None,
        id: id(number),
        token_hash: token(number),
        kind,
        user: None,
        ip: None,
        user_agent: None,
        idle_timeout: None,
        previous: None,
        actor: Actor::server(),
    })
}

/// Opens a web session; its id, its token and its first process have the same number.
fn open(place: &Place, number: u8, now: Timestamp) -> Session {
    match place.apply(newcomer(number, Kind::Web), now) {
        Applied::Opened(session, _) => session,
        applied => panic!("{applied:?}"),
    }
}

fn end(number: u8, request: Option<u128>) -> End {
    End {
        id: id(number),
        cause: Cause::Command,
        reason: None,
        actor: Actor::user(1000),
        request_id: request.map(uuid::Uuid::from_u128),
    }
}

/// Closes a session, or drops it; what the call had to do with it.
fn end_by(place: &Place, change: Change, now: Timestamp) -> (Part, Found) {
    match place.apply(change, now) {
        Applied::Ended { found, part } => (part, found),
        applied => panic!("{applied:?}"),
    }
}

fn close(place: &Place, number: u8, now: Timestamp) -> (Part, Found) {
    end_by(place, Change::BeginClose(end(number, None)), now)
}

/// Ends the first process of a session whose closing has begun, as the closing worker does.
fn finish(place: &Place, number: u8, now: Timestamp) {
    let At { id, process } = first_of(number);
    let key = RunKey {
        session: id,
        process,
    };
    let change = Change::FinishProcess {
        key,
        run: None,
        saved: None,
    };
    assert!(matches!(place.apply(change, now), Applied::Done));
}

/// Does what is due; the sessions whose closing it began.
fn expire(place: &Place, now: Timestamp) -> Vec<SessionId> {
    let change = Change::Expire {
        actor: Actor::server(),
        limit: 100,
    };
    match place.apply(change, now) {
        Applied::Expired { closed, .. } => closed,
        applied => panic!("{applied:?}"),
    }
}

fn is_live(seen: &Seen) -> bool {
    matches!(seen, Seen::Live(_))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap()
}
