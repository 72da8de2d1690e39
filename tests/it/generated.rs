//! The committed completions and man pages are those that this program writes, and the tools that read them can; the unit
//! and the configuration file that they show start a server.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use sessionctl::cli::{EXIT_CODES, Exit};
use sessionctl::options::{FIXED_OPTIONS, OPTIONS};
use sessionctl::wire::ProblemType;

use crate::sandbox::{Ran, Sandbox};

const KINDS: [&str; 2] = ["completions", "man"];

/// The configuration file that the man page shows.
const EXAMPLE: &str = include_str!("../../src/cli/generate/server.toml");

fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let named = entries.map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap())
    });
    named.collect()
}

#[test]
fn completions_and_man_pages_are_up_to_date() {
    let sandbox = Sandbox::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for kind in KINDS {
        let (fresh, committed) = (sandbox.path(kind), root.join(kind));
        sandbox
            .run(&["generate", kind, fresh.to_str().unwrap()])
            .ok();
        if std::env::var_os("UPDATE").is_some() {
            let _ = fs::remove_dir_all(&committed);
            sandbox
                .run(&["generate", kind, committed.to_str().unwrap()])
                .ok();
        }
        let (fresh, committed) = (files(&fresh), files(&committed));
        assert!(!fresh.is_empty());
        let mend = "to mend it: UPDATE=1 cargo test --test it generated";
        assert!(
            fresh.keys().eq(committed.keys()),
            "{kind}/ has other files; {mend}"
        );
        for (name, text) in fresh {
            assert!(
                committed[&name] == text,
                "{kind}/{name} is out of date; {mend}"
            );
        }
    }
}

#[test]
fn shells_read_the_completions() {
    let completions = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    for (shell, file) in [
        ("bash", "sessionctl.bash"),
        ("zsh", "_sessionctl"),
        ("fish", "sessionctl.fish"),
    ] {
        let output = Command::new(shell)
            .arg("-n")
            .arg(completions.join(file))
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{shell}: {output:?}"
        );
    }
}

