//! The recipe for Traefik, which the tests cannot run: its form, and that every way to the application asks.

use std::fs;

use toml::Table;

use crate::sandbox::Sandbox;

/// The generated file.
fn recipe() -> Table {
    let sandbox = Sandbox::new();
    let directory = sandbox.path("recipe");
    let generate = ["generate", "traefik", directory.to_str().unwrap()];
    let written = sandbox.run(&generate).ok();
    assert_eq!(written.lines().count(), 1);
    let text = fs::read_to_string(directory.join("sessionctl.toml")).unwrap();
    text.parse().unwrap()
}

fn texts(value: &toml::Value) -> Vec<&str> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_str().unwrap()).collect()
}

/// The spellings of a header's name with some of its hyphens written as `_`.
fn underscored(name: &str) -> Vec<String> {
    let hyphens: Vec<usize> = name.match_indices('-').map(|(at, _)| at).collect();
    let chosen = 1..1_usize << hyphens.len();
    let spelling = |chosen: usize| {
        let mut bytes = name.as_bytes().to_vec();
        for (bit, at) in hyphens.iter().enumerate() {
            if chosen >> bit & 1 == 1 {
                bytes[*at] = b'_';
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    chosen.map(spelling).collect()
}

#[test]
fn s23_every_router_of_traefik_asks_last() {
    let recipe = recipe();
    let http = recipe["http"].as_table().unwrap();
    let (routers, middlewares) = (&http["routers"], &http["middlewares"]);
    let mut priorities = Vec::new();
    for (name, router) in routers.as_table().unwrap() {
        let through = texts(&router["middlewares"]);
        for middleware in &through {
            assert!(
                middlewares.get(middleware).is_some(),
                "{name}: {middleware}"
            );
        }
        let asks: Vec<usize> = (0..through.len())
            .filter(|at| middlewares[through[*at]].get("forwardAuth").is_some())
            .collect();
        assert_eq!(asks, [through.len() - 1], "{name} asks once, and last");
        assert!(through.contains(&"without-identity"), "{name}");
        let rule = router["rule"].as_str().unwrap();
        let is_entry = rule.starts_with("Path(`/`)");
        let asks = if is_entry { "session" } else { "check" };
        assert_eq!(through.last(), Some(&asks), "{name}: {rule}");
        assert_eq!(is_entry, through.contains(&"not-kept"), "{name}");
        let names_connection = rule.contains("Connection");
        assert_eq!(names_connection, through.contains(&"without-connection"));
        let service = router["service"].as_str().unwrap();
        assert!(http["services"].get(service).is_some(), "{name}: {service}");
        let priority = router["priority"].as_integer().unwrap();
        priorities.push((names_connection, is_entry, priority));
    }
    assert_eq!(priorities.len(), 4);
    // What is more special goes first.
    priorities.sort_unstable();
    assert!(
        priorities.is_sorted_by(|one, next| one.2 < next.2),
        "{priorities:?}"
    );
}

#[test]
fn s24_traefik_takes_identity_from_the_check_alone() {
    let recipe = recipe();
    let middlewares = recipe["http"]["middlewares"].as_table().unwrap();
    let own = ["X-Session-Id", "X-Session-User", "Remote-User"];
    for (name, path) in [("check", "/check"), ("session", "/session?auth=1")] {
        let asks = &middlewares[name]["forwardAuth"];
        let address = format!("http://127.0.0.1:8080{path}");
        assert_eq!(asks["address"].as_str(), Some(address.as_str()));
        assert_eq!(asks["trustForwardHeader"].as_bool(), Some(false));
        assert_eq!(texts(&asks["authResponseHeaders"]), own);
    }
    let cookies = &middlewares["session"]["forwardAuth"]["addAuthCookiesToResponse"];
    assert_eq!(texts(cookies), ["__Host-4DSID"]);
    let removed = middlewares["without-identity"]["headers"]["customRequestHeaders"]
        .as_table()
        .unwrap();
    assert!(removed.values().all(|value| value.as_str() == Some("")));
    let mut expected: Vec<String> = own.into_iter().flat_map(underscored).collect();
    expected.extend(underscored("X-Forwarded-For"));
    expected.sort();
    let mut names: Vec<String> = removed.keys().cloned().collect();
    names.sort();
    assert_eq!(names, expected);
}
