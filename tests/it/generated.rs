//! The committed completions and man pages are those that this program writes, and the tools that read them can.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::sandbox::Sandbox;

const KINDS: [&str; 2] = ["completions", "man"];

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
