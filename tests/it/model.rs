//! The product against a plain model of the contract: sequences of steps that proptest draws and, when one is wrong, makes
//! as short as it can. `MODEL_CASES=1000 cargo test --test it model` draws so many times as many.

use std::cell::RefCell;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use sessionctl::options::Options;
use sessionctl::session::Kind;
use tempfile::TempDir;

use crate::model_drivers::{Driver, Nowhere, OverStore, Plan};
use crate::model_registry::OverRegistry;
use crate::model_rules::{EVENTS, Model, Reached};
use crate::model_steps::{Step, Which};
use crate::places::{InMemory, OnDisk};

/// Makes everything run longer: a factor.
const CASES_VARIABLE: &str = "MODEL_CASES";

/// Steps of one sequence at most.
const LONGEST: usize = 100;

fn options() -> Options {
    let seconds = Duration::from_secs;
    Options {
        max_sessions: 5,
        inactive_process_timeout: seconds(60),
        inactive_session_timeout: seconds(180),
        absolute_session_timeout: seconds(600),
        eviction_min_idle: seconds(15),
        open_rate: None,
        ..Options::default()
    }
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => who_comes(),
        5 => who_ends(),
        12 => what_processes_do(),
        5 => what_is_done(),
    ]
}

fn who_comes() -> impl Strategy<Value = Step> {
    let pick = any::<u8>;
    let users = || select(vec!["ana", "bob"]);
    let user = select(vec![None, Some("ana"), Some("bob")]);
    let kinds = select(vec![Kind::Web, Kind::Web, Kind::Mobile]);
    let rarely = || proptest::bool::weighted(0.1);
    let enter = (proptest::option::of(pick()), any::<bool>(), rarely());
    prop_oneof![
        3 => (kinds, user).prop_map(|(kind, user)| Step::Open { kind, user }),
        4 => enter.prop_map(|(with, is_old, is_elsewhere)| Step::Enter { with, is_old, is_elsewhere }),
        3 => (pick(), rarely()).prop_map(|(with, is_elsewhere)| Step::Request { with, is_elsewhere }),
        2 => (pick(), users()).prop_map(|(pick, user)| Step::LogIn(pick, user)),
    ]
}

