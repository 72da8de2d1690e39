//! What the fuzz targets hold, for every input that is kept in their corpora.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::fuzz::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn names(directory: PathBuf) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.trim_end_matches(".rs").to_owned()
        })
        .collect()
}

/// A function that nobody draws bytes for, a corpus that nobody replays, would be forgotten.
#[test]
fn every_fuzz_target_is_whole() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).into()).collect();
    assert_eq!(names(fuzz().join("fuzz_targets")), targets);
    assert_eq!(names(fuzz().join("corpus")), targets);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in targets {
        let path = format!("path = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&path), "{name}");
        let target = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("sessionctl_fuzz::{name}(bytes)")));
    }
}

#[test]
fn what_the_fuzz_targets_hold_is_so_for_every_kept_input() {
    let mut broken = Vec::new();
    for (name, holds) in TARGETS {
        let mut inputs: Vec<PathBuf> = fs::read_dir(fuzz().join("corpus").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        inputs.sort();
        assert!(inputs.len() > 2, "{name} has a corpus");
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            if std::panic::catch_unwind(|| holds(&bytes)).is_err() {
                broken.push(input);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}
