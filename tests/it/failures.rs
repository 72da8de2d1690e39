//! Servers that break off, answer nonsense or never finish: the command line says which, and what may have happened.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sandbox::{FakeServer, Ran, Sandbox, answer, send};

const ID: &str = "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11";

const OTHER: &str = "6f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11";

fn outcome(outcome: &str, initiated: bool) -> Option<String> {
    outcome_of(ID, outcome, initiated)
}

fn outcome_of(id: &str, outcome: &str, initiated: bool) -> Option<String> {
    let status = if outcome == "closing" { 202 } else { 200 };
    answer(
        status,
        &format!(
            r#"{{"id":"{id}","outcome":"{outcome}","initiated":{initiated},"cause":"command"}}"#
        ),
    )
}

#[test]
fn a_close_whose_answer_never_comes_is_retried_with_the_same_request_id_and_then_unknown() {
    let sandbox = Sandbox::new();
    let server = FakeServer::answering(vec![None, None, None]);
    let ran = sandbox.run(&["--server", &server.url, "close-session", ID]);
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains(&format!("whether {ID} was closed is unknown"))
            && ran.stderr.contains("try:")
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    let request_id = |request: &str| {
        request
            .split_once("request_id")
            .map(|(_, id)| id.to_owned())
            .unwrap()
    };
    assert!(
        requests
            .iter()
            .all(|request| request_id(request) == request_id(&requests[0]))
    );
}

