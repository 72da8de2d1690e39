//! What the end of a session has done, in words: what it has freed, and the runs of the on-close method.

use std::time::Duration;

use super::text::{counted, visible};
use crate::on_close::{Freed, MethodResult, MethodRun};

/// What was freed, for people (C06).
pub(super) fn freed(freed: Freed) -> String {
    let Freed {
        processes,
        selections,
        locks,
        variables,
    } = freed;
    let words = [
        (processes, "process", "processes"),
        (selections, "selection", "selections"),
        (locks, "lock", "locks"),
        (variables, "variable", "variables"),
    ];
    let words = words.map(|(number, one, many)| counted(u64::from(number), one, many));
    words.join(", ")
}

/// How the runs went altogether: `ok`, `2 failed`; `None` if there were none.
pub(super) fn summary(runs: &[MethodRun]) -> Option<String> {
    let count = |is: fn(MethodResult) -> bool| runs.iter().filter(|run| is(run.result)).count();
    let pending = count(|result| result == MethodResult::Pending);
    let dropped = count(|result| matches!(result, MethodResult::Cancelled | MethodResult::Struck));
    let succeeded = count(|result| result == MethodResult::Succeeded);
    let failed = runs.len() - succeeded - dropped - pending;
    match (failed, pending, dropped) {
        _ if runs.is_empty() => None,
        (0, 0, 0) => Some("ok".into()),
        (0, 0, dropped) => Some(format!("{dropped} cancelled")),
        (0, pending, _) => Some(format!("{pending} pending")),
        (failed, ..) => Some(format!("{failed} failed")),
    }
}

/// A run in one line.
pub(super) fn line(run: &MethodRun) -> String {
    let late = if run.late { ", late" } else { "" };
    let result = run.result.to_string().replace('_', " ");
    let detail = detail(run)
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    if matches!(run.result, MethodResult::Pending | MethodResult::Struck) {
        return format!("process {}: {result}", run.process);
    }
    format!(
        "process {}: {result}, took {}{late}{detail}",
        run.process,
        took(run)
    )
}

/// What an operator is to be warned of; `None` for a run that ended well, or that the operator cancelled.
pub(super) fn complaint(run: &MethodRun) -> Option<String> {
    let detail = detail(run);
    let what = match (run.result, detail) {
        (MethodResult::Succeeded | MethodResult::Cancelled, _) => return None,
        (MethodResult::Struck, _) => return Some(struck(run)),
        (MethodResult::Pending, _) => {
            return Some(format!(
                "the on-close method for process {} has not ended: the closing took its time (closing_time_limit), and it still runs, with a copy",
                run.process
            ));
        }
        (MethodResult::Failed, Some(detail)) => format!("failed: {detail}"),
        (MethodResult::Failed, None) => "failed".into(),
        (MethodResult::TimedOut, None) => "did not end in time".into(),
        (MethodResult::NotStarted, None) => "cannot be started".into(),
        (MethodResult::TimedOut | MethodResult::NotStarted, Some(detail)) => detail,
        (MethodResult::BadAnswer, Some(detail)) => {
            format!("ran, but its answer is not kept: {detail}")
        }
        (MethodResult::BadAnswer, None) => "ran, but its answer is not kept".into(),
    };
    let late = if run.late { ", late" } else { "" };
    Some(format!(
        "the on-close method for process {} {what} (took {}{late})",
        run.process,
        took(run)
    ))
}

fn struck(run: &MethodRun) -> String {
    format!(
        "the on-close method for process {} never runs: the session was dropped before",
        run.process
    )
}

/// Whether what the program wrote to stderr tells more.
pub(super) fn may_have_said_why(run: &MethodRun) -> bool {
    matches!(run.result, MethodResult::Failed | MethodResult::TimedOut)
}

fn took(run: &MethodRun) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(run.took_ms))
}

/// What went wrong, made safe to look at.
fn detail(run: &MethodRun) -> Option<String> {
    run.detail
        .as_deref()
        .map(|detail| visible(detail).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::ProcessNumber;

    fn run(result: MethodResult, detail: Option<&str>) -> MethodRun {
        MethodRun {
            process: ProcessNumber(1),
            result,
            took_ms: 12,
            late: false,
            detail: detail.map(str::to_owned),
        }
    }

    #[test]
    fn failures_of_the_method_are_told_in_words() {
        let failed = run(MethodResult::Failed, Some("exit code 3\u{1b}[2J"));
        assert_eq!(
            complaint(&failed).unwrap(),
            r"the on-close method for process 1 failed: exit code 3\u{1b}[2J (took 12ms)"
        );
        assert_eq!(
            line(&failed),
            r"process 1: failed, took 12ms: exit code 3\u{1b}[2J"
        );
        for (result, detail, told) in [
            (
                MethodResult::TimedOut,
                "did not end within 5s",
                "did not end within 5s",
            ),
            (
                MethodResult::NotStarted,
                "cannot be started: Permission denied",
                "cannot be started: Permission denied",
            ),
            (
                MethodResult::BadAnswer,
                "the answer is not UTF-8",
                "ran, but its answer is not kept: the answer is not UTF-8",
            ),
        ] {
            assert_eq!(
                complaint(&run(result, Some(detail))).unwrap(),
                format!("the on-close method for process 1 {told} (took 12ms)")
            );
        }
        let unstarted = run(MethodResult::NotStarted, None);
        assert_eq!(line(&unstarted), "process 1: not started, took 12ms");
        let well = run(MethodResult::Succeeded, None);
        assert_eq!(complaint(&well), None);
        let cancelled = run(MethodResult::Cancelled, None);
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(std::slice::from_ref(&well)).unwrap(), "ok");
        assert_eq!(
            summary(&[well.clone(), cancelled.clone()]).unwrap(),
            "1 cancelled"
        );
        assert_eq!(summary(&[failed, well, cancelled]).unwrap(), "1 failed");
    }

    #[test]
    fn one_and_many_are_told_apart() {
        let some = Freed {
            processes: 1,
            selections: 0,
            locks: 2,
            variables: 1,
        };
        assert_eq!(freed(some), "1 process, 0 selections, 2 locks, 1 variable");
    }
}
