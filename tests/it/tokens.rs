//! Admin tokens (S30, S31): whom they let in, for what, until when; and account of who was not let in (S32).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sessionctl::access::{Access, AccessRefusal, MintedToken, Role, TokenRequest};
use sessionctl::admin::{Actor, Admin, AuditQuery};
use sessionctl::audit::Action;
use sessionctl::error::Error;
use sessionctl::token::Token;

use crate::places::{BehindServer, Durable, InMemory, OnDisk, Place, Work, in_every_place, roomy};
use crate::sandbox::{Ran, Sandbox, Server, parsed, request, send, wait_for};

in_every_place!(everywhere { InMemory, OnDisk, BehindServer } {
    s31_a_token_lets_in_until_its_time_is_over,
    s31_a_revoked_token_lets_nobody_in,
    a_name_is_one_tokens,
    s32_tokens_and_refusals_are_in_the_record,
});

in_every_place!(durably { OnDisk, BehindServer } {
    s31_tokens_survive_a_restart,
});

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn mint<P: Place>(place: &P, name: &str, role: Role) -> MintedToken {
    let request = TokenRequest {
        name: name.parse().unwrap(),
        role,
        lifetime: Some(DAY),
        actor: Actor::user(0),
    };
    place.admin().create_token(request).await.unwrap()
}

/// The role that a token has now.
async fn role_of<P: Place>(place: &P, secret: &Token) -> Option<Role> {
    let grant = place.registry().identify(&secret.hash()).await.unwrap();
    grant.map(|grant| grant.role)
}

async fn s31_a_token_lets_in_until_its_time_is_over<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let MintedToken { token, secret } = mint(&place, "ci", Role::Closer).await;
    assert_eq!(token.expires_at, Some(place.now().plus(DAY)));
    assert_eq!(place.admin().tokens().await.unwrap(), [token]);
    assert_eq!(role_of(&place, &secret).await, Some(Role::Closer));
    assert_eq!(role_of(&place, &Token::mint().unwrap()).await, None);
    place.clock().advance(DAY - Duration::from_millis(1));
    assert_eq!(role_of(&place, &secret).await, Some(Role::Closer));
    place.clock().advance(Duration::from_millis(1));
    assert_eq!(role_of(&place, &secret).await, None);
    // Whoever looks sees that its time is over.
    assert_eq!(place.admin().tokens().await.unwrap().len(), 1);
    let forever = TokenRequest {
        name: "forever".parse().unwrap(),
        role: Role::Viewer,
        lifetime: None,
        actor: Actor::user(0),
    };
    let MintedToken { secret, .. } = place.admin().create_token(forever.clone()).await.unwrap();
    place.clock().advance(5_000 * DAY);
    assert_eq!(role_of(&place, &secret).await, Some(Role::Viewer));
    for lifetime in [Duration::ZERO, Duration::from_secs(59), 3_653 * DAY] {
        let request = TokenRequest {
            lifetime: Some(lifetime),
            ..forever.clone()
        };
        let refused = place.admin().create_token(request).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{lifetime:?}");
    }
}

async fn s31_a_revoked_token_lets_nobody_in<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let [one, other] = [
        mint(&place, "one", Role::Admin).await,
        mint(&place, "other", Role::App).await,
    ];
    let revoke = |name: &str| {
        place
            .admin()
            .revoke_token(name.parse().unwrap(), Actor::user(0))
    };
    revoke("one").await.unwrap();
    assert_eq!(role_of(&place, &one.secret).await, None);
    assert_eq!(role_of(&place, &other.secret).await, Some(Role::App));
    assert_eq!(place.admin().tokens().await.unwrap(), [other.token]);
    let unknown = revoke("one").await;
    assert!(matches!(unknown, Err(Error::NoToken { name }) if name == "one"));
    // The name is free; the old secret stays dead.
    let again = mint(&place, "one", Role::Viewer).await;
    assert_eq!(role_of(&place, &one.secret).await, None);
    assert_eq!(role_of(&place, &again.secret).await, Some(Role::Viewer));
}