#[test]
fn a_retry_that_is_answered_is_the_outcome() {
    let sandbox = Sandbox::new();
    let server = FakeServer::answering(vec![None, outcome("closed", true)]);
    assert_eq!(
        sandbox
            .run(&["--server", &server.url, "close-session", ID])
            .ok(),
        format!("closed {ID}\n")
    );
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn options_whose_setting_was_not_answered_are_unknown_and_not_set_again() {
    let sandbox = Sandbox::new();
    let server = FakeServer::answering(vec![answer(200, r#"{"schema":1,"items":[]}"#), None, None]);
    let ran = sandbox.run(&[
        "--server",
        &server.url,
        "options",
        "set",
        "max_sessions",
        "5",
    ]);
    assert_eq!((ran.code, ran.stdout.as_str()), (9, ""), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("unknown") && ran.stderr.contains("options list --origin"),
        "{}",
        ran.stderr
    );
    assert_eq!(server.requests().len(), 2);
    assert!(server.requests()[1].starts_with("PATCH /v1/options?may_end=false&dry_run=false "));
}

#[test]
fn an_opening_is_never_repeated() {
    let sandbox = Sandbox::new();
    let server = FakeServer::answering(vec![None, None]);
    assert_eq!(
        sandbox.run(&["--server", &server.url, "open-session"]).code,
        9
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_close_that_does_not_finish_in_time_is_not_called_closed() {
    let sandbox = Sandbox::new();
    let server = FakeServer::answering(vec![outcome("closing", true), outcome("closing", true)]);
    let ran = sandbox.run(&["--server", &server.url, "close-session", "--wait", "1s", ID]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (8, format!("closing {ID}\n").as_str())
    );
    assert!(
        ran.stderr.contains("refused already") && ran.stderr.contains("the server stopped waiting"),
        "{}",
        ran.stderr
    );
    assert!(server.requests()[0].contains(r#""wait":1000"#));
    let ran = sandbox.run(&["--server", &server.url, "close-session", "--no-wait", ID]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, format!("closing {ID}\n").as_str(), "")
    );
}

/// No session goes on because the on-close method of another takes long.
#[test]
fn of_many_every_one_is_begun_before_any_is_waited_for() {
    let sandbox = Sandbox::new();
    let server = FakeServer::answering(vec![
        outcome("closing", true),
        outcome_of(OTHER, "closing", true),
        outcome("closed", true),
        outcome_of(OTHER, "closed", true),
    ]);
    let ran = sandbox.run(&["--server", &server.url, "close-session", ID, OTHER]);
    assert_eq!(
        (ran.code, ran.stdout),
        (0, format!("closed {ID}\nclosed {OTHER}\n"))
    );
    let requests = server.requests();
    let waits = |request: &String| !request.contains(r#""wait":0,"#);
    let asked: Vec<(bool, bool)> = requests
        .iter()
        .map(|request| (request.contains(OTHER), waits(request)))
        .collect();
    assert_eq!(
        asked,
        [(false, false), (true, false), (false, true), (true, true)]
    );
    let request_id = |request: &String| {
        let (_, id) = request.split_once(r#""request_id":""#).unwrap();
        id[..36].to_owned()
    };
    assert_eq!(request_id(&requests[0]), request_id(&requests[2]));
    assert_ne!(request_id(&requests[0]), request_id(&requests[1]));
}

#[test]
fn a_list_that_breaks_off_says_so_and_stays_readable() {
    let session = format!(
        r#"{{"id":"{ID}","kind":"web","mode":"legacy","state":"active","user":null,"ip":null,"user_agent":null,"created_at":"2026-11-22T00:00:00Z","login_at":null,"last_request_at":"2026-11-22T00:00:00Z","expires_at":"2026-11-22T08:00:00Z","idle_ms":0,"seq":1}}"#
    );
    let page = format!(
        r#"{{"schema":1,"items":[{session}],"total":2,"truncated":true,"next":1,"as_of":2}}"#
    );
    let sandbox = Sandbox::new();
    let server = FakeServer::answering(vec![answer(200, &page), None, None, None]);
    let ran = sandbox.run(&["--server", &server.url, "list", "-o", "json"]);
    assert_eq!(ran.code, 5);
    assert!(
        ran.stderr.contains("the list broke off after 1 of 2"),
        "{}",
        ran.stderr
    );
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&json["truncated"], &json["total"]),
        (&true.into(), &2.into())
    );
    assert!(server.requests()[1].contains("after=1"));
}

#[test]
fn another_programs_answers_are_not_taken_for_a_servers() {
    let sandbox = Sandbox::new();
    for body in ["<html>", "{}", r#"{"items":[]}"#] {
        let server = FakeServer::answering(vec![answer(200, body)]);
        let ran = sandbox.run(&["--server", &server.url, "list"]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("not a sessionctl server's"),
            "{}",
            ran.stderr
        );
    }
    let server = FakeServer::answering(vec![answer(404, "<html>not here")]);
    assert_eq!(
        sandbox
            .run(&["--server", &server.url, "close-session", ID])
            .code,
        1,
        "not `not found`"
    );
    let server = FakeServer::answering(vec![answer(302, "")]);
    assert_eq!(
        sandbox.run(&["--server", &server.url, "list"]).code,
        1,
        "no redirect is followed"
    );
}

/// An older server lacks what a newer command asks for; it is a sessionctl server all the same, and its log says which.
#[test]
fn a_server_of_another_version_is_not_called_a_stranger() {
    let sandbox = Sandbox::new();
    let problem = r#"{"type":"urn:sessionctl:problem:unknown-route","title":"no such route","status":404,"detail":"there is nothing at this path"}"#;
    let server = FakeServer::answering(vec![answer(404, problem)]);
    let ran = sandbox.run(&["--server", &server.url, "locks"]);
    let told = format!(
        "error: {} does not take this request: 404 no such route\n\
         try:   compare the versions: `sessionctl --version`, and what the server's log says of its start\n",
        server.url
    );
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr), (1, "", told));
    let version = sandbox.run(&["--version"]).ok();
    let _server = sandbox.serve(&[]);
    assert!(sandbox.read("log").contains(version.trim()));
}

/// Ctrl-C in the middle of a close: the first waits for the answer, the second leaves and says what is not known.
#[test]
fn a_stopped_command_says_what_it_did() {
    let sandbox = Sandbox::new();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let server = FakeServer::silent();
        let mut command = sandbox.command(&["--server", &server.url, "close-session", ID, OTHER]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut line = || stderr.next().unwrap().unwrap();
        server.wait_for_requests(1);
        send(signal, child.id());
        let stopping = format!("stopping: waiting for {ID}; once more to leave it");
        assert_eq!(line(), stopping);
        send(signal, child.id());
        let show = format!("sessionctl --server {} show {ID}", server.url);
        assert_eq!(line(), format!("unknown {ID}; {show} tells"));
        assert_eq!(line(), "closed 0, failed 0, unknown 1, not attempted 1");
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

/// Ctrl-C while closings are waited for: what is left then was not left by the server, and nothing more is asked of it.
#[test]
fn a_command_that_is_stopped_while_it_waits_blames_nobody_else() {
    let refused = |id: &str| format!("warning: the cookie of {id} is refused already, but it");
    let was_stopped = |id: &str| {
        format!(
            "{} had not finished when this command was stopped",
            refused(id)
        )
    };
    let begun = [
        outcome("closing", true),
        outcome_of(OTHER, "closing", true),
        outcome("closing", true),
    ];
    let of_other = outcome_of(OTHER, "closing", true);
    // During the first wait; during the second, when the server has answered the first before its time.
    for (mut answers, waited_for) in [
        (begun.to_vec(), ID),
        ([&begun[..], &[of_other]].concat(), OTHER),
    ] {
        let sandbox = Sandbox::new();
        let asked = answers.len();
        answers.push(None);
        let (server, release) = FakeServer::holding_back(asked, answers);
        let mut command = sandbox.command(&["--server", &server.url, "close-session", ID, OTHER]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut line = || stderr.next().unwrap().unwrap();
        server.wait_for_requests(asked);
        if waited_for == OTHER {
            let early = line();
            assert!(
                early.starts_with(&format!(
                    "{} has not finished when the server stopped waiting, after ",
                    refused(ID)
                )),
                "{early}"
            );
        }
        send("INT", child.id());
        assert_eq!(
            line(),
            format!("stopping: waiting for {waited_for}; once more to leave it")
        );
        release.send(()).unwrap();
        if waited_for == ID {
            assert_eq!(line(), was_stopped(ID));
        }
        assert_eq!(line(), was_stopped(OTHER));
        assert!(line().starts_with("note: what is still closing goes on"));
        assert_eq!(line(), "closed 2, failed 0, unknown 0, not attempted 0");
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(server.requests().len(), asked);
    }
}

/// A second Ctrl-C leaves a closing that was begun, and that it was begun is known.
#[test]
fn a_begun_closing_that_is_left_is_not_called_unknown() {
    let sandbox = Sandbox::new();
    let begun = [outcome("closing", true), outcome_of(OTHER, "closing", true)];
    let (server, release) = FakeServer::holding_back(3, [&begun[..], &[None]].concat());
    let mut command = sandbox.command(&["--server", &server.url, "close-session", ID, OTHER]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    server.wait_for_requests(3);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    send("INT", child.id());
    stderr.read_line(&mut String::new()).unwrap();
    send("INT", child.id());
    let ran = Ran::of(child.wait_with_output().unwrap());
    release.send(()).unwrap();
    assert_eq!(
        (ran.code, ran.stdout),
        (130, format!("closing {ID}\nclosing {OTHER}\n"))
    );
    let told = std::io::read_to_string(stderr).unwrap();
    assert!(
        told.contains("closed 2, failed 0, unknown 0, not attempted 0"),
        "{told}"
    );
}

/// The server dies when all are begun: what it acknowledged is not taken back, and nobody is asked for every one of them.
#[test]
fn a_begun_closing_whose_wait_breaks_off_stays_closing() {
    let begun = [outcome("closing", true), outcome_of(OTHER, "closing", true)];
    let breaks_off = || vec![None; 4];
    let all =
        "the cookies of 2 sessions are refused already; whether they have finished is unknown";
    let one = format!("the cookie of {ID} is refused already; whether it has finished is unknown");
    let other =
        format!("the cookie of {OTHER} is refused already; whether it has finished is unknown");
    let left = [ID, OTHER].map(|id| (id, "closing"));
    for (answers, requests, outcomes, told) in [
        // It is gone.
        (begun.to_vec(), 2, left, all),
        // It breaks off the first wait, each time that it is tried.
        ([&begun[..], &breaks_off()].concat(), 5, left, all),
        // It breaks off the second wait, when the first has run out.
        (
            [&begun[..], &begun[..1], &breaks_off()].concat(),
            6,
            left,
            &other,
        ),
        // It breaks off the second begin.
        (
            [&begun[..1], &breaks_off()].concat(),
            4,
            [(OTHER, "unknown"), (ID, "closing")],
            &one,
        ),
    ] {
        let sandbox = Sandbox::new();
        let server = FakeServer::answering(answers);
        let arguments = ["close-session", ID, OTHER, "-o", "jsonl"];
        let ran = sandbox.run(&[&["--server", &server.url], &arguments[..]].concat());
        let items: Vec<serde_json::Value> = ran
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let found: Vec<(&str, &str)> = items
            .iter()
            .map(|item| {
                (
                    item["id"].as_str().unwrap(),
                    item["outcome"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(found, outcomes);
        assert_eq!(ran.code, 9, "{}", ran.stderr);
        assert_eq!(server.requests().len(), requests);
        let error = format!("error: {told}\n");
        assert_eq!(ran.stderr.matches(&error).count(), 1, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("cause: ") && !ran.stderr.contains("not closed"),
            "{}",
            ran.stderr
        );
    }
}

/// A close that was sent and answered with nonsense may have been done.
#[test]
fn an_unreadable_answer_to_a_close_is_unknown() {
    let sandbox = Sandbox::new();
    for nonsense in [answer(200, "<html>"), answer(502, "<html>bad gateway")] {
        let server = FakeServer::answering(vec![nonsense]);
        let ran = sandbox.run(&["--server", &server.url, "close-session", "-o", "jsonl", ID]);
        assert_eq!(ran.code, 9, "{}", ran.stderr);
        assert!(
            ran.stdout.contains("\"outcome\":\"unknown\""),
            "{}",
            ran.stdout
        );
        let show = format!("try:   sessionctl --server {} show {ID}\n", server.url);
        assert!(ran.stderr.ends_with(&show), "{}", ran.stderr);
    }
}

/// What is advised can be pasted: it names the target as the command did, quoted for a shell.
#[test]
fn advice_names_the_same_target() {
    let sandbox = Sandbox::new();
    let data = sandbox.path("it's data");
    let local = ["--local", data.to_str().unwrap()];
    let quoted = data.to_str().unwrap().replace('\'', r"'\''");
    let local_command = format!("sessionctl --local '{quoted}'");
    sandbox.run(&[&local[..], &["open-session"]].concat()).ok();
    let advised = |target: &[&str], command: &[&str], code: i32| {
        let ran = sandbox.run(&[target, command].concat());
        assert_eq!(ran.code, code, "{}", ran.stderr);
        let (_, advice) = ran.stderr.split_once("try:   ").unwrap();
        advice.trim_end().to_owned()
    };
    let advice = |command: &str| format!("{local_command} {command}");
    let for_local = [
        (&["show", ID][..], 3, advice("list")),
        (&["history", "show", ID], 3, advice(&format!("show {ID}"))),
        (
            &["show", "nonsense"],
            2,
            format!(
                "give a UUID such as {ID}; `{}` shows them",
                advice("list -o uuid")
            ),
        ),
        (
            &["options", "set", "max_sessions", "many"],
            2,
            advice("options list"),
        ),
        (
            &["locks", "--record", "4711"],
            2,
            advice("locks --record Invoices/4711"),
        ),
    ];
    for (command, code, expected) in for_local {
        assert_eq!(advised(&local, command, code), expected);
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_sessionctl"));
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &advised(&local, &["show", ID], 3)]);
    shell.env("PATH", binary.parent().unwrap());
    assert!(Ran::of(shell.output().unwrap()).ok().starts_with("UUID "));

    let server = FakeServer::answering(vec![None]);
    let remote = ["--server", &server.url];
    let look = advised(&remote, &["open-session"], 9);
    assert_eq!(
        look,
        format!(
            "`sessionctl --server {} list` tells whether it took effect",
            server.url
        )
    );
    let files = sandbox.serve(&["--admin", "127.0.0.1:0", "--admin-token-file", "token"]);
    let remote = ["--token-file", "token", "--server", &files.admin];
    assert_eq!(
        advised(&remote, &["show", ID], 3),
        format!(
            "sessionctl --server {} --token-file token list",
            files.admin
        )
    );
}

/// A server that takes the connection and stays silent is not called absent.
#[test]
fn a_list_without_an_answer_says_so() {
    let sandbox = Sandbox::new();
    let server = FakeServer::answering(vec![None, None, None]);
    let ran = sandbox.run(&["--server", &server.url, "list"]);
    assert_eq!(ran.code, 7);
    assert!(
        ran.stderr.contains("no answer came from the server")
            && !ran.stderr.contains("sessionctl serve"),
        "{}",
        ran.stderr
    );
}