fn who_ends() -> impl Strategy<Value = Step> {
    let pick = any::<u8>;
    prop_oneof![
        2 => pick().prop_map(Step::Close),
        1 => pick().prop_map(Step::Drop),
        1 => pick().prop_map(Step::LogOut),
        3 => (0..80_u64).prop_map(Step::Sweep),
        1 => (0..200_u64).prop_map(Step::Sweep),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    (any::<u8>(), select(vec![1, 1, 2, 3]))
}

fn what_processes_do() -> impl Strategy<Value = Step> {
    let names = || select(vec!["a", "b/c", "🔑"]);
    let values = select(vec![
        None,
        Some("1"),
        Some("{\"x\": 1.50}"),
        Some("[\"ana\"]"),
    ]);
    prop_oneof![
        3 => any::<(u8, bool)>().prop_map(|(pick, leased)| Step::StartProcess(pick, leased)),
        1 => which().prop_map(Step::EndProcess),
        4 => (which(), names(), values).prop_map(|(which, name, value)| Step::SetVariable(which, name, value)),
        4 => (which(), names()).prop_map(|(which, name)| Step::Lock(which, name)),
        1 => (which(), names()).prop_map(|(which, name)| Step::Unlock(which, name)),
    ]
}

fn what_is_done() -> impl Strategy<Value = Step> {
    let plan = any::<(u8, u8, u8)>().prop_map(|(one, other, answers)| {
        // A quarter of the workers dies.
        Step::Work(Plan {
            dies: one & other,
            answers,
        })
    });
    prop_oneof![
        3 => plan,
        2 => an_option(),
        2 => any::<u8>().prop_map(Step::TakeSaved),
        2 => (0..40_u64).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

fn an_option() -> impl Strategy<Value = Step> {
    let settings = vec![
        ("mode", Some("legacy")),
        ("mode", Some("scalable")),
        ("mode", Some("none")),
        ("mode", None),
        ("max_sessions", Some("2")),
        ("max_sessions", Some("4")),
        ("max_sessions", None),
        ("inactive_process_timeout", Some("40s")),
        ("inactive_process_timeout", None),
        ("inactive_session_timeout", Some("50s")),
        ("inactive_session_timeout", None),
        ("eviction_order", Some("oldest")),
        ("eviction_order", None),
    ];
    let flags = (any::<bool>(), proptest::bool::weighted(0.2));
    (select(settings), flags).prop_map(|((name, text), (may_end, dry_run))| Step::SetOption {
        name,
        text,
        may_end,
        dry_run,
    })
}

/// Takes these steps in both worlds; panics where they part.
async fn walk<D: Driver>(mut driver: D, has_method: bool, steps: Vec<Step>) -> Reached {
    let mut model = Model::new(options(), has_method, driver.now());
    for step in steps {
        driver = model.step(driver, step).await;
    }
    model.compare_history(&driver).await;
    model.reached
}

/// Draws sequences, so many, and tries each: always the same ones, or others whenever there are to be more.
fn draw<D: Driver>(cases: u32, start: impl AsyncFn(bool) -> D) -> Reached {
    let factor = std::env::var(CASES_VARIABLE).ok();
    let factor: Option<u32> = factor.map(|times| times.parse().unwrap());
    let config = Config {
        cases: cases * factor.unwrap_or(1),
        failure_persistence: None,
        max_shrink_iters: 3_000,
        ..Config::default()
    };
    let mut runner = match factor {
        Some(_) => TestRunner::new(config),
        None => {
            let same = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            TestRunner::new_with_rng(config, same)
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let sequences = (any::<bool>(), vec(a_step(), 1..LONGEST));
    let all = RefCell::new(Reached::new());
    let tried = runner.run(&sequences, |(has_method, steps)| {
        let walk = async { walk(start(has_method).await, has_method, steps).await };
        for (what, count) in runtime.block_on(walk) {
            *all.borrow_mut().entry(what).or_default() += count;
        }
        Ok(())
    });
    match tried {
        Err(TestError::Fail(why, (has_method, steps))) => {
            let steps: Vec<String> = steps
                .iter()
                .map(|step| format!("\n    {step:?},"))
                .collect();
            panic!(
                "{why}\nwith a method: {has_method}, after{}",
                steps.concat()
            );
        }
        tried => tried.unwrap(),
    }
    all.into_inner()
}

/// All that the rules know of has come about in so many sequences.
fn all_came_about(all: &Reached) {
    let seldom = |what: &&&str| all.get(**what).is_none_or(|count| *count < 5);
    let missing: Vec<_> = EVENTS.iter().filter(seldom).collect();
    assert!(
        missing.is_empty(),
        "seldom or never: {missing:?} of {all:?}"
    );
}

#[test]
fn model_of_a_store_in_memory() {
    let start = async |has_method| OverStore::<Nowhere>::start(options(), has_method);
    all_came_about(&draw(1_500, start));
}

#[test]
fn model_of_a_store_on_disk() {
    let start = async |has_method| OverStore::<TempDir>::start(options(), has_method);
    draw(120, start);
}

#[test]
fn model_of_a_registry_in_memory() {
    let start = async |has_method| OverRegistry::<InMemory>::start(options(), has_method).await;
    all_came_about(&draw(800, start));
}

#[test]
fn model_of_a_registry_on_disk() {
    let start = async |has_method| OverRegistry::<OnDisk>::start(options(), has_method).await;
    draw(120, start);
}

/// Each worker lives, and its method answers.
const ALL_WORK: Step = Step::Work(Plan {
    dies: 0,
    answers: u8::MAX,
});

/// A session of one user, then of another, whose time is over before the method has run for the first one's process: what it
/// leaves then is not for the other one, who comes with the dead cookie and signs in again.
#[tokio::test]
async fn what_a_late_run_leaves_of_one_user_is_not_for_the_next() {
    let enter = |with| Step::Enter {
        with,
        is_old: false,
        is_elsewhere: false,
    };
    let steps = vec![
        enter(None),
        Step::LogIn(1, "ana"),
        Step::Sweep(60),
        Step::LogIn(1, "bob"),
        Step::Sweep(60),
        Step::Sweep(180),
        ALL_WORK,
        enter(Some(1)),
        Step::LogIn(2, "bob"),
        Step::TakeSaved(2),
    ];
    walk(
        OverStore::<Nowhere>::start(options(), true),
        true,
        steps.clone(),
    )
    .await;
    walk(OverStore::<TempDir>::start(options(), true), true, steps).await;
}