async fn a_name_is_one_tokens<P: Place>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let kept = mint(&place, "ci", Role::Viewer).await;
    let request = TokenRequest {
        name: "ci".parse().unwrap(),
        role: Role::Admin,
        lifetime: Some(DAY),
        actor: Actor::user(0),
    };
    let refused = place.admin().create_token(request).await;
    assert!(matches!(refused, Err(Error::TokenExists { name }) if name == "ci"));
    assert_eq!(place.admin().tokens().await.unwrap(), [kept.token]);
    assert_eq!(role_of(&place, &kept.secret).await, Some(Role::Viewer));
}

fn guess() -> AccessRefusal {
    AccessRefusal {
        source: Actor::unknown("192.0.2.7").coming("tcp 192.0.2.7"),
        request: "GET /v1/sessions".into(),
        session: None,
        why: "not authenticated".into(),
        is_guess: true,
    }
}

async fn s32_tokens_and_refusals_are_in_the_record<P: Place>() {
    let place = P::start(roomy(), Work::Regular).await;
    mint(&place, "ci", Role::Closer).await;
    let revoked = place
        .admin()
        .revoke_token("ci".parse().unwrap(), Actor::user(0));
    revoked.await.unwrap();
    for number in 0..25 {
        let refused = place.registry().refused(guess()).await;
        assert_eq!(refused.is_err(), number >= 20, "{number}");
    }
    let record = async || {
        let page = place.admin().audit(AuditQuery::default()).await.unwrap();
        let told = page.items.into_iter().rev().map(|record| {
            let order = record.order;
            (order.action, order.detail.unwrap())
        });
        told.collect::<Vec<_>>()
    };
    // The first refusal is in the record before it is answered.
    let until = place.now().plus(DAY);
    let expected = [
        (
            Action::CreateToken,
            format!("ci, role closer, until {until}"),
        ),
        (Action::RevokeToken, "ci".into()),
        (
            Action::RefuseAccess,
            "GET /v1/sessions: not authenticated".into(),
        ),
    ];
    assert_eq!(record().await, expected);
    place.clock().advance(Duration::from_secs(61));
    let all = loop {
        let told = record().await;
        if told.len() > expected.len() {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(all[3], (Action::RefuseAccess, "24 more within 60 s".into()));
    // And its next minute begins anew.
    assert!(place.registry().refused(guess()).await.is_ok());
}

async fn s31_tokens_survive_a_restart<P: Durable>() {
    let place = P::start(roomy(), Work::ByHand).await;
    let [kept, revoked] = [
        mint(&place, "kept", Role::Closer).await,
        mint(&place, "revoked", Role::Closer).await,
    ];
    let name = "revoked".parse().unwrap();
    place
        .admin()
        .revoke_token(name, Actor::user(0))
        .await
        .unwrap();
    let place = place.restart().await;
    assert_eq!(role_of(&place, &kept.secret).await, Some(Role::Closer));
    assert_eq!(role_of(&place, &revoked.secret).await, None);
    assert_eq!(place.admin().tokens().await.unwrap(), [kept.token]);
}

/// A server on a port, and how its first operator asks it.
struct OnAPort {
    server: Server,
    target: Vec<String>,
    secret: String,
}

impl OnAPort {
    fn new(sandbox: &Sandbox) -> Self {
        let file = sandbox.path("admin.token").display().to_string();
        let server = sandbox.serve(&["--admin", "127.0.0.1:0", "--admin-token-file", &file]);
        let target = ["--server", &server.admin, "--token-file", &file];
        Self {
            target: target.map(str::to_owned).into(),
            secret: sandbox.read("admin.token").trim().into(),
            server,
        }
    }

    fn run(&self, sandbox: &Sandbox, arguments: &[&str]) -> Ran {
        sandbox.run(&with(&self.target, arguments))
    }

    /// What an application asks; it must not be refused.
    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let (status, body) = self.server.ask(method, path, Some(&self.secret), body);
        assert!(status < 300, "{method} {path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or_default()
    }
}

fn with<'a>(target: &'a [String], arguments: &[&'a str]) -> Vec<&'a str> {
    let target = target.iter().map(String::as_str);
    target.chain(arguments.iter().copied()).collect()
}

#[test]
fn s31_a_token_is_made_used_and_revoked() {
    let sandbox = Sandbox::new();
    let admin = OnAPort::new(&sandbox);
    let run = |arguments: &[&str]| admin.run(&sandbox, arguments);
    let file = sandbox.path("ci.token").display().to_string();
    let made = run(&[
        "token", "create", "--name", "ci", "--role", "closer", "--out", &file,
    ]);
    assert_eq!((made.code, made.stdout.as_str()), (0, ""));
    assert!(
        made.stderr.starts_with("token ci (closer) is good until "),
        "{}",
        made.stderr
    );
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = fs::read_to_string(&file).unwrap();
    let ci: Vec<String> = ["--server", &admin.server.admin, "--token-file", &file]
        .map(str::to_owned)
        .into();
    let id = run(&["open-session", "--user", "ana"]).ok();
    let id = id.trim();
    let list = sandbox.run(&with(&ci, &["list", "-q"])).ok();
    assert_eq!(list, format!("{id}\n"));
    let denied = sandbox.run(&with(&ci, &["options", "set", "max_sessions", "5"]));
    assert_eq!(denied.code, 4);
    assert!(
        denied.stderr.contains("the role closer is not enough"),
        "{}",
        denied.stderr
    );
    let closed = sandbox.run(&with(&ci, &["close-session", id])).ok();
    assert_eq!(closed, format!("closed {id} (ana)\n"));
    let entry = parsed(&run(&["history", "show", id, "-o", "json"]).ok());
    assert_eq!(entry["actor"], "token:ci");
    // Taken: neither another token nor a file that nobody needs.
    let other = sandbox.path("other.token").display().to_string();
    let taken = run(&[
        "token", "create", "--name", "ci", "--role", "admin", "--out", &other,
    ]);
    assert_eq!(taken.code, 6, "{}", taken.stderr);
    assert!(taken.stderr.contains("token revoke ci") && !sandbox.path("other.token").exists());
    let exists = run(&[
        "token", "create", "--name", "two", "--role", "app", "--out", &file,
    ]);
    assert_eq!(exists.code, 1, "{}", exists.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), secret);
    let listed = parsed(&run(&["token", "list", "-o", "json"]).ok());
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(
        (&listed["items"][0]["name"], &listed["items"][0]["role"]),
        (&json!("ci"), &json!("closer"))
    );
    assert_eq!(run(&["token", "list", "-q"]).ok(), "ci\n");
    assert_eq!(run(&["token", "revoke", "ci"]).ok(), "revoked ci\n");
    let refused = sandbox.run(&with(&ci, &["list"]));
    assert_eq!((refused.code, refused.stdout.as_str()), (4, ""));
    let unknown = run(&["token", "revoke", "ci"]);
    assert_eq!(unknown.code, 3);
    assert!(
        unknown.stderr.contains("no token is called ci"),
        "{}",
        unknown.stderr
    );
    // S03: the secret is nowhere but in its file.
    for place in ["log", "state/sessions.sqlite", "state/sessions.sqlite-wal"] {
        let bytes = fs::read(sandbox.path(place)).unwrap();
        let secret = secret.trim().as_bytes();
        let is_secret = |window: &[u8]| window == secret;
        assert!(!bytes.windows(secret.len()).any(is_secret), "{place}");
    }
    let audit = run(&["audit"]).ok();
    for told in [
        "create_token",
        "revoke_token",
        "refuse_access",
        "tcp 127.0.0.1",
        "token:ci",
    ] {
        assert!(audit.contains(told), "{told}: {audit}");
    }
    assert_eq!(run(&["audit", "verify"]).code, 0);
}

#[test]
fn a_token_is_shown_once_on_stdout_and_in_json() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let made = sandbox.run(&[
        "token",
        "create",
        "--name",
        "a",
        "--role",
        "viewer",
        "--expires",
        "never",
    ]);
    assert!(Token::parse(made.stdout.trim()).is_some());
    assert_eq!(
        made.stderr,
        "token a (viewer) is good without an end; it is shown this once\n"
    );
    let made = sandbox.run(&[
        "token", "create", "--name", "b", "--role", "app", "-q", "-o", "json",
    ]);
    let body = parsed(&made.stdout);
    assert!(Token::parse(body["secret"].as_str().unwrap()).is_some());
    assert_eq!(
        (made.stderr.as_str(), &body["token"]["role"]),
        ("", &json!("app"))
    );
    for wrong in [
        &["--name", "c", "--role", "root"][..],
        &["--name", "admin", "--role", "viewer"],
        &["--name", "a b", "--role", "viewer"],
        &["--name", "c", "--role", "viewer", "--expires", "soon"],
        &["--name", "c", "--role", "viewer", "--expires", "1s"],
        &["--name", "c"],
    ] {
        let ran = sandbox.run(&[&["token", "create"], wrong].concat());
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (2, ""),
            "{wrong:?}: {}",
            ran.stderr
        );
    }
    assert_eq!(sandbox.run(&["token", "list", "-q"]).ok(), "a\nb\n");
    assert_eq!(sandbox.run(&["token", "list", "-o", "uuid"]).code, 2);
    drop(server);
    // Without a server, the same.
    let data = sandbox.data().display().to_string();
    let local = |arguments: &[&str]| sandbox.run(&[&["--local", &data], arguments].concat());
    assert_eq!(local(&["token", "revoke", "a"]).ok(), "revoked a\n");
    let made = local(&["token", "create", "--name", "c", "--role", "closer"]);
    let secret = sandbox.path("c.token");
    fs::write(&secret, made.ok()).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let admin = OnAPort::new(&sandbox);
    let secret = secret.display().to_string();
    let listed = sandbox.run(&[
        "--server",
        &admin.server.admin,
        "--token-file",
        &secret,
        "list",
    ]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
}

/// Whoever stops the command leaves no token behind that nobody has: it is made, and kept, or neither.
#[test]
fn a_token_is_kept_although_the_command_is_told_to_stop() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    server.signal("STOP");
    let file = sandbox.path("kept");
    let arguments = [
        "token", "create", "--name", "kept", "--role", "viewer", "--out", "kept",
    ];
    let mut command = sandbox.command(&arguments);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the file", || file.exists().then_some(()));
    send("INT", child.id());
    server.signal("CONT");
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(Token::parse(fs::read_to_string(&file).unwrap().trim()).is_some());
    assert_eq!(sandbox.run(&["token", "list", "-q"]).ok(), "kept\n");
}

