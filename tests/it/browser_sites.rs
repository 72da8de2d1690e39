//! What other sites' pages can do to a server, in a real browser: nothing (S28); and what the browser does with the session
//! cookie (S18, S19).

use std::fs;

use serde_json::json;

use crate::browser::{Browser, Exchange, Front, page};
use crate::sandbox::{Sandbox, Server, wait_for};

/// A session of ana's on a server whose admin API is on a port, with the token that opens it.
fn with_admin_port(sandbox: &Sandbox, admin: &str) -> (Server, String, String) {
    let file = sandbox.path("token");
    let arguments = ["--admin", admin, "--admin-token-file"];
    let server = sandbox.serve(&[&arguments[..], &[file.to_str().unwrap()]].concat());
    let token = fs::read_to_string(&file).unwrap().trim().to_owned();
    let (_, body) = server.ask(
        "POST",
        "/v1/sessions",
        Some(&token),
        &json!({"user": "ana"}).to_string(),
    );
    let opened: serde_json::Value = serde_json::from_str(&body).unwrap();
    let id = opened["session"]["id"].as_str().unwrap().to_owned();
    (server, token, id)
}

/// Whether the session is what it was.
fn is_untouched(server: &Server, token: &str, id: &str) -> bool {
    let (status, body) = server.ask("GET", &format!("/v1/sessions/{id}"), Some(token), "");
    let (_, options) = server.ask("GET", "/v1/options", Some(token), "");
    status == 200 && body.contains("\"state\":\"active\"") && !options.contains("run_time")
}

