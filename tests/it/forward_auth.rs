//! Forward auth as it is shipped: the generated sites of nginx, Caddy and HAProxy, run by Debian's programs, in front of an application.

use std::fs;
use std::path::Path;

use sessionctl::token::Token;

use crate::site::{Plan, Proxy, Site};

const COOKIE: &str = "__Host-4DSID";

/// Makes a test of each rule behind each proxy.
macro_rules! behind_each_proxy {
    ($($rule:ident),+ $(,)?) => {
        mod nginx { $(#[test] fn $rule() { super::$rule($crate::site::Proxy::Nginx); })+ }
        mod caddy { $(#[test] fn $rule() { super::$rule($crate::site::Proxy::Caddy); })+ }
        mod haproxy { $(#[test] fn $rule() { super::$rule($crate::site::Proxy::Haproxy); })+ }
    };
}

behind_each_proxy! {
    c04_a_client_gets_its_session_at_the_entry_page,
    c04_a_closed_session_is_refused_at_the_next_request,
    c13_another_address_is_refused,
    s05_hostile_cookies_are_refused,
    s06_the_token_counts_in_its_cookie_alone,
    s21_the_entry_page_is_kept_by_no_cache,
    s22_a_body_reaches_the_application_whole,
    s22_a_body_without_a_session_is_refused_at_once,
    s23_without_the_server_nobody_gets_through,
    s25_no_path_leads_around_the_check,
    s24_identity_comes_from_the_check_alone,
    s24_the_clients_address_comes_from_the_proxy,
}

fn c04_a_client_gets_its_session_at_the_entry_page(proxy: Proxy) {
    let site = Site::start(proxy);
    assert_eq!(site.ask("/page", &[]).status, 401);
    assert_eq!(site.application.requests(), 0);
    let jar = site.sandbox.path("jar");
    let jar = jar.to_str().unwrap();
    let first = site.ask("/", &["-c", jar]);
    assert_eq!(first.status, 200, "{first:?}");
    let set_cookie = first.all("set-cookie");
    let own = format!("{}; ", first.session_cookie().unwrap());
    let whole = set_cookie.iter().find(|cookie| cookie.starts_with(&own));
    assert_eq!(
        whole.unwrap().strip_prefix(&own).unwrap(),
        "Path=/; Max-Age=2592000; Secure; HttpOnly; SameSite=Lax"
    );
    assert!(set_cookie.contains(&"theme=dark"), "the application's own");
    for _ in 0..2 {
        let again = site.ask("/", &["-b", jar, "-c", jar]);
        // Whoever brings one is given none: it would overwrite the one of a log-in that was on its way meanwhile.
        assert_eq!(again.session_cookie(), None);
        assert_eq!(again.all("set-cookie"), ["theme=dark"]);
        let page = site.ask("/page", &["-b", jar]);
        assert_eq!(page.all("set-cookie"), [""; 0]);
        assert_eq!(
            site.sandbox.run(&["list", "-q"]).ok().trim(),
            page.seen().one("x-session-id")
        );
    }
}

fn c04_a_closed_session_is_refused_at_the_next_request(proxy: Proxy) {
    let site = Site::start(proxy);
    let (other, _) = site.enter();
    let (id, cookie) = site.enter();
    for _ in 0..10 {
        assert_eq!(site.page(&cookie, &[]).status, 200);
    }
    let reached = site.application.requests();
    site.sandbox.run(&["close-session", &id]).ok();
    assert_eq!(site.page(&cookie, &[]).status, 401);
    assert_eq!(site.application.requests(), reached);
    let dead = format!("Cookie: {cookie}");
    let new = site.ask("/", &["-H", &dead]).session_cookie().unwrap();
    assert_ne!(new, cookie);
    let new_id = site.page(&new, &[]).seen().one("x-session-id");
    assert!(new_id != id && new_id != other);
    assert_eq!(site.page(&cookie, &[]).status, 401);
}

/// A refusal, not a failure: nginx would make one of the 400 that a client gets.
fn c13_another_address_is_refused(proxy: Proxy) {
    let site = Site::start(proxy);
    let (id, cookie) = site.enter();
    let reached = site.application.requests();
    let header = format!("Cookie: {cookie}");
    let elsewhere = ["-H", &header, "--interface", "127.0.0.2"];
    for forged in [
        &[][..],
        &["-H", "X-Forwarded-For: 127.0.0.1"],
        &["-H", "Connection: X-Forwarded-For"],
        &[
            "-H",
            "X-Forwarded-For: 127.0.0.1",
            "-H",
            "X-Forwarded-For: 127.0.0.1",
        ],
    ] {
        for path in ["/page", "/"] {
            let answer = site.ask(path, &[&elsewhere, forged].concat());
            assert_eq!(answer.status, 403, "{path} {forged:?}");
            assert_eq!(answer.session_cookie(), None);
        }
    }
    assert_eq!(site.application.requests(), reached);
    assert_eq!(site.page(&cookie, &[]).seen().one("x-session-id"), id);
    assert_eq!(site.sandbox.run(&["count"]).ok(), "1\n");
}

fn s05_hostile_cookies_are_refused(proxy: Proxy) {
    let site = Site::start(proxy);
    let (_, cookie) = site.enter();
    let reached = site.application.requests();
    let made_up = Token::mint().unwrap();
    for value in [
        format!("{COOKIE}={}", made_up.expose()),
        format!("{COOKIE}=../../etc/passwd"),
        format!("{COOKIE}=*"),
        format!("{COOKIE}="),
        format!("{COOKIE}=\u{1f36a}"),
        format!("{COOKIE}={}", "A".repeat(5_000)),
        format!("{COOKIE}={}", "A".repeat(60_000)),
        format!("{cookie}; {COOKIE}=evil"),
        format!("{COOKIE}=evil; {cookie}"),
    ] {
        let answer = site.page(&value, &[]);
        assert!(
            matches!(answer.status, 400 | 401 | 431),
            "{value}: {answer:?}"
        );
    }
    let two = format!("Cookie: {cookie}; {COOKIE}=evil");
    assert_eq!(site.ask("/", &["-H", &two]).status, 403);
    let twice = format!("Cookie: {COOKIE}=evil");
    assert_eq!(site.page(&cookie, &["-H", &twice]).status, 401);
    assert_eq!(site.application.requests(), reached);
}

fn s06_the_token_counts_in_its_cookie_alone(proxy: Proxy) {
    let site = Site::start(proxy);
    let (id, cookie) = site.enter();
    let reached = site.application.requests();
    let token = cookie.split_once('=').unwrap().1;
    for path in [
        format!("/page?sid={token}"),
        format!("/page?{cookie}"),
        format!("/page;jsessionid={token}"),
        "/page?auth=1&touch=0".into(),
        "/check".into(),
        "//page".into(),
        "/x/..//page".into(),
    ] {
        assert_eq!(site.ask(&path, &[]).status, 401, "{path}");
    }
    for header in [
        format!("X-Session: {token}"),
        format!("Authorization: Bearer {token}"),
        format!("Cookie: 4DSID={token}"),
        format!("Cookie: {COOKIE}={id}"),
        format!("X-Session-Id: {id}"),
    ] {
        assert_eq!(site.ask("/page", &["-H", &header]).status, 401, "{header}");
    }
    let form = format!("sid={token}");
    assert_eq!(site.ask("/page", &["-d", &form]).status, 401);
    assert_eq!(site.application.requests(), reached);
}

/// Although the application says that its page may be cached.
fn s21_the_entry_page_is_kept_by_no_cache(proxy: Proxy) {
    let site = Site::start(proxy);
    for headers in [&[][..], &["-H", "Cookie: a=b"]] {
        let answer = site.ask("/", headers);
        assert_eq!(answer.all("cache-control"), ["no-store"], "{answer:?}");
        assert!(answer.session_cookie().is_some());
    }
}

/// Ten kilobytes, each line another.
fn upload() -> String {
    (0..1_024).map(|line| format!("line {line:04}\n")).collect()
}

fn s22_a_body_reaches_the_application_whole(proxy: Proxy) {
    bodies_arrive(&Site::start(proxy));
}

fn bodies_arrive(site: &Site) {
    let (_, cookie) = site.enter();
    let cookie = format!("Cookie: {cookie}");
    let file = site.sandbox.path("upload");
    fs::write(&file, upload()).unwrap();
    let data = format!("@{}", file.display());
    let sent = ["-H", &cookie, "--max-time", "5", "--data-binary", &data];
    for (path, method, header) in [
        ("/page", "POST", "Expect:"),
        ("/page", "POST", "Expect: 100-continue"),
        ("/page", "POST", "Transfer-Encoding: chunked"),
        ("/page", "PUT", "Expect:"),
        ("/page", "DELETE", "Expect:"),
        ("/", "POST", "Expect:"),
        ("/", "POST", "Expect: 100-continue"),
    ] {
        let answer = site.ask(path, &[&sent[..], &["-X", method, "-H", header]].concat());
        let seen = answer.seen();
        assert_eq!(seen.method, method);
        assert!(seen.body == upload(), "{path} {method} {header}: {seen:?}");
    }
}

fn s22_a_body_without_a_session_is_refused_at_once(proxy: Proxy) {
    let site = Site::start(proxy);
    let body = upload();
    for header in ["Expect:", "Expect: 100-continue"] {
        let sent = ["--max-time", "5", "-H", header, "--data-binary", &body];
        assert_eq!(site.ask("/page", &sent).status, 401);
    }
    assert_eq!(site.application.requests(), 0);
}

/// Its address is one that no other test's clients call from, so that it is free for the second server.
fn s23_without_the_server_nobody_gets_through(proxy: Proxy) {
    let mut site = Site::planned(Plan {
        web: "127.0.0.9:0",
        ..Plan::of(proxy)
    });
    let (id, cookie) = site.enter();
    let reached = site.application.requests();
    let header = format!("Cookie: {cookie}");
    for signal in ["TERM", "KILL"] {
        site.server.signal(signal);
        site.server.wait();
        for path in ["/page", "/"] {
            for headers in [&["-H", header.as_str()][..], &[]] {
                let answer = site.ask(path, headers);
                assert!(matches!(answer.status, 500..=504), "{answer:?}");
            }
        }
        assert_eq!(site.application.requests(), reached);
        site.serve_again();
        assert_eq!(site.ask("/page", &[]).status, 401);
        assert_eq!(site.application.requests(), reached);
    }
    assert_eq!(site.page(&cookie, &[]).seen().one("x-session-id"), id);
}

/// Nobody reaches the application without a session by what a path looks like: who comes to the entry page gets one, everybody
/// else is refused.
fn s25_no_path_leads_around_the_check(proxy: Proxy) {
    let site = Site::start(proxy);
    for path in [
        "/private?x=/",
        "/private/..%2f",
        "/private;/",
        "/private/;/..",
        "/%2fprivate",
        "/%2Fprivate/",
        "/PRIVATE",
        "/./private",
        "//private",
        "/x/../private",
        "/%2e%2e/private",
        "/private/%2e",
        "/private//",
        "/private/?/",
        "/%00",
    ] {
        let reached = site.application.requests();
        let answer = site.ask(path, &[]);
        if answer.status == 200 {
            // What a proxy takes for the entry page is that: whoever comes there is a guest with a session.
            let seen = answer.seen();
            assert!(answer.session_cookie().is_some() && !seen.one("x-session-id").is_empty());
            assert_eq!(seen.all("x-session-user"), [""; 0], "{path}");
            continue;
        }
        // A proxy may find that there is no such path before it asks.
        assert!(
            matches!(answer.status, 400 | 401 | 403 | 404),
            "{path}: {answer:?}"
        );
        assert_eq!(answer.session_cookie(), None, "{path}");
        assert_eq!(site.application.requests(), reached, "{path}");
    }
}

fn s24_identity_comes_from_the_check_alone(proxy: Proxy) {
    let site = Site::start(proxy);
    let (guest, guest_cookie) = site.enter();
    let (ana, ana_cookie) = ana(&site);
    for forged in [
        &[
            "X-Session-User: root",
            "X-Session-Id: 1",
            "Remote-User: root",
        ][..],
        &[
            "X_Session_User: root",
            "X_Session_Id: 1",
            "Remote_User: root",
        ],
        &["X-Session_User: root", "X-Session_Id: 1"],
        &["X_Session-User: root", "X_Session-Id: 1"],
        &[
            "x-sEsSiOn-uSeR: root",
            "X-SESSION-ID: 1",
            "REMOTE-USER: root",
        ],
        &["x_session_USER: root", "REMOTE_USER: root"],
        &["X!Session!User: root", "Remote!User: root"],
        &["X#Session#User: root", "Remote#User: root"],
        &["X$Session$User: root", "Remote$User: root"],
        &["X%Session%User: root", "Remote%User: root"],
        &["X&Session&User: root", "Remote&User: root"],
        &["X'Session'User: root", "Remote'User: root"],
        &["X*Session*User: root", "Remote*User: root"],
        &["X+Session+User: root", "Remote+User: root"],
        &["X.Session.User: root", "Remote.User: root"],
        &["X^Session^User: root", "Remote^User: root"],
        &["X`Session`User: root", "Remote`User: root"],
        &["X|Session|User: root", "Remote|User: root"],
        &["X~Session~User: root", "Remote~User: root"],
        &["X-Session.User: root", "X.Session-Id: 1"],
        &["X-Session-User: root", "X-Session-User: root"],
        &["X-Session-User;", "Remote-User;"],
        &["Connection: X-Session-User, X-Session-Id, Remote-User"],
        &[
            "Connection: close, x-session-user",
            "Connection: remote-user",
            "Connection: X_Session_User",
            "X-Session-User: root",
            "X_Session_User: root",
        ],
    ] {
        let headers: Vec<&str> = forged.iter().flat_map(|header| ["-H", header]).collect();
        for (cookie, id, user) in [
            (&guest_cookie, &guest, &[][..]),
            (&ana_cookie, &ana, &["ana"]),
        ] {
            let expected = [
                ("x-session-id", &[id.as_str()][..]),
                ("x-session-user", user),
                ("remote-user", user),
            ];
            let page = site.page(cookie, &headers).seen();
            let cookie = format!("Cookie: {cookie}");
            let entry = site.ask("/", &[&["-H", &cookie], &headers[..]].concat());
            let entry = entry.seen();
            for (name, expected) in expected {
                assert_eq!(page.all(name), expected, "{name} after {forged:?}");
                assert_eq!(entry.all(name), expected, "{name} after {forged:?}");
            }
            // Another proxy behind this one would take away what is named here.
            let named = [page.all("connection"), entry.all("connection")].concat();
            let named = named.concat().to_lowercase();
            assert!(!named.contains("session") && !named.contains("user"));
        }
    }
}

/// The session of a user who is signed in.
fn ana(site: &Site) -> (String, String) {
    let jar = site.sandbox.path("ana");
    let open = ["open-session", "--user", "ana", "--ip", "127.0.0.1"];
    let open = [&open[..], &["--cookie-jar", jar.to_str().unwrap()]].concat();
    let id = site.sandbox.run(&open).ok().trim().to_owned();
    let jar = fs::read_to_string(jar).unwrap();
    let token = jar.trim_end().rsplit('\t').next().unwrap().to_owned();
    (id, format!("{COOKIE}={token}"))
}

fn s24_the_clients_address_comes_from_the_proxy(proxy: Proxy) {
    let site = Site::start(proxy);
    let forged = [
        ["-H", "X-Forwarded-For: 203.0.113.5"],
        ["-H", "X_Forwarded_For: 203.0.113.5"],
        ["-H", "X-Forwarded-For: 203.0.113.5, 127.0.0.1"],
        ["-H", "Connection: X-Forwarded-For"],
    ];
    for forged in forged {
        for (interface, address) in [("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")] {
            let from = [&forged[..], &["--interface", interface]].concat();
            let entered = site.ask("/", &from);
            let cookie = entered.session_cookie().unwrap();
            let seen = site.page(&cookie, &from).seen();
            let said = seen.all("x-forwarded-for");
            assert_eq!(said, [address], "the application may go by it, {forged:?}");
            let id = seen.one("x-session-id");
            let shown = site.sandbox.run(&["show", &id, "-o", "json"]).ok();
            let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(shown["ip"], address, "{forged:?}");
        }
    }
}

/// S22: without what the recipe says about bodies, and when it does not pass the cookie on.
#[test]
fn s22_an_untuned_nginx_does_not_hang() {
    let site = Site::planned(Plan {
        instead: vec![
            ("proxy_pass_request_body off;", ""),
            ("proxy_set_header Content-Length \"\";", ""),
            ("proxy_set_header Connection \"\";", ""),
            ("proxy_http_version 1.1;", ""),
        ],
        ..Plan::of(Proxy::Nginx)
    });
    bodies_arrive(&site);
    let site = Site::planned(Plan {
        instead: vec![("add_header Set-Cookie $session_cookie always;", "")],
        ..Plan::of(Proxy::Nginx)
    });
    let answer = site.ask("/", &[]);
    assert_eq!((answer.status, answer.session_cookie()), (200, None));
}

/// What nginx asks the server, nobody else asks through it.
#[test]
fn nginx_keeps_its_own_locations_to_itself() {
    let site = Site::start(Proxy::Nginx);
    let (_, cookie) = site.enter();
    let reached = site.application.requests();
    let cookie = format!("Cookie: {cookie}");
    for path in [
        "/_sessionctl/check",
        "/_sessionctl/session",
        "//_sessionctl//check",
    ] {
        assert_eq!(site.ask(path, &["-H", &cookie]).status, 404, "{path}");
        assert_eq!(site.ask(path, &[]).status, 404, "{path}");
    }
    assert_eq!(site.application.requests(), reached);
}

/// S21: a cache that keeps everything it may.
const CACHE: &str = "proxy_cache_path cache keys_zone=all:1m;
proxy_cache all;
proxy_cache_valid 200 1m;
log_format cache '$uri $upstream_cache_status';
log_subrequest on;
access_log cache.log cache;";

#[test]
fn s21_nginx_serves_no_check_from_its_cache() {
    let site = Site::planned(Plan {
        above: CACHE,
        ..Plan::of(Proxy::Nginx)
    });
    let (id, cookie) = site.enter();
    let (_, other_cookie) = site.enter();
    assert_ne!(cookie, other_cookie);
    assert_eq!(site.page(&cookie, &[]).status, 200);
    let reached = site.application.requests();
    assert_eq!(site.page(&cookie, &[]).status, 200);
    assert_eq!(site.application.requests(), reached, "the cache is there");
    site.sandbox.run(&["close-session", &id]).ok();
    assert_eq!(site.page(&cookie, &[]).status, 401);
    let log = fs::read_to_string(site.sandbox.path("cache.log")).unwrap();
    let lines = |uri: &str, status: &str| {
        let wanted = format!("{uri} {status}");
        log.lines().filter(|line| line.starts_with(&wanted)).count()
    };
    assert!(lines("/page", "HIT") > 0, "{log}");
    for uri in ["/_sessionctl/check", "/_sessionctl/session"] {
        assert!(lines(uri, "MISS") > 1, "{log}");
        assert_eq!(lines(uri, "MISS"), lines(uri, ""), "{log}");
    }
}

/// What README shows of the recipes is in them, letter for letter.
#[test]
fn the_readme_shows_the_recipes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    for (language, recipe, core) in [
        ("nginx", "nginx.conf", "auth_request /"),
        ("caddyfile", "Caddyfile", "forward_auth "),
        ("haproxy", "haproxy.cfg", "http-request lua.sessionctl "),
    ] {
        let recipe = fs::read_to_string(root.join("src/cli/generate").join(recipe)).unwrap();
        let fence = format!("```{language}\n");
        let (_, shown) = readme.split_once(&fence).expect(language);
        let (shown, _) = shown.split_once("```\n").unwrap();
        assert!(shown.contains(core), "{shown}");
        assert!(recipe.contains(shown), "README has another text:\n{shown}");
    }
}