/// S31: whoever guesses is slowed down; whoever has a token, or the socket, is not.
#[test]
fn s31_guessing_is_slowed_down() {
    let sandbox = Sandbox::new();
    let admin = OnAPort::new(&sandbox);
    let guess = || {
        let bearer = format!("Bearer {}", Token::mint().unwrap().expose());
        let headers = [("Authorization", bearer.as_str())];
        request(&admin.server.admin, "GET", "/v1/sessions", &headers, "").unwrap()
    };
    let mut statuses: Vec<u16> = (0..30).map(|_| guess().0).collect();
    statuses.dedup();
    assert_eq!(statuses, [401, 429]);
    let (_, head, body) = guess();
    assert!(head.contains("retry-after: "), "{head}");
    let body: Value = parsed(&body);
    assert_eq!(body["type"], "urn:sessionctl:problem:too-many-attempts");
    assert_eq!(admin.run(&sandbox, &["list"]).code, 0);
}

/// S31: what comes after a revocation comes too late, also the rest of a request that had begun before.
#[test]
fn s31_the_rest_of_a_request_comes_too_late_for_its_token() {
    let sandbox = Sandbox::new();
    let admin = OnAPort::new(&sandbox);
    let run = |arguments: &[&str]| admin.run(&sandbox, arguments);
    let secret = run(&["token", "create", "--name", "stolen", "--role", "admin"]).ok();
    let body = r#"{"name":"heir","role":"admin","lifetime":null}"#;
    let address = admin.server.admin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        secret.trim(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..10]).unwrap();
    // Whether the server has read the head already does not matter: either way the rest comes too late.
    assert_eq!(run(&["token", "revoke", "stolen"]).ok(), "revoked stolen\n");
    stream.write_all(&body.as_bytes()[10..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(run(&["token", "list", "-q"]).ok(), "");
}

/// S32: what an operator does on the application's routes is in the record; what the application does there is its daily work.
#[test]
fn s32_an_operator_who_acts_as_an_application_is_in_the_record() {
    let sandbox = Sandbox::new();
    let admin = OnAPort::new(&sandbox);
    let app = admin
        .run(
            &sandbox,
            &["token", "create", "--name", "a", "--role", "app"],
        )
        .ok();
    let opened = admin.ask("POST", "/v1/sessions", r#"{"user":"ana"}"#);
    let id = opened["session"]["id"].as_str().unwrap();
    let variable = format!("/v1/sessions/{id}/processes/1/variables/cart");
    let deeds = || {
        let listed = admin.run(&sandbox, &["audit", "-o", "json"]).ok();
        let items = parsed(&listed)["items"].as_array().unwrap().clone();
        let is_deed = |record: &Value| record["action"] == "act_as_application";
        items.into_iter().filter(is_deed).collect::<Vec<_>>()
    };
    for (method, body) in [("PUT", "1"), ("GET", ""), ("DELETE", "")] {
        let (status, _) = admin.server.ask(method, &variable, Some(app.trim()), body);
        assert!(status < 300, "{method}: {status}");
    }
    assert_eq!(deeds(), Vec::<Value>::new());
    admin.ask("PUT", &variable, "2");
    admin.ask("GET", &variable, "");
    admin.ask("GET", &format!("/v1/sessions/{id}/processes/1"), "");
    let deeds = deeds();
    let route = "/v1/sessions/{id}/processes/{process}/variables/{name}";
    let told: Vec<_> = deeds
        .iter()
        .map(|deed| deed["detail"].as_str().unwrap())
        .collect();
    assert_eq!(told, [format!("GET {route}"), format!("PUT {route}")]);
    assert!(
        deeds
            .iter()
            .all(|deed| deed["session"] == id && deed["actor"] == "token:admin")
    );
}

/// S32: one record that nobody can read any more hides none of the others, and is what `verify` is for.
#[test]
fn s32_a_record_that_cannot_be_read_hides_no_other() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    for name in ["a", "b", "c"] {
        sandbox
            .run(&["token", "create", "--name", name, "--role", "viewer"])
            .ok();
    }
    let disk = rusqlite::Connection::open(sandbox.data().join("sessions.sqlite")).unwrap();
    let second = "seq = (SELECT seq FROM audit ORDER BY seq LIMIT 1 OFFSET 1)";
    for change in [
        "action = 'nonsense'",
        "action = 'create_token', hash = x'00'",
    ] {
        let sql = format!("UPDATE audit SET {change} WHERE {second}");
        assert_eq!(disk.execute(&sql, []).unwrap(), 1);
        let verified = sandbox.run(&["audit", "verify"]);
        assert_eq!(verified.code, 10, "{change}: {}", verified.stderr);
        let listed = sandbox.run(&["audit"]).ok();
        assert_eq!(listed.matches("create_token").count(), 2, "{listed}");
        assert_eq!(listed.matches("unreadable").count(), 1, "{listed}");
    }
    drop(server);
}

/// S16, S31: whoever waits with a token that is revoked waits no longer, and is told no more.
#[test]
fn s31_requests_that_wait_end_with_their_token() {
    let sandbox = Sandbox::new();
    let admin = OnAPort::new(&sandbox);
    let run = |arguments: &[&str]| admin.run(&sandbox, arguments);
    let opened = admin.ask("POST", "/v1/sessions", r#"{"kind":"mobile","user":"ana"}"#);
    let id = opened["session"]["id"].as_str().unwrap();
    let processes = format!("/v1/sessions/{id}/processes");
    for _ in 0..2 {
        admin.ask("POST", &processes, "{}");
    }
    let create = |name: &str| run(&["token", "create", "--name", name, "--role", "app"]).ok();
    let secret = create("one");
    let bearer = format!("Bearer {}", secret.trim());
    admin.ask("PUT", &format!("{processes}/1/locks/Invoices/1"), "");
    let polls = [
        ("GET", format!("{processes}/1?wait=50s")),
        ("PUT", format!("{processes}/2/locks/Invoices/1?wait=50s")),
    ];
    let waiting = polls.map(|(method, path)| {
        let (address, bearer) = (admin.server.admin.clone(), bearer.clone());
        std::thread::spawn(move || {
            let headers = [("Authorization", bearer.as_str()), ("Content-Length", "0")];
            request(&address, method, &path, &headers, "").unwrap().0
        })
    });
    wait_for("both to wait", || {
        let locks = parsed(&run(&["locks", "-o", "json"]).ok());
        (locks["items"][0]["waiting"] == 1).then_some(())
    });
    assert_eq!(run(&["token", "revoke", "one"]).ok(), "revoked one\n");
    for ended in waiting {
        assert_eq!(ended.join().unwrap(), 401);
    }
    let locks = parsed(&run(&["locks", "-o", "json"]).ok());
    assert_eq!(locks["items"][0]["waiting"], 0, "{locks}");
}

/// The user and the group that nobody is, on every Debian.
const NOBODY: u32 = 65_534;

/// S27: other users of the machine come in by the roles that the server's file gives their groups, and by nothing else.
#[test]
fn s27_groups_have_roles_on_the_socket() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test asks as another user: run it as root"
    );
    let sandbox = Sandbox::new();
    fs::set_permissions(sandbox.path(""), fs::Permissions::from_mode(0o711)).unwrap();
    let socket = sandbox.path("open/admin.sock");
    let address = format!("unix:{}", socket.display());
    let config = sandbox.path("server.toml");
    let serve = |roles: &str| {
        fs::write(&config, format!("[group_roles]\n{roles}\n")).unwrap();
        sandbox.serve(&["--config", config.to_str().unwrap(), "--admin", &address])
    };
    let as_nobody = |method: &str, path: &str| {
        let url = format!("http://localhost{path}");
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method]);
        curl.arg("--unix-socket").arg(&socket).arg(url);
        let ran = curl
            .uid(NOBODY)
            .gid(NOBODY)
            .current_dir("/")
            .output()
            .unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };
    let id = {
        let server = serve("nogroup = \"viewer\"");
        let id = server.open(&json!({"user": "ana"}));
        assert_eq!(as_nobody("GET", "/v1/sessions"), "200");
        assert_eq!(as_nobody("DELETE", &format!("/v1/sessions/{id}")), "403");
        assert_eq!(as_nobody("GET", "/v1/audit"), "403");
        id
    };
    let server = serve("nogroup = \"closer\"\nroot = \"admin\"");
    assert_eq!(as_nobody("DELETE", &format!("/v1/sessions/{id}")), "202");
    let show = ["--server", &address, "history", "show", &id, "-o", "json"];
    let entry = wait_for("the end", || {
        let shown = sandbox.run(&show);
        (shown.code == 0).then_some(shown.stdout)
    });
    assert_eq!(parsed(&entry)["actor"], format!("uid:{NOBODY}"));
    drop(server);
    // Nobody but the owner and root reaches a socket without them.
    let server = serve("");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(
        (as_nobody("GET", "/v1/sessions").as_str(), mode & 0o777),
        ("000", 0o600)
    );
    drop(server);
    fs::set_permissions(sandbox.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let loose = sandbox.run(&["serve", "--data", "d", "--admin", &address]);
    assert_eq!(loose.code, 78);
    assert!(loose.stderr.contains("chmod go-w"), "{}", loose.stderr);
    for (wrong, told) in [
        ("no-such-group = \"viewer\"", "has no group no-such-group"),
        ("nogroup = \"root\"", "there are the roles"),
        ("nogroup = \"viewer\"", "is for an admin socket"),
    ] {
        fs::write(&config, format!("[group_roles]\n{wrong}\n")).unwrap();
        let ran = sandbox.run(&[
            "serve",
            "--config",
            config.to_str().unwrap(),
            "--check-config",
            "--admin",
            "127.0.0.1:0",
            "--admin-token-file",
            "t",
        ]);
        assert_eq!(ran.code, 78);
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
}
