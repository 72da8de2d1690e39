//! The killer's checker finds what is wrong: small histories that are made up, most of which cannot be.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value as Made, json};
use sessionctl::admin::{HistoryEntry, Outcome};
use sessionctl::context::{Context, Json, Lock, Name, Record};
use sessionctl::on_close::{Invocation, RunKey};
use sessionctl::session::{HeldLock, Kind, ProcessNumber, Seq, SessionDetails, SessionId};
use uuid::Uuid;

use crate::killer_history::{Answer, Asked, Event, Histories, Moment, Slot, Span, Value};
use crate::killer_look::Found;

const AT: &str = "2026-11-23T01:00:00.000Z";

/// The moment of the restart.
const NOW: Moment = 1_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn record() -> Record {
    Record {
        table: name("Invoices"),
        record: name("1"),
    }
}

fn lock(fence: u64) -> Lock {
    let made = json!({"table": "Invoices", "record": "1", "since": AT, "fence": fence});
    serde_json::from_value(made).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Events one after another, of two mobile sessions with a process each.
pub(crate) struct Tale {
    pub(crate) one: SessionId,
    pub(crate) two: SessionId,
    pub(crate) events: Vec<Event>,
}

impl Tale {
    pub(crate) fn new() -> Self {
        Self::of(SessionId::random(), SessionId::random())
    }

    fn of(one: SessionId, two: SessionId) -> Self {
        let mut tale = Self {
            one,
            two,
            events: Vec::new(),
        };
        for (id, token) in [(one, "token of one"), (two, "token of two")] {
            let open = Asked::Open {
                kind: Kind::Mobile,
                user: None,
            };
            let start = Asked::Start {
                id,
                is_leased: false,
            };
            tale = tale
                .with(open, Answer::Opened(id, token.into()))
                .with(start, Answer::Started(ProcessNumber(1)));
        }
        tale
    }

    /// The next event, after all the others.
    fn with(mut self, asked: Asked, answer: Answer) -> Self {
        let moment = 10 * (self.events.len() as u64 + 1);
        let until = match answer {
            Answer::None => NOW,
            _ => moment + 5,
        };
        self.events.push(Event {
            span: Span {
                asked: moment,
                until,
            },
            asked,
            answer,
        });
        self
    }

    fn one(&self) -> RunKey {
        RunKey {
            session: self.one,
            process: ProcessNumber(1),
        }
    }

    fn two(&self) -> RunKey {
        RunKey {
            session: self.two,
            ..self.one()
        }
    }

    fn put(self, value: Value, answer: Answer) -> Self {
        let slot = Slot::Variable(name("cart"));
        let put = Asked::Put(self.one(), slot, value);
        self.with(put, answer)
    }

    fn lock(self, key: RunKey, fence: u64) -> Self {
        let record = record();
        let wait = Duration::ZERO;
        let asked = Asked::Lock { key, record, wait };
        self.with(asked, Answer::Locked(lock(fence)))
    }

    fn unlock(self, key: RunKey) -> Self {
        self.with(Asked::Unlock(key, record()), Answer::Done)
    }

    fn log_in(self, token: &str) -> Self {
        let (id, user) = (self.one, "ana".into());
        let answer = Answer::Opened(id, token.into());
        self.with(Asked::LogIn { id, user }, answer)
    }

    fn end_process(self) -> Self {
        let end = Asked::EndProcess(self.one());
        self.with(end, Answer::Done)
    }

    fn close(self, outcome: Made) -> Self {
        let (id, request, wait) = (self.one, Uuid::new_v4(), Duration::ZERO);
        let answer = self.outcome(outcome);
        self.with(Asked::Close { id, request, wait }, answer)
    }

    fn drop_session(self, outcome: Made) -> Self {
        let (id, request) = (self.one, Uuid::new_v4());
        let answer = self.outcome(outcome);
        self.with(Asked::Drop { id, request }, answer)
    }

    pub(crate) fn closed(self) -> Self {
        self.close(json!({"outcome": "closed", "initiated": true, "cause": "command"}))
    }

    fn dropped(self) -> Self {
        self.drop_session(json!({"outcome": "closed", "initiated": true, "cause": "dropped"}))
    }

    fn outcome(&self, mut made: Made) -> Answer {
        made["id"] = json!(self.one);
        let outcome: Outcome = serde_json::from_value(made).unwrap();
        Answer::Ended(outcome)
    }

    /// What is there if all is well: both sessions, with what they have and the locks that they hold.
    fn found(&self, context: Context, held: &[(RunKey, u64)]) -> Found {
        let mut found = Found {
            as_of: Seq(NOW),
            ..Found::default()
        };
        for (key, has) in [(self.one(), context), (self.two(), Context::default())] {
            let id = key.session;
            found.sessions.insert(id, live(id));
            found.contexts.insert(key, has);
        }
        for (holder, fence) in held {
            found.locks.push(held_by(*holder, *fence));
            if let Some(context) = found.contexts.get_mut(holder) {
                context.locks.push(lock(*fence));
            }
        }
        let accepted = [("token of one", true), ("token of two", true)];
        found.accepted = accepted.map(|(token, is)| (token.into(), is)).into();
        found
    }

    /// What is there when the first session has ended.
    fn found_without(&self) -> Found {
        let mut found = self.found(Context::default(), &[]);
        found.sessions.remove(&self.one);
        found.contexts.remove(&self.one());
        found.accepted.insert("token of one".into(), false);
        found
    }

    fn check(self, found: &Found) -> Verdict {
        let one = self.one();
        let mut histories = Histories::default();
        let mut faults = histories.take(&self.events);
        faults.extend(histories.compare(found, NOW));
        Verdict {
            one,
            histories,
            faults,
        }
    }
}

/// What the checker says.
struct Verdict {
    one: RunKey,
    histories: Histories,
    faults: Vec<String>,
}

impl Verdict {
    fn ran(mut self, variables: Made) -> Self {
        let document = self.document(variables);
        let fault = self.histories.ran(self.one, Some(&document));
        self.faults.extend(fault);
        self
    }

    fn document(&self, variables: Made) -> Invocation {
        let made = json!({
            "schema": 1,
            "key": self.one.to_string(),
            "session": {"id": self.one.session, "kind": "mobile", "user": null, "ip": null, "user_agent": null,
                "created_at": AT, "last_request_at": AT},
            "process": {"number": 1, "started_at": AT},
            "context": {"variables": variables, "selections": {}, "locks": []},
            "cause": "command", "reason": null, "actor": "token:admin", "closed_at": AT, "late": false,
        });
        serde_json::from_str(&made.to_string()).unwrap()
    }

    fn remembered(mut self, cause: &str) -> Self {
        let made = json!({
            "id": self.one.session, "kind": "mobile", "mode": "legacy", "user": null, "ip": null, "user_agent": null,
            "created_at": AT, "login_at": null, "last_request_at": AT, "begun_at": AT, "closed_at": AT,
            "expires_at": AT, "cause": cause, "reason": null, "actor": "token:admin", "seq": 9,
            "on_close": [{"process": 1, "result": "succeeded", "took_ms": 1, "late": false}],
        });
        let entry: HistoryEntry = serde_json::from_value(made).unwrap();
        self.faults.extend(self.histories.has_ended(entry));
        self
    }

    fn must_be_fine(self) {
        let missing = self.histories.missing(true);
        assert_eq!((self.faults, missing), (Vec::new(), Vec::new()));
    }

    /// Something is wrong, and the checker says so in these words.
    fn must_be_wrong(self, words: &str) {
        let is_said = self.faults.iter().any(|fault| fault.contains(words));
        assert!(is_said, "{words:?} in {:?}", self.faults);
    }

    fn must_miss(self, words: &str) {
        assert_eq!(self.faults, Vec::<String>::new());
        let missing = self.histories.missing(true);
        let is_said = missing.iter().any(|missing| missing.contains(words));
        assert!(is_said, "{words:?} in {missing:?}");
    }
}

fn live(id: SessionId) -> SessionDetails {
    let made = json!({
        "id": id, "kind": "mobile", "mode": "legacy", "state": "active", "user": null, "ip": null, "user_agent": null,
        "created_at": AT, "login_at": null, "last_request_at": AT, "expires_at": AT, "idle_ms": 0, "seq": 1,
        "processes": [{"number": 1, "state": "running", "started_at": AT, "lease_until": null, "variables": [],
            "selections": [], "locks": []}],
    });
    serde_json::from_value(made).unwrap()
}

fn held_by(holder: RunKey, fence: u64) -> HeldLock {
    let made = json!({
        "table": "Invoices", "record": "1", "session": holder.session, "process": holder.process, "user": null,
        "since": AT, "fence": fence, "waiting": 0,
    });
    serde_json::from_value(made).unwrap()
}

fn cart(value: &str) -> Context {
    let mut context = Context::default();
    let value = Json::new(value).unwrap();
    context.variables.insert(name("cart"), value);
    context
}

fn nothing() -> Context {
    Context::default()
}

#[test]
fn a_variable_that_was_acknowledged_is_there() {
    let tale = || Tale::new().put(text("1"), Answer::Done);
    let found = |context| {
        let tale = tale();
        let found = tale.found(context, &[]);
        tale.check(&found)
    };
    found(cart("1")).must_be_fine();
    found(nothing()).must_be_wrong("Nothing is in Variable");
    found(cart("2")).must_be_wrong("is in Variable");
    let mut other = cart("1");
    other
        .variables
        .insert(name("other"), Json::new("1").unwrap());
    found(other).must_be_wrong("nobody has put");
}

#[test]
fn what_was_not_answered_may_be_there_or_not_but_not_both() {
    let unanswered = |context: Context| {
        let tale = Tale::new()
            .put(text("1"), Answer::Done)
            .put(text("2"), Answer::None);
        let found = tale.found(context, &[]);
        (tale.check(&found), found)
    };
    unanswered(cart("1")).0.must_be_fine();
    unanswered(cart("2")).0.must_be_fine();
    unanswered(nothing())
        .0
        .must_be_wrong("Nothing is in Variable");
    // Once it was seen, it stays.
    let (mut verdict, mut found) = unanswered(cart("2"));
    verdict.faults = verdict.histories.compare(&found, NOW + 1);
    assert_eq!(verdict.faults, Vec::<String>::new());
    found.contexts.insert(verdict.one, cart("1"));
    verdict.faults = verdict.histories.compare(&found, NOW + 2);
    verdict.must_be_wrong("is in Variable");
}

#[test]
fn a_deletion_that_was_acknowledged_is_not_undone() {
    for (context, is_fine) in [(nothing(), true), (cart("1"), false)] {
        let tale = Tale::new()
            .put(text("1"), Answer::Done)
            .put(Value::Nothing, Answer::Done);
        let found = tale.found(context, &[]);
        let verdict = tale.check(&found);
        if is_fine {
            verdict.must_be_fine();
        } else {
            verdict.must_be_wrong("is in Variable");
        }
    }
}

#[test]
fn a_value_that_was_read_stays() {
    let tale = Tale::new().put(text("1"), Answer::None);
    let look = Asked::Look(tale.one());
    let tale = tale.with(look, Answer::Context(cart("1")));
    let found = tale.found(nothing(), &[]);
    tale.check(&found).must_be_wrong("Nothing is in Variable");
}

#[test]
fn a_session_that_was_opened_is_there_until_its_end_is_asked_for() {
    let tale = Tale::new();
    let found = tale.found_without();
    tale.check(&found)
        .must_be_wrong("an acknowledged session is gone");
    let tale = Tale::new();
    let mut found = tale.found(nothing(), &[]);
    let stranger = SessionId::random();
    found.sessions.insert(stranger, live(stranger));
    tale.check(&found).must_be_wrong("nobody has opened");
}

#[test]
fn a_session_that_was_closed_does_not_come_back() {
    let tale = Tale::new().closed();
    let found = tale.found(nothing(), &[]);
    tale.check(&found).must_be_wrong("came back");
    let tale = Tale::new().closed();
    let mut found = tale.found_without();
    found.accepted.insert("token of one".into(), true);
    tale.check(&found).must_be_wrong("is let in");
    let tale = Tale::new().closed().put(text("1"), Answer::Done);
    let found = tale.found_without();
    tale.check(&found).must_be_wrong("that is over took it");
    let check = |id| Asked::Check {
        id,
        token: "token of one".into(),
        touches: true,
    };
    let tale = Tale::new().closed();
    let tale = {
        let check = check(tale.one);
        tale.with(check, Answer::Accepted)
    };
    let found = tale.found_without();
    tale.check(&found)
        .must_be_wrong("a dead token was accepted");
    let tale = Tale::new();
    let check = check(tale.one);
    let tale = tale.with(check, Answer::NotAccepted);
    let found = tale.found(nothing(), &[]);
    tale.check(&found).must_be_wrong("a live token was refused");
}

#[test]
fn a_log_in_replaces_the_token_and_the_user_together() {
    let found = |user: &str, accepted: &str| {
        let tale = Tale::new().log_in("fresh");
        let mut found = tale.found(nothing(), &[]);
        let session = &mut found.sessions.get_mut(&tale.one).unwrap().session;
        session.user = (!user.is_empty()).then(|| user.into());
        let tokens = ["token of one", "fresh"];
        let accepted = tokens.map(|token| (token.to_owned(), token == accepted));
        found.accepted.extend(HashMap::from(accepted));
        tale.check(&found)
    };
    found("ana", "fresh").must_be_fine();
    found("ana", "token of one").must_be_wrong("that was replaced");
    found("ana", "").must_be_wrong("a live token is refused");
    found("", "fresh").must_be_wrong("is signed in");
}

#[test]
fn a_process_is_there_until_it_ends() {
    let tale = Tale::new();
    let mut found = tale.found(nothing(), &[]);
    found.sessions.get_mut(&tale.one).unwrap().processes.clear();
    found.contexts.remove(&tale.one());
    tale.check(&found).must_be_wrong("process 1 is gone");
    let tale = Tale::new().end_process();
    let found = tale.found(nothing(), &[]);
    tale.check(&found).must_be_wrong("it has ended and is back");
}

#[test]
fn a_record_has_one_holder() {
    let tale = Tale::new();
    let (one, two) = (tale.one(), tale.two());
    let found = |held: &[(RunKey, u64)]| {
        let tale = Tale::of(one.session, two.session).lock(one, 7);
        let found = tale.found(nothing(), held);
        tale.check(&found)
    };
    found(&[(one, 7)]).must_be_fine();
    found(&[]).must_be_wrong("is held by None");
    found(&[(one, 6)]).must_be_wrong("is held by");
    found(&[(two, 7)]).must_be_wrong("is held by");
    found(&[(one, 7), (two, 8)]).must_be_wrong("held twice");
}

#[test]
fn a_record_passes_on_when_its_holder_lets_go_and_its_fence_grows() {
    let tale = Tale::new();
    let (one, two) = (tale.one(), tale.two());
    let tale = tale.lock(one, 7).unlock(one).lock(two, 8);
    let found = tale.found(nothing(), &[(two, 8)]);
    tale.check(&found).must_be_fine();

    let tale = Tale::new();
    let (one, two) = (tale.one(), tale.two());
    let tale = tale.lock(one, 7).lock(two, 8);
    let found = tale.found(nothing(), &[(two, 8)]);
    tale.check(&found).must_be_wrong("was held by two");

    let tale = Tale::new();
    let (one, two) = (tale.one(), tale.two());
    let tale = tale.lock(one, 7).unlock(one).lock(two, 5);
    let found = tale.found(nothing(), &[(two, 5)]);
    tale.check(&found).must_be_wrong("a fence went back");

    let tale = Tale::new();
    let one = tale.one();
    let tale = tale.lock(one, 7).unlock(one);
    let mut found = tale.found(nothing(), &[]);
    found.as_of = Seq(6);
    tale.check(&found).must_be_wrong("numbers go back");

    let tale = Tale::new();
    let one = tale.one();
    let tale = tale.lock(one, 7).unlock(one);
    let found = tale.found(nothing(), &[(one, 7)]);
    tale.check(&found).must_be_wrong("is in Lock");
}

#[test]
fn the_method_runs_for_every_process_of_a_session_that_was_closed() {
    let closed = || {
        let tale = Tale::new().put(text("1"), Answer::Done).closed();
        let found = tale.found_without();
        tale.check(&found)
    };
    let cart = || json!({"cart": 1});
    closed().ran(cart()).remembered("command").must_be_fine();
    closed()
        .remembered("command")
        .must_miss("the method has not run for process 1");
    closed().ran(cart()).must_miss("it is not in the history");
    closed()
        .ran(json!({}))
        .must_be_wrong("Nothing is in Variable");
    closed()
        .ran(cart())
        .remembered("inactive")
        .must_be_wrong("the cause is inactive");
    closed()
        .ran(cart())
        .remembered("dropped")
        .must_be_wrong("the cause is dropped");
}

#[test]
fn the_method_runs_for_nobody_else() {
    let tale = Tale::new();
    let found = tale.found(nothing(), &[]);
    tale.check(&found)
        .ran(json!({}))
        .must_be_wrong("nobody has closed it");

    let tale = Tale::new().dropped();
    let found = tale.found_without();
    tale.check(&found)
        .ran(json!({}))
        .must_be_wrong("nobody has closed it");

    let tale = Tale::new().end_process().closed();
    let found = tale.found_without();
    let verdict = tale.check(&found).remembered("command");
    verdict.must_be_fine();

    let tale = Tale::new().end_process().closed();
    let found = tale.found_without();
    let verdict = tale.check(&found).ran(json!({}));
    verdict.must_be_wrong("the process had ended by itself");
}

#[test]
fn a_drop_that_cut_a_closing_short_may_have_come_before_its_method() {
    let cut_short = || {
        let closing = json!({"outcome": "closing", "initiated": true, "cause": "command"});
        let cut = json!({"outcome": "closed", "initiated": false, "cause": "dropped"});
        let tale = Tale::new().close(closing).drop_session(cut);
        let found = tale.found_without();
        tale.check(&found).remembered("dropped")
    };
    cut_short().must_be_fine();
    cut_short().ran(json!({})).must_be_fine();
}

#[test]
fn one_call_begins_an_ending() {
    let tale = Tale::new().closed().closed();
    let found = tale.found_without();
    tale.check(&found).must_be_wrong("began more than once");
    let nobody = json!({"outcome": "already_closed", "initiated": false, "cause": "command"});
    let tale = Tale::new().close(nobody);
    let found = tale.found_without();
    tale.check(&found)
        .must_be_wrong("nobody has begun the ending");
}
