//! Backups that are made while clients work and the server dies: brought back where there is no store, each ends all that
//! lived in it, and has all that was acknowledged before it began (C03, S12).

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use sessionctl::admin::{Ending, HistoryEntry};
use sessionctl::session::{Cause, SessionId};

use crate::killer_clients::Shared;
use crate::killer_history::{End, Histories, Moment, Span, Story};
use crate::killer_made_up::Tale;
use crate::sandbox::{Ran, Sandbox};
use crate::store_commands::{check_whole, local, restore};

/// A backup under way.
pub(crate) struct Copying {
    command: Child,
    file: PathBuf,
    asked: Moment,
}

impl Copying {
    pub(crate) fn begin(sandbox: &Sandbox, shared: &Shared) -> Self {
        let asked = shared.moment();
        let file = sandbox.path(&format!("backup-{asked}"));
        let (data, into) = (sandbox.data(), file.to_str().unwrap());
        let arguments = ["--local", data.to_str().unwrap(), "store", "backup", into];
        let mut command = sandbox.command(&arguments);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self {
            command: command.spawn().unwrap(),
            file,
            asked,
        }
    }

    /// Waits for the backup, and brings it back in a home of its own.
    pub(crate) fn finish(self, shared: &Shared) -> Copied {
        let told = Ran::of(self.command.wait_with_output().unwrap()).ok();
        assert!(told.starts_with("backed up "), "{told}");
        let span = Span {
            asked: self.asked,
            until: shared.moment(),
        };
        let home = Sandbox::new();
        let restored = restore(&home, self.file.to_str().unwrap());
        assert_eq!(restored["live"], json!(0), "of a copy nobody lives on");
        std::fs::remove_file(&self.file).unwrap();
        check_whole(&home);
        let lines = |arguments: &[&str]| -> Vec<String> {
            let told = local(&home, arguments).ok();
            told.lines().map(str::to_owned).collect()
        };
        let closing = lines(&["-o", "jsonl", "list"]).into_iter().map(|line| {
            let session: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(session["state"], "closing", "{line}");
            session["id"].as_str().unwrap().parse().unwrap()
        });
        let closed = lines(&["-o", "jsonl", "history", "--limit", "1000000"]);
        let closed = closed.iter().map(|line| {
            let entry: HistoryEntry = serde_json::from_str(line).unwrap();
            (entry.id, entry.cause)
        });
        Copied {
            span,
            closing: closing.collect(),
            closed: closed.collect(),
        }
    }
}

/// A backup that was brought back.
#[derive(Debug)]
pub(crate) struct Copied {
    /// When it was made.
    pub(crate) span: Span,
    pub(crate) closing: HashSet<SessionId>,
    pub(crate) closed: HashMap<SessionId, Cause>,
}

impl Histories {
    /// What cannot be in a backup, with what was asked and answered so far.
    pub(crate) fn compare_copy(&self, copied: &Copied) -> Vec<String> {
        let stories = self.stories.iter();
        let mut faults: Vec<String> = stories
            .filter_map(|(id, story)| Some(format!("{id}: {}", story.miscopied(*id, copied)?)))
            .collect();
        let has_ended = |id: &&SessionId| self.retired.contains_key(id);
        if let Some(id) = copied.closing.iter().find(has_ended) {
            faults.push(format!("{id} is closing in a backup, long after its end"));
        }
        let is_stray =
            |id: &&SessionId| !self.stories.contains_key(id) && !self.strays.contains(id);
        let strays = copied.closing.iter().filter(is_stray).count();
        if strays > self.unsure_opens {
            faults.push(format!(
                "{strays} sessions are in a backup that nobody has opened"
            ));
        }
        faults
    }
}

impl Story {
    fn miscopied(&self, id: SessionId, copied: &Copied) -> Option<&'static str> {
        let Span { asked, until } = copied.span;
        let was_opened = self.sign_ins.iter().any(|one| one.span.until < asked);
        let cause = copied.closed.get(&id);
        let is_closing = copied.closing.contains(&id);
        if was_opened && !is_closing && cause.is_none() {
            return Some("the backup lacks it");
        }
        let was_restored = cause == Some(&Cause::Restored);
        if was_opened && !self.may_be_over(until) && !is_closing && !was_restored {
            return Some("it lived, and the backup has it closed");
        }
        if self.is_over(asked) && was_restored {
            return Some("the backup brought it back after its end was told");
        }
        let is_final = |end: &End| {
            let told = end.told.map(|told| told.outcome);
            let is_closed = matches!(told, Some(Ending::Closed | Ending::AlreadyClosed));
            is_closed && end.span.until < asked
        };
        let has_ended = self.closed > 0 || self.ends.iter().any(is_final);
        (has_ended && is_closing).then_some("it is closing again in the backup")
    }
}

/// When the sessions of a tale are open, and have not been closed yet.
const EARLY: Span = Span {
    asked: 46,
    until: 47,
};

/// After all that a tale tells.
const LATE: Span = Span {
    asked: 100,
    until: 110,
};

/// From before the first session of a tale is closed until after it.
const BETWEEN: Span = Span {
    asked: 46,
    until: 110,
};

/// What is said of a backup in which the second session of a tale is restored.
fn said(tale: &Tale, span: Span, closing: &[SessionId], closed: &[(SessionId, Cause)]) -> String {
    let mut histories = Histories::default();
    assert_eq!(histories.take(&tale.events), Vec::<String>::new());
    let second = (tale.two, Cause::Restored);
    let copied = Copied {
        span,
        closing: closing.iter().copied().collect(),
        closed: closed.iter().copied().chain([second]).collect(),
    };
    histories.compare_copy(&copied).join("; ")
}

#[test]
fn a_backup_has_everybody_who_lived() {
    let tale = Tale::new();
    let one = tale.one;
    assert_eq!(said(&tale, LATE, &[one], &[]), "");
    assert_eq!(said(&tale, LATE, &[], &[(one, Cause::Restored)]), "");
    let lacks = said(&tale, LATE, &[], &[]);
    assert!(lacks.ends_with("the backup lacks it"), "{lacks:?}");
    let closed = said(&tale, LATE, &[], &[(one, Cause::Command)]);
    assert!(closed.ends_with("the backup has it closed"), "{closed:?}");
    let strange = said(&tale, LATE, &[one, SessionId::random()], &[]);
    assert!(strange.ends_with("that nobody has opened"), "{strange:?}");
}

#[test]
fn a_backup_brings_nobody_back_who_had_ended() {
    let tale = Tale::new().closed();
    let one = tale.one;
    assert_eq!(said(&tale, LATE, &[], &[(one, Cause::Command)]), "");
    let back = said(&tale, LATE, &[], &[(one, Cause::Restored)]);
    assert!(back.ends_with("after its end was told"), "{back:?}");
    let again = said(&tale, LATE, &[one], &[]);
    assert!(again.ends_with("closing again in the backup"), "{again:?}");
    for span in [EARLY, BETWEEN] {
        assert_eq!(said(&tale, span, &[], &[(one, Cause::Restored)]), "");
        assert_eq!(said(&tale, span, &[one], &[]), "");
    }
    assert_eq!(said(&tale, BETWEEN, &[], &[(one, Cause::Command)]), "");
    let early = said(&tale, EARLY, &[], &[(one, Cause::Command)]);
    assert!(early.ends_with("the backup has it closed"), "{early:?}");
}