/// All that a page can send to another origin without its leave, and all that it needs leave for.
const ATTEMPTS: &str = "
const close = admin + '/v1/sessions/' + id + '/close';
const bearer = {Authorization: 'Bearer ' + token};
await tried('no-cors', ask(close, {method: 'POST', mode: 'no-cors', body: '{}'}));
await tried('credentials', ask(close, {method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}'}));
await tried('text', ask(close, {method: 'POST', body: '{}', headers: {'Content-Type': 'text/plain'}}));
await tried('json', ask(close, {method: 'POST', body: '{}', headers: {'Content-Type': 'application/json'}}));
await tried('bearer', ask(admin + '/v1/sessions', {headers: bearer}));
await tried('delete', ask(admin + '/v1/sessions/' + id, {method: 'DELETE', headers: bearer}));
await tried('patch', ask(admin + '/v1/options', {method: 'PATCH', body: '{\"max_sessions\":1}', headers: bearer}));
await tried('read', ask(admin + '/v1/sessions'));
await tried('image', loads('img', admin + '/v1/sessions'));
await tried('script', loads('script', admin + '/v1/sessions'));
await tried('frame', async () => {
  await Promise.race([loads('iframe', admin + '/v1/sessions/' + id)(), sleep(3000)]);
  return frames[0].document.body.innerText;
});
await tried('form', async () => {
  const form = document.createElement('form');
  const target = document.createElement('iframe');
  target.name = 'target';
  form.method = 'POST';
  form.enctype = 'text/plain';
  form.action = close;
  form.target = 'target';
  form.innerHTML = '<input name=\"{&quot;a&quot;:&quot;\" value=\"&quot;}\">';
  document.body.append(target, form);
  const loaded = new Promise((done) => { target.onload = done; });
  form.submit();
  await Promise.race([loaded, sleep(3000)]);
  return 'sent';
});
await tried('events', () => new Promise((done) => {
  const events = new EventSource(admin + '/v1/sessions');
  events.onmessage = () => done('message');
  events.onerror = () => { events.close(); done('failed'); };
}));
await tried('socket', () => new Promise((done) => {
  const socket = new WebSocket(admin.replace('http', 'ws') + '/v1/sessions');
  socket.onopen = () => done('open');
  socket.onerror = () => done('failed');
}));
await report();
";

/// S28: from another port of this machine (the same site, to a browser) and from another site, by every name that leads here.
#[test]
fn s28_a_page_of_another_origin_reads_nothing_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let (server, token, id) = with_admin_port(&sandbox, "127.0.0.1:0");
    for (site, name) in [
        ("127.0.0.1", "127.0.0.1"),
        ("evil.example", "127.0.0.1"),
        ("evil.example", "localhost"),
        ("evil.example", "admin.example"),
    ] {
        let front = Front::start("127.0.0.1:0", Some(&server.admin), |_| Vec::new());
        let admin = format!("http://{name}:{}", front.address.port());
        let known = format!("const admin = '{admin}', id = '{id}', token = '{token}';");
        let pages = Front::start("127.0.0.1:0", None, |address| {
            let report_to = format!("http://{site}:{}", address.port());
            vec![("/page", page(&report_to, &(known + ATTEMPTS)))]
        });
        let url = format!("http://{site}:{}/page", pages.address.port());
        let found = Browser::open(&sandbox, &url, "127.0.0.1").report(&pages);
        let lines: Vec<&str> = found.lines().collect();
        for (line, attempt) in [
            (0, "no-cors opaque 0 "),
            (1, "credentials opaque 0 "),
            (2, "text failed"),
            (3, "json failed"),
            (4, "bearer failed"),
            (5, "delete failed"),
            (6, "patch failed"),
            (7, "read failed"),
            (8, "image failed"),
            (9, "script failed"),
            (10, "frame failed"),
            (11, "form sent"),
            (12, "events failed"),
            (13, "socket failed"),
        ] {
            assert_eq!(lines[line], attempt, "{site} {name}: {found}");
        }
        let exchanges = front.exchanges();
        assert!(exchanges.len() >= 12, "{site} {name}: {exchanges:#?}");
        let refusal = if name == "admin.example" { 421 } else { 403 };
        for exchange in &exchanges {
            // There is no such method, so no page is given leave to send what needs leave.
            let is_preflight = exchange.method == "OPTIONS";
            let expected = if is_preflight { 405 } else { refusal };
            assert_eq!(exchange.status, expected, "{site} {name}: {exchange:?}");
            assert_eq!(exchange.header("authorization"), None, "{exchange:?}");
        }
        let count = |method: &str| exchanges.iter().filter(|one| one.method == method).count();
        assert!(
            count("POST") >= 4 && count("OPTIONS") >= 4,
            "{exchanges:#?}"
        );
        assert!(is_untouched(&server, &token, &id));
    }
}

/// What the page of a rebound name tries, once another server answers under its name.
const REBOUND: &str = "
const headers = {Authorization: 'Bearer ' + token, 'Content-Type': 'application/json'};
for (;;) {
  if (await fetch('/v1/sessions').catch(() => null)) break;
  await sleep(20);
}
const session = '/v1/sessions/' + id;
await tried('look', ask('/v1/sessions'));
await tried('read', ask('/v1/sessions', {headers}));
await tried('close', ask(session + '/close', {method: 'POST', headers, body: '{}'}));
await tried('delete', ask(session, {method: 'DELETE', headers}));
await tried('patch', ask('/v1/options', {method: 'PATCH', headers, body: '{\"max_sessions\":1}'}));
await report();
";

/// S28: the name of a page's own server that suddenly means this machine. To the browser all of it is one origin, so it sends
/// what the page wants, even a token that somebody typed there.
#[test]
fn s28_a_rebound_name_reads_nothing_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let (mut server, token, id) = with_admin_port(&sandbox, "127.0.0.1:0");
    server.signal("TERM");
    server.stopped();
    let reports = Front::start("127.0.0.1:0", None, |_| Vec::new());
    let report_to = format!("http://{}", reports.address);
    let known = format!("const id = '{id}', token = '{token}';");
    let attack = page(&report_to, &(known + REBOUND));
    // An address that no other test's clients call from, so that the port stays free for the server.
    let pages = Front::start("127.0.0.8:0", None, |_| vec![("/page", attack)]);
    let address = pages.address.to_string();
    let url = format!("http://evil.example:{}/page", pages.address.port());
    let browser = Browser::open(&sandbox, &url, "127.0.0.8");
    wait_for("the page", || (!pages.exchanges().is_empty()).then_some(()));
    pages.close();
    let file = sandbox.path("token");
    let file = file.to_str().unwrap();
    let server = sandbox.serve(&["--admin", &address, "--admin-token-file", file]);
    let found = browser.report(&reports);
    assert_eq!(found.lines().count(), 5, "{found}");
    for line in found.lines() {
        assert!(line.contains(" basic 421 "), "{found}");
        assert!(!line.contains(&id) && !line.contains("ana"), "{found}");
    }
    assert!(is_untouched(&server, &token, &id));
}

