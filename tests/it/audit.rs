//! The audit record (S32): what operators order is in it, durable with what it tells of; nothing in it is changed unnoticed.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use sessionctl::admin::{Actor, Admin, AuditQuery, EndRequest, OpenRequest, SetRequest};
use sessionctl::audit::{Action, AuditRecord};
use sessionctl::options::Value as OptionValue;
use sessionctl::session::{Cause, SessionId};
use sessionctl::sessions::Sessions as _;
use uuid::Uuid;

use crate::places::{BehindServer, InMemory, OnDisk, Place, Work, browser, in_every_place, roomy};
use crate::sandbox::Sandbox;

in_every_place!(everywhere { InMemory, OnDisk, BehindServer } {
    s32_what_operators_order_is_in_the_record,
    what_was_not_ordered_is_not_in_it,
    a_record_is_told_page_by_page,
});

async fn records<P: Place>(place: &P) -> Vec<AuditRecord> {
    let page = place.admin().audit(AuditQuery::default()).await.unwrap();
    assert!(!page.truncated);
    page.items
}

fn by(reason: &str) -> EndRequest {
    EndRequest {
        reason: Some(reason.to_owned().try_into().unwrap()),
        request_id: Some(Uuid::from_u128(7)),
        ..EndRequest::by(Actor::user(0))
    }
}

async fn open<P: Place>(place: &P) -> SessionId {
    let request = OpenRequest {
        user: Some("ana".into()),
        actor: Some(Actor::user(0)),
        ..browser()
    };
    Admin::open(place.admin(), request)
        .await
        .unwrap()
        .session
        .id
}

async fn s32_what_operators_order_is_in_the_record<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let (closed, dropped) = (open(&place).await, open(&place).await);
    place.clock().advance(Duration::from_secs(5));
    place.admin().close(closed, by("ticket 88")).await.unwrap();
    place
        .admin()
        .drop_session(dropped, by("in the way"))
        .await
        .unwrap();
    let set = SetRequest {
        changes: vec![
            ("cookie_name".into(), None),
            ("max_sessions".into(), Some(OptionValue::Number(50))),
        ],
        may_end: true,
        dry_run: false,
        actor: Actor::user(0),
    };
    place.admin().set_options(set).await.unwrap();
    let records = records(&place).await;
    let told: Vec<(Action, Option<SessionId>, Option<&str>)> = records
        .iter()
        .rev()
        .map(|record| {
            let order = &record.order;
            (order.action, order.session, order.detail.as_deref())
        })
        .collect();
    assert_eq!(
        told,
        [
            (Action::OpenSession, Some(closed), None),
            (Action::OpenSession, Some(dropped), None),
            (Action::CloseSession, Some(closed), Some("ticket 88")),
            (Action::DropSession, Some(dropped), Some("in the way")),
            (
                Action::SetOptions,
                None,
                Some("cookie_name reset, max_sessions=50")
            ),
        ]
    );
    let order = &records[2].order;
    assert_eq!(order.user.as_deref(), Some("ana"));
    assert_eq!(
        (order.at, order.request_id),
        (place.now(), Some(Uuid::from_u128(7)))
    );
    for record in &records {
        let is_known = ["uid:0", "token:admin"].contains(&record.order.actor.as_str());
        assert!(is_known, "{record:?}");
    }
    let verdict = place.admin().verify_audit().await.unwrap();
    assert_eq!((verdict.records, verdict.broken_at), (5, None));
    assert_eq!(verdict.last, Some(records[0].hash));
}

async fn what_was_not_ordered_is_not_in_it<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    // A client comes and goes, another one's time is over.
    let (_, token) = place.enter().await;
    place.web().log_out(&token).await.unwrap();
    let (late, _) = place.enter().await;
    place.clock().advance(Duration::from_secs(24 * 3600));
    place.registry().sweep().await.unwrap();
    // Nothing is changed by a second close, by an unknown UUID, by a dry run.
    place.close(late).await;
    place.close(SessionId::random()).await;
    let set = SetRequest {
        changes: vec![("max_sessions".into(), Some(OptionValue::Number(50)))],
        may_end: false,
        dry_run: true,
        actor: Actor::user(0),
    };
    place.admin().set_options(set).await.unwrap();
    assert_eq!(records(&place).await, []);
    assert_eq!(place.admin().verify_audit().await.unwrap().records, 0);
    let entry = place.admin().closed(late).await.unwrap();
    assert_eq!(entry.cause, Cause::Inactive, "history has it all the same");
}

async fn a_record_is_told_page_by_page<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    for _ in 0..5 {
        open(&place).await;
    }
    let all = records(&place).await;
    let mut found: Vec<AuditRecord> = Vec::new();
    loop {
        let query = AuditQuery {
            before: found.last().map(|record| record.seq),
            limit: Some(2),
        };
        let page = place.admin().audit(query).await.unwrap();
        let is_last = !page.truncated;
        found.extend(page.items);
        if is_last {
            break;
        }
    }
    assert_eq!(found, all);
}

#[tokio::test]
async fn s48_a_command_without_a_server_is_in_the_record_too() {
    let sandbox = Sandbox::new();
    let id = sandbox.open_locally(&["--user", "ana"]).to_string();
    let data = sandbox.data();
    let local = ["--local", data.to_str().unwrap()];
    let run = |arguments: &[&str]| sandbox.run(&[&local, arguments].concat());
    run(&["close-session", "--reason", "ticket 88", &id]).ok();
    let told = run(&["audit", "-o", "jsonl"]).ok();
    let records: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 2, "{told}");
    assert_eq!(records[0]["action"], json!("close_session"));
    assert_eq!(records[0]["detail"], json!("ticket 88"));
    assert_eq!(records[1]["action"], json!("open_session"));
    assert!(records[1]["actor"].as_str().unwrap().starts_with("uid:"));
    assert_eq!(run(&["audit"]).ok().lines().count(), 3, "with its header");
    assert_eq!(run(&["audit", "-q"]).ok().trim(), id, "each session once");
    assert!(
        run(&["audit", "verify"])
            .ok()
            .starts_with("ok    2 records, ")
    );
    assert_eq!(run(&["audit", "verify", "-o", "json", "-q"]).code, 0);
}

#[test]
fn s32_a_changed_record_is_told_of() {
    let sandbox = Sandbox::new();
    let mut server = sandbox.serve(&[]);
    for _ in 0..3 {
        let id = sandbox.run(&["open-session"]).ok();
        sandbox.run(&["close-session", id.trim()]).ok();
    }
    // What was acknowledged survives what ends the server.
    server.signal("KILL");
    server.wait();
    let data = sandbox.data();
    let verify = || {
        let local = ["--local", data.to_str().unwrap(), "audit", "verify"];
        sandbox.run(&local)
    };
    assert!(verify().ok().starts_with("ok    6 records, "));
    let disk = Connection::open(data.join("sessions.sqlite")).unwrap();
    let changed = "UPDATE audit SET actor = 'uid:12345' WHERE seq = (SELECT min(seq) FROM audit)";
    assert_eq!(disk.execute(changed, []).unwrap(), 1);
    let ran = verify();
    assert_eq!((ran.code, ran.stdout.as_str()), (10, ""));
    assert!(
        ran.stderr.contains("the audit record was changed: record "),
        "{}",
        ran.stderr
    );
}
