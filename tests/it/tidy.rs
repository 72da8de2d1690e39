//! What a reader of the source may rely on: dependencies run one way, no test file is forgotten, nothing names this place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sessionctl::admin::{HistoryQuery, LockQuery};
use sessionctl::clock::Timestamp;
use sessionctl::context::Name;
use sessionctl::session::{Cause, Seq, SessionId};

/// The values: they know only each other.
const VALUES: [&str; 10] = [
    "audit", "session", "token", "cookie", "context", "json", "on_close", "options", "error",
    "clock",
];

/// The traits, with the plain arguments and results of their methods.
const TRAITS: [&str; 4] = ["access", "admin", "application", "sessions"];

/// Which rooms a room may know besides the values and the traits (ARCHITECTURE.md).
const MAY_KNOW: [(&str, &[&str]); 6] = [
    ("store", &[]),
    ("registry", &["store"]),
    ("wire", &[]),
    ("client", &["wire"]),
    ("server", &["wire"]),
    ("cli", &["client", "server", "registry", "store", "wire"]),
];

fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rooms that a file names as `crate::room`, alone or in braces.
fn known(source: &str) -> BTreeSet<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut rooms = BTreeSet::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = &source[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => rooms.extend(
                list.split('}')
                    .next()
                    .unwrap()
                    .split(',')
                    .map(|item| word(item.trim())),
            ),
            None => drop(rooms.insert(word(rest))),
        }
    }
    rooms.remove("");
    rooms
}

#[test]
fn dependencies_run_one_way() {
    let src = root().join("src");
    let mut checked = BTreeSet::new();
    for file in files(&src, ".rs") {
        let path = file.strip_prefix(&src).unwrap();
        let room = path
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        let may_know: BTreeSet<&str> = match room.as_str() {
            "main" | "lib" => continue,
            room if VALUES.contains(&room) => BTreeSet::from(VALUES),
            room if TRAITS.contains(&room) => VALUES.into_iter().chain(TRAITS).collect(),
            room => {
                let (_, more) = MAY_KNOW
                    .iter()
                    .find(|(name, _)| *name == room)
                    .unwrap_or_else(|| panic!("{room} has no place"));
                VALUES
                    .into_iter()
                    .chain(TRAITS)
                    .chain(more.iter().copied())
                    .chain([room])
                    .collect()
            }
        };
        for known in known(&fs::read_to_string(&file).unwrap()) {
            assert!(
                may_know.contains(known.as_str()),
                "{} may not know {known}",
                path.display()
            );
        }
        checked.insert(room);
    }
    assert!(
        checked.len() >= VALUES.len() + TRAITS.len() + MAY_KNOW.len(),
        "{checked:?}"
    );
}

/// A source without the lines of its documentation: examples may use what their readers use.
fn code(source: &str) -> String {
    let lines = source.lines().filter(|line| !line.starts_with("//!"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Only the command line knows arguments, streams and anyhow; only the store knows SQL; only the edges know HTTP.
#[test]
fn crates_stay_in_their_rooms() {
    let homes: [(&str, &[&str]); 10] = [
        ("toml", &["cli"]),
        ("ipnet", &["server", "cli"]),
        ("clap", &["cli"]),
        ("anyhow", &["cli"]),
        ("comfy_table", &["cli"]),
        ("rusqlite", &["store"]),
        ("shuttle", &["store"]),
        ("reqwest", &["client.rs", "cli"]),
        ("axum", &["server"]),
        ("hyper", &["server"]),
    ];
    let src = root().join("src");
    for file in files(&src, ".rs") {
        let path = file.strip_prefix(&src).unwrap();
        let source = code(&fs::read_to_string(&file).unwrap());
        for (name, rooms) in homes {
            let is_used =
                source.contains(&format!("use {name}::")) || source.contains(&format!(" {name}::"));
            assert!(
                !is_used || rooms.iter().any(|room| path.starts_with(room)),
                "{} uses {name}",
                path.display()
            );
        }
    }
}

#[test]
fn no_test_file_is_forgotten() {
    let tests = root().join("tests/it");
    let main = fs::read_to_string(tests.join("main.rs")).unwrap();
    for file in files(&tests, ".rs") {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            name == "main" || main.contains(&format!("mod {name};")),
            "{name}"
        );
    }
}

/// The code map names every file of the rooms that it lists file by file.
#[test]
fn the_code_map_is_whole() {
    // They are a file for each group of tables.
    const TABLES: [&str; 7] = [
        "audit",
        "closings",
        "processes",
        "runs",
        "sessions",
        "settings",
        "tokens",
    ];
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let src = root().join("src");
    for room in ["registry", "store", "server"] {
        let rows: String = map
            .lines()
            .filter(|line| line.starts_with(&format!("| `{room}")))
            .collect();
        for file in files(&src.join(room), ".rs") {
            let name = file.file_stem().unwrap().to_str().unwrap();
            let is_table = file.parent().unwrap().ends_with("sqlite") && TABLES.contains(&name);
            let is_named =
                rows.contains(&format!("`{name}`")) || rows.contains(&format!("/{name}`"));
            assert!(name == "mod" || is_table || is_named, "{}", file.display());
        }
    }
}

/// README names every variable that is read, and every field that a list can be asked by.
#[test]
fn the_readme_names_what_can_be_set() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let names = |text: &str| readme.contains(&format!("`{text}`"));
    let is_of_a_name = |c: char| c.is_ascii_uppercase() || c == '_';
    for file in files(&root().join("src"), ".rs") {
        let source = fs::read_to_string(&file).unwrap();
        for (at, _) in source.match_indices("SESSIONCTL_") {
            let variable = source[at..].split(|c| !is_of_a_name(c)).next().unwrap();
            assert!(names(variable), "{variable}");
        }
    }
    let locks = LockQuery {
        table: Some(Name::new("t").unwrap()),
        record: Some(Name::new("r").unwrap()),
        session: Some(SessionId::random()),
        after_table: Some(Name::new("t").unwrap()),
        after_record: Some(Name::new("r").unwrap()),
        limit: Some(1),
    };
    let history = HistoryQuery {
        user: Some("ana".into()),
        cause: Some(Cause::Command),
        since: Some(Timestamp::EPOCH),
        before: Some(Seq(1)),
        limit: Some(1),
    };
    for (route, query) in [
        ("`GET /v1/locks` (", serde_json::to_value(locks).unwrap()),
        (
            "`GET /v1/history` (",
            serde_json::to_value(history).unwrap(),
        ),
    ] {
        let (_, told) = readme.split_once(route).unwrap();
        let (told, _) = told.split_once(')').unwrap();
        for field in query.as_object().unwrap().keys() {
            assert!(told.contains(&format!("`{field}`")), "{route}{field}");
        }
    }
}

/// A snapshot that no test compares is a lie that nobody notices.
#[test]
fn no_snapshot_is_left_over() {
    let tests = root().join("tests/it");
    let sources: String = files(&tests, ".rs")
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for file in files(&tests, ".snap") {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let (_, name) = name.rsplit_once("__").unwrap();
        let wanted = name
            .strip_prefix("help_")
            .unwrap_or(name)
            .replacen("options-", "options ", 1)
            .replacen("history-", "history ", 1);
        assert!(sources.contains(&format!("\"{wanted}\"")), "{name}");
    }
}