/// The one request for this path.
fn one<'a>(exchanges: &'a [Exchange], path: &str) -> &'a Exchange {
    let mut found = exchanges.iter().filter(|exchange| exchange.path == path);
    let (Some(one), None) = (found.next(), found.next()) else {
        panic!("one {path} in {exchanges:#?}");
    };
    one
}

/// S18: the cookie goes to its own host and no other, scripts do not see it, and another site's pages cannot send it.
#[test]
fn s18_a_browser_keeps_the_cookie_from_scripts_and_other_sites() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let front = Front::start("127.0.0.1:0", Some(&server.web), |address| {
        let port = address.port();
        let own = format!(
            "await fetch('/session');
await fetch('/check?own');
await fetch('/check?seen=' + document.cookie);
const include = {{mode: 'no-cors', credentials: 'include'}};
await fetch('http://sub.app.localhost:{port}/check?sub', include);
location = 'http://evil.example:{port}/other';"
        );
        let other = format!(
            "const app = 'http://app.localhost:{port}';
await tried('post', ask(app + '/check?post', {{method: 'POST', mode: 'no-cors', credentials: 'include'}}));
await tried('image', loads('img', app + '/check?image'));
await tried('form', async () => {{
  const form = document.createElement('form');
  const target = document.createElement('iframe');
  target.name = 'target';
  Object.assign(form, {{method: 'POST', action: app + '/logout', target: 'target'}});
  document.body.append(target, form);
  const loaded = new Promise((done) => {{ target.onload = done; }});
  form.submit();
  await Promise.race([loaded, sleep(3000)]);
}});
await report();"
        );
        vec![("/own", page("", &own)), ("/other", page("", &other))]
    });
    let url = format!("http://app.localhost:{}/own", front.address.port());
    Browser::open(&sandbox, &url, "127.0.0.1").report(&front);
    let exchanges = front.exchanges();
    let own = one(&exchanges, "/check?own");
    let cookie = own.header("cookie").unwrap();
    assert!(cookie.starts_with("__Host-4DSID=") && own.status == 200);
    assert_eq!(
        one(&exchanges, "/check?seen=").status,
        200,
        "no script sees it"
    );
    for path in ["/check?sub", "/check?post", "/check?image", "/logout"] {
        let exchange = one(&exchanges, path);
        assert_eq!(exchange.header("cookie"), None, "{path}");
        assert!(matches!(exchange.status, 401 | 403), "{exchange:?}");
    }
    let (status, ..) = server.get("/check", &[("Cookie", cookie)]).unwrap();
    assert_eq!(status, 200, "nobody has logged out");
}

/// S19: after a log-out the browser has no cookie; and where the answer is lost on its way, the one that it keeps is refused.
#[test]
fn s19_a_browser_forgets_the_cookie_at_a_log_out() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    let front = Front::start("127.0.0.1:0", Some(&server.web), |_| {
        let script = "
const post = {method: 'POST'};
await fetch('/session?first');
await fetch('/check?first');
await fetch('/logout', post);
await fetch('/check?after');
await fetch('/session?second');
await fetch('/check?second');
await tried('lost', ask('/logout?lost', post));
await fetch('/check?kept');
await report();";
        vec![("/page", page("", script))]
    });
    let url = format!("http://{}/page", front.address);
    let found = Browser::open(&sandbox, &url, "127.0.0.1").report(&front);
    assert_eq!(found, "lost failed");
    let exchanges = front.exchanges();
    let seen = |path: &str| {
        let exchange = one(&exchanges, path);
        (exchange.status, exchange.header("cookie"))
    };
    let (status, first) = seen("/check?first");
    assert!(status == 200 && first.is_some());
    assert_eq!(seen("/logout"), (204, first));
    assert_eq!(seen("/check?after"), (401, None));
    let (status, second) = seen("/check?second");
    assert!(status == 200 && second.is_some() && second != first);
    assert_eq!(seen("/logout?lost"), (204, second));
    assert_eq!(seen("/check?kept"), (401, second));
}