#[test]
fn mandoc_reads_the_man_pages() {
    let man = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for name in files(&man).keys() {
        let output = Command::new("mandoc")
            .args(["-T", "lint", "-W", "error"])
            .arg(man.join(name))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

/// A page as its reader sees it, in long lines.
fn as_read(page: &Path) -> String {
    let output = Command::new("mandoc")
        .args(["-T", "utf8", "-O", "width=1000"])
        .arg(page)
        .output()
        .unwrap();
    // A letter, a backspace and the letter again is how a terminal prints it bold.
    let mut text = String::new();
    for letter in String::from_utf8(output.stdout).unwrap().chars() {
        match letter {
            '\u{8}' => drop(text.pop()),
            letter => text.push(letter),
        }
    }
    text
}

/// Fresh man pages, as their readers see them, by their files' names.
fn man_pages() -> BTreeMap<String, String> {
    let sandbox = Sandbox::new();
    let man = sandbox.path("man");
    sandbox
        .run(&["generate", "man", man.to_str().unwrap()])
        .ok();
    let names = files(&man).into_keys();
    names
        .map(|name| (name.clone(), as_read(&man.join(name))))
        .collect()
}

/// Every command has a page, and every page that one refers to is there.
#[test]
fn pages_refer_to_pages() {
    let pages = man_pages();
    assert!(pages["sessionctl-options-set.1"].contains("sessionctl options set [OPTIONS]"));
    assert!(pages["sessionctl-options.1"].contains("sessionctl-options-set(1)"));
    for (name, text) in &pages {
        let (_, see_also) = text.split_once("SEE ALSO\n").unwrap();
        let commands = text
            .split_once("SUBCOMMANDS\n")
            .map_or("", |(_, rest)| rest);
        let words = [see_also.lines().next().unwrap(), commands].join(" ");
        let references: Vec<_> = words
            .split([' ', ',', '\n'])
            .filter_map(|word| word.strip_suffix(')')?.split_once('('))
            .filter(|(page, _)| page.starts_with("sessionctl"))
            .collect();
        assert!(!references.is_empty(), "{name}");
        for (page, section) in references {
            assert!(
                pages.contains_key(&format!("{page}.{section}")),
                "{name}: {page}({section})"
            );
        }
    }
}

#[test]
fn the_manual_tells_every_option_every_exit_code_and_every_error() {
    let pages = man_pages();
    let options = &pages["sessionctl-options.7"];
    for spec in &OPTIONS {
        for text in [spec.name, spec.acts, spec.name_in_4d.unwrap_or_default()] {
            assert!(options.contains(text), "{text}");
        }
        assert!(options.contains(&spec.form.range()), "{}", spec.name);
    }
    for (name, summary) in FIXED_OPTIONS {
        assert!(options.contains(name) && options.contains(&summary[1..]));
    }
    for line in EXAMPLE.lines() {
        assert!(options.contains(line), "{line}");
    }
    let codes = &pages["sessionctl-exit-codes.7"];
    for (_, code, meaning) in EXIT_CODES {
        assert!(codes.contains(&code.to_string()) && codes.contains(meaning));
    }
    let errors = &pages["sessionctl-errors.7"];
    for kind in ProblemType::ALL {
        let term = format!("{} ({}, {})", kind.name(), kind.status(), kind.title());
        let (_, entry) = errors.split_once(&term).expect(&term);
        let plain = |text: &str| text.replace('`', "");
        assert!(entry.contains(&plain(kind.meaning())), "{term}");
        assert!(entry.contains(&plain(kind.advice())), "{term}");
        assert!(entry.contains("Exit code: "), "{term}");
    }
}

/// Writes a configuration file that only its owner can write, whatever the umask.
fn configure(sandbox: &Sandbox, text: &str) -> String {
    let path = sandbox.path("server.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    path.to_str().unwrap().into()
}

#[test]
fn the_configuration_of_the_manual_is_understood() {
    let sandbox = Sandbox::new();
    let config = configure(&sandbox, EXAMPLE);
    let told = sandbox
        .run(&["serve", "--check-config", "--config", &config])
        .ok();
    let told: Vec<_> = told.split_whitespace().collect();
    let words = told.join(" ");
    for set in [
        "admin unix:/run/sessionctl/admin.sock",
        "trusted_proxies 127.0.0.1/32,10.0.0.0/8",
        "max_sessions 200 (file)",
        "inactive_session_timeout 2h (file)",
    ] {
        assert!(words.contains(set), "{set} in {words}");
    }
}

/// The unit as it is generated, with the directories that systemd makes for it.
fn unit(sandbox: &Sandbox) -> String {
    sandbox
        .run(&[
            "generate",
            "systemd",
            sandbox.path("units").to_str().unwrap(),
        ])
        .ok();
    for directory in ["state", "run"] {
        DirBuilder::new()
            .mode(0o700)
            .create(sandbox.path(directory))
            .unwrap();
    }
    fs::read_to_string(sandbox.path("units/sessionctl.service")).unwrap()
}

/// The values of a setting of a unit.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .collect()
}

#[test]
fn the_unit_starts_a_server_in_its_directories() {
    let sandbox = Sandbox::new();
    let unit = unit(&sandbox);
    for (setting, value) in [
        ("StateDirectory", "sessionctl"),
        ("StateDirectoryMode", "0700"),
        ("RuntimeDirectory", "sessionctl"),
        ("RuntimeDirectoryMode", "0700"),
    ] {
        assert_eq!(settings(&unit, setting), [value]);
    }
    let [start] = settings(&unit, "ExecStart")[..] else {
        panic!("one command starts the server: {unit}");
    };
    let start: Vec<_> = start.split_whitespace().collect();
    let ["/usr/bin/sessionctl", "serve", arguments @ ..] = &start[..] else {
        panic!("{start:?}");
    };
    let mut server = sandbox.serve(arguments);
    let socket = sandbox.path("run/admin.sock");
    assert_eq!(server.admin, format!("unix:{}", socket.display()));
    assert!(socket.symlink_metadata().unwrap().file_type().is_socket());
    assert!(sandbox.data().join("sessions.sqlite").is_file());
    sandbox.run(&["ping"]).ok();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "as systemd stops it");
}

/// The user of the unit is one that README makes, is there while the server is stopped, and is the one that its commands
/// are run as.
#[test]
fn the_units_user_is_the_one_that_readme_makes() {
    let unit = unit(&Sandbox::new());
    let [user] = settings(&unit, "User")[..] else {
        panic!("a user that is named: {unit}");
    };
    assert_eq!(settings(&unit, "DynamicUser"), [""; 0]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let commands = |start: &str| -> Vec<&str> {
        let lines = readme.lines().map(|line| line.trim_start_matches("$ "));
        lines.filter(|line| line.starts_with(start)).collect()
    };
    let [made] = commands("sudo useradd ")[..] else {
        panic!("README makes one user");
    };
    assert!(made.ends_with(&format!(" {user}")), "{made}");
    let makes = made.trim_start_matches("sudo ");
    assert!(unit.contains(makes), "the unit says it too: {makes}");
    let data = format!("/var/lib/{}", settings(&unit, "StateDirectory")[0]);
    let store: Vec<_> = commands("sudo ")
        .into_iter()
        .filter(|command| command.contains(" store "))
        .collect();
    assert!(store.len() > 3, "{store:?}");
    for command in store {
        let start = format!("sudo -u {user} sessionctl --local {data} store ");
        assert!(command.starts_with(&start), "{command}");
    }
}

/// A server that cannot start as configured is not started again.
#[test]
fn the_unit_knows_the_exit_code_of_a_bad_configuration() {
    let sandbox = Sandbox::new();
    let unit = unit(&sandbox);
    let (_, code, _) = EXIT_CODES
        .into_iter()
        .find(|(exit, ..)| *exit == Exit::Config)
        .unwrap();
    assert_eq!(
        settings(&unit, "RestartPreventExitStatus"),
        [code.to_string()]
    );
    let start = settings(&unit, "ExecStart")[0];
    let config = configure(&sandbox, "[options]\nmax_sessions = 0.5\n");
    let arguments = start.split_whitespace().skip(1);
    let arguments: Vec<_> = arguments.chain(["--config", &config]).collect();
    let Ran { code: ended, .. } = sandbox.run(&arguments);
    assert_eq!(ended, i32::from(code));
}
